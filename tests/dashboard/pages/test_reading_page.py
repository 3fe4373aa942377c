"""What the Reading study page renders and records, as a whole."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import pytest

from core.errors import UserError
from support.page_transcript import (
    Page,
    Stopped,
    expected_lines,
    open_script,
)

RUN, DISSECT = "explain-1", "dissect-1"


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Page:
    own = ("show_flash", "render_stages", "render_check_and_freeze", "render_monitor")
    more = ("render_protocol_download", "render_design_form", "render_replay", "render_results")
    page, module, run = open_script(monkeypatch, "reading_study", *own, *more)
    page.replace(module.workflow, "log_lookup")
    monkeypatch.setattr(
        module.workflow, "protocol_design", lambda p: SimpleNamespace(label_set=f"set {p.version}")
    )
    return page, module, run


class Version(SimpleNamespace):
    """A version of a protocol with a short text."""

    def __repr__(self) -> str:
        return f"version {self.version} ({self.state})"


def versions(*states: str) -> list[Version]:
    return [
        Version(
            protocol="Masses",
            version=number,
            state=state,
            hash="0123456789abcdef" if state != "design" else "",
            run=RUN,
            simulated=number == 2,
        )
        for number, state in enumerate(states, start=1)
    ]


@pytest.mark.parametrize("state", ["design", "checked", "frozen", "reading", "closed", "scored"])
def test_stage_of_a_reading_study(reading: Page, state: str) -> None:
    page, _, run = reading
    page.queries |= {
        ("list_protocols",): versions("scored", state),
        ("latest_run", "explain"): "explain-9",
        ("has_simulated_material", RUN, "set 2"): True,
        ("score_protocol", "Masses", 2, "T1"): (versions("design", "scored")[1], "score"),
    }
    run()
    run()
    assert page.take() == expected_lines("reading", state)


@pytest.mark.parametrize("simulated", [True, False])
def test_mark_of_simulated_material(reading: Page, simulated: bool) -> None:
    page, module, _ = reading
    page.queries |= {
        ("has_simulated_material", RUN, "set 1"): simulated,
        ("has_simulated_material", RUN, "default"): simulated,
    }
    first, second = versions("design", "checked")
    module._render_heading(first, RUN)
    module._render_heading(None, RUN)
    module._render_heading(None, None)
    marks = [ast.literal_eval(line[line.rindex("{") :]) for line in page.take()]
    assert marks == [
        {"answers": False, "images or labels": simulated},
        {"answers": False, "images or labels": simulated},
        {"answers": False, "images or labels": False},
    ]
    page.queries[("has_simulated_material", RUN, "set 2")] = False
    module._render_heading(second, RUN)
    assert "{'answers': True, 'images or labels': False}" in page.take()[-1]


def test_scores_that_cannot_be_computed(reading: Page) -> None:
    page, _, run = reading
    page.queries |= {
        ("list_protocols",): versions("closed"),
        ("latest_run", "explain"): None,
        ("has_simulated_material", RUN, "set 1"): False,
        ("score_protocol", "Masses", 1, "T1"): UserError("No *answer*."),
    }
    run()
    assert page.take()[-3:] == expected_lines("reading", "no score")


def test_new_design_and_replay(reading: Page) -> None:
    page, _, run = reading
    page.queries |= {
        ("list_protocols",): [],
        ("latest_run", "explain"): RUN,
        ("has_simulated_material", RUN, "default"): True,
    }
    run()
    page.answers["Study"] = "Replay a published study"
    run()
    page.answers["Study"] = "New design"
    page.queries["latest_run", "explain"] = None
    with pytest.raises(Stopped):
        run()
    assert page.take() == expected_lines("reading", "new design")
