"""Cases of a reading study with advice: the share of wrong advice, and the arms.

An image whose decision of the network is wrong is a case of wrong advice, in every arm: in the
control arm no reader sees the decision, and the same answers are compared.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.errors import UserError
from core.sessions.arms import shows_advice
from core.sessions.reading.advice_statements import probability_band
from core.sessions.reading.crossover import crossover_blocks
from evaluation.reading_study.design import Design


def wrong_decisions(table: pd.DataFrame, design: Design) -> pd.Series:
    """Return for each image whether the network's decision differs from the truth."""
    return table["predicted"] != table[design.truth_rule]


def sample_wrong_share(table: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return images in which the decision is wrong in the design's share, in each class alike.

    Parameters
    ----------
    table : DataFrame
        Eligible images in random order, with predicted and the truth by the design's rule.
    design : Design
        Provides the share, the rule, the classes and the cases of a class; None for as many as the
        images allow.

    Returns
    -------
    DataFrame
        Equally many images of each class; the first ones that fit.

    Raises
    ------
    UserError
        If the images do not allow the share.
    """
    share = design.wrong_advice
    assert share is not None
    is_wrong = wrong_decisions(table, design)
    classes = (design.positive, design.comparison)
    supply = {
        name: [
            int(((table[design.truth_rule] == name) & (is_wrong == wrong)).sum())
            for wrong in (True, False)
        ]
        for name in classes
    }

    def fits(per_class: int) -> bool:
        """Return whether there are images enough, with right and wrong decisions among them."""
        wrong = round(share * per_class)
        return 0 < wrong < per_class and all(
            wrong <= wrongs and per_class - wrong <= rights for wrongs, rights in supply.values()
        )

    largest = max(sum(counts) for counts in supply.values())
    feasible = [number for number in range(2, largest + 1) if fits(number)]
    per_class = design.cases_per_class or max(feasible, default=0)
    if per_class not in feasible:
        numbers = "; ".join(
            f"{name}: {wrong} wrong and {right} right decisions"
            for name, (wrong, right) in supply.items()
        )
        if not feasible:
            raise UserError(
                f"A share of {share:g} wrong advice cannot be sampled from these images, whatever"
                f" the number of cases ({numbers}). Change wrong_advice, or allow more images a"
                " patient."
            )
        raise UserError(
            f"A share of {share:g} wrong advice cannot be sampled with {per_class} cases per class"
            f" ({numbers}). The numbers that allow it lie between {min(feasible)} and"
            f" {max(feasible)}: change cases_per_class or wrong_advice, or allow more images a"
            " patient."
        )
    wrong = round(share * per_class)
    parts = [
        table[(table[design.truth_rule] == name) & (is_wrong == is_wrong_part)].head(count)
        for name in classes
        for is_wrong_part, count in ((True, wrong), (False, per_class - wrong))
    ]
    return table.loc[table.index.isin(pd.concat(parts).index)]


def assign_arms(
    chosen: pd.DataFrame, design: Design, generator: np.random.Generator
) -> dict[str, pd.DataFrame]:
    """Return the images of each arm, balanced by truth and by correctness of the decision.

    Without a crossover each image is in one arm: a case read with advice is never read again as a
    control. In a crossover each arm holds all images, and the column base_period separates the
    readings of one image.

    Raises
    ------
    UserError
        If there are fewer images than arms.
    """
    arms = design.arms
    if len(chosen) < 2 * len(arms):
        raise UserError(
            f"The design has {len(chosen)} cases for {len(arms)} arms; a study with advice needs at"
            " least two for each arm. Ask for more cases or fewer arms."
        )
    wrong = wrong_decisions(chosen, design)
    truth = pd.factorize(chosen[design.truth_rule], sort=True)[0]
    strata = chosen.groupby([~wrong.to_numpy(), truth], sort=True).indices
    group = np.zeros(len(chosen), int)
    by_decision, by_truth = (
        np.zeros((2, len(arms)), int),
        np.zeros((truth.max() + 1, len(arms)), int),
    )
    tie = generator.permutation(len(arms))
    for (is_right, of_class), rows in strata.items():
        in_stratum = np.zeros(len(arms), int)
        for row in generator.permutation(rows):
            # To the arm with the fewest of the stratum, then of the decision, then of the class.
            right, cases = by_decision[int(is_right)], by_truth[of_class]
            arm = np.lexsort((tie, by_decision.sum(axis=0), cases, right, in_stratum))[0]
            group[row] = arm
            for count in (in_stratum, right, cases):
                count[arm] += 1
    if design.washout_days is None:
        return {arm: chosen[group == number] for number, arm in enumerate(arms)}
    return {
        arm: chosen.assign(base_period=(group + number) % len(arms))
        for number, arm in enumerate(arms)
    }


def stated_advice(cases: pd.DataFrame, design: Design) -> list[str | None]:
    """Return what the advice of each case states; None in arms without advice.

    Parameters
    ----------
    cases : DataFrame
        Cases with arm, predicted and, for bands, advice_probability: of the positive class among
        the two that are compared.

    Returns
    -------
    list of str or None
        The predicted class, or the band of the probability, see `probability_band`.
    """
    if design.advice == "class":
        stated = list(cases["predicted"])
    else:
        stated = [
            probability_band(probability, predicted == design.positive)
            for probability, predicted in zip(cases["advice_probability"], cases["predicted"])
        ]
    return [text if shows_advice(arm) else None for arm, text in zip(cases["arm"], stated)]


def period_blocks(cases: pd.DataFrame, texts: list, design: Design) -> list[int]:
    """Return the block of each case of a crossover; cases: with arm, patient_id, base_period."""
    return crossover_blocks(
        cases["base_period"].tolist(),
        cases["arm"].tolist(),
        cases["patient_id"].tolist(),
        texts,
        design.seed,
    )
