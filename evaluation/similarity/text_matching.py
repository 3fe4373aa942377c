"""Similarity of two texts: greedy matching of word vectors, and F1 of the concepts they name."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.intervals import decimal, not_estimable, percent
from evaluation.validation import Array, float_array

# Field names of a DDSM report line; they carry no information on the finding.
STRUCTURAL_WORDS = frozenset({"lesion", "type", "shape", "margins", "distribution"})
Vectors = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class GreedyMatch:
    """Greedy matching of a report (reference) and an explanation (hypothesis).

    Attributes
    ----------
    score : float or None
        Mean of the two directions; None where a text has no usable word.
    reference_to_hypothesis, hypothesis_to_reference : float or None
        Mean best cosine of each direction.
    oov_reference, oov_hypothesis : float or None
        Share of words out of vocabulary; None for an empty text.
    reason : str or None
        Why there is no score.
    oov : str
        Treatment of unknown words, "skip" or "mean".
    """

    score: float | None = None
    reference_to_hypothesis: float | None = None
    hypothesis_to_reference: float | None = None
    oov_reference: float | None
    oov_hypothesis: float | None
    reason: str | None = None
    oov: str = "skip"

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        rates = (
            f"out of vocabulary: report {percent(self.oov_reference)}, explanation"
            f" {percent(self.oov_hypothesis)}"
        )
        return (
            "Greedy matching"
            f" {decimal(self.score) if self.score is not None else not_estimable(self.reason)}"
            f" ({rates})."
        )


def report_tokens(text: str) -> tuple[str, ...]:
    """Split a text into words.

    Words are in lower case and split on space, `_`, `-`, `/` and punctuation. Structural words and
    `n/a` are dropped.

    Examples
    --------
    >>> report_tokens("LESION_TYPE MASS SHAPE IRREGULAR MARGINS N/A")
    ('mass', 'irregular')
    """
    # n/a is removed first, because the split would leave two letters.
    # Letters and digits bound a word, but not the underscore: DDSM joins words with it.
    lower = re.sub(r"(?<![^\W_])n/a(?![^\W_])", " ", text.lower())
    return tuple(word for word in re.findall(r"[^\W_]+", lower) if word not in STRUCTURAL_WORDS)


def greedy_matching(
    reference_tokens: Sequence[str],
    hypothesis_tokens: Sequence[str],
    vectors: Vectors,
    oov: str = "skip",
) -> GreedyMatch:
    """Compute the Greedy Matching Score of two texts.

    Parameters
    ----------
    reference_tokens, hypothesis_tokens : sequence of str
        Words of the report and of the explanation, see `report_tokens`.
    vectors : mapping of str to array_like of float, shape (d,)
        Word vectors of one length.
    oov : {"skip", "mean"}
        Leave unknown words out, or use the mean of all vectors for them, as nlg-eval does.

    Returns
    -------
    GreedyMatch
        Undefined, not 0, where a text has no usable word.

    Raises
    ------
    ValueError
        If `oov` is unknown, or vectors are not finite or differ in length.

    Notes
    -----
    G(r -> h) is the mean over reference words of the largest cosine among hypothesis words;
    score = (G(r -> h) + G(h -> r)) / 2.

    Checked against: nlg-eval's greedy matching on toy embeddings (1e-9), apart from empty texts.

    References
    ----------
    Rus V, Lintean M. A comparison of greedy and optimal assessment of natural language student
    input using word-to-word similarity metrics. BEA Workshop, ACL 2012:157-162.

    Examples
    --------
    >>> vectors = {"mass": [1.0, 0.1], "masses": [0.95, 0.15], "calcification": [0.0, 1.0]}
    >>> match = greedy_matching(["mass"], ["masses", "calcification"], vectors)
    >>> round(match.score, 3), round(match.reference_to_hypothesis, 3)
    (0.774, 0.998)
    """
    if oov not in ("skip", "mean"):
        raise ValueError(f"oov is {oov!r}: it must be 'skip' or 'mean'")
    texts = {"report": reference_tokens, "explanation": hypothesis_tokens}
    rates = [out_of_vocabulary_rate(tokens, vectors) for tokens in texts.values()]
    shared: dict[str, Any] = {"oov_reference": rates[0], "oov_hypothesis": rates[1], "oov": oov}
    reference, hypothesis = (_unit_rows(tokens, vectors, oov) for tokens in texts.values())
    for (name, tokens), rows in zip(texts.items(), (reference, hypothesis)):
        if not len(rows):
            reason = (
                f"no word of the {name} is in the vocabulary"
                if len(tokens)
                else f"the {name} has no words"
            )
            return GreedyMatch(reason=reason, **shared)
    if reference.shape[1] != hypothesis.shape[1]:
        raise ValueError(
            f"word vectors of {reference.shape[1]} and of {hypothesis.shape[1]} numbers: all"
            " vectors need the same length"
        )
    # Rows have unit length, so the products are cosines.
    cosine = reference @ hypothesis.T
    forward, backward = float(cosine.max(axis=1).mean()), float(cosine.max(axis=0).mean())
    return GreedyMatch(
        score=(forward + backward) / 2,
        reference_to_hypothesis=forward,
        hypothesis_to_reference=backward,
        **shared,
    )


def out_of_vocabulary_rate(tokens: Sequence[str], vocabulary: Container[str]) -> float | None:
    """Return the share of words outside a vocabulary; None without words.

    >>> out_of_vocabulary_rate(["mass", "lesionette"], {"mass"})
    0.5
    """
    # None, not 0: an empty text has no rate.
    return sum(token not in vocabulary for token in tokens) / len(tokens) if len(tokens) else None


def _unit_rows(tokens: Sequence[str], vectors: Vectors, oov: str) -> Array:
    """Return word vectors of unit length [word, d]; zero vectors stay zero."""
    known: list[Any] = [vectors[token] for token in tokens if token in vectors]
    if oov == "mean" and vectors:
        mean = np.mean(float_array(list(vectors.values()), "word vectors"), axis=0)
        known = [vectors.get(token, mean) for token in tokens]
    if not known:
        return np.empty((0, 0))
    rows = float_array(known, "word vectors")
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(
            "a word vector is not a list of finite numbers: all vectors need the same length"
        )
    # A zero vector has no direction; its cosine with every word is taken as 0.
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


# Words that experts and DDSM reports use for one concept. The published labels contain misspellings
# such as "speculations" and "clarification".
CONCEPTS: dict[str, set[str]] = {
    "mass": {"mass", "masses", "lump", "lumps"},
    "calcification": {
        "calcification",
        "calcifications",
        "calcified",
        "calcs",
        "calc",
        "microcalcification",
        "microcalcifications",
        "microcalcs",
        "macrocalcification",
        "macrocalcifications",
        "macrocalification",
        "clarification",
    },
    "spiculated": {"spiculated", "spiculation", "spiculations", "speculation", "speculations"},
    "circumscribed": {"circumscribed", "smooth"},
    "ill defined": {"ill", "indistinct", "blurred"},
    "irregular": {"irregular", "irregularly"},
    "lobulated": {"lobulated", "microlobulated"},
    "oval": {"oval"},
    "round": {"round", "rounded"},
    "obscured": {"obscured"},
    "pleomorphic": {"pleomorphic"},
    "amorphous": {"amorphous"},
    "punctate": {"punctate"},
    "clustered": {"clustered", "cluster", "clusters", "grouped"},
    "linear": {"linear", "branching"},
    "segmental": {"segmental"},
    "regional": {"regional"},
    "vascular": {"vascular", "arterial", "vessel", "vessels"},
    "distortion": {"distortion", "architectural"},
    "asymmetry": {"asymmetry", "asymmetric", "focal"},
    "dense": {"dense", "density"},
    "normal": {"normal"},
    "chest wall": {"chest", "pectoral", "pectoralis", "muscle"},
    "skin": {"skin"},
    "lucent": {"lucent", "lucency", "fat", "fatty"},
    "lymph node": {"lymph", "intramammary", "node", "nodes"},
}
CONCEPT_BY_WORD = {word: concept for concept, synonyms in CONCEPTS.items() for word in synonyms}


def named_concepts(tokens: Sequence[str]) -> frozenset[str]:
    """Return the concepts (keys of `CONCEPTS`) that a text names.

    >>> sorted(named_concepts(report_tokens("Calcified vessels")))
    ['calcification', 'vascular']
    """
    return frozenset(CONCEPT_BY_WORD[token] for token in tokens if token in CONCEPT_BY_WORD)


@dataclass(frozen=True, kw_only=True)
class ConceptF1:
    """Overlap of the concepts of a report (reference) and an explanation (hypothesis).

    Attributes
    ----------
    f1, precision, recall : float or None
        None where a text names no concept.
    unknown_reference, unknown_hypothesis : float or None
        Share of words outside the lexicon; None for an empty text.
    reason : str or None
        Why there is no F1.
    """

    f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    unknown_reference: float | None
    unknown_hypothesis: float | None
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.f1 is None:
            return f"Concept F1 {not_estimable(self.reason)}."
        return (
            f"Concept F1 {decimal(self.f1)} (precision {decimal(self.precision)}, recall"
            f" {decimal(self.recall)})."
        )


def concept_f1(reference_tokens: Sequence[str], hypothesis_tokens: Sequence[str]) -> ConceptF1:
    """Compute the F1 of the concepts that a report and an explanation name.

    Parameters
    ----------
    reference_tokens, hypothesis_tokens : sequence of str
        Words of the report and of the explanation, see `report_tokens`.

    Returns
    -------
    ConceptF1
        Undefined where a text names no concept.

    Notes
    -----
    F1 = 2 |R & H| / (|R| + |H|) for the concept sets R and H.

    Examples
    --------
    >>> result = concept_f1(["mass", "irregular", "spiculated"], ["masses", "spiculation"])
    >>> round(result.f1, 3), result.precision
    (0.8, 1.0)
    """
    shared: dict[str, Any] = {
        "unknown_reference": out_of_vocabulary_rate(reference_tokens, CONCEPT_BY_WORD),
        "unknown_hypothesis": out_of_vocabulary_rate(hypothesis_tokens, CONCEPT_BY_WORD),
    }
    reference, hypothesis = named_concepts(reference_tokens), named_concepts(hypothesis_tokens)
    for name, named in (("report", reference), ("explanation", hypothesis)):
        if not named:
            return ConceptF1(reason=f"the {name} names no known concept", **shared)
    common = len(reference & hypothesis)
    return ConceptF1(
        f1=2 * common / (len(reference) + len(hypothesis)),
        precision=common / len(hypothesis),
        recall=common / len(reference),
        **shared,
    )
