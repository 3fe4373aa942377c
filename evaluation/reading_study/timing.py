"""How a reading study was read: time per case, corrections, missing answers, and whether accuracy
drifts along the order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from evaluation.intervals import Interval, decimal, interval_text


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """`trend`: change of the share right per 100 places in the order, the means of each reader in
    each arm taken out, patients as clusters. Seconds: median and quartiles over answers with a
    time. `repeats` of the answers were to cases shown a second time. `missing` answers, where it is
    known how many were assigned.
    """

    answers: int
    repeats: int
    missing: int | None
    median_seconds: float | None
    lower_seconds: float | None
    upper_seconds: float | None
    idle: int
    corrections: int
    sittings: int | None
    trend: Interval

    def sentence(self) -> str:
        """For a results section."""
        time = (
            "no times were recorded"
            if self.median_seconds is None
            else (
                f"median {self.median_seconds:.1f} s a case (quartiles {self.lower_seconds:.1f} and"
                f" {self.upper_seconds:.1f})"
            )
        )
        slope = self.trend
        drift = (
            slope.sentence()
            if slope.estimate is None
            else (
                f"change of the share right per 100 cases {decimal(slope.estimate)}"
                f" ({interval_text(slope.low, slope.high, slope.level, slope.reason)})"
            )
        )
        lost = "" if self.missing is None else f", {self.missing} missing"
        again = f" ({self.repeats} of them to hidden repeats)" if self.repeats else ""
        return (
            f"{self.answers} answers{again}{lost}, {self.corrections} corrected; {time}; {drift}."
        )


def conduct(joined: pd.DataFrame, assigned: int | None = None, level: float = 0.95) -> Conduct:
    """From the answers joined with their key; hidden repeats count as answers but not in the trend."""
    seconds = (
        pd.to_numeric(joined["seconds"], errors="coerce").dropna()
        if "seconds" in joined.columns
        else pd.Series(dtype=float)
    )
    quartiles = (
        [float(value) for value in seconds.quantile([0.5, 0.25, 0.75])]
        if len(seconds)
        else [None] * 3
    )
    corrected = int((joined["revision"] > 1).sum()) if "revision" in joined.columns else 0
    idle = int(joined["idle"].fillna(False).astype(bool).sum()) if "idle" in joined.columns else 0
    return Conduct(
        answers=len(joined),
        repeats=int(joined["repeat"].sum()),
        missing=None if assigned is None else assigned - len(joined),
        median_seconds=quartiles[0],
        lower_seconds=quartiles[1],
        upper_seconds=quartiles[2],
        idle=idle,
        corrections=corrected,
        sittings=_sittings(joined),
        trend=trend(joined[~joined["repeat"]], level),
    )


def _sittings(joined: pd.DataFrame) -> int | None:
    """Sittings: answers of one reader that follow one another within 30 minutes."""
    if "made" not in joined.columns or joined["made"].isna().any() or joined.empty:
        return None
    made = joined.assign(made=pd.to_datetime(joined["made"])).sort_values(["code", "made"])
    pause = made.groupby("code")["made"].diff() > pd.Timedelta(minutes=30)
    return int(pause.sum()) + int(made["code"].nunique())


def trend(read: pd.DataFrame, level: float = 0.95) -> Interval:
    """Least-squares slope of right answers on the position, per 100 places, with the mean of each
    reader in each arm taken out (arms differ in difficulty and lie mixed in the order) and a
    variance that is robust to clustering by patient. Not estimable where the answers do not vary
    within these.
    """
    method, nothing = "linear trend, clustered by patient", "too few answers with a position"
    if "position" not in read.columns or len(read) < 10:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason=nothing,
            unit="patient",
        )
    groups = [name for name in ("code", "arm") if name in read.columns]
    x, y = (
        read[name].astype(float)
        - read.groupby(groups)[name].transform(lambda part: part.astype(float).mean())
        for name in ("position", "right")
    )
    spread = float((x**2).sum())
    if spread == 0 or read["patient_id"].nunique() < 2:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason=nothing,
            unit="patient",
        )
    if (read.groupby(groups)["right"].nunique() == 1).all():
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason=_alike(read["right"]),
            unit="patient",
        )
    slope = float((x * y).sum() / spread)
    scores = (x * (y - slope * x)).groupby(read["patient_id"].to_numpy()).sum()
    m = len(scores)
    error = float(np.sqrt(m / (m - 1) * (scores**2).sum()) / spread)
    if error < 1e-12:
        return Interval(
            estimate=100 * slope,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="the variance is 0",
            unit="patient",
        )
    half = float(stats.t.isf((1 - level) / 2, m - 1)) * error
    return Interval(
        estimate=100 * slope,
        low=100 * (slope - half),
        high=100 * (slope + half),
        level=level,
        method=method,
        reason=None,
        unit="patient",
    )


def _alike(right: pd.Series) -> str:
    """Why there is no slope."""
    return (
        "every reader's answers of an arm are all right or all wrong"
        if right.nunique() > 1
        else f"all answers are {'right' if right.iloc[0] else 'wrong'}"
    )
