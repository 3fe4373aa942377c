"""Similarity of explanations to radiologists' reports: greedy matching and concept F1.

A module belongs here if it compares two texts, or a corpus of text pairs with a chance baseline.
Word vectors are read from a user's file or derived from the study's own texts.
"""

from evaluation.similarity.corpus_comparison import CorpusSimilarity, corpus_similarity
from evaluation.similarity.text_matching import (
    CONCEPTS,
    ConceptF1,
    GreedyMatch,
    concept_f1,
    greedy_matching,
    named_concepts,
    report_tokens,
)

__all__ = [
    "CONCEPTS",
    "ConceptF1",
    "CorpusSimilarity",
    "GreedyMatch",
    "concept_f1",
    "corpus_similarity",
    "greedy_matching",
    "named_concepts",
    "report_tokens",
]
