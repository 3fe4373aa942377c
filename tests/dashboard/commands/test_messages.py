"""Numbers in the terminal have the form of those on the pages."""

from __future__ import annotations

import pytest

from dashboard.commands import pipeline


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.8, 0.91, "image malignant: AUC .862 (.800 to .910)"),
        (float("nan"), float("nan"), "image malignant: AUC .862"),
    ],
)
def test_an_area_has_no_leading_zero(low: float, high: float, text: str) -> None:
    assert (
        pipeline._auc_text(
            {"level": "image", "class": "malignant", "estimate": 0.8617, "low": low, "high": high}
        )
        == text
    )
