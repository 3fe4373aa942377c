"""Similarity of explanations to reports: greedy matching, concepts, corpus and word vectors."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from core.errors import UserError
from evaluation.similarity import (
    concept_f1,
    corpus_similarity,
    greedy_matching,
    named_concepts,
    report_tokens,
)
from evaluation.similarity.word_vectors import load_vectors, own_vectors


def test_reference_greedy_matching(reference):
    file = reference("greedy_matching")
    vectors = file["toy_embedding"]
    for case in file["cases"]:
        i, e = case["inputs"], case["expected"]
        got = greedy_matching(
            i["reference_tokens"],
            i["hypothesis_tokens"],
            vectors,
            "mean" if i["oov"] == "unk_mean" else "skip",
        )
        for key, name in (
            ("score", "score"),
            ("dir_hyp_to_ref", "hypothesis_to_reference"),
            ("dir_ref_to_hyp", "reference_to_hypothesis"),
            ("oov_ref", "oov_reference"),
            ("oov_hyp", "oov_hypothesis"),
        ):
            value = getattr(got, name)
            if e[key] is None:
                assert value is None and got.reason
            else:
                assert value == pytest.approx(e[key], abs=1e-9), (case["name"], key)
    for line in file["tokenisation"]:
        assert list(report_tokens(line["raw"])) == line["proposed_tokens"]


def test_matching_is_symmetric_and_undefined_for_empty_texts():
    vectors = own_vectors(
        [report_tokens("mass spiculated"), report_tokens("calcification pleomorphic clustered")]
    )
    a, b = ("mass", "spiculated"), ("calcification", "clustered", "mass")
    one, other = greedy_matching(a, b, vectors), greedy_matching(b, a, vectors)
    assert one.score == pytest.approx(other.score) and one.reference_to_hypothesis == pytest.approx(
        other.hypothesis_to_reference
    )
    for left, right in (((), a), (a, ()), ((), ())):
        got = greedy_matching(left, right, vectors)
        assert got.score is None and "no words" in got.reason and "not estimable" in got.sentence()
    assert greedy_matching(a, a, {}).score is None
    with pytest.raises(ValueError, match="oov"):
        greedy_matching(a, b, vectors, "zero")


def test_concepts_merge_synonyms():
    assert named_concepts(report_tokens("Calcified vessels")) == {"calcification", "vascular"}
    assert named_concepts(
        report_tokens("Edge of the mass, speculations associated with cancer")
    ) == {
        "mass",
        "spiculated",
    }
    got = concept_f1(
        report_tokens("LESION_TYPE MASS SHAPE IRREGULAR MARGINS SPICULATED"),
        report_tokens("masses with spiculation"),
    )
    assert (got.precision, got.recall) == (1, 2 / 3) and got.f1 == pytest.approx(0.8)
    assert (
        concept_f1((), ("mass",)).f1 is None
        and "no known concept" in concept_f1((), ("mass",)).reason
    )


def test_permuted_baseline_separates_agreement_from_chance():
    lines = [
        report_tokens(t)
        for t in (
            "mass spiculated",
            "calcification pleomorphic",
            "normal breast",
            "calcification vascular",
        )
    ]
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 4, 60)
    reports, patients = [lines[k] for k in kinds], np.repeat(np.arange(30), 2)
    vectors = own_vectors(reports)
    for measure in (vectors, None):
        matching = corpus_similarity(reports, reports, patients, measure, permutations=100)
        assert (
            matching.mean.estimate == pytest.approx(1)
            and matching.baseline < 0.8
            and matching.p_greater == pytest.approx(1 / 101)
        )
        unrelated = corpus_similarity(
            reports, [lines[k] for k in rng.integers(0, 4, 60)], patients, measure, permutations=100
        )
        assert unrelated.p_greater > 0.02 and "permuted" in unrelated.sentence()
    assert (
        corpus_similarity([()], [()], [1], vectors).reason
        and corpus_similarity([()] * 2, [()] * 2, [1, 2], None).undefined == 2
    )
    with pytest.raises(ValueError, match="reports for"):
        corpus_similarity([()], [], [1], vectors)


def test_vector_files(tmp_path):
    (tmp_path / "glove.txt").write_text("mass 1 0\nmasses 0.9 0.1\nother 0 1\n")
    (tmp_path / "w2v.txt").write_text("2 2\nmass 1 0\nother 0 1\n")
    (tmp_path / "w2v.bin").write_bytes(
        b"2 2\nmass " + struct.pack("<2f", 1, 0) + b"\nother " + struct.pack("<2f", 0, 1)
    )
    for name in ("glove.txt", "w2v.txt", "w2v.bin"):
        assert load_vectors(tmp_path / name, ["mass"])["mass"].tolist() == [1, 0]
    (tmp_path / "short.txt").write_text("mass 1 0\nother 1\n")
    (tmp_path / "word.txt").write_text("mass 1 x\n")
    (tmp_path / "cut.bin").write_bytes(b"2 2\nmass " + struct.pack("<2f", 1, 0) + b"\noth")
    (tmp_path / "no.bin").write_bytes(b"hello world\n")
    (tmp_path / "endless.txt").write_text("mass 1 0\nother nan 1\n")
    (tmp_path / "prose.txt").write_text("mass\nother\n")
    damaged = (
        ("short.txt", "line 2"),
        ("word.txt", "line 1"),
        ("endless.txt", "line 2: a value is not finite"),
        ("prose.txt", "line 1"),
        ("cut.bin", "cut off"),
        ("no.bin", "first line"),
        ("absent.txt", "no such"),
    )
    for name, message in damaged:
        with pytest.raises(UserError, match=message):
            load_vectors(tmp_path / name)
    with pytest.raises(UserError, match="none of the study's words"):
        load_vectors(tmp_path / "glove.txt", ["zebra"])


def test_counts_and_p_value_of_a_corpus_by_hand():
    """Three of five pairs have a score; a patient's reports replace another patient's whole."""
    mass, skin = report_tokens("mass spiculated"), report_tokens("skin")
    reports = [mass, mass, skin, (), mass]
    texts = [mass, skin, skin, mass, ()]
    vectors = own_vectors([mass, skin])
    result = corpus_similarity(reports, texts, list("aabbc"), vectors, permutations=60)
    assert (result.pairs, result.undefined) == (3, 2)
    own = [greedy_matching(reports[i], texts[i], vectors).score for i in (0, 1, 2)]
    assert result.mean.estimate == pytest.approx(np.mean(own))
    # P counts the permutations that reach the mean, and the observed order as one of them.
    reached = result.p_greater * 61
    assert reached == pytest.approx(round(reached)) and 1 <= round(reached) < 61
    assert 0 < result.baseline < 1
