"""DICOM films as they occur: with and without preamble, compressed, signed, negative, with windows
or tables.

Only tags that identify nobody leave here.
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
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from core.errors import UserError
from core.images.lossless_jpeg import decode_standard

DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.57": decode_standard,
    "1.2.840.10008.1.2.4.70": decode_standard,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
}
DEPTHS = (8, 10, 12, 14, 16)
WHITE = 65535
_VIEW_MEANINGS = {
    "cranio-caudal": "CC",
    "craniocaudal": "CC",
    "medio-lateral oblique": "MLO",
    "mediolateral oblique": "MLO",
}


@dataclass(frozen=True, kw_only=True)
class DicomFilm:
    """One film. pixels: uint8 or uint16 [h, w], bright = dense; maximum: the value that means
    white; inverted: MONOCHROME1, turned already; pixel_mm: None if not told or not square;
    laterality, view: "" if not told.
    """

    pixels: np.ndarray = field(repr=False)
    maximum: int
    inverted: bool
    pixel_mm: float | None
    laterality: str
    view: str
    scanner: str


def looks_like_dicom(data: bytes) -> bool:
    """Whether a file's bytes are DICOM: by the preamble's mark, or, without one, by a first tag of
    group 2 or 8.
    """
    return data[128:132] == b"DICM" or (
        data[:2] in (b"\x02\x00", b"\x08\x00") and data[3:4] == b"\x00"
    )


def read(data: bytes, path: Path) -> DicomFilm:
    """Decode a DICOM file's bytes; path is named in errors only.

    The modality's rescaling and the first VOI table or window are applied as the standard says
    (PS3.3 C.11); without them stored values come through unchanged, shifted to begin at 0 where the
    film has negative ones. UserError for files that hold no single grey picture, that are damaged,
    or whose compression has no decoder.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values in tags that are not used here
        try:
            header = pydicom.dcmread(io.BytesIO(data), force=True)
            stored = _stored_values(header, path)
            pixels, maximum = _presented(header, stored)
            negative = (
                str(header.get("PhotometricInterpretation", "")).strip().upper() == "MONOCHROME1"
            )
        except UserError:
            raise
        except Exception as error:  # damaged tags make the reader raise nearly anything, from struct.error to its own kinds
            raise UserError(
                f"The DICOM file {path} is damaged or incomplete ({_said(error)}): fetch it again"
                " or leave it out."
            ) from error
        return DicomFilm(
            pixels=(maximum - pixels).astype(pixels.dtype) if negative else pixels,
            maximum=maximum,
            inverted=negative,
            pixel_mm=_pixel_mm(header),
            laterality=_laterality(header),
            view=_view(header),
            scanner=" ".join(
                str(header.get(name, "")).strip()
                for name in ("Manufacturer", "ManufacturerModelName")
            ).strip(),
        )


def _said(error: Exception) -> str:
    """An exception's text on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _stored_values(header: pydicom.Dataset, path: Path) -> np.ndarray:
    """Stored values int32 [h, w], sign and unused bits seen to."""
    if "PixelData" not in header:
        raise UserError(f"The DICOM file {path} holds no picture: leave it out.")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise UserError(
            f"The DICOM file {path} holds {header.NumberOfFrames} frames: give one film per file."
        )
    for name, usual in (
        ("PhotometricInterpretation", "MONOCHROME2"),
        ("SamplesPerPixel", 1),
        ("PixelRepresentation", 0),
    ):
        if name not in header:  # files of DICOM's forerunner ACR-NEMA
            setattr(header, name, usual)
    if str(header.PhotometricInterpretation).startswith("PALETTE"):
        raise UserError(
            f"The DICOM file {path} holds palette colours, not grey values: convert it or leave it"
            " out."
        )
    values = _decoded(header, path)
    if values.ndim == 3 and values.shape[-1] in (3, 4):
        colour = values[..., :3].astype(float)
        luminance = (
            colour[..., 0]
            if str(header.PhotometricInterpretation).startswith("YBR")
            else colour @ [0.299, 0.587, 0.114]
        )
        return np.rint(luminance).astype(np.int32)
    if values.shape != (int(header.Rows), int(header.Columns)):
        raise ValueError(f"the picture is {values.shape}, not {header.Rows} x {header.Columns}")
    bits = int(header.BitsStored)
    if int(header.get("HighBit", bits - 1)) != bits - 1:
        raise ValueError(f"its {bits} bits do not begin at bit 0")
    mask = values.astype(np.int32) & ((1 << bits) - 1)
    if int(header.get("PixelRepresentation", 0)):
        mask -= (mask >> (bits - 1)) << bits
    return mask


def _decoded(header: pydicom.Dataset, path: Path) -> np.ndarray:
    """The picture as decoded, of any integer type."""
    meta = getattr(header, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID") if meta is not None else None
    if syntax is None:
        # Without a file header the way the tags were read says how numbers are written; such files
        # are not compressed.
        implicit, little = header.original_encoding
        syntax = (
            ImplicitVRLittleEndian
            if implicit
            else ExplicitVRLittleEndian
            if little
            else ExplicitVRBigEndian
        )
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = syntax
    if not syntax.is_compressed:
        return header.pixel_array
    try:
        if syntax in DECODERS:
            frame = next(generate_frames(header.PixelData, number_of_frames=1))
            if (
                frame[:3] == b"\xff\xd8\xff" and b"\xff\xd9" not in frame[-16:]
            ):  # some decoders fill up what is missing with grey
                raise ValueError("the data are cut off (no end of image)")
            return np.asarray(DECODERS[syntax](frame))
        return header.pixel_array
    except Exception as error:  # decoders raise whatever they like
        reason = f"{syntax.name}; {_said(error)}"
        raise UserError(
            f"The DICOM file {path} is compressed and could not be decoded ({reason}): decompress"
            " it or leave it out."
        ) from error


def _presented(header: pydicom.Dataset, stored: np.ndarray) -> tuple[np.ndarray, int]:
    """Grey values [h, w] and their maximum: the transformations are made once for every level that
    can be stored, and looked up.
    """
    bits, signed = int(header.BitsStored), bool(int(header.PixelRepresentation))
    if not 1 <= bits <= 16:
        raise ValueError(f"it stores {bits} bits")
    least, most = int(stored.min(initial=0)), int(stored.max(initial=0))
    signed = signed and (bits < 16 or least < 0)
    if (
        bits == 16
    ):  # written whatever the scanner's depth: the smallest usual one that holds the film, or it would come in dark
        bits = next(
            depth
            for depth in DEPTHS
            if (-least if signed else 0) <= 1 << (depth - 1) and most < 1 << (depth - signed)
        )
    lowest = -(1 << (bits - 1)) if signed else 0
    shown, maximum = _transformed(header, np.arange(lowest, lowest + (1 << bits)))
    return shown[stored - lowest], maximum


def _transformed(header: pydicom.Dataset, levels: np.ndarray) -> tuple[np.ndarray, int]:
    """What the modality and VOI transformations make of stored levels [n], rising by one: grey
    values uint8 or uint16 [n] and their maximum.
    """
    table = _first(header.get("ModalityLUTSequence"))
    slope, intercept = (
        float(header.get("RescaleSlope") or 1),
        float(header.get("RescaleIntercept") or 0),
    )
    values: np.ndarray = levels * slope + intercept
    if table is not None:
        values, highest = _looked_up(table, levels)
    voi, window = _first(header.get("VOILUTSequence")), _window(header)
    if voi is not None:
        grey, top = _looked_up(voi, np.rint(values).astype(np.int64))
        return np.rint(grey * (WHITE / max(top, 1))).astype(np.uint16), WHITE
    if window is not None:
        shown = _windowed(values, *window, str(header.get("VOILUTFunction") or "LINEAR"))
        return np.rint(shown * WHITE).astype(np.uint16), WHITE
    if table is None:
        values, highest = np.arange(len(levels))[:: 1 if slope > 0 else -1], len(levels) - 1
    return values.astype(np.uint8 if highest < 256 else np.uint16), highest


def _first(sequence: Any) -> pydicom.Dataset | None:
    return sequence[0] if sequence else None


def _looked_up(item: pydicom.Dataset, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Values through a LUT item (PS3.3 C.11.1.1, C.11.2.1.1), and the largest entry it may have."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data, np.int64)
    table = table.astype(np.int64)[: entries or 65536]
    if first > 32767 and values.min(initial=0) < 0:
        first -= 65536  # written as unsigned where it should be signed
    return table[(values - first).clip(0, len(table) - 1)], (1 << bits) - 1


def _window(header: pydicom.Dataset) -> tuple[float, float] | None:
    """Centre and width of the first window, None if there is none that means anything."""
    centre, width = header.get("WindowCenter"), header.get("WindowWidth")
    if centre is None or width is None or centre == "" or width == "":
        return None
    centre = centre[0] if isinstance(centre, pydicom.multival.MultiValue) else centre
    width = width[0] if isinstance(width, pydicom.multival.MultiValue) else width
    return (float(centre), float(width)) if float(width) >= 1 else None


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Values to 0..1 through a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    x = values.astype(np.float32)
    if function.upper() == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (x - centre) / width))
    if function.upper() == "LINEAR_EXACT":
        return ((x - centre) / width + 0.5).clip(0, 1)
    return ((x - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5).clip(0, 1)


def _pixel_mm(header: pydicom.Dataset) -> float | None:
    for name in ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing"):
        try:
            rows, columns = (float(value) for value in header.get(name) or ())
        except (TypeError, ValueError):
            continue
        if rows > 0 and abs(rows - columns) < 1e-3 * rows:
            return rows
    return None


def _laterality(header: pydicom.Dataset) -> str:
    text = str(header.get("ImageLaterality") or header.get("Laterality") or "").strip().upper()
    return {"L": "LEFT", "R": "RIGHT"}.get(text, "")


def _view(header: pydicom.Dataset) -> str:
    text = str(header.get("ViewPosition") or "").strip().upper()
    if text in ("CC", "MLO"):
        return text
    code = _first(header.get("ViewCodeSequence"))
    return (
        _VIEW_MEANINGS.get(str(code.get("CodeMeaning", "")).strip().lower(), "")
        if code is not None
        else ""
    )
