"""The captions of the buttons of the reading page."""

from __future__ import annotations

NEXT_STUDY = "Continue with the next study"
START_PRACTICE = "Start with five practice texts"
START_IMAGE_PRACTICE = "Start with the practice cases"
