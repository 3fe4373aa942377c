"""The arms of a reading study beside each other, and against each other: paired where a reader read
the same image in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.clustered import ClusteredProportion, clustered_proportion, sign_flip
from evaluation.intervals import Interval, decimal, interval_text, p_text, words
from evaluation.mrmc import ObuchowskiRockette, obuchowski_rockette
from evaluation.proportion import McNemar, mcnemar
from evaluation.reading_study.design import Design
from evaluation.resampling import draw_clusters
from evaluation.validation import cluster_codes

RESAMPLES = 2_000


@dataclass(frozen=True)
class ArmScore:
    """One arm: right answers with patients as clusters."""

    arm: str
    cases: int
    clusters: ClusteredProportion

    def sentence(self) -> str:
        """For a results section."""
        return f"Arm {words(self.arm)}: {self.clusters.sentence()}"


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """Two arms.

    `difference` of the shares right with a patient-bootstrap interval over all answers; on answers
    paired by reader and image McNemar's test (which takes pairs as independent), the patient
    sign-flip P (two-sided), and Obuchowski-Rockette on the ratings.
    """

    first: str
    second: str
    difference: Interval
    pairs: int
    mcnemar: McNemar | None
    sign_flip_p_two_sided: float | None
    mrmc: ObuchowskiRockette | None

    def sentence(self) -> str:
        """For a results section."""
        gap = self.difference
        if gap.estimate is None:
            return gap.sentence()
        text = (
            f"Arm {words(self.first)} against arm {words(self.second)}: difference of the shares"
            f" right {decimal(gap.estimate)}"
            f" ({interval_text(gap.low, gap.high, gap.level, gap.reason)}, patient bootstrap)"
        )
        if self.mcnemar is None:
            return f"{text}; no reader read the same image in both arms."
        return (
            f"{text}; on {self.pairs} pairs patient sign-flip, two-sided,"
            f" {p_text(self.sign_flip_p_two_sided)}, McNemar exact"
            f" {p_text(self.mcnemar.exact_p_value)} (assumes independent pairs)."
        )


def arm_scores(joined: pd.DataFrame, design: Design) -> tuple[ArmScore, ...]:
    """Each arm of the design, hidden repeats left out."""
    read = joined[~joined["repeat"]]
    parts = ((arm, read[read["arm"] == arm]) for arm in design.arms)
    return tuple(
        ArmScore(
            arm,
            rows["case_number"].nunique(),
            clustered_proportion(
                rows["right"].to_numpy(dtype=bool),
                rows["patient_id"].to_numpy(),
                level=1 - design.alpha,
            ),
        )
        for arm, rows in parts
    )


def compare_arms(joined: pd.DataFrame, design: Design) -> tuple[ArmComparison, ...]:
    """The first arm against each other arm."""
    read = joined[~joined["repeat"]]
    first = read[read["arm"] == design.arms[0]]
    return tuple(
        _compare(first, read[read["arm"] == arm], design.arms[0], arm, 1 - design.alpha)
        for arm in design.arms[1:]
    )


def _compare(
    first: pd.DataFrame, second: pd.DataFrame, name: str, other: str, level: float
) -> ArmComparison:
    gap = _difference(first, second, level)
    keys = ["code", "mammogram_id"]
    if "mammogram_id" not in first.columns:
        return ArmComparison(
            first=name,
            second=other,
            difference=gap,
            pairs=0,
            mcnemar=None,
            sign_flip_p_two_sided=None,
            mrmc=None,
        )
    pairs = first.merge(second, on=keys, suffixes=("", "_other"))
    if pairs.empty:
        return ArmComparison(
            first=name,
            second=other,
            difference=gap,
            pairs=0,
            mcnemar=None,
            sign_flip_p_two_sided=None,
            mrmc=None,
        )
    better, worse = pairs["right"] & ~pairs["right_other"], ~pairs["right"] & pairs["right_other"]
    by_patient = (better.astype(int) - worse.astype(int)).groupby(pairs["patient_id"]).sum()
    return ArmComparison(
        first=name,
        second=other,
        difference=gap,
        pairs=len(pairs),
        mcnemar=mcnemar(int(better.sum()), int(worse.sum())),
        sign_flip_p_two_sided=sign_flip(by_patient.to_numpy())[1],
        mrmc=_crossed(pairs, level),
    )


def _difference(first: pd.DataFrame, second: pd.DataFrame, level: float) -> Interval:
    sides = [
        (rows["right"].to_numpy(dtype=bool), rows["patient_id"].to_numpy())
        for rows in (first, second)
    ]
    if first.empty or second.empty:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method="patient bootstrap",
            reason="an arm has no answers",
            unit="patient",
        )
    return difference_of_shares(sides[0], sides[1], level)


def difference_of_shares(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], level: float
) -> Interval:
    """Share of True in the first minus that in the second, with a percentile interval over patients
    drawn with replacement (seed 1), who may be in both.

    Each side is (bool [n], patient [n]).
    """
    method = "patient bootstrap"
    if not len(first[0]) or not len(second[0]):
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="one side has no answers",
            unit="patient",
        )
    patients = np.concatenate([first[1], second[1]])
    codes, clusters = cluster_codes(patients, len(patients))
    drawn = draw_clusters(clusters, RESAMPLES, 1)
    shares = []
    for right, part in ((first[0], codes[: len(first[0])]), (second[0], codes[len(first[0]) :])):
        sizes, hits = (
            np.bincount(part, weights, clusters)
            for weights in (np.ones(len(right)), right.astype(float))
        )
        with np.errstate(invalid="ignore"):
            shares.append((drawn @ hits) / (drawn @ sizes))
    gaps = shares[0] - shares[1]
    estimate = float(first[0].mean() - second[0].mean())
    kept = gaps[~np.isnan(gaps)]
    if clusters < 2 or len(kept) < RESAMPLES / 2:
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="too few patients to resample",
            unit="patient",
        )
    if kept.min() == kept.max():
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="every resample gives the same difference: no variance to judge it by",
            unit="patient",
        )
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        estimate=estimate,
        low=float(low),
        high=float(high),
        level=level,
        method=method,
        reason=None,
        unit="patient",
    )


def _crossed(pairs: pd.DataFrame, level: float) -> ObuchowskiRockette | None:
    """Obuchowski-Rockette on the images that every reader read in both arms; None where there are
    none or a reader's pairs repeat.
    """
    tables = [
        pairs.pivot_table(index="code", columns="mammogram_id", values=name)
        for name in ("answer", "answer_other")
    ]
    whole = tables[0].notna().all(axis=0) & tables[1].notna().all(axis=0)
    images = whole.index[whole]
    if not len(images):
        return None
    truth = (
        pairs.drop_duplicates("mammogram_id")
        .set_index("mammogram_id")["malignant"]
        .loc[images]
        .to_numpy(dtype=bool)
    )
    scores = np.stack([table[images].to_numpy(dtype=float) for table in tables])
    return obuchowski_rockette(
        scores, truth, "rrrc" if scores.shape[1] > 1 else "frrc", level=level
    )
