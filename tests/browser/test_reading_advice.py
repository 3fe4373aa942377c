"""A case with advice on the reading page: first answer, reveal, final answer, further questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import expect

from core import store
from core.store.reading import protocol_table
from support.image_arms import close_open_study, freeze_image_study
from support.live_server import start_server, stop_server
from support.network_capture import NetworkCapture
from support.reading_browser import DEAD_TIME_OF_IMAGES_MS, answer_practice
from support.reading_cases import (
    ADVICE,
    DONE,
    FIRST,
    QUESTIONS,
    SERIOUS,
    STATEMENT,
    TEXTS,
    exam_case,
    film_images,
    reading_case,
)
from support.scripted_reading import ScriptedReading
from support.shadow_dom import KEYS_AT_ONCE, shadow_condition

pytestmark = pytest.mark.browser
SIZES = ((1280, 640), (1920, 1080))
LOADED = "() => [...document.querySelectorAll('.r img')].every(e => e.complete && e.naturalWidth)"


class Server:
    """Replies with the steps of one exam, as the server does: each answer leads to the next."""

    def __init__(self, advice: dict[str, Any] | None) -> None:
        questions = {"questions": QUESTIONS}
        self.steps = [
            exam_case(0, 1, 2, 3, step="first", texts=[], token="t0"),
            exam_case(
                *(0, 1, 2, 3),
                step="prediction",
                texts=[],
                token="t1",
                question="What will the network decide?",
                answers=["Benign", "Malignant"],
                **FIRST,
            ),
            exam_case(
                *(0, 1, 2, 3),
                step="final",
                texts=[],
                token="t2",
                advice=advice,
                **FIRST,
                **questions,
            ),
        ]
        self.at = 0

    def reply(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if name == "answer":
            assert body["token"] == f"t{self.at}"
            self.at += 1
        return self.state()

    def state(self) -> dict[str, Any]:
        return {"stage": "case", "case": self.steps[self.at]} if self.at < 3 else DONE


@pytest.fixture
def open_exam(context: Any) -> Callable[..., tuple[ScriptedReading, Server]]:
    """Open the reading page on an exam with advice, or of the control arm."""

    def open_page(advice: dict[str, Any] | None = ADVICE, theme: str = "light"):
        server = Server(advice)
        reading = ScriptedReading(context.new_page(), server.reply, film_images())
        reading.open(theme)
        return reading, server

    return open_page


def wait(page: Any, text: str) -> None:
    """Wait until the page shows a text and all its images, and for the dead time after that."""
    page.get_by_text(text).first.wait_for()
    page.wait_for_function(LOADED)
    page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)


def test_a_case_with_advice_takes_five_keys(open_exam) -> None:
    reading, _ = open_exam()
    page = reading.page
    pressed = 0

    def press(key: str) -> None:
        nonlocal pressed
        pressed += 1
        page.keyboard.press(key)

    wait(page, "on the exam alone")
    assert STATEMENT not in page.content()
    expect(page.locator(".map, .mapbar")).to_have_count(0)
    press("2")
    wait(page, "What will the network decide?")
    expect(page.locator(".firstanswer")).to_contain_text("2 Probably benign")
    assert STATEMENT not in page.content()
    expect(page.locator(".map, .mapbar")).to_have_count(0)
    press("1")
    wait(page, STATEMENT)
    expect(page.locator(".adv .tx li")).to_have_text(
        [f"{i}.{text}" for i, text in enumerate(TEXTS, start=1)]
    )
    expect(page.locator(".r .map")).to_have_count(4)
    expect(page.locator(".adv .firstanswer")).to_contain_text("2 Probably benign")
    expect(page.locator(".six button:nth-of-type(2) em")).to_have_text("first")
    press("5")
    wait(page, "How sure are you?")
    press("3")
    wait(page, "What would have helped?")
    press("Enter")
    page.get_by_text("All cases are done").wait_for()
    assert pressed == 5
    expect(page.get_by_role("button", name="Reopen the last case")).to_have_count(0)
    answers = [body for name, body in reading.sent if name == "answer"]
    assert [(body["token"], body["answer"]) for body in answers] == [
        ("t0", 2),
        ("t1", 1),
        ("t2", 5),
    ]
    assert "questions" not in answers[0] and "questions" not in answers[1]
    assert answers[2]["questions"] == [3, ""]


def test_a_key_held_or_pressed_twice_does_not_answer_the_next_step(open_exam) -> None:
    reading, server = open_exam()
    page = reading.page
    wait(page, "on the exam alone")
    page.keyboard.press("2")
    page.get_by_text("What will the network decide?").first.wait_for()
    page.evaluate(
        "() => [1, 2].forEach(repeat => document.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: '2', repeat: repeat === 2, bubbles: true})))"
    )
    page.wait_for_timeout(100)
    assert server.at == 1
    server.at = 2
    page.reload()
    wait(page, STATEMENT)
    page.evaluate(KEYS_AT_ONCE, ["5", "3"])  # the second is not the answer to the question
    page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)
    expect(page.locator(".form .q")).to_contain_text("How sure are you?")


def test_reload_returns_to_the_reveal_and_maps_can_be_hidden(open_exam) -> None:
    reading, server = open_exam()
    page = reading.page
    server.at = 2
    page.reload()
    wait(page, STATEMENT)
    expect(page.locator(".r .map:visible")).to_have_count(4)
    page.keyboard.press("m")
    expect(page.locator(".r .map:visible")).to_have_count(0)
    page.keyboard.press("m")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Continue").click()
    wait(page, STATEMENT)
    expect(page.locator(".r .map:visible")).to_have_count(4)
    expect(page.get_by_role("button", name="Map on")).to_be_visible()


def test_the_view_of_the_films_stays_when_the_advice_comes(open_exam) -> None:
    page = open_exam()[0].page
    wait(page, "on the exam alone")
    page.keyboard.press("z")
    before = page.locator(".r .stage").first.get_attribute("style")
    assert "scale" in before
    page.keyboard.press("2")
    wait(page, "What will the network decide?")
    page.keyboard.press("1")
    wait(page, STATEMENT)
    expect(page.locator(".r .stage").first).to_have_attribute("style", before)


def test_the_control_arm_says_that_there_is_no_advice(open_exam) -> None:
    reading, server = open_exam(advice=None)
    page = reading.page
    server.at = 2
    page.reload()
    wait(page, "This case has no advice")
    expect(page.locator(".map, .mapbar, .statement")).to_have_count(0)
    page.keyboard.press("6")
    wait(page, "How sure are you?")


def test_escape_goes_back_through_questions_to_the_answer(open_exam) -> None:
    reading, server = open_exam()
    page = reading.page
    server.at = 2
    page.reload()
    wait(page, STATEMENT)
    page.keyboard.press("5")
    wait(page, "How sure are you?")
    page.keyboard.press("1")
    wait(page, "What would have helped?")
    page.keyboard.type("6 a prior film")  # digits of a text are no answers
    page.keyboard.press("Escape")
    wait(page, "How sure are you?")
    page.keyboard.press("Escape")
    wait(page, "How likely is it")
    page.keyboard.press("4")
    wait(page, "How sure are you?")
    page.keyboard.press("2")
    wait(page, "What would have helped?")
    field = page.get_by_role("textbox", name="What would have helped?")
    expect(field).to_have_value("6 a prior film")
    field.fill("A prior film")
    page.keyboard.press("Enter")
    page.get_by_text("All cases are done").wait_for()
    _, sent = reading.sent[-1]
    assert (sent["answer"], sent["questions"]) == (4, [2, "A prior film"])


DRAFT = "() => localStorage.getItem('dm-draft-questions')"


def test_text_of_a_question_survives_a_reload_until_it_is_saved(open_exam) -> None:
    reading, server = open_exam()
    page = reading.page
    server.at = 2
    page.reload()
    wait(page, STATEMENT)

    def answer_up_to_the_text() -> None:
        page.keyboard.press("5")
        wait(page, "How sure are you?")
        page.keyboard.press("2")
        wait(page, "What would have helped?")

    answer_up_to_the_text()
    page.keyboard.type("A prior film")
    page.reload()
    wait(page, STATEMENT)
    answer_up_to_the_text()
    field = page.get_by_role("textbox", name="What would have helped?")
    expect(field).to_have_value("A prior film")
    # Nothing of it was sent, and the draft of another case is not shown.
    assert not [body for name, body in reading.sent if name == "answer"]
    server.steps[2] = {**server.steps[2], "token": "other"}
    page.reload()
    wait(page, STATEMENT)
    assert page.evaluate(DRAFT) is None
    server.steps[2] = {**server.steps[2], "token": "t2"}
    page.reload()
    wait(page, STATEMENT)
    answer_up_to_the_text()
    expect(field).to_have_value("")
    page.keyboard.type("Nothing")
    page.keyboard.press("Enter")
    page.get_by_text("All cases are done").wait_for()
    assert reading.sent[-1][1]["questions"] == [2, "Nothing"]
    assert page.evaluate(DRAFT) is None


def test_questions_without_advice_follow_the_answer(context: Any) -> None:
    case = reading_case(questions=QUESTIONS[:1])
    reading = ScriptedReading(
        context.new_page(),
        lambda name, body: DONE if name == "answer" else {"stage": "case", "case": case},
        {},
    )
    reading.open()
    page = reading.page
    wait(page, "Further questions follow.")
    expect(page.get_by_role("button", name="Reopen the previous case")).to_be_hidden()
    page.keyboard.press("4")
    wait(page, "How sure are you?")
    page.get_by_role("button", name="Very").click()
    page.get_by_text("All cases are done").wait_for()
    assert reading.sent[-1][1]["questions"] == [3]


def test_a_refused_answer_is_explained_and_can_be_given_again(context: Any) -> None:
    case = reading_case(questions=QUESTIONS[:1])
    replies = iter([(422, {"code": "answer", "message": "Answer each question."}), DONE])
    reading = ScriptedReading(
        context.new_page(),
        lambda name, body: next(replies) if name == "answer" else {"stage": "case", "case": case},
        {},
    )
    reading.open()
    page = reading.page
    for _ in range(2):
        wait(page, "Press 1 to 6")
        page.keyboard.press("4")
        wait(page, "How sure are you?")
        page.keyboard.press("2")
        page.get_by_text("Answer each question.").or_(page.get_by_text("All cases")).wait_for()
    page.get_by_text("All cases are done").wait_for()


def test_closing_questionnaire_and_washout(context: Any) -> None:
    questionnaire = {"stage": "questionnaire", "token": "q", "questions": QUESTIONS}
    reading = ScriptedReading(
        context.new_page(),
        lambda name, body: DONE if name == "questionnaire" else questionnaire,
        {},
    )
    reading.open()
    page = reading.page
    wait(page, "How sure are you?")
    page.keyboard.press("2")
    wait(page, "What would have helped?")
    page.keyboard.type("Nothing")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("All cases are done").wait_for()
    assert reading.sent[-1] == ("questionnaire", {"token": "q", "answers": [2, "Nothing"]})
    washout = {"stage": "washout", "paragraphs": ["Rest."], "until": "2026-12-05T08:00:00Z"}
    reading = ScriptedReading(context.new_page(), lambda name, body: washout, {})
    reading.open()
    reading.page.get_by_text("The next cases open on").wait_for()
    expect(reading.page.locator(".page")).to_contain_text("2026")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_steps_fit_and_have_no_serious_accessibility_fault(open_exam, theme: str) -> None:
    reading, server = open_exam(theme=theme)
    page = reading.page
    for step, text in enumerate(("on the exam alone", "What will the network decide?", STATEMENT)):
        server.at = step
        page.reload()
        wait(page, text)
        page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
        assert page.evaluate(SERIOUS) == []
    for key, question in (("5", "How sure are you?"), ("1", "What would have helped?")):
        page.keyboard.press(key)
        wait(page, question)
        assert page.evaluate(SERIOUS) == []
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            form = page.locator(".form").bounding_box()
            assert form["y"] + form["height"] <= height
            assert page.evaluate("() => document.querySelector('.rdroot').scrollHeight") <= height
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def freeze_exams_with_advice(study: Path) -> None:
    """Freeze a study of exams in which one arm gives advice with named units and class maps."""
    close_open_study(study)
    freeze_image_study(
        study,
        ("advice_units_map", "no_advice"),
        "Advice",
        preset="Reading with advice",
        repeats=0,
        discrepant="in",
        predict_network=True,
        questions=QUESTIONS,
        case_unit="exam",
        single_films="in",
    )


def test_no_advice_on_the_wire_before_the_answers_are_stored(own_study: Path, context: Any) -> None:
    freeze_exams_with_advice(own_study)
    served = start_server(own_study)
    try:
        with NetworkCapture(served.port) as wire:
            page = context.new_page()
            page.goto(served.invite("reader", "R1").replace(served.base, wire.base))
            page.click("button")
            page.check("#agree")
            page.get_by_role("button", name="Continue", exact=True).click()
            page.get_by_text("A case is an exam").wait_for()
            page.get_by_role("button", name="Start with the practice cases").click()
            with store.read(own_study) as con:
                practice = protocol_table.find_protocol(con, "Advice", 1).design["practice"]
            # In the form of a reply: the page's own script, which is sent as well, has the words.
            secrets = [b"The network's decision: ", b'"kind":"class_map"', practice[0][0].encode()]
            for key, text in (("2", "on the exam alone"), ("1", "What will the network decide?")):
                page.get_by_text(text).first.wait_for()
                page.wait_for_function(shadow_condition(".r img", "e.complete && e.naturalWidth"))
                page.wait_for_timeout(2 * DEAD_TIME_OF_IMAGES_MS)
                assert not [secret for secret in secrets if secret in wire.own]
                if key == "1":  # closed after the lock: the reader goes on where the answer was
                    page.reload()
                    page.get_by_text(text).first.wait_for()
                    expect(page.get_by_text("2 Probably benign")).to_have_count(1)
                    page.wait_for_timeout(2000)
                    assert not [secret for secret in secrets if secret in wire.own]
                page.keyboard.press(key)
            page.get_by_text("The network's decision: ").first.wait_for()
            page.wait_for_function(shadow_condition(".r .map", "e.complete && e.naturalWidth"))
            assert all(secret in wire.own for secret in secrets)
            page.reload()
            page.get_by_text("The network's decision: ").first.wait_for()
            page.wait_for_function(shadow_condition(".r .map", "e.complete && e.naturalWidth"))
            page.wait_for_timeout(2 * DEAD_TIME_OF_IMAGES_MS)
            for key, text in (("5", "How sure are you?"), ("3", "What would have helped?")):
                page.keyboard.press(key)
                page.get_by_text(text).first.wait_for()
                page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)
            expect(page.locator(".statement .mark")).to_have_text("Practice")
            answer_practice(page, "Enter", "Practice 2 / 4")
    finally:
        stop_server(served)
