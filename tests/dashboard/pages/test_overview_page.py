"""What the Overview page renders, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.settings import Settings
from support.page_transcript import (
    Transcript,
    expected_lines,
    load_page,
    render_page,
)

PATCHES = "patches-1"


def step(kind: str, state: str, note: str = "") -> SimpleNamespace:
    return SimpleNamespace(
        kind=kind,
        title=kind.capitalize(),
        state=state,
        headline=f"headline of {kind}",
        lines=(f"line of {kind}",),
        made=None,
        page=f"page_{kind}",
        command=f"deepminer {kind}",
        next_task=f"Do {kind}.",
        note=note,
    )


def reading_state(protocol: str, done: int, total: int, readers: int, simulated: bool) -> Any:
    return SimpleNamespace(
        protocol=protocol,
        version=readers + 1,
        state="frozen",
        done=done,
        total=total,
        readers=readers,
        simulated=simulated,
    )


def coverage_row(name: str, estimate: float, low: float, high: float) -> tuple[Any, ...]:
    return 2, name, estimate, low, high, 30


@pytest.fixture
def overview(monkeypatch: pytest.MonkeyPatch) -> tuple[Transcript, Any, Any]:
    module, run = load_page(monkeypatch, "overview")
    running = module._render_running_work
    module.render_running = getattr(running, "__wrapped__", running)
    page = render_page(monkeypatch, module, "_render_running_work", "show_next_step")
    monkeypatch.setattr(module, "load_settings", lambda _: Settings())
    steps = [
        step("source", "done"),
        step("train", "stale", "the data changed"),
        step("units", "failed"),
        step("report", "missing"),
    ]
    monkeypatch.setattr(module.elements, "load_step_cards", lambda: steps)
    monkeypatch.setattr(module.elements, "with_study_option", lambda text: f"{text} --study S")
    monkeypatch.setattr(module.study_overview, "next_step", lambda s: steps[1])
    metrics = pd.DataFrame(
        [
            ("patch", "malignant", "auc", 0.861, 0.82, 0.9, None, 1234, 41),
            ("patch", "benign", "auc", 0.7, 0.6, 0.8, None, 1, 1),
            ("image", "malignant", "auc", 0.9, 0.6, 0.8, None, 1, 1),
            ("patch", "malignant", "pauc", 0.1, 0.6, 0.8, None, 1, 1),
        ],
        columns=[
            *("level", "class", "name", "estimate", "low", "high", "reason", "n", "patients"),
        ],
    )
    coverage = pd.DataFrame(
        [
            coverage_row("selected", 0.756, 0, 0),
            coverage_row("chance", 0.012, 0, 0),
            coverage_row("split_half", 0.712, 0, 0),
            coverage_row("interval", 0.0, 0.634, 0.793),
            (1, "selected", 0.1, 0, 0, 31),
        ],
        columns=["class", "name", "estimate", "low", "high", "n"],
    )
    progress = pd.DataFrame(
        {
            "simulated": [False, True, False, True],
            "units": [10, 500, 21, 600],
            "median_seconds": [12.0, 99.0, 20.0, 77.0],
        }
    )
    page.queries |= {
        ("dataset_counts",): {"patients": 41},
        ("latest_run", "dissect"): "dissect-1",
        ("latest_run", "evaluate"): "evaluate-1",
        ("latest_run", "patches"): PATCHES,
        ("latest_run", "coverage", "dissect-1"): "coverage-1",
        ("load_metrics", "evaluate-1", "holdout"): metrics,
        ("load_coverage", "coverage-1"): coverage,
        ("run_classes", PATCHES): MAMMOGRAPHY,
        ("run_classes", "coverage-1"): MAMMOGRAPHY,
        ("run_classes", "dissect-1"): MAMMOGRAPHY,
        ("labelled_coverage_by_class", "dissect-1"): {2: (0.645, 7, 9), 1: (0.1, 1, 2)},
        ("annotation_progress_by_expert", "dissect-1"): progress,
        ("load_reading_states",): [
            reading_state("First", 11, 330, 3, False),
            reading_state("Second", 0, 0, 4, True),
            reading_state("Third", 1, 2, 5, False),
        ],
        ("has_simulated_images",): False,
        ("has_simulated_labels", "dissect-1"): True,
        ("has_simulated_answers", "dissect-1"): False,
        ("study_warnings",): [
            SimpleNamespace(
                sentence="Some <units> are weak.", page="units", query=(("sort", "Unit"),)
            )
        ],
    }
    return page, module, run


def test_overview(overview: tuple[Transcript, Any, Any]) -> None:
    page, module, run = overview
    run()
    assert page.take() == expected_lines("overview", "page")
    module._render_next_step(None)
    assert page.take() == expected_lines("overview", "nothing to do")


def test_overview_before_results(overview: tuple[Transcript, Any, Any]) -> None:
    page, module, run = overview
    module.study_overview.next_step = lambda s: None
    for kind in ("dissect", "evaluate", "patches"):
        page.queries["latest_run", kind] = None
    page.queries |= {
        ("load_classes",): MAMMOGRAPHY,
        ("load_reading_states",): [],
        ("study_warnings",): [],
    }
    module.elements.load_step_cards = list
    run()
    assert page.take() == expected_lines("overview", "before results")


def test_metrics_that_are_not_estimable(overview: tuple[Transcript, Any, Any]) -> None:
    page, module, run = overview
    run()
    page.take()
    metrics = page.queries["load_metrics", "evaluate-1", "holdout"]
    nan = float("nan")
    unknown = metrics.assign(low=nan, high=nan, reason="one patient", n=1, patients=1)
    page.queries["load_metrics", "evaluate-1", "holdout"] = unknown
    module._render_auc()
    page.queries["load_metrics", "evaluate-1", "holdout"] = metrics[metrics["level"] == "image"]
    module._render_auc()
    progress = page.queries["annotation_progress_by_expert", "dissect-1"]
    for shown in (
        progress[progress["simulated"]],
        progress[~progress["simulated"]].iloc[:1].assign(units=1),
        progress.assign(median_seconds=None),
        progress.iloc[:0],
    ):
        page.queries["annotation_progress_by_expert", "dissect-1"] = shown
        module._render_annotation_time("dissect-1")
    module._render_annotation_time(None)
    module._render_labelled_coverage("dissect-1", {})
    page.queries["load_reading_states",] = [reading_state("Only", 0, 0, 1, False)]
    module._render_reading_progress()
    page.queries["latest_run", "coverage", "dissect-1"] = None
    assert module._load_positive_coverage("dissect-1") == {}
    assert page.take() == expected_lines("overview", "not estimable")


def test_simulated_parts_of_the_overview(overview: tuple[Transcript, Any, Any]) -> None:
    page, module, _ = overview
    assert module._simulated_parts() == {
        "images": False,
        "labels": True,
        "annotations": False,
        "readings": True,
    }
    page.queries |= {
        ("latest_run", "dissect"): None,
        ("load_reading_states",): [reading_state("A", 1, 2, 3, False)],
    }
    assert not any(module._simulated_parts().values())


def test_running_work(
    overview: tuple[Transcript, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, module, _ = overview

    def run_of(name: str, state: str, done: int, total: int, pid: int) -> dict[str, Any]:
        return {
            "run": name,
            "state": state,
            "done": done,
            "total": total,
            "pid": pid,
            "unit": "patches",
            "command": f"command of {name}",
            "started": 10_000.0,
        }

    work = [
        run_of("b", "running", 1000, 4000, 71),
        run_of("c", "interrupted", 1, 2, 72),
        run_of("a", "running", 0, 0, 73),
    ]
    monkeypatch.setattr(module.runs, "unfinished_runs", lambda _: work)
    # Ten minutes after the start.
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 10_600.0))
    module.render_running()
    assert page.session_state["running"] == ("a", "b")
    work.clear()
    # The page is shown again when work starts or ends.
    module.render_running()
    module.render_running()
    assert page.take() == expected_lines("overview", "running")
