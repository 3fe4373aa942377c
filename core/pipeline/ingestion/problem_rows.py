"""Problems of mammograms and findings as rows of the table `problems`.

The checks themselves belong in `core.images`; the table and decisions in
`core.store.problem_table`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.images.dicom_attributes import attribute_issues
from core.images.finding_checks import (
    DOUBTFUL_SOURCE,
    MISPLACED,
    OTHER_SIDE,
    UNCLEAR_SIDE,
    UNUSUAL_SIZE,
    ImageIssue,
    PlacedOutline,
    check_finding,
    check_outlines_jointly,
    films_of_other_side,
    fits_scaled,
    pixel_count,
    usual_size_factors,
)
from core.images.polygons import fill_polygons, scale_polygons
from core.images.tissue_segmentation import Segmentation, chest_wall_side, with_margin
from core.images.working_images import load_tissue
from core.sources.records import Mammogram, Problem

# Outlines may lie on the skin: margin around the tissue as a share of the image width.
_SKIN_MARGIN = 0.01
# Codes of the table.
NO_TISSUE, DOUBTFUL_TISSUE = "no_tissue", "doubtful_tissue"
# Codes of problems that only the films of a source together show.
JOINT_CODES = (DOUBTFUL_SOURCE, OTHER_SIDE, UNUSUAL_SIZE)
# Key of the attributes of a mammogram: the side of the image where its chest wall is.
CHEST_WALL = "chest_wall"
UNDECIDED_ACTION = "the mammogram gives no patches until a decision is recorded"


def problem_row(problem: Problem) -> dict[str, Any]:
    """Return the row of a problem that a source reports."""
    return {
        "item": problem.item,
        "cause": problem.cause,
        "action": problem.action,
        "skipped": problem.skipped,
    }


def mammogram_problems(
    mammogram: Mammogram, segmentation: Segmentation, factors: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return the rows of what is doubtful about a mammogram and its findings.

    factors: of width and height, from the source image to the working image.
    """
    issues = attribute_issues(mammogram.attributes, mammogram.laterality, mammogram.view)
    rows = [issue_row(mammogram.id, issue, "imported") for issue in issues]
    if mammogram.whole_image:
        # The checks below compare findings with a breast.
        return rows
    mask = segmentation.mask
    if segmentation.doubt:
        action = "imported" if mask.any() else "imported without patches"
        issue = ImageIssue(DOUBTFUL_TISSUE if mask.any() else NO_TISSUE, segmentation.doubt)
        rows.append(issue_row(mammogram.id, issue, action))
    elif mammogram.laterality in ("LEFT", "RIGHT") and not chest_wall_side(mask):
        cause = "no side of the film is recognised as the chest wall: its side was not checked"
        rows.append(issue_row(mammogram.id, ImageIssue(UNCLEAR_SIDE, cause), "imported"))
    outlined = [finding for finding in mammogram.findings if finding.outline]
    if not outlined:
        return rows
    breast = with_margin(mask, _SKIN_MARGIN * mask.shape[1])
    for finding in outlined:
        issues = check_finding(
            fill_polygons(scale_polygons(finding.outline, factors), mask.shape),
            breast,
            pixel_count(finding.outline),
            is_calcification=is_calcification(finding.lesion_type),
        )
        rows += [
            issue_row(mammogram.id, issue, UNDECIDED_ACTION, finding.number) for issue in issues
        ]
    return rows


def joint_problem_rows(
    mammograms: Sequence[Mapping[str, Any]],
    findings: Sequence[Mapping[str, Any]],
    listed: Sequence[Mapping[str, Any]],
    folder: Path,
) -> list[dict[str, Any]]:
    """Return the rows of what only the films of a source together show.

    Parameters
    ----------
    mammograms : sequence of mappings
        Rows of the table, of all films of the source.
    findings : sequence of mappings
        Their findings, with the outline as a list of polygons in pixels of the working image.
    listed : sequence of mappings
        The problems that were found on each film alone.
    folder : Path
        The folder of the working images with their tissue.

    Returns
    -------
    list of dict
        A row for each outlined finding of a doubtful source, and of a film of the other side, and
        for a finding of unusual size; a film of the other side without a finding has a row of its
        own.
    """
    rows: list[dict[str, Any]] = []
    misplaced = {
        (row.get("mammogram_id"), row.get("finding"))
        for row in listed
        if row.get("code") in MISPLACED
    }
    heights = {film["mammogram_id"]: film["height"] for film in mammograms}
    outlined = [finding for finding in findings if len(finding["outline"])]
    placed = []
    for finding in outlined:
        y = np.concatenate([np.asarray(polygon, float)[:, 1] for polygon in finding["outline"]])
        name = finding["mammogram_id"]
        placed.append(
            PlacedOutline(
                float(y.min()) / heights[name],
                float(y.max()) / heights[name],
                (name, finding["number"]) in misplaced,
            )
        )
    cause = check_outlines_jointly(placed)
    if cause:
        issue = ImageIssue(DOUBTFUL_SOURCE, cause)
        rows += [
            issue_row(finding["mammogram_id"], issue, UNDECIDED_ACTION, int(finding["number"]))
            for finding in outlined
        ]
    else:
        rows += _size_problem_rows(mammograms, outlined, misplaced, folder)
    walls = {
        film["mammogram_id"]: (
            film["laterality"],
            json.loads(film["attributes"] or "{}").get(CHEST_WALL, ""),
        )
        for film in mammograms
    }
    cause = "the chest wall is not where it is in the other films of that side: flipped?"
    issue = ImageIssue(OTHER_SIDE, cause)
    for name in films_of_other_side(walls):
        numbers = [int(f["number"]) for f in outlined if f["mammogram_id"] == name]
        rows += [issue_row(name, issue, UNDECIDED_ACTION, number) for number in numbers]
        if not numbers:
            rows.append(issue_row(name, issue, "imported"))
    return rows


def _size_problem_rows(
    mammograms: Sequence[Mapping[str, Any]],
    outlined: Sequence[Mapping[str, Any]],
    misplaced: Collection[tuple[Any, Any]],
    folder: Path,
) -> list[dict[str, Any]]:
    """Return the rows of outlines in other units, which their size shows among those of a source.

    Calcifications can be of any size. misplaced: findings that are listed for their position.
    """
    films = {film["mammogram_id"]: film for film in mammograms}
    compared = [f for f in outlined if not is_calcification(f["lesion_type"])]
    outlines = [[np.asarray(polygon, float) for polygon in f["outline"]] for f in compared]
    sizes = [
        float(np.ptp(np.concatenate(polygons), axis=0).max()) / films[f["mammogram_id"]]["width"]
        for f, polygons in zip(compared, outlines)
    ]
    usual = float(np.median(sizes)) if sizes else 0.0
    rows = []
    for finding, polygons, size, factor in zip(
        compared, outlines, sizes, usual_size_factors(sizes)
    ):
        name, number = finding["mammogram_id"], int(finding["number"])
        if factor is None or (name, number) in misplaced:
            continue
        film = films[name]
        tissue = load_tissue(folder, film["file"], (film["height"], film["width"]))
        if fits_scaled(polygons, with_margin(tissue, _SKIN_MARGIN * film["width"]), factor):
            cause = (
                f"the outline is {size:.0%} of the film wide, that of most of the source about"
                f" {usual:.0%}, and scaled to that size it would be in the breast: other units?"
            )
            issue = ImageIssue(UNUSUAL_SIZE, cause)
            rows.append(issue_row(name, issue, UNDECIDED_ACTION, number))
    return rows


def is_calcification(lesion_type: str) -> bool:
    """Return whether a finding consists of calcifications, by its type in words of the source.

    Examples
    --------
    >>> is_calcification("CALCIFICATION"), is_calcification("MASS")
    (True, False)
    """
    return "CALC" in lesion_type.upper()


def issue_row(
    mammogram_id: str, issue: ImageIssue, action: str, finding: int | None = None
) -> dict[str, Any]:
    """Return the row of an issue of a mammogram or of one of its findings."""
    return {
        "item": mammogram_id if finding is None else f"{mammogram_id}, finding {finding}",
        "cause": issue.cause,
        "action": action,
        "skipped": False,
        "code": issue.code,
        "mammogram_id": mammogram_id,
        "finding": finding,
    }
