"""Primary analysis of a reading study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from evaluation.clustered import clustered_proportion
from evaluation.intervals import decimal, interval_text, not_estimable, p_text
from evaluation.proportion import exact_binomial_test, proportion_interval
from evaluation.reading_study.design import Design
from evaluation.validation import Array


@dataclass(frozen=True, kw_only=True)
class PrimaryResult:
    """Result of the prespecified analysis.

    Parameters
    ----------
    correct, n : int
        Correct answers and all answers of the primary arm, without hidden repeats.
    estimate, low, high : float or None
        Proportion correct with its two-sided interval of level 1 - alpha.
    p_value : float or None
        P for the prespecified side; p_one_sided and p_two_sided give both.
    side, alpha, method
        As prespecified in the design.
    significant : bool or None
        Whether p_value is at most alpha; None without a P.
    reason : str or None
        Why P or interval is missing.
    unit : str
        Unit of analysis.
    """

    correct: int
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    side: str
    alpha: float
    method: str
    significant: bool | None
    reason: str | None = None
    unit: str = "patient"

    def sentence(self) -> str:
        """Return the result as one sentence."""
        if self.p_value is None:
            return (
                f"{self.correct} of {self.n} correct; the primary analysis is"
                f" {not_estimable(self.reason)}."
            )
        return (
            f"{self.correct} of {self.n} correct; {self.method}: {decimal(self.estimate)}"
            f" ({interval_text(self.low, self.high, 1 - self.alpha, self.reason)}), prespecified"
            f" {'one-sided' if self.side == 'greater' else 'two-sided'} {p_text(self.p_value)}."
        )


class _PrimaryEstimate(NamedTuple):
    estimate: float | None
    low: float | None
    high: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    method: str
    reason: str | None


def primary_analysis(correct: Array, patients: Array, design: Design) -> PrimaryResult:
    """Compute the primary analysis of a design.

    Parameters
    ----------
    correct : ndarray of bool, shape (n,)
        Whether each answer is correct.
    patients : ndarray, shape (n,)
        Patient of each answer.
    design : Design
        Chooses the GEE or the sign-flip test with patients as clusters, or the exact binomial test;
        provides side and alpha.

    Returns
    -------
    PrimaryResult

    Examples
    --------
    >>> import numpy as np
    >>> from evaluation.reading_study.design import design_preset
    >>> correct = np.array([True] * 8 + [False] * 2)
    >>> result = primary_analysis(correct, np.arange(10), design_preset("DeepMiner 2021"))
    >>> result.estimate, round(result.p_value, 4), result.significant
    (0.8, 0.0547, False)
    """
    analyses = {
        "gee": _gee_estimate,
        "sign_flip": _sign_flip_estimate,
        "exact_binomial": _exact_binomial_estimate,
    }
    result = analyses[design.primary](correct, patients, 1 - design.alpha)
    # The side is prespecified: choosing it after the result would halve P.
    p = result.p_one_sided if design.side == "greater" else result.p_two_sided
    return PrimaryResult(
        correct=int(correct.sum()),
        n=len(correct),
        estimate=result.estimate,
        low=result.low,
        high=result.high,
        p_value=p,
        p_one_sided=result.p_one_sided,
        p_two_sided=result.p_two_sided,
        side=design.side,
        alpha=design.alpha,
        method=result.method,
        significant=None if p is None else p <= design.alpha,
        reason=result.reason if p is None or result.low is None else None,
    )


def _gee_estimate(correct: Array, patients: Array, level: float) -> _PrimaryEstimate:
    # The robust variance remains valid if the correlation within a patient is not exchangeable
    # (Liang and Zeger 1986).
    clusters = clustered_proportion(correct, patients, level=level)
    return _PrimaryEstimate(
        estimate=clusters.gee_estimate,
        low=clusters.gee_low,
        high=clusters.gee_high,
        p_one_sided=clusters.gee_p_greater,
        p_two_sided=clusters.gee_p_two_sided,
        method="GEE, exchangeable correlation, robust variance, clustered by patient",
        reason=clusters.reason if clusters.gee_p_greater is None else None,
    )


def _sign_flip_estimate(correct: Array, patients: Array, level: float) -> _PrimaryEstimate:
    clusters = clustered_proportion(correct, patients, level=level)
    # If all patients have the same proportion the bootstrap has no variance; an interval of
    # width 0 would suggest certainty.
    is_constant = clusters.bootstrap_low == clusters.bootstrap_high
    return _PrimaryEstimate(
        estimate=clusters.estimate,
        low=None if is_constant else clusters.bootstrap_low,
        high=None if is_constant else clusters.bootstrap_high,
        p_one_sided=clusters.sign_flip_p_greater,
        p_two_sided=clusters.sign_flip_p_two_sided,
        method=f"patient sign-flip ({clusters.sign_flip_method}), patient-bootstrap interval",
        reason=clusters.reason if is_constant else None,
    )


def _exact_binomial_estimate(correct: Array, patients: Array, level: float) -> _PrimaryEstimate:
    # Patients are ignored: the test assumes independent answers, as the published study did.
    successes, n = int(correct.sum()), len(correct)
    one_sided = exact_binomial_test(successes, n, level=level)
    two_sided = exact_binomial_test(successes, n, alternative="two-sided", level=level)
    interval = proportion_interval(successes, n, "clopper-pearson", level)
    return _PrimaryEstimate(
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        p_one_sided=one_sided.p_value,
        p_two_sided=two_sided.p_value,
        method="exact binomial test, Clopper-Pearson interval",
        reason=one_sided.reason,
    )
