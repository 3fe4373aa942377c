"""Segmentation of breast tissue, without the air around it and without burnt-in view labels.

Masks of findings belong in `core.images.polygons`, frames of an image in `core.images.frames`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy
from PIL import Image

from core.images.frames import inside_of_frame

# The mask is computed at this width and enlarged.
_WORK_WIDTH = 256
# A piece below this share of the image is not a breast.
_MIN_BREAST_SHARE = 0.01
# An image whose darkest parts are brighter than this has no air.
_BRIGHTEST_AIR = 90.0
# Air changes by less than this from pixel to pixel at the working width ...
_AIR_SLOPE = 1.0
# ... differs from its fitted surface by at most this ...
_AIR_RESIDUAL = 4.0
# ... and is even where its darkest parts differ by less than this.
_EVEN_AIR = 3.0
# Every seventeenth pixel suffices; a prime, so that the sample is not a few columns.
_SAMPLING = 17
# Steps of the fit with a plane, and of all steps; the later ones add curvature.
_PLANE_STEPS, _FIT_STEPS = 18, 25
# A mask without ground around it, or with other large bright areas beside it, is doubtful.
_MAX_MASK_SHARE = 0.97
_MAX_OTHER_SHARE = 0.2
# The halves of an image hold tissue that differs by more than this share if its side is clear.
_MIN_SIDE_DIFFERENCE = 0.2
# Median step across the border of the breast in grey levels; the air threshold is 6 at least.
_MIN_BORDER_STEP = 3.0


@dataclass(frozen=True)
class Segmentation:
    """Tissue of one image. mask: bool [h, w]; doubt: why the mask may be wrong, "" if it is not."""

    mask: np.ndarray = field(repr=False)
    doubt: str = ""


def tissue_mask(pixels: np.ndarray) -> np.ndarray:
    """Return the mask of `segment_tissue`, bool [h, w].

    Examples
    --------
    >>> image = np.zeros((64, 64), np.uint8)
    >>> image[16:48, :32] = 120  # breast at the chest wall
    >>> image[2:5, 58:61] = 200  # view label
    >>> mask = tissue_mask(image)
    >>> bool(mask[20:44, :28].all()), bool(mask[:, 40:].any())
    (True, False)
    """
    return segment_tissue(pixels).mask


def segment_tissue(pixels: np.ndarray) -> Segmentation:
    """Return the breast and the pectoral muscle of a positive image.

    Air is the dark, flat background; where it is uneven, a plane with a slight curvature is fitted
    to it. The region above it is opened morphologically, which removes labels, lines and dust; its
    largest piece is the breast, and holes in it are filled. Frames are no part of the image.

    Parameters
    ----------
    pixels : uint8 array, shape [h, w]
        Mammogram, bright for dense tissue.

    Returns
    -------
    Segmentation
        The mask is all false if nothing is brighter than the background.

    Examples
    --------
    >>> segment_tissue(np.full((64, 64), 17, np.uint8)).doubt
    'no breast tissue was detected'
    """
    h, w = pixels.shape
    small_width = min(_WORK_WIDTH, w)
    small_height = max(1, round(h * small_width / w))
    resized = Image.fromarray(pixels).resize((small_width, small_height), Image.Resampling.BOX)
    grey = np.asarray(resized, np.float32)
    inner = inside_of_frame(grey)
    smooth = scipy.ndimage.gaussian_filter(grey[inner], 1.0)
    above = smooth > air_threshold(smooth)
    piece = _largest_piece(above)
    mask = np.zeros(grey.shape, bool)
    mask[inner] = piece
    doubt = _doubt(smooth, above, piece)
    if (small_height, small_width) == (h, w):
        return Segmentation(mask, doubt)
    enlarged = Image.fromarray(mask.astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR)
    return Segmentation(np.asarray(enlarged) > 0.5, doubt)


def chest_wall_side(mask: np.ndarray) -> str:
    """Return on which side of the image the chest wall is: "left", "right", or "" if unclear.

    Examples
    --------
    >>> mask = np.zeros((4, 4), bool)
    >>> mask[:, 0] = True
    >>> chest_wall_side(mask)
    'left'
    """
    half = mask.shape[1] // 2
    left, right = int(mask[:, :half].sum()), int(mask[:, -half:].sum())
    if abs(left - right) <= _MIN_SIDE_DIFFERENCE * (left + right):
        return ""
    return "left" if left > right else "right"


def with_margin(mask: np.ndarray, margin: float) -> np.ndarray:
    """Return a mask enlarged on all sides.

    Parameters
    ----------
    mask : bool array, shape [h, w]
        Such as that of `tissue_mask`.
    margin : float
        Width of the margin in pixels.

    Returns
    -------
    bool array, shape [h, w]
        The pixels whose centre is at most margin away from the centre of a pixel of the mask.

    Examples
    --------
    >>> mask = np.zeros((5, 5), bool)
    >>> mask[2, 2] = True
    >>> int(with_margin(mask, 1.0).sum())
    5
    """
    if not mask.any():
        return mask
    # The rows of a mask are a few runs of pixels each. Discs around the pixels of a run are a
    # longer run in every neighbouring row. This takes a tenth of the time of a distance transform.
    h, w = mask.shape
    row, starts, ends = _runs(mask)
    rows_away = np.arange(-int(margin), int(margin) + 1)
    reach = np.sqrt(margin**2 - rows_away**2).astype(int)
    rows = row[:, None] + rows_away
    # Rows below the image are cut off below: their positions lie behind its last pixel.
    below_top = rows >= 0
    starts = np.sort((rows * w + np.maximum(starts[:, None] - reach, 0))[below_top])
    ends = np.sort((rows * w + np.minimum(ends[:, None] + reach, w))[below_top])
    # Between two runs of the union as many runs have ended as have started.
    gaps = np.flatnonzero(starts[1:] > ends[:-1])
    enlarged = np.zeros(h * w, bool)
    for start, end in zip(starts[np.append(0, gaps + 1)], ends[np.append(gaps, len(ends) - 1)]):
        enlarged[start:end] = True
    return enlarged.reshape(h, w)


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, first column and end (exclusive) of each run of pixels in a row of a mask."""
    h, w = mask.shape
    padded = np.zeros((h, w + 2), bool)
    padded[:, 1:-1] = mask
    row, column = np.divmod(np.flatnonzero(np.diff(padded.ravel())), w + 2)
    return row[::2], column[::2], column[1::2]


def air_threshold(smooth: np.ndarray) -> np.ndarray:
    """Return the grey value between air and tissue of a smoothed image, float [h, w]."""
    air = np.full(smooth.shape, min(float(np.percentile(smooth, 5)), _BRIGHTEST_AIR))
    surface = _fit_uneven_air(smooth)
    if surface is not None:
        air = surface
    bright = float(np.percentile(smooth - air, 97))
    return air + max(6.0, 0.07 * bright)


def _fit_uneven_air(smooth: np.ndarray) -> np.ndarray | None:
    """Return the grey value of the air, float [h, w]; None if the air is even or not found."""
    slopes = np.gradient(smooth) if min(smooth.shape) > 1 else [np.zeros_like(smooth)] * 2
    flat = np.hypot(*slopes) < _AIR_SLOPE
    values, candidates = smooth.ravel()[::_SAMPLING], flat.ravel()[::_SAMPLING]
    if candidates.sum() < 50:
        return None
    used = candidates & (values <= np.quantile(values[candidates], 0.3))
    low, high = np.percentile(values[used], [5, 95])
    if high - low < _EVEN_AIR:
        return None
    terms = _surface_terms(smooth.shape)
    sampled = terms[::_SAMPLING]
    # From the darkest flat parts outwards: breast tissue lies above the surface and stays out.
    for step in range(_FIT_STEPS):
        count = 3 if step < _PLANE_STEPS else 6
        coefficients = np.linalg.lstsq(sampled[used, :count], values[used])[0]
        residuals = values - sampled[:, :count] @ coefficients
        used = candidates & (np.abs(residuals) <= _AIR_RESIDUAL)
        if used.sum() < 20:
            return None
    surface = (terms[:, : len(coefficients)] @ coefficients).reshape(smooth.shape)
    return surface.clip(0, _BRIGHTEST_AIR)


def _surface_terms(shape: tuple[int, ...]) -> np.ndarray:
    """Return the terms of a quadratic surface at every pixel, float [h w, 6]."""
    y, x = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in shape), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).reshape(-1, 6)


def _doubt(smooth: np.ndarray, above: np.ndarray, piece: np.ndarray) -> str:
    """Return why a mask may be wrong, "" if nothing speaks against it."""
    if not piece.any():
        return "no breast tissue was detected"
    if piece.mean() > _MAX_MASK_SHARE:
        return "no background was found around the breast"
    # Large bright areas only: labels and lines are expected.
    steps = max(1, piece.shape[1] // 40)
    outside_of_image = ~np.pad(above & ~piece, 1)
    others = _grow(~_grow(outside_of_image, steps), steps)[1:-1, 1:-1]
    if others.sum() > _MAX_OTHER_SHARE * piece.sum():
        return "another bright area is nearly as large as the breast"
    inside = piece & _grow(~piece, 3)
    outside = _grow(piece, 4) & ~_grow(piece, 1)
    if outside.any() and np.median(smooth[inside]) - np.median(smooth[outside]) < _MIN_BORDER_STEP:
        return "the border of the breast is hardly brighter than the background"
    return ""


def _largest_piece(above: np.ndarray) -> np.ndarray:
    """Return the largest piece of a mask [h, w] that survives an opening, with holes filled.

    The piece is grown back to its own border.
    """
    radius = max(1, round(0.03 * above.shape[1]))
    # Tissue continues beyond the image, so an opening must not round off the breast where the image
    # cuts it. Mirroring ensures that without turning a bright edge of a few pixels into a bar.
    wide = np.pad(above, 2 * radius, mode="symmetric")
    eroded = ~with_margin(~wide, radius)
    opened = with_margin(eroded, radius)
    parts, count = scipy.ndimage.label(opened)
    if count == 0:
        return np.zeros_like(above)
    inner = (slice(2 * radius, -2 * radius),) * 2
    sizes = np.bincount(parts[inner].ravel(), minlength=count + 1)[1:]
    if sizes.max() < _MIN_BREAST_SHARE * above.size:
        return np.zeros_like(above)
    piece = parts == 1 + int(sizes.argmax())
    grown = _grow(piece, max(1, radius // 4), wide)
    return _fill_holes(grown)[inner]


def _grow(mask: np.ndarray, steps: int, limit: np.ndarray | None = None) -> np.ndarray:
    """Return a mask [h, w] with the four neighbours of its pixels, `steps` times.

    limit: bool [h, w], to which the mask belongs and beyond which it does not grow.
    """
    # scipy's dilation takes 30 times as long.
    for _ in range(steps):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown if limit is None else grown & limit
    return mask


def _fill_holes(mask: np.ndarray) -> np.ndarray:
    """Return a mask [h, w] with the parts of its ground that do not reach the image's edge."""
    # scipy's function of this purpose takes 5 times as long.
    parts, count = scipy.ndimage.label(~mask)
    edges = (parts[0], parts[-1], parts[:, 0], parts[:, -1])
    is_open = np.zeros(count + 1, bool)
    is_open[np.concatenate(edges)] = True
    is_open[0] = False  # the mask itself
    return ~is_open[parts]
