"""Captions of buttons and notices of the reading page."""

from __future__ import annotations

NEXT_STUDY = "Continue with the next study"
START_PRACTICE = "Start with five practice texts"
START_IMAGE_PRACTICE = "Start with the practice cases"
WASHOUT = (
    "This part is done; every answer has been saved. The next part opens at the time below. Come"
    " back then with the same link."
)
