"""The label audit in a real browser: keyboard, correction, resumption and blinding."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from core import settings, store
from core.sessions.annotation_session import AnnotationSession
from core.sessions.audit_session import AuditSession
from core.store import audit_table
from dashboard.server.context import study_secret
from support import synthetic_study
from support.annotation_browser import DEAD_TIME_MS, enter_annotation, press, wait_until_ready
from support.annotation_queue import finish_queue
from support.live_server import Served
from support.shadow_dom import HELD_KEY, shadow_condition

pytestmark = pytest.mark.browser


PATCH_IS_OPEN = shadow_condition(
    ".aud", "!e.hidden && e.querySelector('.u').textContent.trim() === arg"
)
IMAGES_LOADED = shadow_condition(
    ".aud",
    "e.querySelectorAll('img').length === 2"
    " && [...e.querySelectorAll('img')].every(i => i.naturalWidth > 0)",
)
ANSWERS = ("yes", "no", "unsure")  # in the order of their keys


AUDIT_REPLY = """async () => {
    const reply = await fetch("/expert/annotate/audit");
    return { status: reply.status, body: await reply.json() };
}"""


def annotation_session(served: Served, code: str) -> AnnotationSession:
    """Return the annotation session that the server uses for a person."""
    repeats = settings.load_settings(served.study).annotation.repeats
    return AnnotationSession(code, study_secret(served.study), repeats)


def wait_for_patch(page, number: int, total: int = 18) -> None:
    """Wait for a patch and for the dead time after it."""
    page.wait_for_function(PATCH_IS_OPEN, arg=f"Patch {number} / {total}")
    page.wait_for_timeout(DEAD_TIME_MS)


def test_keyboard_judgements_are_stored_and_blind(wire, context, served: Served) -> None:
    captured = Served(served.study, wire.base, served.process)
    page = enter_annotation(context, captured, "D1")
    expect(page.locator(".audit")).to_be_hidden()
    annotation = annotation_session(served, "D1")
    with store.write(served.study) as con:
        audit = synthetic_study.add_audit(con)
        session = AuditSession(annotation, study_secret(served.study))
        order = session.audit_progress(con, audit)
    # Before the own queue is finished there is neither a button nor an answer from the route.
    page.reload()
    wait_until_ready(page, "Practice 1 / 2")
    expect(page.locator(".audit")).to_be_hidden()
    refused = page.evaluate(AUDIT_REPLY)
    assert (refused["status"], refused["body"]["code"]) == (409, "queue")
    assert order[0].label not in str(refused["body"])
    with store.write(served.study) as con:
        finish_queue(con, annotation)
    page.reload()
    page.click("text=Start the audit")
    wait_for_patch(page, 1)
    judgements = ["yes", "no", "unsure", "yes", "no", "no"]
    for i, answer in enumerate(judgements):
        expect(page.locator(".aud .words").first).to_have_text(order[i].label, use_inner_text=True)
        expect(page.locator(".aud .fresh")).to_be_visible(visible=i == 0)
        page.wait_for_function(IMAGES_LOADED)
        press(page, str(ANSWERS.index(answer) + 1))
        wait_for_patch(page, i + 2)
        if i == 2:
            page.evaluate(HELD_KEY, "1")
            press(page, "Backspace")
            wait_for_patch(page, 3)
            pressed = page.locator(".aud [aria-pressed=true]")
            expect(pressed).to_have_text(re.compile(r"3\s*Unsure"))
            expect(page.locator(".aud .previous")).to_be_hidden()
            press(page, "2")
            wait_for_patch(page, 4)
    expect(page.locator(".aud .fresh")).to_be_visible()
    expect(page.locator(".aud .note").first).to_contain_text("Saved", use_inner_text=True)
    page.reload()  # the audit resumes at the same patch
    page.click("text=Start the audit")
    wait_for_patch(page, 7)
    page.click(".aud .pause")
    press(page, "1")
    page.get_by_role("button", name="Continue", exact=True).click()
    wait_for_patch(page, 7)
    for i in range(6, 18):
        page.click(".aud .three button:nth-child(1)")
        if i < 17:
            wait_for_patch(page, i + 2)
    page.wait_for_selector("text=The audit is done")
    page.click("text=Back to the units")
    page.wait_for_selector("text=units are done")
    with store.read(served.study) as con:
        frame = audit_table.load_judgements(con, audit, versions=True).query("code == 'D1'")
        assert audit_table.current_audit(con) is not None
    first = {row.item: row.answer for row in frame[frame["version"] == 1].itertuples()}
    assert [first[patch.item] for patch in order] == judgements + ["yes"] * 12
    corrected = frame[frame["version"] == 2]
    assert corrected[["item", "answer"]].values.tolist() == [[order[2].item, "no"]]
    assert frame["seconds"].between(0, 30).all()
    sent = wire.own
    assert b'"stage":"patch"' in sent
    assert b"JFIF" in sent
    for secret in (
        *synthetic_study.WITHHELD,
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
        audit_table.close_audit(con, "team")


def test_two_windows_and_a_closed_audit(context, served: Served) -> None:
    with store.write(served.study) as con:
        audit = synthetic_study.add_audit(con, units=2, each=1)
    page = enter_annotation(context, served, "D2")
    with store.write(served.study) as con:
        finish_queue(con, annotation_session(served, "D2"))
    page.reload()
    page.click("text=Start the audit")
    wait_for_patch(page, 1, 6)
    other = context.new_page()
    other.goto(served.base)
    other.click("text=Start the audit")
    wait_for_patch(other, 1, 6)
    press(page, "1")
    wait_for_patch(page, 2, 6)
    press(other, "2")
    wait_for_patch(other, 2, 6)
    expect(other.locator(".aud .fault").first).to_contain_text(
        "another window", use_inner_text=True
    )
    with store.write(served.study) as con:
        rows = audit_table.load_judgements(con, audit).query("code == 'D2'")
        assert rows["answer"].tolist() == ["yes"]
        audit_table.close_audit(con, "team")
    press(page, "3")
    page.wait_for_selector("text=There is no audit at the moment")
    page.click("text=Back to the units")
    page.wait_for_selector("text=units are done")
    expect(page.locator("text=Start the audit")).to_have_count(0)
