"""What the Participants page renders and does, as a whole."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import pandas as pd
import pytest

from core.store import participant_table
from core.store.labels import assignment_table
from core.store.reading import bundle_table
from support.page_transcript import (
    Page,
    expected_lines,
    load_page,
    render_page,
)

PARTICIPANTS = pd.DataFrame(
    [
        ("A1", "annotator", False, True, True, "5 years", 7, 2, 0, None, "2026-01-02 03:04"),
        ("R1", "reader", False, False, False, "", 3, 0, 8, "2026-02-03 04:05", "2026-01-05 06:07"),
        ("S1", "annotator", True, True, True, "", 9, 1, 0, None, None),
        ("team", "team", False, True, False, "", 0, 0, 0, None, None),
    ],
    columns=[
        *("code", "role", "simulated", "link", "consented", "experience", "annotated", "audited"),
        *("answered", "last_seen", "made"),
    ],
)


@pytest.fixture
def participants(monkeypatch: pytest.MonkeyPatch) -> Page:
    module, run = load_page(monkeypatch, "participants")
    page = render_page(monkeypatch, module, "show_flash", "flash")
    module.st.context = SimpleNamespace(url="https://x.org/participants", headers={})
    page.replace(participant_table, "invite_participant", "reissue_invitation")
    page.replace(participant_table, "revoke_invitations", "undo_revocation")
    page.replace(participant_table, "new_invitation_token", result="token")
    page.replace(participant_table, "hash_token", result="hash")
    page.replace(participant_table, "next_free_code", result="R9")
    page.replace(bundle_table, "check_reader_seat")
    page.replace(assignment_table, "assign_dissections")
    cache = SimpleNamespace(refresh=lambda: page.record("refresh"))
    monkeypatch.setattr(module, "invitation_cache", lambda study: cache)
    page.queries |= {
        ("next_free_code", "annotator"): "A2",
        ("load_participants",): PARTICIPANTS,
        ("assigned_titles", "A1"): "vgg16, last",
        ("assigned_titles", "R1"): "",
        ("assigned_titles", "S1"): "",
        ("list_dissections",): [
            SimpleNamespace(run="dissect-1", title="small, last"),
            SimpleNamespace(run="dissect-2", title="vgg16, last"),
        ],
        ("assigned_dissections", "A1"): ["dissect-2"],
        ("has_revoked_link_only", "A1"): False,
    }
    monkeypatch.setattr(module.links, "invitation_link", lambda base, token: f"{base}?{token}")
    return page, module, run


def test_participants(participants: Page) -> None:
    page, _, run = participants
    run()
    assert page.take() == expected_lines("participants", "page")


def test_simulated_participants_only(participants: Page) -> None:
    """Links of simulated experts are offered only in a study without human participants."""
    page, _, run = participants
    page.queries |= {
        ("load_participants",): PARTICIPANTS.iloc[2:],
        ("has_revoked_link_only", "S1"): True,
        ("assigned_dissections", "S1"): [],
        ("list_dissections",): [],
    }
    run()
    lines = [line for line in page.take() if not line.startswith(("container", "in", "out"))]
    assert lines == expected_lines("participants", "simulated only")
    page.queries["load_participants",] = PARTICIPANTS.iloc[3:]
    run()
    assert page.take()[-3:] == expected_lines("participants", "none")


def test_invitation_on_the_page(participants: Page) -> None:
    page, module, _ = participants
    module._invite("  A7 ")
    assert page.session_state["participant_link"] == ("A7", "https://x.org?token")
    page.session_state["invite_role"] = "reader"
    module._invite(" ")
    assert page.session_state["participant_link"] == ("R9", "https://x.org?token")
    module._reissue("A1")
    module._revoke("A1")
    assert page.session_state["participant_link"] is None
    module._undo_revocation("A1")
    page.session_state["assigned_to_A1"] = ["dissect-1"]
    module._assign("A1")
    assert page.take() == expected_lines("participants", "actions")
    # The page's own host, and the scheme of its address.
    module.st.context = SimpleNamespace(url="", headers={"host": "h:1"})
    assert module._server_address() == "http://h:1"
    page.session_state["participant_link"] = ("A7", "the link")
    module._render_messages()
    module._render_messages()
    assert page.take() == expected_lines("participants", "link")


@pytest.mark.parametrize(
    ("function", "target"),
    [
        ("_invite", "invite_participant"),
        ("_reissue", "reissue_invitation"),
        ("_revoke", "revoke_invitations"),
        ("_undo_revocation", "undo_revocation"),
        ("_assign", "assign_dissections"),
    ],
)
def test_refused_actions(participants: Page, function: str, target: str) -> None:
    page, module, _ = participants
    owner = assignment_table if target == "assign_dissections" else participant_table
    page.raise_from(owner, target, "Refused.")
    page.session_state["assigned_to_A1"] = []
    getattr(module, function)("A1")
    assert page.take()[-1] == "flash: 'Refused.', error=True"
    assert "participant_link" not in page.session_state


def test_time_texts(participants: Page) -> None:
    _, module, _ = participants
    times = pd.Series([datetime(2026, 2, 3, 4, 5), None])
    assert module._time_texts(times).tolist() == ["03 Feb, 04:05", ""]


def test_invite_button(participants: Page) -> None:
    page, module, _ = participants
    page.answers |= {"Invite": True, "Code (empty: the next free one)": "A7", "Role": "reader"}
    page.queries["next_free_code", "reader"] = "R2"
    module._render_invitation_form()
    assert any("placeholder='R2'" in line for line in page.take())
    assert page.session_state["participant_link"] == ("A7", "https://x.org?token")
