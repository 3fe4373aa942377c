"""Rows of the coverage table against counts by hand, for every rule of selection."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.coverage import fixed_selection_coverage, split_half_coverage
from evaluation.pipeline import coverage

# Top three of seven units, of five mammograms of four patients, for the classes 0 and 2.
TOPS = {
    0: [[1, 2, 3], [1, 2, 4], [1, 5, 6], [1, 2, 0], [3, 2, 1]],
    2: [[6, 5, 0], [6, 5, 4], [6, 0, 3], [6, 2, 5], [0, 6, 1]],
}
PATIENTS = ["p", "q", "q", "r", "s"]


def run_coverage_table(
    monkeypatch: pytest.MonkeyPatch, dissection: dict[str, Any], groups: list[list[int]] = ()
) -> pd.DataFrame:
    influences = [
        {
            "class": code,
            "mammogram_id": f"m{image}",
            "patient_id": PATIENTS[image],
            "rank": rank,
            "unit": unit,
        }
        for code, images in TOPS.items()
        for image, units in enumerate(images)
        for rank, unit in enumerate(units, start=1)
    ]
    run = {
        "settings": {"dissection": {"top": 3, "select": 2} | dissection},
        "manifest": {"units": 7, "groups": groups},
    }
    asked: list[Any] = []
    monkeypatch.setattr(coverage.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(coverage.run_table, "load_run", lambda con, name: run)
    monkeypatch.setattr(
        coverage.unit_table,
        "load_top_influences",
        lambda con, *given: asked.append(given) or pd.DataFrame(influences),
    )
    monkeypatch.setattr(
        coverage.unit_table,
        "load_selected_units",
        lambda con, name: pd.DataFrame({"unit": [6, 1, 5, 6]}),
    )
    table = coverage.coverage_table(Path("study"), "dissect-1")
    assert asked == [("dissect-1", 3)]
    assert list(table) == ["class", "name", "estimate", "low", "high", "method", "n"]
    assert (table["n"] == 5).all()
    return table


def rows_of(table: pd.DataFrame, code: int) -> dict[str, tuple[Any, ...]]:
    rows = table[table["class"] == code].astype(object)
    rows = rows.where(rows.notna(), None)
    return {r[1]: (r[2], r[3], r[4], r[5]) for r in rows.itertuples(index=False)}


def tops() -> np.ndarray:
    return np.array([TOPS[0], TOPS[2]])


def check_interval(rows: dict[str, tuple[Any, ...]], interval: Any, names: tuple[str, ...]) -> None:
    for name in names:
        expected = (interval.estimate, interval.low, interval.high, interval.method)
        assert rows[name] == expected, name


def test_coverage_of_the_most_frequent_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class 0: units 1 and 2 take 9 of 15 slots; class 2: unit 6 and 0 or 5 take 8."""
    table = run_coverage_table(monkeypatch, {})
    halves = split_half_coverage(tops(), np.array(PATIENTS), 7, 2)
    counts = {0: [5, 4, 2, 1, 1, 1, 1], 2: [5, 3, 3, 1, 1, 1, 1]}
    for place, code in enumerate((0, 2)):
        rows = rows_of(table, code)
        assert list(rows) == [
            *("selected", "split_half", "interval", "chance"),
            *(f"curve_{k}" for k in range(1, 7)),
        ]
        assert rows["selected"] == (
            pytest.approx(sum(counts[code][:2]) / 15),
            None,
            None,
            "2 units most often among the top 3",
        )
        check_interval(rows, halves[place], ("split_half", "interval"))
        assert rows["chance"] == (pytest.approx(2 / 7), None, None, "2 arbitrary of 7 units")
        for k in range(1, 7):
            share = pytest.approx(sum(counts[code][:k]) / 15)
            assert rows[f"curve_{k}"] == (share, None, None, "selected on the same images")
    assert halves[0] != halves[1]
    # The curve ends with the last unit.
    wide = run_coverage_table(monkeypatch, {"select": 3})
    assert list(rows_of(wide, 0))[-1] == "curve_7"


def test_coverage_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups: (0, 1), (2, 3), (4, 5), (6). Class 0 has 6, 6, 2 and 1 slots."""
    groups = [[0, 1], [2, 3], [4, 5], [6]]
    table = run_coverage_table(monkeypatch, {"rule": "groups", "select": 1}, groups)
    rows = rows_of(table, 0)
    assert rows["selected"][0] == pytest.approx(6 / 15)
    assert rows["selected"][3] == "1 groups most often among the top 3"
    assert rows["chance"] == (pytest.approx(1 / 4), None, None, "1 arbitrary of 4 groups")
    assert [rows[f"curve_{k}"][0] for k in (1, 2, 3)] == pytest.approx([6 / 15, 12 / 15, 14 / 15])
    group_of = np.array([0, 0, 1, 1, 2, 2, 3])
    halves = split_half_coverage(group_of[tops()], np.array(PATIENTS), 4, 1)
    check_interval(rows, halves[0], ("split_half", "interval"))


def test_coverage_of_units_chosen_by_their_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units 1, 5 and 6 take 7 slots of class 0 and 9 of class 2."""
    table = run_coverage_table(monkeypatch, {"rule": "spie"})
    shares = fixed_selection_coverage(tops(), np.array(PATIENTS), [1, 5, 6])
    for place, (code, counts) in enumerate(((0, [5, 1, 1]), (2, [5, 3, 1]))):
        rows = rows_of(table, code)
        assert list(rows) == [
            *("selected", "split_half", "interval", "chance"),
            *(f"curve_{k}" for k in (1, 2, 3)),
        ]
        share = pytest.approx(sum(counts) / 15)
        assert rows["selected"] == (
            share,
            None,
            None,
            "3 units chosen by their top patches (SPIE 2018)",
        )
        same = "not chosen on these images: the halves give the same"
        assert rows["split_half"] == (share, None, None, same)
        check_interval(rows, shares[place], ("interval",))
        assert rows["chance"] == (pytest.approx(3 / 7), None, None, "3 arbitrary of 7 units")
        for k in (1, 2, 3):
            assert rows[f"curve_{k}"] == (
                pytest.approx(sum(counts[:k]) / 15),
                None,
                None,
                "the chosen units, most frequent first",
            )
