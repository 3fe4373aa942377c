"""Evidence in a study's record for the items of the reporting checklists."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core import lineage, store
from core.sessions.arms import ARM_TITLES
from core.store import annotation_table, dataset_table, participant_table, run_table, unit_table
from core.store.connection import Connection
from core.store.labels.finished_annotators import annotator_states
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import FROZEN_STATES
from evaluation.intervals import count_text, decimal, interval_text
from evaluation.power import ENDPOINTS
from evaluation.queries import performance
from evaluation.queries.observations import LEVELS, load_observations
from evaluation.queries.provenance import closed_protocol
from evaluation.reading_study import Design, design_power, workflow
from evaluation.reading_study.design import ANALYSIS_NAMES, power_assumption
from evaluation.reporting.base import REPORTED_SPLIT
from evaluation.reporting.methods_text import (
    ARM_CONTENTS,
    kept_epoch_sentence,
    patch_sentences,
    sampling_sentence,
    split_sentence,
    training_sentences,
)

# Whether the record has evidence, and where it is (or the command that supplies it).
Evidence = tuple[bool, str]


def recorded_evidence(study: Path) -> dict[str, Evidence]:
    """Return the evidence for each fact that the items of `guidelines` name.

    A fact is present only where something of the record can be pointed to: a run, a stored number,
    a frozen protocol.
    """
    with store.read(study) as con:
        runs = {
            kind: run_table.latest_run(con, kind)
            for kind in ("patches", "train", "evaluate", "dissect", "explain")
        }
        evidence = {
            **_source_evidence(con),
            **_truth_evidence(con, runs["patches"]),
            **_partition_evidence(con, runs["patches"]),
            **_training_evidence(con, runs["train"]),
            **_explanation_evidence(runs["explain"]),
            **_annotation_evidence(con, runs["dissect"]),
            **_reading_evidence(con),
            "external": (False, "one data set only: no test on data from another source"),
        }
        closed = closed_protocol(con) is not None
    # Outside the transaction: performance opens the store itself.
    return evidence | _performance_evidence(study, runs["evaluate"], closed)


def _source_evidence(con: Connection) -> dict[str, Evidence]:
    """Return what the record holds of the source, its exclusions and its images."""
    if not dataset_table.dataset_counts(con)["mammograms"]:
        facts = ("sources", "eligibility", "preprocessing", "excluded", "scanner")
        return dict.fromkeys(facts, (False, "deepminer ingest"))
    sources, mammograms = dataset_table.load_sources(con), dataset_table.load_mammograms(con)
    skipped, problems = int(sources["skipped"].sum()), len(dataset_table.load_problems(con))
    scanners = sorted(set(mammograms["scanner"]) - {""})
    widths = ", ".join(f"{width:,}" for width in sorted(mammograms["width"].unique()))
    return {
        "sources": (True, f"source: {', '.join(sources['kind'])}"),
        "eligibility": (
            True,
            f"every readable patient of the source; {count_text(skipped, 'patient')} excluded"
            " because a file could not be read",
        ),
        "preprocessing": (
            True,
            f"mammograms resized to a width of {widths} pixels;"
            f" {count_text(problems, 'problem')} listed (Data page, Problems)",
        ),
        "excluded": (
            True,
            f"{count_text(skipped, 'patient')} excluded because a file could not be read (Data"
            " page, Problems)",
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


def _partition_evidence(con: Connection, patches: str | None) -> dict[str, Evidence]:
    """Return what the record holds of patches and splits."""
    if patches is None:
        return dict.fromkeys(("patches", "split", "flow"), (False, "deepminer patches"))
    run = run_table.load_run(con, patches)
    weak = dataset_table.any_image_level_source(con)
    return {
        "patches": (True, f"{patch_sentences(run, weak)} Run {patches}"),
        "split": (True, f"{split_sentence(run)} Run {patches}"),
        "flow": (True, "figure flow, table cohort"),
    }


def _training_evidence(con: Connection, train: str | None) -> dict[str, Evidence]:
    """Return what the record holds of the network and its training."""
    if train is None:
        facts = ("network", "training", "imbalance", "selection", "software", "ensemble")
        return dict.fromkeys(facts, (False, "deepminer train"))
    run = run_table.load_run(con, train)
    training, manifest = run["settings"]["training"], run["manifest"]
    reported = ("deepminer", "python", "torch", "torchvision")
    versions = [f"{name} {v}" for name, v in manifest["software"].items() if name in reported]
    evidence = {
        "network": (
            True,
            f"architecture {manifest['architecture']}, weights {Path(training['weights']).name},"
            f" pooling {training['pool']}; run {train}",
        ),
        "training": (True, f"{training_sentences(run)} Run {train}"),
        "software": (True, ", ".join(versions)),
        "ensemble": (True, f"none: one network, one checkpoint (run {train})"),
    }
    if manifest.get("imported"):
        not_trained = (False, "the network was imported and not trained in this study")
        return evidence | dict.fromkeys(("imbalance", "selection"), not_trained)
    return evidence | {
        "imbalance": (True, sampling_sentence(training)),
        "selection": (True, kept_epoch_sentence(training, manifest)),
    }


def _performance_evidence(study: Path, evaluate: str | None, closed: bool) -> dict[str, Evidence]:
    """Return what the record holds of the performance of the classifier."""
    if evaluate is None:
        facts = ("threshold", "statistics", "accuracy", "crosstab", "subgroups", "failures")
        return dict.fromkeys(facts, (False, "deepminer evaluate"))
    point = performance.load_operating_point(study, evaluate, REPORTED_SPLIT, "image")
    images = load_observations(study, evaluate, REPORTED_SPLIT, "image")
    groups = performance.printed_subgroups(
        performance.load_subgroups(study, evaluate, REPORTED_SPLIT), len(images.truth)
    )
    variables = ", ".join(dict.fromkeys(group.variable for group in groups))
    confusion = "Performance page, Confusion"
    return {
        "threshold": (
            point is not None,
            "hold-out has one class: no threshold can be fixed on it"
            if point is None
            else f"mammograms: {decimal(point.threshold, 4)}, fixed on hold-out for a sensitivity"
            f" of .8 and applied to the {REPORTED_SPLIT} split",
        ),
        "statistics": (
            True,
            "AUC with intervals clustered by patient, partial AUC, calibration; the provenance"
            " record of each export names its method",
        ),
        "accuracy": (
            True,
            "".join(f"{text}; " for text in _positive_aucs(study, evaluate))
            + "tables classifiers and operating_points, figure roc",
        ),
        "crosstab": (True, f"{confusion}; for readers: table reading" if closed else confusion),
        "subgroups": (
            bool(groups),
            f"figure subgroups: {variables}; exploratory"
            if groups
            else "no subgroup is large enough",
        ),
        "failures": (True, "Performance page, Failures; figure explanations"),
    }


def _positive_aucs(study: Path, evaluate: str) -> list[str]:
    """Return the AUC of the positive class at each level with its interval, as text."""
    texts, positive = [], lineage.run_classes(study, evaluate).positive
    for level in LEVELS:
        for result in performance.load_class_results(study, evaluate, REPORTED_SPLIT, level):
            if result.name == positive:
                auc = result.auc
                interval = interval_text(auc.low, auc.high, auc.level, auc.reason)
                texts.append(f"{level} AUC {decimal(auc.estimate)} ({interval})")
    return texts


def _explanation_evidence(explain: str | None) -> dict[str, Evidence]:
    if explain is None:
        return {"explanation": (False, "deepminer explain")}
    text = "influence of units and their labels; figures units, coverage, explanations"
    return {"explanation": (True, text)}


def _annotation_evidence(con: Connection, dissect: str | None) -> dict[str, Evidence]:
    """Return what the record holds of the annotators and their agreement."""
    invite = "deepminer invite annotator"
    progress = annotation_table.annotation_progress_by_expert(con, dissect) if dissect else None
    codes = [] if progress is None or progress.empty else progress["code"].tolist()
    count = len(codes)
    units = unit_table.load_selected_units(con, dissect)["unit"].nunique() if dissect else 0
    people = participant_table.load_participants(con)
    stated = int((people.loc[people["code"].isin(codes), "experience"] != "").sum()) if count else 0
    annotators = (
        f"{count_text(count, 'annotator')} of {count_text(units, 'selected unit')};"
        f" {stated} stated their experience (Participants page)"
    )
    states = annotator_states(con, dissect).values() if dissect else ()
    finished = sum(state.finished for state in states)
    return {
        "annotators": (count > 0, annotators if count else invite),
        "agreement": (
            finished > 1,
            "table and figure agreement"
            if finished > 1
            else f"two annotators who have finished are needed: {invite}",
        ),
    }


def _reading_evidence(con: Connection) -> dict[str, Evidence]:
    """Return what the record holds of the reading study, from the newest frozen protocol."""
    frozen = [p for p in protocol_table.list_protocols(con) if p.state in FROZEN_STATES]
    if not frozen:
        facts = ("hypothesis", "sample", "blinding", "protocol", "limits")
        return dict.fromkeys(facts, (False, "deepminer reading freeze"))
    protocol = frozen[-1]
    design = workflow.protocol_design(protocol)
    cases = reading_table.load_reading_cases(con, protocol.protocol, protocol.version)
    issues = [issue for issue in protocol.lint if issue["severity"] != "note"]
    shown = "; ".join(f"{ARM_TITLES[arm]}: {ARM_CONTENTS[arm]}" for arm in design.arms)
    return {
        "hypothesis": (True, f"frozen before reading: {design.hypothesis}"),
        "sample": _sample_evidence(design, cases),
        "blinding": (
            bool(protocol.lint),
            f"a case showed neither truth nor the network's score, only the content of its arm"
            f" ({shown}); {count_text(len(protocol.lint), 'finding')} of the leakage checks before"
            " freezing"
            if protocol.lint
            else "deepminer reading lint",
        ),
        "protocol": (
            True,
            f"{protocol.protocol}, version {protocol.version}, hash {protocol.hash[:12]}; table"
            " protocol",
        ),
        "limits": (
            True,
            f"{count_text(len(issues), 'warning')} of the leakage checks; see Limitations",
        ),
    }


def _sample_evidence(design: Design, cases: pd.DataFrame) -> Evidence:
    """Return the power of the frozen design; without a power the sample size has no basis."""
    primary = cases[cases["arm"] == design.arms[0]]
    patients = int(primary["patient_id"].nunique())
    try:
        plan = design_power(design, patients, len(primary))
    except ValueError as error:
        return False, f"no power could be computed: {error}"
    if plan.power is None:
        return False, "deepminer reading plan"
    return (
        True,
        f"power {decimal(plan.power)} of the {ANALYSIS_NAMES[design.primary]} for an expected"
        f" {ENDPOINTS[plan.endpoint]} of {decimal(plan.expected)} ({power_assumption(design)}),"
        f" with {count_text(patients, 'patient')}, {count_text(plan.readers, 'reader')},"
        f" {count_text(plan.images_per_patient, 'image')} a patient, alpha {decimal(plan.alpha)}",
    )
