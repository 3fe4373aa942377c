"""Tables of patients and classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import store
from core.class_labels import SPLITS
from core.lineage import run_class_names, run_classes
from core.store import dataset_table
from evaluation.intervals import decimal, join_reasons, percent
from evaluation.queries import architectures, performance
from evaluation.queries.observations import LEVELS, load_observations
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.base import REPORTED_SPLIT, auc_method_sentence, newest_run
from evaluation.reporting.tables.base import Table, TableColumn
from evaluation.roc import AucInterval


def _count_with_share(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part / whole)})" if whole else f"{part:,}"


@dataclass(frozen=True)
class _Cohort:
    """The tables of a study that Table 1 counts; each has a column `split`."""

    patients: pd.DataFrame
    mammograms: pd.DataFrame
    findings: pd.DataFrame
    patches: pd.DataFrame


def _load_cohort(study: Path, run: str) -> _Cohort:
    with store.read(study) as con:
        patients = dataset_table.load_patients(con).merge(
            dataset_table.load_splits(con, run), on="patient_id"
        )
        mammograms = dataset_table.load_mammograms(con)
        findings = dataset_table.load_findings(con)
        patches = dataset_table.load_patch_counts(con, run)
    mammograms = mammograms.merge(patients[["patient_id", "split"]], on="patient_id")
    findings = findings.merge(mammograms[["mammogram_id", "split"]], on="mammogram_id")
    return _Cohort(patients, mammograms, findings, patches)


def build_cohort_table(study: Path) -> Table:
    """Count patients, mammograms, findings and patches by split (Table 1 of a paper)."""
    run = newest_run(study, "patches")
    cohort = _load_cohort(study, run)
    # Each characteristic is a function of a list of splits; the last column is all of them.
    rows = [
        (name, *(value([split]) for split in SPLITS), value(list(SPLITS)))
        for name, value in (
            *_patient_characteristics(cohort),
            *_finding_counts(cohort),
            *_patch_counts(cohort, run_class_names(study, run)),
        )
    ]
    columns = (
        TableColumn("Characteristic", wrap=True),
        TableColumn("Training"),
        TableColumn("Hold-out"),
        TableColumn("Test"),
        TableColumn("All"),
    )
    return Table(
        columns,
        rows,
        "Patients were assigned to splits: all images of a patient are in one split. Patches were"
        " assigned to classes by the overlap rule of the settings.",
        {
            "patients": len(cohort.patients),
            "mammograms": len(cohort.mammograms),
            "findings": len(cohort.findings),
        },
    )


_Characteristic = tuple[str, Callable[[list[str]], str]]


def _patient_characteristics(cohort: _Cohort) -> Iterator[_Characteristic]:
    people, mammograms = cohort.patients, cohort.mammograms

    def patients(splits: list[str]) -> pd.DataFrame:
        return people[people["split"].isin(splits)]

    yield "Patients", lambda splits: f"{len(patients(splits)):,}"
    yield "Mammograms", lambda splits: f"{mammograms['split'].isin(splits).sum():,}"
    if people["age"].notna().any():
        yield (
            "Age, mean (SD)",
            lambda splits: (
                f"{patients(splits)['age'].mean():.1f} ({patients(splits)['age'].std():.1f})"
            ),
        )
    for density in sorted(people["density"].dropna().unique()):
        yield (
            f"Density {int(density)}, patients",
            lambda splits, density=density: _count_with_share(  # type: ignore[misc]
                int((patients(splits)["density"] == density).sum()), len(patients(splits))
            ),
        )


def _finding_counts(cohort: _Cohort) -> Iterator[_Characteristic]:
    findings = cohort.findings
    for pathology in sorted(findings["pathology"].unique()):
        of_pathology = findings["pathology"] == pathology
        yield (
            f"Findings {pathology.lower().replace('_', ' ')}",
            lambda splits, of_pathology=of_pathology: (  # type: ignore[misc]
                f"{(findings['split'].isin(splits) & of_pathology).sum():,}"
            ),
        )


def _patch_counts(cohort: _Cohort, names: dict[int, str]) -> Iterator[_Characteristic]:
    patches = cohort.patches

    def count(splits: list[str], codes: list[int]) -> int:
        counted = patches["split"].isin(splits) & patches["label"].isin(codes)
        return int(patches.loc[counted, "patches"].sum())

    for code, name in names.items():
        yield (
            f"Patches {name}",
            lambda splits, code=code: _count_with_share(  # type: ignore[misc]
                count(splits, [code]), count(splits, [0, 1, 2])
            ),
        )


def build_classifier_table(study: Path) -> Table:
    """Tabulate AUC, partial AUC and specificity by level and class (Performance page)."""
    run = newest_run(study, "evaluate")
    rows, counts, areas = [], {}, []
    for level in LEVELS:
        observations = load_observations(study, run, REPORTED_SPLIT, level)
        unit = {"patch": "patches", "image": "mammograms", "case": "patients"}[level]
        counts[unit] = len(observations.truth)
        for r in performance.load_class_results(study, run, REPORTED_SPLIT, level)[::-1]:
            areas.append(r.auc)
            rows.append(
                (
                    level,
                    r.name,
                    len(observations.truth),
                    observations.patients,
                    r.auc.estimate,
                    r.auc.low,
                    r.auc.high,
                    r.partial.raw,
                    r.partial_interval.low,
                    r.partial_interval.high,
                    r.partial.fraction,
                    r.partial.mcclish,
                    r.partial.deepminer_2021,
                    r.specificity.interpolated,
                    r.specificity_interval.low,
                    r.specificity_interval.high,
                    join_reasons(r.auc.reason, r.partial_interval.reason) or "",
                )
            )
    columns = (
        TableColumn("Level"),
        TableColumn("Class"),
        TableColumn("n"),
        TableColumn("Patients"),
        TableColumn("AUC", decimal, interval=True),
        TableColumn("pAUC raw", decimal, interval=True),
        TableColumn("pAUC / 0.2", decimal),
        TableColumn("pAUC McClish", decimal),
        TableColumn("DeepMiner 2021 formula", decimal),
        TableColumn("Specificity at .8", decimal, interval=True),
        TableColumn("Remark", wrap=True),
    )
    return Table(
        columns,
        rows,
        f"{REPORTED_SPLIT.capitalize()} split, a class against the rest. Partial AUC (pAUC) over"
        " sensitivity .8 to 1 (maximum .2, chance .02); the DeepMiner 2021 formula has chance"
        " .036.",
        counts,
        f"{auc_method_sentence(areas)} Those of the partial AUC and of the specificity at"
        " sensitivity .8 are percentiles of the Bayesian bootstrap of patients.",
    )


def build_operating_point_table(study: Path) -> Table:
    """Tabulate sensitivity and specificity for malignant (the positive class).

    At the thresholds fixed on hold-out.
    """
    run = newest_run(study, "evaluate")
    positive = run_classes(study, run).positive
    rows: list[tuple[object, ...]] = []
    for level in LEVELS:
        points = performance.load_operating_points(study, run, REPORTED_SPLIT, level)
        rows += [
            (
                level,
                rule,
                point.threshold,
                point.table.sensitivity.estimate,
                point.table.sensitivity.low,
                point.table.sensitivity.high,
                point.table.tp + point.table.fn,
                point.table.specificity.estimate,
                point.table.specificity.low,
                point.table.specificity.high,
                point.table.fp + point.table.tn,
            )
            for rule, point in points.items()
        ]
    if not rows:
        reason = "hold-out has one class, so no threshold can be fixed on it"
        raise MissingInput("Evaluation", reason, "deepminer ingest")
    columns = (
        TableColumn("Level"),
        TableColumn("Fixed on hold-out at", wrap=True),
        TableColumn("Threshold", lambda value: decimal(value, 4)),
        TableColumn("Sensitivity", decimal, interval=True),
        TableColumn(positive.capitalize()),
        TableColumn("Specificity", decimal, interval=True),
        TableColumn("Others"),
    )
    return Table(
        columns,
        rows,
        f"{positive.capitalize()} against the rest, {REPORTED_SPLIT} split, at thresholds fixed on"
        " hold-out. Intervals clustered by patient (Korn and Graubard).",
        {},
        "Thresholds were fixed on the hold-out split.",
    )


def build_architecture_table(study: Path) -> Table:
    """Tabulate every evaluated network with the published values (SPIE 2018, Table 1)."""
    names = run_classes(study, newest_run(study, "evaluate")).names[::-1]
    networks = architectures.load_architectures(study, REPORTED_SPLIT, "patch")
    rows: list[tuple[object, ...]] = [
        (
            r.architecture,
            r.weights,
            r.epochs,
            r.n,
            r.patients,
            *(v for name in names for v in _estimate_and_bounds(r.auc.get(name))),
            r.published.get("malignant"),
            r.published.get("malignant (two classes)"),
            r.source,
            r.run,
        )
        for r in networks
    ]
    evaluated = {r.architecture for r in networks}
    rows += [
        (
            name,
            "",
            *(None,) * (3 + 3 * len(names)),
            values.get("malignant"),
            values.get("malignant (two classes)"),
            source,
            "published only",
        )
        for name, (values, source) in architectures.PUBLISHED_ARCHITECTURES.items()
        if name not in evaluated
    ]
    columns = (
        TableColumn("Network"),
        TableColumn("Weights", wrap=True),
        TableColumn("Epochs"),
        TableColumn("n patches"),
        TableColumn("Patients"),
        *(TableColumn(f"AUC {name}", decimal, True, True) for name in names),
        TableColumn("Published malignant", lambda v: decimal(v, 4)),
        TableColumn("Published, two classes", lambda v: decimal(v, 4)),
        TableColumn("Published in", wrap=True),
        TableColumn("Run", wrap=True),
    )
    return Table(
        columns,
        # NaN would be printed as a number.
        [tuple(None if isinstance(v, float) and v != v else v for v in row) for row in rows],
        f"Patches of the {REPORTED_SPLIT} split. Published values were measured on other data and"
        " are not comparable.",
        {
            "patches": max((r.n for r in networks), default=0),
            "patients": max((r.patients for r in networks), default=0),
        },
        auc_method_sentence(auc for r in networks for auc in r.auc.values()),
    )


def _estimate_and_bounds(
    auc: AucInterval | None,
) -> tuple[float | None, float | None, float | None]:
    return (auc.estimate, auc.low, auc.high) if auc else (None, None, None)
