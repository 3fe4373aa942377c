"""Performance of one evaluate run at one split and level, computed from its stored predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from core import store
from core.class_labels import ClassDefinition, pathology_name
from core.store import dataset_table, run_table, unit_table
from evaluation.intervals import Interval
from evaluation.queries.observations import Observations, load_observations
from evaluation.roc import AucDifference, AucInterval, auc_interval, compare_aucs
from evaluation.roc.calibration_curve import Calibration, calibration
from evaluation.roc.curve import RocCurve, roc_curve
from evaluation.roc.diagnostic import OperatingPoint, fixed_threshold, operating_point
from evaluation.roc.partial_area import PartialAuc, SpecificityAt, partial_auc, specificity_at
from evaluation.roc.resampled_curves import partial_auc_interval, specificity_interval
from evaluation.roc.subgroups import Subgroup

LEAST_IN_SUBGROUP = 5
# Resampled curves of a page: more would move a bound by less than its last digit.
CURVE_RESAMPLES = 500
# Rules by which a threshold is fixed on hold-out: name -> (rule, value) of `fixed_threshold`.
OPERATING_RULES = {
    "sensitivity .8": ("sensitivity", 0.8),
    "sensitivity .9": ("sensitivity", 0.9),
    "specificity .9": ("specificity", 0.9),
    "largest Youden index": ("youden", 0.0),
}
# Functions with this decorator depend on the name of a run alone, and runs are immutable. Callers
# must not write into a result.
_remember_by_run = lru_cache(maxsize=128)


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """One class against the rest: AUC, partial AUC, specificity at sensitivity .8, ROC curve."""

    name: str
    auc: AucInterval
    partial: PartialAuc
    specificity: SpecificityAt
    curve: RocCurve
    partial_interval: Interval
    specificity_interval: Interval

    def row(self) -> dict[str, object]:
        """Return the numbers as one row of a table for download."""
        return {
            "class": self.name,
            "auc": self.auc.estimate,
            "low": self.auc.low,
            "high": self.auc.high,
            "method": self.auc.method,
            "reason": self.auc.reason or "",
            "pauc": self.partial.raw,
            "pauc_low": self.partial_interval.low,
            "pauc_high": self.partial_interval.high,
            "pauc_fraction": self.partial.fraction,
            "pauc_mcclish": self.partial.mcclish,
            "specificity_at_80": self.specificity.interpolated,
            "specificity_at_80_low": self.specificity_interval.low,
            "specificity_at_80_high": self.specificity_interval.high,
        }


@_remember_by_run
def load_class_results(study: Path, run: str, split: str, level: str) -> list[ClassResult]:
    """Return the results of every class of a run at one split and level."""
    return compute_class_results(load_observations(study, run, split, level))


def compute_class_results(observations: Observations) -> list[ClassResult]:
    """Return the results of every class; an empty list without observations."""
    results = []
    patient = observations.patient
    for name in observations.classes if len(observations.truth) else ():
        truth, score = observations.against_rest(name)
        results.append(
            ClassResult(
                name=name,
                auc=auc_interval(truth, score, patient),
                partial=partial_auc(truth, score),
                specificity=specificity_at(truth, score),
                curve=roc_curve(truth, score, patient, resamples=CURVE_RESAMPLES),
                partial_interval=partial_auc_interval(
                    truth, score, patient, resamples=CURVE_RESAMPLES
                ),
                specificity_interval=specificity_interval(
                    truth, score, patient, resamples=CURVE_RESAMPLES
                ),
            )
        )
    return results


def confusion_matrix(observations: Observations, level: str, threshold: float) -> pd.DataFrame:
    """Return counts [truth, predicted].

    Patches are predicted by the largest probability; mammograms and cases by the decision rule with
    the threshold fixed on hold-out (docs/reference/definitions.md, "Image and case scores").
    """
    scores = observations.scores
    codes, names = observations.definition.codes, list(observations.definition.outputs.values())
    truth = observations.truth
    if len(observations.classes) == 1:
        # Patches are called by the larger probability, mammograms by a threshold from hold-out.
        cut = 0.5 if level == "patch" else threshold
        predicted = np.where(scores[:, 0] >= cut, codes[1], 0)
        truth = np.where(truth == codes[1], codes[1], 0)
    elif level == "patch":
        predicted = scores.argmax(1)
    else:
        # The tie rule of `core.interpretation.explanation.lesion_output`: the last of equal ones.
        lesion = scores.shape[1] - 1 - scores[:, :0:-1].argmax(1)
        predicted = np.where(scores[:, 0] >= threshold, 0, lesion)
    return pd.DataFrame(
        [[int(((truth == t) & (predicted == p)).sum()) for p in codes] for t in codes],
        index=names,
        columns=names,
    )


@_remember_by_run
def load_operating_point(study: Path, run: str, split: str, level: str) -> OperatingPoint | None:
    """Return the operating point for malignant at the threshold with sensitivity .8 on hold-out.

    None if hold-out has one class.
    """
    points = load_operating_points(study, run, split, level)
    return points.get("sensitivity .8")


@_remember_by_run
def load_operating_points(
    study: Path, run: str, split: str, level: str
) -> dict[str, OperatingPoint]:
    """Return the operating points for malignant by rule; empty if hold-out has one class."""
    return operating_points(
        load_observations(study, run, split, level), load_observations(study, run, "holdout", level)
    )


def operating_points(
    observations: Observations,
    holdout: Observations,
    rules: Iterable[str] = tuple(OPERATING_RULES),
) -> dict[str, OperatingPoint]:
    """Return the operating points for malignant at thresholds fixed on hold-out, by rule.

    Empty if hold-out has one class.
    """
    truth, score = holdout.positive_against_rest()
    if len(set(truth.tolist())) < 2:
        return {}
    return {
        rule: operating_point(
            *observations.positive_against_rest(),
            fixed_threshold(truth, score, *OPERATING_RULES[rule]),
            observations.patient,
        )
        for rule in rules
    }


@_remember_by_run
def load_calibration(study: Path, run: str, split: str) -> Calibration:
    """Return the calibration of the patch probability of malignant."""
    observations = load_observations(study, run, split, "patch")
    return calibration(*observations.positive_against_rest(), cluster=observations.patient)


@_remember_by_run
def load_subgroups(study: Path, run: str, split: str) -> list[Subgroup]:
    """Return the AUC for malignant at mammogram level in subgroups; see `compute_subgroups`."""
    with store.read(study) as con:
        scores = unit_table.load_image_scores(con, run, split)
        patients = dataset_table.load_patients(con)[["patient_id", "density"]]
        findings = dataset_table.load_findings(con)
        classes = run_table.run_classes(con, run)
    return compute_subgroups(scores, patients, findings, classes)


def compute_subgroups(
    scores: pd.DataFrame, patients: pd.DataFrame, findings: pd.DataFrame, classes: ClassDefinition
) -> list[Subgroup]:
    """Return the AUC for malignant by density, view, scanner, lesion type and subtlety.

    Malignant stands for the positive class of the study.

    Groups with fewer than five mammograms of either class are left out.

    Parameters
    ----------
    scores : DataFrame
        Mammogram scores of one split, with view and scanner.
    patients : DataFrame
        patient_id and density.
    findings : DataFrame
        mammogram_id, pathology, lesion_type, subtlety.
    classes : ClassDefinition
        Of the run.
    """
    code = classes.positive_code
    positive = findings[findings["pathology"] == pathology_name(classes.positive)]
    table = scores[scores["truth"].notna()].merge(patients, on="patient_id")
    groups = [
        _subgroup(variable, value, rows, classes)
        for variable in ("density", "view", "scanner")
        for value, rows in table.groupby(variable)
    ]
    # Lesion type and subtlety belong to findings: the malignant mammograms with such a finding are
    # compared with all mammograms that are not malignant.
    controls = table[table["truth"] != code]
    for variable in ("lesion_type", "subtlety"):
        # A mammogram with two malignant findings may count in two groups.
        described = positive.dropna(subset=[variable])
        for value, ids in described.groupby(variable)["mammogram_id"]:
            cases = table[(table["truth"] == code) & table["mammogram_id"].isin(set(ids))]
            rows = pd.concat([cases, controls])
            groups.append(_subgroup(variable.replace("_", " "), value, rows, classes))
    return [group for group in groups if group is not None]


def printed_subgroups(groups: Iterable[Subgroup], n: int) -> list[Subgroup]:
    """Return the subgroups that are printed beside the result of all n mammograms.

    A variable with one value for all mammograms would repeat that result.
    """
    return [group for group in groups if group.n < n]


def _subgroup(
    variable: str, value: object, rows: pd.DataFrame, classes: ClassDefinition
) -> Subgroup | None:
    """Return the AUC of these mammograms; None if either class has fewer than five."""
    truth = (rows["truth"] == classes.positive_code).to_numpy(bool)
    score = rows[f"s_{classes.positive}"].to_numpy(float)
    patient = rows["patient_id"].to_numpy(str)
    if min(truth.sum(), (~truth).sum()) < LEAST_IN_SUBGROUP or not str(value):
        return None
    return Subgroup(
        variable=variable,
        # pandas reads integers with gaps as floats: 3.0 stands for 3.
        value=str(value).removesuffix(".0").lower(),
        auc=auc_interval(truth, score, patient),
        n=len(rows),
        patients=rows["patient_id"].nunique(),
        truth=truth,
        score=score,
        patient=patient,
    )


@_remember_by_run
def compare_runs(study: Path, first: str, second: str, split: str, level: str) -> AucDifference:
    """Compare the malignant AUC of two evaluate runs; see `compare_observations`."""
    return compare_observations(
        load_observations(study, first, split, level),
        load_observations(study, second, split, level),
    )


def compare_observations(first: Observations, second: Observations) -> AucDifference:
    """Return the paired difference of the malignant AUC, clustered by patient.

    ValueError if the two have no observation in common.
    """
    # Two runs on other patches or splits may share a part of their observations.
    common, left, right = np.intersect1d(first.key, second.key, return_indices=True)
    if not len(common):
        raise ValueError("the two runs share no observation")
    truth, score = first.positive_against_rest()
    other = second.positive_against_rest()[1]
    return compare_aucs(truth[left], score[left], other[right], first.patient[left], method="logit")


@_remember_by_run
def load_extreme_errors(study: Path, run: str, split: str, most: int = 8) -> pd.DataFrame:
    """Return normal mammograms with the highest, and malignant ones with the lowest score.

    Columns: kind, mammogram_id, patient_id, score (of malignant, the positive class).
    """
    with store.read(study) as con:
        scores = unit_table.load_image_scores(con, run, split)
        classes = run_table.run_classes(con, run)
    scores = scores.rename(columns={f"s_{classes.positive}": "score"})
    normal = scores[scores["truth"] == 0].nlargest(most, "score")
    positive = scores[scores["truth"] == classes.positive_code].nsmallest(most, "score")
    rows = pd.concat(
        [
            positive.assign(kind=f"{classes.positive}, scored low"),
            normal.assign(kind=f"{classes.normal}, scored high"),
        ]
    )
    return rows[["kind", "mammogram_id", "patient_id", "score"]].reset_index(drop=True)
