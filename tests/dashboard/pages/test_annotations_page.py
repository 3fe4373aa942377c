"""What the Annotations page renders, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.lexicon.birads_categories import BIRADS
from dashboard.server import identity
from support.page_transcript import (
    Page,
    Stopped,
    expected_lines,
    open_script,
)

RUN, DISSECT = "explain-1", "dissect-1"


@pytest.fixture
def annotations(monkeypatch: pytest.MonkeyPatch) -> Page:
    parts = ("adjudication", "efficiency", "finish_controls", "label_categories", "machine_labels")
    own = [f"render_{part}" for part in (*parts, "unit_labels", "label_audit")]
    page, module, run = open_script(monkeypatch, "annotations", *own)
    page.replace(identity, "require_role", result=identity.Identity("T7", "team"))
    monkeypatch.setattr(module, "state_text", lambda state: f"state {state}")
    page.queries |= {
        ("list_dissections",): [
            SimpleNamespace(run="dissect-0", title="vgg16, first"),
            SimpleNamespace(run=DISSECT, title="vgg16, last"),
        ],
        ("load_audits",): [
            SimpleNamespace(run=DISSECT, audit="audit-1", simulated=False),
            SimpleNamespace(run="dissect-0", audit="audit-0", simulated=True),
        ],
        ("audit_progress_by_expert", "audit-1"): pd.DataFrame({"simulated": [False]}),
        ("has_simulated_images",): False,
        ("has_simulated_answers", DISSECT): False,
        ("annotation_progress_by_expert", DISSECT): pd.DataFrame(
            [
                ("E1", False, 17, 15, 2, 3, 12.34, "l1"),
                ("E2", True, 18, 16, 1, 4, 23.45, "l2"),
            ],
            columns=[
                *("code", "simulated", "units", "named", "revised", "repeats"),
                *("median_seconds", "last"),
            ],
        ),
        ("selected_unit_ids", DISSECT): [1, 2, 3],
        ("selection_slot_count", DISSECT): 24,
        ("load_assignments",): {"E1": [DISSECT], "E2": ["dissect-0"], "E3": [DISSECT]},
        ("annotator_states", DISSECT): {"E2": "s"},
        ("load_finished_answers", DISSECT): "answers",
        ("confirmed_categories", DISSECT): "categories",
        ("load_lexicon",): BIRADS,
    }
    return page, module, run


def estimate(name: str, value: float | None) -> SimpleNamespace:
    return SimpleNamespace(
        name=f"<{name}>",
        estimate=value,
        low=None if value is None else value - 0.1,
        high=None if value is None else value + 0.05,
        reason="no <pair>" if value is None else None,
        n=len(name),
        method="kappa <x>",
    )


def agreement(page: Page, experts: int, repeats: list[Any]) -> None:
    module = page[1]
    module.with_confirmed_categories = lambda answers, categories: (answers, categories)
    module.category_agreement = SimpleNamespace(
        count_experts=lambda answers: experts if answers == ("answers", "categories") else -1,
        first_category_agreement=lambda _: estimate("first", 0.5),
        naming_agreement=lambda _: estimate("naming", 0.61),
        category_overlap=lambda _: estimate("overlapping", None),
        agreement_by_category=lambda _, names: [estimate(name, 0.7) for name in names[:2]],
        repeat_consistency=lambda _: repeats,
    )


def test_annotations(annotations: Page) -> None:
    page, _, run = annotations
    agreement(annotations, 2, [estimate("E1", 0.8)])
    run()
    assert page.take() == expected_lines("pages", "annotations")
    agreement(annotations, 1, [])
    page.answers |= {"Progress": False, "Audit": False, "Network and layer": DISSECT}
    run()
    lines = page.take()
    start = next(i for i, line in enumerate(lines) if line == "in tab 2")
    assert lines[start:] == expected_lines("pages", "annotations of one expert")


@pytest.mark.parametrize(
    ("flags", "answers", "judgements", "simulated"),
    [
        ((False, True), False, False, True),
        ((False, False), True, False, True),
        ((False, False), False, True, True),
        ((False, False), False, False, False),
    ],
)
def test_one_simulated_part_marks_the_answers(
    annotations: Page, flags: tuple[bool, bool], answers: bool, judgements: bool, simulated: bool
) -> None:
    page, module, run = annotations
    agreement(annotations, 1, [])
    page.queries |= {
        ("load_audits",): [
            SimpleNamespace(run=DISSECT, audit=f"audit-{k}", simulated=flag)
            for k, flag in enumerate(flags)
        ],
        ("has_simulated_images",): False,
        ("has_simulated_answers", DISSECT): answers,
        ("audit_progress_by_expert", "audit-0"): pd.DataFrame({"simulated": [False, judgements]}),
        ("audit_progress_by_expert", "audit-1"): pd.DataFrame({"simulated": [False]}),
    }
    run()
    assert module._simulated_parts(DISSECT) == {"images": False, "answers": simulated}


def test_progress_without_experts(annotations: Page) -> None:
    page, module, run = annotations
    agreement(annotations, 1, [])
    run()
    page.take()
    empty = page.queries["annotation_progress_by_expert", DISSECT].iloc[:0]
    page.queries |= {
        ("annotation_progress_by_expert", DISSECT): empty,
        ("load_consensus", DISSECT): [1],
        ("load_assignments",): {},
    }
    module._render_progress(DISSECT)
    page.queries["load_consensus", DISSECT] = []
    with pytest.raises(Stopped):
        module._render_progress(DISSECT)
    assert page.take() == expected_lines("pages", "no annotations")
    page.queries["list_dissections",] = []
    with pytest.raises(Stopped):
        run()
    assert page.take() == expected_lines("pages", "no dissection")


@pytest.mark.parametrize(
    ("answers", "audit", "judged"),
    [(True, False, False), (False, True, False), (False, False, True), (False, False, False)],
)
def test_simulated_answers(annotations: Page, answers: bool, audit: bool, judged: bool) -> None:
    page, module, run = annotations
    agreement(annotations, 1, [])
    run()
    page.queries |= {
        ("has_simulated_answers", DISSECT): answers,
        ("load_audits",): [SimpleNamespace(run=DISSECT, audit="audit-1", simulated=audit)],
        ("audit_progress_by_expert", "audit-1"): pd.DataFrame({"simulated": [False, judged]}),
    }
    expected = answers or audit or judged
    assert module._simulated_parts(DISSECT) == {"images": False, "answers": expected}
