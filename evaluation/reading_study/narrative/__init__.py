"""Results of a reading study in words: the conclusion, the prespecified result, the paragraph."""

from __future__ import annotations

from evaluation.reading_study.narrative.paragraph import narrative, narrative_paragraphs
from evaluation.reading_study.narrative.verdict import (
    SIDE_NAMES,
    primary_sentences,
    stimuli,
    verdict,
)

__all__ = [
    "SIDE_NAMES",
    "narrative",
    "narrative_paragraphs",
    "primary_sentences",
    "stimuli",
    "verdict",
]
