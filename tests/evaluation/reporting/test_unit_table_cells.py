"""Cells of the tables of units, written down for differing numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.store.labels.label_sets import DEFAULT_SET
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.tables import units
from support.score_parts import bounds
from support.table_parts import formats, headings, replace_inputs

STUDY = Path("study")


def unit_row(unit: int, label: str, state: str) -> dict[str, Any]:
    numbers = {
        name: unit * 10 + i
        for i, name in enumerate(
            ("rank", "count", "images", "share", "top_patients", *MAMMOGRAPHY.names)
        )
    }
    texts = {"name": f"n{unit}", "classes": ["benign", "x"], "layer": f"layer{unit}"}
    return texts | numbers | {"unit": unit, "label": label, "state": state}


def test_selected_units(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(
        [unit_row(1, "mass", "agreed"), unit_row(2, "", ""), unit_row(3, "x", "y")]
    )
    replace_inputs(
        monkeypatch,
        units,
        selected_units=lambda *given: frame if given == (STUDY, "dissect-1") else None,
        states_sentence=lambda states: f"States {','.join(states)}.",
    )

    def answer(code: str, unit: int, label: str, **changes: Any) -> dict[str, Any]:
        shown = {"label": label, "recognisable": "no"}
        row = {"code": code, "unit": unit, "answer": shown, "practice": False, "repeat": False}
        return row | changes

    annotations = [
        pd.DataFrame(
            [
                answer("A2", 1, "mass"),
                answer("A1", 1, ""),
                answer("A3", 1, "practised", practice=True),
                answer("A4", 1, "again", repeat=True),
                answer("A1", 3, "skin"),
            ]
        )
    ]
    monkeypatch.setattr(
        units.annotation_table, "load_annotations", lambda con, run: annotations[-1]
    )
    table = units.build_unit_table(STUDY)
    assert table.rows == [
        (
            *(f"n{u}", "benign, x", 10 * u, 10 * u + 1, 10 * u + 2, 10 * u + 3, f"layer{u}"),
            *(10 * u + 4, 10 * u + 7, 10 * u + 6, 10 * u + 5, label, state, given),
        )
        for u, label, state, given in (
            (1, "mass", "agreed", "A1: no; A2: mass"),
            (2, "", "", ""),
            (3, "x", "y", "A1: skin"),
        )
    ]
    assert headings(table) == [
        *("Unit", "Selected for", "Rank", "Among top 8 of", "Mammograms", "Share", "Layer"),
        *("Patients of top 32", "Top 8 malignant", "Top 8 benign", "Top 8 normal"),
        *("Label*", "State", "Answers*"),
    ]
    assert formats(table)[4:7] == ["0.125", "12.5 %", "0.125"]
    assert table.counts == {"units": 3, "labelled": 2}
    assert table.note == (
        "Units selected for a class (a unit may be selected for several)."
        f" Set {DEFAULT_SET}. States agreed,y."
    )
    annotations.append(pd.DataFrame())
    assert [row[-1] for row in units.build_unit_table(STUDY).rows] == ["", "", ""]


def test_texts_of_the_coverage_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (code, name, code / 10 + i / 100, 0.5, 0.6, f"method {name}", 40 + code)
        for code in (0, 2, 1)
        for i, name in enumerate(("selected", "split_half", "interval", "chance"))
    ]
    columns = ["class", "name", "estimate", "low", "high", "method", "n"]
    replace_inputs(monkeypatch, units)
    frame = pd.DataFrame(rows, columns=columns)
    monkeypatch.setattr(units.unit_table, "load_coverage", lambda con, run: frame)
    monkeypatch.setattr(
        units.unit_summaries,
        "labelled_coverage_by_class",
        lambda study, run: {code: (code / 1000, 7, 8) for code in (0, 1, 2)},
    )
    table = units.build_coverage_table(STUDY)
    assert table.rows == [
        (
            *(MAMMOGRAPHY.names[code], 40 + code, code / 10, pytest.approx(code / 10 + 0.01)),
            *(0.5, 0.6, code / 1000, pytest.approx(code / 10 + 0.03)),
        )
        for code in (2, 1, 0)
    ]
    assert headings(table) == [
        "Class*",
        "Mammograms",
        "Selected",
        "Split half±",
        "Labelled",
        "Chance",
    ]
    assert formats(table) == ["0.125", "0.125", *["12.5 %"] * 4]
    assert table.counts == {"mammograms": 42} and table.method == "method interval"
    assert table.note.endswith("units that carry a label. Note of dissect-1.")


def test_categories_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(
        [("b", "Mass", "confirmed", 1), ("b", "Mass", "proposed", 2), ("a", "Skin", "proposed", 4)],
        columns=["network", "category", "state", "unit"],
    )
    replace_inputs(
        monkeypatch,
        units,
        labelled_units_of_networks=lambda study: frame,
        study_lexicon=lambda study: SimpleNamespace(name="BI-RADS"),
    )
    monkeypatch.setattr(
        units.unit_summaries, "category_order", lambda given, lexicon: ["Skin", "Mass"]
    )
    table = units.build_category_table(STUDY)
    mark = units.unit_summaries.PROPOSED_MARK
    assert table.rows == [
        ("Skin", 0, "", 1, f"unit_0005{mark}"),
        ("Mass", 2, f"unit_0002, unit_0003{mark}", 0, ""),
        ("Distinct units", 2, "", 1, ""),
    ]
    assert headings(table) == ["Category*", "b", "b: units*", "a", "a: units*"]
    assert table.counts == {"networks": 2, "units": 3}
    assert table.note.startswith(
        "Labelled units by BI-RADS category. A unit with several phenomena"
    )


def test_agreement_and_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates = [
        SimpleNamespace(name="mass", n=7, **vars(bounds(11))),
        SimpleNamespace(name="type", n=8, **vars(bounds(12, "few"))),
    ]
    replace_inputs(monkeypatch, units, annotator_agreement=lambda study: (estimates, 3))
    table = units.build_agreement_table(STUDY)
    assert table.rows == [
        ("mass", 0.115, 0.111, 0.119, 7, "method 11", ""),
        ("type", 0.125, 0.121, 0.129, 8, "method 12", "few"),
    ]
    assert headings(table) == ["Statistic*", "Agreement±", "n", "Method*", "Remark*"]
    assert formats(table)[1] == ".125" and table.counts == {"annotators": 3}
    assert table.note.startswith("3 annotators who have finished, first answers; practice units")

    def similarity(k: int) -> SimpleNamespace:
        result = SimpleNamespace(
            mean=bounds(k),
            baseline=k + 0.1,
            p_greater=k + 0.2,
            pairs=k + 3,
            undefined=k + 4,
            oov_reference=k + 0.5,
            oov_hypothesis=k + 0.6,
        )
        return SimpleNamespace(
            selection=f"s{k}",
            measure=f"m{k}",
            result=result,
            published=k + 0.7,
            vectors=f"v{k}",
            sentence=lambda: f"Sentence {k}.",
        )

    found = [[similarity(21), similarity(31)]]
    monkeypatch.setattr(units, "measure_report_similarity", lambda study, run: found[-1])
    table = units.build_similarity_table(STUDY)
    assert table.rows == [
        (
            *(f"s{k}", f"m{k}", bounds(k).estimate, bounds(k).low, bounds(k).high, k + 0.1),
            *(k + 0.2, k + 3, k + 4, k + 0.5, k + 0.6, k + 0.7),
        )
        for k in (21, 31)
    ]
    assert headings(table) == [
        *("Words*", "Measure*", "Mean±", "Permuted", "P", "Pairs", "Undefined"),
        *("Unknown in reports", "Unknown in explanations", "Published v1"),
    ]
    assert formats(table, 0.0004)[2:] == [
        *(".000", ".000", "< .001", "0.0004", "0.0004", "0.0 %", "0.0 %", ".000")
    ]
    assert table.counts == {"explanations": 24} and table.method == "Sentence 21."
    assert table.note.startswith("Word vectors: v21. Permuted: reports exchanged between patients.")
    found.append([])
    with pytest.raises(MissingInput) as error:
        units.build_similarity_table(STUDY)
    assert (error.value.step, error.value.command) == ("Annotation", "deepminer invite annotator")
