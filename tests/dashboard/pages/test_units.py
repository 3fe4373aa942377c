"""The Units page's views and states, without a browser."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.class_labels import unit_name
from core.store import run_table, unit_table
from support.team_page import Open, page_text


def test_views_show_their_numbers(open_page: Open, demonstration: Path) -> None:
    assert "split-half" in page_text(open_page(demonstration, "units"))
    coverage = page_text(open_page(demonstration, "units", view="Coverage"))
    assert "Test mammograms" in coverage and "Calcification" in coverage
    faithfulness = page_text(open_page(demonstration, "units", view="Faithfulness"))
    assert "units at zero" in faithfulness and "random weights" in faithfulness


def test_descriptor_in_the_address(open_page: Open, demonstration: Path) -> None:
    page = open_page(
        demonstration,
        "units",
        descriptor="mass margin: spiculated",
        sort="AUC of the descriptor",
    )
    assert page.selectbox(key="descriptor").value == "mass margin: spiculated"
    assert page.selectbox(key="sort").value == "AUC of the descriptor"


def test_unit_shows_descriptor_associations(open_page: Open, demonstration: Path) -> None:
    with store.read(demonstration) as con:
        selected = unit_table.load_selected_units(con, run_table.latest_run(con, "dissect") or "")
    unit = int(selected[selected["class"] == 2].sort_values("rank")["unit"].iloc[0])
    for patches in ("Top 32", "Middle", "Random"):
        page = open_page(demonstration, "units", unit=unit_name(unit), patches=patches)
        assert "Descriptor associations" in page_text(page)
