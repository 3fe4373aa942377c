"""Films that a set assesses as a whole without marking a place."""

from __future__ import annotations

from core.sources.plans.birads import NEGATIVE, BiradsCategory, BiradsMapping
from core.sources.plans.records import FindingPlan


def assessment_without_place(
    category: BiradsCategory | None, mapping: BiradsMapping, origin: str
) -> tuple[FindingPlan, ...]:
    """Return the finding without an outline that an assessment of a whole film implies.

    A film of BI-RADS 1 has nothing to report, as has one of a category that the user maps to
    NORMAL. Any other film can have a finding in every place, so none of its patches is normal.

    Examples
    --------
    >>> assessment_without_place(BiradsCategory(1), BiradsMapping(), "")
    ()
    >>> assessment_without_place(BiradsCategory(4, "A"), BiradsMapping(), "")[0].assessment
    4
    """
    pathology = mapping.pathology(category)
    if category is not None and (category.number == NEGATIVE or pathology == "NORMAL"):
        return ()
    return (
        FindingPlan(
            pathology=pathology,
            assessment=None if category is None else category.number,
            report="no assessment" if category is None else category.text,
            origin=origin,
        ),
    )
