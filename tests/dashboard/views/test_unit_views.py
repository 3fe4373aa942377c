"""What the parts of the Units page render and do, as a whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.lexicon.birads_categories import BIRADS
from core.store.labels import group_table
from dashboard.ui import unit_charts
from dashboard.views import flash_messages
from dashboard.views.units import (
    comparison,
    coverage,
    facts,
    faithfulness,
    groups,
    names,
    similar,
)
from support.page_transcript import Stopped, expected_lines, render_into
from support.unit_parts import CLASS_NAMES, CURVES, RUN, render_unit_parts


def test_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, comparison)
    pair = SimpleNamespace(
        split="holdout", similarity=0.654, patches=1234, correlation=0.321, shared=5, top=32
    )
    table = pd.DataFrame({"unit": [4], "label": ["Mass"]})
    page.queries |= {
        ("compare_units", RUN, 4, 8): pair,
        ("selected_units", RUN, "influence"): table,
        ("unit_details", RUN, 4): {"largest": 8},
        ("unit_details", RUN, 8): {"largest": 4},
        ("activation_curves", RUN, 4): CURVES,
        ("activation_curves", RUN, 8): CURVES,
    }
    page.replace(unit_charts, "activation_figure", result="figure")
    comparison.render_comparison(RUN, 4, 8)
    assert page.take() == expected_lines("units", "comparison")
    page.query_params |= {"unit": "unit_0005", "with": "unit_0009"}
    page.answers["← unit_0005"] = True
    comparison.render_comparison(RUN, 4, 8)
    assert page.query_params == {"unit": "unit_0005"}
    page.query_params["with"] = "unit_0009"
    page.answers = {"Open unit_0009": True}
    comparison.render_comparison(RUN, 4, 8)
    assert page.query_params == {"unit": "unit_0009"}


def coverage_rows() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "images": 30 + code,
            "curve": np.array([0.1, 0.25, 0.5]) * (1 + code / 4),
            "selected": 0.71 + code / 100,
            "split_half": 0.61 + code / 100,
            "low": 0.51 + code / 100,
            "high": 0.66 + code / 100,
            "held_out": None if code == 0 else 0.41,
            "held_out_images": 25,
            "labelled": 0.31 + code / 100,
            "chance": 0.01 + code / 100,
        }
        for code, name in CLASS_NAMES.items()
    ]


def test_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, coverage)
    page.queries |= {
        ("coverage_summary", RUN): coverage_rows(),
        ("labelled_units_by_category", RUN): pd.DataFrame(
            {
                "unit": [4, 8],
                "category": ["Mass", "Asymmetry"],
                "state": ["proposed", "confirmed"],
                "label": ["<Round>", "Focal"],
                "classes": [["benign", "malignant"], []],
            }
        ),
        ("_label_verdicts", RUN): {4: "supported & known"},
        ("category_cross_table",): pd.DataFrame({"vgg16": ["<2>"], "small": [1]}, index=["Mass"]),
        ("load_lexicon",): BIRADS,
    }
    coverage.render_coverage(RUN)
    assert page.take() == expected_lines("units", "coverage")
    page.queries["labelled_units_by_category", RUN] = pd.DataFrame()
    page.queries["category_cross_table",] = pd.DataFrame()
    coverage.render_coverage(RUN)
    assert page.take()[-2:] == expected_lines("units", "coverage without labels")


def test_missing_results(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, coverage, faithfulness)
    page.queries |= {
        ("coverage_summary", RUN): [],
        ("load_stability", RUN): None,
        ("latest_ablation", RUN): None,
    }
    for render in (coverage.render_coverage, faithfulness.render_faithfulness):
        with pytest.raises(Stopped):
            render(RUN)
    ends = [line for line in page.take() if line.startswith("stop")]
    assert ends == expected_lines("units", "missing results")


def test_band_of_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, coverage)
    page.queries["latest_run", "coverage", RUN] = None
    coverage.render_coverage_band(RUN)
    assert page.take() == []
    nan = float("nan")
    rows = [
        (code, name, *values)
        for code, by_name in {
            0: {
                "selected": (0.6, nan, nan),
                "chance": (0.02, nan, nan),
                "split_half": (nan, nan, nan),
                "interval": (nan, nan, nan),
            },
            2: {
                "selected": (0.75, nan, nan),
                "chance": (0.03, nan, nan),
                "split_half": (0.625, nan, nan),
                "interval": (nan, 0.5, 0.875),
            },
        }.items()
        for name, values in by_name.items()
    ]
    page.queries |= {
        ("latest_run", "coverage", RUN): "coverage-1",
        ("load_coverage", "coverage-1"): pd.DataFrame(
            rows, columns=["class", "name", "estimate", "low", "high"]
        ),
        ("labelled_coverage_by_class", RUN): {0: (None, 0, 4), 2: (0.25, 1, 4)},
    }
    coverage.render_coverage_band(RUN)
    assert page.take() == expected_lines("units", "band of coverage")


def test_verdicts_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {
        4: [
            SimpleNamespace(descriptor="margin", verdict="supported"),
            SimpleNamespace(descriptor="", verdict="unknown"),
        ]
    }
    module = coverage.association_queries
    monkeypatch.setattr(module, "label_checks", lambda path, run: checks if run == RUN else {})
    found = coverage._label_verdicts(Path("study"), RUN)
    assert found == {4: "margin: supported; unknown"}


def test_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, facts)
    shown = {
        # Ranks 0 to 31 count; their labels are 20 malignant, 9 benign and 3 normal.
        "top": pd.DataFrame({"rank": range(40), "label": [2] * 20 + [1] * 9 + [0] * 3 + [2] * 8}),
        "selected": [{"class": 2, "rank": 3}, {"class": 1, "rank": 7}],
        "layer": "<last>",
        "top_patients": 13,
        "largest": 6.543,
        "outside": 0.256,
    }
    facts.render_facts(RUN, shown)
    page.queries["run_class_names", RUN] = {0: "bone", 1: "brick"}
    monkeypatch.setattr(facts, "shows_breasts", lambda: False)
    facts.render_facts(RUN, shown | {"selected": []})
    assert page.take() == expected_lines("units", "facts")


def association(name: str, auc: float, p: float, iou: float | None) -> dict[str, Any]:
    return {
        "descriptor": name,
        "auc": auc,
        "low": auc - 0.1,
        "high": auc + 0.05,
        "p_adjusted": p,
        "iou": iou,
    }


def test_associations(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, facts)
    alpha = facts.descriptor_association.ASSOCIATION_ALPHA
    table = pd.DataFrame(
        [
            association("bI-RADS 5", 0.9, 0.001, 0.25),
            association("not significant", 0.8, alpha, None),
            association("lowers", 0.5, 0.001, None),
            association("unknown", float("nan"), 0.001, None),
            association("b", 0.7, alpha / 2, None),
            association("c", 0.68, 0.001, 0.125),
            association("d", 0.66, 0.001, 0.5),
            association("fifth", 0.64, 0.001, 0.5),
        ]
    )
    page.queries["unit_associations", RUN, 4] = table
    facts.render_associations(RUN, 4)
    page.queries["unit_associations", RUN, 4] = table.iloc[1:4]
    facts.render_associations(RUN, 4)
    page.queries["unit_associations", RUN, 4] = table.iloc[3:4]
    facts.render_associations(RUN, 4)
    assert page.take() == expected_lines("units", "associations")


def test_words_of_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, facts)
    words = Counter({"round": 5, "<oval>": 4, "lobulated": 3, "fourth": 2})
    concepts = [{"concept": "dense_tissue", "share": 0.625, "iou": 0.31}]
    for descriptors in ({}, {"shape": words}):
        for found in ([], concepts):
            facts.render_counts({"descriptors": descriptors, "concepts": found})
    assert page.take() == expected_lines("units", "words")


def line(title: str, good: bool | None) -> SimpleNamespace:
    return SimpleNamespace(title=title, value=f"value of {title}", note=f"note {title}", good=good)


def test_faithfulness(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, faithfulness)
    stability = SimpleNamespace(
        sentence=lambda: "They *return*.",
        trainings=3,
        names=[SimpleNamespace(name="Mass", units=2, returned=1, similarity=0.456)],
    )
    curves = pd.DataFrame(
        [
            (subject, step, value, value - 0.5, value + 0.25)
            for subject, shift in (("at random", 0.0), ("by influence", 1.0))
            for step, value in ((0, 4.0 - shift), (1, 3.0 - shift), (7, 1.0 - shift))
        ],
        columns=["subject", "step", "estimate", "low", "high"],
    )
    page.queries |= {
        ("load_stability", RUN): stability,
        ("latest_ablation", RUN): "ablate-1",
        ("load_selected_units", RUN): pd.DataFrame({"class": [0, 2, 2, 1]}),
        ("summary_lines", RUN, 2): [line("a", True), line("b", False), line("c", None)],
        ("summary_lines", RUN, 1): [line("a", None)],
        ("summary_lines", RUN, 0): [],
        ("deletion_curves", RUN, 2): curves,
        ("deletion_curves", RUN, 1): curves.iloc[:0],
        ("deletion_curves", RUN, 0): curves,
        ("load_sufficiency", RUN, 2): SimpleNamespace(sentence=lambda: "It *carries*."),
        ("load_sufficiency", RUN, 1): None,
        ("load_sufficiency", RUN, 0): None,
    }
    faithfulness.render_faithfulness(RUN)
    assert page.take() == expected_lines("units", "faithfulness")
    stability.names = []
    faithfulness.render_stability(RUN)
    page.queries["load_stability", RUN] = None
    faithfulness.render_stability(RUN)
    assert page.take() == expected_lines("units", "stability without names")
    assert faithfulness.missing_result_reason("malignant") == (
        "Not estimable: the test split has no malignant patches and no outlined malignant finding."
    )
    for name in ("normal", "other"):
        assert faithfulness.missing_result_reason(name) == (
            f"Not estimable: the test split has no {name} patches."
        )


def test_ticks_of_many_steps() -> None:
    def ticks(count: int) -> list[str]:
        steps = pd.DataFrame({"step": range(count), "estimate": 0.0, "low": 0.0, "high": 0.0})
        curves = pd.concat([steps.assign(subject=s) for s in ("at random", "by influence")])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unit_charts.theme, "theme_mode", lambda: "light")
            return list(unit_charts.deletion_figure(curves, "benign").layout.xaxis.ticktext)

    assert ticks(7) == ["0", "1", "2", "3", "4", "5", "6"]
    # Every second one, and always the last one.
    assert ticks(8) == ["0", "2", "4", "6", "7"] and ticks(9) == ["0", "2", "4", "6", "8"]


def test_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, groups)
    page.replace(group_table, "separate_units", "rejoin_unit")
    page.queries["load_groups", RUN] = None
    groups.render_group(RUN, 4)
    assert page.take() == []
    page.queries |= {
        ("load_groups", RUN): ((2, 3), (4, *range(10, 19)), (5, 6), (7,), (8,)),
        ("separated_units", RUN): [7],
    }
    for unit in (4, 5, 7, 8):
        groups.render_group(RUN, unit)
    assert page.take() == expected_lines("units", "groups")
    page.queries["separated_units", RUN] = [5]
    page.answers |= {"Separate from group": True, "Undo separation": True}
    groups.render_group(RUN, 5)
    assert page.take() == expected_lines("units", "groups changed")
    page.raise_from(group_table, "rejoin_unit", "Too late.")
    groups._change(RUN, 5, separate=False)
    assert page.take() == ["error: 'Too late.'"]


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, names)
    answers = [
        ({"label": "<Mass>", "recognisable": "yes", "confidence": 3}, "E1", False, 12.4),
        ({"label": "", "recognisable": "nothing", "confidence": None}, "E&2", True, None),
    ]
    names.render_annotations(
        [
            {"answer": answer, "code": code, "simulated": simulated, "seconds": seconds}
            for answer, code, simulated, seconds in answers
        ]
    )
    names.render_annotations([])
    check = SimpleNamespace(label="Mass", sentence=lambda: "It *holds*.")
    share = SimpleNamespace(kind="top", text=lambda: "3 of <4>")
    page.queries |= {
        ("label_checks", RUN): {4: [check, check]},
        ("load_unit_audit", RUN, 4): (
            SimpleNamespace(audit="audit-2", simulated=False),
            SimpleNamespace(simulated=True, units=[share]),
        ),
        ("load_unit_audit", RUN, 5): None,
        ("outdated_labels", "audit-2"): {4: "It *changed*."},
    }
    for unit in (4, 5):
        names.render_label_check(RUN, unit)
        names.render_audit(RUN, unit)
    assert page.take() == expected_lines("units", "names")
    page.queries["outdated_labels", "audit-2"] = {5: "other"}
    for simulated in ((True, False), (False, False)):
        page.queries["load_unit_audit", RUN, 4] = (
            SimpleNamespace(audit="audit-2", simulated=simulated[0]),
            SimpleNamespace(simulated=simulated[1], units=[]),
        )
        names.render_audit(RUN, 4)
        heading, table = page.take()
        assert heading.endswith("; simulated'") is simulated[0]
        assert table == "key_value_table: []"


def test_similar(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_unit_parts(monkeypatch, similar, own=("render_group",))
    page.queries["similar_units", RUN, 4, 5] = [
        SimpleNamespace(unit=8, similarity=0.876),
        SimpleNamespace(unit=9, similarity=0.5),
    ]
    page.answers["unit_0010, .50"] = True
    similar.render_similar(RUN, 4)
    assert page.query_params == {"with": "unit_0010"}
    page.queries["similar_units", RUN, 4, 5] = []
    similar.render_similar(RUN, 4)
    assert page.take() == expected_lines("units", "similar")


def test_flash_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, flash_messages)
    flash_messages.show_flash()
    for error in ((), (True,)):
        flash_messages.flash("It is *done*.", *error)
        flash_messages.show_flash()
    flash_messages.show_flash()
    assert page.take() == [r"success: 'It is \\*done\\*.'", r"error: 'It is \\*done\\*.'"]
    version = SimpleNamespace(protocol="Masses", version=3)
    assert flash_messages.version_title(version) == "Masses, version 3"
