"""What the Figures page renders and does, as a whole."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.settings import Settings
from core.store import run_table
from evaluation.queries.provenance import MissingInput
from support.page_transcript import (
    STUDY,
    Page,
    expected_lines,
    open_script,
)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Page:
    page, module, run = open_script(monkeypatch, "figures", "show_flash", "flash", "_zip")
    monkeypatch.setattr(module, "load_settings", lambda _: Settings())
    page.replace(run_table, "append_log")
    page.replace(module.provenance, "log_exports")

    def spec(title: str, *needs: str, width: int = 174) -> SimpleNamespace:
        return SimpleNamespace(title=title, required=needs, needs=needs, width=width)

    specs = {
        "figure cohort": spec("Cohort", "data"),
        "figure roc": spec("ROC", "evaluate", width=85),
        "figure screen": spec("Screen", "screenshot"),
        "table units": spec("Units", "dissect"),
        "table cohort": spec("Cohort table", "data"),
    }
    monkeypatch.setattr(module, "_SPECS", specs)
    for kind, name in (("figure ", "FIGURES"), ("table ", "TABLES")):
        own = {k.removeprefix(kind): v for k, v in specs.items() if k.startswith(kind)}
        monkeypatch.setattr(module, name, own)
    current = {"data": "d1", "evaluate": "evaluate-1", "dissect": "", "screenshot": ""}
    page.queries |= {
        ("current_inputs", module.provenance.INPUT_NAMES): current,
        ("simulated_parts", module.provenance.INPUT_NAMES): "images, labels",
        ("load_log", "test split opened"): [1],
        ("preview_figure", "cohort", None): SimpleNamespace(
            missing=None,
            image_uri="data:x",
            caption='A "caption".',
            counts={"patients": 1234, "images": 5},
            method="by <hand>",
        ),
    }
    records = {
        "figure cohort": {
            "kind": "figure",
            "name": "cohort",
            "data_hash": "0123456789abcdef",
            "command": "deepminer <figures>",
            "inputs": {"data": "d1"},
        },
        "table cohort": {"kind": "table", "name": "table_cohort", "inputs": {"data": "old"}},
    }
    module.records = records
    monkeypatch.setattr(module.provenance, "load_records", lambda _: list(records.values()))
    monkeypatch.setattr(Path, "is_dir", lambda path: path == STUDY / "exports")
    monkeypatch.setattr(Path, "glob", lambda path, pattern: [])
    module.render_zip_button = module._render_zip_button
    monkeypatch.setattr(module, "_render_zip_button", page.recorder("_render_zip_button"))
    return page, module, run


def test_figures(figures: Page) -> None:
    page, _, run = figures
    run()
    assert page.take() == expected_lines("pages", "figures")


def test_states_of_exports(figures: Page) -> None:
    _, module, run = figures
    run()
    notes = {
        key: (state.name, state.note, state.missing is not None)
        for key, state in module._states.items()
    }
    assert notes == {
        "figure cohort": ("done", "", False),
        "figure roc": ("ready", "", False),
        "figure screen": ("screenshot", "make pictures", True),
        "table units": ("missing", module._states["table units"].missing.step, True),
        "table cohort": ("stale", "data changed since", False),
    }

    def note(*names: str) -> str:
        return module._heading_note({n: module._ExportState(s) for n, s in enumerate(names)})

    assert note("done", "ready") == "all inputs are available"
    assert note("missing", "stale", "done") == "1 of 3 lacks an input, 1 stale"
    assert note("missing", "missing") == "2 of 2 lack an input"
    assert module._uses_test_split(["figure cohort", "figure roc"])
    assert not module._uses_test_split(["figure cohort", "table cohort"])


def test_previews_that_open_the_test_split(figures: Page) -> None:
    page, module, run = figures
    run()
    page.take()
    for key in ("figure cohort", "figure roc", "figure roc"):
        module._log_preview(key)
    module._inputs = {"evaluate": ""}
    module._log_opening("nothing is evaluated")
    assert page.take() == expected_lines("pages", "openings")


def test_building_exports(figures: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page, module, run = figures
    run()
    page.take()
    built = SimpleNamespace(name="cohort", record="record 1", reason="")
    left_out = SimpleNamespace(name="units", record=None, reason="no units")

    def build(kind: str, *found: Any) -> Any:
        def write(study: Any, names: Any, folder: Any, *options: Any) -> Any:
            report = options[-1]
            page.record(kind, study, names, folder, *options[:-1])
            report(1, 99, kind)
            return list(found)

        return write

    monkeypatch.setattr(module, "export_figures", build("figures", built))
    monkeypatch.setattr(module, "export_tables", build("tables", built, left_out))
    module._build(["figure roc", "table units", "figure cohort"], 85.0, ["pdf"])
    module._build(["table cohort"], None, [])
    assert page.take() == expected_lines("pages", "build")


def test_previews(figures: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page, module, run = figures
    run()
    page.take()
    preview = SimpleNamespace(missing=("Units", "no units", "deepminer dissect"))
    page.queries |= {
        ("preview_figure", "roc", 85.0): preview,
        ("_preview_table", "cohort"): (pd.DataFrame({"a": range(20)}), "A note."),
        ("_preview_table", "units"): ("Units", "no units", ""),
    }
    module._render_figure("roc", 85.0, None)
    module._render_figure("cohort", None, None)
    page.queries["preview_figure", "cohort", 85.0] = SimpleNamespace(
        missing=None, image_uri="", caption="", counts={}, method=""
    )
    module._render_figure("cohort", 85.0, None)
    module._render_table("cohort")
    module._render_table("units")
    assert page.take() == expected_lines("pages", "previews")

    def build(study: Any, spec: Any) -> Any:
        if spec.title == "Units":
            raise MissingInput("Units", "none", "deepminer dissect")
        return SimpleNamespace(printed_frame=lambda: "frame", note="note")

    monkeypatch.setattr(module, "build_table", build)
    assert module._preview_table(STUDY, "cohort") == ("frame", "note")
    assert module._preview_table(STUDY, "units") == ("Units", "none", "deepminer dissect")


def test_archive_of_the_exports(figures: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page, module, _ = figures
    asked: list[str] = []
    records = [
        SimpleNamespace(stat=lambda t=t: SimpleNamespace(st_mtime=t)) for t in (3.0, 9.0, 5.0)
    ]
    monkeypatch.setattr(Path, "glob", lambda path, pattern: asked.append(pattern) or records)
    # The time of the newest record is part of the cache's key.
    page.replace(module, "_zip", result=b"zip")
    module.render_zip_button(False)
    module.render_zip_button(True)
    assert page.take() == expected_lines("pages", "archive")
    assert asked == [f"*{module.provenance.RECORD_SUFFIX}"]
    assert set(module._load_built_records()) == {"figure cohort", "table cohort"}
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    assert module._load_built_records() == {}


def test_preview_of_a_table(figures: Page) -> None:
    page, module, run = figures
    page.answers["Preview"] = "table cohort"
    page.queries["_preview_table", "cohort"] = (pd.DataFrame({"a": [1]}), "A note.")
    run()
    lines = page.take()
    start = next(i for i, line in enumerate(lines) if line.startswith("selectbox: 'Preview'"))
    assert lines[start:] == expected_lines("pages", "preview of a table")
    # A short table is no higher than its rows, and a long one scrolls.
    heights: list[int] = []
    module.elements.data_table = lambda table, *, hide_index, height: heights.append(height)
    for count in (1, 9, 10, 50):
        page.queries["_preview_table", "cohort"] = (pd.DataFrame({"a": range(count)}), "")
        module._render_table("cohort")
    assert heights == [73, 353, 388, 400]
