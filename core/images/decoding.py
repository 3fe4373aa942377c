"""Pixels: decoding films, turning negatives, and the working image every later step reads."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage, sparse

from core.errors import UserError
from core.images import dicom

FULL_SCALES = (255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True, kw_only=True)
class Film:
    """One decoded file. pixels: uint8 or uint16 [h, w]; maximum: the grey value that means white;
    file_hash: SHA-256 of the file. inverted: the file itself says that its values are negative
    (MONOCHROME1), and pixels are turned already. laterality, view: as DICOM tags give them, else
    ""; pixel_mm: size of a pixel, None if the file does not say.
    """

    pixels: np.ndarray = field(repr=False)
    maximum: int
    file_hash: str
    inverted: bool = False
    pixel_mm: float | None = None
    laterality: str = ""
    view: str = ""
    scanner: str = ""


def read_film(path: Path) -> Film:
    """Decode PNG, JPEG, TIFF (8 to 16 bits, grey or colour) or DICOM, by content rather than by
    name; turned as its orientation tag says, because outlines are drawn on what viewers show.
    UserError naming the file if it is missing, unreadable or of another kind.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"The image {path} does not exist: check the path in the table, or leave the row out."
        ) from None
    except OSError as error:
        raise UserError(
            f"The image {path} cannot be read ({error.strerror}): check the file and its"
            " permissions."
        ) from None
    file_hash = hashlib.sha256(data).hexdigest()
    if dicom.looks_like_dicom(data):
        found = dicom.read(data, path)
        return Film(
            pixels=found.pixels,
            maximum=found.maximum,
            file_hash=file_hash,
            inverted=found.inverted,
            pixel_mm=found.pixel_mm,
            laterality=found.laterality,
            view=found.view,
            scanner=found.scanner,
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow thinks of tags that are not used here
            with Image.open(io.BytesIO(data)) as image:
                pixels = _grey(ImageOps.exif_transpose(image), path)
    except UnidentifiedImageError:
        raise UserError(
            f"The image {path} is none that can be read (PNG, JPEG, TIFF or DICOM): convert it or"
            " leave the row out."
        ) from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:  # Pillow raises all of them for damaged files
        raise UserError(
            f"The image {path} is damaged ({error}): fetch it again or leave the row out."
        ) from None
    return Film(pixels=pixels, maximum=full_scale(pixels), file_hash=file_hash)


def read_mask(path: Path) -> np.ndarray:
    """A mask file as bool [h, w]: every pixel above 0, or above half the maximum where the file has
    more than two values.
    """
    pixels = read_film(path).pixels
    values = np.unique(pixels)
    return pixels > (0 if len(values) <= 2 else int(values[-1]) / 2)


def full_scale(pixels: np.ndarray) -> int:
    """The grey value that means white:

    255 for uint8; for uint16 the smallest usual depth (10, 12, 14 or 16 bits) that holds the
    brightest pixel.
    """
    if pixels.dtype == np.uint8:
        return 255
    brightest = int(pixels.max(initial=0))
    return next(scale for scale in FULL_SCALES[1:] if scale >= brightest)


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    """uint8 or uint16 [h, w] of an opened image."""
    if image.mode.startswith("I;16") or image.mode == "I":
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise UserError(
                f"The image {path} has grey values beyond 16 bits ({pixels.min()} to"
                f" {pixels.max()}): convert it to 16 bits."
            )
        return pixels.astype(np.uint16)
    if image.mode == "F":
        raise UserError(
            f"The image {path} holds fractions, not grey values: convert it to 8 or 16 bits."
        )
    if image.mode == "RGB":
        colour = np.asarray(image)
        if (colour[..., 0] == colour[..., 1]).all() and (colour[..., 1] == colour[..., 2]).all():
            return np.ascontiguousarray(colour[..., 0])
    return np.asarray(image.convert("L"))


def detect_inverted(pixels: np.ndarray) -> bool:
    """Whether a film [h, w] is negative, dark tissue on a bright ground: the flattest fifth of a
    mammogram is the air around the breast, and that is dark on a positive. Undecided films (no flat
    ground) count as positive.
    """
    small = _thumbnail(pixels)
    rough = np.sqrt(
        np.maximum(ndimage.uniform_filter(small**2, 3) - ndimage.uniform_filter(small, 3) ** 2, 0)
    )
    low, high = np.percentile(small, [1, 99])
    if high <= low:
        return False
    # Of equally flat pixels (digital air is constant) all are taken, none by its place.
    flat = small[rough <= np.quantile(rough, 0.2)]
    return bool(np.median(flat) > low + 0.6 * (high - low))


def turn(pixels: np.ndarray, maximum: int) -> np.ndarray:
    """The positive of a negative film, same type."""
    return (maximum - np.minimum(pixels, maximum)).astype(pixels.dtype)


def positive(film: Film) -> Film:
    """The film as it is, or turned where it looks negative; `inverted` then says what the file's
    own values were.
    """
    if not detect_inverted(film.pixels):
        return film
    return replace(film, pixels=turn(film.pixels, film.maximum), inverted=not film.inverted)


def _thumbnail(pixels: np.ndarray, width: int = 128) -> np.ndarray:
    """float [h', <= width] by whole-block averages."""
    step = max(1, pixels.shape[1] // width)
    h, w = pixels.shape[0] // step * step, pixels.shape[1] // step * step
    if h == 0 or w == 0:
        return pixels.astype(float)
    # Whole rows are added first: they lie side by side in memory.
    rows = np.add.reduce(pixels[:h].reshape(h // step, step, -1), axis=1, dtype=np.uint32)
    return rows[:, :w].reshape(h // step, w // step, step).sum(2) / step**2


def working_image(
    pixels: np.ndarray, maximum: int, width: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """The film [h, w] resized to `width` (4 x the network's input side, DEFINITIONS "working
    image"), as uint8 [h', width], and the factors (width / w, h' / h). Smaller: exact area
    averages; larger: bilinear.
    """
    h, w = pixels.shape
    height = max(1, round(h * width / w))
    grey = (pixels if pixels.max(initial=0) <= maximum else np.minimum(pixels, maximum)).astype(
        np.float32
    )
    if (height, width) != (h, w):
        if width <= w:
            grey = (area_weights(w, width) @ (area_weights(h, height) @ grey).T).T
        else:
            grey = np.asarray(
                Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
            )
    return np.rint(grey * (255 / maximum)).clip(0, 255).astype(np.uint8), (width / w, height / h)


@lru_cache(maxsize=32)  # films of one scanner share their sizes
def area_weights(old: int, new: int) -> sparse.csr_array:
    """Matrix [new, old] whose row k averages old pixels over [k, k + 1] x old / new, pixels at the
    ends by the part covered.
    """
    edges = np.arange(new + 1) * (old / new)
    first, last = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:] - 1e-9).astype(int)
    rows = np.repeat(np.arange(new), last - first)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(first, last)]).clip(0, old - 1)
    covered = np.minimum(columns + 1, edges[rows + 1]) - np.maximum(columns, edges[rows])
    return sparse.csr_array(
        ((covered * (new / old)).astype(np.float32), (rows, columns)), shape=(new, old)
    )
