"""What is known to be in a patch: the report's words in today's lexicon, pathology, density, view,
and the phantom's own concepts.

A descriptor is a text such as "mass margin: spiculated". A patch shows a finding by the rule of its
label (it covers enough of the patch, or enough of it lies in the patch); a patch of an
image-labelled film without outlines shows no finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core import birads_lexicon
from core.images.polygons import fill
from core.images.working_images import Films
from core.sources.phantom.concepts import FINDING_CONCEPTS, Concept

FINDING = "finding"
PHANTOM_PIXELS = 12


@dataclass(frozen=True)
class PatchTruth:
    """One patch: descriptors shown; masks bool [side, side] of those that have a place."""

    shown: frozenset[str]
    masks: dict[str, np.ndarray]


def name(category: str, field: str = "", term: str = "") -> str:
    """The descriptor's text: "mass", "mass margin", "mass margin: spiculated"."""
    head = f"{category} {field}".strip()
    return f"{head}: {term}" if term else head


def of_finding(finding: Any) -> frozenset[str]:
    """Descriptors of a finding (lesion_type, descriptors, pathology): kind, every word with a place
    in the lexicon, pathology.
    """
    found = {FINDING}
    if finding.lesion_type:
        found.add(
            "mass"
            if "MASS" in finding.lesion_type.upper()
            else (
                "calcification"
                if "CALC" in finding.lesion_type.upper()
                else finding.lesion_type.lower()
            )
        )
    for kind, words in finding.descriptors.items():
        for place in birads_lexicon.from_ddsm(kind, words)[0]:
            found |= {name(place.category), name(place.category, place.field, place.term)}
    pathology = {
        "MALIGNANT": "malignant",
        "BENIGN": "benign",
        "BENIGN_WITHOUT_CALLBACK": "benign",
    }.get(finding.pathology)
    return frozenset(found | ({f"pathology: {pathology}"} if pathology else set()))


def of_answer(answer: dict[str, Any]) -> list[str]:
    """Descriptors an expert's answer names, the most telling first: terms before bare categories."""
    terms = [
        name(p["category"], field, str(term))
        for p in answer["phenomena"]
        for field, term in p["terms"].items()
    ]
    return [*terms, *(name(p["category"]) for p in answer["phenomena"])]


def contrast(descriptor: str) -> str:
    """Whom a descriptor's patches are compared with: those of "other findings" where it describes a
    finding, else "all other patches".
    """
    if descriptor.startswith("phantom: "):
        return (
            "other findings"
            if descriptor.removeprefix("phantom: ") in _FINDING_WORDS
            else "all other patches"
        )
    return (
        "all other patches"
        if descriptor == FINDING or descriptor.startswith(("density: ", "view: "))
        else "other findings"
    )


def _phantom_word(concept: Concept) -> str:
    return (concept.name or "").lower().replace("_", " ")


_FINDING_WORDS = {_phantom_word(c) for c in FINDING_CONCEPTS}


def patch_truths(
    films: Films, patches: pd.DataFrame, findings: pd.DataFrame, least: float, rule: str
) -> Iterator[PatchTruth]:
    """The truth of every patch (columns mammogram_id, file, y, x, side, view, density,
    has_concepts), in order. Patches of one film must stand together.
    """
    by_film = dict(list(findings.groupby("mammogram_id")))
    current, placed, concepts = "", [], None
    for patch in patches.itertuples():
        if patch.mammogram_id != current:
            current, shape = patch.mammogram_id, films[patch.file].shape
            rows = by_film.get(current)
            placed = (
                []
                if rows is None
                else [
                    (of_finding(f), fill(f.outline, shape))
                    for f in rows.itertuples()
                    if len(f.outline)
                ]
            )
            concepts = films.concepts(patch.file) if patch.has_concepts else None
        yield _truth(patch, placed, concepts, least, rule)


def _truth(
    patch: Any,
    placed: list[tuple[frozenset[str], np.ndarray]],
    concepts: np.ndarray | None,
    least: float,
    rule: str,
) -> PatchTruth:
    window = np.s_[patch.y : patch.y + patch.side, patch.x : patch.x + patch.side]
    shown = {f"view: {patch.view}"} | (
        {f"density: {int(patch.density)}"} if not pd.isna(patch.density) else set()
    )
    masks: dict[str, np.ndarray] = {}
    for words, mask in placed:
        inside = mask[window]
        pixels = int(inside.sum())
        covered, contained = pixels >= least * patch.side**2, pixels >= least * mask.sum()
        if pixels and (covered or contained if rule == "or" else covered and contained):
            shown |= words
        if pixels:
            masks |= {w: masks[w] | inside if w in masks else inside for w in words}
    if concepts is not None:
        bits = np.asarray(concepts[window])
        for concept in Concept:
            inside = (bits & int(concept)) > 0
            if inside.sum() > PHANTOM_PIXELS:
                word = f"phantom: {_phantom_word(concept)}"
                shown.add(word)
                masks[word] = inside
    return PatchTruth(frozenset(shown), masks)
