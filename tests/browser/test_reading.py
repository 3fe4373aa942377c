"""Reading in a real browser: blinding of every byte that the server sends, and forged requests."""

from __future__ import annotations

import json
import random
import re

import pytest
from playwright.sync_api import expect

from core import store
from core.store import participant_table
from core.store.reading import protocol_table, reading_table
from support import synthetic_study
from support.expert_client import ExpertClient, token_of
from support.live_server import Served, start_server, stop_server
from support.network_capture import NetworkCapture
from support.reading_browser import DEAD_TIME_MS, answer_practice, wait_for_case
from support.shadow_dom import HELD_KEY
from support.stored_answers import stored_answers

pytestmark = pytest.mark.browser
NAME = "ZQXSTUDY"
FORBIDDEN = (
    b"unit_0",
    b"MALIGNANT",
    b"BENIGN",
    synthetic_study.DISSECT.encode(),
    b"network_score",
    b"mammogram_id",
    b"patient_id",
    b"truth",
    b"predicted",
    b"case_number",
    b'"arm"',
    b'"repeat"',
    b"/image/",
)


def start_practice(context, served: Served, base: str, code: str):
    """Return a page that shows the first practice text."""
    page = context.new_page()
    page.goto(served.invite("reader", code).replace(served.base, base))
    page.click("button")
    page.check("#agree")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.click("text=Start with five practice texts")
    wait_for_case(page, "Practice 1 / 5")
    return page


def begin_cases(page, total: int) -> None:
    """Continue from the notice that practice is over, which ignores keys, to the first case."""
    page.wait_for_selector("text=Practice is over")
    page.keyboard.press("3")
    expect(page.locator(".six")).to_have_count(0)
    page.click("text=Start with case 1")
    wait_for_case(page, f"1 / {total}")


def complete_practice(page, total: int = 32, key: str = "3") -> None:
    """Answer all practice texts and open the first case."""
    for i in range(4):
        answer_practice(page, key, f"Practice {i + 2} / 5")
        wait_for_case(page, f"Practice {i + 2} / 5")
    page.keyboard.press(key)
    begin_cases(page, total)


def answers_of(served: Served, code: str, first: bool = False) -> list[int]:
    """Return a reader's answers in order of position, without practice."""
    with store.read(served.study) as con:
        frame = stored_answers(con, NAME, 1, first)
    return frame.loc[frame["code"] == code, "answer"].tolist()


def test_a_complete_reading_is_stored_and_blinded(wire, context, served: Served) -> None:
    console: list[str] = []
    context.on("console", lambda message: console.append(message.text))
    page = start_practice(context, served, wire.base, "R1")
    complete_practice(page)
    choices = random.Random(1).choices(range(1, 7), k=32)
    for i, value in enumerate(choices):
        texts = page.locator(".tx li span").all_inner_texts()
        assert len(texts) == 3
        assert all(texts)
        assert page.title() == "Read"
        if i == 10:
            page.keyboard.press("Backspace")
            wait_for_case(page, "10 / 32")
            expect(page.locator("[aria-pressed=true] kbd")).to_have_text(str(choices[9]))
            expect(page.get_by_text("Reopen the previous case")).to_be_hidden()
            page.keyboard.press("6")
            wait_for_case(page, "11 / 32")
        page.keyboard.press(str(value))
        if i < 31:
            wait_for_case(page, f"{i + 2} / 32")
    page.wait_for_selector("text=All cases are done")
    assert answers_of(served, "R1", first=True) == choices
    assert answers_of(served, "R1") == [*choices[:9], 6, *choices[10:]]
    page.reload()
    page.wait_for_selector("text=All cases are done")
    page.wait_for_timeout(DEAD_TIME_MS)
    page.keyboard.press("Backspace")  # reopens the last case
    wait_for_case(page, "32 / 32")
    page.keyboard.press(str(choices[-1] % 6 + 1))
    page.wait_for_selector("text=All cases are done")
    assert answers_of(served, "R1")[-1] == choices[-1] % 6 + 1
    assert answers_of(served, "R1", first=True) == choices
    dom = page.evaluate(
        "() => document.documentElement.outerHTML + [...document.querySelectorAll('*')].map(e =>"
        " e.shadowRoot?.innerHTML || '').join('')"
    )
    browser_state = page.evaluate(
        "() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href,"
        " document.title])"
    )
    sent = wire.sent
    assert sent.count(b'"stage":"case"') >= 38
    assert b"expert_read" in sent
    assert b"Architectural distortion" in sent
    for secret in (*synthetic_study.WITHHELD, *FORBIDDEN):
        assert secret not in wire.own, secret
    assert not re.search(rb"0\.1\d\d456", sent)  # a network score
    for secret in synthetic_study.WITHHELD:
        assert secret not in sent, secret
    assert b'"stage":"case"' in wire.own
    assert b"expert_read" in wire.own
    for secret in synthetic_study.WITHHELD:
        assert secret.decode() not in dom + browser_state + "".join(console), secret
    assert console == []
    assert "st-key-expert" in dom


def test_cases_have_one_shape_and_a_blind_order(served: Served) -> None:
    client = ExpertClient(served.base).sign_in(token_of(served.invite("reader", "R2")))
    client.reading_request("consent", {})
    case = client.reading_request("begin", {})["case"]
    shapes, tokens = set(), set()
    for _ in range(37):
        shapes.add((tuple(sorted(case)), len(case["texts"]), len(case["token"])))
        tokens.add(case["token"])
        reply = client.reading_request(
            "answer", {"token": case["token"], "answer": 2, "seconds": 1.0, "idle": False}
        )
        case = reply.get("case")
    assert case is None
    assert len(shapes) == 1
    assert len(tokens) == 37
    assert set(reply) == {"stage", "saved"}
    with store.read(served.study) as con:
        order = reading_table.load_reading_items(con, NAME, 1).merge(
            reading_table.load_reading_cases(con, NAME, 1), on="case_number"
        )
    rows = order[order["code"] == "R2"].sort_values("position")
    malignant = (rows["truth"] == "MALIGNANT").astype(float)
    assert abs(rows["position"].corr(malignant)) < 0.5
    assert rows["case_number"].tolist() != sorted(rows["case_number"])


def test_forged_pages_media_and_headers_are_refused(context, served: Served) -> None:
    link = served.invite("reader", "R3")
    client = ExpertClient(served.base).sign_in(token_of(link))
    client.headers |= {"X-Auth-Role": "team", "X-Auth-Who": "team"}
    for path in (
        "/participants",
        "/overview",
        "/annotate",
        "/image/x",
        "/media/x",
        "/expert/annotate/state",
        "/_stcore/metrics",
        "/app/static/inter-OFL.txt",
    ):
        assert client.request(path)[0] == 403, path
    status, body = client.request("/expert/read/state")
    assert status == 200
    assert json.loads(body)["stage"] == "consent"
    page = context.new_page()
    page.set_extra_http_headers({"X-Auth-Role": "team", "X-Auth-Who": "team"})
    page.goto(link)
    page.click("button")
    page.wait_for_selector("#agree")
    for path in ("participants", "units", "read/participants"):
        page.goto(f"{served.base}/{path}")
        expect(page.locator("body").first).to_contain_text("not open to you", use_inner_text=True)
    # A page name forged over the websocket of a permitted page: the script selects pages by role
    # and ignores the requested name.
    page.goto(f"{served.base}/read")
    page.wait_for_selector("#agree")
    page.evaluate("() => history.pushState({}, '', '/participants')")
    page.evaluate("() => window.dispatchEvent(new PopStateEvent('popstate'))")
    page.wait_for_timeout(1500)
    expect(page.locator("text=Invite")).to_have_count(0)
    expect(page.locator("text=not part of your invitation")).to_have_count(0)


def close_study(served: Served, version: int) -> None:
    """Close a version of the reading study."""
    with store.write(served.study) as con:
        protocol = protocol_table.load_protocol(con, NAME, version)
        protocol_table.append_protocol_state(
            con,
            protocol=NAME,
            version=version,
            state="closed",
            design=protocol.design,
            hash=protocol.hash,
        )


def test_held_keys_two_windows_pause_and_closing(context, tmp_path) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(con, 60, design={"scale": 2, "repeats": 0})
    served = start_server(study)
    try:
        page = start_practice(context, served, served.base, "R1")
        for _ in range(10):
            page.evaluate(HELD_KEY, "2")
        page.keyboard.press("7")
        wait_for_case(page, "Practice 1 / 5")
        page.keyboard.press("1")
        page.get_by_text("What this practice case showed").wait_for()
        expect(page.locator(".example")).to_contain_text("from the descriptions alone")
        page.wait_for_timeout(DEAD_TIME_MS)
        page.keyboard.press("2")  # not the answer to the next case
        page.evaluate(HELD_KEY, "Enter")
        expect(page.locator(".example")).to_have_count(1)
        page.keyboard.press("Enter")
        for i in range(1, 5):
            wait_for_case(page, f"Practice {i + 1} / 5")
            page.keyboard.press("1")
            page.keyboard.press("1")
        begin_cases(page, 60)
        expect(page.locator(".six button")).to_have_count(2)
        expect(page.locator(".ft").first).to_contain_text("Press 1 or 2. ", use_inner_text=True)
        question = "Do these texts indicate a benign or a malignant finding?"
        expect(page.locator(".q").first).to_have_text(question, use_inner_text=True)
        other = context.new_page()
        other.goto(served.base)
        wait_for_case(other, "1 / 60")
        page.bring_to_front()
        page.keyboard.press("2")
        wait_for_case(page, "2 / 60")
        other.bring_to_front()
        other.keyboard.press("1")
        wait_for_case(other, "2 / 60")
        expect(other.locator(".note").first).to_contain_text("another window", use_inner_text=True)
        assert answers_of(served, "R1") == [2]
        other.click("text=Pause")
        other.keyboard.press("1")
        other.get_by_role("button", name="Continue", exact=True).click()
        wait_for_case(other, "2 / 60")
        assert answers_of(served, "R1") == [2]
        close_study(served, 1)
        other.keyboard.press("1")
        other.wait_for_selector("text=has been closed")
        expect(other.locator(".page").first).to_contain_text(
            "Nothing to read yet", use_inner_text=True
        )
        expect(other.locator(".page button")).to_have_count(0)
        with store.write(study) as con:
            participant_table.revoke_invitations(con, "R1")
        other.wait_for_timeout(1200)
        other.reload()
        expect(other.locator("body").first).to_contain_text(
            "open the link again", use_inner_text=True
        )
        assert answers_of(served, "R1") == [2]
    finally:
        stop_server(served)


def test_readers_stay_in_their_study_until_they_leave_it(context, tmp_path) -> None:
    served = start_server(synthetic_study.create_study(tmp_path / "study"))
    console: list[str] = []
    context.on("console", lambda message: console.append(message.text))
    try:
        with NetworkCapture(served.port) as wire:
            page = start_practice(context, served, wire.base, "R1")
            complete_practice(page)
            page.keyboard.press("2")
            wait_for_case(page, "2 / 32")
            with store.write(served.study) as con:
                synthetic_study.add_protocol(con, 12, version=2, design={"scale": 2, "repeats": 0})
            page.reload()
            wait_for_case(page, "2 / 32")  # the newest study is another one; this one continues
            page.keyboard.press("5")
            wait_for_case(page, "3 / 32")
            assert answers_of(served, "R1") == [2, 5]
            close_study(served, 1)
            page.keyboard.press("3")
            page.wait_for_selector("text=has been closed")
            expect(page.locator(".page button").first).to_have_text(
                "Continue with the next study", use_inner_text=True
            )
            expect(page.locator(".tx")).to_have_count(0)
            page.reload()
            page.wait_for_selector("text=has been closed")  # until the reader leaves the study
            notice = page.inner_text(".page")
            page.get_by_role("button", name="Continue with the next study").click()
            page.click("text=Start with five practice texts")
            wait_for_case(page, "Practice 1 / 5")
            complete_practice(page, 12, "1")
            for i in range(12):
                page.keyboard.press("1")
                if i < 11:
                    wait_for_case(page, f"{i + 2} / 12")
            page.wait_for_selector("text=All cases are done")
            expect(page.locator("text=Continue with the next study")).to_have_count(0)
            with store.write(served.study) as con:
                synthetic_study.add_protocol(con, 12, version=3)
            page.reload()
            page.wait_for_selector("text=Continue with the next study")
            page.wait_for_timeout(DEAD_TIME_MS)
            page.click("text=Reopen the last case")
            wait_for_case(page, "12 / 12")
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Continue with the next study").click()
            page.click("text=Start with five practice texts")
            wait_for_case(page, "Practice 1 / 5")
            for secret in (*synthetic_study.WITHHELD, *FORBIDDEN, b'"version"', b'"protocol"'):
                assert secret not in wire.own, secret
        for word in ("right", "correct", "malignant", "benign", "%"):
            assert word not in notice
        # The console contains the refused answer (status 409) and nothing else.
        assert not any("ZQX" in line for line in console)
        assert all("409" in line for line in console)
    finally:
        stop_server(served)
