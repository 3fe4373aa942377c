"""ROC statistics: the area with its interval, comparisons, partial and multi-class areas, the
curve, operating points, calibration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from evaluation.intervals import (
    METHOD_NAMES,
    counted,
    decimal,
    interval_text,
    join_reasons,
    not_estimable,
    p_text,
)
from evaluation.roc.auc_variance import (
    bootstrap_aucs,
    delong_covariance,
    obuchowski_covariance,
    placements,
)
from evaluation.roc.calibration_curve import Calibration, NetBenefit, calibration, net_benefit
from evaluation.roc.curve import RocCurve, roc_curve
from evaluation.roc.diagnostic import (
    DiagnosticTable,
    OperatingPoint,
    diagnostic_table,
    fixed_threshold,
    operating_point,
)
from evaluation.roc.partial_area import (
    PartialAuc,
    SpecificityAt,
    partial_auc,
    partial_auc_low_fpr,
    specificity_at,
)
from evaluation.validation import (
    Array,
    array,
    binary_labels,
    check_level,
    cluster_codes,
    float_array,
    labels_and_scores,
    numbers,
    one_class_reason,
)

__all__ = [
    "Auc",
    "AucDifference",
    "AucInterval",
    "Calibration",
    "DiagnosticTable",
    "MulticlassAuc",
    "NetBenefit",
    "OperatingPoint",
    "PartialAuc",
    "RocCurve",
    "SpecificityAt",
    "auc",
    "auc_interval",
    "calibration",
    "compare_aucs",
    "compare_independent_aucs",
    "diagnostic_table",
    "fixed_threshold",
    "hanley_mcneil_variance",
    "multiclass_auc",
    "net_benefit",
    "operating_point",
    "partial_auc",
    "partial_auc_low_fpr",
    "roc_curve",
    "specificity_at",
]

METHODS = ("delong", "obuchowski", "bootstrap")
# Multiplications that take about a fifth of a second: resamples x patients^2.
FREE_PRODUCTS = 2_000_000_000
TIED = "all scores are tied: the variance is 0 and the interval has no width"
SEPARATED = "the scores separate the classes perfectly: the variance is 0 and gives no interval"
NO_WIDTH = "every patient tells the same: the variance between patients is 0 and gives no interval"


class Auc(float):
    """An AUC that is a float (nan where it does not exist) and says why in `reason`; `estimate` is
    the same number, or None.
    """

    reason: str | None
    positives: int
    negatives: int

    def __new__(
        cls, value: float | None, reason: str | None = None, positives: int = 0, negatives: int = 0
    ) -> Auc:
        number = super().__new__(cls, float("nan") if value is None else value)
        number.reason, number.positives, number.negatives = reason, positives, negatives
        return number

    @property
    def estimate(self) -> float | None:
        """The number, or None."""
        return None if self.reason else float(self)

    def sentence(self) -> str:
        """For a results section."""
        value = not_estimable(self.reason) if self.reason else decimal(float(self))
        return (
            f"AUC {value} ({self.positives} positive and {self.negatives} negative observations)."
        )


def auc(y: Any, score: Any) -> Auc:
    """Mann-Whitney area: the share of positive-negative pairs in which the positive scores higher,
    ties 1/2. `y` 0/1 [n], `score` [n].

    With one class only the result is nan with its `reason`; a missing score is a ValueError.
    """
    labels, scores = labels_and_scores(y, score)
    reason = one_class_reason(labels)
    value = None if reason else float(placements(labels, scores[None]).auc[0])
    return Auc(value, reason, int(labels.sum()), int((~labels).sum()))


@dataclass(frozen=True)
class AucInterval:
    """An AUC with its standard error and interval.

    `clusters` is None where observations were taken as independent; `degenerate` counts bootstrap
    samples left out because they had one class.
    """

    estimate: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    reason: str | None = None
    positives: int = 0
    negatives: int = 0
    clusters: int | None = None
    degenerate: int = 0
    resamples: int = 0

    @property
    def unit(self) -> str:
        """What is taken as independent."""
        return "observation" if self.clusters is None else "patient"

    def logit_interval(self) -> tuple[float, float] | None:
        """The Wald interval on the logit scale, always inside (0, 1); None where there is no
        interval or the area is 0 or 1.
        """
        if self.estimate is None or self.standard_error is None or not 0 < self.estimate < 1:
            return None
        centre = np.log(self.estimate / (1 - self.estimate))
        half = (
            stats.norm.isf((1 - self.level) / 2)
            * self.standard_error
            / (self.estimate * (1 - self.estimate))
        )
        return float(1 / (1 + np.exp(half - centre))), float(1 / (1 + np.exp(-half - centre)))

    def sentence(self) -> str:
        """For a results section."""
        if self.estimate is None:
            return f"AUC {not_estimable(self.reason)}."
        patients = (
            "taken as independent"
            if self.clusters is None
            else f"from {counted(self.clusters, 'patient')}"
        )
        return (
            f"AUC {decimal(self.estimate)}"
            f" ({interval_text(self.low, self.high, self.level, self.reason)},"
            f" {METHOD_NAMES[self.method]}; {self.positives} positive and {self.negatives} negative"
            f" observations {patients})."
        )


def auc_interval(
    y: Any,
    score: Any,
    cluster: Any = None,
    method: str = "delong",
    level: float = 0.95,
    resamples: int | None = None,
    seed: int = 1,
) -> AucInterval:
    """The AUC with a Wald interval clipped to [0, 1] (`delong`, `obuchowski`) or a percentile
    interval of the patient bootstrap.

    `delong` takes observations as independent and ignores `cluster`; the other two are for patients
    (DEFINITIONS, Classifier statistics). `resamples` None: 2,000, and up to 20,000 where patients
    are few enough for that to cost nothing. Perfect separation has variance 0 and is not estimable,
    never [1, 1].
    """
    labels, scores = labels_and_scores(y, score)
    check_level(level)
    if method not in METHODS:
        raise ValueError(f"the method is {method!r}: it must be one of {', '.join(METHODS)}")
    if cluster is None and method == "obuchowski":
        raise ValueError(
            "the method 'obuchowski' needs the patient of each observation: give cluster"
        )
    counts = int(labels.sum()), int((~labels).sum())
    reason = one_class_reason(labels)
    codes, clusters = cluster_codes(
        np.arange(len(labels)) if cluster is None else cluster, len(labels)
    )
    shown = None if cluster is None or method == "delong" else clusters
    if reason:
        return AucInterval(None, None, None, None, level, method, reason, *counts, shown)
    placed = placements(labels, scores[None])
    area = float(placed.auc[0])
    if area in (0.0, 1.0):
        return AucInterval(area, None, None, None, level, method, SEPARATED, *counts, shown)
    if method == "bootstrap":
        number = (
            int(np.clip(FREE_PRODUCTS // clusters**2, 2_000, 20_000))
            if resamples is None
            else resamples
        )
        return _bootstrap_interval(
            labels, scores, codes, clusters, area, level, shown, number, seed
        )
    covariance, why_not = _covariance(
        labels, np.atleast_2d(scores), codes if method == "obuchowski" else None, clusters
    )
    if covariance is None:
        return AucInterval(area, None, None, None, level, method, why_not, *counts, shown)
    error, tied = float(np.sqrt(max(0.0, covariance[0, 0]))), _tied(scores)
    if error < 1e-12 and not tied:
        return AucInterval(area, None, None, None, level, method, NO_WIDTH, *counts, shown)
    half = float(stats.norm.isf((1 - level) / 2)) * error
    return AucInterval(
        area,
        error,
        max(0.0, area - half),
        min(1.0, area + half),
        level,
        method,
        TIED if tied else None,
        *counts,
        shown,
    )


def _tied(scores: Array) -> bool:
    return bool(scores.min() == scores.max())


def _covariance(
    labels: Array, scores: Array, codes: Array | None, clusters: int
) -> tuple[Array | None, str | None]:
    placed = placements(labels, scores)
    if codes is not None:
        return obuchowski_covariance(placed, labels, codes, clusters)
    covariance = delong_covariance(placed)
    return (
        covariance,
        (
            None
            if covariance is not None
            else "one class has a single observation: its variance cannot be estimated"
        ),
    )


def _bootstrap_interval(
    labels: Array,
    scores: Array,
    codes: Array,
    clusters: int,
    area: float,
    level: float,
    shown: int | None,
    resamples: int,
    seed: int,
) -> AucInterval:
    counts = int(labels.sum()), int((~labels).sum())
    if clusters < 2:
        reason = "all observations come from one patient: nothing is known about other patients"
        return AucInterval(area, None, None, None, level, "bootstrap", reason, *counts, shown)
    areas = bootstrap_aucs(labels, scores, codes, clusters, resamples, seed)
    kept = areas[~np.isnan(areas)]
    degenerate = resamples - len(kept)
    if len(kept) < 2:
        reason = "every resample of patients has one class only"
        return AucInterval(
            area,
            None,
            None,
            None,
            level,
            "bootstrap",
            reason,
            *counts,
            shown,
            degenerate,
            resamples,
        )
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    tied = _tied(scores)
    if high - low < 1e-12 and not tied:
        return AucInterval(
            area,
            None,
            None,
            None,
            level,
            "bootstrap",
            NO_WIDTH,
            *counts,
            shown,
            degenerate,
            resamples,
        )
    return AucInterval(
        area,
        float(kept.std(ddof=1)),
        float(low),
        float(high),
        level,
        "bootstrap",
        TIED if tied else None,
        *counts,
        shown,
        degenerate,
        resamples,
    )


@dataclass(frozen=True)
class AucDifference:
    """Two AUCs compared; P is two-sided, `p_greater` for the first being larger.

    `df` is None for the normal (paired) test.
    """

    difference: float | None = None
    standard_error: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    method: str = "DeLong, paired"
    reason: str | None = None
    first: float | None = None
    second: float | None = None
    covariance: float | None = None
    p_greater: float | None = None
    df: float | None = None
    unit: str = "observation"

    def sentence(self) -> str:
        """For a results section."""
        if self.difference is None or self.p_value is None:
            return f"Difference of AUCs {not_estimable(self.reason)}."
        return (
            f"AUC {decimal(self.first)} against {decimal(self.second)}: difference"
            f" {decimal(self.difference)} ({interval_text(self.low, self.high, self.level)}),"
            f" two-sided {p_text(self.p_value)} ({self.method}; unit of analysis: {self.unit})."
        )

    def reversed(self) -> AucDifference:
        """The second minus the first."""

        def minus(value: float | None) -> float | None:
            return None if value is None else -value

        return replace(
            self,
            difference=minus(self.difference),
            statistic=minus(self.statistic),
            low=minus(self.high),
            high=minus(self.low),
            first=self.second,
            second=self.first,
            p_greater=None if self.p_greater is None else 1 - self.p_greater,
        )


def compare_aucs(y: Any, a: Any, b: Any, cluster: Any = None, level: float = 0.95) -> AucDifference:
    """Two scores on the same observations:

    DeLong's paired test, or Obuchowski's where `cluster` names the patients. z, two-sided.
    """
    labels, first = labels_and_scores(y, a)
    second = numbers(b, "score", len(labels))
    check_level(level)
    method, unit = (
        ("DeLong, paired", "observation") if cluster is None else ("Obuchowski, paired", "patient")
    )
    reason = one_class_reason(labels)
    if reason:
        return AucDifference(level=level, method=method, reason=reason, unit=unit)
    codes, clusters = (None, 0) if cluster is None else cluster_codes(cluster, len(labels))
    scores = np.stack([first, second])
    areas = placements(labels, scores).auc
    covariance, reason = _covariance(labels, scores, codes, clusters)
    difference = float(areas[0] - areas[1])
    named: dict[str, Any] = {
        "level": level,
        "method": method,
        "unit": unit,
        "first": float(areas[0]),
        "second": float(areas[1]),
    }
    if covariance is None:
        return AucDifference(difference, reason=reason, **named)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    # Equal rankings leave a rounding error where the variance is 0.
    if variance <= 1e-12 * (covariance[0, 0] + covariance[1, 1]):
        reason = (
            "the two scores rank every pair alike, or both separate perfectly: the variance of"
            " their difference is 0"
        )
        return AucDifference(difference, reason=reason, **named)
    error = float(np.sqrt(variance))
    z, half = difference / error, float(stats.norm.isf((1 - level) / 2)) * error
    return AucDifference(
        difference,
        error,
        z,
        float(2 * stats.norm.sf(abs(z))),
        difference - half,
        difference + half,
        covariance=float(covariance[0, 1]),
        p_greater=float(stats.norm.sf(z)),
        **named,
    )


def compare_independent_aucs(
    first: AucInterval, second: AucInterval, level: float = 0.95
) -> AucDifference:
    """Two AUCs on different patients (subgroups):

    Wald test of their difference from their standard errors, t with Welch-Satterthwaite degrees of
    freedom where both are DeLong's (as pROC), normal otherwise.
    """
    check_level(level)
    method = f"{METHOD_NAMES[first.method]}, unpaired"
    named: dict[str, Any] = {
        "level": level,
        "method": method,
        "unit": first.unit,
        "first": first.estimate,
        "second": second.estimate,
    }
    reason = join_reasons(first.reason, second.reason)
    if (
        first.estimate is None
        or second.estimate is None
        or not first.standard_error
        or not second.standard_error
    ):
        return AucDifference(reason=reason or "a variance is 0", **named)
    one, two = first.standard_error**2, second.standard_error**2
    df = None
    if first.method == second.method == "delong":
        sizes = [interval.positives + interval.negatives for interval in (first, second)]
        df = (one + two) ** 2 / (one**2 / (sizes[0] - 1) + two**2 / (sizes[1] - 1))
    law = stats.norm if df is None else stats.t(df)
    difference, error = first.estimate - second.estimate, float(np.sqrt(one + two))
    statistic, half = difference / error, float(law.isf((1 - level) / 2)) * error
    return AucDifference(
        difference,
        error,
        statistic,
        float(2 * law.sf(abs(statistic))),
        difference - half,
        difference + half,
        df=df,
        covariance=0.0,
        p_greater=float(law.sf(statistic)),
        **named,
    )


def hanley_mcneil_variance(area: float, positives: int, negatives: int) -> float:
    """Variance of an AUC under exponential scores (Hanley and McNeil 1982), for planning, where
    there are no data to use DeLong on.
    """
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    return (
        area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    ) / (positives * negatives)


@dataclass(frozen=True)
class MulticlassAuc:
    """One-vs-rest AUC per class, their mean, their mean weighted by prevalence, pooled (micro), and
    Hand and Till's M (2001).
    """

    per_class: tuple[float | None, ...]
    macro: float | None
    weighted: float | None
    micro: float | None
    hand_till: float | None
    method: str = "one-vs-rest on the class probabilities"
    unit: str = "observation"
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        classes = " / ".join(decimal(value) for value in self.per_class)
        return (
            f"One-vs-rest AUC {classes}, macro {decimal(self.macro)}, Hand-Till"
            f" {decimal(self.hand_till)}" + (f" ({self.reason})." if self.reason else ".")
        )


def multiclass_auc(y: Any, probabilities: Any) -> MulticlassAuc:
    """AUCs of k classes.

    `y` class numbers 0..k-1 [n], `probabilities` [n, k]. A class that does not occur has no AUC,
    nor then has a mean.
    """
    truth, rows = array(y, "labels"), float_array(probabilities, "probabilities")
    if rows.ndim != 2 or truth.shape != (len(rows),) or rows.shape[1] < 2:
        raise ValueError(
            f"{truth.shape} labels for probabilities of shape {rows.shape}: one row per label and"
            " one column per class are needed"
        )
    if np.isnan(rows).any():
        raise ValueError(
            f"probability row {np.flatnonzero(np.isnan(rows).any(axis=1))[0] + 1} of {len(rows)} is"
            " not a number"
        )
    k = rows.shape[1]
    if len(truth) and not np.isin(truth, np.arange(k)).all():
        raise ValueError(
            f"class {str(truth[~np.isin(truth, np.arange(k))][0])!r} is not one of 0 to {k - 1}"
        )
    single = [auc(truth == c, rows[:, c]).estimate for c in range(k)]
    absent = [c for c in range(k) if single[c] is None]
    if absent:
        reason = (
            f"class {', '.join(map(str, absent))} has no observation, or no other class has one"
        )
        return MulticlassAuc(tuple(single), None, None, None, None, reason=reason)
    areas, shares = (
        np.array(single, dtype=float),
        np.bincount(truth.astype(int), minlength=k) / len(truth),
    )
    onehot = binary_labels((truth[:, None] == np.arange(k)).ravel())
    micro = auc(onehot, rows.ravel()).estimate
    return MulticlassAuc(
        tuple(single), float(areas.mean()), float(shares @ areas), micro, _hand_till(truth, rows)
    )


def _hand_till(truth: Array, rows: Array) -> float:
    k, total = rows.shape[1], 0.0
    for i in range(k):
        for j in range(i + 1, k):
            pair = (truth == i) | (truth == j)
            total += auc(truth[pair] == i, rows[pair, i]) + auc(truth[pair] == j, rows[pair, j])
    return float(total / (k * (k - 1)))
