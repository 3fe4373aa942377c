"""Laterality and view as archives write them."""

from __future__ import annotations

import re

UNKNOWN = "UNKNOWN"
_LATERALITY = {"L": "LEFT", "R": "RIGHT", "LEFT": "LEFT", "RIGHT": "RIGHT", UNKNOWN: UNKNOWN}
_VIEW = {"CC": "CC", "MLO": "MLO", UNKNOWN: UNKNOWN}


def laterality_of(text: str) -> str | None:
    """LEFT, RIGHT or UNKNOWN for a cell or tag such as "l" or "Right"; None for anything else."""
    return _LATERALITY.get(text.strip().upper())


def view_of(text: str) -> str | None:
    """CC, MLO or UNKNOWN; None for anything else."""
    return _VIEW.get(text.strip().upper())


def guess_from_name(name: str) -> tuple[str, str]:
    """Laterality and view that a file's name spells out, as in "Mass-Training_P_00001_LEFT_CC",
    "B_3013_1.RIGHT_MLO.LJPEG" or "p12-LCC.png"; UNKNOWN where it names none or both.
    """
    words = [word for word in re.split(r"[^A-Za-z]+", name.upper()) if word]
    joined = [re.fullmatch(r"(L|R|LEFT|RIGHT)(CC|MLO)", word) for word in words]
    words += [part for match in joined if match for part in match.groups()]
    sides = {_LATERALITY[word] for word in words if word in _LATERALITY} - {UNKNOWN}
    views = {_VIEW[word] for word in words if word in _VIEW} - {UNKNOWN}
    return sides.pop() if len(sides) == 1 else UNKNOWN, views.pop() if len(views) == 1 else UNKNOWN
