"""Means over answers of several readers on several patients: what is stated without an interval."""

from __future__ import annotations

import numpy as np

from evaluation.mrmc.crossed_answers import Answers, crossed_mean


def answers(values: list[float], readers: str, patients: list[int]) -> Answers:
    return Answers(np.array(values), np.array(list(readers)), np.array(patients))


def test_reason_for_a_mean_without_bounds() -> None:
    same = crossed_mean(answers([1, 1, 1, 1], "aabb", [0, 1, 0, 1]))
    assert (same.estimate, same.low, same.high) == (1.0, None, None)
    assert same.reason == "the variance is 0" and same.unit == "reader and patient"
    single = crossed_mean(answers([1, 0], "ab", [0, 0]))
    assert (single.estimate, single.low, single.high) == (0.5, None, None)
    assert single.reason == "fewer than two patients"
    none = crossed_mean(answers([], "", []))
    assert none.reason == "there is no such answer" and none.estimate is None
