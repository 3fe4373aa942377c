"""DICOM films as they occur."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class DicomFilm:
    """Pixels and the few tags that may reach a study: none of them identifies a person."""

    pixels: np.ndarray = field(repr=False)
    maximum: int
    inverted: bool
    pixel_mm: float | None
    laterality: str
    view: str
    scanner: str


def looks_like_dicom(data: bytes) -> bool:
    """Whether a file's bytes are DICOM, with or without the preamble."""
    return data[128:132] == b"DICM" or data[:2] in (b"\x08\x00", b"\x02\x00")


def read(data: bytes, path: Path) -> DicomFilm:
    """Decode."""
    raise NotImplementedError
