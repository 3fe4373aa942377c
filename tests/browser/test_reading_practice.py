"""The worked example of practice on the reading page, after the answer to a practice case."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import expect

from core.sessions.reading.displayed_case import DisplayedAdvice, DisplayedCase
from core.sessions.reading.practice_notes import practice_note
from support.reading_browser import DEAD_TIME_OF_IMAGES_MS
from support.reading_cases import (
    ADVICE,
    DONE,
    FIRST,
    SERIOUS,
    STATEMENT,
    TEXTS,
    exam_case,
    film_images,
)
from support.scripted_reading import ScriptedReading

pytestmark = pytest.mark.browser
SIZES = ((1280, 640), (1920, 1080))
LOADED = "() => [...document.querySelectorAll('.r img')].every(e => e.complete && e.naturalWidth)"


def wait(page: Any, text: str) -> None:
    """Wait until the page shows a text and all its images, and for the dead time after that."""
    page.get_by_text(text).first.wait_for()
    page.wait_for_function(LOADED)
    page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)


def test_practice_explains_each_kind_of_case_once(context: Any) -> None:
    design = {"advice": "class", "arms": ["advice_units_map", "no_advice"], "case_unit": "exam"}
    advice = DisplayedAdvice(STATEMENT, tuple(TEXTS), ((4, "class_map", "{}"),))
    shown = DisplayedCase(
        token="",
        texts=(),
        number=1,
        total=2,
        practice=True,
        answer=None,
        position=1,
        can_reopen=False,
        step="final",
        advice=advice,
    )
    final = {"practice": True, "texts": [], "step": "final", "advice": ADVICE, **FIRST}
    final["practice_note"] = list(practice_note(design, shown))
    cases = [
        exam_case(0, 1, 2, 3, number=number, total=2, token=f"t{number}", **final)
        for number in (1, 2)
    ]
    replies = iter([{"stage": "case", "case": cases[1]}, DONE])
    reading = ScriptedReading(
        context.new_page(),
        lambda name, body: (
            next(replies) if name == "answer" else {"stage": "case", "case": cases[0]}
        ),
        film_images(),
    )
    reading.open()
    page = reading.page
    wait(page, STATEMENT)
    expect(page.locator(".statement .mark")).to_have_text("Practice")
    expect(page.locator(".example")).to_have_count(0)
    page.keyboard.press("5")
    page.get_by_role("heading", name="What this practice case showed").wait_for()
    # Beside the case, which stays as it was, and below the answer.
    expect(page.locator(".example .firstanswer")).to_contain_text("5 Probably malignant")
    expect(page.locator(".example")).to_contain_text("dark violet")
    expect(page.locator(".r .map:visible")).to_have_count(4)
    page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    assert page.evaluate(SERIOUS) == []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        expect(page.get_by_role("button", name="Continue")).to_be_in_viewport(ratio=1)
        assert page.evaluate("() => document.querySelector('.rdroot').scrollHeight") <= height
    page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)
    page.keyboard.press("Enter")
    wait(page, "Practice 2")
    page.keyboard.press("5")
    page.get_by_text("All cases are done").wait_for()
    assert [body["token"] for name, body in reading.sent if name == "answer"] == ["t1", "t2"]
