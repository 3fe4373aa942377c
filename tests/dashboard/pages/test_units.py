"""The Units page's views and states, without a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import store
from core.class_labels import unit_name
from core.store import run_table, unit_table
from core.store.labels import comment_table
from dashboard.components import unit_gallery
from evaluation.queries import units
from support.team_page import Open, button, page_text


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


def first_selected_unit(study: Path) -> tuple[str, int]:
    with store.read(study) as con:
        dissect = run_table.latest_run(con, "dissect") or ""
        return dissect, unit_table.selected_unit_ids(con, dissect)[0]


def test_similar_units_are_listed_and_compared(open_page: Open, demonstration: Path) -> None:
    dissect, unit = first_selected_unit(demonstration)
    nearest, *others = units.similar_units(demonstration, dissect, unit)
    assert all(nearest.similarity >= other.similarity for other in others)
    assert unit not in {nearest.unit, *(other.unit for other in others)}
    assert units.compare_units(demonstration, dissect, nearest.unit, unit) == replace(
        nearest, unit=unit
    )
    page = open_page(demonstration, "units", unit=unit_name(unit), about="Similar")
    page.button(key=f"compare_{unit_name(nearest.unit)}").click().run()
    text = page_text(page)
    assert f"{unit_name(unit)} and {unit_name(nearest.unit)}" in text
    assert f"<b>{nearest.shared} of {nearest.top}</b>" in text
    button(page, f"Open {unit_name(nearest.unit)}").click().run()
    assert page_text(page).count(f"<h1>{unit_name(nearest.unit)}</h1>") == 1


def test_comment_on_a_unit_is_stored_shown_as_text_and_removed(
    open_page: Open, own_study: Path
) -> None:
    dissect, unit = first_selected_unit(own_study)
    page = open_page(own_study, "units", unit=unit_name(unit), about="Comments")
    page.text_area[0].set_value("<b>bold</b>")
    button(page, "Add comment").click().run()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page_text(page) and "T1, " in page_text(page)
    with store.read(own_study) as con:
        (stored,) = comment_table.load_unit_comments(con, dissect, unit).to_dict("records")
    assert (stored["comment"], stored["actor"]) == ("<b>bold</b>", "T1")
    button(page, "Remove").click().run()
    with store.read(own_study) as con:
        assert not len(comment_table.load_comments(con))


def test_activation_curves_leave_zeros_out_and_have_equal_peaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    activations = {
        "normal": np.concatenate([np.zeros(60), rng.normal(2, 0.3, 40)]).astype(np.float32),
        "benign": np.zeros(50, np.float32),
        "malignant": rng.normal(8, 0.5, 50).astype(np.float32),
    }
    monkeypatch.setattr(units, "activations_by_class", lambda *_: activations)
    curves = units.activation_curves(Path("study"), "dissect-1", 4)
    assert curves.zero_share == pytest.approx(110 / 200)
    assert set(curves.densities) == {"normal", "malignant"}
    for name, centre in (("normal", 2), ("malignant", 8)):
        density = curves.densities[name]
        assert density.max() == 1 and density.min() >= 0
        assert curves.values[density.argmax()] == pytest.approx(centre, abs=0.4)
