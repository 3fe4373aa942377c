"""DICOM files for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian


def write_dicom(
    path: Path,
    pixels: np.ndarray,
    bits: int = 12,
    syntax: Any = ExplicitVRLittleEndian,
    signed: bool = False,
    frame: bytes | None = None,
    **tags: Any,
) -> Path:
    """Write a DICOM file of pixels [h, w] with the given tags; frame: its compressed bytes."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.PatientName, data.PatientID, data.PatientBirthDate = "Doe^Jane", "123", "19500101"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = (
        8 if bits <= 8 else 16,
        bits,
        bits - 1,
        int(signed),
    )
    raw = pixels.astype(
        "u1" if bits <= 8 else ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    ).tobytes()
    data.PixelData = encapsulate([frame]) if frame else raw
    data["PixelData"].VR = "OB" if frame or bits <= 8 else "OW"
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path
