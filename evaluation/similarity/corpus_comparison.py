"""Similarity of a study's explanations to their reports, with a permutation baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from evaluation.intervals import (
    Interval,
    decimal,
    interval_with_width,
    not_estimable,
    p_text,
    percent,
)
from evaluation.resampling import multinomial_bootstrap_weights
from evaluation.similarity.text_matching import (
    CONCEPT_BY_WORD,
    Vectors,
    concept_f1,
    greedy_matching,
    out_of_vocabulary_rate,
)
from evaluation.validation import Array, cluster_codes

BASELINE_PERMUTATIONS = 1_000
SIMILARITY_RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True)
class CorpusSimilarity:
    """Mean similarity of explanations to their reports, beside a chance baseline.

    Attributes
    ----------
    mean : Interval
        Mean over the pairs with a defined score, with a patient-bootstrap interval.
    baseline : float or None
        Mean after exchanging the reports between patients, averaged over permutations.
    p_greater : float or None
        One-sided permutation P.
    pairs, undefined : int
        Numbers of pairs with and without a defined score.
    oov_reference, oov_hypothesis : float or None
        Share of words out of vocabulary over all reports, and over all explanations.
    measure, unit : str
        Measure and unit of analysis in words.
    reason : str or None
        Why there is no mean.
    """

    mean: Interval
    baseline: float | None
    p_greater: float | None
    pairs: int
    undefined: int
    oov_reference: float | None
    oov_hypothesis: float | None
    measure: str = "Greedy matching"
    unit: str = "patient"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.mean.estimate is None:
            return f"{self.measure} {not_estimable(self.reason)}."
        return (
            f"{self.measure} {self.mean.sentence()} over {self.pairs} explanations"
            f" ({self.undefined} undefined), against {decimal(self.baseline)} with reports permuted"
            f" between patients (one-sided permutation {p_text(self.p_greater)}); out of"
            f" vocabulary: reports {percent(self.oov_reference)}, explanations"
            f" {percent(self.oov_hypothesis)}."
        )


def corpus_similarity(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
    patients: Any,
    vectors: Vectors | None,
    oov: str = "skip",
    permutations: int = BASELINE_PERMUTATIONS,
    seed: int = 1,
    level: float = 0.95,
) -> CorpusSimilarity:
    """Compute the mean similarity of n explanations to n reports.

    Parameters
    ----------
    references, hypotheses : sequence of sequence of str, length n
        Words of each report and of its explanation, see `report_tokens`.
    patients : sequence of hashable, shape (n,)
    vectors : mapping of str to array_like of float, or None
        Word vectors for greedy matching; None for concept F1.
    oov : {"skip", "mean"}
        As in `greedy_matching`.
    permutations : int
        Number of permutations of patients.
    seed : int
        Seed of permutations and bootstrap.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    CorpusSimilarity

    Raises
    ------
    ValueError
        If the numbers of reports, explanations and patients differ.

    Notes
    -----
    Pairs without a defined score are counted and left out. Each permutation gives patient a's
    explanations the reports of patient b, repeated in order where b has fewer.
    P = (1 + permutations with at least the observed mean) / (1 + permutations).

    Examples
    --------
    >>> reports = [("mass", "oval"), ("calcification",), ("mass",), ("vessel",)]
    >>> result = corpus_similarity(reports, reports, list("abcd"), None, permutations=99)
    >>> result.mean.estimate, round(result.baseline, 2), result.pairs
    (1.0, 0.32, 4)
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} reports for {len(hypotheses)} explanations: one each is needed"
        )
    codes, clusters = cluster_codes(patients, len(references))
    score = _pair_scores(references, hypotheses, vectors, oov)
    scores = np.array([score(index, index) for index in range(len(references))])
    defined, method = ~np.isnan(scores), "patient bootstrap"
    vocabulary: Any = CONCEPT_BY_WORD if vectors is None else vectors
    rates = [
        out_of_vocabulary_rate([word for text in texts for word in text], vocabulary)
        for texts in (references, hypotheses)
    ]
    shared: dict[str, Any] = {
        "pairs": int(defined.sum()),
        "undefined": int((~defined).sum()),
        "oov_reference": rates[0],
        "oov_hypothesis": rates[1],
        "measure": "Concept F1" if vectors is None else "Greedy matching",
    }
    if not defined.any() or clusters < 2:
        reason = (
            "no pair has a defined score" if not defined.any() else "one patient cannot be permuted"
        )
        return CorpusSimilarity(
            mean=Interval.without_bounds(level, method, reason),
            baseline=None,
            p_greater=None,
            reason=reason,
            **shared,
        )
    # Both random steps start from the same seed: each is reproducible without the other.
    permuted = _permuted_means(score, codes, clusters, permutations, seed)
    mean = float(scores[defined].mean())
    # The tolerance counts permutations that reproduce the observed mean up to rounding.
    p = (1 + (permuted >= mean - 1e-12).sum()) / (1 + len(permuted)) if len(permuted) else None
    return CorpusSimilarity(
        mean=_bootstrap_mean(scores[defined], codes[defined], clusters, level, seed),
        baseline=float(permuted.mean()) if len(permuted) else None,
        p_greater=None if p is None else float(p),
        **shared,
    )


def _pair_scores(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
    vectors: Vectors | None,
    oov: str,
) -> Callable[[int, int], float]:
    """Return a function that scores report i with explanation j, nan where undefined.

    Each distinct pair of texts is computed once, because permutations repeat them many times.
    """
    left, right = [tuple(text) for text in references], [tuple(text) for text in hypotheses]

    @cache
    def text_score(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> float:
        """Return the score of one pair of texts; nan where it is undefined."""
        value = (
            concept_f1(reference, hypothesis).f1
            if vectors is None
            else greedy_matching(reference, hypothesis, vectors, oov).score
        )
        return float("nan") if value is None else value

    return lambda i, j: text_score(left[i], right[j])


def _permuted_means(
    score: Callable[[int, int], float], codes: Array, clusters: int, permutations: int, seed: int
) -> Array:
    """Return the mean score of each permutation of patients that has a defined score."""
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(codes == patient) for patient in range(clusters)]

    # Permutations repeat the same pairs of patients often.
    @cache
    def permuted_patient_score(patient: int, other: int) -> tuple[float, int]:
        """Return sum and number of the scores of a patient's explanations with other reports."""
        own = members[patient]
        # np.resize repeats the other patient's reports in order.
        values = np.array(
            [score(int(i), int(j)) for i, j in zip(np.resize(members[other], len(own)), own)]
        )
        return float(np.nansum(values)), int((~np.isnan(values)).sum())

    means = []
    for _ in range(permutations):
        parts = [
            permuted_patient_score(patient, int(other))
            # A patient may keep their own reports: the identity belongs to the null distribution.
            for patient, other in enumerate(generator.permutation(clusters))
        ]
        defined = sum(n for _, n in parts)
        if defined:
            means.append(sum(total for total, _ in parts) / defined)
    return np.array(means)


def _bootstrap_mean(
    values: Array, codes: Array, clusters: int, level: float, seed: int
) -> Interval:
    sums, sizes = np.bincount(codes, values, clusters), np.bincount(codes, minlength=clusters)
    weights = multinomial_bootstrap_weights(clusters, SIMILARITY_RESAMPLES, seed)
    totals = weights @ sizes
    # A patient may have no pair with a defined score, and a resample may hold such patients only.
    means = (weights @ sums)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return interval_with_width(
        float(values.mean()), float(low), float(high), level, "patient bootstrap"
    )
