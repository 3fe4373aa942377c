"""The films of an exam on the reading page: layout, linked viewers, keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from support.reading_browser import DEAD_TIME_OF_IMAGES_MS
from support.reading_cases import exam_case, film_images, reading_case
from support.scripted_reading import ORIGIN, ScriptedReading

pytestmark = pytest.mark.browser
SIZES = ((1280, 640), (1920, 1080), (768, 1024))
LOADED = "() => [...document.querySelectorAll('.pic img')].length === {} &&" + (
    " [...document.querySelectorAll('.pic img')].every(e => e.complete && e.naturalWidth)"
)


@pytest.fixture
def open_case(context: Any) -> Callable[..., ScriptedReading]:
    """Open the reading page on one case, and wait until its films are loaded."""

    def open_page(case: dict) -> ScriptedReading:
        page = context.new_page()
        reading = ScriptedReading(
            page, lambda name, body: {"stage": "case", "case": case}, film_images()
        )
        reading.open()
        page.wait_for_function(LOADED.format(len(case["films"])))
        page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)
        return reading

    return open_page


def box(page: Any, name: str, part: str = ".stage") -> dict[str, float]:
    """Return the rectangle of a film, or of another part of its frame."""
    return page.locator(f'.r[aria-label="{name}"] {part}').first.bounding_box()


def transforms(page: Any) -> dict[str, str]:
    """Return how each film is moved and enlarged, by its name."""
    return page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.r')].map(e =>"
        " [e.getAttribute('aria-label'), e.querySelector('.stage').style.transform]))"
    )


def windows(page: Any) -> dict[str, str]:
    """Return window and level of each film, by its name."""
    return page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.r')].map(e =>"
        " [e.getAttribute('aria-label'), e.querySelector('.wlt').textContent.split('W')[1]]))"
    )


def test_right_hangs_left_and_chest_walls_meet(open_case) -> None:
    page = open_case(exam_case(0, 1, 2, 3)).page
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for view in ("CC", "MLO"):
            right, left = box(page, f"right {view}"), box(page, f"left {view}")
            # The right film ends where the left one begins, but for the line between the frames.
            assert 0 <= left["x"] - (right["x"] + right["width"]) <= 4
            assert abs(right["y"] - left["y"]) < 1 and abs(right["height"] - left["height"]) < 1
        upper, lower = box(page, "right CC"), box(page, "right MLO")
        assert upper["y"] + upper["height"] <= lower["y"] + 1
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        if width > 900:  # on a small screen the films stand above the answers
            answers = page.locator(".six").bounding_box()
            assert answers["y"] + answers["height"] <= height


def test_missing_films_take_no_room_unless_their_pair_is_there(open_case) -> None:
    page = open_case(exam_case(0, 1, 2)).page
    expect(page.locator(".exam .none")).to_have_text(["no left MLO"])
    page.close()
    page = open_case(exam_case(1, 3)).page  # one breast: its views stand side by side
    expect(page.locator(".exam .none")).to_have_count(0)
    cc, mlo = box(page, "left CC"), box(page, "left MLO")
    assert cc["x"] + cc["width"] <= mlo["x"] and abs(cc["y"] - mlo["y"]) < 1
    page.close()
    page = open_case(exam_case(2)).page
    expect(page.locator(".exam .r")).to_have_count(1)
    expect(page.get_by_role("button", name="Linked")).to_be_hidden()


def test_films_are_linked_mirrored_and_can_be_unlinked(open_case) -> None:
    page = open_case(exam_case(0, 1, 2, 3)).page
    page.keyboard.press("ArrowRight")  # from the right CC to the left CC
    page.keyboard.press("ArrowDown")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "left MLO"
    film = box(page, "left MLO")
    # Zoom at a quarter of the width: the other side enlarges the mirrored place.
    page.mouse.move(film["x"] + film["width"] / 4, film["y"] + film["height"] / 2)
    page.mouse.wheel(0, -400)
    page.wait_for_function("() => document.querySelector('.r .stage').style.transform !== ''")
    moved = transforms(page)
    assert moved["left MLO"] == moved["left CC"]
    assert moved["right MLO"] == moved["right CC"] != moved["left CC"]
    right, left = box(page, "right MLO"), box(page, "left MLO")
    # Mirrored about the line on which the chest walls met: equal distances to it.
    middle = film["x"] - 1
    assert abs((middle - right["x"] - right["width"]) - (left["x"] - middle)) < 3
    page.keyboard.press("w")
    assert len(set(windows(page).values())) == 1
    page.keyboard.press("u")
    page.keyboard.press("w")
    page.keyboard.press("r")
    page.keyboard.press("l")
    assert transforms(page)["left MLO"] == "" != transforms(page)["left CC"]
    changed = windows(page)
    assert changed["left MLO"] != changed["left CC"] == changed["right CC"]
    page.keyboard.press("u")  # linked again: the others follow the active film
    assert set(transforms(page).values()) == {""} and len(set(windows(page).values())) == 1


def test_windows_of_unlinked_films_are_drawn_apart(open_case) -> None:
    page = open_case(exam_case(0, 1)).page
    page.keyboard.press("u")
    page.keyboard.press("w")
    used = page.evaluate(
        "() => [...document.querySelectorAll('.r')].map(e => e.querySelector('.pic').style.filter)"
    )
    assert used == ['url("#wl0")', ""]
    slopes = page.evaluate(
        "() => ['wl', 'wl0', 'wl1'].map(id =>"
        " document.querySelector('#' + id + ' feFuncR').getAttribute('slope'))"
    )
    assert float(slopes[1]) > 1 and slopes[0] is None and slopes[2] in (None, "1")


def test_no_answer_before_every_film_is_loaded(context: Any) -> None:
    page = context.new_page()
    case = exam_case(0, 1)
    images = film_images()
    held: list[Any] = []
    reading = ScriptedReading(page, lambda name, body: {"stage": "case", "case": case}, images)
    reading.open()
    page.unroute("**/image/1")
    page.wait_for_function(LOADED.format(2))
    page.route("**/image/1", lambda route: held.append(route))
    page.reload()
    page.wait_for_function(LOADED.format(1))
    page.wait_for_timeout(2 * DEAD_TIME_OF_IMAGES_MS)
    page.keyboard.press("3")
    page.wait_for_timeout(100)
    assert [name for name, _ in reading.sent] == ["state", "state"]
    held[0].fulfill(body=images["/image/1"], content_type="image/jpeg")
    page.wait_for_function(LOADED.format(2))
    page.wait_for_timeout(DEAD_TIME_OF_IMAGES_MS)
    with page.expect_response("**/expert/read/answer"):
        page.keyboard.press("3")
    name, sent = reading.sent[-1]
    assert (name, sent["answer"]) == ("answer", 3)


def test_a_case_of_one_image_looks_as_before(context: Any) -> None:
    page = context.new_page()
    image = {"kind": "film", "url": "/image/3"}
    reading = ScriptedReading(
        page,
        lambda name, body: {"stage": "case", "case": reading_case(image=image)},
        film_images(),
    )
    reading.open()
    page.wait_for_function(LOADED.format(1))
    assert page.url == ORIGIN + "/"
    expect(page.locator("main")).to_have_attribute("class", "rd pictured")
    expect(page.locator(".exam, .adv, .mapbar, .form")).to_have_count(0)
    expect(page.locator(".r")).to_have_attribute("aria-label", "Mammogram")
    expect(page.locator(".r")).not_to_have_attribute("tabindex", re.compile(""))
    expect(page.locator(".ov")).to_have_text(re.compile("^Zoom wheel or Z"))
