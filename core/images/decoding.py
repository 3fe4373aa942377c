"""Decoding of image files, polarity of mammograms, and the working image that later steps read.

DICOM files belong in `core.images.dicom`; the stored working images of a study belong in
`core.images.working_images`.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy
from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import UserError
from core.images.frames import inside_of_frame

# Largest grey values of the usual depths: 8, 10, 12, 14 and 16 bits.
_GREY_MODES = ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_FULL_SCALES = (255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """One decoded image file.

    pixels: uint8 or uint16 [h, w], positive, or [h, w, 3] in colour. maximum: grey value of white.
    file_hash: SHA-256 of the file. inverted: the stored values are negative and have been inverted.
    pixel_mm: size of a pixel, None if unknown. laterality, view: of the DICOM tags, else "".
    attributes: facts of a DICOM header, see `core.images.dicom_attributes`.
    """

    pixels: np.ndarray = field(repr=False)
    maximum: int
    file_hash: str
    inverted: bool = False
    pixel_mm: float | None = None
    laterality: str = ""
    view: str = ""
    scanner: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


def read_image(path: Path, colour: bool = False) -> DecodedImage:
    """Decode an image file.

    The format is detected from the content, not from the name. Orientation tags are applied,
    because outlines are drawn on what viewers display.

    Parameters
    ----------
    path : Path
        PNG, JPEG or TIFF (8 to 16 bits, grey or colour), or DICOM.
    colour : bool
        Return three channels; a grey image has three equal ones.

    Returns
    -------
    DecodedImage

    Raises
    ------
    UserError
        If the file is missing, unreadable, damaged, or of another format.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "image.png"
    >>> Image.fromarray(np.array([[0, 255]], np.uint8)).save(path)
    >>> image = read_image(path)
    >>> image.pixels.tolist(), image.maximum
    ([[0, 255]], 255)
    >>> folder.cleanup()
    """
    # pydicom takes a third of a second, and pages and figures read the study's own images only.
    from core.images.dicom import is_dicom, read_dicom

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
    if not data:
        raise UserError(f"The image {path} is empty (0 bytes): copy it again or leave the row out.")
    file_hash = hashlib.sha256(data).hexdigest()
    if is_dicom(data):
        dicom = DecodedImage(file_hash=file_hash, **vars(read_dicom(data, path)))
        return replace(dicom, pixels=_three_channels(dicom.pixels)) if colour else dicom
    try:
        with warnings.catch_warnings():
            # Pillow warns of tags that are not used here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                _check_single(image, path)
                upright = ImageOps.exif_transpose(image)
                is_coloured = colour and upright.mode not in _GREY_MODES
                pixels = (
                    np.asarray(upright.convert("RGB")) if is_coloured else _to_grey(upright, path)
                )
    except UnidentifiedImageError:
        raise UserError(
            f"Cannot read the image {path}: unsupported format (expected PNG, JPEG, TIFF or"
            " DICOM). Convert the file or leave the row out."
        ) from None
    # Pillow raises all of these for damaged files.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"The image {path} is damaged ({error}): download it again or leave the row out."
        ) from None
    maximum = full_scale(pixels)
    if colour and pixels.ndim == 2:
        pixels = _three_channels(pixels)
    return DecodedImage(pixels=pixels, maximum=maximum, file_hash=file_hash)


def _three_channels(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def full_scale(pixels: np.ndarray) -> int:
    """Return the grey value of white.

    Parameters
    ----------
    pixels : uint8 or uint16 array

    Returns
    -------
    int
        255 for uint8; for uint16 the largest value of the smallest usual depth (10, 12, 14 or 16
        bits) that holds the brightest pixel.

    Examples
    --------
    >>> full_scale(np.array([0, 1024], np.uint16))
    4095
    """
    if pixels.dtype == np.uint8:
        return 255
    brightest = int(pixels.max(initial=0))
    return next(scale for scale in _FULL_SCALES[1:] if scale >= brightest)


def _check_single(image: Image.Image, path: Path) -> None:
    """Raise UserError for a file of several pages, of which only the first would be read."""
    pages = getattr(image, "n_frames", 1)
    # In the multi-picture format of cameras the further images are previews of the first.
    if pages > 1 and image.format != "MPO":
        raise UserError(
            f"The image {path} holds {pages} images: export each into a file of its own, or leave"
            " the row out."
        )


def _to_grey(image: Image.Image, path: Path) -> np.ndarray:
    """Return an opened image as uint8 or uint16 [h, w]."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        pixels = np.asarray(image)
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
        # Grey images saved as RGB keep their exact values; Pillow's luminance would round them.
        if (colour[..., 0] == colour[..., 1]).all() and (colour[..., 1] == colour[..., 2]).all():
            return np.ascontiguousarray(colour[..., 0])
    return np.asarray(image.convert("L"))


def is_inverted(pixels: np.ndarray) -> bool:
    """Return whether an image [h, w] is negative, that is dark tissue on a bright background.

    The flattest fifth of a mammogram is the air around the breast, which is dark on a positive. An
    image without a flat background counts as positive.

    Examples
    --------
    >>> y, x = np.mgrid[:64, :48]
    >>> texture = 120 + 40 * np.sin(x / 2) * np.cos(y / 2)
    >>> positive = np.where((x / 30) ** 2 + ((y - 32) / 25) ** 2 < 1, texture, 3).astype(np.uint8)
    >>> is_inverted(positive), is_inverted(255 - positive)
    (False, True)
    """
    small = _block_average(pixels)
    # A strip of padding is flatter than any air.
    small = small[inside_of_frame(small * (255 / max(float(small.max()), 1)))]
    roughness = np.sqrt(
        np.maximum(
            scipy.ndimage.uniform_filter(small**2, 3) - scipy.ndimage.uniform_filter(small, 3) ** 2,
            0,
        )
    )
    low, high = np.percentile(small, [1, 99])
    # Digital air is constant: of equally flat pixels all are used, so that position cannot decide.
    flat = small[roughness <= np.quantile(roughness, 0.2)]
    return bool(np.median(flat) > low + 0.6 * (high - low))


def invert(pixels: np.ndarray, maximum: int) -> np.ndarray:
    """Return the positive of a negative image, of the same type."""
    return (maximum - np.minimum(pixels, maximum)).astype(pixels.dtype)


def ensure_positive_polarity(image: DecodedImage) -> DecodedImage:
    """Return the image, inverted if it is grey and appears negative.

    `inverted` then refers to the values that the file stores.
    """
    if image.pixels.ndim == 3 or not is_inverted(image.pixels):
        return image
    return replace(image, pixels=invert(image.pixels, image.maximum), inverted=not image.inverted)


def _block_average(pixels: np.ndarray, width: int = 128) -> np.ndarray:
    """Return float [h', <= about 2 width]: averages of whole square blocks."""
    step = max(1, pixels.shape[1] // width)
    h, w = pixels.shape[0] // step * step, pixels.shape[1] // step * step
    if h == 0 or w == 0:
        return pixels.astype(float)
    # Whole rows are added first because they are contiguous in memory.
    rows = np.add.reduce(pixels[:h].reshape(h // step, step, -1), axis=1, dtype=np.uint32)
    return rows[:, :w].reshape(h // step, w // step, step).sum(2) / step**2


def working_image(
    pixels: np.ndarray, maximum: int, width: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """Resize an image to the width of a working image.

    Parameters
    ----------
    pixels : integer array, shape [h, w] or [h, w, 3]
        Grey levels or colours; values above maximum count as maximum.
    maximum : int
        Grey value of white.
    width : int
        Width of the working image: 4 times the input side of the network.

    Returns
    -------
    image : uint8 array, shape [h', width] or [h', width, 3]
        Smaller images are exact area averages, larger ones bilinear interpolations.
    factors : (float, float)
        Factors of width and height.

    Examples
    --------
    >>> working_image(np.array([[0, 100, 200, 300]], np.uint16), 400, 2)
    (array([[ 32, 159]], dtype=uint8), (0.5, 1.0))
    """
    if pixels.ndim == 3:
        channels = [working_image(pixels[..., c], maximum, width) for c in range(3)]
        return np.stack([channel for channel, _ in channels], axis=2), channels[0][1]
    h, w = pixels.shape
    height = max(1, round(h * width / w))
    clipped = pixels if pixels.max(initial=0) <= maximum else np.minimum(pixels, maximum)
    grey = clipped.astype(np.float32)
    if (height, width) != (h, w):
        if width <= w:
            grey = (area_weights(w, width) @ (area_weights(h, height) @ grey).T).T
        else:
            enlarged = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
            grey = np.asarray(enlarged)
    return np.rint(grey * (255 / maximum)).clip(0, 255).astype(np.uint8), (width / w, height / h)


# Mammograms of one scanner share their sizes.
@lru_cache(maxsize=32)
def area_weights(old: int, new: int) -> scipy.sparse.csr_array:
    """Return a sparse matrix [new, old] that averages `old` pixels to `new` by covered area.

    Row k covers old pixels [k, k + 1] x old / new; pixels at both ends count by the covered part.
    """
    edges = np.arange(new + 1) * (old / new)
    # The small tolerance keeps an exact edge from reaching into the next pixel.
    first, last = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:] - 1e-9).astype(int)
    rows = np.repeat(np.arange(new), last - first)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(first, last)]).clip(0, old - 1)
    covered = np.minimum(columns + 1, edges[rows + 1]) - np.maximum(columns, edges[rows])
    return scipy.sparse.csr_array(
        ((covered * (new / old)).astype(np.float32), (rows, columns)), shape=(new, old)
    )
