"""Similarity of texts against slow versions of the definitions; every number differs."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core import study_folder
from core.errors import UserError
from core.settings import Settings, load_settings
from evaluation.intervals import Interval
from evaluation.similarity import CorpusSimilarity, concept_f1, corpus_similarity, greedy_matching
from evaluation.similarity.text_matching import CONCEPTS, ConceptF1, GreedyMatch, named_concepts
from evaluation.similarity.word_vectors import load_vectors, own_vectors, study_vectors

VECTORS = {
    "mass": [2.0, 1.0, 0.0],
    "lump": [1.0, 1.0, 0.5],
    "vessel": [0.0, -1.0, 3.0],
    "still": [0.0, 0.0, 0.0],
}


def cosine(a: list[float], b: list[float]) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.dot(a, b) / lengths) if lengths else 0.0


def slow_score(reference: list[list[float]], hypothesis: list[list[float]]) -> tuple[float, float]:
    forward = [max(cosine(r, h) for h in hypothesis) for r in reference]
    backward = [max(cosine(r, h) for r in reference) for h in hypothesis]
    return float(np.mean(forward)), float(np.mean(backward))


def test_both_directions_and_rates_of_a_match() -> None:
    match = greedy_matching(["mass", "vessel", "zebra"], ["lump", "still"], VECTORS)
    forward, backward = slow_score(
        [VECTORS["mass"], VECTORS["vessel"]], [VECTORS["lump"], VECTORS["still"]]
    )
    assert match.reference_to_hypothesis == pytest.approx(forward)
    assert match.hypothesis_to_reference == pytest.approx(backward)
    assert match.score == pytest.approx((forward + backward) / 2)
    assert (match.oov_reference, match.oov_hypothesis) == (pytest.approx(1 / 3), 0)
    assert (match.oov, match.reason) == ("skip", None)
    mean = np.mean(list(VECTORS.values()), axis=0).tolist()
    match = greedy_matching(["mass", "zebra"], ["vessel", "yak", "lump"], VECTORS, "mean")
    forward, backward = slow_score(
        [VECTORS["mass"], mean], [VECTORS["vessel"], mean, VECTORS["lump"]]
    )
    assert (match.reference_to_hypothesis, match.hypothesis_to_reference) == pytest.approx(
        (forward, backward)
    )
    assert (match.oov_reference, match.oov_hypothesis, match.oov) == (
        pytest.approx(1 / 2),
        pytest.approx(1 / 3),
        "mean",
    )


@pytest.mark.parametrize(
    ("report", "explanation", "reason", "rates"),
    [
        ([], ["mass"], "the report has no words", (None, 0)),
        (["mass"], [], "the explanation has no words", (0, None)),
        (["zebra"], ["mass"], "no word of the report is in the vocabulary", (1, 0)),
        (["mass"], ["zebra"], "no word of the explanation is in the vocabulary", (0, 1)),
    ],
)
def test_why_a_match_has_no_score(
    report: list[str], explanation: list[str], reason: str, rates: tuple[float | None, ...]
) -> None:
    match = greedy_matching(report, explanation, VECTORS)
    assert match == GreedyMatch(reason=reason, oov_reference=rates[0], oov_hypothesis=rates[1])
    assert match.sentence().startswith(f"Greedy matching not estimable: {reason} (out of")
    # Without any vector there is no mean to stand for an unknown word.
    assert greedy_matching(["mass"], ["mass"], {}, "mean").score is None


def test_faulty_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="of 3 and of 2 numbers"):
        greedy_matching(["mass"], ["short"], VECTORS | {"short": [1.0, 2.0]})
    with pytest.raises(ValueError, match="finite numbers"):
        greedy_matching(["mass"], ["wrong"], VECTORS | {"wrong": [1.0, np.inf, 2.0]})
    with pytest.raises(ValueError, match="finite numbers"):
        greedy_matching(["flat"], ["flat"], {"flat": 2.0})


def test_sentences_of_two_texts() -> None:
    match = GreedyMatch(score=0.75, oov_reference=0.25, oov_hypothesis=0.5)
    assert match.sentence() == (
        "Greedy matching .750 (out of vocabulary: report 25.0 %, explanation 50.0 %)."
    )
    shared = {"unknown_reference": 0.0, "unknown_hypothesis": None}
    f1 = ConceptF1(f1=0.5, precision=0.375, recall=0.75, **shared)
    assert f1.sentence() == "Concept F1 .500 (precision .375, recall .750)."
    none = ConceptF1(reason="no words", **shared)
    assert none.sentence() == "Concept F1 not estimable: no words."


def test_f1_counts_concepts_and_unknown_words() -> None:
    """Report: mass, irregular, dense; explanation: mass and the skin. One concept is common."""
    report = ["masses", "lump", "irregular", "density", "zebra"]
    result = concept_f1(report, ["mass", "skin", "yak", "gnu"])
    assert (result.f1, result.precision, result.recall) == (
        pytest.approx(2 / 5),
        pytest.approx(1 / 2),
        pytest.approx(1 / 3),
    )
    assert (result.unknown_reference, result.unknown_hypothesis, result.reason) == (0.2, 0.5, None)
    missing = concept_f1(report, ["yak"])
    assert missing == ConceptF1(
        unknown_reference=0.2,
        unknown_hypothesis=1.0,
        reason="the explanation names no known concept",
    )
    assert concept_f1([], ["mass"]).reason == "the report names no known concept"
    assert concept_f1([], ["mass"]).unknown_reference is None


def test_words_of_every_concept() -> None:
    """One word of each concept; no word stands for two of them."""
    words = {
        "mass": "lumps",
        "calcification": "clarification",
        "spiculated": "speculations",
        "circumscribed": "smooth",
        "ill defined": "blurred",
        "irregular": "irregularly",
        "lobulated": "microlobulated",
        "oval": "oval",
        "round": "rounded",
        "obscured": "obscured",
        "pleomorphic": "pleomorphic",
        "amorphous": "amorphous",
        "punctate": "punctate",
        "clustered": "grouped",
        "linear": "branching",
        "segmental": "segmental",
        "regional": "regional",
        "vascular": "arterial",
        "distortion": "architectural",
        "asymmetry": "focal",
        "dense": "density",
        "normal": "normal",
        "chest wall": "pectoralis",
        "skin": "skin",
        "lucent": "fatty",
        "lymph node": "intramammary",
    }
    assert {name: named_concepts([word]) for name, word in words.items()} == {
        name: {name} for name in CONCEPTS
    }
    every = [word for synonyms in CONCEPTS.values() for word in synonyms]
    assert len(every) == len(set(every)) and named_concepts(["zebra"]) == frozenset()


# Reports and explanations of four patients; two pairs have no score.
REPORTS = [["mass"], ["vessel", "lump"], ["zebra"], ["lump"], ["vessel"], [], ["mass", "vessel"]]
TEXTS = [["lump"], ["vessel"], ["mass"], ["lump", "mass", "yak"], ["mass"], ["mass"], ["vessel"]]
PATIENTS = list("abbcadd")


def pair(i: int, j: int) -> float | None:
    return greedy_matching(REPORTS[i], TEXTS[j], VECTORS).score


def test_corpus_against_a_slow_version() -> None:
    """The means of 1,000 permutations and 2,000 resamples of patients, with the seed 1."""
    result = corpus_similarity(REPORTS, TEXTS, PATIENTS, VECTORS)
    scores = [pair(i, i) for i in range(7)]
    assert [i for i, value in enumerate(scores) if value is None] == [2, 5]
    defined = [i for i in range(7) if scores[i] is not None]
    mean = float(np.mean([scores[i] for i in defined]))
    members = {k: [i for i, p in enumerate(PATIENTS) if p == name] for k, name in enumerate("abcd")}
    generator = np.random.default_rng(1)
    means = []
    for _ in range(1_000):
        values = []
        for patient, other in enumerate(generator.permutation(4)):
            lent = members[int(other)]
            for place, j in enumerate(members[patient]):
                score = pair(lent[place % len(lent)], j)
                values += [] if score is None else [score]
        means.append(np.mean(values))
    reached = sum(value >= mean - 1e-9 for value in means)
    assert result.p_greater == pytest.approx((1 + reached) / 1_001)
    assert result.baseline == pytest.approx(np.mean(means))
    weights = np.random.default_rng(1).multinomial(4, [0.25] * 4, 2_000)
    resampled = []
    for row in weights:
        values = [(row["abcd".index(PATIENTS[i])], scores[i]) for i in defined]
        total = sum(weight for weight, _ in values)
        if total:
            resampled.append(sum(weight * score for weight, score in values) / total)
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert (result.mean.estimate, result.mean.low, result.mean.high) == pytest.approx(
        (mean, low, high)
    )
    assert (result.mean.level, result.mean.method, result.mean.unit) == (
        0.95,
        "patient bootstrap",
        "patient",
    )
    assert (result.pairs, result.undefined, result.reason) == (5, 2, None)
    assert (result.oov_reference, result.oov_hypothesis) == (1 / 8, 1 / 9)
    assert (result.measure, result.unit) == ("Greedy matching", "patient")
    # Options reach their places.
    other = corpus_similarity(
        REPORTS, TEXTS, PATIENTS, VECTORS, "mean", permutations=9, seed=2, level=0.5
    )
    assert other.mean.level == 0.5 and other.pairs == 6
    assert (other.p_greater or 0) * 10 == pytest.approx(round((other.p_greater or 0) * 10))
    none = corpus_similarity(REPORTS, TEXTS, PATIENTS, VECTORS, permutations=0)
    assert (none.baseline, none.p_greater) == (None, None) and none.mean.estimate is not None
    # A resample may hold only the patient without a score.
    few = corpus_similarity([["mass"], []], [["lump"], ["mass"]], ["a", "b"], VECTORS)
    assert few.mean.estimate == pytest.approx(cosine(VECTORS["mass"], VECTORS["lump"]))
    assert few.mean.low is None and (few.pairs, few.undefined) == (1, 1)


def test_concepts_of_a_corpus_and_missing_results() -> None:
    result = corpus_similarity(REPORTS, TEXTS, PATIENTS, None, permutations=3)
    f1 = [1, 2 / 3, None, 1, 0, None, 2 / 3]
    assert result.mean.estimate == pytest.approx(np.mean([v for v in f1 if v is not None]))
    assert result.measure == "Concept F1" and result.oov_hypothesis == 1 / 9
    for patients, texts, reason in (
        (list("aaaaaaa"), TEXTS, "one patient cannot be permuted"),
        (PATIENTS, [["yak"]] * 7, "no pair has a defined score"),
        (list("aaaaaaa"), [["yak"]] * 7, "no pair has a defined score"),
    ):
        empty = corpus_similarity(REPORTS, texts, patients, VECTORS, level=0.9)
        assert (empty.reason, empty.mean.reason) == (reason, reason)
        assert (empty.mean.estimate, empty.baseline, empty.p_greater) == (None, None, None)
        assert (empty.mean.level, empty.mean.method) == (0.9, "patient bootstrap")
        assert empty.pairs + empty.undefined == 7
        assert empty.sentence() == f"Greedy matching not estimable: {reason}."


def test_sentence_of_a_corpus() -> None:
    mean = Interval(
        estimate=0.75,
        low=0.5,
        high=0.875,
        level=0.95,
        method="patient bootstrap",
        unit="patient",
    )
    result = CorpusSimilarity(
        mean=mean,
        baseline=0.375,
        p_greater=0.04,
        pairs=17,
        undefined=3,
        oov_reference=0.25,
        oov_hypothesis=0.125,
    )
    assert result.sentence() == (
        f"Greedy matching {mean.sentence()} over 17 explanations (3 undefined), against .375 with"
        " reports permuted between patients (one-sided permutation P = .040); out of vocabulary:"
        " reports 25.0 %, explanations 12.5 %."
    )


def test_own_vectors_against_the_definition() -> None:
    """Positive pointwise mutual information by counting, and its eigenvectors."""
    alone = [(f"word{i}",) for i in range(8)]
    texts = [("mass", "spiculated", "zebra"), (), ("zebra", "yak"), ("yak",), *alone]
    lines = [set(text) for text in texts] + list(CONCEPTS.values())
    words = sorted(set().union(*lines))
    joint = np.array([[sum({a, b} <= line for line in lines) for b in words] for a in words], float)
    single = joint.sum(axis=1)
    information = np.zeros_like(joint)
    for i, j in zip(*np.nonzero(joint)):
        information[i, j] = max(0, np.log(joint[i, j] * joint.sum() / (single[i] * single[j])))
    values, directions = np.linalg.eigh(information)
    rank = int((abs(values) > 1e-9).sum())
    largest = sorted(abs(values), reverse=True)
    for length, vectors in ((32, own_vectors(texts)), (5, own_vectors(texts, 5))):
        assert sorted(vectors) == words and len(vectors["mass"]) == length < rank
        # Of equal singular values any may be left out: their values alone are compared.
        rows = np.array([vectors[word] for word in words])
        assert np.linalg.eigvalsh(rows @ rows.T)[::-1][:length] == pytest.approx(largest[:length])
    # Fewer directions than the length: all that are not rounding, and so the whole matrix.
    vectors = own_vectors(texts, 500)
    assert len(vectors["mass"]) == rank
    rows = np.array([vectors[word] for word in words])
    expected = (directions * abs(values)) @ directions.T
    assert rows @ rows.T == pytest.approx(expected, abs=1e-9)


def test_files_of_one_word_and_of_all_words(tmp_path: Path) -> None:
    # The original word2vec program ends lines with a blank.
    (tmp_path / "w2v.txt").write_text("2 3\nmass 1 2 3 \nother 4 5 6 \n")
    (tmp_path / "glove.txt").write_text("mass 1 2 3\nother 4 5 6\n")
    rows = {"mass": [1.0, 2.0, 3.0], "other": [4.0, 5.0, 6.0]}
    binary = b"".join(name.encode() + b" " + struct.pack("<3f", *v) for name, v in rows.items())
    (tmp_path / "w2v.bin").write_bytes(b"2 3\n" + binary)
    for name in ("w2v.txt", "glove.txt", "w2v.bin"):
        loaded = load_vectors(tmp_path / name)
        assert {word: vector.tolist() for word, vector in loaded.items()} == rows
        assert all(vector.dtype == np.float64 for vector in loaded.values())
        assert list(load_vectors(tmp_path / name, iter(["other", "zebra"]))) == ["other"]
    # A header stands in the first line only.
    (tmp_path / "late.txt").write_text("mass 1 2 3\n2 3\n")
    with pytest.raises(UserError, match="line 2: 1 numbers where 3 are expected"):
        load_vectors(tmp_path / "late.txt")
    (tmp_path / "words.txt").write_text("2 3\nmass\n")
    with pytest.raises(UserError, match="line 2: 0 numbers where some are expected"):
        load_vectors(tmp_path / "words.txt")
    (tmp_path / "x.txt").write_text("mass 1 2 3\nother 4 x 6\nmore 7 inf 9\n")
    assert load_vectors(tmp_path / "x.txt", ["mass"])["mass"].tolist() == [1, 2, 3]
    for word, line in (("other", "line 2: a value is not a number"), ("more", "line 3: a value")):
        with pytest.raises(UserError, match=line):
            load_vectors(tmp_path / "x.txt", [word])
    (tmp_path / "cut.bin").write_bytes(b"2 3\n" + binary[:-1])
    with pytest.raises(UserError, match="word 2 of 2 is cut off"):
        load_vectors(tmp_path / "cut.bin")
    (tmp_path / "less.bin").write_bytes(b"3 3\n" + binary)
    with pytest.raises(UserError, match="word 3 of 3 is cut off"):
        load_vectors(tmp_path / "less.bin")


def test_vectors_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_folder.create_study(tmp_path / "study")
    texts = [("mass", "zebra"), ("yak",)]
    vectors, origin = study_vectors(study, texts)
    assert origin == "the study's own lines"
    assert {k: v.tolist() for k, v in vectors.items()} == {
        k: v.tolist() for k, v in own_vectors(texts).items()
    }
    named: Settings = load_settings(study).with_changes("evaluation", word_vectors="glove.txt")
    monkeypatch.setattr(
        "evaluation.similarity.word_vectors.settings",
        SimpleNamespace(load_settings=lambda _: named),
    )
    with pytest.raises(UserError, match="no such word-vector file"):
        study_vectors(study, texts)
    file = study / "glove.txt"
    file.write_text("mass 1 2\nyak 3 4\nother 5 6\n")
    vectors, origin = study_vectors(study, texts)
    assert origin == "glove.txt"
    assert {k: v.tolist() for k, v in vectors.items()} == {"mass": [1, 2], "yak": [3, 4]}
    # A changed file and other words are read anew.
    file.write_text("mass 7 8\nyak 3 4\nother 5 6\n")
    os.utime(file, ns=(1, 1))
    assert study_vectors(study, texts)[0]["mass"].tolist() == [7, 8]
    assert list(study_vectors(study, [("other",)])[0]) == ["other"]
