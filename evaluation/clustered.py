"""Inference for a proportion of right answers when patients contribute several answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.clustered_record import ClusteredProportion
from evaluation.gee import GeeEstimate, expit, gee_exchangeable, logit, logit_bounds
from evaluation.intervals import Interval, join_reasons
from evaluation.permutation import sign_flip
from evaluation.validation import Array, binary_labels, check_level, cluster_codes

# Below this a design effect is rounding.
ROUNDING = 1e-12
COUNTED_PATIENTS = "Clopper-Pearson on the number of patients"


@dataclass(frozen=True)
class _Wording:
    """Words of the reasons: an observation, and its two outcomes."""

    noun: str
    positive: str
    negative: str


_ANSWERS = _Wording("answer", "right", "wrong")


def clustered_proportion(
    correct: Any, cluster: Any, p0: float = 0.5, level: float = 0.95
) -> ClusteredProportion:
    """Estimate and test a proportion with patients as clusters.

    Parameters
    ----------
    correct : array_like of bool, shape (n,)
        Whether each answer is right.
    cluster : sequence of hashable, shape (n,)
        Patient of each answer.
    p0 : float
        Proportion under the null hypothesis, in (0, 1).
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    ClusteredProportion

    Raises
    ------
    ValueError
        If a label or a patient is missing, or an argument is out of range.

    Notes
    -----
    With S_i right of n_i answers of patient i, m patients and n answers in all:

    - estimate p = sum S_i / n with the linearised variance m/(m-1) sum (S_i - p n_i)^2 / n^2;
    - design effect: that variance / (p (1 - p) / n);
    - Rao-Scott: z = (p - p0) / sqrt(p0 (1 - p0) / n x design effect);
    - GEE: see `gee_exchangeable`; sign-flip: see `sign_flip`; ICC: see `anova_icc`;
    - interval and P to print: the GEE with variance times m/(m-1) and t quantiles with m - 1
      degrees of freedom on the logit scale. Where all answers are equal, the exact binomial ones
      of m answers, one a patient; where every patient has the same share, or the GEE does not
      exist, the Korn-Graubard bounds without P;
    - patient-weighted: one-sample t test of the proportions S_i / n_i;
    - Korn-Graubard: Clopper-Pearson on the effective n, adjusted for m - 1 degrees of freedom.

    Coverage and type I error of each: benchmarks/COVERAGE.md.

    Checked against: R 4.2 survey `svymean` and `svyciprop` (method "beta"), 1e-9, and geepack,
    1e-6, on the published reading study and on synthetic data.

    References
    ----------
    Rao JNK, Scott AJ. Biometrics 1992;48:577-585. Liang K-Y, Zeger SL. Biometrika 1986;73:13-22.
    Korn EL, Graubard BI. Surv Methodol 1998;24:193-201. Donner A. Int Stat Rev 1986;54:67-82. Mancl
    LA, DeRouen TA. Biometrics 2001;57:126-134 (small samples).

    Examples
    --------
    >>> result = clustered_proportion([1, 1, 0, 1, 1, 0, 1, 0], list("aabbccde"))
    >>> result.n, result.clusters, round(result.estimate, 3), round(result.design_effect, 2)
    (8, 5, 0.625, 0.81)
    """
    return _clustered_proportion(correct, cluster, p0, level, _ANSWERS)


def korn_graubard_interval(
    outcome: Any,
    cluster: Any,
    level: float = 0.95,
    noun: str = "observation",
    positive: str = "positive",
    negative: str = "negative",
) -> Interval:
    """Compute the Korn-Graubard interval of a proportion with patients as clusters.

    Parameters
    ----------
    outcome : array_like of bool, shape (n,)
    cluster : sequence of hashable, shape (n,)
        Patient of each observation.
    level : float
        Confidence level in (0, 1).
    noun, positive, negative : str
        Names of an observation and of its two outcomes, used in `reason`.

    Returns
    -------
    Interval
        Clopper-Pearson bounds on the effective sample size. `reason` may be a caveat beside bounds,
        such as a missing intraclass correlation.

    References
    ----------
    Korn EL, Graubard BI. Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data. Surv Methodol 1998;24:193-201.

    Examples
    --------
    >>> interval = korn_graubard_interval([1, 1, 0, 1, 1, 0, 1, 0], list("aabbccde"))
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.225, 0.925)
    """
    # p0 concerns the tests only; the interval does not depend on it.
    wording = _Wording(noun, positive, negative)
    result = _clustered_proportion(outcome, cluster, 0.5, level, wording, bounds_only=True)
    return Interval(
        estimate=result.estimate,
        low=result.korn_graubard_low,
        high=result.korn_graubard_high,
        level=level,
        method="Korn-Graubard" if result.effective_n else COUNTED_PATIENTS,
        reason=result.reason,
        unit="patient",
    )


def _clustered_proportion(
    correct: Any,
    cluster: Any,
    p0: float,
    level: float,
    wording: _Wording,
    bounds_only: bool = False,
) -> ClusteredProportion:
    """Analyse a proportion; `bounds_only` leaves out the tests and the GEE."""
    right = binary_labels(correct)
    check_level(level)
    if not 0 < p0 < 1:
        raise ValueError(f"the tested proportion is {p0:g}: it must lie between 0 and 1")
    n = len(right)
    if not n:
        return ClusteredProportion(
            estimate=None,
            n=0,
            clusters=0,
            p0=p0,
            level=level,
            reason=f"there are no {wording.noun}s",
        )
    codes, clusters = cluster_codes(cluster, n)
    if clusters < 2:
        return ClusteredProportion(
            estimate=float(right.mean()),
            n=n,
            clusters=clusters,
            successes=int(right.sum()),
            p0=p0,
            level=level,
            reason=(
                f"all {wording.noun}s come from one patient: the variance between patients cannot"
                " be estimated"
            ),
        )
    sums = np.bincount(codes, right, clusters)
    sizes = np.bincount(codes, minlength=clusters).astype(float)
    return _from_sums(sums, sizes, p0, level, wording, bounds_only)


def _from_sums(
    sums: Array, sizes: Array, p0: float, level: float, wording: _Wording, bounds_only: bool
) -> ClusteredProportion:
    n, m = sizes.sum(), len(sizes)
    p = sums.sum() / n
    # Linearised (Taylor) variance of a ratio of two sums, with the survey factor m / (m - 1).
    variance = m / (m - 1) * ((sums - p * sizes) ** 2).sum() / n**2
    constant = (
        None
        if 0 < p < 1
        else f"all {wording.noun}s are {wording.positive if p else wording.negative}: their"
        " variance is 0"
    )
    # A zero variance with 0 < p < 1 (every patient has the same proportion) has no effective n
    # either.
    effect = float(variance / (p * (1 - p) / n)) if constant is None else None
    if effect is not None and effect < ROUNDING:
        effect = 0.0
    no_effect = (
        f"every patient has the same share of {wording.positive} {wording.noun}s: the variance"
        " between patients is 0"
        if effect == 0
        else None
    )
    single = (
        f"no patient has two {wording.noun}s: there is no intraclass correlation"
        if n == m and constant is None
        else None
    )
    # Everything that divides by the variance between patients needs an effect above 0.
    gee_reason = None
    if not effect:
        robust = _patient_count_fields(p, m, p0, level)
    else:
        robust = _effective_size_fields(p, n, m, level, effect)
        if not bounds_only:
            tests, gee_reason = _robust_fields(sums, sizes, p0, level, effect)
            robust |= tests
    shared: dict[str, Any] = {
        "estimate": float(p),
        "n": int(n),
        "clusters": m,
        "design_effect": effect,
        "standard_error": float(np.sqrt(variance)),
        "successes": round(sums.sum()),
        "p0": p0,
        "level": level,
    }
    if bounds_only:
        return ClusteredProportion(
            reason=join_reasons(constant, no_effect, single), **shared, **robust
        )
    # Flipping signs is symmetric only if right and wrong are equally likely.
    flip_greater, flip_two, flip_method = (
        sign_flip(2 * sums - sizes) if p0 == 0.5 else (None, None, "only defined against .5")
    )
    no_flip = None if p0 == 0.5 else "the sign-flip test exists against .5 only"
    weighted_error, weighted_p = _patient_weighted(sums / sizes, p0)
    return ClusteredProportion(
        icc=anova_icc(sums, sizes),
        sign_flip_p_greater=flip_greater,
        sign_flip_p_two_sided=flip_two,
        sign_flip_method=flip_method,
        patient_weighted_estimate=float((sums / sizes).mean()),
        patient_weighted_standard_error=weighted_error,
        patient_weighted_p_greater=weighted_p,
        reason=join_reasons(constant, no_effect, gee_reason, single, no_flip),
        **shared,
        **robust,
    )


def _robust_fields(
    sums: Array, sizes: Array, p0: float, level: float, effect: float
) -> tuple[dict[str, Any], str | None]:
    """Return the tests and the GEE, and why the GEE lacks numbers."""
    n, m = sizes.sum(), len(sizes)
    p = sums.sum() / n
    z = (p - p0) / np.sqrt(p0 * (1 - p0) / n * effect)
    fields: dict[str, Any] = {"rao_scott_p_greater": float(scipy.special.ndtr(-z))}
    gee, reason = gee_exchangeable(sums, sizes)
    if gee is None:
        return fields, reason
    fields |= {
        "gee_estimate": gee.estimate,
        "gee_logit": gee.logit,
        "gee_standard_error": gee.standard_error,
        "working_correlation": gee.correlation,
    }
    return fields | (_gee_inference(gee, m, p0, level) if gee.standard_error > 0 else {}), reason


def _effective_size_fields(
    p: float, n: float, m: int, level: float, effect: float
) -> dict[str, Any]:
    """Return the Korn-Graubard bounds, which are also printed where the GEE does not exist."""
    low, high = _korn_graubard(p, n, m, n / effect, level)
    return {
        "effective_n": float(n / effect),
        "low": low,
        "high": high,
        "korn_graubard_low": low,
        "korn_graubard_high": high,
    }


def _gee_inference(gee: GeeEstimate, m: int, p0: float, level: float) -> dict[str, Any]:
    """Return bounds and P values of a GEE, as geepack gives them and for few patients."""
    z = (gee.logit - logit(p0)) / gee.standard_error
    # On the logit scale the bounds stay inside (0, 1).
    half = scipy.special.ndtri((1 + level) / 2) * gee.standard_error
    # The sandwich variance of m patients is too small by about (m - 1) / m, and itself uncertain.
    error = np.sqrt(m / (m - 1)) * gee.standard_error
    t = (gee.logit - logit(p0)) / error
    # `logit_bounds` takes the error on the scale of the proportion.
    low, high = logit_bounds(gee.estimate, error * gee.estimate * (1 - gee.estimate), m - 1, level)
    return {
        "low": low,
        "high": high,
        "p_greater": float(scipy.special.stdtr(m - 1, -t)),
        "p_two_sided": float(2 * scipy.special.stdtr(m - 1, -abs(t))),
        "gee_low": expit(gee.logit - half),
        "gee_high": expit(gee.logit + half),
        "gee_p_greater": float(scipy.special.ndtr(-z)),
        "gee_p_two_sided": float(2 * scipy.special.ndtr(-abs(z))),
    }


def _patient_count_fields(p: float, m: int, p0: float, level: float) -> dict[str, Any]:
    """Return the fields where the variance between patients is 0: as of m answers.

    Each patient then counts as one answer, which is the most that clustering can cost.
    """
    low, high = _korn_graubard(p, m, m, m, level)
    fields = {"low": low, "high": high, "korn_graubard_low": low, "korn_graubard_high": high}
    if 0 < p < 1:
        return fields
    greater = p0**m if p == 1 else 1.0
    less = (1 - p0) ** m if p == 0 else 1.0
    return fields | {"p_greater": greater, "p_two_sided": min(1.0, 2 * min(greater, less))}


def anova_icc(sums: Array, sizes: Array) -> float | None:
    """Estimate the intraclass correlation of 0/1 outcomes by one-way analysis of variance.

    Parameters
    ----------
    sums, sizes : ndarray of float, shape (m,)
        Successes and observations of each cluster.

    Returns
    -------
    float or None
        None where no cluster has two observations, or where all outcomes are equal.

    References
    ----------
    Donner A. A review of inference procedures for the intraclass correlation coefficient in the
    one-way random effects model. Int Stat Rev 1986;54:67-82.

    Examples
    --------
    >>> round(anova_icc(np.array([3.0, 0, 1, 1]), np.array([3.0, 2, 1, 4])), 3)
    0.611
    """
    n, m = sizes.sum(), len(sizes)
    p = sums.sum() / n
    if n == m or not 0 < p < 1:
        return None
    between = (sizes * (sums / sizes - p) ** 2).sum() / (m - 1)
    # For 0/1 outcomes the sum of squares within a cluster is S (1 - S / n).
    within = (sums * (1 - sums / sizes)).sum() / (n - m)
    # Mean cluster size, corrected for unequal sizes.
    size = (n - (sizes**2).sum() / n) / (m - 1)
    return float((between - within) / (between + (size - 1) * within))


def _patient_weighted(means: Array, p0: float) -> tuple[float | None, float | None]:
    """Return standard error and one-sided P of the mean of the patients' proportions."""
    # Patients count equally whatever their number of answers, hence m - 1 degrees of freedom.
    error = float(means.std(ddof=1) / np.sqrt(len(means)))
    if error <= 0:
        return None, None
    return error, float(scipy.stats.t.sf((means.mean() - p0) / error, len(means) - 1))


def _korn_graubard(
    p: float, n: float, m: int, effective_n: float, level: float
) -> tuple[float, float]:
    tail = (1 - level) / 2
    # The t ratio replaces the n - 1 degrees of freedom of a simple sample by those of m patients.
    ratio = scipy.special.stdtrit(n - 1, tail) / scipy.special.stdtrit(m - 1, tail)
    size = effective_n * float(ratio) ** 2
    # A fractional count, which the beta quantiles accept where both shapes are positive.
    successes = p * size
    low = float(scipy.special.betaincinv(successes, size - successes + 1, tail)) if p > 0 else 0.0
    high = float(scipy.special.betainccinv(successes + 1, size - successes, tail)) if p < 1 else 1.0
    return low, high
