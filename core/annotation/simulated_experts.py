"""Simulated experts for the demonstration study, who use the concept masks of the phantom.

Storage of their answers, which are marked as simulated, belongs in `evaluation.demo`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from core.images.working_images import WorkingImages
from core.interpretation.highlighted_region import highlighted_region
from core.lexicon.annotation_answers import create_answer, empty_answer, format_label
from core.lexicon.birads_categories import BIRADS
from core.sources.phantom.concepts import (
    CONCEPT_DESCRIPTIONS,
    FINDING_CONCEPTS,
    NORMAL_TISSUE,
    Concept,
    ConceptDescription,
)

TOP_PATCHES = 16
_MIN_CONCEPT_PIXELS = 12
# A region shows a concept that covers this share of it, or this share of which it covers.
_MIN_OVERLAP = 0.5
_MARKERS = (Concept.VIEW_LABEL, Concept.SKIN_MARKER)
_STRUCTURES = (Concept.PECTORAL_MUSCLE, Concept.NIPPLE, Concept.SKIN_LINE, Concept.VESSEL)
_TISSUE = (Concept.DENSE_TISSUE, Concept.FATTY_TISSUE)
# Share of top patches that must show a concept before an expert names it: a finding or a marker,
# a structure, and tissue, which is found in every breast.
_LEAST_SHARES = (
    dict.fromkeys((*FINDING_CONCEPTS, *_MARKERS), 0.4)
    | dict.fromkeys(_STRUCTURES, 0.65)
    | dict.fromkeys(_TISSUE, 0.75)
)
# What is named first where several concepts qualify, such as a finding in dense tissue.
_PRECEDENCE = (_MARKERS, FINDING_CONCEPTS, _STRUCTURES, _TISSUE)
# Findings of several kinds in this share of the patches together leave no common phenomenon.
_MIXED_FINDINGS = 0.5
# Tissue without a finding in more than this share of the patches is called normal.
_MOST_FINDINGS_IN_NORMAL = 0.2
_SUSPICIOUS_WORDS = (
    "spiculated",
    "pleomorphic",
    "linear",
    "distortion",
    "suspicious",
    "irregular",
)
_BENIGN_WORDS = (
    "circumscribed",
    "vascular",
    "coarse",
    "round",
    "lymph",
    "benign",
    "normal",
    "fatty",
)


@dataclass(frozen=True)
class ConceptShare:
    """Association of a unit with a concept.

    share: of the unit's top patches whose highlighted region shows the concept. iou: intersection
    over union of the highlighted regions with the pixels of the concept, over these patches
    together.
    """

    unit: int
    concept: Concept
    share: float
    iou: float


def concept_shares(
    images: WorkingImages,
    top: pd.DataFrame,
    top_maps: np.ndarray,
    largest: Mapping[int, float],
    threshold: float,
) -> list[ConceptShare]:
    """Return the association of units with each concept an expert would name.

    Parameters
    ----------
    images : WorkingImages
        Working images with concept masks.
    top : DataFrame
        Top patches with columns unit, rank, file, y, x, side.
    top_maps : float array, shape [unit, rank, h, w]
        Activation maps of the top patches.
    largest : mapping of int to float
        Largest activation by unit.
    threshold : float
        Highlighted regions begin at this share of the largest activation.

    Returns
    -------
    list of ConceptShare
        In order of unit, then by falling share and IoU.
    """
    shares = []
    for unit, rows in top[top["rank"] < TOP_PATCHES].groupby("unit"):
        concept_bits, regions = [], []
        for row in rows.itertuples():
            window = np.s_[row.y : row.y + row.side, row.x : row.x + row.side]
            # A copy: a view would keep one file open for each patch.
            concept_bits.append(np.array(images.concepts(row.file)[window]))
            level = threshold * largest[int(unit)]
            regions.append(highlighted_region(top_maps[unit, row.rank], row.side, level))
        unit_shares = [
            _concept_share(int(unit), concept, concept_bits, regions) for concept in Concept
        ]
        shares += sorted(unit_shares, key=lambda share: (-share.share, -share.iou))
    return shares


def _concept_share(
    unit: int, concept: Concept, concept_bits: Sequence[np.ndarray], regions: Sequence[np.ndarray]
) -> ConceptShare:
    """Return the association of a unit with one concept; arrays [side, side] per top patch."""
    masks = [(bits & int(concept)) > 0 for bits in concept_bits]
    # Summed over the patches before the division, as in Network Dissection (Bau et al. 2017).
    intersection = sum(int((mask & region).sum()) for mask, region in zip(masks, regions))
    union = sum(int((mask | region).sum()) for mask, region in zip(masks, regions))
    return ConceptShare(
        unit=unit,
        concept=concept,
        share=float(np.mean([_is_shown(mask, region) for mask, region in zip(masks, regions)])),
        iou=intersection / union if union else 0.0,
    )


def _is_shown(mask: np.ndarray, region: np.ndarray) -> bool:
    """Return whether a highlighted region shows a concept; both bool [side, side]."""
    common = int((mask & region).sum())
    smaller = min(int(mask.sum()), int(region.sum()))
    return common > _MIN_CONCEPT_PIXELS and common >= _MIN_OVERLAP * smaller


def simulate_annotation(
    shares: Sequence[ConceptShare], rng: np.random.Generator, *, careful: bool
) -> dict[str, Any]:
    """Return the answer of one expert for one unit.

    shares: of the unit. The careful expert names what enough of the top patches show: a marker or a
    finding, with a second finding where there is one, else a structure or tissue; units whose
    patches have nothing in common are answered "nothing". The other expert overlooks a tenth of
    the phenomena and sometimes names the second finding only.
    """
    named = _named_concepts(shares)
    # Both are drawn for every unit, so that the answers of other units do not depend on it.
    overlooks, confuses = rng.uniform(size=2) < (0.1, 0.2)
    if not careful:
        named = [] if overlooks else named[-1:] if confuses else named
    if not named:
        return empty_answer("nothing")
    descriptions = dict.fromkeys(_description(shares, share.concept) for share in named)
    phenomena = [
        {
            "category": description.category,
            "terms": dict(description.descriptors),
            "association": description.association or None,
        }
        for description in descriptions
    ]
    return create_answer(phenomena, 3 if named[0].share >= 0.8 else 2, BIRADS)


def _named_concepts(shares: Sequence[ConceptShare]) -> list[ConceptShare]:
    """Return what a careful expert names: at most two findings, or one of the other concepts."""
    for concepts in _PRECEDENCE:
        of_kind = sorted(
            (share for share in shares if share.concept in concepts),
            key=lambda share: (-share.share, -share.iou),
        )
        named = [s for s in of_kind if s.share >= _LEAST_SHARES[s.concept]]
        if named:
            return named[: 2 if concepts is FINDING_CONCEPTS else 1]
        if concepts is FINDING_CONCEPTS and sum(s.share for s in of_kind) >= _MIXED_FINDINGS:
            return []
    return []


def _description(shares: Sequence[ConceptShare], concept: Concept) -> ConceptDescription:
    """Return how an expert describes a concept: tissue with hardly any finding is normal."""
    findings = max((s.share for s in shares if s.concept in FINDING_CONCEPTS), default=0.0)
    if concept in _TISSUE and findings <= _MOST_FINDINGS_IN_NORMAL:
        return NORMAL_TISSUE
    return CONCEPT_DESCRIPTIONS[concept]


def simulate_audit_judgement(label: str, concept_bits: np.ndarray, rng: np.random.Generator) -> str:
    """Return whether a patch shows what a label names: the answer of an expert in a label audit.

    Parameters
    ----------
    label : str
        Label of a unit without its association.
    concept_bits : integer array, shape [side, side]
        Concept bits of the patch.
    rng : numpy.random.Generator
        Random numbers; one answer in twenty is wrong.

    Returns
    -------
    str
        "yes" if the concept has at least 12 pixels, "unsure" if it has fewer or the label names no
        concept, else "no".
    """
    concept = _concepts_of_label(label)
    if not concept:
        return "unsure"
    pixels = int(((np.asarray(concept_bits) & int(concept)) > 0).sum())
    judgement = "yes" if pixels >= _MIN_CONCEPT_PIXELS else "unsure" if pixels else "no"
    if rng.uniform() < 0.05:
        # "Unsure" states no verdict that could be wrong.
        return {"yes": "no", "no": "yes"}.get(judgement, judgement)
    return judgement


@cache
def _concepts_of_label(label: str) -> int:
    """Return the bits of the concepts that a label without associations names, 0 for none."""
    bits = 0
    for part in label.lower().split("; "):
        for concept, description in CONCEPT_DESCRIPTIONS.items():
            phenomenon = {
                "category": description.category,
                "terms": dict(description.descriptors),
                "association": None,
            }
            if format_label([phenomenon], BIRADS).lower() == part:
                bits |= int(concept)
    return bits


def simulate_reader_score(texts: Sequence[str], scale: int, rng: np.random.Generator) -> int:
    """Return the score of a simulated reader, 1 (benign) to `scale` (malignant).

    The score depends on suspicious and benign words in the first three texts, with falling weight,
    and on noise.
    """
    evidence = 0.0
    # Texts are ordered by influence, so later ones count less.
    for weight, text in zip((1.0, 0.7, 0.5), texts):
        lower = text.lower()
        suspicious = any(word in lower for word in _SUSPICIOUS_WORDS)
        benign = any(word in lower for word in _BENIGN_WORDS)
        evidence += weight * (suspicious - benign)
    value = 1 / (1 + np.exp(-(1.3 * evidence + rng.normal(0, 0.9))))
    return int(np.clip(np.floor(value * scale) + 1, 1, scale))
