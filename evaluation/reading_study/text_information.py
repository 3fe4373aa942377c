"""What the texts alone tell: repeats and the reader's consistency, a classifier of texts, and the
ceiling for any reader of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.intervals import p_text
from evaluation.permutation import PatientPermutations
from evaluation.reading_study.leakage_checks import verdict_balance
from evaluation.validation import Array, cluster_codes

Texts = Sequence[Sequence[str]]


@dataclass(frozen=True)
class TextRepeats:
    """Distinct texts as shown and whatever their order, distinct labels, and on pairs of cases with
    one text how often answers agree.
    """

    ordered: int
    unordered: int
    labels_used: int
    same_answer_pairs: int
    pairs: int

    def as_dict(self) -> dict[str, Any]:
        """As INTERFACE.md names the fields."""
        return asdict(self)

    def sentence(self) -> str:
        """For a results section."""
        share = (
            f"; {self.same_answer_pairs} of {self.pairs} pairs of cases with the same text got the"
            " same answer"
            if self.pairs
            else ""
        )
        return (
            f"{self.ordered} distinct texts ({self.unordered} whatever their order) made of"
            f" {self.labels_used} labels{share}."
        )


@dataclass(frozen=True, kw_only=True)
class Information:
    """Right answers of a classifier trained on the other patients' texts; the most that any fixed
    rule on these texts can get right; and how often as high a ceiling arises when truth is permuted
    between patients. `keyword_correct`: malignant if verdict words say so.
    """

    leave_one_patient_out_correct: int
    in_sample_ceiling: int
    ceiling_null_p: float
    keyword_correct: float
    ceiling_null_mean: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """The three that INTERFACE.md names."""
        return {
            name: getattr(self, name)
            for name in ("leave_one_patient_out_correct", "in_sample_ceiling", "ceiling_null_p")
        }

    def sentence(self) -> str:
        """For a results section."""
        return (
            "A classifier of texts, tested on patients left out, is right in"
            f" {self.leave_one_patient_out_correct} of {self.n} cases; no rule on these texts can"
            f" be right in more than {self.in_sample_ceiling}, and {self.ceiling_null_mean:.0f}"
            " would be reached on average if the texts told nothing (patient permutation,"
            f" {p_text(self.ceiling_null_p)}); following the verdict words alone is right in"
            f" {self.keyword_correct:g}."
        )


def text_repeats(texts: Texts, answers: Sequence[Any]) -> TextRepeats:
    """Distinct texts and agreement on repeated ones.

    A text repeats when the same labels are shown in the same order; `answers` binary [n].
    """
    shown = [tuple(text) for text in texts]
    groups: dict[tuple[str, ...], Counter[Any]] = {}
    for text, answer in zip(shown, answers):
        groups.setdefault(text, Counter())[answer] += 1
    pairs = sum(size.total() * (size.total() - 1) // 2 for size in groups.values())
    same = sum(count * (count - 1) // 2 for size in groups.values() for count in size.values())
    return TextRepeats(
        len(groups),
        len({tuple(sorted(text)) for text in shown}),
        len({label for text in shown for label in text}),
        same,
        pairs,
    )


def information(texts: Texts, truth: Any, patient: Any, seed: int = 1) -> Information:
    """Information in the texts about `truth` bool [n].

    Classifier: `leave_one_patient_out`. Ceiling: each distinct text (as shown) answered with its
    commoner truth; its null: truth exchanged between patients.
    """
    labels = np.asarray(truth, dtype=bool)
    codes = pd.factorize(pd.Series([tuple(text) for text in texts], dtype=object))[0]
    sizes, table = np.bincount(codes), np.eye(codes.max() + 1)[codes]

    def ceiling(positives: Array) -> Array:
        return np.maximum(positives, sizes - positives).sum(axis=-1)

    observed = float(ceiling(labels @ table))
    tests = PatientPermutations(np.asarray(patient), seed)
    permuted = ceiling(tests.truths(labels).astype(float) @ table)
    said = np.array([verdict_balance(text) for text in texts])
    keyword = float(((said > 0) == labels)[said != 0].sum() + 0.5 * (said == 0).sum())
    return Information(
        leave_one_patient_out_correct=int(leave_one_patient_out(texts, labels, patient).sum()),
        in_sample_ceiling=int(observed),
        ceiling_null_p=tests.p_value(observed, permuted),
        keyword_correct=keyword,
        ceiling_null_mean=float(permuted.mean()),
        n=len(labels),
    )


def leave_one_patient_out(texts: Texts, truth: Array, patient: Any) -> Array:
    """Whether a naive Bayes classifier on the labels shown (how often each; add-one smoothing, both
    classes equally likely beforehand), trained on all other patients, gets each case right, bool
    [n]. A tie is answered benign.
    """
    vocabulary = {
        label: index
        for index, label in enumerate(sorted({label for text in texts for label in text}))
    }
    counts = np.zeros((len(texts), len(vocabulary)))
    for row, text in enumerate(texts):
        for label in text:
            counts[row, vocabulary[label]] += 1
    codes, clusters = cluster_codes(patient, len(texts))
    member = np.eye(clusters)[codes]
    logs = []
    for kind in (truth, ~truth):
        by_patient = (member * kind[:, None]).T @ counts
        others = by_patient.sum(axis=0) - by_patient + 1
        logs.append(np.log(others / others.sum(axis=1, keepdims=True))[codes])
    said = (counts * (logs[0] - logs[1])).sum(axis=1) > 1e-12
    return said == truth
