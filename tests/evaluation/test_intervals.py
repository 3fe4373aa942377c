"""Printing of numbers, P values and intervals."""

from __future__ import annotations

from evaluation.intervals import Interval, decimal, interval_text, join_reasons, p_text, percent


def test_numbers():
    assert [decimal(v) for v in (0.8619, -0.04, 1.2152, 0.0, -0.0001, 10.05, 0.9999, None)] == [
        ".862",
        "−.040",
        "1.215",
        ".000",
        ".000",
        "10.050",
        "1.000",
        "–",
    ]
    assert [p_text(v) for v in (0.0346, 0.0004, 0.9999, None)] == [
        "P = .035",
        "P < .001",
        "P > .999",
        "P not estimable",
    ]
    assert (percent(0.5516), percent(0.25, 0), percent(None)) == ("55.2 %", "25 %", "–")


def test_intervals_and_reasons():
    assert interval_text(0.4961, 0.606, 0.95) == "95 % CI .496 to .606"
    assert interval_text(None, None, 0.9, "one patient") == "90 % CI not estimable: one patient"
    assert join_reasons(None, "a", "a", "b") == "a; b" and join_reasons(None) is None
    assert (
        "Wilson"
        in Interval(estimate=0.5, low=0.4, high=0.6, level=0.95, method="wilson").sentence()
    )
    assert (
        Interval(
            estimate=None, low=None, high=None, level=0.95, method="wilson", reason="no answers"
        ).sentence()
        == "not estimable: no answers"
    )
