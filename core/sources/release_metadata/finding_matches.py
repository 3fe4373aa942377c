"""Findings of a mask joined with their descriptions.

A mask of the release has outlines and pathologies, but no words; a description has words, and an
outline only if it comes from an overlay file. Outlines and pathologies of the mask are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.images.polygons import fill_polygons, scale_polygons
from core.sources.records import Finding, Problem

# Length of the longer side at which outlines are compared, in pixels.
_COMPARED_SIDE = 1000
# A description belongs to a part of the mask if they share at least half of the smaller one.
_SHARED = 0.5


def describe_findings(
    item: str, findings: Sequence[Finding], described: Sequence[Finding], shape: tuple[int, int]
) -> tuple[list[Finding], list[Problem]]:
    """Return a mask's findings with the words of their descriptions, and problems.

    Parameters
    ----------
    item : str
        Name of the film, for problems.
    findings : sequence of Finding
        Findings of the mask, with outlines.
    described : sequence of Finding
        Descriptions; those with an outline are joined by location, the others by pathology.
    shape : (int, int)
        Height and width of the film, in the pixels of all outlines.
    """
    if not described:
        return list(findings), []
    located = [finding for finding in described if finding.outline]
    if located:
        matches = _match_by_location(findings, located, shape)
        unlocated = [finding for finding in described if not finding.outline]
    else:
        matches, unlocated = _match_by_pathology(findings, described)
    problems = []
    joined = []
    for number, finding in enumerate(findings):
        own = matches.get(number, [])
        joined.append(_with_words(finding, own))
        for description in own:
            problems += _contradictions(item, finding, description)
    used = {id(description) for own in matches.values() for description in own}
    unlocated += [finding for finding in located if id(finding) not in used]
    if unlocated:
        problems.append(
            Problem(
                item,
                f"{len(unlocated)} of {len(described)} descriptions match no single part of the"
                " mask",
                "their report lines are kept with the film, their descriptors are not used"
                if findings
                else "not used",
            )
        )
        if joined:
            # The film keeps its whole text, but no part of the mask is given doubtful descriptors.
            texts = [joined[0].report, *(finding.report for finding in unlocated)]
            joined[0] = replace(joined[0], report=" ".join(filter(None, texts)))
    return joined, problems


def _match_by_location(
    findings: Sequence[Finding], located: Sequence[Finding], shape: tuple[int, int]
) -> dict[int, list[Finding]]:
    """Return the descriptions of each finding, by the largest common area."""
    factor = min(1.0, _COMPARED_SIDE / max(shape))
    size = (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
    masks = [_mask(finding, factor, size) for finding in findings]
    matches: dict[int, list[Finding]] = {}
    for description in located:
        area = _mask(description, factor, size)
        common = [int((area & mask).sum()) for mask in masks]
        if not common:
            continue
        best = int(np.argmax(common))
        if common[best] >= _SHARED * max(1, min(area.sum(), masks[best].sum())):
            matches.setdefault(best, []).append(description)
    return matches


def _mask(finding: Finding, factor: float, size: tuple[int, int]) -> np.ndarray:
    return fill_polygons(scale_polygons(finding.outline, (factor, factor)), size)


def _match_by_pathology(
    findings: Sequence[Finding], described: Sequence[Finding]
) -> tuple[dict[int, list[Finding]], list[Finding]]:
    """Return the only description of each class for its findings, and the other descriptions.

    Two findings of one class cannot be distinguished without outlines.
    """
    matches: dict[int, list[Finding]] = {}
    unmatched: list[Finding] = []
    classes = {_class(finding) for finding in described}
    for name in sorted(classes):
        own = [finding for finding in described if _class(finding) == name]
        # A description without a pathology can only belong to the one finding of a film.
        parts = [k for k, finding in enumerate(findings) if name in ("", _class(finding))]
        if len(own) == 1 and len(parts) == 1 and ("" not in classes or len(classes) == 1):
            matches[parts[0]] = own
        else:
            unmatched += own
    return matches, unmatched


def _class(finding: Finding) -> str:
    """Return the class of a mask that a pathology belongs to."""
    return "BENIGN" if finding.pathology.startswith("BENIGN") else finding.pathology


def _with_words(finding: Finding, described: Sequence[Finding]) -> Finding:
    """Return a finding with the words of its descriptions.

    Several descriptions of one part are joined: words by "+", numbers only where they agree.
    """
    if not described:
        return finding
    descriptors: dict[str, str] = {}
    for description in described:
        for name, value in description.descriptors.items():
            previous = descriptors.get(name)
            descriptors[name] = value if previous in (None, value) else f"{previous}+{value}"
    return replace(
        finding,
        lesion_type="+".join(dict.fromkeys(d.lesion_type for d in described if d.lesion_type)),
        descriptors=descriptors,
        assessment=_common([d.assessment for d in described]),
        subtlety=_common([d.subtlety for d in described]),
        report=" ".join(d.report for d in described if d.report),
    )


def _common(values: Sequence[int | None]) -> int | None:
    return values[0] if len(set(values)) == 1 else None


def _contradictions(item: str, finding: Finding, description: Finding) -> list[Problem]:
    """Return a problem if mask and description differ in pathology."""
    if description.pathology == "" or _class(finding) == _class(description):
        return []
    return [
        Problem(
            item,
            f"the mask says {finding.pathology}, the description {description.pathology}",
            "the mask is used",
        )
    ]
