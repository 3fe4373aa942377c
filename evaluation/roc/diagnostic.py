"""Accuracy of calls at a threshold, and thresholds fixed on hold-out data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text
from evaluation.roc.clustered_accuracy import (
    clustered_balanced_accuracy,
    clustered_predictive_value,
    clustered_ratio,
    clustered_share,
    reciprocal,
)
from evaluation.roc.partial_area import roc_vertices
from evaluation.validation import (
    binary_labels,
    check_level,
    cluster_codes,
    labels_and_scores,
    one_class_reason,
    whole_number,
)


@dataclass(frozen=True, kw_only=True)
class DiagnosticTable:
    """Diagnostic accuracy of a 2 x 2 table.

    Attributes
    ----------
    tp, fn, fp, tn : int
        True positives, false negatives, false positives, true negatives.
    sensitivity, specificity, accuracy, ppv, npv : Interval
        Proportions with Clopper-Pearson bounds (or Korn-Graubard, see `operating_point`).
    lr_positive, lr_negative : Interval
        Likelihood ratios with Simel's bounds.
    odds_ratio : Interval
        Diagnostic odds ratio with Woolf's bounds.
    balanced_accuracy : Interval
        Mean of sensitivity and specificity with Wald bounds.
    youden, mcc, kappa, f1 : float or None
        Youden index, Matthews correlation, Cohen's kappa, F1 score.
    fisher_p_greater : float or None
        One-sided P of Fisher's exact test.
    level, unit : float, str
        Confidence level and unit of analysis.
    reason : str or None
        Why the table is empty.
    """

    tp: int
    fn: int
    fp: int
    tn: int
    sensitivity: Interval
    specificity: Interval
    accuracy: Interval
    ppv: Interval
    npv: Interval
    lr_positive: Interval
    lr_negative: Interval
    odds_ratio: Interval
    balanced_accuracy: Interval
    youden: float | None
    mcc: float | None
    kappa: float | None
    f1: float | None
    fisher_p_greater: float | None
    level: float = 0.95
    unit: str = "observation"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        parts = []
        for name, share in (("sensitivity", self.sensitivity), ("specificity", self.specificity)):
            parts.append(
                f"{name} {decimal(share.estimate)}"
                f" ({interval_text(share.low, share.high, share.level)}, {share.method})"
                if share.estimate is not None
                else f"{name} {not_estimable(share.reason)}"
            )
        return (
            f"{'; '.join(parts)}; Fisher's exact test, one-sided, {p_text(self.fisher_p_greater)}."
        )


@dataclass(frozen=True)
class OperatingPoint:
    """Accuracy at a threshold that was fixed on other data.

    Attributes
    ----------
    threshold : float
        An observation is called positive if its score is at least the threshold.
    rule : str
        How the threshold was chosen.
    table : DiagnosticTable
    """

    threshold: float
    rule: str
    table: DiagnosticTable

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        return f"At threshold {self.threshold:.4g} ({self.rule}): {self.table.sentence()}"


def diagnostic_table(tp: int, fn: int, fp: int, tn: int, level: float = 0.95) -> DiagnosticTable:
    """Compute diagnostic accuracy from the four counts of a binary call.

    Parameters
    ----------
    tp, fn, fp, tn : int
        True positives, false negatives, false positives, true negatives.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    DiagnosticTable
        Statistics with an empty margin have the value None, or are intervals with a reason.

    Raises
    ------
    ValueError
        If a count is not a whole number of at least 0.

    Notes
    -----
    Checked against: R 4.2 epiR `epi.tests` and `fisher.test` (1e-8).

    References
    ----------
    Simel DL, Samsa GP, Matchar DB. Likelihood ratios with confidence. J Clin Epidemiol
    1991;44:763-770. Woolf B. Ann Hum Genet 1955;19:251-253. Clopper CJ, Pearson ES. Biometrika
    1934;26:404-413.

    Examples
    --------
    The published reading study against the folder truth:

    >>> table = diagnostic_table(tp=96, fn=69, fp=79, tn=86)
    >>> round(table.sensitivity.estimate, 3), round(table.fisher_p_greater, 4)
    (0.582, 0.0387)
    >>> round(table.lr_positive.low, 3), round(table.lr_positive.high, 3)
    (0.99, 1.492)
    """
    tp, fn, fp, tn = (
        whole_number(count, name)
        for name, count in (("tp", tp), ("fn", fn), ("fp", fp), ("tn", tn))
    )
    check_level(level)
    n, diseased, healthy, called = tp + fn + fp + tn, tp + fn, fp + tn, tp + fp
    # One-sided for sensitivity above 1 - specificity; the margins are fixed by the study design.
    fisher = float(scipy.stats.fisher_exact([[tp, fn], [fp, tn]], "greater").pvalue) if n else None
    # A float, because the product of four margins can exceed int64.
    margins = float(diseased) * healthy * called * (fn + tn)
    # Chance agreement from the margins; 1 where kappa is undefined.
    chance = (diseased * called + healthy * (fn + tn)) / n**2 if n else 1.0
    return DiagnosticTable(
        tp=tp,
        fn=fn,
        fp=fp,
        tn=tn,
        sensitivity=_proportion(tp, diseased, level, "positive"),
        specificity=_proportion(tn, healthy, level, "negative"),
        accuracy=_proportion(tp + tn, n, level, "observed"),
        ppv=_proportion(tp, called, level, "called positive"),
        npv=_proportion(tn, fn + tn, level, "called negative"),
        lr_positive=_likelihood_ratio(tp, diseased, fp, healthy, level),
        lr_negative=_likelihood_ratio(fn, diseased, tn, healthy, level),
        odds_ratio=_odds_ratio(tp, fn, fp, tn, level),
        balanced_accuracy=_balanced_accuracy(tp, diseased, tn, healthy, level),
        youden=tp / diseased + tn / healthy - 1 if diseased and healthy else None,
        mcc=float((tp * tn - fp * fn) / np.sqrt(margins)) if margins else None,
        kappa=((tp + tn) / n - chance) / (1 - chance) if chance < 1 else None,
        f1=2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        fisher_p_greater=fisher,
        level=level,
        reason=None if n else "there are no observations",
    )


def _proportion(part: int, whole: int, level: float, name: str) -> Interval:
    method = "Clopper-Pearson"
    if not whole:
        return Interval.without_bounds(level, method, f"no observation is {name}")
    bounds = scipy.stats.binomtest(part, whole).proportion_ci(level, "exact")
    return Interval(
        estimate=part / whole,
        low=float(bounds.low),
        high=float(bounds.high),
        level=level,
        method=method,
    )


def _log_interval(estimate: float, error: float, level: float, method: str) -> Interval:
    """Return a ratio with Wald bounds on the logarithmic scale."""
    if error == 0:
        reason = "all are called alike: the variance is 0 and gives no interval"
        return Interval.without_bounds(level, method, reason, estimate)
    half = scipy.stats.norm.isf((1 - level) / 2) * error
    return Interval(
        estimate=estimate,
        low=float(estimate * np.exp(-half)),
        high=float(estimate * np.exp(half)),
        level=level,
        method=method,
    )


def _likelihood_ratio(a: int, m: int, b: int, n: int, level: float) -> Interval:
    """Return (a/m) / (b/n) with Simel's logarithmic interval."""
    method = "Simel 1991"
    if not m or not n or not b:
        return Interval.without_bounds(level, method, "a likelihood ratio would divide by 0")
    if not a:
        reason = "a count is 0: its logarithm gives no interval"
        return Interval.without_bounds(level, method, reason, 0.0)
    return _log_interval((a / m) / (b / n), np.sqrt(1 / a - 1 / m + 1 / b - 1 / n), level, method)


def _odds_ratio(tp: int, fn: int, fp: int, tn: int, level: float) -> Interval:
    method = "Woolf"
    if not fn * fp:
        return Interval.without_bounds(level, method, "the odds ratio would divide by 0")
    if not tp * tn:
        reason = "a count is 0: its logarithm gives no interval"
        return Interval.without_bounds(level, method, reason, 0.0)
    return _log_interval(
        tp * tn / (fn * fp), np.sqrt(1 / tp + 1 / fn + 1 / fp + 1 / tn), level, method
    )


def _balanced_accuracy(tp: int, m: int, tn: int, n: int, level: float) -> Interval:
    if not m or not n:
        return Interval.without_bounds(level, "Wald", "both classes are needed")
    # Sensitivity and specificity come from different observations, so their variances add.
    se, sp = tp / m, tn / n
    half = (
        scipy.stats.norm.isf((1 - level) / 2) * 0.5 * np.sqrt(se * (1 - se) / m + sp * (1 - sp) / n)
    )
    centre = (se + sp) / 2
    if half == 0:
        reason = (
            "each class is called all right or all wrong: the variance is 0 and gives no interval"
        )
        return Interval.without_bounds(level, "Wald", reason, centre)
    return Interval(
        estimate=centre,
        low=float(max(0.0, centre - half)),
        high=float(min(1.0, centre + half)),
        level=level,
        method="Wald",
    )


def fixed_threshold(y: Any, score: Any, rule: str = "sensitivity", value: float = 0.8) -> float:
    """Choose a threshold on hold-out data.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    score : array_like of float, shape (n,)
        Higher scores indicate positives.
    rule : {"sensitivity", "specificity", "youden"}
        The highest threshold that reaches a sensitivity, the lowest that reaches a specificity, or
        the one with the largest Youden index (the highest of equals).
    value : float
        Sensitivity or specificity to reach.

    Returns
    -------
    float
        An observation is called positive if its score is at least the threshold. The threshold that
        calls no observation positive is the next float above the highest score.

    Raises
    ------
    ValueError
        If only one class is present, or the rule is unknown.

    Examples
    --------
    >>> fixed_threshold([0, 0, 0, 1, 1, 1, 1, 1], [.1, .2, .6, .3, .5, .7, .8, .9])
    0.5
    """
    labels, scores = labels_and_scores(y, score)
    reason = one_class_reason(labels)
    if reason:
        raise ValueError(f"a threshold cannot be fixed: {reason}")
    fpr, tpr, thresholds = roc_vertices(labels, scores)
    # JSON and the database cannot store the infinite threshold of the first vertex.
    thresholds[0] = np.nextafter(thresholds[1], np.inf)
    # Along the vertices thresholds and specificity fall and sensitivity rises, hence the first and
    # the last. The tolerance admits a rate that misses the value by rounding.
    if rule == "sensitivity":
        return float(thresholds[np.flatnonzero(tpr >= value - 1e-12)[0]])
    if rule == "specificity":
        return float(thresholds[np.flatnonzero(1 - fpr >= value - 1e-12)[-1]])
    if rule == "youden":
        # argmax takes the first of equal values, the highest threshold.
        return float(thresholds[int(np.argmax(tpr - fpr))])
    raise ValueError(f"the rule is {rule!r}: it must be sensitivity, specificity or youden")


def operating_point(
    y: Any,
    score: Any,
    threshold: float,
    cluster: Any = None,
    level: float = 0.95,
    rule: str = "fixed on hold-out",
) -> OperatingPoint:
    """Compute diagnostic accuracy at a threshold.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    score : array_like of float, shape (n,)
    threshold : float
        An observation is called positive if its score is at least the threshold.
    cluster : sequence of hashable, shape (n,), optional
        Patient of each observation; see `clustered_diagnostic_table`.
    level : float
        Confidence level in (0, 1).
    rule : str
        How the threshold was chosen, in words.

    Returns
    -------
    OperatingPoint

    Raises
    ------
    ValueError
        If labels, scores or patients are invalid.

    Examples
    --------
    >>> point = operating_point([0, 1, 1, 0], [0.4, 0.5, 0.2, 0.9], 0.5)
    >>> point.table.tp, point.table.fn, point.table.fp, point.table.tn
    (1, 1, 1, 1)
    """
    labels, scores = labels_and_scores(y, score)
    called = scores >= threshold
    return OperatingPoint(
        float(threshold), rule, clustered_diagnostic_table(labels, called, cluster, level)
    )


def clustered_diagnostic_table(
    y: Any, called: Any, cluster: Any = None, level: float = 0.95
) -> DiagnosticTable:
    """Compute diagnostic accuracy of binary calls with patients as clusters.

    Parameters
    ----------
    y, called : array_like of {0, 1}, shape (n,)
        Truth and call of each observation. Several readers' calls of the same images are further
        observations of the same patients.
    cluster : sequence of hashable, shape (n,), optional
        Patient of each observation; by default observations are independent.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    DiagnosticTable
        With patients, the intervals of sensitivity, specificity and accuracy are Korn and
        Graubard's; that of the balanced accuracy is recovered from the first two; those of the
        ratios are linearised t intervals over patients, and those of the predictive values follow
        from the likelihood ratios at the study's share of positives. `fisher_p_greater` still takes
        observations as independent.

    Raises
    ------
    ValueError
        If labels, calls or patients are invalid.

    References
    ----------
    Korn EL, Graubard BI. Surv Methodol 1998;24:193-201.

    Examples
    --------
    >>> table = clustered_diagnostic_table([1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 1], list("aabccd"))
    >>> table.sensitivity.method, round(table.sensitivity.estimate, 3)
    ('Korn-Graubard', 0.667)
    """
    labels, calls = binary_labels(y), binary_labels(called)
    if len(labels) != len(calls):
        raise ValueError(
            f"{len(calls)} calls for {len(labels)} labels: each observation needs both"
        )
    tp, fn, fp, tn = (
        int(cell.sum())
        for cell in (labels & calls, labels & ~calls, ~labels & calls, ~labels & ~calls)
    )
    table = diagnostic_table(tp, fn, fp, tn, level)
    if cluster is None:
        return table
    codes, _ = cluster_codes(cluster, len(labels))
    if not len(codes):
        return replace(table, unit="patient")
    right, everything = calls == labels, np.ones(len(labels), dtype=bool)
    sensitivity = clustered_share(right, labels, codes, level)
    specificity = clustered_share(right, ~labels, codes, level)
    lr_positive = clustered_ratio(calls, labels, codes, table.lr_positive)
    lr_negative = clustered_ratio(~calls, labels, codes, table.lr_negative)
    # With one truth alone there is no likelihood ratio, and its odds are not used.
    positives, negatives = max(1, labels.sum()), max(1, (~labels).sum())
    return replace(
        table,
        sensitivity=sensitivity,
        specificity=specificity,
        accuracy=clustered_share(right, everything, codes, level),
        ppv=clustered_predictive_value(
            clustered_share(right, calls, codes, level), lr_positive, positives / negatives
        ),
        npv=clustered_predictive_value(
            clustered_share(right, ~calls, codes, level),
            reciprocal(lr_negative),
            negatives / positives,
        ),
        balanced_accuracy=clustered_balanced_accuracy(
            sensitivity, specificity, right, labels, codes
        ),
        lr_positive=lr_positive,
        lr_negative=lr_negative,
        odds_ratio=clustered_ratio(calls, labels, codes, table.odds_ratio, odds=True),
        unit="patient",
    )
