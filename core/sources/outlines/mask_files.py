"""Mask files of findings: two-valued masks, label masks with a chosen value, black on white.

Decoding of image files belongs in `core.images.decoding`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from core.errors import UserError
from core.images.decoding import read_image

# Lossy compression moves values by up to this share of the largest, resampling by rounding only.
_LOSSY_SHARE, _LOSSLESS_SHARE = 0.15, 0.02
_MAX_LISTED_VALUES = 8
# A file with more grey than white, and more than this share of it, is a picture.
_MAX_GREY_SHARE = 0.05
_CHOICE = re.compile(r"^(.*\S)\s+(?:value\s+(\d{1,5})|(inverted))$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class MaskReference:
    """A mask file as a table names it.

    name: the file. value: only pixels of this value belong to the finding; None: all that are not
    ground. inverted: the finding is black.
    """

    name: str
    value: int | None = None
    inverted: bool = False


def parse_mask_reference(text: str) -> MaskReference:
    """Return the mask that a cell names, with the words after its file name.

    Examples
    --------
    >>> parse_mask_reference("masks/a.png value 2")
    MaskReference(name='masks/a.png', value=2, inverted=False)
    >>> parse_mask_reference("my mask.png inverted").inverted
    True
    """
    match = _CHOICE.match(text.strip())
    if match is None:
        return MaskReference(text.strip())
    name, value, inverted = match.groups()
    return MaskReference(name, int(value) if value else None, bool(inverted))


def read_mask_file(
    path: Path, reference: MaskReference, shape: tuple[int, int], *, may_fill: bool = False
) -> np.ndarray:
    """Return the finding that a mask file marks.

    Parameters
    ----------
    path : Path
        The file that the reference names.
    reference : MaskReference
        The chosen value, or that the finding is black.
    shape : (int, int)
        Height and width of the film.
    may_fill : bool
        Whether a finding may fill the image; otherwise a mask of most of it counts as a negative.

    Returns
    -------
    bool array, shape [h, w]

    Raises
    ------
    UserError
        If the file cannot be read, has another size than the film, marks nothing, holds several
        classes without a chosen value, is a picture, or looks like the negative of a mask.
    """
    pixels = read_image(path).pixels
    height, width = pixels.shape
    if (height, width) != shape:
        raise UserError(
            f"the mask {path.name} is {width} x {height} pixels, its image {shape[1]} x {shape[0]};"
            " give a mask of the image's size"
        )
    lossy = _is_jpeg(path)
    if reference.value is not None:
        mask = _chosen_value(pixels, reference.value, path, lossy=lossy)
    else:
        mask = _two_valued(pixels, path, lossy=lossy) ^ reference.inverted
    if not mask.any():
        raise UserError(
            f"the mask {path.name} is empty; give a mask with the finding or leave the cell empty"
        )
    if not may_fill:
        _check_not_ground(mask, path, reference)
    return mask


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def _chosen_value(pixels: np.ndarray, value: int, path: Path, *, lossy: bool) -> np.ndarray:
    if lossy:
        raise UserError(
            f"the mask {path.name} is a JPEG, which does not keep the values of classes; save it as"
            " PNG"
        )
    mask = pixels == value
    if not mask.any():
        raise UserError(
            f"the mask {path.name} has no pixel of the value {value}, only"
            f" {_list_values(np.unique(pixels))}; choose one of them"
        )
    return mask


def _two_valued(pixels: np.ndarray, path: Path, *, lossy: bool) -> np.ndarray:
    """Return the bright part of a mask of two values; UserError if it holds several classes."""
    values = np.unique(pixels)
    low, high = int(values[0]), int(values[-1])
    if low == high:
        # A constant file marks nothing if it is black, else everything.
        return pixels > 0
    tolerance = (_LOSSY_SHARE if lossy else _LOSSLESS_SHARE) * (high - low)
    between = (pixels > low + (tolerance if lossy else 0)) & (pixels < high - tolerance)
    classes = _plateau_values(pixels, between)
    if len(classes):
        raise UserError(
            f"the mask {path.name} holds several classes, {_list_values([*classes, high])}; choose"
            f' one, such as "{path.name} value {classes[0]}"'
        )
    bright = pixels >= high - tolerance
    if between.mean() > _MAX_GREY_SHARE and between.sum() > bright.sum():
        raise UserError(
            f"the mask {path.name} is a picture: {between.mean():.0%} of it are shades of grey;"
            " give a mask of two values"
        )
    return pixels > (low + high) / 2


def _plateau_values(pixels: np.ndarray, between: np.ndarray) -> list[int]:
    """Return the values with uniform regions among the given pixels.

    Soft edges of a two-valued mask have intermediate values too, but no region of one value.
    """
    if not between.any():
        return []
    minimum = ndimage.minimum_filter(pixels, 3)
    uniform = between & (minimum == ndimage.maximum_filter(pixels, 3))
    return [int(value) for value in np.unique(pixels[uniform])]


def _check_not_ground(mask: np.ndarray, path: Path, reference: MaskReference) -> None:
    """Raise UserError for a mask that marks the ground around the finding."""
    corners = mask[0, 0] and mask[0, -1] and mask[-1, 0] and mask[-1, -1]
    if not corners and mask.mean() <= 0.5:
        return
    remedy = (
        'remove the word "inverted"'
        if reference.inverted
        else f'if the finding is black in it, write "{path.name} inverted"'
    )
    raise UserError(
        f"the mask {path.name} marks {mask.mean():.0%} of the film as the finding; {remedy}"
    )


def _list_values(values: object) -> str:
    listed = [str(int(value)) for value in values]  # type: ignore[attr-defined]
    more = ", ..." if len(listed) > _MAX_LISTED_VALUES else ""
    return ", ".join(listed[:_MAX_LISTED_VALUES]) + more
