"""Reporting checklists: the evidence in a study's record for each item of the guidelines.

No item is marked as fulfilled by the program; the table names evidence for the authors to check.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import settings, store
from core.store import (
    annotation_table,
    dataset_table,
    protocol_table,
    run_table,
    unit_table,
)
from core.store.connection import Connection
from evaluation.intervals import decimal, interval_text
from evaluation.reporting.base import REPORTED_SPLIT
from evaluation.reporting.tables.base import Table, TableColumn
from evaluation.reporting.tables.guidelines import GUIDELINES

# States of an item; the program never declares one fulfilled.
FOUND = "evidence found"
MISSING = "missing"
WRITE = "please write"
# Whether the record has evidence, and where it is (or the command that supplies it).
Evidence = tuple[bool, str]


@dataclass(frozen=True)
class ChecklistItem:
    """An item of a guideline: its number, the paraphrased text, the state and the evidence.

    evidence: its location (evidence found), the command that supplies it (missing), or why only the
    authors can answer (please write).
    """

    guideline: str
    number: str
    text: str
    state: str
    evidence: str


def build_checklist_table(study: Path) -> Table:
    """Tabulate the evidence for STARD 2015, CLAIM 2024 and TRIPOD+AI."""
    items = checklist_items(study)
    return Table(
        (
            TableColumn("Guideline"),
            TableColumn("Item"),
            TableColumn("Text (paraphrased)", wrap=True),
            TableColumn("State"),
            TableColumn("Evidence", wrap=True),
        ),
        [(i.guideline, i.number, i.text, i.state, i.evidence) for i in items],
        "Evidence found means only that the record contains something to check; no item is marked"
        " as fulfilled automatically. The items are paraphrased: consult the guidelines.",
    )


def checklist_items(study: Path) -> list[ChecklistItem]:
    """Return every item of the three guidelines with the evidence in the record."""
    record = recorded_evidence(study)
    items = []
    for guideline, entries in GUIDELINES.items():
        for number, text, fact in entries:
            if fact:
                present, evidence = record[fact]
                state = FOUND if present else MISSING
            else:
                state, evidence = WRITE, "not in the record; only the authors can answer"
            items.append(ChecklistItem(guideline, number, text, state, evidence))
    return items


def recorded_evidence(study: Path) -> dict[str, Evidence]:
    """Return the evidence for each fact that the items of `guidelines` name."""
    study_settings = settings.load_settings(study)
    with store.read(study) as con:
        runs = {
            kind: run_table.latest_run(con, kind)
            for kind in ("patches", "train", "evaluate", "dissect", "explain")
        }
        return {
            **_source_evidence(con),
            **_truth_evidence(con, runs["patches"]),
            **_partition_evidence(runs["patches"], study_settings),
            **_training_evidence(con, runs["train"]),
            **_performance_evidence(con, runs["evaluate"]),
            **_explanation_evidence(runs["explain"]),
            **_annotation_evidence(con, runs["dissect"]),
            **_reading_evidence(con),
            "external": (False, "one data set only: no test on data from another source"),
            "ensemble": (True, "none: one network, one checkpoint"),
        }


def _source_evidence(con: Connection) -> dict[str, Evidence]:
    """Return what the record holds of the source, its exclusions and its images."""
    if not dataset_table.dataset_counts(con)["mammograms"]:
        facts = ("sources", "eligibility", "preprocessing", "excluded", "scanner")
        return dict.fromkeys(facts, (False, "deepminer ingest"))
    sources = dataset_table.load_sources(con)
    skipped, problems = int(sources["skipped"].sum()), len(dataset_table.load_problems(con))
    scanners = sorted(set(dataset_table.load_mammograms(con)["scanner"]) - {""})
    return {
        "sources": (True, f"source: {', '.join(sources['kind'])}"),
        "eligibility": (
            True,
            f"every readable patient of the source; {skipped} excluded, each with its cause",
        ),
        "preprocessing": (
            True,
            "mammograms resized to four patches in width; inverted images corrected;"
            f" {problems} problems listed",
        ),
        "excluded": (
            True,
            f"{skipped} patients excluded because a file could not be read (Data page, Problems);"
            " no value was imputed",
        ),
        "scanner": (bool(scanners), f"scanner: {', '.join(scanners)}"),
    }


def _truth_evidence(con: Connection, patches_run: str | None) -> dict[str, Evidence]:
    """Return what the record holds of the reference standard and the patients."""
    findings, patients = dataset_table.load_findings(con), dataset_table.load_patients(con)
    described = bool(patients["age"].notna().any() or patients["density"].notna().any())
    baseline = (
        "table cohort: age and density by split"
        if described
        else "the source gives neither age nor density"
    )
    severity = (
        "table cohort: findings by pathology; lesion type, assessment and subtlety in the store"
        if len(findings)
        else "deepminer ingest"
    )
    evidence = {
        "baseline": (described and patches_run is not None, baseline),
        "severity": (bool(len(findings)), severity),
    }
    if not dataset_table.dataset_counts(con)["mammograms"]:
        return evidence | dict.fromkeys(("reference", "unproven"), (False, "deepminer ingest"))
    unproven = int((findings["pathology"] == "UNPROVEN").sum())
    return evidence | {
        "reference": (
            True,
            "pathology of each finding as given by the source; the truth of an image is its worst"
            " finding",
        ),
        "unproven": (True, f"{unproven} findings UNPROVEN: excluded from truth and counted"),
    }


def _partition_evidence(
    patches_run: str | None, study_settings: settings.Settings
) -> dict[str, Evidence]:
    """Return what the record holds of patches and splits."""
    if patches_run is None:
        return dict.fromkeys(("patches", "split", "flow"), (False, "deepminer patches"))
    patches, splits = study_settings.patches, study_settings.splits
    return {
        "patches": (
            True,
            f"patches of a quarter of the width; tissue at least {100 * patches.min_tissue:g} %;"
            f" overlap {100 * patches.min_overlap:g} % of the patch {patches.rule} of one finding;"
            f" ambiguous patches: {patches.ambiguous}",
        ),
        "split": (
            True,
            f"by patient, seed {study_settings.study.seed}, {splits.train:.0%} /"
            f" {splits.holdout:.0%} / rest; all images of a patient in one split",
        ),
        "flow": (True, "figure flow, table cohort"),
    }


def _training_evidence(con: Connection, train: str | None) -> dict[str, Evidence]:
    """Return what the record holds of the network and its training."""
    if train is None:
        facts = ("network", "training", "imbalance", "selection", "software")
        return dict.fromkeys(facts, (False, "deepminer train"))
    run = run_table.load_run(con, train)
    training: dict[str, Any] = run["settings"]["training"]
    manifest: dict[str, Any] = run["manifest"]
    reported = ("deepminer", "python", "torch", "torchvision")
    versions = [f"{name} {v}" for name, v in manifest["software"].items() if name in reported]
    return {
        "network": (
            True,
            f"{manifest['architecture']}, weights {Path(training['weights']).name}, pool"
            f" {training['pool']}; run {train}",
        ),
        "training": (
            True,
            f"{training['epochs']} epochs, {training['optimizer']}, learning rate"
            f" {training['learning_rate']:g}, batch {training['batch']}, seed {training['seed']};"
            f" run {train}",
        ),
        "imbalance": (True, f"sampling: {training['sampling']}"),
        "selection": (
            True,
            f"the epoch with the best hold-out result (epoch {manifest['best_epoch'] + 1})",
        ),
        "software": (True, ", ".join(versions)),
    }


def _performance_evidence(con: Connection, evaluate: str | None) -> dict[str, Evidence]:
    """Return what the record holds of the performance of the classifier."""
    if evaluate is None:
        facts = ("threshold", "statistics", "accuracy", "crosstab", "subgroups", "failures")
        return dict.fromkeys(facts, (False, "deepminer evaluate"))
    return {
        "threshold": (
            True,
            "fixed on hold-out, applied to the test split; Performance page and figure roc",
        ),
        "statistics": (
            True,
            "AUC with patient-clustered intervals (Obuchowski), partial AUC, calibration; the"
            " provenance record of each export names its method",
        ),
        "accuracy": (
            True,
            "".join(f"{text}; " for text in _malignant_aucs(con, evaluate))
            + "table classifiers, figure roc",
        ),
        "crosstab": (True, "Performance page, Confusion; for readers: table reading"),
        "subgroups": (True, "figure subgroups: density, view, scanner; exploratory"),
        "failures": (
            True,
            "Performance page, Failures; figure explanations includes a wrong decision of each"
            " class",
        ),
    }


def _malignant_aucs(con: Connection, evaluate: str) -> list[str]:
    """Return the AUC for malignant of each level with its interval, as text."""
    metrics = run_table.load_metrics(con, evaluate, REPORTED_SPLIT)
    rows = metrics[(metrics["name"] == "auc") & (metrics["class"] == "malignant")]
    texts = []
    for row in rows.to_dict("records"):
        # The store returns NaN for a value that is not estimable.
        estimate, low, high = (
            None if row[key] != row[key] else row[key] for key in ("estimate", "low", "high")
        )
        interval = interval_text(low, high, 0.95, row["reason"])
        texts.append(f"{row['level']} AUC {decimal(estimate)} ({interval})")
    return texts


def _explanation_evidence(explain: str | None) -> dict[str, Evidence]:
    if explain is None:
        return {"explanation": (False, "deepminer explain")}
    text = "influence of units and their labels; figures units, coverage, explanations"
    return {"explanation": (True, text)}


def _annotation_evidence(con: Connection, dissect: str | None) -> dict[str, Evidence]:
    """Return what the record holds of the annotators and their agreement."""
    invite = "deepminer invite annotator"
    count = len(annotation_table.annotation_progress_by_expert(con, dissect)) if dissect else 0
    units = unit_table.load_selected_units(con, dissect)["unit"].nunique() if dissect else 0
    annotators = (
        f"{count} annotators of {units} selected units; their experience is on the Participants"
        " page"
    )
    return {
        "annotators": (count > 0, annotators if count else invite),
        "agreement": (
            count > 1,
            "table and figure agreement" if count > 1 else f"two annotators are needed: {invite}",
        ),
    }


def _reading_evidence(con: Connection) -> dict[str, Evidence]:
    """Return what the record holds of the reading study, from the newest frozen protocol."""
    frozen = [
        p
        for p in protocol_table.list_protocols(con)
        if p.state in ("frozen", "closed", "unblinded")
    ]
    if not frozen:
        facts = ("hypothesis", "sample", "blinding", "protocol", "limits")
        return dict.fromkeys(facts, (False, "deepminer reading freeze"))
    protocol = frozen[-1]
    design = protocol.design
    issues = [issue for issue in protocol.lint if issue["severity"] != "note"]
    return {
        "hypothesis": (True, f"frozen before reading: {design['hypothesis']}"),
        "sample": (
            True,
            f"planned for a proportion correct of {design['expected_share']:.0%}, alpha"
            f" {design['alpha']:g}, {design['readers']} readers; power on the Reading study page",
        ),
        "blinding": (
            True,
            "readers saw texts only, without truth, score, image or informative order (leakage"
            " checks before freezing)",
        ),
        "protocol": (
            True,
            f"{protocol.protocol}, version {protocol.version}, hash {protocol.hash[:12]}; table"
            " protocol",
        ),
        "limits": (
            True,
            f"{len(issues)} warnings of the leakage checks with the reasons given; see Limitations",
        ),
    }
