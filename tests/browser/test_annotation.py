"""An annotator in a real browser: by keyboard, with drafts, a second window, a lost connection;
hovering asks the server nothing.
"""

from __future__ import annotations

import statistics
import time

import pytest

from core import birads_lexicon, store
from core.store import annotation_table
from support import synthetic_study
from support.annotation_browser import DEAD, enter, press, settle, shown
from support.live_server import Served, start_server, stop_server
from support.network_capture import Wire

pytestmark = pytest.mark.browser


def practise(page) -> None:
    press(page, "0 Enter")
    settle(page, "Practice 2 / 2")
    press(page, "U Enter")
    page.click("text=Start with unit 1")
    settle(page, "Unit 1 / 24")


def stored(served: Served, code: str, practice: bool = False) -> list[dict]:
    """What the store holds of one person, in order of answering."""
    with store.read(served.study) as con:
        frame = annotation_table.answers(con, versions=True)
    mine = frame[(frame["code"] == code) & (frame["practice"] == practice)]
    return [
        {
            "unit": int(r.unit),
            "version": int(r.version),
            "repeat": bool(r.repeat),
            "seconds": r.seconds,
            **r.answer,
        }
        for r in mine.itertuples()
    ]


SCRIPT = (
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


def test_five_units_by_keyboard_are_stored_as_typed(
    context, served: Served, record_testsuite_property, capsys
) -> None:
    page = enter(context, served, "K1")
    practise(page)
    waits = []
    for i, (keys, label, _) in enumerate(SCRIPT):
        press(page, keys)
        assert page.input_value(".own") == label
        start = time.perf_counter()
        press(page, "Enter")
        shown(page, f"Unit {i + 2} / 24")
        waits.append(time.perf_counter() - start)
        page.wait_for_timeout(DEAD)
    figure = (
        f"machine waiting per unit, Enter to the next unit: median {statistics.median(waits):.2f}"
        f" s, largest {max(waits):.2f} s over {len(waits)} units"
    )
    record_testsuite_property("annotate_machine_waiting", figure)
    with capsys.disabled():
        print(f"\n{figure}")
    rows = stored(served, "K1")
    assert [(r["label"], r["confidence"]) for r in rows] == [
        (label, sure) for _, label, sure in SCRIPT
    ]
    assert [r["recognisable"] for r in rows] == ["yes", "yes", "yes", "nothing", "yes"]
    assert len({r["unit"] for r in rows}) == 5 and all(
        r["version"] == 1 and 0 < r["seconds"] < 30 for r in rows
    )
    assert rows[4]["phenomena"] == [
        {"category": "asymmetry", "terms": {"extent": "focal"}, "association": "uncertain"},
        {"category": "distortion", "terms": {}, "association": "suspicious"},
    ]
    assert [r["recognisable"] for r in stored(served, "K1", practice=True)] == ["nothing", "unsure"]
    assert statistics.median(waits) <= 6
    assert "Saved" in page.inner_text(".note")
    for kind in birads_lexicon.CATEGORIES:
        press(page, kind.key)
        chosen = {}
        for field in kind.fields:
            if not field.optional:
                press(page, field.terms[1].key)
                chosen[field.name] = field.terms[1].name
        if kind.association != "none":
            press(page, "B")
        expected = birads_lexicon.label(
            [
                {
                    "category": kind.name,
                    "terms": chosen,
                    "association": "benign" if kind.association != "none" else None,
                }
            ]
        )
        assert page.input_value(".own") == expected
        press(page, kind.key)


def test_a_draft_survives_a_reload_and_an_answer_can_be_revised(context, served: Served) -> None:
    page = enter(context, served, "K2")
    practise(page)
    press(page, "M 3 I")
    page.wait_for_function("() => Object.keys(localStorage).some(k => k.startsWith('dm-draft-'))")
    names = page.evaluate("() => JSON.stringify(localStorage)")
    assert "ZQX" not in names and "unit_" not in names
    page.reload()
    settle(page, "Unit 1 / 24")
    assert page.input_value(".own") == "Mass with microlobulated margin, uncertain"
    assert stored(served, "K2") == []
    press(page, "2 Enter")
    settle(page, "Unit 2 / 24")
    press(page, "Backspace")
    settle(page, "Unit 1 / 24")
    assert page.input_value(".own") == "Mass with microlobulated margin, uncertain"
    press(page, "S")
    page.fill(".own", "Small mass at the chest wall")
    page.keyboard.press("Enter")  # leaves the field; the keys are ours again
    press(page, "Enter")
    settle(page, "Unit 2 / 24")
    rows = stored(served, "K2")
    assert [(r["version"], r["label"]) for r in rows] == [
        (1, "Mass with microlobulated margin, uncertain"),
        (2, "Small mass at the chest wall"),
    ]
    assert (
        rows[0]["unit"] == rows[1]["unit"]
        and page.evaluate(
            "() => Object.keys(localStorage).filter(k => k.startsWith('dm-draft-')).length"
        )
        == 0
    )


def test_rows_are_marked_left_blank_and_the_missing_one_is_shown(context, served: Served) -> None:
    page = enter(context, served, "K4")
    press(page, "0 Enter")
    settle(page, "Practice 2 / 2")
    assert page.locator(".skip").is_hidden()
    press(page, "U Enter")
    page.wait_for_selector("text=Practice is over")
    press(page, "N")  # no key of the form works on the notice
    page.keyboard.press("Enter")
    settle(page, "Unit 1 / 24")

    def marked() -> str:
        return page.locator(".form .lab.open").inner_text().split("\n")[0].split(" ")[0]

    press(page, "K")
    assert marked() == "Type" and "↓ blank" in page.inner_text(".form .lab.open")
    press(page, "Enter")
    assert page.locator(".lab.wrong").inner_text() == "Association"
    fault = page.locator(".fault").first
    assert (
        fault.inner_text()
        == "Choose the association of the calcifications: B benign, I uncertain or S suspicious."
    )
    assert fault.evaluate(
        "e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.parentNode.clientHeight + 1"
    )
    press(page, "S")
    assert (
        fault.is_hidden() and marked() == "Confidence"
    )  # an association stands below the rows: they are left blank
    press(page, "Enter")
    assert page.locator(".lab.wrong").inner_text().startswith("Confidence")
    press(page, "2 ArrowUp")
    assert marked() == "Distribution"
    press(page, "3 ArrowUp ArrowUp ArrowUp 1")
    assert page.input_value(".own") == "Amorphous calcifications, grouped distribution, suspicious"
    press(page, "ArrowUp ArrowUp 1 C 3")
    assert page.input_value(".own") == "Calcifications, grouped distribution, suspicious"
    press(page, "Enter")
    settle(page, "Unit 2 / 24")
    press(page, "K ArrowDown 2 S 1 Enter")
    settle(page, "Unit 3 / 24")
    assert [(r["label"], r["confidence"]) for r in stored(served, "K4")] == [
        ("Calcifications, grouped distribution, suspicious", 3),
        ("Calcifications, regional distribution, suspicious", 1),
    ]
    press(page, "?")
    assert "leave the marked row blank" in page.inner_text(".pop")


def test_held_double_and_early_keys_save_nothing_wrong(context, served: Served) -> None:
    page = enter(context, served, "K3")
    practise(page)
    press(page, "N 2")
    for _ in range(8):
        page.evaluate(
            "() => document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', repeat: true,"
            " bubbles: true, composed: true}))"
        )
    assert stored(served, "K3") == []
    press(page, "Enter Enter N 2 Enter")
    settle(page, "Unit 2 / 24")
    assert len(stored(served, "K3")) == 1
    press(page, "M 5")
    page.click(".words")
    page.keyboard.type("0 K 3 Enter S")
    press(page, "Escape Escape")
    press(page, "S 3 Enter")
    settle(page, "Unit 3 / 24")
    last = stored(served, "K3")[-1]
    assert (
        last["words"] == "0 K 3 Enter S"
        and last["label"] == "Mass with spiculated margin, suspicious"
    )
    for keys, words in (
        ("Enter", "Choose a phenomenon"),
        ("M 5 Enter", "association"),
        ("S Enter", "confidence"),
    ):
        press(page, keys)
        page.wait_for_function(
            "w => [...document.querySelectorAll('*')].some(e =>"
            " e.shadowRoot?.querySelector('.fault')?.textContent.includes(w))",
            arg=words,
        )
    assert len(stored(served, "K3")) == 2
    press(page, "1 Enter")
    settle(page, "Unit 4 / 24")


FOCUS = """() => { let a = document.activeElement; while (a?.shadowRoot?.activeElement) a = a.shadowRoot.activeElement;
    return a === document.body ? "" : (a.getAttribute("aria-label") || a.textContent).trim(); }"""
CLIPPED = """() => [...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector('.ann')).find(Boolean)
    .querySelectorAll('.bar .note, .form .o').values().filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent).toArray()"""


def tab_to(page, text: str) -> None:
    """Press Tab until this has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS).startswith(text):
            return
    raise AssertionError(f"Tab never came to {text}")


def test_skip_drawer_film_and_own_words_by_keyboard_alone(context, served: Served) -> None:
    page = enter(context, served, "K7")
    practise(page)
    tab_to(page, "Skip")
    press(page, "Enter")
    settle(page, "Unit 2 / 24")
    press(page, "0 Enter")  # the next unit is answered, not skipped as well
    settle(page, "Unit 3 / 24")
    assert page.inner_text(".count") == "1 done, 1 skipped"
    press(page, "K 1")
    page.wait_for_selector("text=Draft kept")
    assert page.evaluate(CLIPPED) == []
    press(page, "+ Enter")
    assert "take it back" in page.locator(".fault").first.inner_text()
    press(page, "Escape S")
    assert (
        page.input_value(".own") == "Amorphous calcifications, suspicious"
        and page.locator(".tabs").count() == 0
    )
    press(page, "+ + 3")
    tab_to(page, "Own words")
    press(page, "Enter")
    page.keyboard.type("seen twice")
    press(page, "Escape")
    assert page.inner_text(".words") == "Own words, written"
    tab_to(page, "All units")
    press(page, "Enter")
    page.wait_for_selector(".drawer .list button")
    page.wait_for_function("n => (" + FOCUS + ")().startsWith(n)", arg="3")
    tab_to(page, "4")  # rows follow each other: nothing behind the drawer takes the focus
    press(page, "Escape")
    press(page, "z w Shift+L")
    assert page.inner_text(".wlt").split() == ["150", "%", "W", "239", "L", "136"]
    press(page, "r")
    assert page.inner_text(".wlt").split() == ["100", "%", "W", "255", "L", "128"]
    press(page, "Enter")
    settle(page, "Unit 4 / 24")
    last = stored(served, "K7")[-1]
    assert (last["label"], last["words"], last["confidence"]) == (
        "Amorphous calcifications, suspicious",
        "seen twice",
        3,
    )


def test_film_mouse_skip_and_drawer(context, served: Served) -> None:
    failing = {"on": True}
    context.route("**/image/*", lambda route: route.abort() if failing["on"] else route.continue_())
    page = enter(context, served, "K6")
    page.wait_for_selector(".grid button.retry")
    page.wait_for_selector("text=The film was not loaded")
    failing["on"] = False
    page.click("text=The film was not loaded")
    page.wait_for_function(
        """() => { const i = [...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector('.pic img')).find(Boolean);
        return i && i.naturalWidth > 0; }"""
    )
    page.click(".grid button:nth-child(3)")
    page.wait_for_function(
        """() => { const b = [...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector('.grid button:nth-child(3)')).find(Boolean);
        return b.className === '' && b.querySelector('img').naturalWidth > 0; }"""
    )
    page.reload()
    settle(page, "Practice 1 / 2")
    practise(page)
    page.wait_for_function(
        """() => { const g = [...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector('.grid')).find(Boolean);
        return [...g.querySelectorAll('img')].every(i => i.complete && i.naturalWidth); }"""
    )
    page.wait_for_timeout(2500)
    seen, frames = [], []
    page.on("request", lambda request: seen.append(request.url))
    page.on("websocket", lambda socket: socket.on("framesent", frames.append))
    waits = []
    for i in (5, 12, 20, 31):
        start = time.perf_counter()
        page.hover(f".grid button:nth-child({i + 1})")
        assert page.inner_text(".pn") == f"Patch {i + 1} of 32"
        assert page.evaluate(
            "() => { const i = [...document.querySelectorAll('*')].map(e =>"
            " e.shadowRoot?.querySelector('.pic img')).find(Boolean); return i.complete &&"
            " i.naturalWidth > 0; }"
        )
        waits.append(time.perf_counter() - start)
    page.keyboard.press("h")
    page.mouse.move(1000, 300)
    page.mouse.wheel(0, -300)
    page.mouse.down()
    page.mouse.move(1060, 340)
    page.mouse.up()
    assert [url for url in seen if "/_stcore/health" not in url] == [] and frames == []
    assert statistics.median(waits) < 0.5  # the driver's own share included
    assert (
        "W 315" in page.inner_text(".wlt")
        and "100 %" not in page.inner_text(".wlt")
        and "off" in page.inner_text(".hl")
    )
    page.click(".grid button:nth-child(9)")
    page.mouse.move(1000, 300)
    assert page.inner_text(".pn") == "Patch 9 of 32, pinned"
    page.keyboard.press("Escape")
    assert page.inner_text(".pn") == "Patch 1 of 32"
    page.click(".skip")
    settle(page, "Unit 2 / 24")
    page.click("text=Calcification")
    page.click("text=Amorphous")
    page.click("text=Diffuse")
    page.click("text=Uncertain")
    page.click("text=high")
    page.click("text=Save and next")
    settle(page, "Unit 3 / 24")
    assert page.inner_text(".count") == "1 done, 1 skipped"
    page.click("text=All units")
    page.click("text=Skipped 1")
    page.wait_for_function(
        "() => [...document.querySelectorAll('*')].some(e => e.shadowRoot?.querySelectorAll('.list"
        " button').length === 1)"
    )
    page.click(".list button")
    settle(page, "Unit 1 / 24")
    assert (
        stored(served, "K6")[0]["label"]
        == "Amorphous calcifications, diffuse distribution, uncertain"
    )


@pytest.fixture
def wire(served: Served):
    """A tap between browser and server."""
    with Wire(int(served.base.rsplit(":", 1)[1])) as tapped:
        yield tapped


def test_two_windows_answer_once_and_nothing_secret_is_sent(wire, context, served: Served) -> None:
    tapped = Served(served.study, wire.base, served.process)
    page = enter(context, tapped, "K5")
    practise(page)
    other = context.new_page()
    other.goto(wire.base)
    settle(other, "Unit 1 / 24")
    press(page, "N 3 Enter")
    settle(page, "Unit 2 / 24")
    other.bring_to_front()
    press(other, "0 Enter")
    settle(other, "Unit 2 / 24")
    assert "another window" in other.inner_text(".fault")
    assert [r["label"] for r in stored(served, "K5")] == ["Normal tissue"]
    other.click("text=All units")
    other.wait_for_selector(".list button")
    sent = wire.sent
    assert (
        b"Normal tissue" in sent
        and b"/image/" in sent
        and b"JFIF" in sent
        and b"expert_annotate" in sent
    )
    for secret in (
        b"ZQX",
        b"zqxfile",
        b"unit_0",
        synthetic_study.DISSECT.encode(),
        b"influence",
        b"Exif",
    ):
        assert secret not in sent, secret


def test_a_lost_connection_keeps_the_answer_and_sends_it_once(context, tmp_path) -> None:
    served = start_server(synthetic_study.make(tmp_path / "study"))
    try:
        page = enter(context, served, "L1")
        practise(page)
        port = int(served.base.rsplit(":", 1)[1])
        stop_server(served)
        press(page, "M 5 S 3 Enter")
        page.wait_for_function(
            "() => [...document.querySelectorAll('*')].some(e =>"
            " e.shadowRoot?.querySelector('.lost')?.textContent.includes('Connection lost'))"
        )
        served = start_server(served.study, port)
        settle(page, "Unit 2 / 24")
        assert [r["label"] for r in stored(served, "L1")] == [
            "Mass with spiculated margin, suspicious"
        ]
    finally:
        stop_server(served)
