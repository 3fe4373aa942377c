"""The verdict on a two-sided test of one arm: better, worse, and no right answer at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from evaluation.reading_study import Design
from evaluation.reading_study.narrative.verdict import verdict


@pytest.mark.parametrize(
    ("estimate", "low", "side", "expected"),
    [
        (0.0, 0.0, "two-sided", "worse than chance."),
        (0.3, 0.2, "two-sided", "worse than chance."),
        (0.7, 0.6, "two-sided", "better than chance."),
        (0.7, 0.5, "two-sided", "better than chance, although the interval includes chance."),
        (0.7, 0.4, "greater", "better than chance, although the interval includes chance."),
    ],
)
def test_side_of_a_significant_result(
    estimate: float, low: float, side: str, expected: str
) -> None:
    primary = SimpleNamespace(
        endpoint="accuracy", significant=True, side=side, estimate=estimate, null=0.5, low=low
    )
    score: Any = SimpleNamespace(design=Design(arms=("explanation",)), readers=["R1"])
    score.primary = primary
    assert verdict(score).endswith(expected)
