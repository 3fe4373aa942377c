"""DICOM images: with and without preamble, compressed, signed, negative, with windows or tables.

Other formats belong in `core.images.decoding`. Tags that identify a patient are not returned.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from core.errors import UserError
from core.images.dicom_attributes import LATERALITY, VIEW, check_frames, read_attributes
from core.images.lossless_jpeg import decode_standard

_DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.51": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.57": decode_standard,
    "1.2.840.10008.1.2.4.70": decode_standard,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.202": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.203": imagecodecs.htj2k_decode,
}
# Interpretations whose luminance and chrominance the decoders return as RGB.
_DECODED_TO_RGB = ("YBR_RCT", "YBR_ICT")
_JPEG_DECODED_TO_RGB = ("YBR_FULL", "YBR_FULL_422")
_BIT_DEPTHS = (8, 10, 12, 14, 16)
_WHITE = 65535
# Luminance of RGB (ITU-R BT.601).
_LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class DicomImage:
    """One DICOM image.

    pixels: uint8 or uint16 [h, w], bright for dense tissue. maximum: grey value of white. inverted:
    the file is MONOCHROME1 and has been inverted. pixel_mm: None if unknown or not square.
    laterality, view: "" if unknown. attributes: as `read_attributes` returns them.
    """

    pixels: np.ndarray = field(repr=False)
    maximum: int
    inverted: bool
    pixel_mm: float | None
    laterality: str
    view: str
    scanner: str
    attributes: dict[str, str]


def is_dicom(data: bytes) -> bool:
    """Return whether the bytes of a file are DICOM.

    The mark of the preamble decides, or, without a preamble, a first tag of group 2 or 8.
    """
    return data[128:132] == b"DICM" or (
        data[:2] in (b"\x02\x00", b"\x08\x00") and data[3:4] == b"\x00"
    )


def read_dicom(data: bytes, path: Path) -> DicomImage:
    """Decode the bytes of a DICOM file.

    The modality transformation and the first VOI table or window are applied (PS3.3 C.11). Without
    them stored values are returned unchanged, shifted to begin at 0 if the image is signed. Pixels
    with the padding value or in its range (PS3.3 C.7.5.1.1.2) are black.

    Parameters
    ----------
    data : bytes
        The file.
    path : Path
        Its path, for error messages.

    Returns
    -------
    DicomImage

    Raises
    ------
    UserError
        If the file does not hold exactly one grey image, is damaged, or has a compression without a
        decoder.
    """
    with warnings.catch_warnings():
        # pydicom warns of invalid values in tags that are not used here.
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(io.BytesIO(data), force=True)
            stored = _stored_values(header, path)
            padding = _padding(header, stored)
            pixels, maximum = _grey_values(header, stored, padding)
        except UserError:
            raise
        # Damaged tags make pydicom raise many kinds of errors, from struct.error to its own.
        except Exception as error:
            raise UserError(
                f"The DICOM file {path} is damaged or incomplete ({_one_line(error)}): download it"
                " again or leave it out."
            ) from error
        negative = _interpretation(header) == "MONOCHROME1"
        if negative:
            pixels = (maximum - pixels).astype(pixels.dtype)
        if padding is not None:
            pixels[padding] = 0
        attributes = read_attributes(header)
        return DicomImage(
            pixels=pixels,
            maximum=maximum,
            inverted=negative,
            pixel_mm=_pixel_mm(header),
            laterality=attributes.get(LATERALITY, ""),
            view=attributes.get(VIEW, ""),
            scanner=" ".join(
                str(header.get(name, "")).strip()
                for name in ("Manufacturer", "ManufacturerModelName")
            ).strip(),
            attributes=attributes,
        )


def _interpretation(header: pydicom.Dataset) -> str:
    return str(header.get("PhotometricInterpretation", "")).strip().upper()


def _one_line(error: Exception) -> str:
    """Return the text of an exception on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _stored_values(header: pydicom.Dataset, path: Path) -> np.ndarray:
    """Return the stored values [h, w] with the sign applied and unused bits removed.

    uint16 where no value is negative, else int32.
    """
    _check_single_grey_image(header, path)
    values = _decode_pixels(header, path)
    if values.ndim == 3 and values.shape[-1] in (3, 4):
        colour = values[..., :3].astype(float)
        luminance = colour[..., 0] if _is_left_as_ybr(header) else colour @ _LUMINANCE
        return np.rint(luminance).astype(np.int32)
    if values.shape != (int(header.Rows), int(header.Columns)):
        raise ValueError(f"the image is {values.shape}, not {header.Rows} x {header.Columns}")
    bits = int(header.BitsStored)
    if int(header.get("HighBit", bits - 1)) != bits - 1:
        raise ValueError(f"its {bits} bits do not begin at bit 0")
    is_signed = bool(int(header.get("PixelRepresentation", 0)))
    is_short = values.dtype in (np.uint8, np.uint16) and bits <= 16 and not is_signed
    whole: np.ndarray = values.astype(np.uint16 if is_short else np.int32, copy=False)
    # Bits above BitsStored may hold overlays of old files.
    stored = whole & ((1 << bits) - 1)
    if is_signed:
        stored -= (stored >> (bits - 1)) << bits
    return stored


def _is_left_as_ybr(header: pydicom.Dataset) -> bool:
    """Return whether the decoded colours are luminance and chrominance, and not RGB."""
    decoder = _DECODERS.get(_transfer_syntax(header))
    # pydicom converts what it decodes itself to RGB.
    if decoder is None or not _interpretation(header).startswith("YBR"):
        return False
    is_jpeg = decoder is imagecodecs.jpeg8_decode
    return _interpretation(header) not in (_JPEG_DECODED_TO_RGB if is_jpeg else _DECODED_TO_RGB)


def _check_single_grey_image(header: pydicom.Dataset, path: Path) -> None:
    """Raise UserError unless the file holds one grey image; add tags that old files lack."""
    if "PixelData" not in header:
        raise UserError(f"The DICOM file {path} holds no image: leave it out.")
    check_frames(header, path)
    for name, usual in (
        ("PhotometricInterpretation", "MONOCHROME2"),
        ("SamplesPerPixel", 1),
        ("PixelRepresentation", 0),
    ):
        # Files of ACR-NEMA, the predecessor of DICOM, lack these tags.
        if name not in header:
            setattr(header, name, usual)
    if str(header.PhotometricInterpretation).startswith("PALETTE"):
        raise UserError(
            f"The DICOM file {path} holds palette colours, not grey values: convert it or leave it"
            " out."
        )


def _decode_pixels(header: pydicom.Dataset, path: Path) -> np.ndarray:
    """Return the decoded image, of any integer type."""
    syntax = _transfer_syntax(header)
    if not syntax.is_compressed:
        return header.pixel_array
    try:
        if syntax not in _DECODERS:
            return header.pixel_array
        frame = next(generate_frames(header.PixelData, number_of_frames=1))
        # Some decoders fill missing parts of a JPEG with grey instead of raising an error.
        # Writers pad the frame with zeros, some of them to whole blocks.
        if frame[:3] == b"\xff\xd8\xff" and b"\xff\xd9" not in frame.rstrip(b"\0")[-16:]:
            raise ValueError("the data are cut off (no end of image)")
        if _is_unmarked_rgb(header, frame):
            return np.asarray(imagecodecs.jpeg8_decode(frame, colorspace="RGB"))
        return np.asarray(_DECODERS[syntax](frame))
    except Exception as error:  # each decoder raises its own kinds of errors
        reason = f"{syntax.name}; {_one_line(error)}"
        raise UserError(
            f"The DICOM file {path} is compressed and could not be decoded ({reason}): decompress"
            " it or leave it out."
        ) from error


def _is_unmarked_rgb(header: pydicom.Dataset, frame: bytes) -> bool:
    """Return whether a frame is a JPEG stream of RGB that does not say so itself.

    Decoders take three components without a mark for luminance and chrominance.
    """
    is_jpeg = frame[:2] == b"\xff\xd8" and _interpretation(header) == "RGB"
    return is_jpeg and not any(mark in frame[:256] for mark in (b"JFIF", b"Adobe"))


def _transfer_syntax(header: pydicom.Dataset) -> UID:
    """Return the transfer syntax; of files without a file header, that in which tags were read."""
    meta = getattr(header, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID") if meta is not None else None
    if syntax is not None:
        return syntax
    # Files without a file header are never compressed.
    implicit, little = header.original_encoding
    if implicit:
        syntax = ImplicitVRLittleEndian
    else:
        syntax = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    return syntax


def _padding(header: pydicom.Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Return the padding pixels, bool [h, w]; None without a padding value or such pixels."""
    value = header.get("PixelPaddingValue")
    if value is None or value == "" or int(header.get("SamplesPerPixel", 1)) > 1:
        return None
    bits = int(header.BitsStored)
    limits = [_with_sign_of(header, int(value), bits)]
    if header.get("PixelPaddingRangeLimit") not in (None, ""):
        limits.append(_with_sign_of(header, int(header.PixelPaddingRangeLimit), bits))
    padding = (stored >= min(limits)) & (stored <= max(limits))
    return padding if padding.any() and not padding.all() else None


def _with_sign_of(header: pydicom.Dataset, value: int, bits: int) -> int:
    """Return a value of the header as a stored value; some writers give it the wrong sign."""
    value &= (1 << bits) - 1
    is_signed = bool(int(header.PixelRepresentation))
    return value - (1 << bits) if is_signed and value >> (bits - 1) else value


def _grey_values(
    header: pydicom.Dataset, stored: np.ndarray, padding: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """Return grey values [h, w] and their maximum; those of padding pixels have no meaning.

    The transformations are computed once for every level that can be stored, and looked up.
    """
    bits, signed = int(header.BitsStored), bool(int(header.PixelRepresentation))
    if not 1 <= bits <= 16:
        raise ValueError(f"it stores {bits} bits")
    image = stored if padding is None else stored[~padding]
    least, most = int(image.min(initial=0)), int(image.max(initial=0))
    signed = signed and (bits < 16 or least < 0)
    # Many writers give 16 bits whatever the depth of the scanner. The smallest usual depth that
    # holds the image is used instead, or the image would be nearly black.
    if bits == 16:
        bits = next(
            depth
            for depth in _BIT_DEPTHS
            if (-least if signed else 0) <= 1 << (depth - 1) and most < 1 << (depth - signed)
        )
    lowest = -(1 << (bits - 1)) if signed else 0
    table, maximum = _transform_levels(header, np.arange(lowest, lowest + (1 << bits)))
    levels = stored - lowest if lowest else stored
    if padding is not None:
        # Padding may lie outside the depth of the image.
        levels = levels.clip(0, len(table) - 1)
    if np.array_equal(table, np.arange(len(table))):
        return levels.astype(table.dtype, copy=False), maximum  # a look-up takes far longer
    return table[levels], maximum


# pydicom.pixels is not used for these transformations: apply_modality_lut rejects tables of 12
# bits, and neither function repairs descriptors written with the wrong sign.
def _transform_levels(header: pydicom.Dataset, levels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return grey values, uint8 or uint16 [n], of stored levels [n] rising by 1, and the maximum.

    The modality transformation is followed by the VOI transformation.
    """
    table = _first_item(header.get("ModalityLUTSequence"))
    slope = float(header.get("RescaleSlope") or 1)
    intercept = float(header.get("RescaleIntercept") or 0)
    values: np.ndarray = levels * slope + intercept
    if table is not None:
        values, highest = _apply_table(table, levels)
    voi, window = _first_item(header.get("VOILUTSequence")), _window(header)
    if voi is not None:
        grey, largest = _apply_table(voi, np.rint(values).astype(np.int64))
        return np.rint(grey * (_WHITE / max(largest, 1))).astype(np.uint16), _WHITE
    if window is not None:
        share = _apply_window(values, *window, str(header.get("VOILUTFunction") or "LINEAR"))
        return np.rint(share * _WHITE).astype(np.uint16), _WHITE
    if table is None:
        # A linear transformation changes nothing but the direction.
        values, highest = np.arange(len(levels))[:: 1 if slope > 0 else -1], len(levels) - 1
    return values.astype(np.uint8 if highest < 256 else np.uint16), highest


def _first_item(sequence: Any) -> pydicom.Dataset | None:
    return sequence[0] if sequence else None


def _apply_table(item: pydicom.Dataset, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return values mapped by a LUT item, and the largest entry it may have.

    PS3.3 C.11.1.1 and C.11.2.1.1.
    """
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    table = _table_entries(item, entries or 65536)
    # The first value is written as unsigned in some files in which it must be signed.
    if first > 32767 and values.min(initial=0) < 0:
        first -= 65536
    # 16 bits are declared for tables of any depth, and 8 bits for some that hold more.
    largest = int(table.max(initial=0))
    if bits == 16 or largest >= 1 << bits:
        bits = next(depth for depth in _BIT_DEPTHS if largest < 1 << depth)
    return table[(values - first).clip(0, len(table) - 1)], (1 << bits) - 1


def _table_entries(item: pydicom.Dataset, entries: int) -> np.ndarray:
    """Return the entries of a table, int64 [entries]: one a word, or two 8-bit entries a word."""
    data = item.LUTData
    if isinstance(data, bytes):
        little = bool(item.original_encoding[1]) if item.original_encoding else True
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little else ">u2")
    else:
        words = np.atleast_1d(np.asarray(data, np.int64)).astype(np.uint16)
    if len(words) == (entries + 1) // 2 < entries:
        # The first entry of a pair is in the low byte.
        words = np.stack([words & 255, words >> 8], 1).ravel()
    if len(words) < entries:
        raise ValueError(f"a lookup table holds {len(words)} of {entries} entries")
    return words[:entries].astype(np.int64)


def _window(header: pydicom.Dataset) -> tuple[float, float] | None:
    """Return centre and width of the first window, None without a valid one."""
    centre, width = header.get("WindowCenter"), header.get("WindowWidth")
    if centre is None or width is None or centre == "" or width == "":
        return None
    centre = centre[0] if isinstance(centre, pydicom.multival.MultiValue) else centre
    width = width[0] if isinstance(width, pydicom.multival.MultiValue) else width
    return (float(centre), float(width)) if float(width) >= 1 else None


def _apply_window(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Return values mapped to 0..1 by a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    x = values.astype(np.float32)
    if function.upper() == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (x - centre) / width))
    if function.upper() == "LINEAR_EXACT":
        return ((x - centre) / width + 0.5).clip(0, 1)
    return ((x - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5).clip(0, 1)


def _pixel_mm(header: pydicom.Dataset) -> float | None:
    """Return the side of a square pixel, preferably at the detector."""
    for name in ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing"):
        try:
            rows, columns = (float(value) for value in header.get(name) or ())
        except (TypeError, ValueError):
            continue
        if rows > 0 and abs(rows - columns) < 1e-3 * rows:
            return rows
    return None
