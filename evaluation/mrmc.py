"""Several readers, several modalities (arms), the same cases:

Obuchowski-Rockette with Hillis' degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text
from evaluation.roc.auc_variance import jackknife_aucs, placements
from evaluation.validation import Array, binary_labels, check_level, float_array, one_class_reason

DESIGNS = {
    "rrrc": "random readers, random cases",
    "rrfc": "random readers, fixed cases",
    "frrc": "fixed readers, random cases",
}
COVARIANCES = ("jackknife", "delong", "unbiased")


@dataclass(frozen=True, kw_only=True)
class ObuchowskiRockette:
    """Empirical AUCs `auc` [modality, reader] and the test that all modalities have the same mean
    AUC; `difference` is the first minus the second modality. Variance components are
    method-of-moments estimates, printed as they come (they may be negative).
    """

    auc: Array | None = None
    difference: float | None = None
    standard_error: float | None = None
    df: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    design: str = "rrrc"
    covariance: str = "jackknife"
    level: float = 0.95
    statistic: float | None = None
    f: float | None = None
    df1: int | None = None
    modality_means: tuple[Interval, ...] = ()
    ms_t: float | None = None
    ms_r: float | None = None
    ms_tr: float | None = None
    var_error: float | None = None
    cov1: float | None = None
    cov2: float | None = None
    cov3: float | None = None
    var_reader: float | None = None
    var_modality_reader: float | None = None
    unit: str = "reader and case"
    reason: str | None = None

    @property
    def method(self) -> str:
        """Method in words."""
        return (
            f"Obuchowski-Rockette, {DESIGNS[self.design]}, {self.covariance} covariances, Hillis'"
            " degrees of freedom"
        )

    def sentence(self) -> str:
        """For a results section."""
        if self.p_value is None:
            means = ", ".join(mean.sentence() for mean in self.modality_means)
            return f"{self.method}: difference of modalities {not_estimable(self.reason)}." + (
                f" Mean AUC {means}." if means else ""
            )
        return (
            f"{self.method}: difference of mean AUC {decimal(self.difference)}"
            f" ({interval_text(self.low, self.high, self.level)}), two-sided"
            f" {p_text(self.p_value)}."
        )


def obuchowski_rockette(
    scores: Any,
    truth: Any,
    design: str = "rrrc",
    covariance: str = "jackknife",
    level: float = 0.95,
) -> ObuchowskiRockette:
    """Fully crossed multi-reader multi-case analysis of empirical AUCs (Obuchowski and Rockette
    1995; Hillis 2007).

    `scores` [modality, reader, case], `truth` 0/1 [case]. rrrc: F = MS(T) / den, den = MS(T:R) + r
    max(Cov2 - Cov3, 0), df2 = den^2 / (MS(T:R)^2 / ((t-1)(r-1))); rrfc: F = MS(T) / MS(T:R); frrc:
    chi-square with Var - Cov1 + (r-1) max(Cov2 - Cov3, 0). One modality gives its mean over readers
    only; one reader is estimable as a fixed reader only.
    """
    values, labels = float_array(scores, "scores"), binary_labels(truth)
    check_level(level)
    if design not in DESIGNS or covariance not in COVARIANCES:
        raise ValueError(
            f"{design!r} with {covariance!r}: the design must be one of {', '.join(DESIGNS)}, "
            f"the covariance of {', '.join(COVARIANCES)}"
        )
    if values.ndim != 3 or values.shape[2] != len(labels):
        raise ValueError(
            f"scores of shape {values.shape} for {len(labels)} cases: [modality, reader, case] is"
            " needed"
        )
    if np.isnan(values).any():
        modality, reader, case = np.argwhere(np.isnan(values))[0] + 1
        raise ValueError(
            f"modality {modality}, reader {reader}, case {case} has no score: every reader must"
            " have read every case in every modality"
        )
    t, r, _ = values.shape
    named: dict[str, Any] = {"design": design, "covariance": covariance, "level": level}
    reason = one_class_reason(labels)
    if not reason and min(labels.sum(), (~labels).sum()) < 2:
        reason = "one class has a single case: its variance cannot be estimated"
    if reason or not t * r:
        return ObuchowskiRockette(reason=reason or "there are no readers", **named)
    flat = values.reshape(t * r, -1)
    auc, matrix = (
        placements(labels, flat).auc.reshape(t, r),
        auc_covariance(labels, flat, covariance),
    )
    parts = _components(auc, matrix)
    means = tuple(
        _modality_mean(auc[i], matrix[i * r : (i + 1) * r, i * r : (i + 1) * r], design, level)
        for i in range(t)
    )
    named |= {**parts, "modality_means": means}
    if t < 2:
        return ObuchowskiRockette(
            auc=auc, reason="one modality: there is nothing to compare", **named
        )
    if r < 2 and design != "frrc":
        return ObuchowskiRockette(
            auc=auc, reason="one reader: nothing is known about other readers", **named
        )
    return _test(auc, parts, named)


def auc_covariance(labels: Array, scores: Array, method: str) -> Array:
    """Covariance [k, k] of k AUCs read on the same cases:

    DeLong; jackknife over cases; or the unbiased U-statistic.
    """
    placed = placements(labels, scores)
    m, n = placed.positive.shape[1], placed.negative.shape[1]
    k = len(scores)
    if method == "delong":
        return np.cov(placed.positive).reshape(k, k) / m + np.cov(placed.negative).reshape(k, k) / n
    if method == "jackknife":
        left_out = np.stack([jackknife_aucs(labels, score) for score in scores])
        centred = left_out - left_out.mean(axis=1, keepdims=True)
        total = m + n
        return (total - 1) / total * centred @ centred.T
    return _unbiased(labels, scores, placed.auc)


def _unbiased(labels: Array, scores: Array, auc: Array) -> Array:
    """A_k A_l minus the mean product of comparisons that share no case, which estimates the product
    of the two true areas without bias.
    """
    m, n, k = int(labels.sum()), int((~labels).sum()), len(scores)
    wins = np.empty((k, m, n))
    for index, score in enumerate(scores):
        above, below = score[labels][:, None], score[~labels][None, :]
        wins[index] = (above > below) + 0.5 * (above == below)
    flat, rows, columns = wins.reshape(k, -1), wins.sum(axis=2), wins.sum(axis=1)
    total = flat.sum(axis=1)
    disjoint = np.outer(total, total) - rows @ rows.T - columns @ columns.T + flat @ flat.T
    return np.outer(auc, auc) - disjoint / (m * (m - 1) * n * (n - 1))


def _components(auc: Array, matrix: Array) -> dict[str, float | None]:
    """Mean squares and the four (co)variances of Obuchowski and Rockette's model; None where a mean
    square needs two of something.
    """
    t, r = auc.shape
    block = matrix.reshape(t, r, t, r)
    same_t, same_r = (
        np.eye(t, dtype=bool)[:, None, :, None],
        np.eye(r, dtype=bool)[None, :, None, :],
    )

    def mean(where: Array) -> float:
        kept = block[np.broadcast_to(where, block.shape)]
        return float(kept.mean()) if len(kept) else 0.0

    rows, columns, grand = auc.mean(axis=1), auc.mean(axis=0), auc.mean()
    ms_t = float(r * ((rows - grand) ** 2).sum() / (t - 1)) if t > 1 else None
    ms_r = float(t * ((columns - grand) ** 2).sum() / (r - 1)) if r > 1 else None
    rest = ((auc - rows[:, None] - columns[None, :] + grand) ** 2).sum()
    ms_tr = float(rest / ((t - 1) * (r - 1))) if t > 1 and r > 1 else None
    var, cov1 = mean(same_t & same_r), mean(~same_t & same_r)
    cov2, cov3 = mean(same_t & ~same_r), mean(~same_t & ~same_r)
    reader, crossed = None, None
    if ms_r is not None and ms_tr is not None:
        reader, crossed = (ms_r - ms_tr) / t - cov1 + cov3, ms_tr - var + cov1 + max(cov2 - cov3, 0)
    return {
        "ms_t": ms_t,
        "ms_r": ms_r,
        "ms_tr": ms_tr,
        "var_error": var,
        "cov1": cov1,
        "cov2": cov2,
        "cov3": cov3,
        "var_reader": reader,
        "var_modality_reader": crossed,
    }


def _test(auc: Array, parts: dict[str, Any], named: dict[str, Any]) -> ObuchowskiRockette:
    t, r = auc.shape
    design, level = named["design"], named["level"]
    between = max(parts["cov2"] - parts["cov3"], 0.0)
    if design == "frrc":
        denominator = parts["var_error"] - parts["cov1"] + (r - 1) * between
    else:
        denominator = parts["ms_tr"] + (r * between if design == "rrrc" else 0.0)
    difference = float(auc[0].mean() - auc[1].mean())
    if denominator <= 1e-15:
        return ObuchowskiRockette(
            auc=auc, difference=difference, reason="the variance of the difference is 0", **named
        )
    ratio, error = parts["ms_t"] / denominator, float(np.sqrt(2 / r * denominator))
    if design == "frrc":
        df, p, law = float(t - 1), float(stats.chi2.sf((t - 1) * ratio, t - 1)), stats.norm
    else:
        free = (t - 1) * (r - 1)
        df = free * (denominator / parts["ms_tr"]) ** 2 if parts["ms_tr"] > 0 else np.inf
        p, law = float(stats.f.sf(ratio, t - 1, df)), stats.t(df)
    half = float(law.isf((1 - level) / 2)) * error
    return ObuchowskiRockette(
        auc=auc,
        difference=difference,
        standard_error=error,
        df=float(df),
        p_value=p,
        low=difference - half,
        high=difference + half,
        statistic=difference / error,
        f=float(ratio * (t - 1)) if design == "frrc" else float(ratio),
        df1=t - 1,
        **named,
    )


def _modality_mean(auc: Array, block: Array, design: str, level: float) -> Interval:
    """Mean AUC of one modality over its readers with an interval, clipped to [0, 1]."""
    mean, low, high, _, reason = _over_readers(auc, block, design, level)
    low, high = (None, None) if low is None or high is None else (max(0.0, low), min(1.0, high))
    return Interval(
        estimate=mean,
        low=low,
        high=high,
        level=level,
        method=DESIGNS[design],
        reason=reason,
        unit="reader and case",
    )


def _over_readers(
    values: Array, block: Array, design: str, level: float
) -> tuple[float, float | None, float | None, float | None, str | None]:
    """Mean, low, high, two-sided P against 0 and reason for one value per reader with covariances
    `block` [r, r] (Hillis 2014, single modality): variance (MS(R) + r max(Cov2, 0)) / r with df =
    ((MS(R) + r max(Cov2, 0)) / MS(R))^2 (r - 1) for random readers.
    """
    r = len(values)
    mean, variance = float(values.mean()), float(np.trace(block) / r)
    shared = float((block.sum() - np.trace(block)) / (r * (r - 1))) if r > 1 else 0.0
    spread = float(values.var(ddof=1)) if r > 1 else None
    if design == "frrc":
        total, law = variance + (r - 1) * shared, stats.norm
    elif spread is None:
        return mean, None, None, None, "one reader: nothing is known about other readers"
    else:
        total = spread + (r * max(shared, 0.0) if design == "rrrc" else 0.0)
        law = stats.t((r - 1) * (total / spread) ** 2) if spread > 0 else stats.norm
    if total <= 1e-15:
        return mean, None, None, None, "the variance is 0"
    error = float(np.sqrt(total / r))
    half = float(law.isf((1 - level) / 2)) * error
    return mean, mean - half, mean + half, float(2 * law.sf(abs(mean) / error)), None


@dataclass(frozen=True, kw_only=True)
class StandaloneComparison:
    """The readers' mean AUC minus that of one standalone score (a network) on the same cases; P
    two-sided.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    readers_auc: Interval
    standalone_auc: float | None
    level: float = 0.95
    design: str = "rrrc"
    unit: str = "reader and case"
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        if self.difference is None:
            return f"Readers against the network {not_estimable(self.reason)}."
        return (
            f"Readers' mean AUC {decimal(self.readers_auc.estimate)}, network"
            f" {decimal(self.standalone_auc)}: difference {decimal(self.difference)}"
            f" ({interval_text(self.low, self.high, self.level, self.reason)}), two-sided"
            f" {p_text(self.p_value)} (Obuchowski-Rockette on the differences,"
            f" {DESIGNS[self.design]})."
        )


def compare_with_standalone(
    scores: Any,
    standalone: Any,
    truth: Any,
    design: str = "rrrc",
    covariance: str = "jackknife",
    level: float = 0.95,
) -> StandaloneComparison:
    """Readers `scores` [reader, case] against one score [case] on the same cases:

    Obuchowski-Rockette for a single modality applied to the differences of AUC, whose covariances
    follow from those of all AUCs together.
    """
    values, labels = float_array(scores, "scores"), binary_labels(truth)
    check_level(level)
    both = np.vstack([values, float_array(standalone, "the standalone score")[None]])
    if both.shape[1] != len(labels) or np.isnan(both).any():
        raise ValueError("every reader and the standalone score must have a number for every case")
    reason = one_class_reason(labels)
    if not reason and min(labels.sum(), (~labels).sum()) < 2:
        reason = "one class has a single case: its variance cannot be estimated"
    if reason or not len(values):
        nothing = Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=DESIGNS[design],
            reason=reason,
            unit="reader and case",
        )
        return StandaloneComparison(
            difference=None,
            low=None,
            high=None,
            p_value=None,
            readers_auc=nothing,
            standalone_auc=None,
            level=level,
            design=design,
            reason=reason or "there are no readers",
        )
    areas, matrix = placements(labels, both).auc, auc_covariance(labels, both, covariance)
    block = matrix[:-1, :-1] - matrix[:-1, -1:] - matrix[-1:, :-1] + matrix[-1, -1]
    mean, low, high, p, reason = _over_readers(areas[:-1] - areas[-1], block, design, level)
    readers = _modality_mean(areas[:-1], matrix[:-1, :-1], design, level)
    return StandaloneComparison(
        difference=mean,
        low=low,
        high=high,
        p_value=p,
        readers_auc=readers,
        standalone_auc=float(areas[-1]),
        level=level,
        design=design,
        reason=reason,
    )
