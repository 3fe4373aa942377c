"""What the tabs of the Annotations page render and do, as a whole."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from core.lexicon import annotation_answers
from core.lexicon.birads_categories import BIRADS
from core.settings import Settings
from core.store.labels.finished_annotators import AnnotatorState
from dashboard.components import patch_tiles
from dashboard.views import adjudication, comments
from dashboard.views.annotations import (
    efficiency,
    finished_experts,
    label_categories,
    machine_labels,
    unit_labels,
)
from evaluation.annotation.category_agreement import Disagreement
from support.page_transcript import Transcript, expected_lines, render_into

RUN, USER = "dissect-1", "T7"


def answer(label: str, words: str = "") -> dict[str, Any]:
    given = annotation_answers.create_answer(
        [{"category": "mass", "terms": {}, "association": "benign"}], 3, BIRADS
    )
    return given | {"label": label, "words": words}


NOTHING = {"recognisable": "nothing", "phenomena": [], "label": "", "words": "", "confidence": 2}

DISPUTED = [
    Disagreement(
        unit=unit,
        answers=(
            ("E1", f"a{unit}", answer(f"Mass <{unit}>", "my words")),
            ("E2", f"b{unit}", NOTHING),
            ("E3", f"c{unit}", answer(f"Line {unit}")),
        ),
        conflict=1.0,
    )
    for unit in (4, 8, 15)
]


@pytest.fixture
def adjudicating(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, adjudication)
    page.replace(patch_tiles, "show_patch_tiles", "show_patch_mammogram")
    page.replace(adjudication.decision_table, "record_decision", "undo_decision")
    monkeypatch.setattr(adjudication, "load_settings", lambda _: Settings())
    monkeypatch.setattr(
        adjudication,
        "tile_items",
        lambda run, top, level: [
            {"name": "C1", "tile": f"{run} {level:g} {n}", "right": "C1", "note": "malignant"}
            for n in top["rank"]
        ],
    )
    monkeypatch.setattr(adjudication, "list_disagreements", lambda answers: answers)
    page.queries = {
        ("load_finished_answers", RUN): DISPUTED,
        ("load_decisions", RUN): pd.DataFrame(),
        ("disputed_units", RUN): (4, 15),
        ("count_label_states", RUN): Counter({"agreed": 6, "provisional": 9}),
        ("load_groups", RUN): ((1, 2), (4, 15, 8)),
    }
    for unit in (4, 8, 15):
        page.queries["unit_details", RUN, unit] = {
            "top": pd.DataFrame({"rank": range(33)}),
            "largest": 2.5 + unit,
        }
    return page


def test_adjudication(adjudicating: Transcript) -> None:
    page = adjudicating
    adjudication.render_adjudication(RUN, USER)
    assert page.take() == expected_lines("annotations", "adjudication")
    # A decision shortens the list; the whole group is decided with the second unit.
    page.session_state["dispute"] = 7
    page.answers["Decide for its group as well: unit_0005"] = True
    adjudication._toggle_form()
    page.answers |= {"Decide": True, "Reason": "both see it"}
    adjudication.render_adjudication(RUN, USER)
    assert page.take() == expected_lines("annotations", "own label for a group")
    # The form is closed by the decision.
    assert page.session_state["writing"] is False


def test_adjudication_without_disagreements(adjudicating: Transcript) -> None:
    page = adjudicating
    page.queries["load_finished_answers", RUN] = []
    adjudication.render_adjudication(RUN, USER)
    decided = pd.DataFrame(
        {
            "unit": [3, 5],
            "label": ["Mass " + "x" * 70, ""],
            "reason": ["answer A accepted", "own"],
            "decided_by": ["T1", "T2"],
            "made": [datetime(2026, 1, 2), datetime(2026, 1, 3)],
        }
    )
    page.queries["load_decisions", RUN] = decided
    page.answers["Undo"] = True
    adjudication.render_adjudication(RUN, USER)
    assert page.take() == expected_lines("annotations", "decisions only")


def test_undone_in_another_window(adjudicating: Transcript) -> None:
    adjudicating.raise_from(adjudication.decision_table, "undo_decision", "There is no decision.")
    adjudicating.answers["Undo"] = True
    table = pd.DataFrame(
        {name: [3] for name in ("unit", "label", "reason", "decided_by", "made")}
    ).assign(label="Mass")
    adjudication._render_decisions(RUN, table, USER)
    assert adjudicating.take()[-1] == "error: 'There is no decision.'"


def test_position_and_next(adjudicating: Transcript) -> None:
    adjudication._go_to(2)
    # Without others of its group on which experts differ there is nothing to choose.
    assert adjudication._decided_together(RUN, DISPUTED[0], DISPUTED[:1]) == DISPUTED[:1]
    adjudicating.queries["load_groups", RUN] = None
    assert adjudication._decided_together(RUN, DISPUTED[0], DISPUTED) == DISPUTED[:1]
    assert adjudicating.take() == []
    assert adjudicating.session_state == {"dispute": 2}
    assert not adjudication._is_form_open()


COMMENTS = pd.DataFrame(
    {
        "number": [3, 9],
        "comment": ["<b>first</b>", "second"],
        "actor": ["T1", "T&2"],
        "time": [pd.Timestamp("2026-02-03 04:05"), pd.Timestamp("2026-11-12 13:14")],
    }
)


def test_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, comments)
    changes = ("add_unit_comment", "add_case_comment", "remove_comment")
    page.replace(comments.comment_table, *changes)
    page.queries = {
        ("load_unit_comments", RUN, 4): COMMENTS,
        ("load_case_comments", "C1"): COMMENTS.iloc[:0],
    }
    comments.render_unit_comments(RUN, 4)
    assert page.take() == expected_lines("annotations", "comments")
    page.answers |= {"Add comment": True, "Comment of the team": "new"}
    comments.render_unit_comments(RUN, 4)
    comments.render_case_comments("C1")
    added = [line for line in page.take() if line.startswith(("add_", "rerun"))]
    assert added == expected_lines("annotations", "added comments")
    # An empty comment is not stored.
    page.answers |= {"Comment of the team": "  ", "Remove": True}
    comments.render_unit_comments(RUN, 4)
    removed = [line for line in page.take() if line.startswith(("add_", "remove", "rerun"))]
    assert removed == expected_lines("annotations", "removed comments")

    def refuse(_: object) -> None:
        raise UserError("There is *none*.")

    comments._store(refuse)
    assert page.take() == [r"error: 'There is \\*none\\*.'"]


def state(code: str, kind: str, until: datetime | None = None) -> AnnotatorState:
    return AnnotatorState(code=code, state=kind, until=until, marked_by="T9" if until else "")


def test_finished_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, finished_experts)
    until = datetime(2026, 2, 3, 4, 5)
    states = {
        s.code: s
        for s in (
            state("E1", "unfinished"),
            state("E2", "complete"),
            state("E3", "marked", until),
            state("E4", "imported"),
            state("E5", "unfinished"),
        )
    }
    assert [finished_experts.state_text(s) for s in states.values()] == [
        "unfinished, does not count",
        "finished",
        "counts until 03 Feb, 04:05 UTC (T9)",
        "imported, counts",
        "unfinished, does not count",
    ]
    page.queries["annotator_states", RUN] = states
    actions = {name: page.recorder(name) for name in ("mark_finished", "undo_mark")}
    monkeypatch.setattr(finished_experts, "_ACTIONS", actions)
    finished_experts.render_finish_controls(RUN, USER)
    assert page.take() == expected_lines("annotations", "finish controls")
    page.answers |= {"Count the answers so far": True, "Undo": True}
    finished_experts.render_finish_controls(RUN, USER)
    pressed = [line for line in page.take() if line.startswith(("mark_", "undo_", "rerun"))]
    assert pressed == expected_lines("annotations", "finish controls pressed")

    def refuse(*_: object) -> None:
        raise UserError("Too late.")

    monkeypatch.setattr(
        finished_experts, "_ACTIONS", {"undo_mark": refuse, "mark_finished": refuse}
    )
    finished_experts.render_finish_controls(RUN, USER)
    assert page.take()[-1] == "error: 'Too late.'"
    page.queries["annotator_states", RUN] = {"E2": states["E2"]}
    finished_experts.render_finish_controls(RUN, USER)
    assert page.take() == []


def free_text(unit: int, state: str, *names: str) -> SimpleNamespace:
    categories = SimpleNamespace(state=state, names=names)
    text = f"text <{unit}> " + "y" * 60
    return SimpleNamespace(unit=unit, sets=["E1", "default"], text=text, categories=categories)


def test_label_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, label_categories)
    page.replace(label_categories.category_table, "confirm_categories", "withdraw_confirmation")
    monkeypatch.setattr(
        label_categories,
        "top_patch_urls",
        lambda run, units, number, size: {u: [f"{run} {u} {number} {size}"] for u in units},
    )
    monkeypatch.setattr(label_categories.category_table, "label_key", lambda text: text[5:20])
    page.queries["load_lexicon",] = BIRADS
    page.queries["free_texts", RUN] = [
        free_text(3, "proposed", "mass"),
        free_text(5, "confirmed", "calcification", "mass"),
        free_text(7, "proposed"),
    ]
    label_categories.render_label_categories(RUN, USER)
    assert page.take() == expected_lines("annotations", "categories")
    label_categories._go_to(5)
    page.answers |= {"Confirm": True, "Categories": ["asymmetry"], "Undo": True}
    label_categories.render_label_categories(RUN, USER)
    assert page.take() == expected_lines("annotations", "categories pressed")
    page.raise_from(label_categories.category_table, "withdraw_confirmation", "Too late.")
    label_categories._render_confirmed(RUN, page.queries["free_texts", RUN][1:2], USER)
    assert page.take()[-1] == "error: 'Too late.'"
    page.queries["free_texts", RUN] = []
    label_categories.render_label_categories(RUN, USER)
    assert page.take() == expected_lines("annotations", "no free text")


def test_machine_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, machine_labels)
    agreement = SimpleNamespace(sentence=lambda: "They *agree*.")
    names = {
        4: SimpleNamespace(word="mass", named=True, score=0.71, p_adjusted=0.012),
        8: SimpleNamespace(word="line", named=False, score=0.22, p_adjusted=0.34),
        9: SimpleNamespace(word="skin", named=True, score=0.33, p_adjusted=0.04),
    }
    labelled = SimpleNamespace(label=SimpleNamespace(text="Round mass"))
    page.queries = {
        ("load_machine_names", RUN): names,
        ("machine_agreement", RUN): agreement,
        ("unit_states", RUN, ()): {4: labelled, 8: SimpleNamespace(label=None)},
    }
    machine_labels.render_machine_labels(RUN)
    assert page.take() == expected_lines("annotations", "machine names")
    for missing in ("load_machine_names", "machine_agreement"):
        values = page.queries | {(missing, RUN): None}
        monkeypatch.setattr(
            machine_labels, "cached_query", lambda f, *a, v=values: v[f.__name__, *a]
        )
        monkeypatch.setattr(
            machine_labels, "cached_result", lambda f, *a, v=values: v[f.__name__, *a]
        )
        machine_labels.render_machine_labels(RUN)
        assert page.take() == expected_lines("annotations", "no machine names")


def test_unit_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, unit_labels)
    monkeypatch.setattr(unit_labels, "load_order_of_experts", lambda _: ["E2", "E1"])

    def unit_state(label: str | None, kind: str, counts: bool, disputed: bool) -> SimpleNamespace:
        text = None
        if label is not None:
            text = SimpleNamespace(
                text=label, state=kind, annotation_ids=["a1", "a9"], simulated=disputed
            )
        return SimpleNamespace(label=text, counts=counts, disputed=disputed)

    order = ("E2", "E1")
    page.queries = {
        ("unit_states", RUN, order): {
            4: unit_state("Mass", "agreed", True, False),
            5: unit_state("Line", "provisional", False, False),
            6: unit_state("Skin", "agreed", False, True),
            7: unit_state(None, "", False, False),
            8: unit_state("Node", "adjudicated", True, False),
            9: unit_state("Duct", "provisional", False, False),
        },
        ("single_expert_note", RUN, order): "Only *one*.",
        ("load_annotations", RUN, True): pd.DataFrame(
            {"annotation_id": ["a1", "a2"], "code": ["E1", "E2"], "version": [3, 4]}
        ),
    }
    unit_labels.render_unit_labels(RUN)
    assert page.take() == expected_lines("annotations", "unit labels")
    page.queries["single_expert_note", RUN, order] = ""
    unit_labels.render_unit_labels(RUN)
    assert not any(line.startswith("info") for line in page.take())


def test_efficiency(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, efficiency)
    curve = pd.DataFrame({"minutes": [0.0, 1.5], "benign": [0.1, 0.2], "malignant": [0.3, 0.7]})
    found = SimpleNamespace(
        answers=2,
        sentence=lambda: "It *took* 3 min.",
        curve=curve,
        coverage={"benign": 0.2, "malignant": 0.7},
    )
    measures = SimpleNamespace(sentences=lambda: ["Saved 1.", "Agreed."])
    page.queries = {("annotation_efficiency", RUN): found, ("measure_groups", RUN): measures}
    efficiency.render_efficiency(RUN)
    assert page.take() == expected_lines("annotations", "efficiency")
    page.queries["measure_groups", RUN] = None
    found.curve = curve.iloc[:1]
    efficiency.render_efficiency(RUN)
    assert page.take() == expected_lines("annotations", "efficiency at the start")
    found.answers = 0
    efficiency.render_efficiency(RUN)
    page.queries["annotation_efficiency", RUN] = None
    efficiency.render_efficiency(RUN)
    assert page.take() == []


def test_next_text_after_three_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, label_categories)
    monkeypatch.setattr(label_categories, "top_patch_urls", lambda _, units, *__: {units[0]: []})
    monkeypatch.setattr(label_categories.category_table, "label_key", lambda text: text)
    page.queries["load_lexicon",] = BIRADS
    page.queries["free_texts", RUN] = [free_text(unit, "proposed") for unit in (3, 5, 7)]
    for position, following in ((0, 1), (1, 2), (2, 0)):
        label_categories._go_to(position)
        label_categories.render_label_categories(RUN, USER)
        (line,) = (line for line in page.take() if "next_text" in line)
        assert line.endswith(f"args=[{following}]")
