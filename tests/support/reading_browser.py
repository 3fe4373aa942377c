"""Waits of the reading page in a browser."""

from __future__ import annotations

from support.shadow_dom import HAS_TITLE

# Milliseconds after a new case during which the page ignores keys, plus a margin.
DEAD_TIME_MS = 420
# After the last image of a case is complete, its load event follows a moment later.
DEAD_TIME_OF_IMAGES_MS = 650


def answer_practice(page, key: str, following: str) -> None:
    """Answer a practice case and wait for what follows, past its explanation where it has one."""
    page.keyboard.press(key)
    example = page.get_by_role("heading", name="What this practice case showed")
    example.or_(page.get_by_text(following)).first.wait_for()
    if example.count():
        page.wait_for_timeout(DEAD_TIME_MS)
        page.keyboard.press("Enter")
        page.get_by_text(following).first.wait_for()


def wait_for_case(page, title: str) -> None:
    """Wait for the case with this title and for the dead time after it."""
    page.wait_for_function(HAS_TITLE, arg=title)
    page.wait_for_timeout(DEAD_TIME_MS)
