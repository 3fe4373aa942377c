"""Problems of mammograms and findings as rows of the table `problems`.

The checks themselves belong in `core.images`; the table and decisions in
`core.store.problem_table`.
"""

from __future__ import annotations

from typing import Any

from core.images.dicom_attributes import attribute_issues
from core.images.finding_checks import ImageIssue, check_finding, pixel_count
from core.images.polygons import fill_polygons, scale_polygons
from core.images.tissue_segmentation import Segmentation, with_margin
from core.sources.records import Mammogram, Problem

# Outlines may lie on the skin: margin around the tissue as a share of the image width.
_SKIN_MARGIN = 0.01
# Codes of the table.
NO_TISSUE, DOUBTFUL_TISSUE = "no_tissue", "doubtful_tissue"
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
    mask = segmentation.mask
    if segmentation.doubt:
        action = "imported" if mask.any() else "imported without patches"
        issue = ImageIssue(DOUBTFUL_TISSUE if mask.any() else NO_TISSUE, segmentation.doubt)
        rows.append(issue_row(mammogram.id, issue, action))
    outlined = [finding for finding in mammogram.findings if finding.outline]
    if not outlined:
        return rows
    breast = with_margin(mask, _SKIN_MARGIN * mask.shape[1])
    for finding in outlined:
        issues = check_finding(
            fill_polygons(scale_polygons(finding.outline, factors), mask.shape),
            breast,
            pixel_count(finding.outline),
            is_calcification="CALC" in finding.lesion_type.upper(),
        )
        rows += [
            issue_row(mammogram.id, issue, UNDECIDED_ACTION, finding.number) for issue in issues
        ]
    return rows


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
