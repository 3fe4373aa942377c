"""The linter finds planted leaks and lets a clean study pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from evaluation.permutation import PatientPermutations
from evaluation.reading_study.leakage_checks import lint, natural_ranks, stops


def clean(n: int = 120, seed: int = 0, per_patient: int = 1) -> pd.DataFrame:
    """A study in which nothing but the texts could tell; every case has its own three texts."""
    rng = np.random.default_rng(seed)
    words = [
        "mass with spiculated margin",
        "grouped calcifications",
        "dense tissue",
        "edge of a mass",
        "vessels",
        "skin",
        "round mass",
    ]
    texts = [
        tuple(f"{w} {rng.integers(100):02d}" for w in rng.choice(words, 3, replace=False))
        for _ in range(n)
    ]
    truth = rng.permutation(np.arange(n) % 2 == 0)
    return pd.DataFrame(
        {
            "case": rng.permutation(n) + 1000,
            "order": np.arange(n),
            "texts": texts,
            "truth": truth,
            "score": rng.random(n),
            "patient": np.arange(n) // per_patient,
        }
    )


def errors(table: pd.DataFrame, **more) -> list[str]:
    return [finding.field for finding in lint(table, **more) if finding.severity == "error"]


def test_clean_studies_pass():
    # About ten tests at .001 each: one study in a hundred is stopped by chance.
    studies = [lint(clean(seed=seed)) for seed in range(40)]
    assert sum(map(stops, studies)) <= 2 and not stops(studies[0])
    assert {"case", "order"} <= {finding.field for finding in studies[0]}
    # Numbers as everywhere else, without a leading zero.
    told = " ".join(finding.finding for finding in studies[0])
    assert "AUC .5" in told and "P = ." in told and " 0." not in told


def test_identifier_sorted_by_truth_stops():
    table = clean()
    table["case"] = np.argsort(
        np.argsort(
            -1.0 * table["truth"].to_numpy() + np.random.default_rng(1).random(len(table)) * 0.8
        )
    )
    found = next(f for f in lint(table) if f.field == "case" and f.severity == "error")
    assert found.auc > 0.9 and found.p < 0.001 and "predicts truth" in found.finding


def test_identifier_that_is_the_networks_rank_stops():
    table = clean()
    table["case"] = table["score"].rank().astype(int)
    assert (
        "case" in errors(table)
        and "network" in next(f for f in lint(table) if f.severity == "error").finding
    )


@pytest.mark.parametrize("plant", ["parity", "category", "prefix", "length", "both ends", "word"])
def test_other_identifier_leaks_stop(plant):
    table, rng = clean(), np.random.default_rng(2)
    truth, n = table["truth"].to_numpy(), len(table)
    named = {
        "parity": 2 * rng.permutation(len(table)) + truth,
        "category": np.where(truth, "B", "A"),
        "prefix": [f"{'k' if t else 'q'}{i}" for t, i in zip(truth, rng.permutation(900))],
        "length": ["x" * (5 + t) + f"{i:03d}" for t, i in zip(truth, rng.permutation(900))],
        "both ends": (
            rng.permutation(n) + np.where(truth, 500, np.where(rng.random(n) < 0.5, 0, 2000))
        ),
        "word": [f"{'cancer' if t else 'case'}_{i}" for t, i in zip(truth, rng.permutation(900))],
    }
    assert "case" in errors(table.assign(case=named[plant]))


@pytest.mark.parametrize("plant", ["sorted", "alternating", "score"])
def test_order_leaks_stop(plant):
    table = clean()
    if plant == "sorted":
        table = table.sort_values("truth")
    elif plant == "score":
        table = table.sort_values("score")
    else:
        table["place"] = table.groupby("truth").cumcount() * 2 + table["truth"]
        table = table.sort_values("place")
    assert "order" in errors(table.assign(order=range(len(table))))


def test_longer_texts_for_malignant_are_a_warning_and_missing_ones_an_error():
    table = clean()
    longer = table.assign(
        texts=[(*t, "and more of it") if m else t for t, m in zip(table["texts"], table["truth"])]
    )
    found = {f.field: f for f in lint(longer) if f.severity == "warning"}
    assert {"number of texts", "length of texts"} <= set(found) and found[
        "length of texts"
    ].p < 0.001
    missing = table.copy()
    missing["texts"] = [() if i == 3 else t for i, t in enumerate(table["texts"])]
    assert "texts" in errors(missing)


def test_warnings_about_texts_patients_arms_labels_readers():
    table = clean(per_patient=2)
    table["texts"] = [("Malignant calcifications", "vessels")] * 100 + [("vessels",)] * 20
    table["arm"] = ["true", "shuffled"] * 60
    findings = lint(table, labels={"unit_0001": "vessels", "unit_0002": "skin"}, annotators=["R1"])
    told = " ".join(f.finding for f in findings if f.severity == "warning")
    for words in (
        "verdict words",
        "distinct texts",
        "one text is shown for 100",
        "dominates",
        "never appear",
        "not in the list",
        "60 patients",
        "more than one arm",
        "R1",
    ):
        assert words in told, words


def test_labels_shown_without_their_verdict_words_are_known():
    table = clean()
    labels = {"unit_0001": "Mass, suspicious", "unit_0002": "Never shown"}
    found = [
        f.finding
        for f in lint(table.assign(texts=[("Mass",)] * len(table)), labels=labels)
        if f.field == "labels"
    ]
    assert len(found) == 1 and "the labels of 1 units never appear" in found[0]


def test_conflicts_one_class_and_missing_columns():
    assert "truth" in errors(clean(), conflicts=2) and "truth" in errors(clean().assign(truth=True))
    with pytest.raises(UserError, match="'case'"):
        lint(clean().drop(columns="case"))
    with pytest.raises(UserError, match="no cases"):
        lint(clean().iloc[:0])


def test_permutation_keeps_patients_together_and_is_uniform_under_the_null():
    patient = np.repeat(["a", "b", "c", "d"], [2, 2, 2, 1])
    tests = PatientPermutations(patient, 1, 500)
    assert (np.sort(tests.rows, axis=1) == np.arange(7)).all() and (tests.rows[:, 6] == 6).all()
    assert (np.abs(np.diff(tests.rows[:, :6].reshape(500, 3, 2), axis=2)) == 1).all()
    rng, low = np.random.default_rng(0), 0
    for seed in range(100):
        truth = np.repeat(rng.random(30) < 0.5, 2)
        p = (
            PatientPermutations(np.repeat(np.arange(30), 2), seed, 199)
            .ordered(np.repeat(rng.normal(size=30), 2), truth)
            .p
        )
        low += p is not None and p <= 0.05
    assert low <= 12


def test_natural_order():
    assert natural_ranks(pd.Series(["case 10", "case 9", "case 100"])).tolist() == [1, 0, 2]


def test_one_truth_a_patient_is_exchanged_between_patients_of_any_size():
    patient = np.repeat(["a", "b", "c"], [1, 2, 3])
    tests = PatientPermutations(patient, 1, 300)
    whole = tests.truths(patient == "c")
    assert set(whole.sum(axis=1)) == {1, 2, 3} and all(
        len(set(row[1:3])) == 1 and len(set(row[3:])) == 1 for row in whole
    )
    mixed = tests.truths(np.array([1, 1, 0, 1, 1, 0], dtype=bool))
    assert (mixed.sum(axis=1) == 4).all()


def test_verdict_words_are_those_shown_with_their_cases() -> None:
    texts = (
        [("Normal tissue", "Mass")] * 30
        + [("Probably benign mass",)]
        + [("Suspicious mass", "Abnormal vessel")] * 12
    )
    cases = pd.DataFrame(
        {
            "case": range(101, 144),
            "texts": texts,
            "truth": [i % 2 == 0 for i in range(43)],
            "patient": range(43),
        }
    )
    labels = {
        str(i): text
        for i, text in enumerate(
            (
                "Normal tissue",
                "Mass",
                "Mass, suspicious",
                "Probably benign mass",
                "Suspicious mass",
                "Abnormal vessel",
            )
        )
    }
    found = next(f for f in lint(cases, labels=labels) if "verdict words" in f.finding)
    assert (
        "the texts of 13 of 43 cases" in found.finding and "'benign' in case 131" in found.finding
    )
    assert (
        "'suspicious' in cases 132, 133, 134, 135, 136, 137, 138, 139 and 4 more" in found.finding
        and "'normal'" not in found.finding
    )
    stripped = cases.assign(
        texts=[("Normal tissue", "Mass")] * 43
    )  # verdict words of the labels that are not shown do not count
    assert not [f for f in lint(stripped, labels=labels) if "verdict words" in f.finding]
