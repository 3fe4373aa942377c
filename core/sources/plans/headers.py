"""Headers of DICOM files in a folder: identifiers, side and view, without the pixels."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom

from core.images.dicom import is_dicom
from core.images.dicom_attributes import LATERALITY, VIEW, read_attributes
from core.sources.conventions import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class FileHeader:
    """Identifiers of one DICOM file. They identify the patient: store none of them."""

    path: Path
    patient: str
    accession: str
    study: str
    sop_instance: str
    laterality: str
    view: str
    age: str


def read_headers(root: Path) -> tuple[list[FileHeader], list[Path]]:
    """Return the headers of the DICOM images below a folder, and DICOM files without an image.

    Files of other formats are ignored. Empty files and unreadable headers count as files without
    an image.
    """
    headers, without_image = [], []
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            is_empty = path.stat().st_size == 0
            # DICOMDIR lists the files of a disc and holds no image.
            if name.upper() == "DICOMDIR" or not (is_empty or _starts_like_dicom(path)):
                continue
            header = None if is_empty else _read_header(path)
            if header is None:
                without_image.append(path)
            else:
                headers.append(header)
    return headers, without_image


def _starts_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return is_dicom(file.read(132))


def _read_header(path: Path) -> FileHeader | None:
    """Return the header of an image, None for other DICOM files and damaged headers."""
    with warnings.catch_warnings():
        # pydicom warns of invalid values in tags that are not used here.
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            if "Rows" not in dataset or "Columns" not in dataset:
                return None
            attributes = read_attributes(dataset)
        # Damaged tags make pydicom raise many kinds of errors.
        except Exception:
            return None

    def text(name: str) -> str:
        return str(dataset.get(name) or "").strip()

    return FileHeader(
        path=path,
        patient=text("PatientID"),
        accession=text("AccessionNumber"),
        study=text("StudyInstanceUID"),
        sop_instance=text("SOPInstanceUID"),
        laterality=attributes.get(LATERALITY, UNKNOWN),
        view=attributes.get(VIEW, UNKNOWN),
        age=text("PatientAge"),
    )
