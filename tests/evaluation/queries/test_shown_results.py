"""Explanations, ablation and architectures, from what the store would return."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from evaluation.queries import architectures, explanations, faithfulness
from evaluation.queries.explanations import AttentionWeight, ExplainedMammogram
from evaluation.queries.faithfulness import SummaryLine

STUDY = Path("study")


@pytest.fixture(autouse=True)
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study itself stands for its connection."""
    monkeypatch.setattr(explanations.store, "read", lambda study: nullcontext(study))


def returns(values: dict[Any, Any]) -> Any:
    """Return a function that returns the value of its arguments."""
    return lambda *arguments: values[arguments]


def explained(**changes: Any) -> ExplainedMammogram:
    values: dict[str, Any] = dict.fromkeys(ExplainedMammogram.__dataclass_fields__)
    values |= {"classes": MAMMOGRAPHY, "units": ("a", "b"), "further": ("c",), "scale": 4.0}
    values["unit_maps"] = np.array([[[0.0, 1.0]], [[-1.0, 2.25]], [[4.0, 9.0]]])
    return ExplainedMammogram(**(values | changes))


def test_maps_and_ranks_of_units() -> None:
    case, second, third = explained(), *(SimpleNamespace(rank=rank) for rank in (2, 3))
    assert case.unit_heat(second).tolist() == [[0.0, 0.75]]
    # A contribution above the scale has the full colour.
    assert case.unit_heat(third).tolist() == [[1.0, 1.0]]
    assert case.rank_text(second) == "2 of 3"
    assert case.all_units == ("a", "b", "c")


@pytest.mark.parametrize(
    ("predicted", "truth", "verdict"),
    [
        ("malignant", "malignant", "true positive"),
        ("malignant", "benign", "false positive"),
        ("benign", "malignant", "false negative"),
        ("benign", "normal", "true negative"),
        ("benign", None, ""),
        (None, "benign", ""),
    ],
)
def test_verdict(predicted: str | None, truth: str | None, verdict: str) -> None:
    assert explained(predicted=predicted, truth=truth).verdict == verdict


def test_lists_of_explained_mammograms(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame(
        {
            "mammogram_id": [f"m{n}" for n in range(6)],
            "predicted": [2, 1, 0, 2, 1, -1],
            "truth": [2.0, 2.0, 0.0, None, 1.0, 1.0],
        },
        index=range(10, 16),
    )
    monkeypatch.setattr(
        explanations.unit_table, "load_explanations", returns({(STUDY, "explain-1"): table})
    )
    outputs = {0: "normal", 1: "benign", 2: "malignant"}
    monkeypatch.setattr(
        explanations.lineage,
        "run_classes",
        lambda study, run: {(STUDY, "explain-1"): SimpleNamespace(outputs=outputs)}[study, run],
    )

    def listed(kind: str) -> pd.DataFrame:
        return explanations.list_explained(STUDY, "explain-1", kind, 8)

    order = [f"m{n}" for n in np.random.default_rng([8, 3]).permutation(6)]
    found = listed("all")
    assert found["mammogram_id"].tolist() == order and found.index.tolist() == [*range(6)]
    assert "index" not in found.columns
    right = dict(zip(found["mammogram_id"], found["right"]))
    assert {name for name, value in right.items() if value} == {"m0", "m2", "m4"}
    places = np.random.default_rng([8, 3]).permutation(2)
    # A mammogram without a truth is not wrong.
    assert listed("wrong")["mammogram_id"].tolist() == [["m1", "m5"][p] for p in places]
    assert listed("malignant")["mammogram_id"].tolist() == [["m0", "m3"][p] for p in places]
    # With two outputs, benign and normal are one.
    outputs.clear()
    outputs.update({0: "other", 2: "malignant"})
    found = listed("all")
    right = dict(zip(found["mammogram_id"], found["right"]))
    assert {name for name, value in right.items() if value} == {"m0", "m2"}


def test_attention_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame(
        [("image", "", False, 0.5), ("age", "61", False, 0.3), ("density", "", True, 0.2)],
        columns=["source", "value", "missing", "weight"],
    )
    monkeypatch.setattr(
        explanations.run_table, "ancestor", returns({(STUDY, "explain-1", "evaluate"): "e"})
    )
    monkeypatch.setattr(
        explanations.unit_table, "load_attention", returns({(STUDY, "e", "m1"): table})
    )
    assert explanations.load_attention_weights(STUDY, "explain-1", "m1") == (
        AttentionWeight("image", None, False, 0.5),
        AttentionWeight("age", "61", False, 0.3),
        AttentionWeight("density", None, True, 0.2),
    )


ABLATED = pd.DataFrame(
    [
        (2, "labelled", "logit_drop", None, 1.25, 1.0, 1.5, 17),
        (2, "labelled", "logit_drop_random", None, 0.5, 0.4, 0.6, 16),
        (2, "labelled", "logit_beyond_random", None, 0.75, 0.25, 1.375, 15),
        (2, "labelled", "auc_drop", None, 0.125, 0.1, 0.15, 14),
        (2, "labelled", "auc_beyond_random", None, 0.0625, None, None, 13),
        (2, "selected", "logit_beyond_random", None, 9.0, 8.0, 10.0, 99),
        (2, "by influence", "deletion", 2.0, 0.3, 0.2, 0.4, 9),
        (2, "at random", "deletion", 4.0, 0.7, 0.6, 0.8, 9),
        (2, "by influence", "deletion", 1.0, 0.5, 0.4, 0.6, 9),
        (1, "by influence", "deletion", 1.0, 0.9, 0.8, 1.0, 9),
        (2, "map", "mass", None, 0.61, 0.52, 0.73, 41),
        (2, "map", "area", None, 0.12, None, None, 41),
        (2, "map", "peak", None, 0.84, None, None, 39),
        (2, "map", "chance", None, 0.23, None, None, 39),
        (2, "random weights", "mass", None, 0.14, None, None, 41),
        (2, "random weights", "peak", None, 0.25, None, None, 39),
    ],
    columns=["class", "subject", "name", "step", "estimate", "low", "high", "n"],
).assign(method="m")


@pytest.fixture
def ablated(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    tables = [ABLATED]
    monkeypatch.setattr(
        faithfulness.run_table, "latest_run", returns({(STUDY, "ablate", "dissect-1"): "ablate-1"})
    )
    monkeypatch.setattr(
        faithfulness.unit_table,
        "load_ablations",
        lambda con, run: {(STUDY, "ablate-1"): tables[0]}[con, run],
    )
    monkeypatch.setattr(
        faithfulness, "run_class_names", lambda study, run: ("normal", "benign", "malignant")
    )
    monkeypatch.setattr(faithfulness, "load_image_noun", lambda study: "image")
    return tables


def test_lines_of_an_ablation(ablated: list[pd.DataFrame]) -> None:
    units = SummaryLine(
        "15 labelled units at zero",
        "malignant logit falls by 1.25",
        "as many random units of equal activation: .50; difference .75 (95 % CI .250 to 1.375);"
        " AUC falls by .125, .062 more than with random units",
        True,
    )
    mass = SummaryLine(
        "Class map inside the finding",
        "61 %",
        "95 % CI 52 % to 73 %; 41 images; uniform map 12 %, random weights 14 %",
        True,
    )
    peak = SummaryLine(
        "Peak of the map on the finding",
        "84 %",
        "95 % CI not estimable: one patient, or all patients have the same value; 39 images; by"
        " chance 23 %, random weights 25 %",
        False,
    )
    assert faithfulness.summary_lines(STUDY, "dissect-1") == [units, mass, peak]
    assert faithfulness.summary_lines(STUDY, "dissect-1", 1) == []
    # At the comparison itself nothing is shown, just above it something is.
    for low, good in ((0.0, False), (0.001, True), (None, False)):
        is_beyond = (ABLATED["name"] == "logit_beyond_random") & (ABLATED["subject"] == "labelled")
        ablated[0] = ABLATED.assign(low=ABLATED["low"].mask(is_beyond, low))
        assert faithfulness.summary_lines(STUDY, "dissect-1")[0].good is good
    for name, limit in (("mass", 0.12), ("peak", 0.23)):
        row = (ABLATED["name"] == name) & (ABLATED["subject"] == "map")
        for low, good in ((limit, False), (limit + 0.001, True)):
            ablated[0] = ABLATED.assign(low=ABLATED["low"].mask(row, low))
            lines = faithfulness.summary_lines(STUDY, "dissect-1")
            assert lines[1 if name == "mass" else 2].good is good
    ablated[0] = ABLATED[ABLATED["subject"] != "map"]
    assert faithfulness.summary_lines(STUDY, "dissect-1") == [units]


def test_deletion_curves(ablated: list[pd.DataFrame]) -> None:
    found = faithfulness.deletion_curves(STUDY, "dissect-1")
    assert found.to_numpy().tolist() == [
        ["at random", 4.0, 0.7, 0.6, 0.8],
        ["by influence", 1.0, 0.5, 0.4, 0.6],
        ["by influence", 2.0, 0.3, 0.2, 0.4],
    ]
    assert list(found.columns) == ["subject", "step", "estimate", "low", "high"]
    assert found.index.tolist() == [0, 1, 2]
    assert len(faithfulness.deletion_curves(STUDY, "dissect-1", 1)) == 1


def test_no_ablation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faithfulness.run_table, "latest_run", lambda *named: None)
    table = faithfulness.load_ablation_table(STUDY, "dissect-1")
    assert list(table.columns) == [*ABLATED.columns[:7], "method", "n"] and table.empty
    assert faithfulness.summary_lines(STUDY, "dissect-1") == []
    assert faithfulness.deletion_curves(STUDY, "dissect-1").empty


def metric(level: str, name: str, of_class: str, **fields: Any) -> dict[str, Any]:
    values = {"estimate": 0.75, "low": 0.6, "high": 0.85, "method": "Obuchowski", "reason": ""}
    values |= {"positives": 5, "n": 12, "patients": 9}
    return {"level": level, "name": name, "class": of_class} | values | fields


def test_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {
        "train-1": ("alexnet", {"weights": "/a/imagenet.pt", "epochs": 7}),
        "train-2": ("own", {"weights": "none"}),
    }
    runs = pd.DataFrame(
        {
            "run": list(trained),
            "manifest": [{"architecture": name} for name, _ in trained.values()],
            "settings": [{"training": used} for _, used in trained.values()],
        }
    )
    evaluated = pd.DataFrame({"run": ["evaluate-2", "evaluate-1"]})
    metrics = pd.DataFrame(
        [
            metric("patch", "auc", "malignant"),
            metric("patch", "auc", "benign", method="logit scale", reason="r", n=14, patients=8),
            metric("patch", "brier", "malignant", n=99),
            metric("image", "auc", "malignant", estimate=None, low=None, high=None, n=50),
        ]
    )
    con = STUDY
    for name, values in (
        ("load_runs", {(con, "evaluate"): evaluated, (con, "train"): runs}),
        ("load_log", {(con, "test split opened"): [1, 2, 3]}),
        (
            "ancestor",
            {(con, f"evaluate-{n}", "train"): f"train-{n}" for n in (1, 2)},
        ),
        (
            "load_metrics",
            {(con, "evaluate-1", "test"): metrics, (con, "evaluate-2", "test"): metrics[:0]},
        ),
    ):
        monkeypatch.setattr(architectures.run_table, name, returns(values))
    monkeypatch.setattr(
        architectures.dataset_table, "any_simulated_source", returns({(con,): "simulated"})
    )
    context = architectures.load_study_context(STUDY)
    assert (context.opened, context.simulated) == (3, "simulated")
    assert [(one.run, one.train, one.architecture) for one in context.runs] == [
        ("evaluate-2", "train-2", "own"),
        ("evaluate-1", "train-1", "alexnet"),
    ]
    architectures.load_architecture_rows.cache_clear()
    own, alexnet = architectures.load_architectures(STUDY, "test", "patch")
    (of_images,) = architectures.load_architecture_rows(STUDY, ("evaluate-1",), "test", "image")
    architectures.load_architecture_rows.cache_clear()
    assert (own.run, own.epochs, own.weights, own.auc) == ("evaluate-2", None, "none", {})
    assert (own.n, own.patients, own.published, own.source) == (0, 0, {}, "")
    assert (alexnet.run, alexnet.epochs, alexnet.weights) == ("evaluate-1", 7, "imagenet.pt")
    assert (alexnet.n, alexnet.patients) == (14, 9)
    assert alexnet.published == {"malignant": 0.8632} and "SPIE" in alexnet.source
    area = alexnet.auc["malignant"]
    assert (area.estimate, area.low, area.high, area.level) == (0.75, 0.6, 0.85, 0.95)
    assert (area.positives, area.negatives, area.clusters) == (5, 7, 9)
    assert (area.method, area.reason, area.standard_error) == ("obuchowski", None, None)
    benign = alexnet.auc["benign"]
    assert (benign.method, benign.reason, benign.negatives) == ("logit", "r", 9)
    # Published values concern patches.
    assert (of_images.published, of_images.source, of_images.n) == ({}, "", 50)
    missing = of_images.auc["malignant"]
    assert (missing.estimate, missing.low, missing.high) == (None, None, None)
