"""Agreement of experts with each other and with themselves on the categories of their answers.

All functions take the annotations of one dissection as a DataFrame with the columns annotation_id,
code (of the expert), unit, answer (dict), repeat and practice (bool).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from core.lexicon import annotation_answers
from core.store.annotation_table import is_group_answer
from evaluation.agreement import Agreement, cohen_kappa, krippendorff_alpha
from evaluation.proportion import proportion_interval

OVERLAP_RESAMPLES = 1_000
MIN_OVERLAP_UNITS = 5
NO_CATEGORY = ("nothing", "unsure")


@dataclass(frozen=True, kw_only=True)
class AgreementEstimate:
    """One row of the agreement table.

    Parameters
    ----------
    name : str
        What the agreement is about: a category, "first-named category", or an expert's code.
    estimate, low, high : float or None
        Agreement with its 95 % interval; None with the reason if not estimable.
    method : str
        Statistic and interval.
    n : int
        Units, or repeats.
    reason : str or None
        Why a number is missing.
    """

    name: str
    estimate: float | None
    low: float | None
    high: float | None
    method: str
    n: int
    reason: str | None = None


@dataclass(frozen=True)
class Disagreement:
    """The answers of several experts to one unit.

    Parameters
    ----------
    unit : int
        0-based unit.
    answers : tuple
        (code, annotation id, answer) in order of code.
    conflict : float
        Mean over pairs of experts of 1 - Jaccard index of their categories, plus .5 if their
        associations (benign, suspicious) differ.
    """

    unit: int
    answers: tuple[tuple[str, str, dict[str, Any]], ...]
    conflict: float


def answer_categories(answer: dict[str, Any]) -> frozenset[str]:
    """Return the categories that an answer names.

    Parameters
    ----------
    answer : dict
        An answer of the annotation form or of a label file.

    Returns
    -------
    frozenset of str
        Its categories; "nothing" or "unsure" alone if nothing was recognisable; the text itself for
        imported free text, whose categories are unknown.

    Examples
    --------
    >>> answer_categories({"recognisable": "unsure", "phenomena": [], "label": ""})
    frozenset({'unsure'})
    """
    if answer["recognisable"] != "yes":
        return frozenset([answer["recognisable"]])
    categories = frozenset(phenomenon["category"] for phenomenon in answer["phenomena"])
    # The prefix keeps a text such as "mass" apart from the category of that name.
    return categories or frozenset(["free text: " + answer["label"].strip().lower()])


def is_free_text(answer: dict[str, Any]) -> bool:
    """Return whether an answer is free text without categories."""
    return answer["recognisable"] == "yes" and not answer["phenomena"]


def _first_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the answers without practice and hidden repeats."""
    return frame[~frame["practice"] & ~frame["repeat"]] if len(frame) else frame


def _own_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the first answers, of each group of units the one that its expert gave.

    Its copies on the other units of the group are no further observations of agreement.
    """
    first = _first_answers(frame)
    if not len(first):
        return first
    return first[[not is_group_answer(answer) for answer in first["answer"]]]


def _categorized_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the first answers of the experts who use categories.

    An expert with any free text is excluded: the "nothing" answers alone would be a biased
    selection.
    """
    first = _own_answers(frame)
    if not len(first):
        return first
    free_text_codes = set(first.loc[[is_free_text(answer) for answer in first["answer"]], "code"])
    return first[~first["code"].isin(free_text_codes)]


def _category_sets(frame: pd.DataFrame) -> list[list[frozenset[str]]]:
    """Return the experts' categories for each unit with at least two answers."""
    return [
        [answer_categories(answer) for answer in rows.sort_values("code")["answer"]]
        for _, rows in _categorized_answers(frame).groupby("unit")
        if rows["code"].nunique() > 1
    ]


def _rating_table(frame: pd.DataFrame, rate: Callable[[dict[str, Any]], float]) -> np.ndarray:
    """Return the ratings of all first answers, float [experts, units]; NaN without an answer."""
    first = _own_answers(frame)
    codes, units = sorted(first["code"].unique()), sorted(first["unit"].unique())
    table = np.full((len(codes), len(units)), np.nan)
    for row in first.itertuples():
        table[codes.index(row.code), units.index(row.unit)] = rate(row.answer)
    return table


def _estimate(name: str, agreement: Agreement) -> AgreementEstimate:
    return AgreementEstimate(
        name=name,
        estimate=agreement.estimate,
        low=agreement.low,
        high=agreement.high,
        method=agreement.method,
        n=agreement.n,
        reason=agreement.reason,
    )


def agreement_by_category(
    frame: pd.DataFrame, categories: Sequence[str]
) -> list[AgreementEstimate]:
    """Return the agreement on the presence of each category that was used.

    Parameters
    ----------
    frame : DataFrame
        Annotations, see the module.
    categories : sequence of str
        Names of the categories of the lexicon, in its order.

    Returns
    -------
    list of AgreementEstimate
        Cohen's kappa for two experts, Krippendorff's alpha (nominal) for more.
    """
    estimates = []
    answers = _categorized_answers(frame)
    for name in (*categories, *NO_CATEGORY):
        ratings = _rating_table(answers, partial(_names_category, name))
        # Agreement on a category that was never used is undefined.
        if not np.nansum(ratings):
            continue
        if len(ratings) == 2:
            # Kappa needs both answers; alpha also uses units with missing ones.
            first, second = ratings[:, ~np.isnan(ratings).any(axis=0)]
            counts = [[int(((first == a) & (second == b)).sum()) for b in (0, 1)] for a in (0, 1)]
            agreement = cohen_kappa(counts)
        else:
            agreement = krippendorff_alpha(ratings, "nominal")
        estimates.append(_estimate(name, agreement))
    return estimates


def _names_category(name: str, answer: dict[str, Any]) -> float:
    return float(name in answer_categories(answer))


def first_category_agreement(frame: pd.DataFrame) -> AgreementEstimate:
    """Return Krippendorff's alpha (nominal) of the first-named category over experts and units.

    Parameters
    ----------
    frame : DataFrame
        Annotations, see the module.

    Returns
    -------
    AgreementEstimate
        Not estimable if all answers are free text.
    """
    answers = _categorized_answers(frame)
    if not len(answers):
        return AgreementEstimate(
            name="first-named category",
            estimate=None,
            low=None,
            high=None,
            method="Krippendorff's alpha, nominal",
            n=0,
            reason="the answers are free text without categories",
        )
    names = sorted({_first_category(answer) for answer in answers["answer"]})
    ratings = _rating_table(answers, lambda answer: names.index(_first_category(answer)))
    return _estimate("first-named category", krippendorff_alpha(ratings, "nominal"))


def _first_category(answer: dict[str, Any]) -> str:
    phenomena = answer["phenomena"]
    return phenomena[0]["category"] if phenomena else answer["recognisable"]


def naming_agreement(frame: pd.DataFrame) -> AgreementEstimate:
    """Return Krippendorff's alpha (nominal) of whether an answer names anything.

    It is the only agreement that also exists for free text.
    """
    ratings = _rating_table(frame, lambda answer: float(annotation_answers.is_substantive(answer)))
    return _estimate("names something", krippendorff_alpha(ratings, "nominal"))


def category_overlap(frame: pd.DataFrame, seed: int = 1) -> AgreementEstimate:
    """Return the mean Jaccard index of the experts' categories.

    The mean is over pairs of experts, then over units; the interval is a percentile bootstrap over
    units.

    Parameters
    ----------
    frame : DataFrame
        Annotations, see the module.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    AgreementEstimate
        Without an interval for fewer than five units, or if all have the same value.

    Examples
    --------
    >>> import pandas as pd
    >>> mass = {"recognisable": "yes", "phenomena": [{"category": "mass"}], "label": "Mass"}
    >>> nothing = {"recognisable": "nothing", "phenomena": [], "label": ""}
    >>> rows = [("A", 1, mass), ("B", 1, mass), ("A", 2, mass), ("B", 2, nothing)]
    >>> frame = pd.DataFrame(rows, columns=["code", "unit", "answer"])
    >>> category_overlap(frame.assign(repeat=False, practice=False)).estimate
    0.5
    """
    values = np.array(
        [
            np.mean([len(a & b) / len(a | b) for a, b in combinations(sets, 2)])
            for sets in _category_sets(frame)
        ]
    )
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    if not len(values):
        reason = "no unit was answered by two experts"
    elif len(values) < MIN_OVERLAP_UNITS:
        reason = "fewer than five units: no interval"
    else:
        generator = np.random.default_rng(seed)
        # Units, not experts, are the sample: the experts of a study are few and fixed.
        resamples = generator.integers(0, len(values), (OVERLAP_RESAMPLES, len(values)))
        low, high = map(float, np.quantile(values[resamples].mean(axis=1), [0.025, 0.975]))
        # An interval of width 0 would suggest certainty.
        if high - low < 1e-12:
            low, high = None, None
            reason = "all units have the same value: no interval"
    return AgreementEstimate(
        name="categories shared",
        estimate=float(values.mean()) if len(values) else None,
        low=low,
        high=high,
        method="mean Jaccard of categories, bootstrap over units",
        n=len(values),
        reason=reason,
    )


def repeat_consistency(frame: pd.DataFrame) -> list[AgreementEstimate]:
    """Return how often each expert names the same categories at a hidden repeat.

    Parameters
    ----------
    frame : DataFrame
        Annotations, see the module.

    Returns
    -------
    list of AgreementEstimate
        One per expert with a repeat, with a Clopper-Pearson interval.
    """
    estimates: list[AgreementEstimate] = []
    if not len(frame):
        return estimates
    for code, rows in frame[~frame["practice"]].groupby("code"):
        first = {r.unit: answer_categories(r.answer) for r in rows[~rows["repeat"]].itertuples()}
        is_same = [
            first[r.unit] == answer_categories(r.answer)
            for r in rows[rows["repeat"]].itertuples()
            if r.unit in first
        ]
        if is_same:
            # Exact, because an expert has few hidden repeats.
            interval = proportion_interval(sum(is_same), len(is_same), "clopper-pearson")
            estimates.append(
                AgreementEstimate(
                    name=str(code),
                    estimate=interval.estimate,
                    low=interval.low,
                    high=interval.high,
                    method="same categories at the hidden repeat, Clopper-Pearson",
                    n=len(is_same),
                )
            )
    return estimates


def count_experts(frame: pd.DataFrame) -> int:
    """Return the number of experts with an answer apart from practice and repeats."""
    return int(_first_answers(frame)["code"].nunique()) if len(frame) else 0


def _conflict(answers: Sequence[dict[str, Any]]) -> float:
    """Return the conflict of several answers, see `Disagreement`."""
    sets = [answer_categories(answer) for answer in answers]
    associations = {
        tuple(sorted(phenomenon["association"] or "" for phenomenon in answer["phenomena"]))
        for answer in answers
    }
    # Every answer has at least one category, so no union is empty.
    distance = np.mean([1 - len(a & b) / len(a | b) for a, b in combinations(sets, 2)])
    return float(distance) + (0.5 if len(associations) > 1 else 0.0)


def list_disagreements(frame: pd.DataFrame) -> list[Disagreement]:
    """Return the units with two answers or more, the largest conflict first, then by unit.

    Parameters
    ----------
    frame : DataFrame
        Annotations, see the module.

    Returns
    -------
    list of Disagreement
        Units whose categories and associations agree come last, with a conflict of 0; whether
        the labels agree in every descriptor says `core.store.labels.label_states.answer_key`.
    """
    disagreements = []
    for unit, rows in _first_answers(frame).groupby("unit"):
        if rows["code"].nunique() > 1:
            answers = tuple(
                (row.code, row.annotation_id, row.answer)
                for row in rows.sort_values("code").itertuples()
            )
            conflict = _conflict([answer for _, _, answer in answers])
            disagreements.append(Disagreement(int(unit), answers, conflict))
    return sorted(disagreements, key=lambda item: (-item.conflict, item.unit))
