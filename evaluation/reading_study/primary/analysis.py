"""The prespecified analysis of a reading study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from evaluation.group_sequential import nominal_levels
from evaluation.reading_study.design import Design
from evaluation.reading_study.primary.arm_endpoint import (
    compare_primary_arms,
    compare_with_first_answers,
)
from evaluation.reading_study.primary.auc_endpoint import estimate_auc
from evaluation.reading_study.primary.missing_answers import apply_missing_rule, missing_answers
from evaluation.reading_study.primary.proportion_endpoint import estimate_proportion
from evaluation.reading_study.primary.record import EndpointEstimate, PrimaryResult


def primary_analysis(
    joined: pd.DataFrame,
    key: pd.DataFrame,
    design: Design,
    missing_rule: str | None = None,
    look_number: int | None = None,
) -> PrimaryResult:
    """Compute the primary analysis of a design.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key, as `scoring.join_answers` returns them: code, case_number, arm,
        repeat (bool), patient_id, malignant, answer, called_malignant, correct; mammogram_id for a
        comparison of arms.
    key : DataFrame
        The sealed key; its cases without an answer are missing answers.
    design : Design
        Gives endpoint, goal, side, alpha, margin, multiplicity rule, rule for missing answers and
        looks.
    missing_rule : {"complete_case", "counted_wrong", "counted_correct"}, optional
        Replaces the design's rule, for a sensitivity analysis.
    look_number : int, optional
        Number of the look, from 1; default the final one. At an interim look the cases that were
        not read yet are no missing answers.

    Returns
    -------
    PrimaryResult

    Examples
    --------
    >>> from evaluation.reading_study.design import design_preset
    >>> key = pd.DataFrame({
    ...     "case_number": range(10), "patient_id": range(10), "arm": "explanation",
    ...     "truth": ["malignant", "benign"] * 5,
    ... })
    >>> joined = key.assign(code="R1", repeat=False, malignant=[True, False] * 5, answer=2,
    ...     called_malignant=True, correct=[True] * 8 + [False] * 2)
    >>> result = primary_analysis(joined, key, design_preset("DeepMiner 2021"))
    >>> result.estimate, round(result.p_value, 4), result.significant
    (0.8, 0.0547, False)
    """
    rule = missing_rule or design.missing_answers
    number = look_number or design.looks
    answers, missing = analysed_answers(joined, key, design, rule, number)
    primary = answers[answers["arm"] == design.arms[0]]
    alpha = final_alpha(design, number)
    shared: dict[str, Any] = {
        "correct": int(primary["correct"].sum()),
        "n": len(primary),
        "side": design.side,
        "alpha": design.alpha,
        "final_alpha": alpha,
        "filled": len(primary) - int(((joined["arm"] == design.arms[0]) & ~joined["repeat"]).sum()),
        "missing": len(missing),
        "missing_rule": rule,
        "look": number,
    }
    if design.primary in ("auc_difference", "advice_change"):
        return _arm_result(answers, design, alpha, shared)
    return _single_arm_result(primary, design, alpha, shared)


def analysed_answers(
    joined: pd.DataFrame,
    key: pd.DataFrame,
    design: Design,
    rule: str,
    look_number: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the answers that the primary analysis uses, and those that are missing.

    Parameters
    ----------
    joined, key, design, look_number
        As in `primary_analysis`.
    rule : {"complete_case", "counted_wrong", "counted_correct"}
        What becomes of missing answers.

    Returns
    -------
    answers : DataFrame
        Of all arms, without hidden repeats.
    missing : DataFrame
        As of `missing_answers`, of the analysed arms.
    """
    arms = (design.arms[0], *design.compared_arms)
    missing = missing_answers(joined, key, arms, design.positive)
    if (look_number or design.looks) < design.looks:
        # Not read yet is not missing.
        missing = missing.iloc[:0]
    given = joined[~joined["repeat"].astype(bool)]
    return apply_missing_rule(given, missing, design, rule), missing


def final_alpha(design: Design, look_number: int | None = None) -> float:
    """Return the significance level of a look; default the final one.

    Of a two-sided design each side spends half of alpha.
    """
    sides = 2 if design.side == "two-sided" and design.goal != "equivalence" else 1
    levels = nominal_levels(design.looks, design.alpha / sides, design.spending)
    return sides * levels[(look_number or design.looks) - 1]


def _single_arm_result(
    primary: pd.DataFrame, design: Design, alpha: float, shared: dict[str, Any]
) -> PrimaryResult:
    """Test the primary arm alone against chance."""
    is_one_sided = design.side == "greater"
    # A lower bound of one-sided level 1 - alpha is that of a two-sided level 1 - 2 alpha.
    level = 1 - 2 * alpha if is_one_sided else 1 - alpha
    estimate = _estimate(primary, design.primary, level)
    # The side is prespecified: choosing it after the result would halve P.
    p = estimate.p_one_sided if is_one_sided else estimate.p_two_sided
    has_interval = estimate.low is not None and estimate.high is not None
    return PrimaryResult(
        estimate=estimate.estimate,
        low=estimate.low,
        high=1.0 if has_interval and is_one_sided else estimate.high,
        p_value=p,
        p_one_sided=estimate.p_one_sided,
        p_two_sided=estimate.p_two_sided,
        method=estimate.method,
        significant=None if p is None else p <= alpha,
        endpoint="auc" if design.primary == "auc" else "proportion",
        level=1 - alpha,
        reason=estimate.reason if p is None or not has_interval else None,
        **shared,
    )


def _estimate(primary: pd.DataFrame, analysis: str, level: float) -> EndpointEstimate:
    patients = primary["patient_id"].to_numpy()
    if analysis == "auc":
        truth = primary["malignant"].to_numpy(dtype=bool)
        return estimate_auc(truth, primary["answer"].to_numpy(), patients, level)
    correct = primary["correct"].to_numpy(dtype=bool)
    return estimate_proportion(analysis, correct, patients, level)


def _arm_result(
    answers: pd.DataFrame, design: Design, alpha: float, shared: dict[str, Any]
) -> PrimaryResult:
    """Compare the first arm with the others; the estimate is that of the first comparison.

    The analysis advice_change compares its final with its first answers instead.
    """
    compare = (
        compare_with_first_answers if design.primary == "advice_change" else compare_primary_arms
    )
    hypotheses = compare(answers, design, alpha)
    first, margin = hypotheses[0], design.margin or 0.0
    readers = "random readers" if first.readers > 1 else "one reader"
    return PrimaryResult(
        estimate=first.estimate,
        low=first.low,
        high=first.high,
        p_value=first.adjusted_p_value,
        p_one_sided=first.p_value if design.side == "greater" else None,
        p_two_sided=first.p_value if design.side == "two-sided" else None,
        method=f"Obuchowski-Rockette analysis, {readers}, random cases",
        significant=first.significant,
        endpoint=design.primary,
        null=-margin if design.goal == "noninferiority" else margin,
        level=1 - 2 * alpha if design.goal == "equivalence" else 1 - alpha,
        comparisons=hypotheses,
        reason=first.reason,
        unit="reader and case",
        **shared,
    )
