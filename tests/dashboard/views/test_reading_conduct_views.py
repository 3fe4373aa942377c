"""What the stages from check to close render and do, as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from dashboard.views import reading_conduct
from evaluation.reading_study import design_preset
from evaluation.reading_study.leakage_issues import IssueCode
from support.page_transcript import STUDY, Transcript, expected_lines, render_into

EXPLAIN = "explain-1"


def issue(severity: str, field: str, code: IssueCode = IssueCode.DOMINANT_LABEL) -> dict[str, Any]:
    return {
        "field": field,
        "severity": severity,
        "finding": f"{severity} of *{field}*",
        "code": str(code),
        "auc": 0.7,
        "p": 0.01,
    }


def protocol(**changes: Any) -> Any:
    values = {
        "protocol": "Masses",
        "version": 3,
        "state": "checked",
        "lint": [issue("warning", "texts"), issue("note", "order"), issue("warning", "cases")],
        "hash": "0123456789abcdef",
        "run": EXPLAIN,
        "simulated": False,
        **changes,
    }
    return SimpleNamespace(**values)


@pytest.fixture
def conduct(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, reading_conduct, own=("flash",))
    design = design_preset("Recommended", seed=7, readers=4, label_set="E1")
    monkeypatch.setattr(reading_conduct.workflow, "protocol_design", lambda _: design)
    page.replace(reading_conduct.workflow, "freeze_protocol", result=protocol(hash="ff"))
    page.replace(reading_conduct.workflow, "close_protocol")
    page.replace(
        reading_conduct.workflow,
        "check_protocol",
        result=(None, [SimpleNamespace(severity=s) for s in ("error", "warning", "warning")]),
    )
    look = SimpleNamespace(number=2, boundary=0.01234, stops=True)
    page.replace(reading_conduct.workflow, "take_interim_look", result=(None, look))
    page.queries = {
        ("newest_open_protocol",): None,
        ("has_simulated_material", EXPLAIN, "E1"): True,
        ("unanswered_sentence", "Masses", 3): "R1 *lacks* 2.",
        ("reading_progress_by_reader", "Masses", 3): pd.DataFrame(),
        ("next_look", "Masses", 3): None,
    }
    return page


def test_settings_that_freezing_fixes(conduct: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [reading_conduct._fixed_settings(protocol())]
    other = design_preset(
        "Recommended",
        arms=("explanation", "shuffled"),
        discrepant="in",
        images_per_patient=None,
        primary="gee",
        side="two-sided",
        alpha=0.025,
        split="holdout",
        readers=1,
        truth_rule="first_abnormality",
    )
    monkeypatch.setattr(reading_conduct.workflow, "protocol_design", lambda _: other)
    lines.append(reading_conduct._fixed_settings(protocol()))
    assert lines == expected_lines("conduct", "fixed settings")


def test_check_and_freeze(conduct: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_conduct, "_fixed_settings", lambda _: "Settings.")
    reading_conduct.render_check_and_freeze(protocol(state="design"))
    reading_conduct.render_check_and_freeze(protocol())
    assert conduct.take() == expected_lines("conduct", "check and freeze")
    conduct.queries["newest_open_protocol",] = protocol(version=2, protocol="*Old*")
    conflict = issue("error", "truth", IssueCode.TRUTH_CONFLICT)
    reading_conduct.render_check_and_freeze(protocol(lint=[conflict]))
    # With errors nothing can be frozen.
    assert conduct.take() == expected_lines("conduct", "truth conflict")
    conflict = issue("warning", "truth", IssueCode.TRUTH_CONFLICT)
    reading_conduct.render_check_and_freeze(protocol(lint=[conflict]))
    lines = [line for line in conduct.take() if line.startswith(("warning", "text_input"))]
    assert lines == expected_lines("conduct", "another study is open")
    conduct.session_state["reviewed"] = "as it is"
    conduct.answers["Check version 3 again"] = True
    reading_conduct.render_check_and_freeze(protocol())
    assert conduct.take()[2:5] == expected_lines("conduct", "checked again")
    conduct.session_state.clear()
    conduct.replace(reading_conduct.workflow, "check_protocol", result=(None, []))
    reading_conduct._run_leakage_check(protocol())
    assert conduct.take() == expected_lines("conduct", "no issue")


FIELD = "Type the study's name to freeze it"


def test_freezing(conduct: Transcript) -> None:
    reasons = {"texts: long": "so", "order: odd": "because"}
    conduct.answers |= {FIELD: "Masses", "Freeze version 3": True}
    reading_conduct._render_freeze(protocol(), reasons)
    assert conduct.take() == expected_lines("conduct", "freezing")
    for missing in ({"texts: *long*": " "}, {"texts: *long*": "", "order: odd": " "}):
        reading_conduct._render_freeze(protocol(), reasons | missing)
    conduct.raise_from(reading_conduct.workflow, "freeze_protocol", "It *changed*.")
    reading_conduct._render_freeze(protocol(), reasons)
    refused = [line for line in conduct.take() if "error" in line or "freeze_protocol" in line]
    assert refused == expected_lines("conduct", "not frozen")


def test_protocol_as_pdf(conduct: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr(
        "evaluation.reporting.protocol_pdf.protocol_pdf", lambda *a: written.append(a) or b"pdf"
    )
    monkeypatch.setattr(reading_conduct.provenance, "evidence_head", lambda study: f"of {study}")
    downloads: list[Any] = []
    monkeypatch.setattr(
        reading_conduct,
        "st",
        SimpleNamespace(download_button=lambda *a, **o: downloads.append((a, o))),
    )
    shown = (protocol(), protocol(simulated=True), protocol(run=""))
    for version in shown:
        reading_conduct.render_protocol_download(version)
    assert [(a[0], *a[2:]) for a, _ in downloads] == [
        ("Protocol, PDF", "protocol-0123456789ab.pdf", "application/pdf")
    ] * 3
    assert all(options["on_click"] == "ignore" for _, options in downloads)
    assert [a[1]() for a, _ in downloads] == [b"pdf"] * 3
    simulated = [True, True, False]
    assert [w[1:] for w in written] == [(value, f"of {STUDY}") for value in simulated]
    assert [w[0] for w in written] == list(shown)


def test_monitor(conduct: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_conduct, "_fixed_settings", lambda _: "Settings.")
    reading_conduct.render_monitor(protocol())
    assert conduct.take() == expected_lines("conduct", "monitor")
    conduct.queries |= {
        ("reading_progress_by_reader", "Masses", 3): pd.DataFrame(
            [("R1", 30, 11, 19, 8.25, 2, "t1", False), ("R2", 31, 31, 0, 7.5, 0, "t2", True)],
            columns=[
                *("code", "total", "done", "missing", "median_seconds", "corrections"),
                *("last_seen", "simulated"),
            ],
        ),
        ("next_look", "Masses", 3): SimpleNamespace(
            number=1, looks=3, needed=0.333, information=0.278, is_due=False
        ),
        ("unanswered_sentence", "Masses", 3): "",
    }
    reading_conduct.render_monitor(protocol())
    assert conduct.take() == expected_lines("conduct", "monitor of a begun study")


LOOK_FIELD = "Type the study's name to take the look"


def test_interim_look(conduct: Transcript) -> None:
    due = SimpleNamespace(number=1, looks=3, needed=0.5, information=0.52, is_due=True)
    early = SimpleNamespace(**(vars(due) | {"is_due": False}))
    for coming, typed in ((due, "masses"), (early, "Masses"), (due, "Masses")):
        conduct.answers[LOOK_FIELD] = typed
        reading_conduct._render_interim_look(protocol(), coming)
    states = [line for line in conduct.take() if line.startswith("button")]
    assert states == expected_lines("conduct", "look allowed")
    conduct.answers["Take the interim look"] = True
    reading_conduct._render_interim_look(protocol(), due)
    look = SimpleNamespace(number=1, boundary=0.0005, stops=False)
    conduct.replace(reading_conduct.workflow, "take_interim_look", result=(None, look))
    reading_conduct._render_interim_look(protocol(), due)
    conduct.raise_from(reading_conduct.workflow, "take_interim_look", "Not *due*.")
    reading_conduct._render_interim_look(protocol(), due)
    kinds = ("take", "flash", "rerun", "error")
    lines = [line for line in conduct.take() if line.startswith(kinds)]
    assert lines == expected_lines("conduct", "look taken")


def test_closing(conduct: Transcript) -> None:
    conduct.answers |= {
        "Type the study's name to close it": "Masses",
        "Close and unblind version 3": True,
    }
    reading_conduct._render_closing(protocol())
    assert conduct.take() == expected_lines("conduct", "closing")
    conduct.raise_from(reading_conduct.workflow, "close_protocol", "Not *open*.")
    reading_conduct._render_closing(protocol())
    assert conduct.take()[-1] == r"error: 'Not \\*open\\*.'"
