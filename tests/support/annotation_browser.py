"""Keys and waits of the annotation page in a browser."""

from __future__ import annotations

from support.live_server import Served


def enter(context, served: Served, code: str):
    """A page with the first practice unit, consent given."""
    page = context.new_page()
    page.goto(served.invite("annotator", code))
    page.click("button")
    page.check("#agree")
    page.fill("#experience", "radiologist, 9 years")
    page.click("text=Start with two practice units")
    settle(page, "Practice 1 / 2")
    return page


DEAD = 430  # ms; keys that follow a new unit faster are not taken


def press(page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def settle(page, title: str) -> None:
    """Wait for a unit and for the dead time after it."""
    shown(page, title)
    page.wait_for_timeout(DEAD)


def shown(page, title: str) -> None:
    """Wait for a unit."""
    page.wait_for_function(
        "t => [...document.querySelectorAll('*')].some(e =>"
        " e.shadowRoot?.querySelector('.u')?.textContent.trim() === t)",
        arg=title,
    )
