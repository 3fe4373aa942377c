"""Proportion correct in each arm of a reading study, and comparisons between arms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from core.sessions.arms import ARM_TITLES
from evaluation.clustered import ClusteredProportion, clustered_proportion
from evaluation.intervals import Interval, decimal, interval_text, p_text
from evaluation.mrmc import ObuchowskiRockette, obuchowski_rockette
from evaluation.permutation import sign_flip
from evaluation.proportion import McNemar, adjust, mcnemar
from evaluation.reading_study.design import Design
from evaluation.resampling import clustered_mean, clustered_proportion_difference


@dataclass(frozen=True)
class ArmScore:
    """Proportion correct in one arm, with patients as clusters.

    Parameters
    ----------
    arm : str
        Arm of the design.
    cases : int
        Number of cases with an answer.
    clusters : ClusteredProportion
        Proportion correct over all answers of the arm.
    """

    arm: str
    cases: int
    clusters: ClusteredProportion

    def sentence(self) -> str:
        """Return the result as one sentence."""
        return f"Arm {ARM_TITLES[self.arm]}: {self.clusters.sentence()}"


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """Comparison of two arms.

    Parameters
    ----------
    first, second : str
        The arms.
    difference : Interval
        Difference in proportion correct, with a patient bootstrap. It uses the pairs where there
        are any, as the tests do, and all answers otherwise.
    pairs : int
        Pairs of answers of one reader on one image in both arms. The remaining fields use them.
    mcnemar : McNemar or None
        McNemar's test, which assumes that pairs are independent.
    sign_flip_p_two_sided : float or None
        P of the patient sign-flip test.
    adjusted_p_two_sided : float or None
        The same, adjusted over all comparisons of the study by Holm's method.
    mrmc : ObuchowskiRockette or None
        Obuchowski-Rockette analysis of the ratings; None without an image that every reader read in
        both arms.
    """

    first: str
    second: str
    difference: Interval
    pairs: int
    mcnemar: McNemar | None
    sign_flip_p_two_sided: float | None
    adjusted_p_two_sided: float | None
    mrmc: ObuchowskiRockette | None

    def sentence(self) -> str:
        """Return the result as one sentence."""
        gap = self.difference
        if gap.estimate is None:
            return gap.sentence()
        text = (
            f"Arm {ARM_TITLES[self.first]} against arm {ARM_TITLES[self.second]}: difference in"
            f" proportion correct {decimal(gap.estimate)}"
            f" ({interval_text(gap.low, gap.high, gap.level, gap.reason)}, patient bootstrap)"
        )
        if self.mcnemar is None:
            return f"{text}; no reader read the same image in both arms."
        return (
            f"{text} on {self.pairs} pairs of answers; sign-flip test of patients, two-sided,"
            f" {p_text(self.sign_flip_p_two_sided)}{self._adjustment()}."
        )

    def _adjustment(self) -> str:
        """Return the adjusted P as text where adjusting changed it."""
        p = self.adjusted_p_two_sided
        if p is None or p == self.sign_flip_p_two_sided:
            return ""
        return f" (adjusted by Holm's method, {p_text(p)})"


def arm_scores(joined: pd.DataFrame, design: Design) -> tuple[ArmScore, ...]:
    """Return the proportion correct in each arm of the design, without hidden repeats.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key: arm, case_number, patient_id, repeat (bool), correct (bool).
    design : Design
        Provides the arms and the level.

    Returns
    -------
    tuple of ArmScore
    """
    answers = joined[~joined["repeat"]]
    scores = []
    for arm in design.arms:
        rows = answers[answers["arm"] == arm]
        clusters = clustered_proportion(*_outcomes(rows), level=1 - design.alpha)
        scores.append(ArmScore(arm, rows["case_number"].nunique(), clusters))
    return tuple(scores)


def compare_arms(joined: pd.DataFrame, design: Design) -> tuple[ArmComparison, ...]:
    """Compare the first arm of the design with each other arm.

    Parameters
    ----------
    joined : DataFrame
        As for `arm_scores`, with code, answer, malignant and, for paired tests, mammogram_id.
    design : Design
        Provides the arms and the level.

    Returns
    -------
    tuple of ArmComparison
    """
    answers = joined[~joined["repeat"]]
    comparisons = [
        _compare(answers, design.arms[0], other, 1 - design.alpha) for other in design.arms[1:]
    ]
    adjusted = adjust([comparison.sign_flip_p_two_sided for comparison in comparisons], "holm")
    return tuple(
        # Missing P values are nan in the result of `adjust`.
        replace(comparison, adjusted_p_two_sided=None if np.isnan(p) else float(p))
        for comparison, p in zip(comparisons, adjusted)
    )


def _outcomes(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return correctness and patient of each answer."""
    return rows["correct"].to_numpy(dtype=bool), rows["patient_id"].to_numpy()


def _compare(answers: pd.DataFrame, first: str, second: str, level: float) -> ArmComparison:
    sides = [answers[answers["arm"] == arm] for arm in (first, second)]
    # A key without image ids, as in older exports, allows no pairing.
    pairs = (
        # Paired by image: a case number is specific to one arm.
        sides[0].merge(sides[1], on=["code", "mammogram_id"], suffixes=("", "_other"))
        if "mammogram_id" in answers.columns
        else pd.DataFrame()
    )
    if pairs.empty:
        return ArmComparison(
            first=first,
            second=second,
            difference=_difference(sides[0], sides[1], level),
            pairs=0,
            mcnemar=None,
            sign_flip_p_two_sided=None,
            adjusted_p_two_sided=None,
            mrmc=None,
        )
    # Only discordant pairs inform McNemar's and the sign-flip test.
    better = pairs["correct"] & ~pairs["correct_other"]
    worse = ~pairs["correct"] & pairs["correct_other"]
    # The sign-flip test needs independent units, so the pairs are summed by patient.
    by_patient = (better.astype(int) - worse.astype(int)).groupby(pairs["patient_id"]).sum()
    return ArmComparison(
        first=first,
        second=second,
        # The interval uses the same pairs as the tests, else the two could disagree.
        difference=clustered_mean(
            (better.astype(float) - worse.astype(float)).to_numpy(),
            pairs["patient_id"].to_numpy(),
            level,
        ),
        pairs=len(pairs),
        mcnemar=mcnemar(int(better.sum()), int(worse.sum())),
        sign_flip_p_two_sided=sign_flip(by_patient.to_numpy())[1],
        adjusted_p_two_sided=None,
        mrmc=_obuchowski_rockette(pairs, level),
    )


def _difference(first: pd.DataFrame, second: pd.DataFrame, level: float) -> Interval:
    if first.empty or second.empty:
        return Interval.without_bounds(
            level, "patient bootstrap", "an arm has no answers", unit="patient"
        )
    return clustered_proportion_difference(_outcomes(first), _outcomes(second), level)


def _obuchowski_rockette(pairs: pd.DataFrame, level: float) -> ObuchowskiRockette | None:
    """Analyze the images that every reader read in both arms; None without such images."""
    tables = [
        pairs.pivot_table(index="code", columns="mammogram_id", values=name)
        for name in ("answer", "answer_other")
    ]
    is_complete = tables[0].notna().all(axis=0) & tables[1].notna().all(axis=0)
    images = is_complete.index[is_complete]
    if not len(images):
        return None
    facts = pairs.drop_duplicates("mammogram_id").set_index("mammogram_id").loc[images]
    truth = facts["malignant"].to_numpy(dtype=bool)
    # [arms, readers, images]
    scores = np.stack([table[images].to_numpy(dtype=float) for table in tables])
    # The variance between readers needs two readers; one reader is a fixed factor.
    return obuchowski_rockette(
        scores,
        truth,
        "rrrc" if scores.shape[1] > 1 else "frrc",
        level=level,
        cluster=facts["patient_id"].to_numpy(),
    )
