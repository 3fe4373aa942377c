"""Reading of planned patients: images are decoded, outlines are placed on them.

The plans belong to the importers, checks of outlines against the breast in `core.images`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.images.decoding import (
    DecodedImage,
    ensure_positive_polarity,
    read_image,
    working_image,
)
from core.images.polygons import fill_polygons, scale_polygons
from core.images.tissue_segmentation import tissue_mask
from core.sources.conventions import UNKNOWN, mammogram_from_image
from core.sources.csv_table import control_characters
from core.sources.outlines.records import place_on_film
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.records import Finding, Mammogram, Patient, Problem

# Images exported at another size keep their aspect ratio except for rounding.
_ASPECT_TOLERANCE = 0.01
# An outline is mirrored if this share of it lies in the breast afterwards and less than the other
# share before.
_MIRRORED_SHARE, _GIVEN_SHARE = 0.5, 0.1
_TISSUE_WIDTH = 512


def plan_files(plan: PatientPlan) -> list[Path]:
    """Return the image files of a plan."""
    return sorted({film.image for film in plan.films})


def read_planned_patient(plan: PatientPlan) -> Patient:
    """Read the images of a plan.

    UserError that names the origin of a film or finding for an unreadable image and for an outline
    that leaves it. Findings without an outline make their mammogram unlocated.
    """
    mammograms: list[Mammogram] = []
    problems = list(plan.problems)
    for film in plan.films:
        used_ids = {mammogram.id for mammogram in mammograms}
        mammogram, film_problems = _read_film(plan.patient, film, used_ids)
        mammograms.append(mammogram)
        problems += film_problems
    return Patient(
        id=plan.patient,
        mammograms=tuple(mammograms),
        age=plan.age,
        density=plan.density,
        features=dict(plan.features),
        published_split=plan.published_split,
        problems=tuple(problems),
    )


def unique_film_id(patient: str, laterality: str, view: str, stem: str, used: set[str]) -> str:
    """Return the id of a mammogram: patient, side and view, or the stem of its file.

    Two images can share a view or a file name; the stem, then a number, makes the id unique.

    Examples
    --------
    >>> unique_film_id("P1", "LEFT", "CC", "a", {"P1.LEFT_CC"})
    'P1.a'
    """
    name = f"{laterality}_{view}" if UNKNOWN not in (laterality, view) else stem
    names = itertools.chain([name, stem], (f"{stem}_{k}" for k in itertools.count(2)))
    ids = (f"{patient}.{name}" for name in names)
    return next(identifier for identifier in ids if identifier not in used)


def keep_valid_plans(
    builders: Sequence[tuple[str, Callable[[], PatientPlan]]], *, skip_bad: bool
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return the plans that can be built, in order, and those that were left out as problems.

    Parameters
    ----------
    builders : sequence of (str, callable)
        Patient, and a function that returns the plan or raises UserError.
    skip_bad : bool
        Leave out and list a patient with a fault, instead of raising its error.
    """
    plans, problems = [], []
    for patient, build in builders:
        try:
            hidden = control_characters(patient)
            if hidden:
                raise UserError(
                    f"The patient {patient!r} has the control character {hidden} in its name;"
                    " rename it."
                )
            plan = build()
            _check_images(plan)
            plans.append(plan)
        except UserError as error:
            if not skip_bad:
                raise
            problems.append(Problem(patient, str(error), "patient left out", skipped=True))
    return plans, problems


def _check_images(plan: PatientPlan) -> None:
    for film in plan.films:
        if not film.image.is_file():
            raise UserError(
                f"{film.origin}: the image {film.image} does not exist; download it or leave the"
                " patient out with --skip-bad."
            )


@contextmanager
def _origin_context(origin: str) -> Iterator[None]:
    """Prefix the message of a UserError with the file and row that it is about."""
    try:
        yield
    except UserError as error:
        if not origin:
            raise
        raise UserError(f"{origin}: {error}") from error


def _read_film(patient: str, film: FilmPlan, used_ids: set[str]) -> tuple[Mammogram, list[Problem]]:
    with _origin_context(film.origin):
        image = ensure_positive_polarity(read_image(film.image))
    laterality = film.laterality if film.laterality != UNKNOWN else image.laterality or UNKNOWN
    view = film.view if film.view != UNKNOWN else image.view or UNKNOWN
    name = film.name or film.image.stem
    film_id = unique_film_id(patient, laterality, view, name, used_ids)
    findings, problems = [], []
    for number, plan in enumerate(film.findings, start=1):
        outline, warnings = _place_outline(plan, film, image)
        problems += [Problem(f"{film_id}, finding {number}", *warning) for warning in warnings]
        findings.append(_finding(number, plan, outline))
    unlocated = any(not finding.outline for finding in findings)
    if unlocated:
        problems.append(
            Problem(
                film_id,
                "the source reports a finding without an outline",
                "no patch labels for this film",
            )
        )
    mammogram = mammogram_from_image(
        image,
        id=film_id,
        laterality=laterality,
        view=view,
        findings=findings,
        source_file=film.name or film.image.name,
        image_label=film.image_label,
        unlocated=unlocated,
    )
    return mammogram, problems


def _finding(number: int, plan: FindingPlan, outline: tuple[np.ndarray, ...]) -> Finding:
    return Finding(
        number=number,
        pathology=plan.pathology,
        lesion_type=plan.lesion_type,
        descriptors=dict(plan.descriptors),
        assessment=plan.assessment,
        outline=outline,
        report=plan.report,
    )


def _place_outline(
    plan: FindingPlan, film: FilmPlan, image: DecodedImage
) -> tuple[tuple[np.ndarray, ...], list[tuple[str, str]]]:
    """Return the polygons of a finding in pixels of the image, and warnings (cause, action)."""
    if plan.outline is None:
        return (), []
    height, width = image.pixels.shape
    drawn_width, drawn_height = film.annotated_size or (width, height)
    with _origin_context(plan.origin or film.origin):
        if abs(drawn_height * width / (drawn_width * height) - 1) > _ASPECT_TOLERANCE:
            raise UserError(
                f"the outlines were drawn on an image of {drawn_width} x {drawn_height} pixels, but"
                f" {film.image.name} has {width} x {height}: give the image that was annotated."
            )
        try:
            polygons, warnings = place_on_film(plan.outline, (drawn_height, drawn_width))
        except UserError as error:
            raise UserError(f"{error}; correct it or leave the finding out.") from error
    if (drawn_width, drawn_height) != (width, height):
        polygons = scale_polygons(polygons, (width / drawn_width, height / drawn_height))
        drawn = f"drawn on {drawn_width} x {drawn_height} pixels, the image has {width} x {height}"
        warnings.append((drawn, "outline scaled to the image"))
    if film.may_be_mirrored and _fits_mirrored(polygons, image):
        polygons = tuple(points * (-1, 1) + (width - 1, 0) for points in polygons)
        warnings.append(
            ("the outline lies outside the breast, its mirror image inside", "outline mirrored")
        )
    return polygons, warnings


def _fits_mirrored(polygons: Sequence[np.ndarray], image: DecodedImage) -> bool:
    """Return whether an outline lies in the air, and in the breast once left and right change."""
    working, factors = working_image(image.pixels, image.maximum, _TISSUE_WIDTH)
    tissue = tissue_mask(working)
    mask = fill_polygons(scale_polygons(polygons, factors), working.shape)
    if not mask.any():
        return False
    inside, mirrored = tissue[mask].mean(), tissue[:, ::-1][mask].mean()
    return bool(inside < _GIVEN_SHARE and mirrored > _MIRRORED_SHARE)
