"""What the Performance page renders and does, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.class_labels import MAMMOGRAPHY
from core.store import run_table
from dashboard.ui import charts
from support.page_transcript import (
    STUDY,
    Page,
    Stopped,
    expected_lines,
    open_script,
)


def point(sensitivity: float | None, specificity: float | None) -> SimpleNamespace:
    table = SimpleNamespace(
        sensitivity=SimpleNamespace(estimate=sensitivity),
        specificity=SimpleNamespace(estimate=specificity),
    )
    return SimpleNamespace(table=table)


@pytest.fixture
def performance(monkeypatch: pytest.MonkeyPatch) -> Page:
    page, module, run = open_script(monkeypatch, "performance")
    runs = [
        SimpleNamespace(run=f"evaluate-{n}", architecture=f"net{n}", train=f"train-{n}")
        for n in (1, 2)
    ]
    study = SimpleNamespace(runs=runs, simulated=True, opened=4)
    summary = SimpleNamespace(n=1234, patients=56, point=point(0.786, 0.714), results=["r"])
    asked: list[Any] = []
    module.asked = asked
    monkeypatch.setattr(
        module.performance_cache,
        "load_summary",
        lambda *arguments: asked.append(arguments) or summary,
    )
    page.replace(charts, "roc_figure", result="figure")
    page.replace(run_table, "append_log")
    tabs = {name: page.recorder(f"tab {name}") for name in ("Classes", "Failures")}
    monkeypatch.setattr(module, "PERFORMANCE_TABS", tabs)
    page.queries |= {
        ("load_study_context",): study,
        ("run_classes", "evaluate-1"): MAMMOGRAPHY,
        ("run_classes", "evaluate-2"): MAMMOGRAPHY,
    }
    module.summary, module.study = summary, study
    return page, module, run


def test_performance(performance: Page) -> None:
    page, module, run = performance
    page.answers["Classes"] = False
    run()
    lines = [line.split("PerformanceView")[0] for line in page.take()]
    assert lines == expected_lines("pages", "performance")
    assert module.asked == [(STUDY, "evaluate-2", "holdout", "patch")]
    page.answers |= {"Split": "test", "Level": "case", "Run": "evaluate-1"}
    module.summary.point = None
    run()
    run()
    lines = [line.split("PerformanceView")[0] for line in page.take()]
    logged = [line for line in lines if line.startswith(("append_log", "caption"))]
    # An opening is logged once a visit and run, before the results are loaded.
    assert logged == expected_lines("pages", "performance of the test split")
    view = module._view
    fields = (view.run, view.split, view.level, view.with_2021_formula, view.simulated)
    assert fields == ("evaluate-1", "test", "case", False, True)
    assert view.classes == MAMMOGRAPHY and list(view.evaluations) == ["evaluate-1", "evaluate-2"]


def test_performance_of_an_empty_split(performance: Page) -> None:
    page, module, run = performance
    module.summary.n = 0
    with pytest.raises(Stopped):
        run()
    assert page.take()[-2:] == expected_lines("pages", "performance of an empty split")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, None),
        (point(None, 0.7), None),
        (point(0.8, None), None),
        (point(0.8, 0.75), (0.25, 0.8)),
    ],
)
def test_operating_point(performance: Page, found: Any, expected: Any) -> None:
    _, module, _ = performance
    module.summary.point = found
    assert module._operating_point(SimpleNamespace(summary=module.summary)) == expected


def test_performance_without_runs(performance: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page, module, run = performance
    module.study.runs = []
    work = [
        {"kind": "dissect", "state": "failed", "done": 0, "total": 0, "unit": "", "message": ""},
        {
            "kind": "train",
            "state": "interrupted",
            "done": 3,
            "total": 7,
            "unit": "epochs",
            "message": "It was killed.",
        },
    ]
    for unfinished in (work, work[:1]):
        monkeypatch.setattr(module.runs, "unfinished_runs", lambda _, w=unfinished: w)
        with pytest.raises(Stopped):
            run()
    assert page.take() == expected_lines("pages", "performance without runs")
