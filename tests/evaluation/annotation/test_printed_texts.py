"""Texts of explanations by unit and by group, and what labels are compared with, by hand."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.annotation import association_queries, group_measures, machine_names
from evaluation.reading_study import Design
from evaluation.reading_study.text_information import text_baselines
from evaluation.resampling import clustered_mean

STUDY = Path("study")
CLASSES = ("normal", "benign", "malignant")
LABELS = {1: "Mass, suspicious", 2: "Skin", 3: "Skin", 4: "Node", 5: "Vessel", 6: "Duct", 7: "Gas"}


@pytest.fixture(autouse=True)
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study itself stands for its connection."""
    monkeypatch.setattr(group_measures.store, "read", lambda study: nullcontext(study))


def cases_of(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    columns = ["mammogram_id", "patient_id", "predicted", "any_malignant"]
    return pd.DataFrame(rows, columns=columns).assign(split="holdout")


def ranking_of(*rows: tuple[str, int, int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["mammogram_id", "class", "unit", "rank", "influence"])


def test_labels_that_an_explanation_prints() -> None:
    cases = cases_of(("m1", "p1", "malignant", "malignant"), ("m2", "p2", "benign", "benign"))
    units = [9, 2, 3, 1, 4, 5, 6, 7]
    ranking = ranking_of(
        *(("m1", 2, unit, rank, 1.0) for rank, unit in enumerate(units, start=1)),
        ("m1", 1, 7, 1, 1.0),
        ("m2", 2, 7, 1, 1.0),
    )
    # Five labels; the word for malignancy stays; the units of another class do not count.
    plain = group_measures._printed_labels(cases, CLASSES, ranking, LABELS, merged=False)
    assert plain == [("Skin", "Skin", "Mass, suspicious", "Node", "Vessel"), ()]
    merged = group_measures._printed_labels(cases, CLASSES, ranking, LABELS, merged=True)
    assert merged == [("Skin", "Mass, suspicious", "Node", "Vessel", "Duct"), ()]


def test_variety_of_texts() -> None:
    cases = cases_of(
        ("m1", "p1", "malignant", "malignant"),
        ("m2", "p1", "benign", "benign"),
        ("m3", "p2", "benign", "malignant"),
        ("m4", "p3", "benign", "benign"),
        ("m5", "p4", "benign", "normal"),
    )
    texts = [("A", "B"), ("A", "A", "B"), ("C",), ("A", "B"), ("A", "B", "C", "D")]
    found = group_measures._text_variety(cases, texts, Design())
    counts = np.array([2.0, 2, 1, 2, 4])
    assert found.per_case == clustered_mean(counts, cases["patient_id"])
    assert (found.distinct, found.cases) == (4, 5)
    # The normal mammogram has no finding.
    truth = np.array([True, False, True, False])
    assert found.baselines == text_baselines(texts[:4], truth, cases["patient_id"][:4])
    assert found.baselines.n == 4
    for rows in ([0, 2, 4], [1, 3], [0, 1], [4]):
        some = group_measures._text_variety(cases.iloc[rows], [texts[r] for r in rows], Design())
        assert some.baselines is None and some.cases == len(rows)


def variety(estimate: float | None) -> Any:
    return SimpleNamespace(per_case=SimpleNamespace(estimate=estimate))


def test_ratio_of_distinct_texts() -> None:
    assert group_measures._ratio((variety(2.0), variety(3.0))) == 1.5
    assert group_measures._ratio(None) is None
    for first, second in ((None, 3.0), (0.0, 3.0), (2.0, None)):
        assert group_measures._ratio((variety(first), variety(second))) is None
    assert group_measures._ratio((variety(2.0), variety(0.0))) == 0


def test_texts_by_unit_and_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of rank 9 and more are printed by group, and only with a positive influence."""
    cases = cases_of(
        ("m1", "p1", "malignant", "malignant"),
        ("m2", "p2", "malignant", "benign"),
        ("m3", "p3", "malignant", "benign"),
        ("m4", "p4", "malignant", "benign"),
    )
    cases.loc[3, "split"] = "test"
    ranking = ranking_of(
        ("m1", 2, 2, 1, -1.0),
        ("m1", 2, 3, 8, -1.0),
        ("m1", 2, 4, 9, 0.25),
        ("m1", 2, 5, 10, 0.0),
        ("m2", 2, 6, 9, 0.5),
        ("m3", 2, 6, 9, -0.5),
        ("m4", 2, 6, 1, 0.5),
    )
    states = {unit: SimpleNamespace(text=text) for unit, text in LABELS.items()}
    labels = [states]
    design = Design(split="holdout")
    asked = []

    def returned(**values: Any) -> Any:
        return lambda *named: values[str(named[1])]

    monkeypatch.setattr(group_measures, "load_order_of_experts", lambda study: "order")
    monkeypatch.setattr(
        group_measures.run_table,
        "ancestor",
        lambda con, run, kind: {("e", "dissect"): "d"}[run, kind],
    )
    monkeypatch.setattr(
        group_measures.run_table, "run_classes", returned(e=SimpleNamespace(names=CLASSES))
    )
    monkeypatch.setattr(
        group_measures.label_states,
        "unit_labels",
        lambda con, run, order: {("d", "order"): labels[0]}[run, order],
    )
    monkeypatch.setattr(
        group_measures.unit_table,
        "load_top_influences",
        lambda con, run, top: asked.append((run, top)) or ranking,
    )
    monkeypatch.setattr(
        group_measures, "study_design", lambda study, run, planned: asked.append(planned) or design
    )
    monkeypatch.setattr(
        group_measures, "candidate_images", lambda study, run, chosen: {"e": cases}[run]
    )
    monkeypatch.setattr(
        group_measures, "_text_variety", lambda cases, texts, design: (list(cases.index), texts)
    )
    by_unit, by_group = group_measures._text_varieties(STUDY, "e")
    assert asked == [("e", group_measures.STORED_UNITS_BY_GROUPS), Design(split="holdout")]
    # m3 has no text by group and is left out on both sides; m2 has none by unit.
    assert by_unit == ([0, 1], [("Skin", "Skin"), ()])
    assert by_group == ([0, 1], [("Skin", "Node"), ("Duct",)])
    labels[0] = {}
    assert group_measures._text_varieties(STUDY, "e") is None


def test_machine_names_beside_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    def label(text: str, simulated: bool = False) -> Any:
        return SimpleNamespace(text=text, annotation_ids=(text,), simulated=simulated)

    states = {
        1: SimpleNamespace(label=label("mass"), counts=True),
        2: SimpleNamespace(label=label("odd"), counts=True),
        3: SimpleNamespace(label=None, counts=True),
        4: SimpleNamespace(label=label("mass", True), counts=False),
        5: SimpleNamespace(label=label("mass"), counts=True),
        6: SimpleNamespace(label=label("mass"), counts=True),
    }
    names = {
        unit: SimpleNamespace(word=word, named=named)
        for unit, word, named in ((1, "mass", True), (2, "skin", False), (3, "x", True))
    } | {4: SimpleNamespace(word="mass", named=True), 6: SimpleNamespace(word="m", named=True)}
    given: list[Any] = [names]
    known = {"mass": ("mass", "skin"), "m": ("skin",)}
    asked = []

    def categories(con: Any, run: str, texts: list[Any]) -> list[Any]:
        asked.append(texts)
        return [SimpleNamespace(names=known.get(text, ())) for _, text, _ in texts]

    monkeypatch.setattr(machine_names, "load_order_of_experts", lambda study: "order")
    monkeypatch.setattr(
        machine_names.machine_names, "load_machine_names", lambda con, run: given[0]
    )
    monkeypatch.setattr(
        machine_names.label_states,
        "unit_states",
        lambda con, run, order: {("d", "order"): states}[run, order],
    )
    # Unit 6 is a copy of another one; unit 5 has no machine answer.
    monkeypatch.setattr(
        machine_names.group_table, "annotated_groups", lambda con, run: [1, 2, 3, 4, 5]
    )
    monkeypatch.setattr(machine_names, "text_categories", categories)
    pairs = []
    monkeypatch.setattr(
        machine_names,
        "agreement_of_pairs",
        lambda found, simulated: pairs.append((found, simulated)),
    )
    machine_names.machine_agreement(STUDY, "d")
    assert asked == [
        [(1, "mass", ("mass",)), (2, "odd", ("odd",))],
        [(1, "mass", ()), (3, "x", ())],
    ]
    other = "words without a category"
    assert pairs == [([("mass", "mass"), (other, "nothing"), ("nothing", other)], False)]
    states[2].label.simulated = True
    machine_names.machine_agreement(STUDY, "d")
    assert pairs[1][1] is True
    given[0] = None
    assert machine_names.machine_agreement(STUDY, "d") is None and len(pairs) == 2


ASSOCIATED = pd.DataFrame(
    [
        (1, "spiculated", "other findings", 0.2, 0.7, 0.01),
        (1, "round", "other findings", 0.4, 0.6, 0.02),
        (1, "dense", "patches", 0.9, 0.5, 0.03),
        (0, "round", "other findings", 0.1, None, 0.04),
        (0, "dense", "patches", 0.8, 0.9, 0.05),
    ],
    columns=["unit", "descriptor", "contrast", "iou", "auc", "p_adjusted"],
)


def test_descriptors_of_units(monkeypatch: pytest.MonkeyPatch) -> None:
    latest: list[str | None] = ["a-1"]
    monkeypatch.setattr(
        association_queries.run_table,
        "latest_run",
        lambda con, kind, run: {(STUDY, "descriptor_association", "d"): latest[0]}[con, kind, run],
    )
    monkeypatch.setattr(
        association_queries.unit_table,
        "load_descriptor_associations",
        lambda con, run, unit=None: {
            ("a-1", None): ASSOCIATED,
            ("a-1", 1): ASSOCIATED[ASSOCIATED["unit"] == 1].assign(auc=[0.6, None, 0.8]),
        }[run, unit],
    )
    monkeypatch.setattr(
        association_queries.unit_table, "load_measured_descriptors", lambda con, run: [run, "x"]
    )
    found = association_queries.overlap_by_unit(STUDY, "d")
    assert found[["unit", "descriptor", "iou", "p_adjusted"]].to_numpy().tolist() == [
        [0, "round", 0.1, 0.04],
        [1, "round", 0.4, 0.02],
    ]
    assert list(found.columns) == ["unit", "descriptor", "iou", "auc", "p_adjusted"]
    found = association_queries.overlap_by_unit(STUDY, "d", "dense")
    assert found["iou"].tolist() == [0.8, 0.9] and found.index.tolist() == [0, 1]
    ordered = association_queries.unit_associations(STUDY, "d", 1)
    # A descriptor without an AUC comes last.
    assert ordered["descriptor"].tolist() == ["dense", "spiculated", "round"]
    assert ordered.index.tolist() == [0, 1, 2]
    assert association_queries.list_descriptors(STUDY, "d") == ["a-1", "x"]
    latest[0] = None
    assert association_queries.list_descriptors(STUDY, "d") == []
    assert list(association_queries.unit_associations(STUDY, "d", 1)) == ["descriptor", "auc"]
    empty = association_queries.overlap_by_unit(STUDY, "d")
    assert list(empty) == ["unit", "descriptor", "iou", "auc"] and empty.empty
    assert empty["unit"].dtype == int
    assert association_queries.label_checks(STUDY, "d") == {}


def test_checks_of_the_labels_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {
        4: SimpleNamespace(text="Mass", annotation_ids=("a", "gone", "b")),
        7: SimpleNamespace(text="Skin", annotation_ids=("c",)),
    }
    annotations = pd.DataFrame(
        {"annotation_id": ["a", "b", "c", "d"], "answer": ["A", "B", "C", "D"]}
    )
    queries = association_queries
    monkeypatch.setattr(queries, "association_run", lambda study, dissect: "a-1")
    monkeypatch.setattr(queries, "load_order_of_experts", lambda study: "order")
    monkeypatch.setattr(
        queries.label_states,
        "unit_labels",
        lambda con, run, order: {("d", "order"): labels}[run, order],
    )
    monkeypatch.setattr(
        queries.annotation_table,
        "load_annotations",
        lambda con, run, *, versions: {("d", True): annotations}[run, versions],
    )
    monkeypatch.setattr(
        queries.unit_table, "load_descriptor_associations", lambda con, run: f"table of {run}"
    )
    monkeypatch.setattr(queries.dataset_table, "load_lexicon", lambda con: "lexicon")
    monkeypatch.setattr(queries, "phenomena_in_label", lambda *named: named)
    monkeypatch.setattr(queries, "check_label", lambda *named: named)
    expected = {
        4: ("table of a-1", 4, "Mass", {"phenomena": ("Mass", ["A", "B"], "lexicon")}),
        7: ("table of a-1", 7, "Skin", {"phenomena": ("Skin", ["C"], "lexicon")}),
    }
    assert queries.label_checks(STUDY, "d") == expected
    assert queries.label_checks(STUDY, "d", [7, 9]) == {7: expected[7]}
    assert queries.label_checks(STUDY, "d", []) == {}
