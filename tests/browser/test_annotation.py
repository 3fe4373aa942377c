"""Annotation in a real browser: keyboard, mouse, drafts, two windows and a lost connection."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import expect

from core import store
from core.lexicon import annotation_answers
from core.lexicon.birads_categories import BIRADS, CATEGORIES
from core.store import annotation_table
from support import synthetic_study
from support.annotation_browser import (
    DEAD_TIME_MS,
    continue_with,
    enter_annotation,
    press,
    wait_until_ready,
)
from support.live_server import Served, start_server, stop_server
from support.shadow_dom import HELD_KEY, IMAGE_LOADED, KEYS_AT_ONCE, shadow_condition

pytestmark = pytest.mark.browser


def complete_practice(page) -> None:
    """Answer both practice units and start with unit 1."""
    press(page, "0 Enter")
    wait_until_ready(page, "Practice 2 / 2")
    press(page, "U Enter")
    page.click("text=Start with unit 1")
    wait_until_ready(page, "Unit 1 / 24")


def stored_answers(served: Served, code: str, practice: bool = False) -> list[dict]:
    """Return the stored answers of one annotator, all versions, in order of answering."""
    with store.read(served.study) as con:
        frame = annotation_table.load_annotations(con, versions=True)
    rows = frame[(frame["code"] == code) & (frame["practice"] == practice)]
    return [
        {
            "unit": int(r.unit),
            "version": int(r.version),
            "repeat": bool(r.repeat),
            "seconds": r.seconds,
            **r.answer,
        }
        for r in rows.itertuples()
    ]


# Keys, the label that they compose, and the confidence.
TYPED_ANSWERS = (
    ("M 5 S 3", "Mass with spiculated margin, suspicious", 3),
    ("N 2", "Normal tissue", 2),
    (
        "K 5 2 3 B + M 1 B 1",
        (
            "Vascular calcifications, grouped distribution, benign; mass with circumscribed margin,"
            " benign"
        ),
        1,
    ),
    ("0", "", None),
    ("A 2 I + D S 2", "Focal asymmetry, uncertain; architectural distortion, suspicious", 2),
)


def test_keyboard_answers_are_stored_as_typed(context, served: Served) -> None:
    page = enter_annotation(context, served, "K1")
    complete_practice(page)
    for i, (keys, label, _) in enumerate(TYPED_ANSWERS):
        press(page, keys)
        expect(page.locator(".own").first).to_have_value(label)
        press(page, "Enter")
        wait_until_ready(page, f"Unit {i + 2} / 24")
    rows = stored_answers(served, "K1")
    assert [(r["label"], r["confidence"]) for r in rows] == [
        (label, confidence) for _, label, confidence in TYPED_ANSWERS
    ]
    assert [r["recognisable"] for r in rows] == ["yes", "yes", "yes", "nothing", "yes"]
    assert len({r["unit"] for r in rows}) == 5
    assert all(r["version"] == 1 and 0 < r["seconds"] < 30 for r in rows)
    assert rows[4]["phenomena"] == [
        {"category": "asymmetry", "terms": {"extent": "focal"}, "association": "uncertain"},
        {"category": "distortion", "terms": {}, "association": "suspicious"},
    ]
    assert [r["recognisable"] for r in stored_answers(served, "K1", practice=True)] == [
        "nothing",
        "unsure",
    ]
    expect(page.locator(".note").first).to_contain_text("Saved", use_inner_text=True)


def test_every_category_composes_the_label_of_the_lexicon(context, served: Served) -> None:
    page = enter_annotation(context, served, "K8")
    complete_practice(page)
    for category in CATEGORIES:
        press(page, category.key)
        terms = {}
        for field in category.fields:
            if not field.optional:
                press(page, field.terms[1].key)
                terms[field.name] = field.terms[1].name
        has_association = category.association != "none"
        if has_association:
            press(page, "B")
        phenomenon = {
            "category": category.name,
            "terms": terms,
            "association": "benign" if has_association else None,
        }
        expect(page.locator(".own").first).to_have_value(
            annotation_answers.format_label([phenomenon], BIRADS)
        )
        press(page, category.key)


def test_drafts_survive_a_reload_and_answers_can_be_revised(context, served: Served) -> None:
    page = enter_annotation(context, served, "K2")
    complete_practice(page)
    press(page, "M 3 I")
    page.wait_for_function("() => Object.keys(localStorage).some(k => k.startsWith('dm-draft-'))")
    names = page.evaluate("() => JSON.stringify(localStorage)")
    assert "ZQX" not in names and "unit_" not in names
    page.reload()
    continue_with(page, "Start with unit 1")
    wait_until_ready(page, "Unit 1 / 24")
    expect(page.locator(".own").first).to_have_value("Mass with microlobulated margin, uncertain")
    assert stored_answers(served, "K2") == []
    press(page, "2 Enter")
    wait_until_ready(page, "Unit 2 / 24")
    press(page, "Backspace")
    wait_until_ready(page, "Unit 1 / 24")
    expect(page.locator(".own").first).to_have_value("Mass with microlobulated margin, uncertain")
    press(page, "S")
    page.fill(".own", "Small mass at the chest wall")
    page.keyboard.press("Enter")  # leaves the text field, so that keys work again
    press(page, "Enter")
    wait_until_ready(page, "Unit 2 / 24")
    rows = stored_answers(served, "K2")
    assert [(r["version"], r["label"]) for r in rows] == [
        (1, "Mass with microlobulated margin, uncertain"),
        (2, "Small mass at the chest wall"),
    ]
    assert rows[0]["unit"] == rows[1]["unit"]
    drafts = "() => Object.keys(localStorage).filter(k => k.startsWith('dm-draft-')).length"
    assert page.evaluate(drafts) == 0


def test_missing_rows_are_marked_and_blank_rows_allowed(context, served: Served) -> None:
    page = enter_annotation(context, served, "K4")
    press(page, "0 Enter")
    wait_until_ready(page, "Practice 2 / 2")
    expect(page.locator(".skip")).to_be_hidden()
    press(page, "U Enter")
    page.wait_for_selector("text=Practice is over")
    press(page, "N")  # no key of the form works on the notice
    page.keyboard.press("Enter")
    wait_until_ready(page, "Unit 1 / 24")

    def expect_marked_row(name: str) -> None:
        """Wait until the row with this name takes the digits."""
        expect(page.locator(".form .lab.open")).to_have_text(re.compile(f"^{name}"))

    press(page, "K")
    expect_marked_row("Type")
    expect(page.locator(".form .lab.open").first).to_contain_text("↓ blank", use_inner_text=True)
    press(page, "Enter")
    expect(page.locator(".lab.wrong")).to_have_text("Association", use_inner_text=True)
    fault = page.locator(".fault").first
    expect(fault).to_have_text(
        "Choose the association of the calcifications: B benign, I uncertain or S suspicious."
    )
    assert fault.evaluate(
        "e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.parentNode.clientHeight + 1"
    )
    press(page, "S")
    # The association is below the rows of the category, so these are left blank.
    expect(fault).to_be_hidden()
    expect_marked_row("Confidence")
    press(page, "Enter")
    expect(page.locator(".lab.wrong")).to_have_text(re.compile("^Confidence"))
    press(page, "2 ArrowUp")
    expect_marked_row("Distribution")
    press(page, "3 ArrowUp ArrowUp ArrowUp 1")
    expect(page.locator(".own").first).to_have_value(
        "Amorphous calcifications, grouped distribution, suspicious"
    )
    press(page, "ArrowUp ArrowUp 1 C 3")
    expect(page.locator(".own").first).to_have_value(
        "Calcifications, grouped distribution, suspicious"
    )
    press(page, "Enter")
    wait_until_ready(page, "Unit 2 / 24")
    press(page, "K ArrowDown 2 S 1 Enter")
    wait_until_ready(page, "Unit 3 / 24")
    assert [(r["label"], r["confidence"]) for r in stored_answers(served, "K4")] == [
        ("Calcifications, grouped distribution, suspicious", 3),
        ("Calcifications, regional distribution, suspicious", 1),
    ]
    press(page, "?")
    expect(page.locator(".pop").first).to_contain_text(
        "leave the marked row blank", use_inner_text=True
    )


def test_held_double_and_early_keys_are_ignored(context, served: Served) -> None:
    page = enter_annotation(context, served, "K3")
    complete_practice(page)
    press(page, "N 2")
    for _ in range(8):
        page.evaluate(HELD_KEY, "Enter")
    assert stored_answers(served, "K3") == []
    page.evaluate(KEYS_AT_ONCE, ["Enter", "Enter", "n", "2", "Enter"])
    wait_until_ready(page, "Unit 2 / 24")
    assert len(stored_answers(served, "K3")) == 1
    press(page, "M 5")
    page.click(".words")
    page.keyboard.type("0 K 3 Enter S")
    press(page, "Escape Escape")
    press(page, "S 3 Enter")
    wait_until_ready(page, "Unit 3 / 24")
    last = stored_answers(served, "K3")[-1]
    assert last["words"] == "0 K 3 Enter S"
    assert last["label"] == "Mass with spiculated margin, suspicious"
    for keys, message in (
        ("Enter", "Choose a phenomenon"),
        ("M 5 Enter", "association"),
        ("S Enter", "confidence"),
    ):
        press(page, keys)
        page.wait_for_function(
            shadow_condition(".fault", "e.textContent.includes(arg)"), arg=message
        )
    assert len(stored_answers(served, "K3")) == 2
    press(page, "1 Enter")
    wait_until_ready(page, "Unit 4 / 24")


FOCUSED_TEXT = """() => {
    let active = document.activeElement;
    while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
    if (active === document.body) return "";
    return (active.getAttribute("aria-label") || active.textContent).trim();
}"""
CLIPPED_TEXTS = """() => {
    const hosts = [...document.querySelectorAll('*')];
    const page = hosts.map(e => e.shadowRoot?.querySelector('.ann')).find(Boolean);
    const texts = [...page.querySelectorAll('.bar .note, .form .o')];
    return texts.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent);
}"""


def tab_to(page, text: str) -> None:
    """Press Tab until the element with this text has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED_TEXT).startswith(text):
            return
    raise AssertionError(f"Tab never reached {text}")


def test_skip_list_viewer_and_own_words_by_keyboard(context, served: Served) -> None:
    page = enter_annotation(context, served, "K7")
    complete_practice(page)
    tab_to(page, "Skip")
    press(page, "Enter")
    wait_until_ready(page, "Unit 2 / 24")
    press(page, "0 Enter")  # the next unit is answered, not skipped as well
    wait_until_ready(page, "Unit 3 / 24")
    expect(page.locator(".count").first).to_have_text("1 done, 1 skipped", use_inner_text=True)
    press(page, "K 1")
    page.wait_for_selector("text=Draft kept")
    assert page.evaluate(CLIPPED_TEXTS) == []
    press(page, "+ Enter")
    expect(page.locator(".fault").first).to_contain_text("take it back")
    press(page, "Escape S")
    expect(page.locator(".own").first).to_have_value("Amorphous calcifications, suspicious")
    expect(page.locator(".form .tabs")).to_have_count(0)
    press(page, "+ + 3")
    tab_to(page, "Own words")
    press(page, "Enter")
    page.keyboard.type("seen twice")
    press(page, "Escape")
    expect(page.locator(".words").first).to_have_text("Own words, written", use_inner_text=True)
    tab_to(page, "All units")
    press(page, "Enter")
    page.wait_for_selector(".preview .list button")
    page.wait_for_function("arg => (" + FOCUSED_TEXT + ")().startsWith(arg)", arg="3")
    tab_to(page, "4")  # the next row, and nothing of the hidden form
    press(page, "Escape")
    page.wait_for_timeout(DEAD_TIME_MS)
    press(page, "z w Shift+L")
    expect(page.locator(".wlt").first).to_have_text(re.compile(r"150\s%\s*W\s239\s*L\s136"))
    press(page, "r")
    expect(page.locator(".wlt").first).to_have_text(re.compile(r"100\s%\s*W\s255\s*L\s128"))
    press(page, "Enter")
    wait_until_ready(page, "Unit 4 / 24")
    last = stored_answers(served, "K7")[-1]
    assert (last["label"], last["words"], last["confidence"]) == (
        "Amorphous calcifications, suspicious",
        "seen twice",
        3,
    )


def test_viewer_skip_and_list_by_mouse(context, served: Served) -> None:
    broken = {"images": True}
    context.route(
        "**/image/*", lambda route: route.abort() if broken["images"] else route.continue_()
    )
    page = enter_annotation(context, served, "K6")
    page.wait_for_selector(".grid button.retry")
    page.wait_for_selector("text=The mammogram was not loaded")
    broken["images"] = False
    page.click("text=The mammogram was not loaded")
    page.wait_for_function(IMAGE_LOADED)
    page.click(".grid button:nth-child(3)")
    page.wait_for_function(
        shadow_condition(
            ".grid button:nth-child(3)",
            "e.className === '' && e.querySelector('img').naturalWidth > 0",
        )
    )
    page.reload()
    wait_until_ready(page, "Practice 1 / 2")
    complete_practice(page)
    page.wait_for_function(
        shadow_condition(
            ".grid", "[...e.querySelectorAll('img')].every(i => i.complete && i.naturalWidth)"
        )
    )
    page.wait_for_timeout(2500)  # images of the next units are fetched before they are needed
    page.wait_for_load_state("networkidle")
    requests, frames = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: socket.on("framesent", frames.append))
    for i in (5, 12, 20, 31):
        page.hover(f".grid button:nth-child({i + 1})")
        expect(page.locator(".pn").first).to_have_text(f"Patch {i + 1} of 32", use_inner_text=True)
        assert page.evaluate(IMAGE_LOADED)
    page.keyboard.press("h")
    page.mouse.move(1000, 300)
    page.mouse.wheel(0, -300)
    page.mouse.down()
    page.mouse.move(1060, 340)
    page.mouse.up()
    # Hovering, zooming and windowing send nothing to the server.
    assert [url for url in requests if "/_stcore/health" not in url] == []
    assert frames == []
    expect(page.locator(".wlt").first).to_contain_text("W 315", use_inner_text=True)
    expect(page.locator(".wlt").first).not_to_contain_text("100 %", use_inner_text=True)
    expect(page.locator(".hl").first).to_contain_text("off", use_inner_text=True)
    page.click(".grid button:nth-child(9)")
    page.mouse.move(1000, 300)
    expect(page.locator(".pn").first).to_have_text("Patch 9 of 32, pinned", use_inner_text=True)
    page.keyboard.press("Escape")
    expect(page.locator(".pn").first).to_have_text("Patch 1 of 32", use_inner_text=True)
    page.click(".skip")
    wait_until_ready(page, "Unit 2 / 24")
    page.click("text=Calcification")
    page.click("text=Amorphous")
    page.click("text=Diffuse")
    page.click("text=Uncertain")
    page.click("text=high")
    page.click("text=Save and next")
    wait_until_ready(page, "Unit 3 / 24")
    expect(page.locator(".count").first).to_have_text("1 done, 1 skipped", use_inner_text=True)
    page.click("text=All units")
    page.click("text=Skipped 1")
    page.wait_for_function(shadow_condition(".list", "e.querySelectorAll('button').length === 1"))
    page.click(".list button")
    wait_until_ready(page, "Unit 1 / 24")
    assert (
        stored_answers(served, "K6")[0]["label"]
        == "Amorphous calcifications, diffuse distribution, uncertain"
    )


def test_two_windows_store_one_answer_and_no_secret_is_sent(wire, context, served: Served) -> None:
    captured = Served(served.study, wire.base, served.process)
    page = enter_annotation(context, captured, "K5")
    complete_practice(page)
    other = context.new_page()
    other.goto(wire.base)
    continue_with(other, "Start with unit 1")
    wait_until_ready(other, "Unit 1 / 24")
    press(page, "N 3 Enter")
    wait_until_ready(page, "Unit 2 / 24")
    other.bring_to_front()
    press(other, "0 Enter")
    wait_until_ready(other, "Unit 2 / 24")
    expect(other.locator(".fault").first).to_contain_text("another window", use_inner_text=True)
    assert [r["label"] for r in stored_answers(served, "K5")] == ["Normal tissue"]
    other.click("text=All units")
    other.wait_for_selector(".list button")
    sent = wire.sent
    for expected in (b"Normal tissue", b"/image/", b"JFIF", b"expert_annotate"):
        assert expected in sent, expected
    for secret in (
        *synthetic_study.WITHHELD,
        b"unit_0",
        synthetic_study.DISSECT.encode(),
        b"influence",
        b"Exif\0\0",
    ):
        assert secret not in sent, secret


def test_an_answer_survives_a_lost_connection(context, tmp_path) -> None:
    served = start_server(synthetic_study.create_study(tmp_path / "study"))
    try:
        page = enter_annotation(context, served, "L1")
        complete_practice(page)
        port = served.port
        # Stopped first: the page ignores keys once its check every 5 s has failed.
        os.kill(served.process.pid, signal.SIGSTOP)
        press(page, "M 5 S 3 Enter")
        served.process.kill()
        served.process.join()
        page.wait_for_function(
            shadow_condition(".lost", "e.textContent.includes('Connection lost')")
        )
        served = start_server(served.study, port)
        wait_until_ready(page, "Unit 2 / 24")
        assert [r["label"] for r in stored_answers(served, "L1")] == [
            "Mass with spiculated margin, suspicious"
        ]
    finally:
        stop_server(served)
