"""Do people agree beyond chance: Cohen, Fleiss, Krippendorff, Gwet, each with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse, stats

from evaluation.intervals import counted, decimal, interval_text, not_estimable, p_text
from evaluation.validation import Array, check_level, float_array

BOOTSTRAPS = 1_000
# Numbers in one block of resamples: 32 MB.
BLOCK = 4_000_000
METRICS = ("nominal", "ordinal", "interval", "ratio")
ONE_CATEGORY = "one rater used one category only, so that kappa is 0 whatever the other said"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A chance-corrected agreement.

    `z` and `p_value` test "no agreement" where that is defined (Fleiss).
    """

    estimate: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    reason: str | None = None
    method: str = ""
    level: float = 0.95
    n: int = 0
    observed: float | None = None
    expected: float | None = None
    z: float | None = None
    p_value: float | None = None
    unit: str = "rated item, taken as independent"

    def sentence(self) -> str:
        """For a results section."""
        if self.estimate is None:
            return f"{self.method} {not_estimable(self.reason)}."
        test = f", against no agreement {p_text(self.p_value)}" if self.p_value is not None else ""
        return (
            f"{self.method} {decimal(self.estimate)}"
            f" ({interval_text(self.low, self.high, self.level, self.reason)};"
            f" {counted(self.n, 'item')}{test})."
        )


def _square(table: Any) -> Array:
    counts = float_array(table, "the table's counts")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not _whole(counts):
        raise ValueError(
            "the table must be square and hold counts: rows the first rater's categories, columns"
            " the second's, in the same order"
        )
    return counts


def _whole(counts: Array) -> bool:
    return bool(np.isfinite(counts).all() and (counts >= 0).all() and not (counts % 1).any())


def _none(method: str, reason: str, level: float, n: int) -> Agreement:
    return Agreement(
        estimate=None,
        standard_error=None,
        low=None,
        high=None,
        reason=reason,
        method=method,
        level=level,
        n=n,
    )


def _wald(
    estimate: float,
    variance: float,
    method: str,
    level: float,
    n: int,
    observed: float,
    expected: float,
    flat: str | None = None,
) -> Agreement:
    """With its Wald interval; without one where the variance is 0, for the reason `flat` where that
    is known.
    """
    error = float(np.sqrt(max(0.0, variance)))
    if error < 1e-12:
        return Agreement(
            estimate=estimate,
            standard_error=0.0,
            low=None,
            high=None,
            reason=flat or "the variance is 0: no interval",
            method=method,
            level=level,
            n=n,
            observed=observed,
            expected=expected,
        )
    half = float(stats.norm.isf((1 - level) / 2)) * error
    return Agreement(
        estimate=estimate,
        standard_error=error,
        low=max(-1.0, estimate - half),
        high=min(1.0, estimate + half),
        reason=None,
        method=method,
        level=level,
        n=n,
        observed=observed,
        expected=expected,
    )


def cohen_kappa(table: Any, weights: str | None = None, level: float = 0.95) -> Agreement:
    """Cohen's kappa of two raters from their k x k table of counts; `weights` None, "linear" or
    "quadratic" (agreement weights 1 - (|i-j|/(k-1))^1 or ^2). Standard error: Fleiss, Cohen and
    Everitt 1969 (large sample, not under the null). Undefined where chance agreement is 1; 0
    without an interval where one rater used one category only, for then observed and chance
    agreement are the same whatever the other said.
    """
    counts = _square(table)
    check_level(level)
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f"the weights are {weights!r}: they must be None, 'linear' or 'quadratic'")
    k, n = len(counts), counts.sum()
    method = f"Cohen's kappa{f', {weights} weights' if weights else ''}"
    if not n:
        return _none(method, "nothing was rated by both", level, 0)
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / max(1, k - 1)
    agree = np.eye(k) if weights is None else 1 - distance ** (1 if weights == "linear" else 2)
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float((agree * p).sum()), float(rows @ agree @ columns)
    if 1 - expected < 1e-12:
        return _none(
            method,
            "both raters used one and the same category: chance agreement is 1",
            level,
            int(n),
        )
    kappa = (observed - expected) / (1 - expected)
    means = (agree @ columns)[:, None] + (rows @ agree)[None, :]
    # Their difference of two sums as one sum about the mean: where it is 0 nothing is left over by
    # rounding.
    scores = agree - means * (1 - kappa)
    variance = (p * (scores - (p * scores).sum()) ** 2).sum() / (n * (1 - expected) ** 2)
    alone = min((rows > 0).sum(), (columns > 0).sum()) == 1
    return _wald(
        kappa, variance, method, level, int(n), observed, expected, ONE_CATEGORY if alone else None
    )


def gwet_ac1(table: Any, level: float = 0.95) -> Agreement:
    """Gwet's AC1 of two raters from their k x k table (Gwet 2008), whose chance agreement is sum pi
    (1 - pi) / (k - 1) with pi the mean of the two raters' shares; it does not collapse when one
    category dominates, as kappa does. Variance: Gwet 2008.
    """
    counts = _square(table)
    check_level(level)
    method, k, n = "Gwet's AC1", len(counts), counts.sum()
    if k < 2 or not n:
        return _none(method, "at least two categories and one rated item are needed", level, int(n))
    p = counts / n
    share = (p.sum(axis=0) + p.sum(axis=1)) / 2
    observed, expected = float(np.trace(p)), float((share * (1 - share)).sum() / (k - 1))
    value = (observed - expected) / (1 - expected)
    diagonal = (np.diag(p) * (1 - share)).sum() / (k - 1) - observed * expected
    pairs = (p * (1 - np.add.outer(share, share) / 2) ** 2).sum() / (k - 1) ** 2 - expected**2
    variance = (
        observed * (1 - observed) - 4 * (1 - value) * diagonal + 4 * (1 - value) ** 2 * pairs
    ) / (n * (1 - expected) ** 2)
    return _wald(value, variance, method, level, int(n), observed, expected)


def fleiss_kappa(counts: Any, level: float = 0.95) -> Agreement:
    """Fleiss' kappa.

    `counts` [item, category]: how many raters chose it; every item has the same number of raters
    (else use Krippendorff's alpha). `standard_error` is the one under no agreement (with z and P);
    the interval is a jackknife over items.
    """
    table = float_array(counts, "counts")
    check_level(level)
    method = "Fleiss' kappa"
    if table.ndim != 2 or not _whole(table):
        raise ValueError("counts must hold whole numbers: a row per item, a column per category")
    n = len(table)
    if not n:
        return _none(method, "there are no items", level, 0)
    raters = table.sum(axis=1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError(
            f"items have {raters.min():g} to {raters.max():g} raters: Fleiss' kappa needs one"
            " number, at least 2; Krippendorff's alpha takes any"
        )
    r, p = raters[0], table.sum(axis=0) / table.sum()
    per_item = ((table**2).sum(axis=1) - r) / (r * (r - 1))
    observed, expected = float(per_item.mean()), float((p**2).sum())
    if 1 - expected < 1e-12:
        return _none(method, "all ratings are the same: chance agreement is 1", level, n)
    kappa = (observed - expected) / (1 - expected)
    # Fleiss, Nee and Landis 1979, eq. 13: the variance when raters agree by chance only.
    unlike, skew = (p * (1 - p)).sum(), (p * (1 - p) * (1 - 2 * p)).sum()
    null_error = float(np.sqrt(2 * max(0.0, unlike**2 - skew) / (n * r * (r - 1))) / unlike)
    z = kappa / null_error if null_error else None
    low, high, reason = _jackknife(table, per_item, kappa, level)
    return Agreement(
        estimate=kappa,
        standard_error=null_error,
        low=low,
        high=high,
        reason=reason,
        method=method,
        level=level,
        n=n,
        observed=observed,
        expected=expected,
        z=z,
        p_value=None if z is None else float(2 * stats.norm.sf(abs(z))),
    )


def _jackknife(
    table: Array, per_item: Array, kappa: float, level: float
) -> tuple[float | None, float | None, str | None]:
    n = len(table)
    if n < 3:
        return None, None, "fewer than three items: no interval"
    observed = (per_item.sum() - per_item) / (n - 1)
    shares = (table.sum(axis=0) - table) / (table.sum() - table.sum(axis=1, keepdims=True))
    expected = (shares**2).sum(axis=1)
    if (1 - expected < 1e-12).any():
        return None, None, "without one item all ratings are the same: no interval"
    values = (observed - expected) / (1 - expected)
    error = np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())
    if error < 1e-12:
        return (
            None,
            None,
            (
                "kappa is the same without any one of the items: the variance is 0 and gives no"
                " interval"
            ),
        )
    half = float(stats.t.isf((1 - level) / 2, n - 1) * error)
    return max(-1.0, kappa - half), min(1.0, kappa + half), None


def krippendorff_alpha(
    ratings: Any, metric: str = "nominal", level: float = 0.95, seed: int = 1
) -> Agreement:
    """Krippendorff's alpha of any number of raters with gaps.

    `ratings` [rater, item], None or nan where not rated; `metric` "nominal", "ordinal", "interval"
    or "ratio". Items rated once carry nothing. Interval: items resampled (percentile).
    """
    check_level(level)
    if metric not in METRICS:
        raise ValueError(f"the metric is {metric!r}: it must be one of {', '.join(METRICS)}")
    method = f"Krippendorff's alpha, {metric}"
    values, counts = _counts(ratings, metric)
    items = counts.shape[0]
    if not items:
        return _none(method, "no item was rated twice", level, 0)
    observed, expected = (
        float(part[0]) for part in _disagreement(np.ones((1, items)), counts, values, metric)
    )
    if np.isnan(expected):
        return _none(
            method, "all ratings are the same: there is no disagreement to expect", level, items
        )
    alpha = 1 - observed / expected
    resampled = _resampled(counts, values, metric, seed)
    kept = resampled[~np.isnan(resampled)]
    if items < 3 or len(kept) < BOOTSTRAPS / 2:
        reason = "too few items differ for an interval"
        return Agreement(
            estimate=alpha,
            standard_error=None,
            low=None,
            high=None,
            reason=reason,
            method=method,
            level=level,
            n=items,
            observed=observed,
            expected=expected,
        )
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    if high - low < 1e-12:
        reason = "all items agree alike: resampling them gives no width, which is no certainty"
        return Agreement(
            estimate=alpha,
            standard_error=None,
            low=None,
            high=None,
            reason=reason,
            method=method,
            level=level,
            n=items,
            observed=observed,
            expected=expected,
        )
    return Agreement(
        estimate=alpha,
        standard_error=float(np.std(kept, ddof=1)),
        low=float(low),
        high=float(high),
        reason=None,
        method=method,
        level=level,
        n=items,
        observed=observed,
        expected=expected,
    )


def _counts(ratings: Any, metric: str) -> tuple[Array, Any]:
    """The values in their order, and how often each was given to each item that was rated twice or
    more, sparse [item, value].
    """
    table = _rated(ratings)
    present = ~pd.isna(table)
    present &= present.sum(axis=0) > 1
    kept = list(table[present])
    if metric != "nominal" and any(isinstance(value, str) for value in kept):
        raise ValueError(
            f"the metric {metric} needs numbers, but"
            f" {next(v for v in kept if isinstance(v, str))!r} was rated"
        )
    values = sorted(
        set(kept), key=lambda value: (str(type(value)), value) if metric == "nominal" else value
    )
    axis = (
        np.arange(len(values), dtype=float)
        if metric == "nominal"
        else np.array(values, dtype=float)
    )
    if not np.isfinite(axis).all():
        raise ValueError(f"the metric {metric} needs finite numbers")
    if metric == "ratio" and (axis < 0).any():
        raise ValueError("the ratio metric needs values from 0 on")
    code = {value: index for index, value in enumerate(values)}
    columns, item = np.unique(np.nonzero(present)[1], return_inverse=True)
    return axis, sparse.csr_array(
        (np.ones(len(kept)), (item, [code[value] for value in kept])),
        shape=(len(columns), len(values)),
    )


def _rated(ratings: Any) -> Array:
    """Ratings as they are, object [rater, item]."""
    try:
        table = np.asarray(ratings, dtype=object)
    except ValueError:
        table = np.empty(0)
    if table.ndim != 2:
        raise ValueError(
            "ratings must be a table: a row per rater, a column per item, with None where an item"
            " was not rated"
        )
    return table


def _resampled(counts: Any, values: Array, metric: str, seed: int) -> Array:
    """Alpha of items drawn with replacement [resamples], nan where all ratings drawn are the same."""
    items = counts.shape[0]
    generator, block = np.random.default_rng(seed), max(1, BLOCK // max(counts.shape))
    parts = []
    for start in range(0, BOOTSTRAPS, block):
        drawn = generator.multinomial(
            items, np.full(items, 1 / items), min(block, BOOTSTRAPS - start)
        ).astype(float)
        observed, expected = _disagreement(drawn, counts, values, metric)
        parts.append(1 - observed / expected)
    return np.concatenate(parts)


def _disagreement(drawn: Array, counts: Any, values: Array, metric: str) -> tuple[Array, Array]:
    """Observed and expected disagreement [draw] of items taken `drawn` [draw, item] times: mean
    distance of two ratings of one item, each item's pairs divided by its ratings less one, and of
    any two ratings; nan where all ratings are the same (Krippendorff 2011).
    """
    marginal, sizes = drawn @ counts, counts.sum(axis=1)
    total = marginal.sum(axis=1)
    if metric == "nominal":
        within, between = (
            sizes**2 - counts.power(2).sum(axis=1),
            total**2 - (marginal**2).sum(axis=1),
        )
    elif metric == "ratio":
        distance = _ratio(values)
        within, between = (
            ((counts @ distance) * counts.toarray()).sum(axis=1),
            ((marginal @ distance) * marginal).sum(axis=1),
        )
    else:
        # Squared differences of places on an axis; the ordinal place is the number of ratings
        # below, its own counted half.
        place = (
            np.cumsum(marginal, axis=1) - marginal / 2
            if metric == "ordinal"
            else np.broadcast_to(values, marginal.shape)
        )
        place = place - ((marginal * place).sum(axis=1) / total)[:, None]
        first, second = counts @ place.T, counts @ (place**2).T
        within, between = (
            (2 * (sizes[:, None] * second - first**2)).T,
            2 * total * (marginal * place**2).sum(axis=1),
        )
    alike = np.diff(counts.indptr) == 1
    observed = (drawn * np.where(alike, 0.0, within / (sizes - 1))).sum(axis=1) / total
    expected = np.where((marginal > 0).sum(axis=1) > 1, between / (total * (total - 1)), np.nan)
    return observed, expected


def _ratio(values: Array) -> Array:
    total = np.add.outer(values, values)
    return (
        np.divide(
            np.subtract.outer(values, values), total, out=np.zeros_like(total), where=total > 0
        )
        ** 2
    )
