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
from core.lexicon.birads_lexicon import create_answer, empty_answer, format_label
from core.sources.phantom.concepts import CONCEPT_DESCRIPTIONS, Concept

TOP_PATCHES = 16
_MIN_CONCEPT_PIXELS = 12
# Share of top patches that must show a concept before an expert names it.
_MIN_CONCEPT_SHARE = 0.5
# Findings and anatomy that an expert would name. Tissue and image borders occur everywhere.
_NAMED_CONCEPTS = tuple(Concept)[:12]
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

    share: of the unit's top patches that show the concept. iou: intersection over union of the
    highlighted regions with the pixels of the concept, over these patches together.
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
            _concept_share(int(unit), concept, concept_bits, regions) for concept in _NAMED_CONCEPTS
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
        share=float(np.mean([mask.sum() > _MIN_CONCEPT_PIXELS for mask in masks])),
        iou=intersection / union if union else 0.0,
    )


def simulate_annotation(
    shares: Sequence[ConceptShare], rng: np.random.Generator, *, careful: bool
) -> dict[str, Any]:
    """Return the answer of one expert for one unit.

    shares: of the unit, best first. The careful expert names a concept that at least half of the
    top patches show. The other one overlooks a fifth of them and sometimes names the second best.
    """
    candidates = [share for share in shares if share.share >= _MIN_CONCEPT_SHARE]
    if not careful and candidates and rng.uniform() < 0.2:
        return empty_answer("nothing")
    if not careful and len(shares) > 1 and shares[1].share >= 0.25 and rng.uniform() < 0.3:
        candidates = [shares[1]]
    if not candidates:
        return empty_answer("nothing")
    description = CONCEPT_DESCRIPTIONS[candidates[0].concept]
    phenomenon = {
        "category": description.category,
        "terms": dict(description.descriptors),
        "association": description.association or None,
    }
    return create_answer([phenomenon], confidence=3 if candidates[0].share >= 0.8 else 2)


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
    concept = _concept_of_label(label)
    if concept is None:
        return "unsure"
    pixels = int(((np.asarray(concept_bits) & int(concept)) > 0).sum())
    judgement = "yes" if pixels >= _MIN_CONCEPT_PIXELS else "unsure" if pixels else "no"
    if rng.uniform() < 0.05:
        # "Unsure" states no verdict that could be wrong.
        return {"yes": "no", "no": "yes"}.get(judgement, judgement)
    return judgement


@cache
def _concept_of_label(label: str) -> Concept | None:
    """Return the concept whose label, without association, is the given text."""
    for concept, description in CONCEPT_DESCRIPTIONS.items():
        phenomenon = {
            "category": description.category,
            "terms": dict(description.descriptors),
            "association": None,
        }
        if format_label([phenomenon]) == label:
            return concept
    return None


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
