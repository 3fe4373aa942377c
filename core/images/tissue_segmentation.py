"""Segmentation of breast tissue, without the air around it and without burnt-in view labels.

Masks of findings belong in `core.images.polygons`.
"""

from __future__ import annotations

import numpy as np
import scipy
from PIL import Image

# The mask is computed at this width and enlarged.
_WORK_WIDTH = 256
# A piece below this share of the image is not a breast.
_MIN_BREAST_SHARE = 0.01
# An image whose darkest parts are brighter than this has no air.
_BRIGHTEST_AIR = 90.0


def tissue_mask(pixels: np.ndarray) -> np.ndarray:
    """Return the breast and the pectoral muscle of a positive image.

    Air is the dark, flat background. The region above it is opened morphologically, which removes
    labels, lines and dust; its largest piece is the breast, and holes in it are filled.

    Parameters
    ----------
    pixels : uint8 array, shape [h, w]
        Mammogram, bright for dense tissue.

    Returns
    -------
    bool array, shape [h, w]
        All false if nothing is brighter than the background.

    Examples
    --------
    >>> image = np.zeros((64, 64), np.uint8)
    >>> image[16:48, :32] = 120  # breast at the chest wall
    >>> image[2:5, 58:61] = 200  # view label
    >>> mask = tissue_mask(image)
    >>> bool(mask[20:44, :28].all()), bool(mask[:, 40:].any())
    (True, False)
    """
    h, w = pixels.shape
    small_width = min(_WORK_WIDTH, w)
    small_height = max(1, round(h * small_width / w))
    resized = Image.fromarray(pixels).resize((small_width, small_height), Image.Resampling.BOX)
    smooth = scipy.ndimage.gaussian_filter(np.asarray(resized, np.float32), 1.0)
    mask = _largest_piece(smooth > air_threshold(smooth))
    if (small_height, small_width) == (h, w):
        return mask
    grey = Image.fromarray(mask.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR)
    return np.asarray(grey) > 0.5


def air_threshold(smooth: np.ndarray) -> float:
    """Return the grey value between air and tissue of a smoothed image [h, w]."""
    air = min(float(np.percentile(smooth, 5)), _BRIGHTEST_AIR)
    bright = float(np.percentile(smooth, 97))
    return air + max(6.0, 0.07 * (bright - air))


def _largest_piece(above: np.ndarray) -> np.ndarray:
    """Return the largest piece of a mask [h, w] that survives an opening, with holes filled.

    The piece is grown back to its own border.
    """
    radius = max(1, round(0.03 * above.shape[1]))
    # Tissue continues beyond the image, so an opening must not round off the breast where the image
    # cuts it. Mirroring ensures that without turning a bright edge of a few pixels into a bar.
    wide = np.pad(above, 2 * radius, mode="symmetric")
    opened = _dilate(_erode(wide, radius), radius)
    parts, count = scipy.ndimage.label(opened)
    if count == 0:
        return np.zeros_like(above)
    inner = (slice(2 * radius, -2 * radius),) * 2
    sizes = np.bincount(parts[inner].ravel(), minlength=count + 1)[1:]
    if sizes.max() < _MIN_BREAST_SHARE * above.size:
        return np.zeros_like(above)
    piece = parts == 1 + int(sizes.argmax())
    grown = scipy.ndimage.binary_dilation(piece, iterations=max(1, radius // 4), mask=wide)
    return scipy.ndimage.binary_fill_holes(grown)[inner]


# Distance transforms: erosion by a disc costs the same for every radius.
def _erode(mask: np.ndarray, radius: float) -> np.ndarray:
    return scipy.ndimage.distance_transform_edt(mask) > radius


def _dilate(mask: np.ndarray, radius: float) -> np.ndarray:
    return scipy.ndimage.distance_transform_edt(~mask) <= radius
