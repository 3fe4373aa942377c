"""A reader in a real browser, with every byte that the server sends recorded; and the same asked
for by forgery.
"""

from __future__ import annotations

import json
import random
import re

import pytest

from core import store
from core.store import participant_table, reading_table
from support import synthetic_study
from support.expert_client import Client, token_of
from support.live_server import Served, start_server, stop_server
from support.network_capture import Wire
from support.reading_browser import settle

pytestmark = pytest.mark.browser
NAME = "ZQXSTUDY"
FORBIDDEN = (
    b"ZQX",
    b"zqxfile",
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


@pytest.fixture
def wire(served: Served):
    """A tap between browser and server."""
    with Wire(int(served.base.rsplit(":", 1)[1])) as tapped:
        yield tapped


def enter(context, served: Served, base: str, code: str):
    """A page at the first practice text."""
    page = context.new_page()
    page.goto(served.invite("reader", code).replace(served.base, base))
    page.click("button")
    page.check("#agree")
    page.click("text=Continue")
    page.click("text=Start with five practice texts")
    settle(page, "Practice 1 / 5")
    return page


def begin(page, total: int) -> None:
    """From the notice that practice is over, where no key answers anything, to the first case."""
    page.wait_for_selector("text=Practice is over")
    page.keyboard.press("3")
    assert page.locator(".six").count() == 0
    page.click("text=Start with case 1")
    settle(page, f"1 / {total}")


def practise(page, total: int = 32, key: str = "3") -> None:
    for i in range(5):
        page.keyboard.press(key)
        if i < 4:
            settle(page, f"Practice {i + 2} / 5")
    begin(page, total)


def given(served: Served, code: str, first: bool = False) -> list[int]:
    """A reader's answers in order of position, practice left out."""
    with store.read(served.study) as con:
        frame = reading_table.answers(con, NAME, 1, first)
    return frame.loc[frame["code"] == code, "answer"].tolist()


def test_a_reader_reads_all_and_no_byte_gives_anything_away(wire, context, served: Served) -> None:
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text))
    page = enter(context, served, wire.base, "R1")
    practise(page)
    choices = random.Random(1).choices(range(1, 7), k=32)
    for i, value in enumerate(choices):
        texts = page.locator(".tx li span").all_inner_texts()
        assert len(texts) == 3 and all(texts) and page.title() == "Read"
        if i == 10:
            page.keyboard.press("Backspace")
            settle(page, "10 / 32")
            assert page.locator("[aria-pressed=true] kbd").inner_text() == str(choices[9])
            assert page.get_by_text("Reopen the previous case").is_hidden()
            page.keyboard.press("6")
            settle(page, "11 / 32")
        page.keyboard.press(str(value))
        if i < 31:
            settle(page, f"{i + 2} / 32")
    page.wait_for_selector("text=All cases are done")
    assert given(served, "R1", first=True) == choices and given(served, "R1") == [
        *choices[:9],
        6,
        *choices[10:],
    ]
    page.reload()
    page.wait_for_selector("text=All cases are done")
    page.wait_for_timeout(420)
    page.keyboard.press("Backspace")  # the last case has no next one: it is reopened from here
    settle(page, "32 / 32")
    page.keyboard.press(str(choices[-1] % 6 + 1))
    page.wait_for_selector("text=All cases are done")
    assert (
        given(served, "R1")[-1] == choices[-1] % 6 + 1
        and given(served, "R1", first=True) == choices
    )
    dom = page.evaluate(
        "() => document.documentElement.outerHTML + [...document.querySelectorAll('*')].map(e =>"
        " e.shadowRoot?.innerHTML || '').join('')"
    )
    kept = page.evaluate(
        "() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href,"
        " document.title])"
    )
    sent = wire.sent
    assert (
        sent.count(b'"stage":"case"') >= 38
        and b"expert_read" in sent
        and b"Architectural distortion" in sent
    )
    for secret in FORBIDDEN:
        assert secret not in wire.own, secret
    assert not re.search(rb"0\.1\d\d456", sent)  # a network score
    assert (
        b"ZQX" not in sent
        and b"zqxfile" not in sent
        and b'"stage":"case"' in wire.own
        and b"expert_read" in wire.own
    )
    for secret in FORBIDDEN[:2]:
        assert secret.decode() not in dom + kept + "".join(said), secret
    assert said == [] and "st-key-expert" in dom


def test_what_a_reader_gets_is_of_constant_shape_and_the_order_is_blind(served: Served) -> None:
    client = Client(served.base).enter(token_of(served.invite("reader", "R2")))
    client.read("consent", {})
    case = client.read("begin", {})["case"]
    shapes, tokens = set(), set()
    for _ in range(37):
        shapes.add((tuple(sorted(case)), len(case["texts"]), len(case["token"])))
        tokens.add(case["token"])
        reply = client.read(
            "answer", {"token": case["token"], "answer": 2, "seconds": 1.0, "idle": False}
        )
        case = reply.get("case")
    assert (
        case is None and len(shapes) == 1 and len(tokens) == 37 and set(reply) == {"stage", "saved"}
    )
    with store.read(served.study) as con:
        order = reading_table.items(con, NAME, 1).merge(
            reading_table.cases(con, NAME, 1), on="case_number"
        )
    mine = order[order["code"] == "R2"].sort_values("position")
    assert abs(mine["position"].corr((mine["truth"] == "MALIGNANT").astype(float))) < 0.5
    assert mine["case_number"].tolist() != sorted(mine["case_number"])


def test_forged_pages_media_and_headers_are_refused(context, served: Served) -> None:
    link = served.invite("reader", "R3")
    client = Client(served.base).enter(token_of(link))
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
        assert client.ask(path)[0] == 403, path
    status, body = client.ask("/expert/read/state")
    assert status == 200 and json.loads(body)["stage"] == "consent"
    page = context.new_page()
    page.set_extra_http_headers({"X-Auth-Role": "team", "X-Auth-Who": "team"})
    page.goto(link)
    page.click("button")
    page.wait_for_selector("#agree")
    for path in ("participants", "units", "read/participants"):
        page.goto(f"{served.base}/{path}")
        assert "not open to you" in page.inner_text("body")
    # A page name or hash forged over the websocket of a page that may be open: the script chooses
    # by role, whatever is asked for.
    page.goto(f"{served.base}/read")
    page.wait_for_selector("#agree")
    page.evaluate("() => history.pushState({}, '', '/participants')")
    page.evaluate("() => window.dispatchEvent(new PopStateEvent('popstate'))")
    page.wait_for_timeout(1500)
    assert (
        page.locator("text=Invite").count() == 0
        and page.locator("text=not part of your invitation").count() == 0
    )


def test_held_keys_two_windows_pause_and_a_closed_study(context, tmp_path) -> None:
    study = synthetic_study.make(tmp_path / "study", protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(con, 60, design={"scale": 2, "repeats": 0})
    served = start_server(study)
    try:
        page = enter(context, served, served.base, "R1")
        for _ in range(10):
            page.evaluate(
                "() => document.dispatchEvent(new KeyboardEvent('keydown', {key: '2', repeat: true,"
                " bubbles: true, composed: true}))"
            )
        page.keyboard.press("7")
        settle(page, "Practice 1 / 5")
        for i in range(5):
            page.keyboard.press("1")
            page.keyboard.press("1")
            if i < 4:
                settle(page, f"Practice {i + 2} / 5")
        begin(page, 60)
        assert page.locator(".six button").count() == 2 and "Press 1 or 2. " in page.inner_text(
            ".ft"
        )
        assert (
            page.inner_text(".q") == "Do these texts speak for a benign or for a malignant finding?"
        )
        other = context.new_page()
        other.goto(served.base)
        settle(other, "1 / 60")
        page.bring_to_front()
        page.keyboard.press("2")
        settle(page, "2 / 60")
        other.bring_to_front()
        other.keyboard.press("1")
        settle(other, "2 / 60")
        assert "another window" in other.inner_text(".note") and given(served, "R1") == [2]
        other.click("text=Pause")
        other.keyboard.press("1")
        other.click("text=Continue")
        settle(other, "2 / 60")
        assert given(served, "R1") == [2]
        with store.write(study) as con:
            now = reading_table.get(con, NAME, 1)
            reading_table.append_state(
                con, protocol=NAME, version=1, state="closed", design=now.design, hash=now.hash
            )
        other.keyboard.press("1")
        other.wait_for_selector("text=has been closed")
        assert (
            "Nothing to read yet" in other.inner_text(".page")
            and other.locator(".page button").count() == 0
        )
        with store.write(study) as con:
            participant_table.revoke(con, "R1")
        other.wait_for_timeout(1200)
        other.reload()
        assert "open the link again" in other.inner_text("body")
        assert given(served, "R1") == [2]
    finally:
        stop_server(served)


def close(served: Served, version: int) -> None:
    with store.write(served.study) as con:
        now = reading_table.get(con, NAME, version)
        reading_table.append_state(
            con, protocol=NAME, version=version, state="closed", design=now.design, hash=now.hash
        )


def test_another_study_is_offered_and_nobody_is_moved_to_it(context, tmp_path) -> None:
    served = start_server(synthetic_study.make(tmp_path / "study"))
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text))
    try:
        with Wire(int(served.base.rsplit(":", 1)[1])) as wire:
            page = enter(context, served, wire.base, "R1")
            practise(page)
            page.keyboard.press("2")
            settle(page, "2 / 32")
            with store.write(served.study) as con:
                synthetic_study.add_protocol(con, 12, version=2, design={"scale": 2, "repeats": 0})
            page.reload()
            settle(page, "2 / 32")  # the newest is another one; this one goes on
            page.keyboard.press("5")
            settle(page, "3 / 32")
            assert given(served, "R1") == [2, 5]
            close(served, 1)
            page.keyboard.press("3")
            page.wait_for_selector("text=has been closed")
            assert (
                page.inner_text(".page button") == "Go on to the next study"
                and page.locator(".tx").count() == 0
            )
            page.reload()
            page.wait_for_selector("text=has been closed")  # until it is left
            told = page.inner_text(".page")
            page.click("text=Go on to the next study")
            page.click("text=Start with five practice texts")
            settle(page, "Practice 1 / 5")
            practise(page, 12, "1")
            for i in range(12):
                page.keyboard.press("1")
                if i < 11:
                    settle(page, f"{i + 2} / 12")
            page.wait_for_selector("text=All cases are done")
            assert page.locator("text=Go on to the next study").count() == 0
            with store.write(served.study) as con:
                synthetic_study.add_protocol(con, 12, version=3)
            page.reload()
            page.wait_for_selector("text=Go on to the next study")
            page.wait_for_timeout(420)  # the dead time after anything new
            page.click("text=Reopen the last case")
            settle(page, "12 / 12")
            page.keyboard.press("Escape")
            page.click("text=Go on to the next study")
            page.click("text=Start with five practice texts")
            settle(page, "Practice 1 / 5")
            for secret in (*FORBIDDEN, NAME.encode(), b"ZQXHASH", b'"version"', b'"protocol"'):
                assert secret not in wire.own, secret
        for word in ("right", "correct", "malignant", "benign", "%"):
            assert word not in told
        # The console may tell of the refused answer and nothing else.
        assert not any("ZQX" in line for line in said) and all("409" in line for line in said)
    finally:
        stop_server(served)
