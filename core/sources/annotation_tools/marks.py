"""Marks on images as any annotation tool exports them: labels, image files, patients.

A label states a pathology by one of its words, or a BI-RADS category that the user maps to one.
Without either the finding is UNPROVEN.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from core.errors import UserError
from core.sources.conventions import similar_names, view_from_file_name
from core.sources.csv_table import MAX_TABLE_BYTES
from core.sources.outlines.records import Outline
from core.sources.plans.birads import (
    BiradsCategory,
    BiradsMapping,
    parse_birads,
    parse_birads_mapping,
)
from core.sources.plans.cells import IMAGE_SUFFIXES, ImageIndex
from core.sources.plans.reading import keep_valid_plans
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.records import Problem

_PATHOLOGY_WORDS = {
    "malignant": "MALIGNANT",
    "cancer": "MALIGNANT",
    "benign": "BENIGN",
    "unproven": "UNPROVEN",
    "normal": "NORMAL",
}
_LESION_WORDS = {
    "mass": "MASS",
    "calcification": "CALCIFICATION",
    "calcifications": "CALCIFICATION",
    "calc": "CALCIFICATION",
    "distortion": "ARCHITECTURAL_DISTORTION",
    "asymmetry": "ASYMMETRY",
}
# Before a word of pathology these turn its meaning round.
_NEGATIONS = {"no", "not", "non", "without"}
_BIRADS = re.compile(r"bi-?rads[\s_:]*([0-6][abc]?)\b", re.IGNORECASE)
# Folders that sort images by use, not by patient.
_COMMON_FOLDERS = {"images", "train", "val", "valid", "validation", "test", "data", "labels"}
_SIDE_AND_VIEW = re.compile(
    r"[-_. ]*(?:(?:LEFT|RIGHT|L|R)[-_. ]?)(?:CC|MLO)(?![A-Z]).*$", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One mark. label: its class. attributes: further words by lower-case name.

    outline: None if the shape of the mark has no area.
    """

    label: str
    attributes: tuple[tuple[str, str], ...] = ()
    outline: Outline | None = None
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class MarkedImage:
    """An image with its marks. name: path or name of the file as the export writes it.

    labels: labels of the image as a whole. patient: "" if the export does not state it. size: width
    and height in pixels, None if unknown.
    """

    name: str
    marks: tuple[Mark, ...]
    labels: tuple[str, ...] = ()
    patient: str = ""
    size: tuple[int, int] | None = None
    origin: str = ""


def label_meaning(
    label: str, attributes: Mapping[str, str], mapping: BiradsMapping
) -> tuple[str, str, BiradsCategory | None]:
    """Return pathology, lesion type and BI-RADS category that a label and its attributes state.

    Raises
    ------
    UserError
        If they state two pathologies, or deny one.

    Examples
    --------
    >>> label_meaning("malignant_mass", {}, BiradsMapping())
    ('MALIGNANT', 'MASS', None)
    >>> label_meaning("lesion", {"birads": "4"}, BiradsMapping())[::2]
    ('UNPROVEN', BiradsCategory(number=4, letter=''))
    """
    text = " ".join([label, *attributes.values()])
    words = re.findall(r"[a-z]+", text.lower())
    for word, following in itertools.pairwise(words):
        if word in _NEGATIONS and following in _PATHOLOGY_WORDS:
            raise UserError(f"the label {label!r} denies a pathology; use benign or normal")
    pathologies = {_PATHOLOGY_WORDS[word] for word in words if word in _PATHOLOGY_WORDS}
    if "benign without callback" in " ".join(words):
        pathologies = pathologies - {"BENIGN"} | {"BENIGN_WITHOUT_CALLBACK"}
    if len(pathologies) > 1:
        raise UserError(
            f"the label {label!r} states several pathologies ({', '.join(sorted(pathologies))})"
        )
    lesions = {_LESION_WORDS[word] for word in words if word in _LESION_WORDS}
    stated = next(
        (value for name, value in attributes.items() if name in ("birads", "bi-rads")), ""
    )
    match = _BIRADS.search(label)
    category = parse_birads(match.group(1) if match else stated)
    pathology = pathologies.pop() if pathologies else mapping.pathology(category)
    return pathology, "+".join(sorted(lesions)), category


def plan_patients(
    images: Sequence[MarkedImage],
    folder: Path,
    mapping: BiradsMapping,
    *,
    skip_bad: bool,
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return a plan per patient of marked images, and the problems found.

    The patient of an image is the one that the export states; else the folder of the image, unless
    it is one of those that sort images by use; else the part of the file name before side and view.
    An image without any of these is a patient of its own, which is listed.
    """
    index = ImageIndex(folder)
    patients: dict[str, list[MarkedImage]] = {}
    alone = 0
    for image in images:
        patient = image.patient or _patient_of_path(image.name)
        alone += not patient
        patients.setdefault(patient or _path(image.name).stem, []).append(image)
    similar = similar_names(patients)
    plans, problems = keep_valid_plans(
        [
            (
                patient,
                partial(_plan, patient, patients[patient], index, mapping, similar.get(patient)),
            )
            for patient in patients
        ],
        skip_bad=skip_bad,
    )
    if alone:
        cause = f"the export states no patient for {alone} images"
        action = "each is a patient of its own, so that one patient can be in several splits"
        problems.append(Problem("patients", cause, action))
    unmarked = sum(
        not image.marks and not _whole_image_findings(image, (), mapping) for image in images
    )
    if unmarked:
        problems.append(Problem("images", f"{unmarked} images have no mark", "imported as normal"))
    return plans, problems


def parse_options(
    images: Path | None, pathology_from_birads: str | None
) -> tuple[Path, BiradsMapping]:
    """Return the folder of the images and the mapping of BI-RADS categories.

    UserError if no folder was given, if it does not exist, or if the mapping cannot be read.
    """
    mapping = parse_birads_mapping(pathology_from_birads)
    if images is None:
        raise UserError("The folder of the images is missing: give it with --images.")
    if not images.is_dir():
        raise UserError(f"{images} is not a folder: give the folder of the images with --images.")
    return images, mapping


def check_export_size(path: Path) -> None:
    """Raise UserError for an export that does not fit into memory."""
    size = path.stat().st_size
    if size > MAX_TABLE_BYTES:
        raise UserError(
            f"{path} has {size / 1e6:,.0f} MB, more than the {MAX_TABLE_BYTES / 1e6:,.0f} MB that"
            " are read: export the patients in several files."
        )


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _patient_of_path(name: str) -> str:
    """Return the patient that a path names, "" if it names none."""
    path = _path(name)
    folder = path.parent.name
    if folder and folder.lower() not in _COMMON_FOLDERS:
        return folder
    prefix = _SIDE_AND_VIEW.sub("", path.stem)
    return prefix if prefix != path.stem else ""


def _plan(
    patient: str,
    images: list[MarkedImage],
    index: ImageIndex,
    mapping: BiradsMapping,
    similar: str | None,
) -> PatientPlan:
    """Return the plan of a patient; UserError if another one has a similar name."""
    if similar is not None:
        raise UserError(
            f"{images[0].origin or images[0].name}: the patients {similar!r} and {patient!r} differ"
            " only in spelling; write one name for one patient, so that all images are in one"
            " split."
        )
    return PatientPlan(
        patient=patient, films=tuple(_film(image, index, mapping) for image in images)
    )


def _film(image: MarkedImage, index: ImageIndex, mapping: BiradsMapping) -> FilmPlan:
    path = _path(image.name)
    # Only an image suffix is cut off: names can contain points.
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    parents = [part for part in path.parts[:-1] if part not in ("/", "..", ".")]
    file = index.find(stem) or next(
        (
            found_file
            for k in range(len(parents))
            if (found_file := index.find(*parents[k:], stem)) is not None
        ),
        None,
    )
    if file is None:
        raise UserError(
            f"{image.origin}: the image {image.name} is not, or more than once, in {index.root};"
            " correct --images or leave the patient out with --skip-bad."
        )
    laterality, view = view_from_file_name(file.name)
    findings = []
    for mark in image.marks:
        finding = _finding(mark, mapping)
        if finding is not None:
            findings.append(finding)
    findings += _whole_image_findings(image, findings, mapping)
    return FilmPlan(
        image=file,
        laterality=laterality,
        view=view,
        findings=tuple(findings),
        annotated_size=image.size,
        origin=image.origin,
    )


def _whole_image_findings(
    image: MarkedImage, outlined: Sequence[FindingPlan], mapping: BiradsMapping
) -> list[FindingPlan]:
    """Return findings in an unknown place: labels of the image that no mark accounts for.

    Labels that state neither a pathology nor a BI-RADS category, such as "good frame", count for
    nothing.
    """
    findings = []
    for label in image.labels:
        words = set(re.findall(r"[a-z]+", label.lower()))
        if not words & set(_PATHOLOGY_WORDS) and not _BIRADS.search(label):
            continue
        mark = Mark(label=label, origin=f"{image.origin}, label {label!r}")
        pathology, _, category = _meaning(mark, mapping)
        is_marked = any(finding.pathology == pathology for finding in outlined)
        if pathology != "NORMAL" and not is_marked:
            findings.append(_finding_plan(mark, pathology, "", category))
    return findings


def _meaning(mark: Mark, mapping: BiradsMapping) -> tuple[str, str, BiradsCategory | None]:
    """Return what the label of a mark states; UserError with its origin."""
    try:
        return label_meaning(mark.label, dict(mark.attributes), mapping)
    except UserError as error:
        raise UserError(f"{mark.origin}: {error}; correct it.") from None


def _finding(mark: Mark, mapping: BiradsMapping) -> FindingPlan | None:
    """Return the finding of a mark; None if the user maps its BI-RADS category to NORMAL."""
    pathology, lesion_type, category = _meaning(mark, mapping)
    if pathology == "NORMAL":
        if category is not None:
            return None
        raise UserError(
            f"{mark.origin}: the label {mark.label!r} marks normal tissue, but marks outline"
            " findings; remove it."
        )
    return _finding_plan(mark, pathology, lesion_type, category)


def _finding_plan(
    mark: Mark, pathology: str, lesion_type: str, category: BiradsCategory | None
) -> FindingPlan:
    return FindingPlan(
        pathology=pathology,
        lesion_type=lesion_type,
        assessment=None if category is None else category.number,
        outline=mark.outline,
        report=", ".join([mark.label, *(f"{name} {value}" for name, value in mark.attributes)]),
        origin=mark.origin,
    )
