"""What the Performance page and the report show of one evaluate run, at one split and level;
computed from its stored predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from scipy.stats import chi2

from core import store
from core.class_labels import CLASSES, label_name
from core.store import dataset_table, run_table, unit_table
from evaluation.intervals import p_text
from evaluation.roc import AucDifference, AucInterval, auc_interval, compare_aucs
from evaluation.roc.auc_variance import bootstrap_aucs
from evaluation.roc.calibration_curve import Calibration, calibration
from evaluation.roc.curve import RocCurve, roc_curve
from evaluation.roc.diagnostic import OperatingPoint, fixed_threshold, operating_point
from evaluation.roc.partial_area import PartialAuc, SpecificityAt, partial_auc, specificity_at
from evaluation.validation import cluster_codes

LEVELS = ("patch", "image", "case")
LEAST_IN_SUBGROUP = 5
P = ParamSpec("P")
T = TypeVar("T")


def _settled(function: Callable[P, T]) -> Callable[P, T]:
    """Remember results: a run never changes, so what is computed from its name alone never goes
    stale. Callers must not write into a result.
    """
    return lru_cache(maxsize=128)(function)  # type: ignore[return-value]


@dataclass(frozen=True)
class Observations:
    """Observations of one level: key (patch, mammogram or patient id), truth int [n] class codes,
    scores float [n, classes], patient [n].
    """

    classes: tuple[str, ...]
    key: np.ndarray
    truth: np.ndarray
    scores: np.ndarray
    patient: np.ndarray

    def of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(truth bool [n], score [n]) of one class against the rest."""
        return self.truth == CLASSES.index(name), self.scores[:, self.classes.index(name)]

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len(set(self.patient))


@dataclass(frozen=True)
class ClassResult:
    """One class against the rest."""

    name: str
    auc: AucInterval
    partial: PartialAuc
    specificity: SpecificityAt
    curve: RocCurve

    def row(self) -> dict[str, object]:
        """The numbers as one row of a table to take away."""
        return {
            "class": self.name,
            "auc": self.auc.estimate,
            "low": self.auc.low,
            "high": self.auc.high,
            "method": self.auc.method,
            "reason": self.auc.reason or "",
            "pauc": self.partial.raw,
            "pauc_fraction": self.partial.fraction,
            "pauc_mcclish": self.partial.mcclish,
            "specificity_at_80": self.specificity.interpolated,
        }


@dataclass(frozen=True)
class Subgroup:
    """AUC for malignant in one value of a variable, on n images; truth, score and patient [n] are
    those images'.
    """

    variable: str
    value: str
    auc: AucInterval
    n: int
    patients: int
    truth: np.ndarray = field(repr=False)
    score: np.ndarray = field(repr=False)
    patient: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Interaction:
    """Whether the AUC differs between a variable's groups."""

    variable: str
    groups: int
    statistic: float | None
    df: int
    p_value: float | None
    reason: str | None

    def sentence(self) -> str:
        """For a caption."""
        if self.p_value is None:
            return f"{self.variable}: not estimable, {self.reason}"
        return (
            f"{self.variable}: chi-square {self.statistic:.2f}, {self.df} df,"
            f" {p_text(self.p_value)}"
        )


@_settled
def observations(study: Path, run: str, split: str, level: str) -> Observations:
    """Truth and scores of one level; observations without a truth (only UNPROVEN findings) are left
    out.
    """
    with store.read(study) as con:
        row = run_table.get(con, run)
        if level == "patch":
            frame = unit_table.predictions(
                con, run, next(p for p in row["parents"] if p.startswith("patches-")), split
            )
        else:
            frame = unit_table.image_scores(con, run, split)
    return observed(frame, level, row["manifest"]["classes"])


def observed(frame: pd.DataFrame, level: str, classes: int) -> Observations:
    """Observations from one split's predictions (level patch: patch_id, patient_id, label,
    p_<class>) or image scores (image and case: mammogram_id, patient_id, truth, s_<class>; a case
    pools its images).
    """
    names = CLASSES if classes == 3 else ("malignant",)
    if level == "patch":
        key, truth, columns = "patch_id", frame["label"], [f"p_{c}" for c in names]
    else:
        frame = frame[frame["truth"].notna()]
        frame = cases(frame) if level == "case" else frame
        key, truth, columns = (
            "mammogram_id" if level == "image" else "patient_id",
            frame["truth"],
            [f"s_{c}" for c in names],
        )
    return Observations(
        names,
        frame[key].to_numpy(),
        truth.to_numpy(int),
        frame[columns].to_numpy(float),
        frame["patient_id"].to_numpy(str),
    )


def cases(images: pd.DataFrame) -> pd.DataFrame:
    """One row a patient: scores pooled over its images (largest s_benign and s_malignant, least
    s_normal), truth of the worst image.
    """
    return images.groupby("patient_id", as_index=False).agg(
        s_normal=("s_normal", "min"),
        s_benign=("s_benign", "max"),
        s_malignant=("s_malignant", "max"),
        truth=("truth", "max"),
    )


@_settled
def class_results(study: Path, run: str, split: str, level: str) -> list[ClassResult]:
    """AUC, partial AUC, specificity at .8 and the curve with its band for every class."""
    return results_of(observations(study, run, split, level))


def results_of(seen: Observations) -> list[ClassResult]:
    """AUC, partial AUC, specificity at .8 and the curve with its band for every class; empty where
    there is no observation.
    """
    results = []
    for name in seen.classes if len(seen.truth) else ():
        y, score = seen.of(name)
        results.append(
            ClassResult(
                name,
                auc_interval(y, score, seen.patient, "obuchowski"),
                partial_auc(y, score),
                specificity_at(y, score),
                roc_curve(y, score, seen.patient, resamples=500),
            )
        )
    return results


def confusion(seen: Observations, level: str, threshold: float) -> pd.DataFrame:
    """Counts [truth, predicted]: patches by the largest probability; images and cases by the
    decision rule with the threshold fixed on hold-out.
    """
    if len(seen.classes) == 1:
        predicted = np.where(seen.scores[:, 0] >= (0.5 if level == "patch" else threshold), 2, 0)
        codes, truth = [0, 2], np.where(seen.truth == 2, 2, 0)
    else:
        lesion = np.where(seen.scores[:, 2] >= seen.scores[:, 1], 2, 1)
        predicted = (
            seen.scores.argmax(1)
            if level == "patch"
            else np.where(seen.scores[:, 0] >= threshold, 0, lesion)
        )
        codes, truth = [0, 1, 2], seen.truth
    names = [label_name(code, len(codes)) for code in codes]
    return pd.DataFrame(
        [[int(((truth == t) & (predicted == p)).sum()) for p in codes] for t in codes],
        index=names,
        columns=names,
    )


@_settled
def malignant_operating_point(
    study: Path, run: str, split: str, level: str
) -> OperatingPoint | None:
    """Sensitivity and specificity for malignant at the threshold that reaches sensitivity .8 on
    hold-out; None where hold-out has one class.
    """
    return point_of(
        observations(study, run, split, level), observations(study, run, "holdout", level)
    )


def point_of(seen: Observations, holdout: Observations) -> OperatingPoint | None:
    """The same for observations at hand."""
    return points_of(seen, holdout, ("sensitivity .8",)).get("sensitivity .8")


# Rules by which a threshold is fixed on hold-out: name -> (rule, value) of `fixed_threshold`.
RULES = {
    "sensitivity .8": ("sensitivity", 0.8),
    "sensitivity .9": ("sensitivity", 0.9),
    "specificity .9": ("specificity", 0.9),
    "largest Youden index": ("youden", 0.0),
}


def points_of(
    seen: Observations, holdout: Observations, rules: Iterable[str] = tuple(RULES)
) -> dict[str, OperatingPoint]:
    """Malignant's operating points at thresholds fixed on hold-out, by rule; empty where hold-out
    has one class.
    """
    y, score = holdout.of("malignant")
    if len(set(y.tolist())) < 2:
        return {}
    return {
        name: operating_point(
            *seen.of("malignant"), fixed_threshold(y, score, *RULES[name]), seen.patient
        )
        for name in rules
    }


@_settled
def malignant_calibration(study: Path, run: str, split: str) -> Calibration:
    """Calibration of the patch probability of malignant."""
    seen = observations(study, run, split, "patch")
    return calibration(*seen.of("malignant"), cluster=seen.patient)


@_settled
def subgroups(study: Path, run: str, split: str) -> list[Subgroup]:
    """AUC for malignant at image level by density, view, scanner, lesion type and subtlety; groups
    of fewer than five of either class are left out.
    """
    with store.read(study) as con:
        scores = unit_table.image_scores(con, run, split)
        people = dataset_table.patients(con)[["patient_id", "density"]]
        findings = dataset_table.findings(con)
    return subgroups_of(scores, people, findings)


def subgroups_of(
    scores: pd.DataFrame, people: pd.DataFrame, findings: pd.DataFrame
) -> list[Subgroup]:
    """The same from one split's image scores (with view and scanner), patients (with density) and
    findings.
    """
    findings = findings[findings["pathology"] == "MALIGNANT"]
    frame = scores[scores["truth"].notna()].merge(people, on="patient_id")
    found = [
        _subgroup(variable, value, rows)
        for variable in ("density", "view", "scanner")
        for value, rows in frame.groupby(variable)
    ]
    # Type and subtlety belong to findings: the malignant images that have a finding of that kind,
    # against all that are not malignant.
    benign = frame[frame["truth"] != 2]
    for variable in ("lesion_type", "subtlety"):
        for value, ids in findings.dropna(subset=[variable]).groupby(variable)["mammogram_id"]:
            found.append(
                _subgroup(
                    variable.replace("_", " "),
                    value,
                    pd.concat(
                        [
                            frame[(frame["truth"] == 2) & frame["mammogram_id"].isin(set(ids))],
                            benign,
                        ]
                    ),
                )
            )
    return [group for group in found if group is not None]


def _subgroup(variable: str, value: object, rows: pd.DataFrame) -> Subgroup | None:
    """The AUC of these images; None where either class has fewer than five."""
    truth, score, patient = (
        (rows["truth"] == 2).to_numpy(bool),
        rows["s_malignant"].to_numpy(float),
        rows["patient_id"].to_numpy(str),
    )
    if min(truth.sum(), (~truth).sum()) < LEAST_IN_SUBGROUP or not str(value):
        return None
    return Subgroup(
        variable,
        str(value).removesuffix(".0").lower(),
        auc_interval(truth, score, patient, "obuchowski"),
        len(rows),
        rows["patient_id"].nunique(),
        truth,
        score,
        patient,
    )


def interactions(groups: list[Subgroup], resamples: int = 500, seed: int = 1) -> list[Interaction]:
    """Per variable with two groups or more: do their AUCs differ?

    Wald's chi-square on all contrasts, covariance by resampling patients (a patient's images can be
    in several groups, so the groups are not independent).
    """
    found = []
    for variable in dict.fromkeys(g.variable for g in groups):
        mine = [g for g in groups if g.variable == variable and g.auc.estimate is not None]
        if len(mine) >= 2:
            found.append(_interaction(variable, mine, resamples, seed))
    return found


def _interaction(variable: str, groups: list[Subgroup], resamples: int, seed: int) -> Interaction:
    codes, patients = cluster_codes(
        np.concatenate([g.patient for g in groups]), sum(len(g.patient) for g in groups)
    )
    ends = np.cumsum([len(g.patient) for g in groups])[:-1]
    areas = np.stack(
        [
            bootstrap_aucs(g.truth, g.score, part, patients, resamples, seed)
            for g, part in zip(groups, np.split(codes, ends))
        ]
    )
    areas = areas[:, ~np.isnan(areas).any(0)]
    contrast = np.array(
        [(g.auc.estimate or 0.0) - (groups[0].auc.estimate or 0.0) for g in groups[1:]]
    )
    df = len(contrast)
    if areas.shape[1] < 10 * (df + 1):
        return Interaction(
            variable,
            len(groups),
            None,
            df,
            None,
            "too few resamples of patients hold both classes in every group",
        )
    covariance = np.atleast_2d(np.cov(areas[1:] - areas[0]))
    if np.linalg.matrix_rank(covariance) < df:
        return Interaction(
            variable,
            len(groups),
            None,
            df,
            None,
            "the AUCs of the groups do not vary between resamples of patients",
        )
    statistic = float(contrast @ np.linalg.solve(covariance, contrast))
    return Interaction(variable, len(groups), statistic, df, float(chi2.sf(statistic, df)), None)


@_settled
def compare_runs(study: Path, first: str, second: str, split: str, level: str) -> AucDifference:
    """Malignant AUC of two evaluate runs on the observations both have, paired and clustered by
    patient.
    """
    return compared(*(observations(study, run, split, level) for run in (first, second)))


def compared(a: Observations, b: Observations) -> AucDifference:
    """The same for observations at hand; ValueError where they share none."""
    common, left, right = np.intersect1d(a.key, b.key, return_indices=True)
    if not len(common):
        raise ValueError("the two runs share no observation")
    y, score = a.of("malignant")
    return compare_aucs(y[left], score[left], b.of("malignant")[1][right], a.patient[left])


@_settled
def failures(study: Path, run: str, split: str, most: int = 8) -> pd.DataFrame:
    """Normal images with the highest and malignant ones with the lowest malignant score: kind,
    mammogram_id, patient_id, s_malignant.
    """
    with store.read(study) as con:
        frame = unit_table.image_scores(con, run, split)
    normal = (
        frame[frame["truth"] == 0].nlargest(most, "s_malignant").assign(kind="normal, scored high")
    )
    missed = (
        frame[frame["truth"] == 2]
        .nsmallest(most, "s_malignant")
        .assign(kind="malignant, scored low")
    )
    return pd.concat([missed, normal])[
        ["kind", "mammogram_id", "patient_id", "s_malignant"]
    ].reset_index(drop=True)


@dataclass(frozen=True)
class Architecture:
    """One evaluate run in the table across architectures (the form of SPIE 2018, Table 1). auc: per
    class, None where there is none; published: the same classes of the same architecture as printed
    in the papers; source: which paper and split.
    """

    run: str
    architecture: str
    weights: str
    epochs: int
    auc: dict[str, AucInterval]
    n: int
    patients: int
    published: dict[str, float]
    source: str


def architectures(study: Path, split: str, level: str) -> list[Architecture]:
    """Every evaluate run, newest last, with the AUCs that the evaluation measured and the papers'
    values beside them.
    """
    return compared_architectures(study, tuple(r.run for r in background(study).runs), split, level)


@_settled
def compared_architectures(
    study: Path, runs: tuple[str, ...], split: str, level: str
) -> list[Architecture]:
    """The same for these evaluate runs."""
    with store.read(study) as con:
        trains = {row["run"]: row for row in run_table.runs(con, "train").to_dict("records")}
        parents = {
            row["run"]: row["parents"] for row in run_table.runs(con, "evaluate").to_dict("records")
        }
        metrics = {run: run_table.metrics(con, run, split) for run in runs}
    found = []
    for run, table in metrics.items():
        rows = table[(table["level"] == level) & (table["name"] == "auc")]
        trained = trains[next(p for p in parents[run] if p.startswith("train-"))]
        training, name = trained["settings"]["training"], trained["manifest"]["architecture"]
        published, source = (
            PUBLISHED_ARCHITECTURES.get(name, ({}, "")) if level == "patch" else ({}, "")
        )
        found.append(
            Architecture(
                run,
                name,
                Path(training["weights"]).name,
                training["epochs"],
                {row["class"]: _stored_auc(row) for row in rows.to_dict("records")},
                int(rows["n"].max()) if len(rows) else 0,
                int(rows["patients"].max()) if len(rows) else 0,
                published,
                source,
            )
        )
    return found


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluate run, the train run it judges, and that one's architecture."""

    run: str
    train: str
    architecture: str


@dataclass(frozen=True)
class Background:
    """What stands around the numbers of the Performance page. runs: newest last; trained: whether
    there is a classifier at all; opened: how often the test split was looked at; simulated: whether
    the mammograms are synthetic.
    """

    runs: tuple[EvaluatedRun, ...]
    trained: bool
    opened: int
    simulated: bool


def background(study: Path) -> Background:
    """All of it in one visit to the store."""
    with store.read(study) as con:
        evaluated, trains = run_table.runs(con, "evaluate"), run_table.runs(con, "train")
        opened, sources = (
            len(run_table.events(con, "test split opened")),
            dataset_table.sources(con),
        )
    architecture = {
        row["run"]: row["manifest"]["architecture"] for row in trains.to_dict("records")
    }
    runs = []
    for row in evaluated.to_dict("records"):
        train = next(p for p in row["parents"] if p.startswith("train-"))
        runs.append(EvaluatedRun(row["run"], train, architecture[train]))
    return Background(
        tuple(runs), bool(architecture), opened, bool(len(sources) and sources["simulated"].any())
    )


def _stored_auc(row: dict[str, Any]) -> AucInterval:
    """A row of the metrics table as the interval it was."""
    estimate, low, high = (
        None if row[name] is None or row[name] != row[name] else float(row[name])
        for name in ("estimate", "low", "high")
    )
    counts = int(row["positives"]), int(row["n"]) - int(row["positives"])
    return AucInterval(
        estimate,
        None,
        low,
        high,
        0.95,
        "obuchowski",
        row["reason"] or None,
        *counts,
        int(row["patients"]),
    )


# Published patch-level numbers, to be read beside one's own: DeepMiner (HDSR 2021, test split) and
# Wu et al. (SPIE 2018, validation, malignant against
# all other).
PUBLISHED_AUC = {"normal": 0.862, "benign": 0.844, "malignant": 0.872}
_SPIE = "SPIE 2018, validation, two classes"
PUBLISHED_ARCHITECTURES: dict[str, tuple[dict[str, float], str]] = {
    "alexnet": ({"malignant": 0.8632}, _SPIE),
    "vgg16": ({"malignant": 0.8929}, _SPIE),
    "inception_v3": ({"malignant": 0.8805}, _SPIE),
    "resnet152": (
        {**PUBLISHED_AUC, "malignant (two classes)": 0.8757},
        "HDSR 2021, test; two classes: SPIE 2018, validation",
    ),
}
