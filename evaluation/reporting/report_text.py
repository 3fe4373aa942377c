"""Sentences of the report: methods, limitations and provenance, from settings and manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import settings, store
from core.store import dataset_table, run_table
from core.store.protocol_table import Protocol
from evaluation.intervals import display_name, percent
from evaluation.queries import provenance, study_overview
from evaluation.queries.provenance import closed_protocol
from evaluation.reading_study.leakage_issues import acceptance_reason

# Names in print of the values of settings.
OPTIMIZER_NAMES = {"sgd": "SGD", "adamw": "AdamW"}


def methods_sentences(study: Path) -> list[str]:
    """Return the paragraphs of a methods section for the newest run of each step."""
    study_settings = settings.load_settings(study)
    with store.read(study) as con:
        newest = {
            kind: run_table.latest_run(con, kind) for kind in ("train", "evaluate", "dissect")
        }
        runs = {kind: run_table.load_run(con, run) for kind, run in newest.items() if run}
        closed = closed_protocol(con)
    paragraphs = [_split_sentence(study_settings), _patch_sentences(study_settings.patches)]
    if "train" in runs:
        paragraphs.append(_training_sentence(runs["train"]))
    if "evaluate" in runs:
        paragraphs.append(
            "Performance was measured by the area under the ROC curve of one class against the"
            " rest, with intervals by Obuchowski's method and patients as clusters, and by the"
            " partial area over sensitivity .8 to 1. Thresholds were fixed on the hold-out split."
            " The score of an image or a case is its largest lesion probability over tissue."
        )
    if "dissect" in runs:
        paragraphs.append(_unit_sentences(runs["dissect"]))
    if closed is not None:
        paragraphs.append(_reading_sentences(closed))
    return paragraphs


def _split_sentence(study_settings: settings.Settings) -> str:
    splits = study_settings.splits
    return (
        f"Patients were assigned to training ({percent(splits.train, 0)}), hold-out"
        f" ({percent(splits.holdout, 0)}) and test (the remainder; seed"
        f" {study_settings.study.seed}); all images of a patient are in one split."
    )


def _patch_sentences(patches: settings.PatchSettings) -> str:
    overlap = percent(patches.min_overlap, 0)
    ambiguous = (
        " (patches that touched a finding were excluded)" if patches.ambiguous == "drop" else ""
    )
    return (
        "Patches with a side of 25 % of the width of the mammogram were taken at a stride of half"
        " their side. A patch was included if tissue covered at least"
        f" {percent(patches.min_tissue, 0)} of it. It was assigned to a lesion class if findings of"
        f" that class covered {overlap} of the patch {patches.rule} if {overlap} of one finding was"
        " inside the patch; malignant took precedence over benign. All other patches were"
        f" normal{ambiguous}."
    )


def _training_sentence(run: dict[str, Any]) -> str:
    training, manifest = run["settings"]["training"], run["manifest"]
    optimizer = OPTIMIZER_NAMES.get(training["optimizer"], training["optimizer"])
    weights = {"none": "random initial weights", "imagenet": "weights pretrained on ImageNet"}.get(
        training["weights"], f"initial weights from {Path(training['weights']).name}"
    )
    return (
        f"The network (architecture {manifest['architecture']}, {weights}) was trained for"
        f" {training['epochs']} epochs with {optimizer} at a learning rate of"
        f" {training['learning_rate']:g}, in batches of {training['batch']} (seed"
        f" {training['seed']}). The epoch with the best result on the hold-out split was kept"
        f" (epoch {manifest['best_epoch'] + 1})."
    )


def _unit_sentences(run: dict[str, Any]) -> str:
    dissection, manifest = run["settings"]["dissection"], run["manifest"]
    return (
        f'Units are the {manifest["units"]} channels of layer "{manifest["layer"]}". The influence'
        f" of a unit on a class was defined as follows: {manifest['influence']}. For each class,"
        f" the {dissection['select']} units that were most often among the {dissection['top']} with"
        " the largest influence on hold-out mammograms were selected. Experts named them from their"
        " top patches."
    )


def _reading_sentences(protocol: Protocol) -> str:
    design = protocol.design
    side = "one-sided" if design["side"] == "greater" else "two-sided"
    return (
        f"In the reading study, {design['texts']} labels per case of the most influential labelled"
        f" units were shown (arms: {', '.join(map(display_name, design['arms']))}). Answers ranged"
        f" from 1 to {design['scale']}. Truth was defined by the rule"
        f" {display_name(design['truth_rule'])}. The primary analysis was"
        f" {display_name(design['primary'])} ({side}, alpha {design['alpha']:g}). The protocol was"
        f" frozen before reading (hash {protocol.hash[:12]}). Hypothesis: {design['hypothesis']}"
    )


def limitation_sentences(study: Path) -> list[str]:
    """Return the warnings of the study, the problems of its data and its leakage issues."""
    sentences = list(study_overview.study_warnings(study))
    with store.read(study) as con:
        closed = closed_protocol(con)
        problems = dataset_table.load_problems(con)
    if len(problems):
        sentences.append(
            f"Ingestion listed {len(problems)} problems, for example:"
            f" {problems['item'].iloc[0]}: {problems['cause'].iloc[0]}."
        )
    if closed is not None:
        sentences += [
            _issue_sentence(closed, issue) for issue in closed.lint if issue["severity"] != "note"
        ]
        if closed.design["readers"] == 1:
            sentences.append("One reader: the result does not generalise to readers.")
    # A study without issues still needs a sentence: an empty section would read as an omission.
    return sentences or [
        "The leakage checks found no issues. Absence of findings does not prove absence of leakage."
    ]


def _issue_sentence(protocol: Protocol, issue: dict[str, Any]) -> str:
    """Return a leakage issue with the team's reason for accepting it."""
    sentence = f"Leakage checks, {issue['severity']}, {issue['field']}: {issue['finding']}."
    if issue["severity"] != "warning":
        return sentence
    reasons = protocol.design.get("reasons", {})
    reason = acceptance_reason(reasons, issue["field"], issue["finding"])
    return f"{sentence} Accepted because: {reason}." if reason else sentence


def provenance_sentences(study: Path) -> list[str]:
    """Return the runs, hashes and versions behind the report, and the commands for it."""
    inputs = provenance.current_inputs(study, ("data", *provenance.RUN_KINDS, "protocol"))
    versions = ", ".join(f"{name} {v}" for name, v in provenance.export_software().items())
    runs = ", ".join(inputs[kind] for kind in provenance.RUN_KINDS if inputs[kind])
    return [
        f"Data {inputs['data'][:16] or 'none'}; runs {runs or 'none'}; protocol"
        f" {inputs['protocol'] or 'none'}.",
        f"Versions: {versions}.",
        "This report was written by: deepminer report --study STUDY --out FILE. Figures and tables"
        " alone: deepminer figures all, deepminer tables all.",
    ]
