"""What the Explanations page and the pages of experts render and do, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.settings import Settings
from core.store import unit_table
from support.page_transcript import (
    Page,
    Stopped,
    expected_lines,
    open_script,
)

RUN, DISSECT = "explain-1", "dissect-1"


def test_expert_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expert's page checks the role before it mounts its component."""
    lines = []
    for name, component in (("annotate", "annotation"), ("read", "reading")):
        page, module, run = open_script(monkeypatch, name)
        page.replace(getattr(module, component), f"mount_{component}")
        run()
        lines += page.take()
    assert lines == expected_lines("pages", "experts")


@pytest.fixture
def explanations(monkeypatch: pytest.MonkeyPatch) -> Page:
    parts = ("decision", "outside_warning", "maps", "attention_weights", "unit_strip", "notes")
    own = [f"render_{part}" for part in (*parts, "case_comments", "class_faithfulness")]
    page, module, run = open_script(monkeypatch, "explanations", *own, "render_report_similarity")
    monkeypatch.setattr(module, "load_settings", lambda _: Settings())
    page.replace(unit_table, "record_figure_pick")
    case = SimpleNamespace(phenomena=lambda n: [], unit_maps=[1, 2, 3], __repr__="case")
    page.queries |= {
        ("latest_run", "explain"): RUN,
        ("run_classes", RUN): MAMMOGRAPHY,
        ("run_label_set", RUN): "default",
        ("ancestor_run", RUN, "dissect"): DISSECT,
        ("list_label_sets", DISSECT): {"E1": 7, "default": 5, "published": 9},
        ("has_simulated_images",): True,
        ("influence_note", RUN): "A note.",
    }
    for label_set in ("default", "E1"):
        page.queries["has_simulated_labels", RUN, label_set] = label_set == "E1"
    for case_id in ("C1", "C2", "C3", "C9"):
        for label_set in ("default", "E1"):
            page.queries["load_explanation", RUN, case_id, label_set] = case
        page.queries["load_attention_weights", RUN, case_id] = ()
        page.queries["load_case_comments", case_id] = ["a", "b"]
    for kind, ids in (
        ("malignant", ["C1", "C2", "C3"]),
        ("all", ["C9", "C1", "C2", "C3"]),
        ("wrong", []),
        ("benign", []),
    ):
        for seed in (1, 7):
            table = pd.DataFrame({"mammogram_id": ids if seed == 1 else ids[::-1]})
            page.queries["list_explained", RUN, kind, seed] = table
    return page, module, run


def short(lines: list[str]) -> list[str]:
    """Return lines without the case itself, which is a stand-in."""
    return [line.split("namespace")[0] for line in lines]


def test_explanations(explanations: Page) -> None:
    page, _, run = explanations
    run()
    assert short(page.take()) == expected_lines("pages", "explanations")
    page.query_params |= {"labels": "E1", "seed": "7"}
    page.answers |= {"Labels that name the units": "E1"}
    page.answers["Seed of the random order of the cases"] = 7.0
    page.queries["influence_note", RUN] = ""
    run()
    assert short(page.take()) == expected_lines("pages", "explanations with a set")


@pytest.mark.parametrize("kind", ["wrong", "benign"])
def test_group_without_cases(explanations: Page, kind: str) -> None:
    page, _, run = explanations
    page.answers["Cases"] = kind
    run()
    assert page.take()[-4:] == expected_lines("pages", f"no {kind} case")


def test_selection_of_a_case(explanations: Page) -> None:
    page, module, _ = explanations
    ids = ["C1", "C2", "C3"]

    def selected(film: str | None, reached: str | None = None) -> tuple[Any, ...]:
        page.query_params.clear()
        page.session_state["walked_to"] = reached
        if film is not None:
            page.query_params["film"] = film
        found = module._select_case(RUN, "malignant", 1)
        return found.ids, found.position, found.is_random

    assert selected(None) == (ids, 0, True)
    assert selected("C3", "C3") == (ids, 2, True)
    # An address or a list picks a case by hand.
    assert selected("C2") == (ids, 1, False)
    assert selected("C9", "C9") == (["C9", *ids], 0, False)
    assert selected("unknown") == (ids, 0, False)
    assert selected("unknown", "unknown") == (ids, 0, True)


def test_steps_between_cases(explanations: Page) -> None:
    page, module, _ = explanations
    selection = module._CaseSelection

    def press(position: int, step: int, is_random: bool) -> tuple[Any, Any]:
        page.answers["Go"] = True
        chosen = selection(["C1", "C2", "C3"], position, is_random)
        module._step_button(module.st, "Go", "ArrowRight", chosen, step)
        return page.query_params["film"], page.session_state["walked_to"]

    assert press(0, 1, True) == ("C2", "C2") and press(2, -1, False) == ("C2", None)
    page.answers["Go"] = False
    for position, step in ((0, -1), (0, 1), (2, 1), (2, -1)):
        chosen = selection(["C1", "C2", "C3"], position, True)
        module._step_button(module.st, "Go", "ArrowRight", chosen, step)
    # No step leads out of the group.
    assert page.take() == expected_lines("pages", "steps")


@pytest.mark.parametrize(("is_random", "origin"), [(True, "random"), (False, "hand-picked")])
def test_pick_for_the_figure(explanations: Page, is_random: bool, origin: str) -> None:
    page, module, _ = explanations
    page.answers[f"Add to figure, {origin}"] = True
    chosen = module._CaseSelection(["C1", "C2"], 1, is_random)
    module._pick_button(module.st, RUN, chosen)
    assert page.take() == [
        f"button: 'Add to figure, {origin}', type='primary'",
        f"record_figure_pick: 'write connection', '{RUN}', 'C2', '{origin}', 'T1'",
        "toast: 'Added. Build the figure on the Figures page; it states how each case was chosen.'",
    ]


def test_explanations_before_they_exist(explanations: Page) -> None:
    page, _, run = explanations
    page.queries["latest_run", "explain"] = None
    with pytest.raises(Stopped):
        run()
    assert page.take() == expected_lines("pages", "no explanation")
