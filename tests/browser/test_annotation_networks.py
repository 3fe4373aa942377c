"""The survey with several networks: questions, preview page, menu, and narrow screens."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from core import store
from core.lexicon.birads_categories import SURVEY_QUESTIONS
from core.store import annotation_table
from core.store.labels import assignment_table
from support import synthetic_study
from support.annotation_browser import continue_with, enter_annotation, press, wait_until_ready
from support.live_server import start_server, stop_server
from support.shadow_dom import shadow_condition

pytestmark = pytest.mark.browser

FIRST, SECOND, LATER = (f"dissect-00000000001{digit}" for digit in (1, 2, 3))
# Whether the button that saves is in the window, and nothing is cut off at the right.
FITS = shadow_condition(
    ".annroot",
    "(save => save.bottom <= innerHeight && save.right <= innerWidth"
    " && e.scrollWidth <= e.clientWidth)(e.querySelector(`.save`).getBoundingClientRect())",
)
MAMMOGRAM_IS_BELOW = shadow_condition(
    ".annroot",
    "e.querySelector(`.r`).getBoundingClientRect().top"
    " >= e.querySelector(`.save`).getBoundingClientRect().bottom",
)


def test_two_networks_by_keyboard(context, tmp_path) -> None:
    study = synthetic_study.create_study(tmp_path / "study")
    with store.write(study) as con:
        synthetic_study.add_dissection(con, FIRST, "alexnet", "features.11", 1)
        synthetic_study.add_dissection(con, SECOND, "resnet18", "layer4", 2)
    served = start_server(study)
    try:
        page = enter_annotation(context, served, "N1")
        expect(page.locator(".questions p")).to_have_text(list(SURVEY_QUESTIONS))
        with store.write(study) as con:
            assignment_table.assign_dissections(con, "N1", [FIRST, SECOND], "team")
        page.reload()
        wait_until_ready(page, "Practice 1 / 2")
        press(page, "0 Enter")
        wait_until_ready(page, "Practice 2 / 2")
        press(page, "U Enter")
        # The units come first: 8 patches each, and a menu of network and layer.
        page.wait_for_selector("text=Practice is over")
        expect(page.locator(".preview .list button")).to_have_count(24)
        expect(page.locator(".preview .list button").first.locator("img")).to_have_count(8)
        expect(page.locator(".network option")).to_have_text(
            [
                "resnet18, layer4, 0 of 24",
                "alexnet, features.11, 0 of 24",
            ]
        )
        page.focus(".network")
        press(page, "ArrowDown")
        page.wait_for_function(shadow_condition(".network", "e.selectedIndex === 1"))
        page.wait_for_function(shadow_condition(".notice", "e.hidden"))
        page.focus(".go")
        press(page, "Enter")
        # The page of units had another unit 1 behind it.
        page.wait_for_function(shadow_condition(".preview", "e.hidden"))
        wait_until_ready(page, "Unit 1 / 24")
        press(page, "K")  # the form with the most rows
        assert page.evaluate(FITS)
        press(page, "1 3 S 3 Enter")
        wait_until_ready(page, "Unit 2 / 24")
        with store.write(study) as con:
            synthetic_study.add_dissection(con, LATER, "vgg16", "features.29", 3)
        page.reload()
        continue_with(page, "Continue with unit 2")
        wait_until_ready(page, "Unit 2 / 24")
        page.set_viewport_size({"width": 768, "height": 1024})
        press(page, "K")
        assert page.evaluate(FITS) and page.evaluate(MAMMOGRAM_IS_BELOW)
        press(page, "ArrowDown ArrowDown B 2 Enter")
        wait_until_ready(page, "Unit 3 / 24")
        page.click("text=All units")
        page.wait_for_selector(".preview .list button")
        expect(page.locator(".network option")).to_have_text(
            [
                "resnet18, layer4, 0 of 24",
                "alexnet, features.11, 2 of 24",
            ]
        )
        with store.read(study) as con:
            rows = annotation_table.load_annotations(con)
        counted = rows[~rows["practice"]]
        assert list(counted["run"]) == [FIRST, FIRST] and counted["unit"].nunique() == 2
    finally:
        stop_server(served)
