"""The bars of attention weights: every source, its value or that it is missing, and nothing that a
value could smuggle in.
"""

from __future__ import annotations

from dashboard.views.attention_weights import bars
from evaluation.queries.attention_weights import Attended


def test_every_source_has_a_bar_of_its_weight() -> None:
    found = bars(
        (
            Attended("image", None, False, 0.25),
            Attended("age", "61", False, 0.5),
            Attended("<b>gene</b>", None, True, 0.25),
        )
    )
    assert found.count("width:25.0%") == 2 and found.count("width:50.0%") == 1
    assert "61" in found and "missing" in found and "<b>gene" not in found and "50.0 %" in found
