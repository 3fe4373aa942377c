"""Similarity of a study's explanations to its report lines.

See docs/reference/definitions.md, "Similarity to reports".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import lineage, store
from core.settings import load_order_of_experts
from core.store import dataset_table, unit_table
from core.store.labels import label_sets
from evaluation.similarity import CorpusSimilarity, corpus_similarity, report_tokens
from evaluation.similarity.word_vectors import study_vectors

# Published values of greedy matching (2018 preprint). Network, reports and vectors differ, so they
# are shown for orientation only.
PUBLISHED_SIMILARITY = {"top unit": 0.627, "top eight": 0.533}
SIMILARITY_DEPTH = 8


@dataclass(frozen=True)
class ReportSimilarity:
    """Similarity for one selection of units, by one measure.

    selection: "top unit" (label of the most influential labelled unit of the eight) or "top eight"
    (labels of all of them); published: value of the 2018 preprint for greedy matching; vectors:
    origin of the word vectors, empty where none are needed.
    """

    selection: str
    measure: str
    result: CorpusSimilarity
    published: float | None
    vectors: str = ""

    def sentence(self) -> str:
        """Return a sentence for a results section."""
        vectors = f" Word vectors: {self.vectors}." if self.vectors else ""
        return f"{self.selection.capitalize()}: {self.result.sentence()}{vectors}"


def descriptive_part(report: str) -> str:
    """Return the part of a report line that describes the finding.

    Assessment, subtlety and pathology are verdicts, which a unit's label cannot match.
    """
    return re.split(r"\bASSESSMENT\b", report, maxsplit=1, flags=re.IGNORECASE)[0]


def measure_report_similarity(
    study: Path, run: str, label_set: str | None = None
) -> list[ReportSimilarity]:
    """Compare the explanations of an explain run with the report lines.

    By greedy matching and by concept F1, for the top unit and the top eight. Word vectors come from
    the study's word-vector file, otherwise from its own lines and labels. Empty if no explained
    mammogram has a report line, or no unit a label. label_set: None for the labels of the explain
    run.
    """
    label_set = label_set or lineage.run_label_set(study, run)
    dissect = lineage.ancestor_run(study, run, "dissect")
    with store.read(study) as con:
        explained = unit_table.load_explanations(con, run)
        influences = unit_table.load_top_influences(con, run, SIMILARITY_DEPTH)
        reports = dataset_table.load_report_lines(con)
        order = load_order_of_experts(study)
        unit_labels = label_sets.load_label_set(con, dissect, label_set, order)
    labels = {unit: label.text for unit, label in unit_labels.items()}
    # The findings of a mammogram form one reference, as its units form one hypothesis.
    explained = explained[explained["mammogram_id"].isin(reports["mammogram_id"])]
    if not len(explained) or not labels:
        return []
    lines = reports.groupby("mammogram_id")["report"].agg(
        lambda parts: " ".join(descriptive_part(report) for report in parts)
    )
    references = [report_tokens(lines[name]) for name in explained["mammogram_id"]]
    label_texts = _label_texts(explained, influences, labels)
    vectors, source = study_vectors(
        study, [*references, *(report_tokens(text) for text in labels.values())]
    )
    patients = explained["patient_id"].to_numpy(str)
    results = []
    for selection, count in (("top unit", 1), ("top eight", SIMILARITY_DEPTH)):
        hypotheses = [report_tokens(" ".join(texts[:count])) for texts in label_texts]
        for known_vectors in (vectors, None):
            result = corpus_similarity(references, hypotheses, patients, known_vectors)
            results.append(
                ReportSimilarity(
                    selection,
                    result.measure,
                    result,
                    PUBLISHED_SIMILARITY[selection] if known_vectors else None,
                    source if known_vectors else "",
                )
            )
    return results


def _label_texts(
    explained: pd.DataFrame, influences: pd.DataFrame, labels: dict[int, str]
) -> list[list[str]]:
    """Return the labels behind each decision, most influential unit first."""
    units_of = {
        key: rows["unit"].tolist() for key, rows in influences.groupby(["mammogram_id", "class"])
    }
    # A mammogram without a decision is explained for malignant.
    codes = [int(code) if code >= 0 else 2 for code in explained["predicted"]]
    return [
        [labels[unit] for unit in units_of.get((name, code), []) if unit in labels]
        for name, code in zip(explained["mammogram_id"], codes)
    ]
