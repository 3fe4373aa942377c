"""Proportion correct as the primary endpoint: GEE, sign-flip test, exact binomial test."""

from __future__ import annotations

from evaluation.clustered import COUNTED_PATIENTS, clustered_proportion
from evaluation.clustered_record import ClusteredProportion
from evaluation.proportion import exact_binomial_test, proportion_interval
from evaluation.reading_study.primary.record import EndpointEstimate
from evaluation.validation import Array


def estimate_proportion(
    analysis: str, correct: Array, patients: Array, level: float
) -> EndpointEstimate:
    """Estimate the proportion correct and test it against one half.

    Parameters
    ----------
    analysis : {"gee", "sign_flip", "exact_binomial"}
    correct : ndarray of bool, shape (n,)
        Whether each answer is correct.
    patients : ndarray, shape (n,)
        Patient of each answer.
    level : float
        Two-sided confidence level.

    Returns
    -------
    EndpointEstimate
    """
    analyses = {
        "gee": _gee_estimate,
        "sign_flip": _sign_flip_estimate,
        "exact_binomial": _exact_binomial_estimate,
    }
    return analyses[analysis](correct, patients, level)


def _gee_estimate(correct: Array, patients: Array, level: float) -> EndpointEstimate:
    # The robust variance remains valid if the correlation within a patient is not exchangeable
    # (Liang and Zeger 1986).
    clusters = clustered_proportion(correct, patients, level=level)
    # Where all answers are equal there is no GEE; the bounds then count patients.
    is_gee = clusters.gee_p_greater is not None
    return EndpointEstimate(
        estimate=clusters.gee_estimate if is_gee else clusters.estimate,
        low=clusters.low,
        high=clusters.high,
        p_one_sided=clusters.p_greater,
        p_two_sided=clusters.p_two_sided,
        method=(
            "GEE, exchangeable correlation, small-sample robust variance, clustered by patient"
            if is_gee
            else _interval_name(clusters)
        ),
        reason=None if is_gee else clusters.reason,
    )


def _sign_flip_estimate(correct: Array, patients: Array, level: float) -> EndpointEstimate:
    clusters = clustered_proportion(correct, patients, level=level)
    # The Korn-Graubard interval belongs to the ratio estimate, which the sign-flip test concerns.
    return EndpointEstimate(
        estimate=clusters.estimate,
        low=clusters.korn_graubard_low,
        high=clusters.korn_graubard_high,
        p_one_sided=clusters.sign_flip_p_greater,
        p_two_sided=clusters.sign_flip_p_two_sided,
        method=f"patient sign-flip ({clusters.sign_flip_method}), {_interval_name(clusters)}",
        reason=None if clusters.effective_n else clusters.reason,
    )


def _exact_binomial_estimate(correct: Array, patients: Array, level: float) -> EndpointEstimate:
    # Patients are ignored: the test assumes independent answers, as the published study did.
    successes, n = int(correct.sum()), len(correct)
    one_sided = exact_binomial_test(successes, n, level=level)
    two_sided = exact_binomial_test(successes, n, alternative="two-sided", level=level)
    interval = proportion_interval(successes, n, "clopper-pearson", level)
    return EndpointEstimate(
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        p_one_sided=one_sided.p_value,
        p_two_sided=two_sided.p_value,
        method="exact binomial test, Clopper-Pearson interval",
        reason=one_sided.reason,
    )


def _interval_name(clusters: ClusteredProportion) -> str:
    return "Korn-Graubard interval" if clusters.effective_n else COUNTED_PATIENTS
