"""Outlines of DDSM: chain codes to points, and clipping to the film.

Overlay files, which contain them, are read in `core.sources.ddsm_metadata`.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from core.sources.records import Finding, Problem

# Chain code as steps (x, y): 0 is up, then clockwise to 7, up and left.
_CHAIN_STEPS = np.array([(0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1)])
# Chains count pixels from 1. Counted from 0, the outline of case B-3013-1 misses its published mask
# by one pixel; counted from 1, it fits exactly.
_FIRST_PIXEL = 1


def parse_chain_code(text: str) -> tuple[np.ndarray, str]:
    """Return the points of a chain code "column row step step ... #", and its fault.

    A chain that continues past its start is cut at the last return to the start, because filling
    would turn the second round into a hole.

    Parameters
    ----------
    text : str
        Start pixel, counted from 1, then steps 0 (up) to 7, clockwise.

    Returns
    -------
    points : float array, shape [n, 2]
        (x, y) in pixels, counted from 0; empty if there are no steps.
    fault : str
        Description of a fault, "" if the chain code is valid.

    Examples
    --------
    >>> points, fault = parse_chain_code("5 5 2 4 6 0 #")
    >>> points.tolist(), fault
    ([[4.0, 4.0], [5.0, 4.0], [5.0, 5.0], [4.0, 5.0], [4.0, 4.0]], '')
    >>> parse_chain_code("5 5 2 2 2 2 #")[1]
    'it ends 4 pixels from its start'
    """
    body, end, _ = text.partition("#")
    words = body.split()
    # The first two words are the start pixel; six digits exceed every film.
    patterns = (r"\d{1,6}" if k < 2 else "[0-7]" for k in range(len(words)))
    valid = [re.fullmatch(pattern, word) is not None for pattern, word in zip(patterns, words)]
    count = valid.index(False) if False in valid else len(words)
    fault = "" if end else "it has no end mark #"
    if count < len(words):
        fault = f"it holds {words[count]!r}, which is not a step"
    if count < 3:
        return np.zeros((0, 2)), fault or "it has no steps"
    numbers = np.array(words[:count], int)
    start, steps = numbers[:2], _CHAIN_STEPS[numbers[2:]]
    points = np.concatenate([start[None], start + steps.cumsum(0)]) - _FIRST_PIXEL
    returns = np.flatnonzero((points[1:] == points[0]).all(1)) + 1
    # One step changes x and y by at most 1, so a gap of 1 closes the outline.
    gap = int(np.abs(points[-1] - points[0]).max())
    if gap > 1 and len(returns) and returns[-1] > 2:
        fault = fault or f"it runs {len(points) - 1 - returns[-1]} steps past its start"
        points = points[: returns[-1] + 1]
    elif gap > 1:
        fault = fault or f"it ends {gap} pixels from its start"
    return points.astype(float), fault


def clip_to_image(
    finding: Finding, shape: tuple[int, int], position: str
) -> tuple[Finding, list[Problem]]:
    """Return the finding with its outlines clipped to an image of shape [h, w], and problems.

    Leaving the image by one pixel is not a problem: counting from 0 or from 1 is uncertain by that
    much.
    """
    limit, problems = np.array([shape[1] - 1, shape[0] - 1]), []
    clipped: dict[str, list[np.ndarray]] = {"outline": [], "nested": []}
    for name, polygons in (("outline", finding.outline), ("nested", finding.nested)):
        for points in polygons:
            outside = np.any((points < 0) | (points > limit), axis=1)
            if outside.all():
                problems.append(
                    Problem(position, "an outline lies outside the film", "outline left out")
                )
                continue
            if np.any((points < -1) | (points > limit + 1)):
                problems.append(
                    Problem(
                        position,
                        f"a chain leaves the film ({int(outside.sum())} of {len(points)} points)",
                        "cut at the edge of the film",
                    )
                )
            clipped[name].append(points.clip(0, limit))
    return (
        replace(finding, outline=tuple(clipped["outline"]), nested=tuple(clipped["nested"])),
        problems,
    )
