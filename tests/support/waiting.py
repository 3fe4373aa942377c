"""Waiting for an event with a deadline, in place of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL_S = 0.02


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as a condition holds; AssertionError if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the event did not occur within {seconds:.0f} s"
        time.sleep(INTERVAL_S)
