"""Conduct of a reading study: times, corrections, missing answers and trend of accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from evaluation.intervals import Interval, decimal, interval_text, not_estimable

SESSION_GAP = pd.Timedelta(minutes=30)
MIN_TREND_ANSWERS = 10
_TREND_METHOD = "linear trend, clustered by patient"


@dataclass(frozen=True, kw_only=True)
class ReadingConduct:
    """Conduct of a reading study.

    Parameters
    ----------
    answers, repeats : int
        All answers, and those to hidden repeats.
    missing : int or None
        Assigned cases without an answer; None if the number of assigned cases is unknown.
    median_seconds, lower_seconds, upper_seconds : float or None
        Median and quartiles of the time per case, over answers with a time; in a study with advice
        of the whole case, see `advice.first_stages.total_seconds`.
    idle : int
        Answers during which the reader was inactive.
    corrections : int
        Answers that were corrected.
    sittings : int or None
        Reading sessions over all readers, separated by pauses of more than 30 minutes; None without
        times of day.
    trend : Interval
        Change in proportion correct from the first to the last position, see `accuracy_trend`.
    first_seconds, final_seconds : float or None
        Median time to the first answer, and from the second look to the final answer; None in a
        study without advice.
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
    first_seconds: float | None = None
    final_seconds: float | None = None

    def sentence(self) -> str:
        """Return the conduct as one sentence."""
        time = (
            "no times were recorded"
            if self.median_seconds is None
            else (
                f"median {self.median_seconds:.1f} s a case (quartiles {self.lower_seconds:.1f} and"
                f" {self.upper_seconds:.1f}){self._parts_of_time()}"
            )
        )
        slope = self.trend
        change = (
            not_estimable(slope.reason)
            if slope.estimate is None
            else (
                f"{decimal(slope.estimate)}"
                f" ({interval_text(slope.low, slope.high, slope.level, slope.reason)})"
            )
        )
        missing = "" if self.missing is None else f", {self.missing} missing"
        repeats = f" ({self.repeats} of them to hidden repeats)" if self.repeats else ""
        return (
            f"{self.answers} answers{repeats}{missing}, {self.corrections} corrected; {time};"
            f" change in proportion correct from the first to the last case {change}."
        )

    def _parts_of_time(self) -> str:
        """Return the medians of the parts of a case with advice; "" without advice."""
        if self.first_seconds is None or self.final_seconds is None:
            return ""
        return (
            f", {self.first_seconds:.1f} s to the first answer and {self.final_seconds:.1f} s from"
            " the second look to the final answer"
        )


def summarize_conduct(
    joined: pd.DataFrame, assigned: int | None = None, level: float = 0.95
) -> ReadingConduct:
    """Summarize the conduct of a reading study.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key: code, arm, patient_id, repeat (bool), correct (bool); optional:
        position, seconds, revision, idle, made, and with advice unaided_seconds and total_seconds.
        Hidden repeats count as answers but not in the trend.
    assigned : int, optional
        Number of expected answers.
    level : float
        Level of the interval of the trend.

    Returns
    -------
    ReadingConduct
    """
    has_advice = "total_seconds" in joined.columns
    seconds = _times(joined, "total_seconds" if has_advice else "seconds")
    median, lower, upper = (
        [float(value) for value in seconds.quantile([0.5, 0.25, 0.75])]
        if len(seconds)
        else [None] * 3
    )
    corrected = int((joined["revision"] > 1).sum()) if "revision" in joined.columns else 0
    idle = int(joined["idle"].fillna(False).astype(bool).sum()) if "idle" in joined.columns else 0
    return ReadingConduct(
        answers=len(joined),
        repeats=int(joined["repeat"].sum()),
        missing=None if assigned is None else assigned - len(joined),
        median_seconds=median,
        lower_seconds=lower,
        upper_seconds=upper,
        idle=idle,
        corrections=corrected,
        sittings=_count_sessions(joined),
        trend=accuracy_trend(joined[~joined["repeat"]], level),
        first_seconds=_median(_times(joined, "unaided_seconds")),
        final_seconds=_median(_times(joined, "seconds")) if has_advice else None,
    )


def _times(joined: pd.DataFrame, name: str) -> pd.Series:
    """Return the known times of a column; empty without the column."""
    if name not in joined.columns:
        return pd.Series(dtype=float)
    return pd.to_numeric(joined[name], errors="coerce").dropna()


def _median(times: pd.Series) -> float | None:
    return float(times.median()) if len(times) else None


def _count_sessions(joined: pd.DataFrame) -> int | None:
    """Count sessions: answers of one reader that follow each other within `SESSION_GAP`."""
    if "made" not in joined.columns or joined["made"].isna().any() or joined.empty:
        return None
    table = joined.assign(made=pd.to_datetime(joined["made"])).sort_values(["code", "made"])
    starts_after_pause = table.groupby("code")["made"].diff() > SESSION_GAP
    # The first answer of a reader has no predecessor, so one session per reader is added.
    return int(starts_after_pause.sum()) + int(table["code"].nunique())


def accuracy_trend(answers: pd.DataFrame, level: float = 0.95) -> Interval:
    """Estimate the change in proportion correct along the reading order.

    Least-squares slope of correctness on position, times the distance of the last from the first
    position, so that nothing is extrapolated beyond what was read. The mean of each reader in each
    arm is subtracted first, because arms differ in difficulty and are mixed in the order. The
    variance is robust to clustering by patient (sandwich estimator with the factor m / (m - 1)).

    Parameters
    ----------
    answers : DataFrame
        code, position, correct (bool), patient_id and, if there are several, arm.
    level : float
        Level of the interval.

    Returns
    -------
    Interval
        Bounds are cut at -1 and 1, the largest possible changes. Not estimable with fewer than 10
        answers or two patients, without variation within readers and arms, or where the line
        leaves these limits.

    Examples
    --------
    >>> import pandas as pd
    >>> answers = pd.DataFrame({
    ...     "code": "R1", "position": range(12), "patient_id": range(12),
    ...     "correct": [False, True] * 3 + [True] * 6,
    ... })
    >>> accuracy_trend(answers).estimate > 0
    True
    """
    too_few = Interval.without_bounds(
        level, _TREND_METHOD, "too few answers with a position", unit="patient"
    )
    if "position" not in answers.columns or len(answers) < MIN_TREND_ANSWERS:
        return too_few
    groups = ["code", *(["arm"] if "arm" in answers.columns else [])]
    values = answers.astype({"position": float, "correct": float})
    x, y = (
        values[name] - values.groupby(groups)[name].transform("mean")
        for name in ("position", "correct")
    )
    spread = float((x**2).sum())
    if spread == 0 or answers["patient_id"].nunique() < 2:
        return too_few
    if (answers.groupby(groups)["correct"].nunique() == 1).all():
        reason = _constant_reason(answers["correct"])
        return Interval.without_bounds(level, _TREND_METHOD, reason, unit="patient")
    slope = float((x * y).sum() / spread)
    span = float(values["position"].max() - values["position"].min())
    # Sum of the score contributions of each patient: the meat of the sandwich estimator.
    scores = (x * (y - slope * x)).groupby(answers["patient_id"].to_numpy()).sum()
    m = len(scores)
    error = float(np.sqrt(m / (m - 1) * (scores**2).sum()) / spread)
    # Rounding leaves a tiny value where the variance is 0.
    if error < 1e-12:
        return Interval.without_bounds(
            level, _TREND_METHOD, "the variance is 0", span * slope, unit="patient"
        )
    if abs(span * slope) > 1:
        return Interval.without_bounds(
            level, _TREND_METHOD, "the line leaves the range of a proportion", unit="patient"
        )
    # With few patients the normal quantile makes the interval too narrow.
    half_width = float(scipy.stats.t.isf((1 - level) / 2, m - 1)) * error
    return Interval(
        estimate=span * slope,
        low=max(-1.0, span * (slope - half_width)),
        high=min(1.0, span * (slope + half_width)),
        level=level,
        method=_TREND_METHOD,
        unit="patient",
    )


def _constant_reason(correct: pd.Series) -> str:
    """Return why there is no slope."""
    if correct.nunique() > 1:
        return "every reader's answers of an arm are all right or all wrong"
    return f"all answers are {'right' if correct.iloc[0] else 'wrong'}"
