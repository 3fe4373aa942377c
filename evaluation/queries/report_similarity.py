"""Do a study's explanations say what its report lines say (DEFINITIONS "Similarity to reports"):
over all explained mammograms that have a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core import store
from core.store import annotation_table, dataset_table, unit_table
from evaluation.queries.explanations import dissect_of
from evaluation.similarity import CorpusSimilarity, corpus_similarity, report_tokens
from evaluation.similarity.word_vectors import study_vectors

# What was published (v1); a network, reports and vectors of its own, so only to be read beside.
PUBLISHED = {"top unit": 0.627, "top eight": 0.533}
TOP = 8


@dataclass(frozen=True)
class ReportSimilarity:
    """One way to turn an explanation into words ("top unit": the label of the most influential
    labelled unit of the eight; "top eight": the labels of all of them), by one measure. published:
    the v1 value of greedy matching; vectors: where the word vectors come from, "" where none are
    needed.
    """

    words: str
    measure: str
    result: CorpusSimilarity
    published: float | None
    vectors: str = ""

    def sentence(self) -> str:
        """For a results section."""
        return f"{self.words.capitalize()}: {self.result.sentence()}" + (
            f" Word vectors: {self.vectors}." if self.vectors else ""
        )


def descriptive(report: str) -> str:
    """The part of a report line that describes the finding.

    Assessment, subtlety and pathology are verdicts: no unit's label is to match them.
    """
    return re.split(r"\bASSESSMENT\b", report, maxsplit=1, flags=re.IGNORECASE)[0]


def similarity(study: Path, run: str) -> list[ReportSimilarity]:
    """Greedy matching (vectors of the study's word-vector file, else from its own lines and labels)
    and concept F1 of an explain run against its report lines, for the top unit and the top eight.
    Empty where no explained mammogram has a report line or no unit a label.
    """
    dissect = dissect_of(study, run)
    with store.read(study) as con:
        frame = unit_table.explanations(con, run)
        influences = unit_table.top_influences(con, run, TOP)
        findings = dataset_table.findings(con)
        labels = {unit: label.text for unit, label in annotation_table.labels(con, dissect).items()}
    lines = (
        findings[findings["report"] != ""]
        .groupby("mammogram_id")["report"]
        .agg(lambda parts: " ".join(descriptive(p) for p in parts))
    )
    frame = frame[frame["mammogram_id"].isin(lines.index)]
    if not len(frame) or not labels:
        return []
    order = {
        key: rows["unit"].tolist() for key, rows in influences.groupby(["mammogram_id", "class"])
    }
    references = [report_tokens(lines[name]) for name in frame["mammogram_id"]]
    # The class of the decision; a film without a decision is explained for malignant.
    codes = [int(c) if c >= 0 else 2 for c in frame["predicted"]]
    said = [
        [labels[u] for u in order.get((name, code), []) if u in labels]
        for name, code in zip(frame["mammogram_id"], codes)
    ]
    vectors, source = study_vectors(
        study, [*references, *(report_tokens(text) for text in labels.values())]
    )
    patients = frame["patient_id"].to_numpy(str)
    found = []
    for words, count in (("top unit", 1), ("top eight", TOP)):
        hypotheses = [report_tokens(" ".join(texts[:count])) for texts in said]
        for known in (vectors, None):
            result = corpus_similarity(references, hypotheses, patients, known)
            found.append(
                ReportSimilarity(
                    words,
                    result.measure,
                    result,
                    PUBLISHED[words] if known else None,
                    source if known else "",
                )
            )
    return found
