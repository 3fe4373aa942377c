"""Sentences of the report: limitations and provenance, from the record of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.errors import UserError
from core.store import dataset_table, run_table
from core.store.reading.protocol_table import Protocol
from evaluation.intervals import count_text, decimal, interval_text
from evaluation.queries import performance, provenance, study_overview
from evaluation.queries.provenance import MissingInput, closed_protocol
from evaluation.reading_study.leakage_issues import acceptance_reason
from evaluation.reading_study.narrative import primary_sentences, verdict
from evaluation.reporting.base import REPORTED_SPLIT, load_closed_study


def summary_sentences(study: Path) -> list[str]:
    """Return the conclusion of the reading study in plain language, its prespecified result and
    the AUC of the classifier, or which of them does not exist yet.
    """
    try:
        _, score = load_closed_study(study)
        sentences = [verdict(score), " ".join(primary_sentences(score))]
    except (MissingInput, UserError) as error:
        sentences = [f"There is no result of a reading study: {error}.".replace("..", ".")]
    with store.read(study) as con:
        evaluate = run_table.latest_run(con, "evaluate")
        positive = None if evaluate is None else run_table.run_classes(con, evaluate).positive
    if evaluate is None:
        return [*sentences, "No classifier has been evaluated."]
    results = performance.load_class_results(study, evaluate, REPORTED_SPLIT, "image")
    return [*sentences, *(_auc_sentence(result) for result in results if result.name == positive)]


def _auc_sentence(result: performance.ClassResult) -> str:
    auc = result.auc
    return (
        f"The classifier's AUC for {result.name} on the mammograms of the {REPORTED_SPLIT} split is"
        f" {decimal(auc.estimate)} ({interval_text(auc.low, auc.high, auc.level, auc.reason)};"
        f" {count_text(auc.positives, f'{result.name} mammogram')} and"
        f" {count_text(auc.negatives, 'other')})."
    )


def limitation_sentences(study: Path) -> list[str]:
    """Return the warnings of the study, the problems of its data and its leakage issues."""
    sentences = [warning.sentence for warning in study_overview.study_warnings(study)]
    with store.read(study) as con:
        closed = closed_protocol(con)
        problems = dataset_table.load_problems(con)
    if len(problems):
        sentences.append(
            f"Ingestion listed {count_text(len(problems), 'problem')}, for example:"
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
