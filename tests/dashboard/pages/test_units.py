"""The Units page's views and states, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.class_labels import unit_name
from core.store import run_table, unit_table
from dashboard.components import unit_gallery
from evaluation.queries import units
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


def test_each_sort_orders_by_its_column(
    open_page: Open, demonstration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the direction that the name of the sort states; units of equal value by number."""
    shown: list[list[int]] = []
    monkeypatch.setattr(
        unit_gallery,
        "show_unit_gallery",
        lambda rows, key: shown.append([row["unit"] for row in rows]),
    )
    with store.read(demonstration) as con:
        dissect = run_table.latest_run(con, "dissect") or ""
    table = units.selected_units(demonstration, dissect).set_index("unit")
    for sort, column, sign in (
        ("Fewest patients", "top_patients", 1),
        ("Share of top 8", "share", -1),
        ("Response outside the breast", "outside", -1),
    ):
        assert table[column].nunique() > 1, column
        open_page(demonstration, "units", sort=sort)
        expected = sorted(table.index, key=lambda unit: (sign * table.loc[unit, column], unit))
        assert shown[-1] == expected[: len(shown[-1])] and len(shown[-1]) > 5, sort
