"""What views of the team pages render, with stand-ins for Streamlit and numbers that differ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pandas as pd
import pytest

from dashboard.ui import charts, elements
from dashboard.views import (
    adjudication,
    label_audit,
    performance_tabs,
    reading_checks,
    reading_results,
)
from dashboard.views.units import details
from support.streamlit_stub import page_stub


def test_exact_binomial_test(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics: list[Any] = []
    headings: list[tuple[str, ...]] = []
    monkeypatch.setattr(elements, "metric_row", metrics.append)
    monkeypatch.setattr(elements, "section_heading", lambda *texts: headings.append(texts))
    score = SimpleNamespace(
        binomial=SimpleNamespace(
            successes=37, trials=60, p_value=0.046, critical_count=38, answers_to_flip=2
        ),
        binomial_two_sided=SimpleNamespace(p_value=0.092),
        design=SimpleNamespace(side="greater"),
        patients=44,
    )
    reading_checks._render_binomial(score, 4)  # type: ignore[arg-type]
    assert metrics == [
        [
            ("Correct", "37 / 60"),
            ("p, one-sided", "P = .046"),
            ("p, two-sided", "P = .092"),
            ("Critical count", "38"),
            ("Answers to flip", "2"),
            ("Prespecified side", "greater"),
        ]
    ]
    assert headings == [("4  Exact binomial test", "assumes independence")]
    # One answer of each patient is independent of the others.
    score.patients = 60
    reading_checks._render_binomial(score, 4)  # type: ignore[arg-type]
    assert headings[1][1] == ""


def test_tiles_show_where_a_patch_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "cached_result", lambda *_: {0: "normal", 2: "malignant"})
    monkeypatch.setattr(details, "patch_url", lambda patch, side: f"plain {patch['patch_id']}")
    monkeypatch.setattr(details, "unit_patch_url", lambda patch, run, level, side: f"{run} {level}")
    monkeypatch.setattr(
        details.image_routes, "image_url", lambda kind, _, file: f"{kind} of {file}"
    )
    patches = pd.DataFrame(
        {
            "patch_id": [5],
            "rank": [1233],
            "activation": [7.125],
            "label": [2],
            "split": ["holdout"],
            "mammogram_id": ["C_1.LEFT_CC"],
            "file": ["f"],
            "width": [400],
            "height": [500],
            "x": [100],
            "y": [200],
            "side": [80],
        }
    )
    [item] = details.tile_items("dissect-1", patches, 0.25)
    assert item["box"] == [0.25, 0.4, 0.2, 0.16] and item["aspect"] == 0.8
    assert (item["tile"], item["plain"]) == ("dissect-1 0.25", "plain 5")
    assert item["mammogram"] == "mammogram of f"
    assert item["name"] == "patch 1,234, malignant, C_1, LEFT_CC"
    assert item["left"].startswith("Rank 1,234, activation 7.1")
    assert item["right"] == "C_1, LEFT CC" and "Patch label malignant" in item["note"]
    [plain] = details.tile_items("dissect-1", patches, None)
    assert plain["tile"] == "plain 5"


@pytest.mark.parametrize(("ended", "state"), [(None, "open"), ("end", "ended 03 Feb, 04:05 UTC")])
def test_heading_of_an_audit(
    monkeypatch: pytest.MonkeyPatch, ended: str | None, state: str
) -> None:
    monkeypatch.setattr(label_audit, "st", page_stub())
    monkeypatch.setattr(label_audit, "cached_query", lambda *_: pd.DataFrame())
    headings: list[tuple[str, ...]] = []
    monkeypatch.setattr(elements, "section_heading", lambda *texts: headings.append(texts))
    audit = SimpleNamespace(
        audit="audit-7",
        patches=6,
        seed=3,
        ended=None if ended is None else pd.Timestamp("2026-02-03 04:05"),
    )
    label_audit._render_progress(audit, "T1")  # type: ignore[arg-type]
    assert headings[0] == (
        "Progress of audit-7",
        f"{state}; 6 patches of each kind per unit, seed 3",
    )


@pytest.mark.parametrize(("reason", "is_stored"), [("both see it", True), ("  ", False)])
def test_own_label_needs_a_reason(
    monkeypatch: pytest.MonkeyPatch, reason: str, is_stored: bool
) -> None:
    stub, calls = page_stub(), []
    stub.text_input.side_effect = lambda title, **_: {"Label": "Mass", "Reason": reason}[title]
    stub.form_submit_button.return_value = True
    monkeypatch.setattr(adjudication, "st", stub)
    monkeypatch.setattr(adjudication, "_decide", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(adjudication, "_toggle_form", lambda: calls.append("closed"))
    adjudication._render_form("dissect-1", (), "suggested", "T7")
    if is_stored:
        # The form closes, and the page shows the next unit.
        assert calls == [("dissect-1", (), "Mass", reason, "T7"), "closed"]
        stub.rerun.assert_called_once_with()
    else:
        assert calls == [] and not stub.rerun.called
        assert "needs a reason" in stub.error.call_args.args[0]


def test_confusion_is_drawn_from_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = page_stub()
    monkeypatch.setattr(performance_tabs, "st", stub)
    monkeypatch.setattr(elements, "html_table", lambda *_: None)
    headings: list[tuple[str, ...]] = []
    monkeypatch.setattr(elements, "section_heading", lambda *texts: headings.append(texts))
    for name in ("_class_row", "_class_note", "_render_download"):
        monkeypatch.setattr(performance_tabs, name, lambda *_: {})
    monkeypatch.setattr(
        charts, "confusion_figure", lambda counts, names: (counts.tolist(), tuple(names))
    )
    monkeypatch.setattr(charts, "calibration_figure", lambda *_: "calibration")
    summary = SimpleNamespace(
        results=[], counts=[[5, 2], [1, 4]], names=["benign", "malignant"], calibrations={}
    )
    view = MagicMock(summary=summary, level="patch", positive="malignant")
    performance_tabs._render_classes(view)
    drawn = [call.args[0] for call in stub.plotly_chart.call_args_list]
    assert ([[5, 2], [1, 4]], ("benign", "malignant")) in drawn
    assert ("Confusion", "proportion of true class; largest probability") in headings


def test_axis_of_the_forest_holds_all_values_and_chance() -> None:
    assert reading_results._forest_range([("R1", 0.6, 0.55, 0.7)]) == pytest.approx([0.45, 0.75])
    rows = [("R1", 0.4, 0.01, None), ("R2", 1.0, None, 1.0)]
    assert reading_results._forest_range(rows) == [-0.03, 1.03]
    assert reading_results._forest_range([]) == pytest.approx([0.45, 0.55])


@pytest.mark.parametrize(
    ("unit", "rank", "state", "neighbours"),
    [
        (4, "1 of 3, by share of top 8", "Mass (agreed)", (None, 9)),
        (9, "2 of 3, by share of top 8", "no label that is used yet", (4, 2)),
        (2, "3 of 3, by share of top 8", "Skin (published)", (9, None)),
        (7, "", "not selected", (None, None)),
    ],
)
def test_header_of_a_unit(
    monkeypatch: pytest.MonkeyPatch,
    unit: int,
    rank: str,
    state: str,
    neighbours: tuple[int | None, int | None],
) -> None:
    table = pd.DataFrame(
        {
            "unit": [4, 9, 2],
            "label": ["Mass", "", "Skin"],
            "state": ["agreed", "", "published"],
            "simulated": [True, False, False],
        }
    )
    results = {details.units.selected_units: table, details.lineage.has_simulated_images: False}
    monkeypatch.setattr(details, "cached_result", lambda function, *_: results[function])
    headings: list[tuple[Any, ...]] = []
    monkeypatch.setattr(elements, "page_heading", lambda *texts: headings.append(texts))
    for pressed, number in (("Previous", 0), ("Next", 1)):
        columns = [MagicMock() for _ in range(5)]
        for column in columns:
            # A disabled button cannot be pressed.
            column.button.side_effect = lambda label, disabled=False, pressed=pressed, **_: (
                label == pressed and not disabled
            )
        monkeypatch.setattr(details, "st", MagicMock(columns=lambda *_, c=columns, **__: c))
        opened: list[int | None] = []
        monkeypatch.setattr(details, "_open", opened.append)
        details._render_header("dissect-1", unit)
        expected = neighbours[number]
        assert opened == ([] if expected is None else [expected])
        columns[2].caption.assert_called_once_with(rank)
    simulated = {"images": False, "labels": unit == 4}
    assert headings[0] == (f"unit_{unit + 1:04d}", state, simulated)
