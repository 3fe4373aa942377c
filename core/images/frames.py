"""Frames of an image: padding strips, white or black borders and collimated edges.

The breast inside them belongs in `core.images.tissue_segmentation`.
"""

from __future__ import annotations

import numpy as np

# A frame takes at most this share of the image on one side.
_MAX_SHARE = 0.35
# Lines of a frame are constant up to the noise of JPEG, in grey levels ...
_FLATNESS = 6.0
_MIN_FLAT_SHARE = 0.97
# ... and end abruptly: most of the following line has another grey level.
_MIN_STEP = 12.0
_MIN_STEP_SHARE = 0.6


def inside_of_frame(pixels: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of an image without constant strips along its edges.

    A strip is a frame only if it ends abruptly along most of its length. The air beside a breast
    does not: the outline of a breast is round.

    Parameters
    ----------
    pixels : array, shape [h, w]
        Grey levels from 0 to 255.

    Returns
    -------
    (slice, slice)
        The whole image if it has no frame or would vanish.

    Examples
    --------
    >>> image = np.full((40, 60), 255, np.uint8)
    >>> image[:, 12:] = np.arange(48)
    >>> inside_of_frame(image)
    (slice(0, 40, None), slice(12, 60, None))
    """
    grey = np.asarray(pixels, np.float32)
    h, w = grey.shape
    top, bottom = _strip_width(grey), _strip_width(grey[::-1])
    left, right = _strip_width(grey.T), _strip_width(grey.T[::-1])
    if (h - top - bottom) * 4 < h or (w - left - right) * 4 < w:
        return slice(0, h), slice(0, w)
    return slice(top, h - bottom), slice(left, w - right)


def _strip_width(lines: np.ndarray) -> int:
    """Return how many of the first lines [n, length] are a frame."""
    limit = int(_MAX_SHARE * len(lines))
    level = float(np.median(lines[0]))
    candidates = lines[: limit + 1]
    flat = (np.abs(candidates - level) <= _FLATNESS).mean(1) >= _MIN_FLAT_SHARE
    # argmin gives 0 also where all lines are flat, which is no frame.
    width = int(np.argmin(flat))
    if width == 0:
        return 0
    # The first line behind the strip may be blurred. There is a second one: a strip of one line
    # needs three.
    behind = lines[width + 1]
    if (np.abs(behind - level) > _MIN_STEP).mean() < _MIN_STEP_SHARE:
        return 0
    blurred = (np.abs(lines[width] - level) > _MIN_STEP).mean() < _MIN_STEP_SHARE
    return width + int(blurred)
