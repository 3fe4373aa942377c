"""Keys and waits of the annotation page in a browser."""

from __future__ import annotations

from support.live_server import Served
from support.shadow_dom import HAS_TITLE

# Milliseconds after a new unit during which the page ignores keys, plus a margin.
DEAD_TIME_MS = 430


def enter_annotation(context, served: Served, code: str):
    """Return a page that shows the first practice unit, with consent given."""
    page = context.new_page()
    page.goto(served.invite("annotator", code))
    page.click("button")
    page.check("#agree")
    page.fill("#experience", "radiologist, 9 years")
    page.click("text=Start with two practice units")
    wait_until_ready(page, "Practice 1 / 2")
    return page


def continue_with(page, button: str) -> None:
    """Leave the page of all units by the button of the next unit."""
    page.get_by_role("button", name=button).click()


def press(page, keys: str) -> None:
    """Press keys separated by blanks, one after another."""
    for key in keys.split():
        page.keyboard.press(key)


def wait_for_unit(page, title: str) -> None:
    """Wait until the page shows the unit with this title."""
    page.wait_for_function(HAS_TITLE, arg=title)


def wait_until_ready(page, title: str) -> None:
    """Wait for a unit and for the dead time after it."""
    wait_for_unit(page, title)
    page.wait_for_timeout(DEAD_TIME_MS)
