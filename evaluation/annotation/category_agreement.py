"""How well annotators agree with each other and with themselves, from their answers; pure functions
on tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from core import birads_lexicon
from evaluation.agreement import Agreement, cohen_kappa, krippendorff_alpha
from evaluation.proportion import proportion_interval

BOOTSTRAPS = 1000
NO_CATEGORY = ("nothing", "unsure")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the agreement table. estimate None: not estimable, with the reason."""

    name: str
    estimate: float | None
    low: float | None
    high: float | None
    method: str
    n: int
    reason: str | None = None


@dataclass(frozen=True)
class Dispute:
    """One unit with what each expert said. conflict:

    1 - Jaccard of their categories, plus 1/2 where associations differ; larger comes first.
    """

    unit: int
    answers: tuple[tuple[str, str, dict[str, Any]], ...]
    conflict: float


def categories(answer: dict[str, Any]) -> frozenset[str]:
    """What an answer names: its categories, or "nothing" / "unsure" alone.

    Free text (imported) names itself: its categories are not known.
    """
    if answer["recognisable"] != "yes":
        return frozenset([answer["recognisable"]])
    return frozenset(p["category"] for p in answer["phenomena"]) or frozenset(
        ["free text: " + answer["label"].strip().lower()]
    )


def is_free(answer: dict[str, Any]) -> bool:
    """Whether an answer is free text without categories."""
    return answer["recognisable"] == "yes" and not answer["phenomena"]


def _first(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[~frame["practice"] & ~frame["repeat"]] if len(frame) else frame


def _structured(frame: pd.DataFrame) -> pd.DataFrame:
    """First answers whose categories are known.

    An expert with free text is left out altogether: that one's "nothing" alone would be a biased
    choice.
    """
    first = _first(frame)
    if not len(first):
        return first
    free = set(first.loc[[is_free(answer) for answer in first["answer"]], "code"])
    return first[~first["code"].isin(free)]


def _pairs(frame: pd.DataFrame) -> list[tuple[int, list[frozenset[str]]]]:
    """Units answered by two experts or more, with each expert's categories in order of code."""
    found = []
    for unit, rows in _structured(frame).groupby("unit"):
        if rows["code"].nunique() > 1:
            found.append((int(unit), [categories(a) for a in rows.sort_values("code")["answer"]]))
    return found


def _ratings(frame: pd.DataFrame, value: Any) -> np.ndarray:
    """float [raters, units] of value(answer), NaN where an expert has not answered the unit."""
    first = _first(frame)  # the caller has left out what has no value
    codes, units = sorted(first["code"].unique()), sorted(first["unit"].unique())
    table = np.full((len(codes), len(units)), np.nan)
    for row in first.itertuples():
        table[codes.index(row.code), units.index(row.unit)] = value(row.answer)
    return table


def _row(name: str, found: Agreement) -> Row:
    return Row(
        name=name,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        method=found.method,
        n=found.n,
        reason=found.reason,
    )


def per_category(frame: pd.DataFrame) -> list[Row]:
    """Presence of each category:

    Cohen's kappa for two experts, Krippendorff's alpha for more. Categories that nobody used are
    left out.
    """
    rows = []
    frame = _structured(frame)
    for name in (*(c.name for c in birads_lexicon.CATEGORIES), *NO_CATEGORY):
        ratings = _ratings(frame, lambda answer, name=name: float(name in categories(answer)))
        if not np.nansum(ratings):
            continue
        both = ratings[:, ~np.isnan(ratings).any(axis=0)]
        if len(ratings) == 2:
            counts = [
                [int(((both[0] == a) & (both[1] == b)).sum()) for b in (0, 1)] for a in (0, 1)
            ]
            found = cohen_kappa(counts)
        else:
            found = krippendorff_alpha(ratings, "nominal")
        rows.append(_row(name, found))
    return rows


def overall(frame: pd.DataFrame) -> Row:
    """Krippendorff's alpha (nominal) of the first-named category over all experts and units."""
    order = {
        name: i
        for i, name in enumerate((*(c.name for c in birads_lexicon.CATEGORIES), *NO_CATEGORY))
    }
    known = _structured(frame)
    if not len(known):
        return Row(
            name="first-named category",
            estimate=None,
            low=None,
            high=None,
            method="Krippendorff's alpha, nominal",
            n=0,
            reason="the answers are free text without categories",
        )
    ratings = _ratings(
        known,
        lambda answer: order[
            answer["phenomena"][0]["category"] if answer["phenomena"] else answer["recognisable"]
        ],
    )
    return _row("first-named category", krippendorff_alpha(ratings, "nominal"))


def naming(frame: pd.DataFrame) -> Row:
    """Krippendorff's alpha (nominal) of whether an answer names anything: the one agreement that
    free text has too.
    """
    return _row(
        "names something",
        krippendorff_alpha(
            _ratings(frame, lambda answer: float(birads_lexicon.substantive(answer))), "nominal"
        ),
    )


def jaccard(frame: pd.DataFrame, seed: int = 1) -> Row:
    """Mean over units and pairs of experts of |A and B| / |A or B| of their categories, with a
    percentile bootstrap over units.
    """
    method = "mean Jaccard of categories, bootstrap over units"
    values = np.array(
        [
            np.mean([len(a & b) / len(a | b) for a, b in combinations(sets, 2)])
            for _, sets in _pairs(frame)
        ]
    )
    if not len(values):
        return Row(
            name="categories shared",
            estimate=None,
            low=None,
            high=None,
            method=method,
            n=0,
            reason="no unit was answered by two experts",
        )
    if len(values) < 5:
        return Row(
            name="categories shared",
            estimate=float(values.mean()),
            low=None,
            high=None,
            method=method,
            n=len(values),
            reason="fewer than five units: no interval",
        )
    generator = np.random.default_rng(seed)
    means = values[generator.integers(0, len(values), (BOOTSTRAPS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    if high - low < 1e-12:
        return Row(
            name="categories shared",
            estimate=float(values.mean()),
            low=None,
            high=None,
            method=method,
            n=len(values),
            reason="all units have the same value: no interval",
        )
    return Row(
        name="categories shared",
        estimate=float(values.mean()),
        low=float(low),
        high=float(high),
        method=method,
        n=len(values),
    )


def repeats(frame: pd.DataFrame) -> list[Row]:
    """Per expert: share of hidden repeats answered with the same categories as the first time
    (exact interval).
    """
    rows: list[Row] = []
    if not len(frame):
        return rows
    for code, mine in frame[~frame["practice"]].groupby("code"):
        first = {r.unit: categories(r.answer) for r in mine[~mine["repeat"]].itertuples()}
        again = [
            (first[r.unit], categories(r.answer))
            for r in mine[mine["repeat"]].itertuples()
            if r.unit in first
        ]
        if again:
            found = proportion_interval(
                sum(a == b for a, b in again), len(again), "clopper-pearson"
            )
            rows.append(
                Row(
                    name=str(code),
                    estimate=found.estimate,
                    low=found.low,
                    high=found.high,
                    method="same categories at the hidden repeat, Clopper-Pearson",
                    n=len(again),
                )
            )
    return rows


def raters(frame: pd.DataFrame) -> int:
    """Experts with an answer that counts."""
    return int(_first(frame)["code"].nunique()) if len(frame) else 0


def _conflict(answers: Sequence[dict[str, Any]]) -> float:
    sets = [categories(a) for a in answers]
    verdicts = {tuple(sorted(p["association"] or "" for p in a["phenomena"])) for a in answers}
    return float(np.mean([1 - len(a & b) / len(a | b) for a, b in combinations(sets, 2)])) + (
        0.5 if len(verdicts) > 1 else 0.0
    )


def disputes(frame: pd.DataFrame) -> list[Dispute]:
    """Units with two answers or more, disagreements first, then by unit. answers:

    (code, annotation id, answer) in order of code.
    """
    found = []
    for unit, rows in _first(frame).groupby("unit"):
        if rows["code"].nunique() > 1:
            answers = tuple(
                (r.code, r.annotation_id, r.answer) for r in rows.sort_values("code").itertuples()
            )
            found.append(Dispute(int(unit), answers, _conflict([a for _, _, a in answers])))
    return sorted(found, key=lambda d: (-d.conflict, d.unit))
