"""Do explanations say what the radiologists' reports say: greedy matching and concept F1, each
beside chance (DEFINITIONS, Similarity).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from evaluation.intervals import Interval, decimal, not_estimable, p_text, percent
from evaluation.validation import Array, cluster_codes, float_array

# Words that structure a DDSM report line without saying anything about the finding.
STRUCTURAL = frozenset({"lesion", "type", "shape", "margins", "distribution"})
Vectors = Mapping[str, Any]
PERMUTATIONS = 1_000


@dataclass(frozen=True, kw_only=True)
class GreedyMatch:
    """Greedy matching of two texts; None with a reason where either has no word that counts."""

    score: float | None
    reference_to_hypothesis: float | None
    hypothesis_to_reference: float | None
    oov_reference: float | None
    oov_hypothesis: float | None
    reason: str | None = None
    oov: str = "skip"

    def sentence(self) -> str:
        """For a results section."""
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
    """A text as words: lower case, split on space `_` `-` `/` and punctuation, structural words and
    `n/a` dropped.
    """
    said = re.sub(r"(?<![^\W_])n/a(?![^\W_])", " ", text.lower())
    return tuple(word for word in re.findall(r"[^\W_]+", said) if word not in STRUCTURAL)


def greedy_matching(
    reference_tokens: Sequence[str],
    hypothesis_tokens: Sequence[str],
    vectors: Vectors,
    oov: str = "skip",
) -> GreedyMatch:
    """Greedy Matching Score (Rus and Lintean 2012): the mean over reference words of the best
    cosine among hypothesis words, and the reverse, averaged. Unknown words are left out (`skip`) or
    take the mean of all vectors (`mean`, as nlg-eval does). Undefined, not 0, when either side has
    no word.
    """
    if oov not in ("skip", "mean"):
        raise ValueError(f"oov is {oov!r}: it must be 'skip' or 'mean'")
    rates = [_unknown_share(tokens, vectors) for tokens in (reference_tokens, hypothesis_tokens)]
    sides = [_unit_rows(tokens, vectors, oov) for tokens in (reference_tokens, hypothesis_tokens)]
    for name, rows, tokens in (
        ("report", sides[0], reference_tokens),
        ("explanation", sides[1], hypothesis_tokens),
    ):
        if not len(rows):
            reason = (
                f"no word of the {name} is in the vocabulary"
                if len(tokens)
                else f"the {name} has no words"
            )
            return GreedyMatch(
                score=None,
                reference_to_hypothesis=None,
                hypothesis_to_reference=None,
                oov_reference=rates[0],
                oov_hypothesis=rates[1],
                reason=reason,
                oov=oov,
            )
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(
            f"word vectors of {sides[0].shape[1]} and of {sides[1].shape[1]} numbers: every word"
            " needs as many as the others"
        )
    cosine = sides[0] @ sides[1].T
    forward, backward = float(cosine.max(axis=1).mean()), float(cosine.max(axis=0).mean())
    return GreedyMatch(
        score=(forward + backward) / 2,
        reference_to_hypothesis=forward,
        hypothesis_to_reference=backward,
        oov_reference=rates[0],
        oov_hypothesis=rates[1],
        reason=None,
        oov=oov,
    )


def _unknown_share(tokens: Sequence[str], vectors: Vectors) -> float | None:
    return sum(token not in vectors for token in tokens) / len(tokens) if len(tokens) else None


def _unit_rows(tokens: Sequence[str], vectors: Vectors, oov: str) -> Array:
    known: list[Any] = [vectors[token] for token in tokens if token in vectors]
    if oov == "mean" and vectors:
        mean = np.mean(float_array(list(vectors.values()), "word vectors"), axis=0)
        known = [vectors.get(token, mean) for token in tokens]
    if not known:
        return np.empty((0, 0))
    rows = float_array(known, "word vectors")
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(
            "a word vector is no list of finite numbers: every word needs as many as the others"
        )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


# The words experts and DDSM reports use for one thing. "speculations" is how the published labels
# spell it.
CONCEPTS: dict[str, tuple[str, ...]] = {
    "mass": ("mass", "masses", "lump", "lumps"),
    "calcification": (
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
    ),
    "spiculated": ("spiculated", "spiculation", "spiculations", "speculation", "speculations"),
    "circumscribed": ("circumscribed", "smooth"),
    "ill defined": ("ill", "indistinct", "blurred"),
    "irregular": ("irregular", "irregularly"),
    "lobulated": ("lobulated", "microlobulated"),
    "oval": ("oval",),
    "round": ("round", "rounded"),
    "obscured": ("obscured",),
    "pleomorphic": ("pleomorphic",),
    "amorphous": ("amorphous",),
    "punctate": ("punctate",),
    "clustered": ("clustered", "cluster", "clusters", "grouped"),
    "linear": ("linear", "branching"),
    "segmental": ("segmental",),
    "regional": ("regional",),
    "vascular": ("vascular", "arterial", "vessel", "vessels"),
    "distortion": ("distortion", "architectural"),
    "asymmetry": ("asymmetry", "asymmetric", "focal"),
    "dense": ("dense", "density"),
    "normal": ("normal",),
    "chest wall": ("chest", "pectoral", "pectoralis", "muscle"),
    "skin": ("skin",),
    "lucent": ("lucent", "lucency", "fat", "fatty"),
    "lymph node": ("lymph", "intramammary", "node", "nodes"),
}
_CONCEPT_OF = {word: concept for concept, words in CONCEPTS.items() for word in words}


def concepts(tokens: Sequence[str]) -> frozenset[str]:
    """The concepts that a text names, from `report_tokens`."""
    return frozenset(_CONCEPT_OF[token] for token in tokens if token in _CONCEPT_OF)


@dataclass(frozen=True, kw_only=True)
class ConceptF1:
    """Overlap of the concepts of two texts; None with a reason where either names none."""

    f1: float | None
    precision: float | None
    recall: float | None
    unknown_reference: float | None
    unknown_hypothesis: float | None
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        if self.f1 is None:
            return f"Concept F1 {not_estimable(self.reason)}."
        return (
            f"Concept F1 {decimal(self.f1)} (precision {decimal(self.precision)}, recall"
            f" {decimal(self.recall)})."
        )


def concept_f1(reference_tokens: Sequence[str], hypothesis_tokens: Sequence[str]) -> ConceptF1:
    """F1 of the sets of concepts (CONCEPTS) named by a report and an explanation, with the share of
    words outside the lexicon.
    """
    rates = [
        _unknown_share(tokens, _CONCEPT_OF) for tokens in (reference_tokens, hypothesis_tokens)
    ]
    said, found = concepts(reference_tokens), concepts(hypothesis_tokens)
    for name, named in (("report", said), ("explanation", found)):
        if not named:
            return ConceptF1(
                f1=None,
                precision=None,
                recall=None,
                unknown_reference=rates[0],
                unknown_hypothesis=rates[1],
                reason=f"the {name} names no known concept",
            )
    shared = len(said & found)
    precision, recall = shared / len(found), shared / len(said)
    return ConceptF1(
        f1=2 * shared / (len(said) + len(found)),
        precision=precision,
        recall=recall,
        unknown_reference=rates[0],
        unknown_hypothesis=rates[1],
    )


@dataclass(frozen=True, kw_only=True)
class CorpusSimilarity:
    """Mean similarity of a study's explanations to their reports, beside the mean after giving each
    patient another patient's reports.
    """

    mean: Interval
    baseline: float | None
    p_greater: float | None
    pairs: int
    undefined: int
    oov_reference: float | None
    oov_hypothesis: float | None
    measure: str = "Greedy matching"
    unit: str = "patient"
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        if self.mean.estimate is None:
            return f"{self.measure} {not_estimable(self.reason)}."
        return (
            f"{self.measure} {self.mean.sentence()} over {self.pairs} explanations"
            f" ({self.undefined} undefined), against {decimal(self.baseline)} with reports permuted"
            f" between patients (one-sided permutation {p_text(self.p_greater)}); out of"
            f" vocabulary: reports {percent(self.oov_reference)}, explanations"
            f" {percent(self.oov_hypothesis)}."
        )


def corpus_similarity(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
    patients: Any,
    vectors: Vectors | None,
    oov: str = "skip",
    permutations: int = PERMUTATIONS,
    seed: int = 1,
    level: float = 0.95,
) -> CorpusSimilarity:
    """Similarity of n explanations to n reports (tokens), with patient-bootstrap interval and
    patient-permuted baseline.

    `vectors` gives greedy matching, None concept F1. Pairs without a defined score are counted and
    left out; out-of-vocabulary rates are over all words. Each permutation gives patient a's
    explanations the reports of patient b, in turn where b has fewer.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} reports for {len(hypotheses)} explanations: one each is needed"
        )
    codes, clusters = cluster_codes(patients, len(references))
    measure = "Concept F1" if vectors is None else "Greedy matching"
    scores = _pair_scores(references, hypotheses, vectors, oov)
    own = np.array([scores(index, index) for index in range(len(references))])
    kept, method = ~np.isnan(own), "patient bootstrap"
    known: Any = _CONCEPT_OF if vectors is None else vectors
    rates = [
        _unknown_share([word for text in texts for word in text], known)
        for texts in (references, hypotheses)
    ]
    undefined = int((~kept).sum())
    if not kept.any() or clusters < 2:
        reason = (
            "no pair has a defined score" if not kept.any() else "one patient cannot be permuted"
        )
        nothing = Interval(
            estimate=None, low=None, high=None, level=level, method=method, reason=reason
        )
        return CorpusSimilarity(
            mean=nothing,
            baseline=None,
            p_greater=None,
            pairs=int(kept.sum()),
            undefined=undefined,
            oov_reference=rates[0],
            oov_hypothesis=rates[1],
            measure=measure,
            reason=reason,
        )
    baseline = _permuted_means(scores, codes, clusters, permutations, seed)
    mean = float(own[kept].mean())
    p = (1 + (baseline >= mean - 1e-12).sum()) / (1 + len(baseline)) if len(baseline) else None
    return CorpusSimilarity(
        mean=_bootstrap_mean(own, kept, codes, clusters, level, seed),
        baseline=float(baseline.mean()) if len(baseline) else None,
        p_greater=None if p is None else float(p),
        pairs=int(kept.sum()),
        undefined=undefined,
        oov_reference=rates[0],
        oov_hypothesis=rates[1],
        measure=measure,
    )


def _pair_scores(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
    vectors: Vectors | None,
    oov: str,
) -> Callable[[int, int], float]:
    """Score of report i with explanation j, each distinct pair of texts computed once."""
    known: dict[tuple[tuple[str, ...], tuple[str, ...]], float] = {}
    left, right = [tuple(text) for text in references], [tuple(text) for text in hypotheses]

    def score(i: int, j: int) -> float:
        pair = (left[i], right[j])
        if pair not in known:
            value = (
                concept_f1(*pair).f1
                if vectors is None
                else greedy_matching(*pair, vectors, oov).score
            )
            known[pair] = float("nan") if value is None else value
        return known[pair]

    return score


def _permuted_means(
    score: Callable[[int, int], float], codes: Array, clusters: int, permutations: int, seed: int
) -> Array:
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(codes == patient) for patient in range(clusters)]

    @cache
    def lent(patient: int, other: int) -> tuple[float, int]:
        """Sum and number of the defined scores of a patient's explanations with another's reports."""
        own = members[patient]
        values = np.array(
            [score(int(i), int(j)) for i, j in zip(np.resize(members[other], len(own)), own)]
        )
        return float(np.nansum(values)), int((~np.isnan(values)).sum())

    means = []
    for _ in range(permutations):
        parts = [
            lent(patient, int(other))
            for patient, other in enumerate(generator.permutation(clusters))
        ]
        defined = sum(n for _, n in parts)
        if defined:
            means.append(sum(total for total, _ in parts) / defined)
    return np.array(means)


def _bootstrap_mean(
    values: Array, kept: Array, codes: Array, clusters: int, level: float, seed: int
) -> Interval:
    sums, sizes = (
        np.bincount(codes[kept], values[kept], clusters),
        np.bincount(codes[kept], minlength=clusters),
    )
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), 2000)
    totals = drawn @ sizes
    low, high = np.quantile(
        (drawn @ sums)[totals > 0] / totals[totals > 0], [(1 - level) / 2, (1 + level) / 2]
    )
    mean = float(values[kept].mean())
    if high - low < 1e-12:
        return Interval(
            estimate=mean,
            low=None,
            high=None,
            level=level,
            method="patient bootstrap",
            reason="all patients have the same value",
            unit="patient",
        )
    return Interval(
        estimate=mean,
        low=float(low),
        high=float(high),
        level=level,
        method="patient bootstrap",
        reason=None,
        unit="patient",
    )
