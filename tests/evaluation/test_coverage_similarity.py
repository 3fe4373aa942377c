"""Unit coverage with its companions, and similarity of explanations to reports."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from evaluation.coverage import (
    coverage_curve,
    coverage_interval,
    coverage_of,
    held_out_coverage,
    labelled_coverage,
    split_half_coverage,
    top_units,
    unit_coverage,
)
from evaluation.similarity import (
    concept_f1,
    concepts,
    corpus_similarity,
    greedy_matching,
    report_tokens,
)
from evaluation.similarity.word_vectors import load_vectors, own_vectors


def test_reference_coverage(reference):
    file = reference("unit_coverage")
    for case in file["cases"]:
        inputs, e = case.get("inputs"), case["expected"]
        got = unit_coverage(
            file["inputs"]["max_activation"],
            file["inputs"]["class_weight"],
            inputs["top"],
            inputs["n_select"],
        )
        for key, part in e["per_class"].items():
            ours = got.per_class[int(key)]
            assert [unit + 1 for unit in ours.selected] == part["selected_units_1based"] and list(
                ours.counts
            ) == part["counts"]
            assert ours.coverage_percent == pytest.approx(part["coverage_percent"], abs=1e-9)
        assert [unit + 1 for unit in got.union] == e["union"] and len(got.union) == e["union_size"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_coverage_by_counting(seed):
    rng = np.random.default_rng(seed)
    activations, weights = (
        rng.integers(0, 4, (9, 12)).astype(float),
        rng.integers(-2, 3, (2, 12)).astype(float),
    )
    got = unit_coverage(activations, weights, top=3, select=4)
    for c in range(2):
        counter = Counter()
        for image in activations:
            influence = image * weights[c]
            counter.update(sorted(range(12), key=lambda u: (-influence[u], u))[:3])
        chosen = sorted(counter, key=lambda u: (-counter[u], u))[:4]
        assert got.per_class[c].selected == tuple(chosen)
        assert got.per_class[c].coverage == pytest.approx(sum(counter[u] for u in chosen) / 27)


def noise_tops(images: int = 60, units: int = 200):
    rng = np.random.default_rng(0)
    return (
        top_units(rng.random((images, units)), rng.random((2, units)), 8),
        units,
        np.repeat(np.arange(images // 2), 2),
    )


def test_split_half_shows_the_optimism():
    tops, units, patients = noise_tops()
    optimistic = coverage_of(tops, units).per_class[0].coverage
    honest = split_half_coverage(tops, patients, units)[0]
    assert honest.estimate < optimistic and honest.low <= honest.estimate <= honest.high
    whole = held_out_coverage(tops, tops, units)
    assert whole[0] == pytest.approx(optimistic)


def test_coverage_interval_curve_and_labels():
    tops, units, patients = noise_tops()
    plain = coverage_of(tops, units)
    interval = coverage_interval(tops, patients, units)[0]
    # Selecting anew in each resample adds optimism: the interval may lie above the estimate but
    # never far from it.
    assert (
        interval.estimate == plain.per_class[0].coverage
        and abs(interval.low - interval.estimate) < 0.15
    )
    curve = coverage_curve(tops, units, 30)
    assert (
        curve[0, 19] == pytest.approx(plain.per_class[0].coverage)
        and (np.diff(curve, axis=1) >= 0).all()
    )
    selected = plain.per_class[0].selected
    assert labelled_coverage(tops[0], selected, selected) == pytest.approx(
        plain.per_class[0].coverage
    )
    assert (
        labelled_coverage(tops[0], selected, []) == 0
        and plain.per_class[0].chance == 0.1
        and "%" in plain.sentence()
    )


def test_coverage_degenerate():
    empty = unit_coverage(np.empty((0, 30)), np.ones((1, 30)))
    assert (
        empty.per_class[0].coverage is None
        and empty.per_class[0].reason
        and "not estimable" in empty.sentence()
    )
    tops, units, _ = noise_tops()
    one = ["a"] * 60
    assert (
        split_half_coverage(tops, one, units)[0].reason
        and coverage_interval(tops, one, units)[0].reason
    )
    everything = coverage_interval(tops, ["a", "b"] * 30, units, select=units)[0]
    assert (
        everything.estimate == 1
        and everything.low is None
        and everything.reason == "every resample gives the same share"
    )
    for wrong in (
        lambda: unit_coverage(np.ones((2, 5)), np.ones((1, 4))),
        lambda: unit_coverage(np.ones((2, 5)), np.ones((1, 5))),
        lambda: unit_coverage(np.full((2, 9), np.nan), np.ones((1, 9))),
        lambda: coverage_of(tops, units, 0),
    ):
        with pytest.raises(ValueError):
            wrong()


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


def test_matching_is_symmetric_and_undefined_when_empty():
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


def test_concepts_join_the_experts_words_with_the_reports():
    assert concepts(report_tokens("Calcified vessels")) == {"calcification", "vascular"}
    assert concepts(report_tokens("Edge of the mass, speculations associated with cancer")) == {
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


def test_permuted_baseline_tells_agreement_from_chance():
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
    for words in (vectors, None):
        told = corpus_similarity(reports, reports, patients, words, permutations=100)
        assert (
            told.mean.estimate == pytest.approx(1)
            and told.baseline < 0.8
            and told.p_greater == pytest.approx(1 / 101)
        )
        silent = corpus_similarity(
            reports, [lines[k] for k in rng.integers(0, 4, 60)], patients, words, permutations=100
        )
        assert silent.p_greater > 0.02 and "permuted" in silent.sentence()
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
    for name, words in damaged:
        with pytest.raises(UserError, match=words):
            load_vectors(tmp_path / name)
    with pytest.raises(UserError, match="none of the study's words"):
        load_vectors(tmp_path / "glove.txt", ["zebra"])
