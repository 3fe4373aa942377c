"""Information about truth in the texts of a reading study, independent of the readers.

Repeated texts show how consistent the readers are; a text classifier and an upper bound show what
the texts allow at best.
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
from evaluation.reading_study.text_leakage import verdict_balance
from evaluation.validation import Array, cluster_codes

CaseTexts = Sequence[Sequence[str]]


@dataclass(frozen=True)
class TextRepeats:
    """Variety of the texts, and agreement of answers to cases with the same text.

    Parameters
    ----------
    ordered, unordered : int
        Distinct texts, with and without regard to the order of their labels.
    labels_used : int
        Distinct labels.
    same_answer_pairs, pairs : int
        Pairs of answers to the same text, and those with the same answer.
    """

    ordered: int
    unordered: int
    labels_used: int
    same_answer_pairs: int
    pairs: int

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-compatible data."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the result as one sentence."""
        agreement = (
            f"; {self.same_answer_pairs} of {self.pairs} pairs of cases with the same text got the"
            " same answer"
            if self.pairs
            else ""
        )
        return (
            f"{self.ordered} distinct texts ({self.unordered} ignoring the order of their labels)"
            f" made of {self.labels_used} labels{agreement}."
        )


@dataclass(frozen=True, kw_only=True)
class TextBaselines:
    """Correct decisions that rules on the texts alone achieve.

    Parameters
    ----------
    leave_one_patient_out_correct : int
        Correct decisions of `leave_one_patient_out`.
    in_sample_ceiling : int
        `in_sample_upper_bound` of the true labels.
    ceiling_null_p : float
        P of an upper bound at least as high when truth is exchanged between patients.
    keyword_correct : float
        Correct decisions of the rule "malignant if the words for malignancy prevail"; a tie counts
        one half.
    ceiling_null_mean : float
        Mean upper bound when truth is exchanged between patients.
    n : int
        Cases.
    """

    leave_one_patient_out_correct: int
    in_sample_ceiling: int
    ceiling_null_p: float
    keyword_correct: float
    ceiling_null_mean: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the three fields of the public JSON result."""
        return {
            name: getattr(self, name)
            for name in ("leave_one_patient_out_correct", "in_sample_ceiling", "ceiling_null_p")
        }

    def sentence(self) -> str:
        """Return the result as one sentence."""
        return (
            "A text classifier, tested on patients left out, is correct in"
            f" {self.leave_one_patient_out_correct} of {self.n} cases; no rule on these texts can"
            f" be correct in more than {self.in_sample_ceiling}, and"
            f" {self.ceiling_null_mean:.0f} would be reached on average if the texts were"
            f" uninformative (patient permutation, {p_text(self.ceiling_null_p)}); following the"
            f" verdict words alone is correct in {self.keyword_correct:g}."
        )


def text_repeats(texts: CaseTexts, answers: Sequence[Any]) -> TextRepeats:
    """Count distinct texts and the agreement of answers to the same text.

    Parameters
    ----------
    texts : sequence of sequence of str, length n
        Labels of each case in display order. Two texts are the same if labels and order agree.
    answers : sequence, length n
        Binary answers.

    Returns
    -------
    TextRepeats

    Examples
    --------
    >>> repeats = text_repeats([("a", "b"), ("b", "a"), ("a", "b")], [1, 0, 1])
    >>> repeats.ordered, repeats.unordered, repeats.same_answer_pairs, repeats.pairs
    (2, 1, 1, 1)
    """
    keys = [tuple(case_texts) for case_texts in texts]
    groups: dict[tuple[str, ...], Counter[Any]] = {}
    for key, answer in zip(keys, answers):
        groups.setdefault(key, Counter())[answer] += 1
    # n (n - 1) / 2 pairs per group, without listing them.
    pairs = sum(group.total() * (group.total() - 1) // 2 for group in groups.values())
    same = sum(count * (count - 1) // 2 for group in groups.values() for count in group.values())
    return TextRepeats(
        ordered=len(groups),
        unordered=len({tuple(sorted(key)) for key in keys}),
        labels_used=len({label for key in keys for label in key}),
        same_answer_pairs=same,
        pairs=pairs,
    )


def in_sample_upper_bound(truth: Array, text_codes: Array) -> Array:
    """Return the most correct decisions that any fixed rule on the texts can make.

    The optimal rule answers each distinct text with its more frequent truth.

    Parameters
    ----------
    truth : ndarray of bool or float, shape (..., n)
        1 for malignant; leading axes hold permutations.
    text_codes : ndarray of int, shape (n,)
        Codes 0, 1, ... of the distinct texts.

    Returns
    -------
    ndarray of float, shape (...)

    Examples
    --------
    >>> import numpy as np
    >>> float(in_sample_upper_bound(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 0, 1])))
    3.0
    """
    sizes = np.bincount(text_codes)
    # [..., cases] @ [cases, texts]: malignant cases of each distinct text.
    positives = truth @ np.eye(len(sizes))[text_codes]
    return np.maximum(positives, sizes - positives).sum(axis=-1)


def text_baselines(texts: CaseTexts, truth: Any, patient: Any, seed: int = 1) -> TextBaselines:
    """Measure the information about truth in the texts.

    Parameters
    ----------
    texts : sequence of sequence of str, length n
        Labels of each case in display order.
    truth : array-like of bool, shape (n,)
        Whether each case is malignant.
    patient : array-like, shape (n,)
        Patient of each case.
    seed : int
        Seed of the permutations.

    Returns
    -------
    TextBaselines

    Examples
    --------
    >>> texts = [("mass",), ("skin",)] * 10
    >>> result = text_baselines(texts, [True, False] * 10, range(20))
    >>> result.leave_one_patient_out_correct, result.in_sample_ceiling, result.keyword_correct
    (20, 20, 10.0)
    """
    labels = np.asarray(truth, dtype=bool)
    # The dtype object keeps texts with different numbers of labels as single values.
    codes = pd.factorize(pd.Series([tuple(text) for text in texts], dtype=object))[0]
    bound = float(in_sample_upper_bound(labels.astype(float), codes))
    # Whole patients are exchanged, because the cases of one patient are not independent.
    tests = PatientPermutations(np.asarray(patient), seed)
    # The bound exceeds n / 2 by chance alone, so it is judged against exchanged truth.
    null_bounds = in_sample_upper_bound(tests.permuted_truth(labels).astype(float), codes)
    balances = np.array([verdict_balance(text) for text in texts])
    decided = balances != 0
    keyword = ((balances > 0) == labels)[decided].sum() + 0.5 * (~decided).sum()
    return TextBaselines(
        leave_one_patient_out_correct=int(leave_one_patient_out(texts, labels, patient).sum()),
        in_sample_ceiling=int(bound),
        ceiling_null_p=tests.p_value(bound, null_bounds),
        keyword_correct=float(keyword),
        ceiling_null_mean=float(null_bounds.mean()),
        n=len(labels),
    )


def leave_one_patient_out(texts: CaseTexts, truth: Array, patient: Any) -> Array:
    """Classify each case by its texts with a classifier trained on all other patients.

    Multinomial naive Bayes on label counts with add-one smoothing and equal prior probabilities of
    the classes. A tie is answered benign.

    Parameters
    ----------
    texts : sequence of sequence of str, length n
        Labels of each case.
    truth : ndarray of bool, shape (n,)
        Whether each case is malignant.
    patient : array-like, shape (n,)
        Patient of each case.

    Returns
    -------
    ndarray of bool, shape (n,)
        Whether each decision is correct.

    Examples
    --------
    >>> import numpy as np
    >>> texts = [("mass",), ("mass",), ("skin",), ("skin",)]
    >>> leave_one_patient_out(texts, np.array([True, True, False, False]), list("abcd")).tolist()
    [True, True, True, True]
    """
    # The order of a set of strings differs between processes, and rounding depends on the order.
    vocabulary = {
        label: index
        for index, label in enumerate(sorted({label for text in texts for label in text}))
    }
    counts = np.zeros((len(texts), len(vocabulary)))
    for row, text in enumerate(texts):
        for label in text:
            counts[row, vocabulary[label]] += 1
    codes, clusters = cluster_codes(patient, len(texts))
    # One-hot patients, [cases, patients].
    membership = np.eye(clusters)[codes]
    log_likelihoods = []
    for is_class in (truth, ~truth):
        # Label counts of this class for each patient, [patients, labels].
        by_patient = (membership * is_class[:, None]).T @ counts
        # Totals minus the own patient: one training set per patient without a loop.
        others = by_patient.sum(axis=0) - by_patient + 1
        log_likelihoods.append(np.log(others / others.sum(axis=1, keepdims=True))[codes])
    # Rounding must not decide a tie.
    called = (counts * (log_likelihoods[0] - log_likelihoods[1])).sum(axis=1) > 1e-12
    return called == truth
