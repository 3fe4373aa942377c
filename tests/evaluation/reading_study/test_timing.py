"""Conduct of a study with few answers, by hand: times, pauses, corrections, trend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy

from evaluation.intervals import Interval
from evaluation.reading_study.timing import ReadingConduct, accuracy_trend, summarize_conduct

START = pd.Timestamp("2026-03-01 08:00")
# Reader, minute, seconds, idle, revision, hidden repeat.
ROWS = (
    ("R1", 0, 10.0, False, 1, False),
    ("R1", 29, 20.0, True, 1, False),
    # 30 minutes later is the same session, 31 are another one.
    ("R1", 59, 40.0, False, 2, False),
    ("R1", 90, 80.0, False, 3, True),
    ("R2", 5, None, None, 1, False),
)


def joined(**changes: Any) -> pd.DataFrame:
    names = ["code", "minute", "seconds", "idle", "revision", "repeat"]
    table = pd.DataFrame(ROWS, columns=names)
    table["made"] = START + pd.to_timedelta(table.pop("minute"), unit="min")
    return table.assign(patient_id=range(5), correct=True, arm="explanation", **changes)


def test_counts_and_quartiles() -> None:
    conduct = summarize_conduct(joined(), assigned=12)
    assert (conduct.answers, conduct.repeats, conduct.missing) == (5, 1, 7)
    assert (conduct.idle, conduct.corrections, conduct.sittings) == (1, 2, 3)
    assert (conduct.lower_seconds, conduct.median_seconds, conduct.upper_seconds) == (17.5, 30, 50)
    without = summarize_conduct(joined().drop(columns=["seconds", "revision", "idle", "made"]))
    assert (without.missing, without.corrections, without.idle) == (None, 0, 0)
    assert without.sittings is without.median_seconds is without.upper_seconds is None
    unknown = summarize_conduct(joined().assign(made=[START, *[None] * 4]))
    assert unknown.sittings is None


def test_sentence_of_the_conduct() -> None:
    trend = Interval(estimate=-0.125, low=-0.25, high=0.0625, level=0.9, method="m", unit="patient")
    conduct = ReadingConduct(
        answers=40,
        repeats=3,
        missing=2,
        median_seconds=31.25,
        lower_seconds=20.5,
        upper_seconds=50.75,
        idle=1,
        corrections=4,
        sittings=6,
        trend=trend,
    )
    assert conduct.sentence() == (
        "40 answers (3 of them to hidden repeats), 2 missing, 4 corrected; median 31.2 s a case"
        " (quartiles 20.5 and 50.8); change in proportion correct from the first to the last case"
        " −.125 (90 % CI −.250 to .062)."
    )
    plain = summarize_conduct(joined().drop(columns="seconds").assign(repeat=False)).sentence()
    assert plain.startswith("5 answers, 2 corrected; no times were recorded; change")
    assert "missing" not in plain and "too few answers with a position" in plain


def trend_table(correct: list[int], **columns: Any) -> pd.DataFrame:
    n = len(correct)
    basic = {"code": "R1", "position": np.arange(1, n + 1), "patient_id": np.arange(n)}
    return pd.DataFrame({"correct": np.array(correct, bool)} | basic | columns)


def test_trend_needs_ten_answers_with_a_position() -> None:
    correct = [0, 1, 0, 0, 1, 1, 0, 1, 1, 1]
    table = trend_table(correct)
    slope, _, _, _, _ = scipy.stats.linregress(table["position"], table["correct"].astype(float))
    trend = accuracy_trend(table)
    assert trend.estimate == pytest.approx(9 * slope) and trend.level == 0.95
    for few in (table[:9], table.drop(columns="position"), table.assign(patient_id=1)):
        found = accuracy_trend(few)
        assert found.estimate is None and found.reason == "too few answers with a position"


def test_bounds_of_the_trend_are_possible_changes() -> None:
    """With two patients the interval is wide: a change lies between -1 and 1."""
    patients = [0, 1] * 5
    falling = accuracy_trend(trend_table([1, 1, 1, 0, 1, 0, 1, 0, 0, 1], patient_id=patients))
    rising = accuracy_trend(trend_table([0, 0, 0, 1, 0, 1, 0, 1, 1, 0], patient_id=patients))
    assert falling.estimate == pytest.approx(-rising.estimate) and falling.estimate < 0
    assert (falling.low, falling.high) == (-1, 1) == (rising.low, rising.high)


@pytest.mark.parametrize(
    ("correct", "code", "reason"),
    [
        ([1] * 10, "R1", "all answers are right"),
        ([0] * 10, "R1", "all answers are wrong"),
        ([1] * 5 + [0] * 5, ["R1"] * 5 + ["R2"] * 5, "every reader's answers of an arm are all"),
        ([0] * 5 + [1] * 5, "R1", "the line leaves the range"),
    ],
)
def test_trend_that_cannot_be_estimated(correct: list[int], code: Any, reason: str) -> None:
    trend = accuracy_trend(trend_table(correct, code=code))
    assert trend.low is trend.high is None and trend.reason.startswith(reason)


def test_trend_without_variance_has_no_interval() -> None:
    """The two patients mirror each other in the order and in their answers: 0 1 0 0 1 0 | 1 ..."""
    table = trend_table([0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1], patient_id=[0] * 6 + [1] * 6)
    slope = np.polyfit(table["position"], table["correct"].astype(float), 1)[0]
    trend = accuracy_trend(table, 0.9)
    assert trend.estimate == pytest.approx(11 * slope) and trend.estimate > 0
    assert (trend.low, trend.high, trend.reason) == (None, None, "the variance is 0")
    assert (trend.level, trend.unit) == (0.9, "patient")
    assert trend.method == "linear trend, clustered by patient"


def test_defaults_and_parts_of_the_time() -> None:
    conduct = summarize_conduct(joined())
    assert (conduct.trend.level, conduct.missing) == (0.95, None)
    assert conduct.first_seconds is None and conduct.final_seconds is None
    assert summarize_conduct(joined(), level=0.8).trend.level == 0.8
    parts = {"unaided_seconds": [1.0, 2.0, None, 6.0, 3.0], "total_seconds": [5.0, 9, 8, 7, None]}
    advised = summarize_conduct(joined(**parts))
    assert (advised.first_seconds, advised.final_seconds, advised.median_seconds) == (2.5, 30, 7.5)
    assert "median 7.5 s a case (quartiles 6.5 and 8.2), 2.5 s to the first answer and 30.0 s" in (
        advised.sentence()
    )
