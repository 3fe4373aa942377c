"""Tables about patients and classifiers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from core import store
from core.class_labels import CLASSES, SPLITS
from core.store import dataset_table
from evaluation.intervals import decimal, percent
from evaluation.queries import performance
from evaluation.queries.class_names import class_words
from evaluation.reporting.figures.base import newest
from evaluation.reporting.tables.base import Column, Table

SPLIT = "test"


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part / whole)})" if whole else f"{part:,}"


def cohort(study: Path) -> Table:
    """Patients, mammograms, findings and patches by split (Table 1)."""
    run = newest(study, "patches")
    with store.read(study) as con:
        people = dataset_table.patients(con).merge(dataset_table.splits(con, run), on="patient_id")
        films, findings, patches = (
            dataset_table.mammograms(con),
            dataset_table.findings(con),
            dataset_table.patch_counts(con, run),
        )
    films = films.merge(people[["patient_id", "split"]], on="patient_id")
    findings = findings.merge(films[["mammogram_id", "split"]], on="mammogram_id")

    def row(name: str, value: Callable[[list[str]], str]) -> tuple[str, ...]:
        return (name, *(value([split]) for split in SPLITS), value(list(SPLITS)))

    def patients(splits: list[str]) -> pd.DataFrame:
        return people[people["split"].isin(splits)]

    rows = [
        row("Patients", lambda s: f"{len(patients(s)):,}"),
        row("Mammograms", lambda s: f"{films['split'].isin(s).sum():,}"),
    ]
    if people["age"].notna().any():
        rows.append(
            row(
                "Age, mean (SD)",
                lambda s: f"{patients(s)['age'].mean():.1f} ({patients(s)['age'].std():.1f})",
            )
        )
    for density in sorted(people["density"].dropna().unique()):
        rows.append(
            row(
                f"Density {int(density)}, patients",
                lambda s, d=density: _share(  # type: ignore[misc]
                    int((patients(s)["density"] == d).sum()), len(patients(s))
                ),
            )
        )
    for pathology in sorted(findings["pathology"].unique()):
        rows.append(
            row(
                f"Findings {pathology.lower().replace('_', ' ')}",
                lambda s, p=pathology: (  # type: ignore[misc]
                    f"{(findings['split'].isin(s) & (findings['pathology'] == p)).sum():,}"
                ),
            )
        )

    def count(splits: list[str], codes: list[int]) -> int:
        return int(
            patches[patches["split"].isin(splits) & patches["label"].isin(codes)]["patches"].sum()
        )

    for code, name in class_words(study, run).items():
        rows.append(
            row(f"Patches {name}", lambda s, c=code: _share(count(s, [c]), count(s, [0, 1, 2])))  # type: ignore[misc]
        )
    columns = (
        Column("Characteristic"),
        Column("Training"),
        Column("Hold-out"),
        Column("Test"),
        Column("All"),
    )
    return Table(
        columns,
        rows,
        "Split by patient: all images of a patient are in one split. A patch's class by the overlap"
        " rule of the settings.",
        {"patients": len(people), "mammograms": len(films), "findings": len(findings)},
    )


def classifiers(study: Path) -> Table:
    """AUC, partial AUC and specificity per level and class, as on the Performance page."""
    run = newest(study, "evaluate")
    rows, counts = [], {}
    for level in performance.LEVELS:
        seen = performance.observations(study, run, SPLIT, level)
        counts[{"patch": "patches", "image": "mammograms", "case": "patients"}[level]] = len(
            seen.truth
        )
        for r in performance.class_results(study, run, SPLIT, level)[::-1]:
            rows.append(
                (
                    level,
                    r.name,
                    len(seen.truth),
                    seen.patients,
                    r.auc.estimate,
                    r.auc.low,
                    r.auc.high,
                    r.partial.raw,
                    r.partial.fraction,
                    r.partial.mcclish,
                    r.partial.deepminer_2021,
                    r.specificity.interpolated,
                    r.auc.reason or "",
                )
            )
    numbers = [
        Column(name, decimal)
        for name in (
            "pAUC raw",
            "pAUC / 0.2",
            "pAUC McClish",
            "DeepMiner 2021 formula",
            "Specificity at .8",
        )
    ]
    return Table(
        (
            Column("Level"),
            Column("Class"),
            Column("n"),
            Column("Patients"),
            Column("AUC", decimal, interval=True),
            *numbers,
            Column("Remark"),
        ),
        rows,
        f"{SPLIT.capitalize()} split, one class against the rest. Partial AUC over sensitivity .8"
        " to 1 (largest .2, chance .02); the DeepMiner 2021 formula has chance .036.",
        counts,
        "Intervals by Obuchowski's method with patients as clusters.",
    )


def architectures(study: Path) -> Table:
    """Every evaluated network with the published values (SPIE 2018, Table 1)."""
    newest(study, "evaluate")
    found = performance.architectures(study, SPLIT, "patch")
    rows = []
    for r in found:
        areas = [r.auc.get(name) for name in CLASSES[::-1]]
        rows.append(
            (
                r.architecture,
                r.weights,
                r.epochs,
                r.n,
                r.patients,
                *(v for a in areas for v in ((a.estimate, a.low, a.high) if a else (None,) * 3)),
                r.published.get("malignant"),
                r.published.get("malignant (two classes)"),
                r.source,
                r.run,
            )
        )
    shown = {r.architecture for r in found}
    for name, (values, source) in performance.PUBLISHED_ARCHITECTURES.items():
        if name not in shown:
            rows.append(
                (
                    name,
                    "",
                    None,
                    None,
                    None,
                    *(None,) * 9,
                    values.get("malignant"),
                    values.get("malignant (two classes)"),
                    source,
                    "published only",
                )
            )
    numbers = [Column(f"AUC {name}", decimal, interval=True) for name in CLASSES[::-1]]
    columns = (
        Column("Network"),
        Column("Weights"),
        Column("Epochs"),
        Column("n patches"),
        Column("Patients"),
        *numbers,
        Column("Published malignant", lambda v: decimal(v, 4)),
        Column("Published, two classes", lambda v: decimal(v, 4)),
        Column("Published in", long=True),
        Column("Run"),
    )
    return Table(
        columns,
        [tuple(None if isinstance(v, float) and v != v else v for v in row) for row in rows],
        f"Patches of the {SPLIT} split. Published values are from other data: to be read beside,"
        " not compared.",
        {
            "patches": max((r.n for r in found), default=0),
            "patients": max((r.patients for r in found), default=0),
        },
        "Intervals by Obuchowski's method with patients as clusters.",
    )
