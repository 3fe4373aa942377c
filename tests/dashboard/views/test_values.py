"""Numbers of the team pages against values by hand, where all numbers differ."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.class_labels import MAMMOGRAPHY
from core.store.labels import decision_table
from dashboard.components import mammograms
from dashboard.server import context as served_study
from dashboard.server import identity
from dashboard.ui import charts, elements, theme
from dashboard.views import adjudication, performance_tabs, reading_checks, reading_conduct
from dashboard.views.units import details
from evaluation.annotation.category_agreement import Disagreement
from evaluation.reading_study import design_preset, score_study
from evaluation.roc.diagnostic import operating_point
from support import synthetic_study
from support.streamlit_stub import page_stub


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """Return the tables that are rendered."""
    rendered: list[pd.DataFrame] = []
    monkeypatch.setattr(elements, "html_table", rendered.append)
    return rendered


def score_of(answers: list[int], truth: list[str]):
    n = len(answers)
    key = pd.DataFrame(
        {
            "case_number": range(1, n + 1),
            "mammogram_id": [f"m{i}" for i in range(n)],
            "patient_id": [f"p{i}" for i in range(n)],
            "arm": "explanation",
            "texts": [(f"text {i}",) for i in range(n)],
            "truth": truth,
            "network_score": np.linspace(0.2, 0.8, n),
            "predicted": "malignant",
        }
    )
    rows = pd.DataFrame(
        {"code": "R1", "case_number": range(1, n + 1), "repeat": False, "answer": answers}
    )
    return score_study(rows, key, design_preset("Recommended", arms=("explanation",)))


def test_answers_against_truth(tables: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 malignant cases, 4 called so; 7 benign cases, 2 called malignant."""
    monkeypatch.setattr(reading_checks, "st", page_stub())
    metrics: dict[str, str] = {}
    monkeypatch.setattr(elements, "metric_row", metrics.update)
    score = score_of([6, 5, 4, 4, 3, 6, 4, 3, 2, 1, 1, 1], ["malignant"] * 5 + ["benign"] * 7)
    reading_checks._render_accuracy(score)
    assert tables[0].to_numpy().tolist() == [
        ["Answer malignant", 4, 2, 6],
        ["Answer benign", 1, 5, 6],
    ]
    assert list(tables[0].columns) == ["", "Truth malignant", "Truth benign", "All"]
    assert (metrics["Sensitivity"], metrics["Specificity"]) == (".800", ".714")


POINT = operating_point(
    [1] * 9 + [0] * 14,
    # 7 of 9 malignant and 3 of 14 others lie at or above .5.
    [0.5, 0.6, 0.6, 0.7, 0.8, 0.9, 0.9, 0.1, 0.2, 0.5, 0.6, 0.9, *np.linspace(0, 0.4, 11)],
    0.5,
)


def test_operating_point_has_each_value_in_its_column() -> None:
    row = performance_tabs._point_row("sensitivity .8", POINT)
    shown = {name: cell.split("</b>")[0].removeprefix("<b>") for name, cell in row.items()}
    assert shown["Sensitivity"] == ".78" and shown["Specificity"] == ".79"
    assert shown["PPV"] == ".70" and shown["NPV"] == ".85"
    # (7 / 9) / (3 / 14) and (2 / 9) / (11 / 14).
    assert shown["LR+"] == "3.63" and shown[f"LR{performance_tabs.MINUS}"] == ".28"
    assert row["TP / FN / FP / TN"] == "7 / 2 / 3 / 11"
    bounds = {
        name: f"{cell.low:.2f}".removeprefix("0")
        for name, cell in (("PPV", POINT.table.ppv), ("NPV", POINT.table.npv))
    }
    assert all(bounds[name] in row[name].split("</b>")[1] for name in bounds)


@pytest.mark.parametrize("simulated", [True, False])
def test_download_of_the_classes(monkeypatch: pytest.MonkeyPatch, simulated: bool) -> None:
    stub = page_stub()
    monkeypatch.setattr(performance_tabs, "st", stub)
    results = [
        SimpleNamespace(row=lambda name=name, auc=auc: {"class": name, "auc": auc})
        for name, auc in (("benign", 0.71), ("malignant", 0.83))
    ]
    view = performance_tabs.PerformanceView(
        run="evaluate-1",
        split="test",
        level="image",
        with_2021_formula=False,
        evaluations={},
        summary=SimpleNamespace(results=results),  # type: ignore[arg-type]
        simulated=simulated,
        classes=MAMMOGRAPHY,
    )
    performance_tabs._render_download(view)
    _, content, name, kind = stub.download_button.call_args.args
    text = content if isinstance(content, str) else content.decode()
    table = pd.read_csv(io.StringIO(text.removeprefix("\ufeff")))
    assert table.to_dict("records") == [
        {
            "run": "evaluate-1",
            "split": "test",
            "level": "image",
            "class": cls,
            "auc": auc,
            "simulated": simulated,
        }
        for cls, auc in (("benign", 0.71), ("malignant", 0.83))
    ]
    assert (name, kind) == ("performance-test-image.csv", "text/csv")


def test_confusion_is_the_proportion_of_the_true_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theme, "theme_mode", lambda: "light")
    counts = np.array([[6, 3, 1], [2, 2, 4], [0, 0, 0]])
    heat = charts.confusion_figure(counts, ["normal", "benign", "malignant"]).data[0]
    assert np.asarray(heat.z).tolist() == [[0.6, 0.3, 0.1], [0.25, 0.25, 0.5], [0, 0, 0]]
    assert np.asarray(heat.customdata).tolist() == counts.tolist()
    assert "true %{y}, predicted %{x}" in heat.hovertemplate


def test_epochs_are_counted_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theme, "theme_mode", lambda: "light")
    history = pd.DataFrame(
        {
            "part": ["train", "train", "train", "holdout", "holdout"],
            "epoch": [0, 1, 2, 0, 2],
            "loss": [0.9, 0.5, 0.4, 0.8, 0.7],
        }
    )
    train, holdout = charts.training_curves(history, "loss").data
    assert (train.name, list(train.x), list(train.y)) == ("train", [1, 2, 3], [0.9, 0.5, 0.4])
    assert (holdout.name, list(holdout.x), list(holdout.y)) == ("holdout", [1, 3], [0.8, 0.7])


def test_outline_is_drawn_at_the_centres_of_its_pixels() -> None:
    """Pixel (x 19, y 39) of an image of 40 x 80 is at 48.75 and 49.375 of 100."""
    panel = mammograms.Panel(url="", width=40, height=80)
    paths = mammograms._svg_paths([np.array([[0, 0], [19, 39], [39, 79]])], panel)
    assert paths == ["M1.25 0.62L48.75 49.38L98.75 99.38Z"]


@pytest.mark.parametrize(
    ("patch_set", "count"), [("all", 64), ("top", details.units.CONTEXT_PATCHES)]
)
def test_top_patches_of_a_unit(patch_set: str, count: int) -> None:
    top = pd.DataFrame({"rank": range(64)})
    shown = details._patches_of_set("dissect-1", 3, {"top": top}, patch_set)
    assert list(shown["rank"]) == list(range(count)) and count in (32, 64)


def test_decision_names_who_decided(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(served_study.STUDY_VARIABLE, str(study))
    run = synthetic_study.DISSECT
    answers = (("E1", "a1", {"label": "Mass"}), ("E2", "a2", {"label": "Round mass"}))
    disputed = Disagreement(unit=4, answers=answers, conflict=1.0)
    adjudication._decide(run, [disputed], "Mass", "the margin is round", "T7")
    adjudication._decide(run, [disputed], "Large mass", "both see it", "T7")
    with store.write(study) as con:
        (row,) = decision_table.load_decisions(con, run).to_dict("records")
        decision_table.undo_decision(con, run, 4, "T7")
        (first,) = decision_table.load_decisions(con, run).to_dict("records")
    # A label of an expert rests on that answer, another one on all answers.
    assert (first["label"], first["sources"]) == ("Mass", ["a1"])
    row.pop("made")
    assert row == {
        "unit": 4,
        "label": "Large mass",
        "sources": ["a1", "a2"],
        "reason": "both see it",
        "decided_by": "T7",
    }


class Stopped(Exception):
    """Streamlit ends the script."""


@pytest.mark.parametrize("role", ["team", "annotator", "reader", ""])
@pytest.mark.parametrize("required", [("team",), ("annotator",), ("reader",), ("team", "reader")])
def test_page_stops_for_other_roles(
    monkeypatch: pytest.MonkeyPatch, role: str, required: tuple[str, ...]
) -> None:
    stub = page_stub()
    stub.stop.side_effect = Stopped
    who = identity.Identity("X1", role)
    monkeypatch.setattr(identity, "st", stub)
    monkeypatch.setattr(identity, "current_identity", lambda: who)
    if role in required:
        assert identity.require_role(*required) == who
        stub.error.assert_not_called()
    else:
        with pytest.raises(Stopped):
            identity.require_role(*required)
        stub.error.assert_called_once()


PROTOCOL: Any = SimpleNamespace(protocol="Masses", version=1, hash="h" * 64, simulated=False)


@pytest.mark.parametrize(
    ("render", "label"),
    [
        (lambda: reading_conduct._render_freeze(PROTOCOL, {}), "Freeze"),
        (lambda: reading_conduct._render_closing(PROTOCOL), "Close and unblind"),
    ],
    ids=["freeze", "close"],
)
def test_name_must_be_typed(monkeypatch: pytest.MonkeyPatch, render, label: str) -> None:
    for typed in ("", "masses", "Masses ", "Mass", "Masses"):
        stub = page_stub()
        stub.text_input.return_value = typed
        stub.button.return_value = False
        monkeypatch.setattr(reading_conduct, "st", stub)
        # No answer is missing.
        monkeypatch.setattr(reading_conduct, "cached_query", lambda *_: "")
        render()
        (call,) = stub.button.call_args_list
        assert call.args[0].startswith(label) and call.kwargs["disabled"] is (typed != "Masses")
