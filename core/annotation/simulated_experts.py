"""Simulated experts for the demonstration: they see a unit's top patches with the phantom's own
concept masks.

Whatever they say carries the word simulated wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from core import birads_lexicon
from core.images.working_images import Films
from core.interpretation.dissection import region
from core.sources.phantom.concepts import CONCEPT_WORDS, Concept

TOP = 16
LEAST_PIXELS = 12
LEAST_SHARE = 0.5
# Concepts an expert would name; tissue and film edges are everywhere and name nothing by
# themselves.
NAMED = tuple(Concept)[:12]


@dataclass(frozen=True)
class ConceptShare:
    """How well a unit answers to a concept. share: of its top 16 patches that show the concept (at
    least 12 pixels); iou: of the highlighted regions with the concept's pixels over these patches
    together.
    """

    unit: int
    concept: Concept
    share: float
    iou: float


def concept_shares(
    films: Films,
    top: pd.DataFrame,
    top_maps: np.ndarray,
    largest: Mapping[int, float],
    threshold: float,
) -> list[ConceptShare]:
    """Shares of every named concept for the units in `top` (columns unit, rank, file, y, x, side),
    in order of unit and falling share.
    """
    found = []
    for unit, rows in top[top["rank"] < TOP].groupby("unit"):
        masks = [
            films.concepts(r.file)[r.y : r.y + r.side, r.x : r.x + r.side]
            for r in rows.itertuples()
        ]
        regions = [
            region(top_maps[unit, r.rank], r.side, threshold * largest[int(unit)])
            for r in rows.itertuples()
        ]
        shares = [_concept_share(int(unit), concept, masks, regions) for concept in NAMED]
        found += sorted(shares, key=lambda s: (-s.share, -s.iou))
    return found


def _concept_share(
    unit: int, concept: Concept, masks: Sequence[np.ndarray], regions: Sequence[np.ndarray]
) -> ConceptShare:
    where = [(mask & int(concept)) > 0 for mask in masks]
    both = sum(int((w & r).sum()) for w, r in zip(where, regions))
    either = sum(int((w | r).sum()) for w, r in zip(where, regions))
    return ConceptShare(
        unit,
        concept,
        float(np.mean([w.sum() > LEAST_PIXELS for w in where])),
        both / either if either else 0.0,
    )


def answer(
    shares: Sequence[ConceptShare], rng: np.random.Generator, *, careful: bool
) -> dict[str, Any]:
    """One expert's answer on one unit from its concept shares, best first.

    The careful one names the concept present in at least half of the top patches; the sloppy one
    misses a fifth of them and sometimes names the runner-up.
    """
    seen = [s for s in shares if s.share >= LEAST_SHARE]
    if not careful and seen and rng.uniform() < 0.2:
        return birads_lexicon.empty_answer("nothing")
    if not careful and len(shares) > 1 and shares[1].share >= 0.25 and rng.uniform() < 0.3:
        seen = [shares[1]]
    if not seen:
        return birads_lexicon.empty_answer("nothing")
    words = CONCEPT_WORDS[seen[0].concept]
    phenomenon = {
        "category": words.category,
        "terms": dict(words.descriptors),
        "association": words.association or None,
    }
    return birads_lexicon.make_answer([phenomenon], confidence=3 if seen[0].share >= 0.8 else 2)


def judgement(words: str, mask: np.ndarray, rng: np.random.Generator) -> str:
    """Whether a patch shows what a unit is called, as an expert of the label audit says: "yes"
    where the concept of these words (without their association) has at least 12 pixels of the
    patch's concept bits [side, side], "unsure" where it has fewer or the words name no concept,
    else "no"; one in twenty slips.
    """
    concept = _concept_called(words)
    if concept is None:
        return "unsure"
    pixels = int(((np.asarray(mask) & int(concept)) > 0).sum())
    said = "yes" if pixels >= LEAST_PIXELS else "unsure" if pixels else "no"
    return {"yes": "no", "no": "yes"}.get(said, said) if rng.uniform() < 0.05 else said


@cache
def _concept_called(words: str) -> Concept | None:
    for concept, known in CONCEPT_WORDS.items():
        printed = birads_lexicon.label(
            [{"category": known.category, "terms": dict(known.descriptors), "association": None}]
        )
        if printed == words:
            return concept
    return None


def reading(texts: Sequence[str], scale: int, rng: np.random.Generator) -> int:
    """A simulated reader's answer, 1 (benign) to `scale`: leans on the words a radiologist finds
    suspicious, with noise.
    """
    suspicious = ("spiculated", "pleomorphic", "linear", "distortion", "suspicious", "irregular")
    benign = ("circumscribed", "vascular", "coarse", "round", "lymph", "benign", "normal", "fatty")
    lean = 0.0
    for weight, text in zip((1.0, 0.7, 0.5), texts):
        low = text.lower()
        lean += weight * (any(w in low for w in suspicious) - any(w in low for w in benign))
    value = 1 / (1 + np.exp(-(1.3 * lean + rng.normal(0, 0.9))))
    return int(np.clip(np.floor(value * scale) + 1, 1, scale))
