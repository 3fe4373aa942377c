"""What a source hands to ingestion: patients with their mammograms, pixels and outlined findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

PATHOLOGIES = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK", "UNPROVEN", "NORMAL")
LATERALITIES = ("LEFT", "RIGHT")
VIEWS = ("CC", "MLO")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One outlined abnormality. outline: polygons, each float [n, 2] of (x, y) in pixels of the
    source image, to be filled and united; empty if the source gives none. nested: further outlines
    inside (DDSM's CORE). lesion_type: MASS, CALCIFICATION, ... or several joined by "+".
    descriptors: BI-RADS keyword -> value, e.g. {"shape": "IRREGULAR", "margins": "SPICULATED"}.
    assessment 0-5, subtlety 1-5, None if unknown. pathology: one of PATHOLOGIES. report: the
    source's own line(s) of text.
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
    """One view. id: unique in the study, such as "S_0001_1.LEFT_CC". pixels: uint8 or uint16 [h,
    w], bright = dense tissue, monotone in optical density; maximum: the grey value that means white
    (255, 4095, ...). pixel_mm: size of one source pixel, None if unknown. image_label: pathology of
    the whole image where the source gives no outlines, else None. concepts: uint32 [h, w] of
    phantom concept bits, phantom only. inverted: the source's film was negative and was turned.
    file_hash: SHA-256 of the source file (phantom: of the pixels). unlocated: the source knows of a
    finding but does not outline it, so that no patch of the film has a label.
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
    concepts: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Problem:
    """Something odd or left out: item (file, case, row), cause and what was done about it; skipped:
    the item did not come in.
    """

    item: str
    cause: str
    action: str
    skipped: bool = False


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One patient with all mammograms. age in years; density BI-RADS 1-4; features: auxiliary
    columns (numbers or strings); published_split: "train", "holdout", "test" or None; stratum: what
    splits should balance, where the source knows better than the worst pathology; filed_as: the
    pathology under which the source files the whole patient (DDSM's folder), whatever its findings
    say; year etc. are left out on purpose: nothing that identifies.
    """

    id: str
    mammograms: tuple[Mammogram, ...]
    age: int | None = None
    density: int | None = None
    features: dict[str, float | str] = field(default_factory=dict)
    published_split: str | None = None
    stratum: str | None = None
    filed_as: str | None = None
    problems: tuple[Problem, ...] = ()


class Source(Protocol):
    """A kind of input. tasks lists one small picklable task per patient, checking everything that
    can be checked without pixels (UserError for a mistake); read loads one patient in a worker
    process; files names what a task is made from, so that a change is seen when an ingestion goes
    on. All are module-level functions of core.sources.<kind>.

    tasks(path, **options) -> (list of tasks, list of study-wide Problems); each task has an
    attribute `patient` (str).
    """

    simulated: bool

    def tasks(self, path: Path | None, **options: Any) -> tuple[list[Any], list[Problem]]: ...

    def files(self, task: Any) -> list[Path]: ...

    def read(self, task: Any) -> Patient: ...


def polygons_of(findings: tuple[Finding, ...]) -> Iterator[np.ndarray]:
    """All outline polygons of the findings."""
    for finding in findings:
        yield from finding.outline
