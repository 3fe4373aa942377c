"""Bars of attention weights: values, missing values and escaping."""

from __future__ import annotations

from dashboard.views.explanations.attention_weights import attention_bars
from evaluation.queries.explanations import AttentionWeight


def test_every_weight_has_a_bar() -> None:
    bars = attention_bars(
        (
            AttentionWeight("image", None, False, 0.25),
            AttentionWeight("age", "61", False, 0.5),
            AttentionWeight("<b>gene</b>", None, True, 0.25),
        )
    )
    assert bars.count("width:25.0%") == 2 and bars.count("width:50.0%") == 1
    assert "61" in bars and "missing" in bars and "50.0 %" in bars
    assert "<b>gene" not in bars
