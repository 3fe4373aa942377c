"""A proportion of right answers when one patient gives several of them (DEFINITIONS, Reading study:
independence fails).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from evaluation.intervals import (
    counted,
    decimal,
    interval_text,
    join_reasons,
    not_estimable,
    p_text,
    percent,
)
from evaluation.resampling import drawn_clusters
from evaluation.validation import Array, binary_labels, check_level, cluster_codes

# Above this sum of |right - wrong| the sign-flip distribution is normal to many digits and the
# exact sum is no longer worth its time.
EXACT_SIGN_FLIP_LIMIT = 20_000
BOOTSTRAPS = 2_000


@dataclass(frozen=True, kw_only=True)
class ClusteredProportion:
    """A clustered proportion by every method of DEFINITIONS; numbers that do not exist are None and
    `reason` says why.
    """

    estimate: float | None
    n: int
    clusters: int
    icc: float | None = None
    design_effect: float | None = None
    effective_n: float | None = None
    rao_scott_p_greater: float | None = None
    gee_estimate: float | None = None
    gee_low: float | None = None
    gee_high: float | None = None
    gee_p_greater: float | None = None
    gee_p_two_sided: float | None = None
    sign_flip_p_greater: float | None = None
    sign_flip_p_two_sided: float | None = None
    patient_weighted_estimate: float | None = None
    patient_weighted_p_greater: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    standard_error: float | None = None
    korn_graubard_low: float | None = None
    korn_graubard_high: float | None = None
    working_correlation: float | None = None
    gee_logit: float | None = None
    gee_standard_error: float | None = None
    patient_weighted_standard_error: float | None = None
    successes: int = 0
    p0: float = 0.5
    level: float = 0.95
    sign_flip_method: str = "exact"
    method: str = "GEE, exchangeable, robust variance; patient sign-flip"
    unit: str = "patient"
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        if self.estimate is None:
            return f"Proportion {not_estimable(self.reason)}."
        text = (
            f"{self.successes} of {counted(self.n, 'answer')} from"
            f" {counted(self.clusters, 'patient')} ({percent(self.estimate)}) were right"
        )
        if self.gee_p_greater is None:
            return f"{text}; cluster-robust inference {not_estimable(self.reason)}."
        return (
            f"{text}; GEE with exchangeable correlation and robust variance"
            f" {decimal(self.gee_estimate)}"
            f" ({interval_text(self.gee_low, self.gee_high, self.level)}), one-sided"
            f" {p_text(self.gee_p_greater)}, two-sided {p_text(self.gee_p_two_sided)}; patient"
            f" sign-flip ({self.sign_flip_method}), one-sided {p_text(self.sign_flip_p_greater)};"
            f" {self.clustering(self.reason)}."
        )

    def clustering(self, said: str | None = None) -> str:
        """What the patients' several answers do to the variance, in words; a reason that was `said`
        before is not said again.

        With one answer a patient the design effect is m / (m - 1) for m patients, the small-sample
        factor of the linearised variance, and tells nothing of likeness within patients.
        """
        if self.design_effect is None:
            why = f": {self.reason}" if self.reason and self.reason != said else ""
            return f"intraclass correlation and design effect not estimable{why}"
        if self.n == self.clusters:
            return (
                "no patient has two answers: clustering plays no part (the design effect,"
                f" {decimal(self.design_effect, 2)}, is the variance's small-sample factor)"
            )
        why = f" ({self.reason})" if self.reason and self.reason != said else ""
        return (
            f"intraclass correlation {decimal(self.icc, 2)}, design effect"
            f" {decimal(self.design_effect, 2)}{why}"
        )


@dataclass(frozen=True)
class Gee:
    """The intercept of a binomial GEE: proportion, its logit with robust standard error, and the
    working correlation.
    """

    estimate: float
    logit: float
    standard_error: float
    correlation: float


def clustered_proportion(
    correct: Any, cluster: Any, p0: float = 0.5, level: float = 0.95
) -> ClusteredProportion:
    """Inference for the share of right answers, patients as clusters.

    `correct` bool [n], `cluster` any hashable [n]. Estimate: the ratio estimator with linearised
    variance m/(m-1) sum (S_i - p n_i)^2 / n^2; design effect = that variance / (p(1-p)/n);
    Rao-Scott: score z with the null variance times the design effect; GEE: `gee_exchangeable`;
    sign-flip: `sign_flip`; patient-weighted: t test of the patients' means; Korn-Graubard:
    Clopper-Pearson on the effective n, t-adjusted; bootstrap: patients resampled (percentile, seed
    1); ICC by analysis of variance.
    """
    right = binary_labels(correct)
    check_level(level)
    if not 0 < p0 < 1:
        raise ValueError(f"the tested proportion is {p0:g}: it must lie between 0 and 1")
    n = len(right)
    if not n:
        return _empty(None, 0, 0, "there are no answers", p0, level)
    codes, clusters = cluster_codes(cluster, n)
    sums, sizes = (
        np.bincount(codes, right, clusters),
        np.bincount(codes, minlength=clusters).astype(float),
    )
    if clusters < 2:
        return _empty(
            float(right.mean()),
            n,
            clusters,
            "all answers come from one patient: nothing is known about other patients",
            p0,
            level,
        )
    return _from_sums(sums, sizes, p0, level)


def _empty(
    estimate: float | None, n: int, clusters: int, reason: str, p0: float, level: float
) -> ClusteredProportion:
    return ClusteredProportion(
        estimate=estimate,
        n=n,
        clusters=clusters,
        successes=round((estimate or 0) * n),
        p0=p0,
        level=level,
        reason=reason,
    )


def _from_sums(sums: Array, sizes: Array, p0: float, level: float) -> ClusteredProportion:
    n, m = sizes.sum(), len(sizes)
    p = sums.sum() / n
    variance = m / (m - 1) * ((sums - p * sizes) ** 2).sum() / n**2
    constant = (
        None if 0 < p < 1 else f"all answers are {'right' if p else 'wrong'}: their variance is 0"
    )
    # A zero variance with 0 < p < 1 (every patient equally right) has no effective n either.
    effect = variance / (p * (1 - p) / n) if constant is None else None
    no_effect = (
        "every patient has the same share of right answers: the variance between patients is 0"
        if effect == 0
        else None
    )
    effective = n / effect if effect else None
    z_null = (p - p0) / np.sqrt(p0 * (1 - p0) / n * effect) if effect else None
    alone = (
        "no patient has two answers: there is no intraclass correlation"
        if n == m and constant is None
        else None
    )
    gee, gee_reason = (
        gee_exchangeable(sums, sizes) if constant is None and not no_effect else (None, None)
    )
    z = (gee.logit - _logit(p0)) / gee.standard_error if gee and gee.standard_error > 0 else None
    half = stats.norm.isf((1 - level) / 2) * gee.standard_error if gee and z is not None else None
    flip_greater, flip_two, flip_method = (
        sign_flip(2 * sums - sizes) if p0 == 0.5 else (None, None, "only defined against .5")
    )
    weighted = _patient_weighted(sums / sizes, p0)
    no_flip = None if p0 == 0.5 else "the sign-flip test exists against .5 only"
    korn = _korn_graubard(p, n, m, effective, level) if effective else (None, None)
    # Resampling equal patients gives no width, which is no certainty.
    low, high = bootstrap_ratio(sums, sizes, level) if effect else (None, None)
    return ClusteredProportion(
        estimate=float(p),
        n=int(n),
        clusters=m,
        icc=anova_icc(sums, sizes),
        design_effect=_number(effect),
        effective_n=_number(effective),
        rao_scott_p_greater=_tail(z_null),
        gee_estimate=gee.estimate if gee else None,
        gee_low=_expit(gee.logit - half) if gee and half is not None else None,
        gee_high=_expit(gee.logit + half) if gee and half is not None else None,
        gee_p_greater=_tail(z),
        gee_p_two_sided=None if z is None else float(2 * stats.norm.sf(abs(z))),
        sign_flip_p_greater=flip_greater,
        sign_flip_p_two_sided=flip_two,
        patient_weighted_estimate=float((sums / sizes).mean()),
        patient_weighted_p_greater=weighted[1],
        bootstrap_low=low,
        bootstrap_high=high,
        standard_error=float(np.sqrt(variance)),
        korn_graubard_low=korn[0],
        korn_graubard_high=korn[1],
        working_correlation=gee.correlation if gee else None,
        gee_logit=gee.logit if gee else None,
        gee_standard_error=gee.standard_error if gee else None,
        patient_weighted_standard_error=weighted[0],
        successes=round(sums.sum()),
        p0=p0,
        level=level,
        sign_flip_method=flip_method,
        reason=join_reasons(constant, no_effect, gee_reason, alone, no_flip),
    )


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _tail(z: float | None) -> float | None:
    return None if z is None else float(stats.norm.sf(z))


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def _expit(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def gee_exchangeable(sums: Array, sizes: Array) -> tuple[Gee | None, str | None]:
    """Intercept-only binomial GEE with exchangeable working correlation and sandwich variance
    (Liang and Zeger 1986), in closed form.

    With one mean for all, a cluster of n_i answers enters with weight w_i = 1 / (1 + (n_i - 1) a):
    mu = sum w S / sum w n, and a = mean product of Pearson residuals over pairs / their mean
    square, until a stands still. Equals R's geepack; statsmodels differs in the fourth digit of `a`
    only, by its divisor. `sums` right answers [m], `sizes` answers [m]; the proportion lies inside
    (0, 1).
    """
    correlation = _working_correlation(sums, sizes)
    if correlation is None:
        return (
            None,
            "the working correlation is too negative for the largest patient: GEE does not exist",
        )
    weight = 1 / (1 + (sizes - 1) * correlation)
    mu = (weight * sums).sum() / (weight * sizes).sum()
    robust = np.sqrt((weight**2 * (sums - sizes * mu) ** 2).sum()) / (weight * sizes).sum()
    error = float(robust / (mu * (1 - mu)))
    reason = (
        None
        if error > 0
        else "every patient has the same share of right answers: the robust variance is 0"
    )
    return Gee(float(mu), _logit(mu), error, float(correlation)), reason


def _working_correlation(sums: Array, sizes: Array) -> float | None:
    """Where estimating the correlation with its own weights gives it back; None where that lies
    below what the largest patient allows.
    """
    if sizes.max() < 2:
        return 0.0
    correlation, least = 0.0, -(1 - 1e-9) / (sizes.max() - 1)
    for _ in range(500):
        previous, correlation = correlation, _next_correlation(correlation, sums, sizes)
        if abs(correlation - previous) < 1e-12:
            return correlation
        if correlation < least:
            break

    def gap(value: float) -> float:
        return _next_correlation(value, sums, sizes) - value

    # Where the answers of a patient tend to differ the steps overshoot: to and fro about the
    # solution, or past what is allowed.
    return float(brentq(gap, least, 0.0, xtol=1e-14)) if gap(least) > 0 > gap(0.0) else None


def _next_correlation(correlation: float, sums: Array, sizes: Array) -> float:
    weight = 1 / (1 + (sizes - 1) * correlation)
    mu = (weight * sums).sum() / (weight * sizes).sum()
    squares = (sums * (1 - mu) ** 2 + (sizes - sums) * mu**2).sum()
    products = ((sums - sizes * mu) ** 2).sum() - squares
    return float((products / (sizes * (sizes - 1)).sum()) / (squares / sizes.sum()))


def sign_flip(differences: Any) -> tuple[float, float, str]:
    """Randomisation test of right against wrong answers, the patient being the unit: under chance
    each patient's (right - wrong) is as likely with the other sign. Returns P(T >= t), P(|T| >=
    |t|) and how they were found.

    `differences` whole numbers [m]. Exact by adding up the distribution of the sum patient by
    patient (those of equal size together), which is linear in the sum, not 2^m; the normal
    approximation above EXACT_SIGN_FLIP_LIMIT.
    """
    values = np.asarray(np.rint(differences), dtype=np.int64)
    observed, sizes = int(values.sum()), np.abs(values[values != 0])
    total = int(sizes.sum())
    if total > EXACT_SIGN_FLIP_LIMIT:
        z = observed / np.sqrt((sizes.astype(float) ** 2).sum())
        return float(stats.norm.sf(z)), float(2 * stats.norm.sf(abs(z))), "normal approximation"
    # The sum of the patients that keep a plus sign runs from 0 to total and T = 2 x that sum -
    # total.
    distribution = np.ones(1)
    for size, count in zip(*np.unique(sizes, return_counts=True)):
        kernel = np.zeros(size * count + 1)
        kernel[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, kernel)
    sums = 2 * np.arange(total + 1) - total
    greater = float(distribution[sums >= observed].sum())
    two = float(distribution[np.abs(sums) >= abs(observed)].sum())
    return min(1.0, greater), min(1.0, two), "exact"


def anova_icc(sums: Array, sizes: Array) -> float | None:
    """Intraclass correlation of 0/1 answers by one-way analysis of variance (Donner 1986); None
    where no patient has two answers or all answers agree.
    """
    n, m = sizes.sum(), len(sizes)
    p = sums.sum() / n
    if n == m or not 0 < p < 1:
        return None
    between = (sizes * (sums / sizes - p) ** 2).sum() / (m - 1)
    within = (sums * (1 - sums / sizes)).sum() / (n - m)
    size = (n - (sizes**2).sum() / n) / (m - 1)
    return float((between - within) / (between + (size - 1) * within))


def _patient_weighted(means: Array, p0: float) -> tuple[float | None, float | None]:
    error = float(means.std(ddof=1) / np.sqrt(len(means)))
    return (
        (error, float(stats.t.sf((means.mean() - p0) / error, len(means) - 1)))
        if error > 0
        else (None, None)
    )


def _korn_graubard(
    p: float, n: float, m: int, effective: float, level: float
) -> tuple[float, float]:
    """Clopper-Pearson with the effective sample size, adjusted for the patients' degrees of freedom
    (Korn and Graubard 1998).
    """
    tail = (1 - level) / 2
    size = effective * (stats.t.ppf(tail, n - 1) / stats.t.ppf(tail, m - 1)) ** 2
    hits = p * size
    return float(stats.beta.ppf(tail, hits, size - hits + 1)), float(
        stats.beta.isf(tail, hits + 1, size - hits)
    )


def bootstrap_ratio(
    sums: Array, sizes: Array, level: float, resamples: int = BOOTSTRAPS, seed: int = 1
) -> tuple[float, float]:
    """Percentile interval of sum S / sum n over patients drawn with replacement."""
    m = len(sums)
    ratios = np.concatenate(
        [(drawn @ sums) / (drawn @ sizes) for drawn in drawn_clusters(m, resamples, seed)]
    )
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
