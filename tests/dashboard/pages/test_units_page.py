"""What the Units page renders and does, as a whole."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pytest

from support.page_transcript import (
    Page,
    Stopped,
    expected_lines,
    open_script,
)

UNITS = pd.DataFrame(
    {
        "unit": [9, 4, 7],
        "name": ["unit_0010", "unit_0005", "unit_0008"],
        "label": ["Round mass", "", "Skin line"],
        "state": ["agreed", "", "published"],
        "classes": [["malignant", "benign"], ["normal"], ["benign"]],
        "count": [12, 7, 3],
        "images": [30, 31, 32],
        "outside": [0.2, 0.21, 0.5],
        "normal": [1, 2, 3],
        "benign": [4, 5, 6],
        "malignant": [7, 8, 9],
        "answers": [2, 1, 0],
        "simulated": [True, False, False],
        "share": [0.31, 0.31, 0.75],
        "top_patients": [11, 3, 5],
    }
)

OVERLAP = pd.DataFrame(
    {
        "unit": [4, 7, 9],
        "iou": [0.25, None, 0.5],
        "auc": [0.5, 0.7, 0.6],
        "p_adjusted": [0.001, 0.05, 0.049],
    }
)


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Page:
    own = ("render_comparison", "render_coverage", "render_coverage_band", "render_unit")
    page, module, run = open_script(monkeypatch, "units", *own, "render_faithfulness")
    page.replace(module.unit_gallery, "show_unit_gallery")
    monkeypatch.setattr(
        module,
        "top_patch_urls",
        lambda run, units, number, size: {u: [f"{run} {number} {size}"] for u in units},
    )
    dissections = pd.DataFrame(
        {
            "run": ["dissect-000001", "dissect-000002"],
            "manifest": [{"layer": "first", "units": 64}, {"layer": "last", "units": 40}],
            "made": [datetime(2026, 1, 2, 3, 4), datetime(2026, 2, 3, 4, 5)],
        }
    )
    page.queries |= {
        ("load_runs", "dissect"): dissections,
        ("has_simulated_images",): False,
    }
    for name, count in (("dissect-000001", 64), ("dissect-000002", 40)):
        page.queries |= {
            ("selected_units", name, "influence"): UNITS,
            ("selected_units", name, "dead"): UNITS.iloc[:0],
            ("load_run", name): {"manifest": {"units": count}},
            ("has_simulated_labels", name): True,
            ("influence_note", name): "",
            ("run_class_names", name): {0: "normal", 1: "benign", 2: "malignant"},
            ("list_descriptors", name): ["mass shape: round"],
            ("overlap_by_unit", name, None): OVERLAP,
            ("overlap_by_unit", name, "mass shape: round"): OVERLAP,
        }
    return page, module, run


def test_units(units: Page) -> None:
    page, _, run = units
    run()
    assert page.take() == expected_lines("pages", "units")
    page.queries["influence_note", "dissect-000002"] = "A note."
    page.answers["Text in labels"] = "nothing like this"
    run()
    assert page.take()[-4:] == expected_lines("pages", "no matching unit")
    page.answers["Selection"] = "dead"
    run()
    assert page.take()[-1:] == expected_lines("pages", "no dead unit")


def test_a_run_names_a_shorter_number_format(units: Page) -> None:
    _, module, _ = units
    row = {
        "run": "dissect-000001",
        "manifest": {"layer": "last", "units": 64},
        "made": datetime(2026, 1, 2, 3, 4),
    }
    title = "last, 64 units, 02 Jan 03:04, 000001"
    assert module._run_title(row) == title
    row["manifest"]["ranking"] = {"format": "float32"}
    assert module._run_title(row) == title
    row["manifest"]["ranking"] = {"format": "bfloat16"}
    assert module._run_title(row) == f"{title}, ranked in bfloat16"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, [7, 4, 9]),
        ({"Class": "benign"}, [7, 9]),
        ({"Class": "normal"}, [4]),
        ({"Label": "With a label"}, [7, 9]),
        ({"Label": "No label"}, [4]),
        ({"Text in labels": "MASS"}, [9]),
        ({"Text in labels": "."}, []),
        ({"Sort": "Unit"}, [4, 7, 9]),
        ({"Sort": "Fewest patients"}, [4, 7, 9]),
        ({"Sort": "Answers"}, [9, 4, 7]),
        ({"Sort": "IoU with findings"}, [9, 4, 7]),
        ({"Sort": "AUC of the descriptor"}, [7, 9, 4]),
        ({"Sort": "Response outside the breast"}, [7, 4, 9]),
        # A P of .05 is not significant, and an AUC of .5 shows no association.
        ({"Descriptor": "mass shape: round"}, [9]),
    ],
)
def test_filters_of_units(units: Page, answers: dict[str, str], expected: list[int]) -> None:
    page, module, run = units
    run()
    page.answers |= answers
    rows = module._filter_units(UNITS, "dissect-000002")
    assert rows["unit"].tolist() == expected


def test_sorts_of_other_images(units: Page) -> None:
    page, module, run = units
    run()
    page.take()
    module.shows_breasts = lambda: False
    module._filter_units(UNITS, "dissect-000002")
    assert not any("outside the breast" in line for line in page.take())


def test_pages_of_units(units: Page) -> None:
    """24 units a page."""
    page, module, run = units
    shown: list[list[int]] = []
    gallery = module.unit_gallery
    gallery.show_unit_gallery = lambda rows, key: shown.append([r["unit"] for r in rows])
    many = pd.concat([UNITS.iloc[:1]] * 49).assign(unit=range(49))
    overlap = pd.DataFrame({"unit": range(49), "iou": 0.1, "auc": 0.5, "p_adjusted": 1.0})
    module.st.__class__.pagination = lambda self, pages, **_: pages
    try:
        for count, first in ((24, 0), (25, 24), (49, 48)):
            page.queries["selected_units", "dissect-000002", "influence"] = many.iloc[:count]
            page.queries["overlap_by_unit", "dissect-000002", None] = overlap
            run()
            assert shown[-1] == list(range(first, count))
    finally:
        del module.st.__class__.pagination


def test_opening_a_unit_of_the_gallery(units: Page) -> None:
    page, module, run = units
    page.replace(module.unit_gallery, "show_unit_gallery", result=9)
    run()
    assert page.query_params["unit"] == "unit_0010" and page.take()[-1] == "rerun: "


def test_views_of_units(units: Page) -> None:
    page, _, run = units
    for view in ("coverage", "faithfulness"):
        page.answers["View"] = view
        run()
        assert page.take()[-1] == f"render_{view}: 'dissect-000002'"


def test_run_in_use(units: Page) -> None:
    page, module, _ = units
    known = ["dissect-000001", "dissect-000002"]
    for requested, expected in (
        ("dissect-000001", known[0]),
        ("other", known[1]),
        (None, known[1]),
    ):
        page.session_state.clear()
        page.query_params.clear()
        if requested:
            page.query_params["run"] = requested
        assert module._current_run(known) == expected
    # The session keeps the run on the page of a unit.
    page.query_params["run"] = known[0]
    assert module._current_run(known) == known[1]
    page.take()
    module._change_run(known[1])
    assert page.take() == []
    module._change_run(known[0])
    assert page.take() == ["rerun: "] and page.session_state["units_run"] == known[0]


def test_addresses_of_units(units: Page) -> None:
    page, _, run = units
    for query in (
        {"unit": "unit_0040"},
        {"unit": "unit_0041"},
        {"unit": "unit_0000"},
        {"unit": "none"},
        {"unit": "unit_0001", "with": "unit_0040"},
        {"unit": "unit_0001", "with": "unit_0041"},
    ):
        page.query_params.clear()
        page.query_params |= query
        run()
    lines = [line for line in page.take() if not line.startswith(("require", "apply"))]
    assert lines == expected_lines("pages", "addresses of units")
    page.queries["load_runs", "dissect"] = pd.DataFrame()
    with pytest.raises(Stopped):
        run()
    assert page.take()[2:] == expected_lines("pages", "no units")


def test_row_of_a_dead_unit(units: Page) -> None:
    _, module, run = units
    run()
    row = UNITS.merge(OVERLAP, on="unit").to_dict("records")[2]
    assert module._gallery_row(row, ["malignant"], [], "dead")["share"] == "dead"
    assert module._gallery_row(row, ["malignant"], [], "spie")["share"] == "75 %"
