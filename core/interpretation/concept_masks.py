"""Known content of patches: descriptors of findings, pathology, density, view, phantom concepts.

A descriptor is a text such as "mass margin: spiculated". A finding's descriptors apply to a patch
under the overlap rule that also labels patches: the finding covers enough of the patch, or enough
of the finding lies in it. Findings without an outline do not apply to any patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.class_labels import UNPROVEN
from core.images.polygons import fill_polygons
from core.images.working_images import WorkingImages
from core.sources.ddsm_vocabulary import map_ddsm_words
from core.sources.phantom.concepts import FINDING_CONCEPTS, Concept

FINDING_DESCRIPTOR = "finding"
MIN_PHANTOM_PIXELS = 12  # a concept with fewer pixels is not visible in a patch


@dataclass(frozen=True)
class PatchTruth:
    """The known content of one patch.

    descriptors: those that apply to the patch; masks: bool [side, side] of every descriptor that
    has pixels in the patch, also where too few for the descriptor to apply.
    """

    descriptors: frozenset[str]
    masks: dict[str, np.ndarray]


def descriptor_text(category: str, field: str = "", term: str = "") -> str:
    """Return a descriptor's text: "mass", "mass margin" or "mass margin: spiculated"."""
    head = f"{category} {field}".strip()
    return f"{head}: {term}" if term else head


def finding_descriptors(finding: Any) -> frozenset[str]:
    """Return the descriptors of a finding with lesion_type, descriptors and pathology.

    They are the lesion type, every word of the description that the lexicon contains, and the
    pathology.
    """
    descriptors = {FINDING_DESCRIPTOR}
    if finding.lesion_type:
        descriptors.add(_lesion_category(finding.lesion_type))
    for kind, value in finding.descriptors.items():
        for term in map_ddsm_words(kind, value)[0]:
            descriptors.add(descriptor_text(term.category))
            descriptors.add(descriptor_text(term.category, term.field, term.term))
    if finding.pathology not in (UNPROVEN, "NORMAL"):
        # What was not called back is benign as well.
        pathology = finding.pathology.removesuffix("_WITHOUT_CALLBACK").lower()
        descriptors.add(f"pathology: {pathology}")
    return frozenset(descriptors)


def _lesion_category(lesion_type: str) -> str:
    if "MASS" in lesion_type.upper():
        return "mass"
    return "calcification" if "CALC" in lesion_type.upper() else lesion_type.lower()


def answer_descriptors(answer: dict[str, Any]) -> list[str]:
    """Return the descriptors of an expert's answer, specific terms before bare categories."""
    terms = [
        descriptor_text(phenomenon["category"], field, str(term))
        for phenomenon in answer["phenomena"]
        for field, term in phenomenon["terms"].items()
    ]
    return [*terms, *(descriptor_text(p["category"]) for p in answer["phenomena"])]


def comparison_group(descriptor: str) -> str:
    """Return the patches that a descriptor's patches are compared with.

    "other findings" for descriptors of findings, so that the comparison does not reduce to finding
    against normal tissue; "all other patches" for the rest.
    """
    if descriptor.startswith("phantom: "):
        of_finding = descriptor.removeprefix("phantom: ") in _FINDING_CONCEPT_TEXTS
    else:
        of_finding = descriptor != FINDING_DESCRIPTOR and not descriptor.startswith(
            ("density: ", "view: ")
        )
    return "other findings" if of_finding else "all other patches"


def _concept_text(concept: Concept) -> str:
    return (concept.name or "").lower().replace("_", " ")


_FINDING_CONCEPT_TEXTS = {_concept_text(concept) for concept in FINDING_CONCEPTS}


def patch_truths(
    images: WorkingImages,
    patches: pd.DataFrame,
    findings: pd.DataFrame,
    min_overlap: float,
    rule: str,
) -> Iterator[PatchTruth]:
    """Yield the known content of every patch, in order.

    patches: columns mammogram_id, file, y, x, side, view, density, has_concepts; patches of one
    mammogram are adjacent. min_overlap: least share of the patch or of the finding; rule: "or" or
    "and".
    """
    findings_of = dict(list(findings.groupby("mammogram_id")))
    current, outlined, concepts = "", [], None
    for patch in patches.itertuples():
        # Filling outlines at full resolution is slow: once per mammogram, not per patch.
        if patch.mammogram_id != current:
            current, shape = patch.mammogram_id, images[patch.file].shape[:2]
            outlined = [
                (finding_descriptors(finding), fill_polygons(finding.outline, shape))
                for finding in findings_of.get(current, findings[:0]).itertuples()
                if len(finding.outline)
            ]
            concepts = images.concepts(patch.file) if patch.has_concepts else None
        yield _patch_truth(patch, outlined, concepts, min_overlap, rule)


def _patch_truth(
    patch: Any,
    outlined: list[tuple[frozenset[str], np.ndarray]],
    concepts: np.ndarray | None,
    min_overlap: float,
    rule: str,
) -> PatchTruth:
    window = np.s_[patch.y : patch.y + patch.side, patch.x : patch.x + patch.side]
    descriptors = {f"view: {patch.view}"}
    if not pd.isna(patch.density):
        descriptors.add(f"density: {int(patch.density)}")
    masks: dict[str, np.ndarray] = {}
    for finding, mask in outlined:
        inside = mask[window]
        pixels = int(inside.sum())
        if not pixels:
            continue
        covered = pixels >= min_overlap * patch.side**2
        # The whole finding, and not only its part inside the patch.
        contained = pixels >= min_overlap * mask.sum()
        if covered or contained if rule == "or" else covered and contained:
            descriptors |= finding
        # Several findings may share a descriptor: its mask is their union.
        masks |= {d: masks[d] | inside if d in masks else inside for d in finding}
    if concepts is not None:
        bits = np.asarray(concepts[window])
        for concept in Concept:
            inside = (bits & int(concept)) > 0
            if inside.sum() > MIN_PHANTOM_PIXELS:
                descriptor = f"phantom: {_concept_text(concept)}"
                descriptors.add(descriptor)
                masks[descriptor] = inside
    return PatchTruth(frozenset(descriptors), masks)
