"""Reliance on the advice of a network: what readers change after it, and for better or worse.

Every case has a first answer on the image alone and a final answer after the advice, or after a
second look without advice. A case counts as malignant from the design's threshold on.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from core.sessions.arms import ARM_TITLES, CONTROL_ARMS, is_sham_of, shows_advice
from evaluation.intervals import (
    Interval,
    decimal,
    interval_text,
    not_estimable,
)
from evaluation.mrmc import (
    Answers,
    ObuchowskiRockette,
    crossed_difference,
    crossed_mean,
    crossed_proportion,
    obuchowski_rockette,
)
from evaluation.reading_study.design import Design
from evaluation.reading_study.primary import change_ratings


def brief_text(interval: Interval) -> str:
    """Return an estimate with its bounds, or why there is none, without the method."""
    if interval.estimate is None:
        return not_estimable(interval.reason)
    bounds = interval_text(interval.low, interval.high, interval.level, interval.reason)
    return f"{decimal(interval.estimate)} ({bounds})"


@dataclass(frozen=True, kw_only=True)
class ArmReliance:
    """What readers did with the advice in one arm.

    Parameters
    ----------
    arm : str
        Arm of the design.
    answers, cases : int
        Cases with both answers over all readers, and distinct cases.
    wrong_advice : int
        Answers to cases in which the network's decision is wrong.
    first_correct, final_correct : Interval
        Proportion correct of first and of final answers.
    change : Interval
        Mean change in correctness, final minus first answer.
    to_right, to_wrong : int
        Answers that changed from wrong to right, and from right to wrong.
    reliance_on_network : Interval
        Relative reliance on the network (RAIR): final answers that are right, of those whose first
        answer was wrong and whose network decision is right.
    reliance_on_self : Interval
        Relative reliance on oneself (RSR): final answers that are right, of those whose first
        answer was right and whose network decision is wrong. Over-reliance is 1 - RSR.
    auc : ObuchowskiRockette or None
        Mean AUC over readers of final and of first answers, and their difference; None without a
        case that every reader answered.
    first_seconds, final_seconds, total_seconds : float or None
        Median time to the first answer, from the second look to the final answer, and of the whole
        case, in seconds; see `first_stages.total_seconds`.
    predicted_network : Interval or None
        Proportion of right predictions of the network's decision; None where none was asked for.

    Notes
    -----
    In the control arm no_advice no reader sees the decision: its reliance is what readers change on
    a second look. The design fixes the number of cases of each class and, where it fixes the share
    of wrong advice, of right and of wrong decisions in each class: these are the strata of the
    intervals (`evaluation.mrmc.crossed_answers.crossed_variance`).

    References
    ----------
    Schemmer M, Kuehl N, Benz C, Bartos A, Satzger G. Appropriate reliance on AI advice:
    conceptualization and the effect of explanations. IUI 2023:410-422; arXiv 2302.02187.
    """

    arm: str
    answers: int
    cases: int
    wrong_advice: int
    first_correct: Interval
    final_correct: Interval
    change: Interval
    to_right: int
    to_wrong: int
    reliance_on_network: Interval
    reliance_on_self: Interval
    auc: ObuchowskiRockette | None
    first_seconds: float | None
    final_seconds: float | None
    total_seconds: float | None
    predicted_network: Interval | None

    @property
    def times(self) -> str:
        """Median times as text; "no times" where a part of them is unknown."""
        parts = (self.total_seconds, self.first_seconds, self.final_seconds)
        if any(seconds is None for seconds in parts):
            return "no times"
        total, first, final = parts
        return (
            f"{total:.1f} s a case, {first:.1f} s to the first answer, {final:.1f} s from the"
            " second look to the final answer"
        )

    @property
    def is_control(self) -> bool:
        """Whether the arm is a control or a sham arm."""
        return self.arm in CONTROL_ARMS

    def sentence(self) -> str:
        """Return the switches and both kinds of reliance as one sentence."""
        return (
            f"Arm {ARM_TITLES[self.arm]}: of {self.answers} answers {self.to_right} changed to"
            f" right and {self.to_wrong} to wrong; mean change in correctness"
            f" {brief_text(self.change)}; relative reliance on the network"
            f" {brief_text(self.reliance_on_network)}, on oneself"
            f" {brief_text(self.reliance_on_self)}."
        )


@dataclass(frozen=True, kw_only=True)
class RelianceComparison:
    """One arm with advice against a control or a sham arm.

    Parameters
    ----------
    arm, control : str
        The arms.
    change : Interval
        Difference in the mean change in correctness.
    over_reliance : Interval
        Difference in over-reliance: final answers that are wrong, of those whose first answer was
        right and whose network decision is wrong.
    """

    arm: str
    control: str
    change: Interval
    over_reliance: Interval

    @property
    def kind(self) -> str:
        """What the comparison is: with the sham of the arm, with no advice, or neither."""
        if is_sham_of(self.control, self.arm):
            return "sham comparison"
        return "no sham: the arms show other content" if shows_advice(self.control) else "control"

    def sentence(self) -> str:
        """Return both differences as one sentence."""
        return (
            f"Arm {ARM_TITLES[self.arm]} minus arm {ARM_TITLES[self.control]} ({self.kind}): change"
            f" in correctness {brief_text(self.change)}; over-reliance"
            f" {brief_text(self.over_reliance)}."
        )


@dataclass(frozen=True)
class AdviceScore:
    """Reliance in each arm, and each arm with advice against each control."""

    arms: tuple[ArmReliance, ...]
    comparisons: tuple[RelianceComparison, ...]


def score_advice(joined: pd.DataFrame, design: Design) -> AdviceScore:
    """Return the analysis of reliance of a scored study with advice.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key, as `joined_answers.join_answers` returns them, with unaided (the
        first answer), predicted, and where they exist seconds, unaided_seconds and
        network_prediction (1 the comparison class, 2 the positive class).
    design : Design
        Gives arms, classes, threshold and level.

    Returns
    -------
    AdviceScore
        Answers without a first answer are left out.

    Examples
    --------
    >>> from evaluation.reading_study.design import design_preset
    >>> design = design_preset("Reading with advice", arms=("advice", "no_advice"))
    >>> cases = pd.DataFrame({
    ...     "code": ["R1", "R2"] * 4, "case_number": [1, 1, 2, 2, 3, 3, 4, 4],
    ...     "patient_id": [1, 1, 2, 2, 3, 3, 4, 4], "arm": ["advice"] * 4 + ["no_advice"] * 4,
    ...     "malignant": True, "predicted": ["malignant", "malignant", "benign", "benign"] * 2,
    ...     "unaided": [2, 2, 5, 5, 2, 2, 5, 5], "answer": [5, 2, 2, 5, 2, 2, 5, 5],
    ...     "called_malignant": [True, False, False, True, False, False, True, True],
    ...     "correct": [True, False, False, True, False, False, True, True],
    ... })
    >>> result = score_advice(cases.assign(repeat=False), design)
    >>> first = result.arms[0]
    >>> first.to_right, first.to_wrong, first.reliance_on_network.estimate
    (1, 1, 0.5)
    """
    table = reliance_table(joined, design)
    level = 1 - design.alpha
    by_arm = {arm: table[table["arm"] == arm] for arm in design.arms}
    arms = tuple(_arm_reliance(arm, rows, level) for arm, rows in by_arm.items())
    comparisons = tuple(
        compare_reliance(arm, control, by_arm, level)
        for arm in design.arms
        if arm not in CONTROL_ARMS
        for control in design.arms
        if control in CONTROL_ARMS
    )
    return AdviceScore(arms, comparisons)


def reliance_table(joined: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the answers that have a first answer, with what the analysis of reliance needs.

    Parameters
    ----------
    joined, design
        As in `score_advice`.

    Returns
    -------
    DataFrame
        The columns of `joined` and, as bool, first_correct and network_right; change, final minus
        first correctness; stratum, the stratum of the case that the design fixes: its class and,
        with a fixed share of wrong advice, whether the network's decision is right.
    """
    rows = joined[joined["unaided"].notna() & ~joined["repeat"].astype(bool)]
    called_first = rows["unaided"] >= design.threshold
    first_correct = called_first == rows["malignant"]
    network_right = (rows["predicted"] == design.positive) == rows["malignant"]
    return rows.assign(
        first_correct=first_correct,
        network_right=network_right,
        change=rows["correct"].astype(int) - first_correct.astype(int),
        # One number for each pair of bools.
        stratum=2 * rows["malignant"].astype(int)
        + (network_right.astype(int) if design.wrong_advice is not None else 0),
    )


def _answers(rows: pd.DataFrame, name: str, counted: pd.Series | None = None) -> Answers:
    """Return one column of answers with readers, patients and strata; counted: default all."""
    return Answers(
        rows[name].to_numpy(dtype=float),
        rows["code"].to_numpy(dtype=object),
        rows["patient_id"].to_numpy(dtype=object),
        rows["stratum"].to_numpy(),
        None if counted is None else counted.to_numpy(dtype=bool),
    )


def _needs_network(rows: pd.DataFrame) -> pd.Series:
    """Return whether the first answer was wrong and the network's decision is right."""
    return ~rows["first_correct"] & rows["network_right"]


def _needs_self(rows: pd.DataFrame) -> pd.Series:
    """Return whether the first answer was right and the network's decision is wrong."""
    return rows["first_correct"] & ~rows["network_right"]


def reliance_intervals(rows: pd.DataFrame, level: float) -> dict[str, Interval]:
    """Return the intervals of one arm by field of `ArmReliance`; rows: of `reliance_table`."""
    return {
        "first_correct": crossed_proportion(_answers(rows, "first_correct"), level),
        "final_correct": crossed_proportion(_answers(rows, "correct"), level),
        "change": crossed_mean(_answers(rows, "change"), level),
        "reliance_on_network": crossed_proportion(
            _answers(rows, "correct", _needs_network(rows)), level
        ),
        "reliance_on_self": crossed_proportion(_answers(rows, "correct", _needs_self(rows)), level),
    }


def _arm_reliance(arm: str, rows: pd.DataFrame, level: float) -> ArmReliance:
    return ArmReliance(
        arm=arm,
        answers=len(rows),
        cases=int(rows["case_number"].nunique()),
        wrong_advice=int((~rows["network_right"]).sum()),
        **reliance_intervals(rows, level),
        to_right=int((rows["change"] > 0).sum()),
        to_wrong=int((rows["change"] < 0).sum()),
        auc=_auc_change(rows, level),
        first_seconds=_median(rows, "unaided_seconds"),
        final_seconds=_median(rows, "seconds"),
        total_seconds=_median(rows, "total_seconds"),
        predicted_network=_prediction(rows, level),
    )


def _auc_change(rows: pd.DataFrame, level: float) -> ObuchowskiRockette | None:
    """Compare final with first answers on the cases that every reader answered."""
    ratings = change_ratings(rows)
    if ratings is None:
        return None
    return obuchowski_rockette(
        ratings.scores,
        ratings.truth,
        "rrrc" if ratings.scores.shape[1] > 1 else "frrc",
        level=level,
        cluster=ratings.patients,
    )


def _median(rows: pd.DataFrame, name: str) -> float | None:
    if name not in rows.columns or rows[name].isna().all():
        return None
    return float(rows[name].median())


def _prediction(rows: pd.DataFrame, level: float) -> Interval | None:
    """Return the proportion of right predictions of the network's decision."""
    if "network_prediction" not in rows.columns:
        return None
    asked = rows["network_prediction"].notna()
    if not asked.any():
        return None
    # The network is right where its decision is the truth.
    decided_positive = rows["network_right"] == rows["malignant"]
    right = (rows["network_prediction"] == 2) == decided_positive
    return crossed_proportion(_answers(rows.assign(right=right), "right", asked), level)


def compare_reliance(
    arm: str, control: str, by_arm: dict[str, pd.DataFrame], level: float
) -> RelianceComparison:
    """Compare an arm with a control; by_arm: rows of `reliance_table` by arm."""
    sides = [
        rows.assign(misled=~rows["correct"].astype(bool)) for rows in (by_arm[arm], by_arm[control])
    ]
    changes = [_answers(rows, "change") for rows in sides]
    misled = [_answers(rows, "misled", _needs_self(rows)) for rows in sides]
    return RelianceComparison(
        arm=arm,
        control=control,
        change=crossed_difference(changes[0], changes[1], level),
        over_reliance=crossed_difference(misled[0], misled[1], level),
    )
