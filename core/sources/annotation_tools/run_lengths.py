"""Masks as run lengths: COCO (column by column, plain or compressed) and CVAT (row by row).

References
----------
cocoapi, common/maskApi.c, rleFrString (compressed counts); CVAT documentation, "XML annotation
format", "Run-length encoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import UserError
from core.images.polygons import trace_mask
from core.sources.outlines.records import Outline

_MAX_PIXELS = 400_000_000


def coco_mask_outline(value: dict[str, Any]) -> Outline:
    """Return the outline of a run-length mask {"counts": ..., "size": [height, width]}.

    Examples
    --------
    >>> mask = {"counts": [5, 2, 2, 2, 5], "size": [4, 4]}
    >>> sorted(coco_mask_outline(mask).polygons[0])
    [(1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (2.0, 2.0)]
    """
    counts, size = value.get("counts"), value.get("size")
    if not isinstance(size, list) or len(size) != 2:
        raise UserError("a run-length mask has no size [height, width]")
    height, width = (int(side) for side in size)
    if isinstance(counts, str):
        counts = _decompress(counts)
    if not isinstance(counts, list):
        raise UserError("a run-length mask has no counts")
    # COCO counts down the columns.
    return _outline(_expand(counts, height * width).reshape(width, height).T, (0, 0))


def cvat_mask_outline(
    counts: Sequence[int], left: int, top: int, width: int, height: int
) -> Outline:
    """Return the outline of a mask that CVAT gives within a box of its image."""
    return _outline(_expand(counts, width * height).reshape(height, width), (left, top))


def _outline(mask: np.ndarray, corner: tuple[int, int]) -> Outline:
    if not mask.any():
        raise UserError("a mask marks no pixel")
    polygons = (polygon + np.array(corner) for polygon in trace_mask(mask))
    return Outline(polygons=tuple(tuple((float(x), float(y)) for x, y in p) for p in polygons))


def _expand(counts: Sequence[int], pixels: int) -> np.ndarray:
    """Return bool [pixels] of alternating runs that begin with false."""
    lengths = np.array([int(count) for count in counts], np.int64)
    if not 0 < pixels <= _MAX_PIXELS or (lengths < 0).any() or lengths.sum() != pixels:
        raise UserError(
            f"the runs of a mask cover {int(lengths.sum())} pixels, its image has {pixels}"
        )
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _decompress(text: str) -> list[int]:
    """Return the counts of a compressed COCO mask: signed numbers in groups of five bits.

    From the third count on each is stored as the difference to the last but one.
    """
    counts: list[int] = []
    position = 0
    while position < len(text):
        number, shift, more = 0, 0, True
        while more:
            if position >= len(text):
                raise UserError("the compressed counts of a mask are cut off")
            group = ord(text[position]) - 48
            if not 0 <= group < 64:
                raise UserError("the compressed counts of a mask hold an unknown character")
            number |= (group & 0x1F) << shift
            more = bool(group & 0x20)
            position += 1
            shift += 5
            if not more and group & 0x10:
                number |= -1 << shift
        if len(counts) > 2:
            number += counts[-2]
        counts.append(number)
    return counts
