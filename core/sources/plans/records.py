"""Plans of patients: what tables and annotation files state before any image is read.

A plan is small, can be pickled and compared, and is the task of most importers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.sources.outlines.records import Outline
from core.sources.records import Problem


@dataclass(frozen=True, kw_only=True)
class FindingPlan:
    """A finding as its source states it; fields as in `core.sources.records.Finding`.

    outline: None if the source reports the finding without a place. origin: file and row, for
    messages.
    """

    pathology: str
    lesion_type: str = ""
    descriptors: tuple[tuple[str, str], ...] = ()
    assessment: int | None = None
    outline: Outline | None = None
    report: str = ""
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class FilmPlan:
    """One image file.

    laterality, view: UNKNOWN is filled from the header of the file. image_label: pathology of the
    whole image in a source without outlines. annotated_size: width and height in pixels of the
    image on which outlines were drawn, None if unknown. may_be_mirrored: the source gives outlines
    for images that were flipped left to right in part. name: what tells films of one view apart, ""
    for the name of the file. origin: file and row, for messages.
    """

    image: Path
    laterality: str
    view: str
    findings: tuple[FindingPlan, ...] = ()
    image_label: str | None = None
    annotated_size: tuple[int, int] | None = None
    may_be_mirrored: bool = False
    name: str = ""
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class PatientPlan:
    """One patient; fields as in `core.sources.records.Patient`."""

    patient: str
    films: tuple[FilmPlan, ...]
    age: int | None = None
    density: int | None = None
    features: tuple[tuple[str, float | str], ...] = ()
    published_split: str | None = None
    problems: tuple[Problem, ...] = ()
