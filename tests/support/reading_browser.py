"""Waits of the reading page in a browser."""

from __future__ import annotations

from support.shadow_dom import HAS_TITLE

# Milliseconds after a new case during which the page ignores keys, plus a margin.
DEAD_TIME_MS = 420
# After the last image of a case is complete, its load event follows a moment later.
DEAD_TIME_OF_IMAGES_MS = 650


def wait_for_case(page, title: str) -> None:
    """Wait for the case with this title and for the dead time after it."""
    page.wait_for_function(HAS_TITLE, arg=title)
    page.wait_for_timeout(DEAD_TIME_MS)
