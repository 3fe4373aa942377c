"""The label audit in a real browser: by keyboard, resumed, the previous corrected, and nothing sent
that tells which patch is a top one.
"""

from __future__ import annotations

import re

import pytest

from core import store
from core.sessions.audit_session import Desk
from core.store import audit_table
from dashboard.server import context as serving
from support import synthetic_study
from support.annotation_browser import DEAD, enter, press
from support.live_server import Served
from support.network_capture import Wire

pytestmark = pytest.mark.browser


@pytest.fixture
def wire(served: Served):
    """A tap between browser and server."""
    with Wire(int(served.base.rsplit(":", 1)[1])) as tapped:
        yield tapped


def settle(page, number: int, total: int = 18) -> None:
    """Wait for a patch and for the dead time after it."""
    page.wait_for_function(
        "t => [...document.querySelectorAll('*')].some(e => { const s ="
        " e.shadowRoot?.querySelector('.aud'); return s && !s.hidden &&"
        " s.querySelector('.u').textContent.trim() === t; })",
        arg=f"Patch {number} / {total}",
    )
    page.wait_for_timeout(DEAD)


def test_an_audit_by_keyboard_is_stored_as_judged_and_blind(wire, context, served: Served) -> None:
    tapped = Served(served.study, wire.base, served.process)
    page = enter(context, tapped, "D1")
    assert page.locator(".audit").is_hidden()
    with store.write(served.study) as con:
        audit = synthetic_study.add_audit(con)
        order = Desk("D1", serving.secret(served.study)).sheet(con, audit)
    page.reload()
    page.wait_for_selector(".audit:visible")
    page.click(".audit")
    settle(page, 1)
    assert (
        page.inner_text(".aud .words") == order[0].words
        and page.locator(".aud .fresh").is_visible()
    )
    said = ["yes", "no", "unsure", "yes", "no", "no"]
    for i, answer in enumerate(said):
        assert page.inner_text(".aud .words") == order[i].words
        assert page.locator(".aud .fresh").is_visible() == (i == 0)
        page.wait_for_function(
            "() => { const s = [...document.querySelectorAll('*')].map(e =>"
            " e.shadowRoot?.querySelector('.aud')).find(Boolean); return"
            " [...s.querySelectorAll('img')].length === 2 && [...s.querySelectorAll('img')].every(i"
            " => i.naturalWidth > 0); }"
        )
        press(page, str(["yes", "no", "unsure"].index(answer) + 1))
        settle(page, i + 2)
        if i == 2:
            page.evaluate(
                "() => document.dispatchEvent(new KeyboardEvent('keydown', {key: '1', repeat: true,"
                " bubbles: true, composed: true}))"
            )
            press(page, "Backspace")
            settle(page, 3)
            assert (
                page.locator(".aud [aria-pressed=true]").inner_text().split() == ["3", "Unsure"]
                and page.locator(".aud .previous").is_hidden()
            )
            press(page, "2")
            settle(page, 4)
    assert page.locator(".aud .fresh").is_visible() and "Saved" in page.inner_text(".aud .note")
    page.reload()  # resumed where it was
    page.wait_for_selector(".audit:visible")
    page.click(".audit")
    settle(page, 7)
    page.click(".aud .pause")
    press(page, "1")
    page.click("text=Continue")
    settle(page, 7)
    for i in range(6, 18):
        page.click(".aud .three button:nth-child(1)")
        if i < 17:
            settle(page, i + 2)
    page.wait_for_selector("text=The audit is done")
    page.click("text=Back to the units")
    page.wait_for_selector(".grid img")
    with store.read(served.study) as con:
        frame = audit_table.judgements(con, audit, versions=True).query("code == 'D1'")
        audit_end = audit_table.current(con)
    assert audit_end is not None
    first = {row.item: row.answer for row in frame[frame["version"] == 1].itertuples()}
    assert [first[p.item] for p in order] == said + ["yes"] * 12 and frame[frame["version"] == 2][
        ["item", "answer"]
    ].values.tolist() == [[order[2].item, "no"]]
    assert frame["seconds"].between(0, 30).all()
    sent = wire.own
    assert b'"stage":"patch"' in sent and b"JFIF" in sent
    for secret in (
        b"ZQX",
        b"zqxfile",
        b'"kind"',
        b'"rank"',
        b'"item"',
        b'"activation"',
        b'"top"',
        b'"middle"',
        b'"random"',
        b'"unit_',
        synthetic_study.DISSECT.encode(),
        b"audit-1",
    ):
        assert secret not in sent, secret
    assert not re.search(rb"0\.9\d\d654", sent)  # an activation
    with store.write(served.study) as con:
        audit_table.end(con, "team")


def test_an_audit_ended_meanwhile_and_two_windows(context, served: Served) -> None:
    with store.write(served.study) as con:
        audit = synthetic_study.add_audit(con, units=2, each=1)
    page = enter(context, served, "D2")
    page.click(".audit")
    settle(page, 1, 6)
    other = context.new_page()
    other.goto(served.base)
    other.wait_for_selector(".audit:visible")
    other.click(".audit")
    settle(other, 1, 6)
    press(page, "1")
    settle(page, 2, 6)
    press(other, "2")
    settle(other, 2, 6)
    assert "another window" in other.inner_text(".aud .fault")
    with store.write(served.study) as con:
        assert audit_table.judgements(con, audit).query("code == 'D2'")["answer"].tolist() == [
            "yes"
        ]
        audit_table.end(con, "team")
    press(page, "3")
    page.wait_for_selector("text=There is no audit at the moment")
    page.click("text=Back to the units")
    page.wait_for_selector(".grid img")
    assert page.locator(".audit").is_hidden()
