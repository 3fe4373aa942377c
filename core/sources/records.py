"""Records that every source returns: patients, mammograms, findings and data-quality problems.

Stored rows belong in `core.store.dataset_table`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

# From the worst; UNPROVEN ranks below every proven finding.
PATHOLOGIES = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "UNPROVEN", "NORMAL")

# Where a source takes its pathologies from, by the code that is stored with the source.
TRUTH_BASES = {
    "synthetic": "Truth by construction: synthetic images.",
    "pathology": "Truth from biopsy or surgery, negatives from follow-up.",
    "birads": "Truth from BI-RADS assessment, not biopsy.",
    "pathology_or_birads": (
        "Truth from biopsy or surgery, and from BI-RADS assessment where there was no biopsy."
    ),
    "radiologists": "Truth from the marks of radiologists, not biopsy of each finding.",
    "annotators": "Truth from the labels of an annotation project, not biopsy.",
    "table": "Truth as stated in the user's table; its origin is not recorded.",
}
# Results that rest on them must state it.
WEAK_TRUTH_BASES = ("birads", "pathology_or_birads", "radiologists", "annotators")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One outlined abnormality.

    number: counts from 1 within the mammogram. pathology: one of PATHOLOGIES, or
    of the study's own. lesion_type: MASS,
    CALCIFICATION, ..., or several joined by "+". descriptors: BI-RADS keyword to value, such as
    {"shape": "IRREGULAR", "margins": "SPICULATED"}. assessment (0 to 6) and subtlety (1 to 5): None
    if unknown. outline: polygons, each float [n, 2] of (x, y) in pixels of the source image; the
    finding is their filled union; empty if the source has no outline. nested: further outlines
    inside (CORE in DDSM). report: the source's own text about the finding.
    """

    number: int
    pathology: str
    lesion_type: str = ""
    descriptors: dict[str, str] = field(default_factory=dict)
    assessment: int | None = None
    subtlety: int | None = None
    outline: tuple[np.ndarray, ...] = ()
    nested: tuple[np.ndarray, ...] = ()
    report: str = ""


@dataclass(frozen=True, kw_only=True)
class Mammogram:
    """One view of one breast, digital or digitised.

    id: unique in the study, such as "S_0001_1.LEFT_CC". pixels: uint8 or uint16 [h, w], bright for
    dense tissue, monotone in optical density; [h, w, 3] in colour. maximum: grey
    value of white (255, 4095, ...). pixel_mm: size of one source pixel, None if unknown.
    image_label: pathology of the whole image
    if the source has no outlines, else None. inverted: the stored values were negative and have
    been inverted. file_hash: SHA-256 of the source file (phantom: of the pixels). unlocated: the
    source reports a finding without an outline, so no patch of this mammogram can be labelled.
    attributes: facts of the file's header, see `core.images.dicom_attributes`.
    whole_image: patches are cut from the whole image, which need not show a breast.
    concepts: uint32 [h, w] of phantom concept bits; phantom only.
    """

    id: str
    laterality: str
    view: str
    pixels: np.ndarray = field(repr=False)
    maximum: int
    findings: tuple[Finding, ...] = ()
    pixel_mm: float | None = None
    scanner: str = ""
    image_label: str | None = None
    inverted: bool = False
    file_hash: str = ""
    source_file: str = ""
    unlocated: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    whole_image: bool = False
    concepts: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Problem:
    """A data-quality issue of a source.

    item: file, case or row. cause: what is wrong. action: how it was handled. skipped: the item was
    not imported.
    """

    item: str
    cause: str
    action: str
    skipped: bool = False


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One patient with all mammograms.

    age: years. density: BI-RADS 1 to 4. features: auxiliary columns, numbers or strings.
    published_split: "train", "holdout", "test" or None. stratum: what splits should balance, if
    that is not the worst pathology. filed_as: pathology under which the source files the whole
    patient (the folder in DDSM), whatever the findings are. Dates and names are left out because
    they would identify the patient.
    """

    id: str
    mammograms: tuple[Mammogram, ...]
    age: int | None = None
    density: int | None = None
    features: dict[str, float | str] = field(default_factory=dict)
    published_split: str | None = None
    stratum: str | None = None
    # Separate from the findings, because one published truth rule uses the folder only.
    filed_as: str | None = None
    problems: tuple[Problem, ...] = ()


class Source(Protocol):
    """Interface of a source: the module-level names of `core.sources.<kind>`.

    SIMULATED: the mammograms are synthetic. TRUTH_BASIS: one of TRUTH_BASES.
    """

    SIMULATED: bool
    TRUTH_BASIS: str

    def list_tasks(self, path: Path | None, **options: Any) -> tuple[list[Any], list[Problem]]:
        """Return one small picklable task per patient, and the problems of the source as a whole.

        Each task has an attribute `patient` (str). Everything that can be checked without pixels is
        checked here; UserError for a fault.
        """

    def task_files(self, task: Any) -> list[Path]:
        """Return the files a task reads, so that a resumed ingestion can detect changed files."""

    def read_patient(self, task: Any) -> Patient:
        """Load one patient; runs in a worker process."""
