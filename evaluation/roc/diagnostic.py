"""Right and wrong calls at a threshold: sensitivity, specificity, predictive values, likelihood
ratios, and thresholds fixed on hold-out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evaluation.clustered import clustered_proportion
from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text
from evaluation.roc.partial_area import vertices
from evaluation.validation import check_level, labels_and_scores, one_class_reason, whole_number


@dataclass(frozen=True, kw_only=True)
class DiagnosticTable:
    """A 2 x 2 table.

    Shares with Clopper-Pearson intervals, likelihood ratios with Simel's (1991), odds ratio with
    Woolf's.
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
        """For a results section."""
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
    """A threshold fixed elsewhere and what it does here."""

    threshold: float
    rule: str
    table: DiagnosticTable

    def sentence(self) -> str:
        """For a results section."""
        return f"At threshold {self.threshold:.4g} ({self.rule}): {self.table.sentence()}"


def diagnostic_table(tp: int, fn: int, fp: int, tn: int, level: float = 0.95) -> DiagnosticTable:
    """Accuracy of a binary call from its four counts; whatever has an empty margin is None with a
    reason.
    """
    tp, fn, fp, tn = (
        whole_number(count, name)
        for name, count in (("tp", tp), ("fn", fn), ("fp", fp), ("tn", tn))
    )
    check_level(level)
    n, diseased, healthy, called = tp + fn + fp + tn, tp + fn, fp + tn, tp + fp
    reason = None if n else "there are no observations"
    fisher = float(stats.fisher_exact([[tp, fn], [fp, tn]], "greater").pvalue) if n else None
    margins = float(diseased) * healthy * called * (fn + tn)
    chance = (diseased * called + healthy * (fn + tn)) / n**2 if n else 1.0
    return DiagnosticTable(
        tp=tp,
        fn=fn,
        fp=fp,
        tn=tn,
        sensitivity=_share(tp, diseased, level, "positive"),
        specificity=_share(tn, healthy, level, "negative"),
        accuracy=_share(tp + tn, n, level, "observed"),
        ppv=_share(tp, called, level, "called positive"),
        npv=_share(tn, fn + tn, level, "called negative"),
        lr_positive=_ratio(tp, diseased, fp, healthy, level),
        lr_negative=_ratio(fn, diseased, tn, healthy, level),
        odds_ratio=_odds(tp, fn, fp, tn, level),
        balanced_accuracy=_balanced(tp, diseased, tn, healthy, level),
        youden=tp / diseased + tn / healthy - 1 if diseased and healthy else None,
        mcc=float((tp * tn - fp * fn) / np.sqrt(margins)) if margins else None,
        kappa=((tp + tn) / n - chance) / (1 - chance) if chance < 1 else None,
        f1=2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        fisher_p_greater=fisher,
        level=level,
        reason=reason,
    )


def _share(part: int, whole: int, level: float, name: str) -> Interval:
    method = "Clopper-Pearson"
    if not whole:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason=f"no observation is {name}",
        )
    bounds = stats.binomtest(part, whole).proportion_ci(level, "exact")
    return Interval(
        estimate=part / whole,
        low=float(bounds.low),
        high=float(bounds.high),
        level=level,
        method=method,
    )


def _log_interval(estimate: float, error: float, level: float, method: str) -> Interval:
    if error == 0:
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="all are called alike: the variance is 0 and gives no interval",
        )
    half = stats.norm.isf((1 - level) / 2) * error
    return Interval(
        estimate=estimate,
        low=float(estimate * np.exp(-half)),
        high=float(estimate * np.exp(half)),
        level=level,
        method=method,
    )


def _ratio(a: int, m: int, b: int, n: int, level: float) -> Interval:
    """(a/m) / (b/n) with Simel's logarithmic interval."""
    method = "Simel 1991"
    if not m or not n or not b:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="a likelihood ratio would divide by 0",
        )
    if not a:
        return Interval(
            estimate=0.0,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="a count is 0: its logarithm gives no interval",
        )
    return _log_interval((a / m) / (b / n), np.sqrt(1 / a - 1 / m + 1 / b - 1 / n), level, method)


def _odds(tp: int, fn: int, fp: int, tn: int, level: float) -> Interval:
    method = "Woolf"
    if not fn * fp:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="the odds ratio would divide by 0",
        )
    if not tp * tn:
        return Interval(
            estimate=0.0,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="a count is 0: its logarithm gives no interval",
        )
    return _log_interval(
        tp * tn / (fn * fp), np.sqrt(1 / tp + 1 / fn + 1 / fp + 1 / tn), level, method
    )


def _balanced(tp: int, m: int, tn: int, n: int, level: float) -> Interval:
    if not m or not n:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method="Wald",
            reason="both classes are needed",
        )
    se, sp = tp / m, tn / n
    half = stats.norm.isf((1 - level) / 2) * 0.5 * np.sqrt(se * (1 - se) / m + sp * (1 - sp) / n)
    centre = (se + sp) / 2
    if half == 0:
        return Interval(
            estimate=centre,
            low=None,
            high=None,
            level=level,
            method="Wald",
            reason="each class is called all right or all wrong: the variance is 0 and gives no interval",
        )
    return Interval(
        estimate=centre,
        low=float(max(0.0, centre - half)),
        high=float(min(1.0, centre + half)),
        level=level,
        method="Wald",
    )


def fixed_threshold(y: Any, score: Any, rule: str = "sensitivity", value: float = 0.8) -> float:
    """The threshold to fix on hold-out: the highest that reaches a `sensitivity`, the lowest that
    reaches a `specificity`, or the one with the largest Youden index (`youden`; the highest of
    equals). Positive is what scores at least the threshold; the one that calls nothing positive is
    the next number above the highest score.
    """
    labels, scores = labels_and_scores(y, score)
    reason = one_class_reason(labels)
    if reason:
        raise ValueError(f"a threshold cannot be fixed: {reason}")
    fpr, tpr, thresholds = vertices(labels, scores)
    thresholds[0] = np.nextafter(thresholds[1], np.inf)
    if rule == "sensitivity":
        return float(thresholds[np.flatnonzero(tpr >= value - 1e-12)[0]])
    if rule == "specificity":
        return float(thresholds[np.flatnonzero(1 - fpr >= value - 1e-12)[-1]])
    if rule == "youden":
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
    """Calls at a threshold (positive = score >= threshold).

    With `cluster` the intervals of sensitivity, specificity and accuracy are Korn and Graubard's on
    the effective sample size, patients as clusters; the other intervals still take observations as
    independent.
    """
    labels, scores = labels_and_scores(y, score)
    called = scores >= threshold
    counts = (
        (labels & called).sum(),
        (labels & ~called).sum(),
        (~labels & called).sum(),
        (~labels & ~called).sum(),
    )
    tp, fn, fp, tn = (int(count) for count in counts)
    table = diagnostic_table(tp, fn, fp, tn, level)
    if cluster is not None:
        patients = np.asarray(cluster)
        right = called == labels
        named = {
            name: _clustered(right[kept], patients[kept], level)
            for name, kept in (
                ("sensitivity", labels),
                ("specificity", ~labels),
                ("accuracy", np.full(len(labels), True)),
            )
        }
        table = DiagnosticTable(**{**table.__dict__, **named, "unit": "patient"})
    return OperatingPoint(float(threshold), rule, table)


def _clustered(right: Any, patients: Any, level: float) -> Interval:
    result = clustered_proportion(right, patients, level=level)
    reason = (
        result.reason.replace("answers", "calls")
        if result.reason and result.korn_graubard_low is None
        else None
    )
    return Interval(
        estimate=result.estimate,
        low=result.korn_graubard_low,
        high=result.korn_graubard_high,
        level=level,
        method="Korn-Graubard",
        reason=reason,
        unit="patient",
    )
