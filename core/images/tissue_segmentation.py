"""Breast tissue on a film, without the air around it and without burnt-in view labels."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

WIDTH = 256  # the mask is made at this width and enlarged
MIN_SHARE = 0.01  # of the film; a smaller piece is no breast
BRIGHTEST_AIR = 90.0  # a film whose darkest parts are brighter has no air


def tissue_mask(pixels: np.ndarray) -> np.ndarray:
    """uint8 [h, w] of a positive film (bright = dense) to bool [h, w]: where the breast and the
    pectoral muscle are.

    Air is the film's dark, flat ground; what rises above it is opened so that labels, lines and
    dust fall off, the largest piece is the breast, and holes in it are filled. All false for a film
    without anything brighter than its ground.
    """
    h, w = pixels.shape
    small_width = min(WIDTH, w)
    small_height = max(1, round(h * small_width / w))
    small = np.asarray(
        Image.fromarray(pixels).resize((small_width, small_height), Image.Resampling.BOX),
        np.float32,
    )
    smooth = ndimage.gaussian_filter(small, 1.0)
    above = smooth > air_threshold(smooth)
    mask = _breast(above)
    if (small_height, small_width) == (h, w):
        return mask
    grey = Image.fromarray(mask.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR)
    return np.asarray(grey) > 0.5


def air_threshold(smooth: np.ndarray) -> float:
    """Grey value between air and tissue of a smoothed film [h, w]."""
    ground = min(float(np.percentile(smooth, 5)), BRIGHTEST_AIR)
    bright = float(np.percentile(smooth, 97))
    return ground + max(6.0, 0.07 * (bright - ground))


def _breast(above: np.ndarray) -> np.ndarray:
    """The largest piece of `above` [h, w] that survives an opening, regrown to its own border,
    holes filled.
    """
    radius = max(1, round(0.03 * above.shape[1]))
    # Beyond the film tissue goes on: an opening must not round off the breast where the film cuts
    # it. Mirroring does that
    # without making a bright edge of the film, a few pixels wide, into a bar.
    wide = np.pad(above, 2 * radius, mode="symmetric")
    opened = _dilate(_erode(wide, radius), radius)
    parts, number = ndimage.label(opened)
    if number == 0:
        return np.zeros_like(above)
    inner = (slice(2 * radius, -2 * radius),) * 2
    sizes = np.bincount(parts[inner].ravel(), minlength=number + 1)[1:]
    if sizes.max() < MIN_SHARE * above.size:
        return np.zeros_like(above)
    core = parts == 1 + int(sizes.argmax())
    grown = ndimage.binary_dilation(core, iterations=max(1, radius // 4), mask=wide)
    return ndimage.binary_fill_holes(grown)[inner]


def _erode(mask: np.ndarray, radius: float) -> np.ndarray:
    return ndimage.distance_transform_edt(mask) > radius


def _dilate(mask: np.ndarray, radius: float) -> np.ndarray:
    return ndimage.distance_transform_edt(~mask) <= radius
