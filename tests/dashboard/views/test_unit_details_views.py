"""What the page of one unit renders and does, as a whole."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from dashboard.components import patch_tiles
from dashboard.ui import unit_charts
from dashboard.views.units import (
    details,
)
from support.page_transcript import Transcript, expected_lines
from support.unit_parts import CURVES, RUN, SETTINGS, render_unit_parts


def unit_details(**changes: Any) -> dict[str, Any]:
    return {
        "top": pd.DataFrame({"rank": range(70)}),
        "largest": 8.0,
        "quantile": 3.5,
        "top_patients": 8,
        "outside": 0.2,
        "dead": False,
        "answers": "answers",
        **changes,
    }


@pytest.fixture
def unit_page(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_unit_parts(monkeypatch, details)
    page.replace(patch_tiles, "show_patch_tiles", "show_patch_mammogram")
    page.replace(unit_charts, "activation_figure", "influence_bars", result="figure")
    for name in ("facts", "associations", "counts", "annotations", "label_check", "audit"):
        page.replace(details, f"render_{name}")
    page.replace(details, "render_similar", "render_unit_comments")
    monkeypatch.setattr(
        details, "tile_items", lambda run, patches, level: [(run, len(patches), level)]
    )
    table = pd.DataFrame(
        {"unit": [4, 9], "label": ["Mass", ""], "state": ["agreed", ""], "simulated": [True, False]}
    )
    page.queries |= {
        ("selected_units", RUN, "influence"): table,
        ("has_simulated_images",): True,
        ("unit_details", RUN, 4): unit_details(),
        ("activation_curves", RUN, 4): CURVES,
        ("influence_note", RUN): "A note.",
        ("influence_quartiles", RUN, 4): {"benign": (1.0, 2.0, 4.0)},
        ("comparison_patches", RUN, 4, "middle"): [1, 2, 3],
        ("comparison_patches", RUN, 4, "random"): [1, 2, 3, 4],
    }
    monkeypatch.setattr(
        details.units,
        "crop_to_receptive_field",
        lambda patches, field, side: [*patches["rank"], field, side],
    )
    return page


def test_unit(unit_page: Transcript) -> None:
    details.render_unit(RUN, 4)
    assert unit_page.take() == expected_lines("units", "unit")


@pytest.mark.parametrize(
    ("region", "patches", "count", "level"),
    [
        ("threshold", "top", 32, 2.0),
        ("threshold", "all", 64, 2.0),
        ("quantile", "top", 32, 3.5),
        # Maps are stored for top patches only.
        ("quantile", "middle", 3, None),
        ("field", "random", 4, None),
        ("field", "top", 34, None),
    ],
)
def test_region_and_patches_of_a_unit(
    unit_page: Transcript, region: str, patches: str, count: int, level: float | None
) -> None:
    unit_page.answers |= {"Region": region, "Patches": patches}
    assert details._render_patches(RUN, 4, unit_details()) == [(RUN, count, level)]


def test_warnings_of_a_unit(unit_page: Transcript) -> None:
    for changes in (
        {},
        {"top_patients": 7},
        {"top_patients": 1},
        {"outside": 0.21},
        {"dead": True},
    ):
        details._render_warnings(unit_details(**changes))
    assert unit_page.take() == expected_lines("units", "warnings")
    # A network without a receptive field in its record offers two regions.
    details._region_control(details.st, SETTINGS, None)
    assert unit_page.take() == expected_lines("units", "regions")


def test_one_tab_of_a_unit(unit_page: Transcript) -> None:
    for open_tab in details._TABS:
        unit_page.answers = {name: name == open_tab for name in details._TABS}
        details._render_tabs(RUN, 4, {"answers": "answers"})
    lines = [line for line in unit_page.take() if line.startswith("render_")]
    assert lines == expected_lines("units", "tabs")


def test_opening_a_unit(unit_page: Transcript) -> None:
    unit_page.query_params["unit"] = "unit_0001"
    details._open(7)
    assert unit_page.query_params == {"unit": "unit_0008"}
    details._open(None)
    assert unit_page.query_params == {} and unit_page.take() == ["rerun: ", "rerun: "]
