"""What the tabs of the Performance page render, as a whole, where all numbers differ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from dashboard.ui import charts
from dashboard.views import performance_tabs
from evaluation.intervals import Interval
from support.page_transcript import Transcript, expected_lines, render_into


def interval(*values: float | None, reason: str | None = None) -> Interval:
    estimate, low, high = (*values, None, None)[:3]
    return Interval(
        estimate=estimate, low=low, high=high, level=0.95, method="logit", reason=reason
    )


def class_result(name: str, auc: float, number: int) -> SimpleNamespace:
    """Return a result whose numbers differ from those of the other classes."""
    shift = number / 100
    area = interval(auc, auc - 0.04, auc + 0.02)
    return SimpleNamespace(
        name=name,
        auc=SimpleNamespace(**(vars(area) | {"method": "logit" if number else "delong"})),
        partial=SimpleNamespace(
            raw=0.11 + shift,
            fraction=0.55 + shift,
            mcclish=0.75 + shift,
            deepminer_2021=0.031 + shift,
        ),
        partial_interval=interval(0.1, 0.081 + shift, 0.142 + shift),
        specificity=SimpleNamespace(interpolated=0.66 + shift),
        specificity_interval=interval(0.6, reason="one <class>")
        if number == 1
        else interval(0.6, 0.58 + shift, 0.77 + shift),
        row=lambda: {"class": name},
        curve=SimpleNamespace(
            fpr=np.array([0.0, 0.2 + shift, 1.0]),
            tpr=np.array([0.0, 0.7 + shift, 1.0]),
            grid=np.array([0.0, 0.5, 1.0]),
            high=np.array([0.1, 0.9, 1.0]) if number else None,
            low=np.array([0.0, 0.6 + shift, 0.95]),
        ),
    )


def calibration(shift: float) -> SimpleNamespace:
    bins = [
        SimpleNamespace(predicted=0.1 + shift, observed=interval(0.15, 0.05, 0.3), n=1200),
        SimpleNamespace(predicted=None, observed=interval(None), n=0),
        SimpleNamespace(predicted=0.5, observed=interval(None), n=1),
        SimpleNamespace(predicted=0.8 + shift, observed=interval(0.7 + shift, None, None), n=34),
    ]
    return SimpleNamespace(
        slope_interval=lambda: interval(0.91 + shift, 0.8, 1.02),
        in_the_large_interval=lambda: (
            interval(-0.12 + shift, reason="flat") if shift else interval(-0.12, -0.3, 0.07)
        ),
        intercept=0.21 + shift,
        observed_expected=1.13 + shift,
        brier=0.087 + shift,
        ece=0.0432 + shift,
        bins=bins,
    )


def view(**changes: Any) -> Any:
    results = [
        class_result(name, auc, number)
        for number, (name, auc) in enumerate(zip(MAMMOGRAPHY.names, (0.94, 0.71, 0.86)))
    ]
    summary = SimpleNamespace(
        results=results,
        counts=[[9, 2, 1], [3, 8, 4], [0, 5, 7]],
        names=list(MAMMOGRAPHY.names),
        calibrations={"benign": calibration(0.01), "malignant": calibration(0.0)},
        points={},
    )
    evaluations = {
        f"evaluate-{n}": SimpleNamespace(architecture=f"<net{n}>", train=f"train-{n}")
        for n in (1, 2, 3, 4)
    }
    values: dict[str, Any] = {
        "run": "evaluate-2",
        "split": "test",
        "level": "patch",
        "with_2021_formula": False,
        "evaluations": evaluations,
        "summary": summary,
        "simulated": True,
        "classes": MAMMOGRAPHY,
        **changes,
    }
    return performance_tabs.PerformanceView(**values)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, performance_tabs)
    monkeypatch.setattr(performance_tabs, "image_noun", lambda: "scan")
    monkeypatch.setattr(charts.theme, "class_style", lambda name: name)
    return page


def test_classes(page: Transcript) -> None:
    performance_tabs._render_classes(view())
    assert page.take() == expected_lines("performance", "classes")
    image = view(level="image", with_2021_formula=True)
    performance_tabs._render_classes(image)
    lines = [line for line in page.take() if "plotly" not in line and "column" not in line]
    assert lines == expected_lines("performance", "classes of images")


def test_classes_of_another_subject(page: Transcript) -> None:
    """Published values belong to the classes of mammography."""
    other = ClassDefinition(("tile", "brick"), "brick", "tile")
    shown = view(classes=other, level="patch")
    assert not shown.has_published_classes and view().has_published_classes
    assert shown.positive == "brick" and view().positive == "malignant"
    assert "Published" not in performance_tabs._class_note(shown)
    assert "Published AUC" not in performance_tabs._class_row(shown, shown.summary.results[0])
    nouns = {level: view(level=level).noun for level in ("patch", "image", "case")}
    assert nouns == {"patch": "patches", "image": "images", "case": "cases"}


def test_calibration(page: Transcript) -> None:
    for level in ("patch", "image", "case"):
        performance_tabs._render_calibration(view(level=level))
    lines = page.take()
    assert lines[:3] + lines[5::3] == expected_lines("performance", "calibration")


def test_thresholds(page: Transcript) -> None:
    performance_tabs._render_thresholds(view())
    shown = view()
    cells = {
        name: interval(0.1 + n / 10, 0.05 + n / 10, 0.15 + n / 10)
        for n, name in enumerate(
            ("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative")
        )
    }
    table = SimpleNamespace(tp=1007, fn=1002, fp=1003, tn=1011, **cells)
    shown.summary.points["<rule>"] = SimpleNamespace(threshold=0.123456, table=table)
    performance_tabs._render_thresholds(shown)
    assert page.take() == expected_lines("performance", "thresholds")


def test_networks(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    rows = [
        SimpleNamespace(
            run=f"evaluate-{n}",
            architecture=f"<net{n}>",
            weights="imagenet",
            epochs=epochs,
            auc={
                "malignant": interval(0.8 + n / 100, 0.7, 0.9),
                "benign": interval(0.6 + n / 100, reason="few"),
            },
            n=1230 + n,
            patients=40 + n,
            published=published,
        )
        for n, epochs, published in ((1, 7, {"malignant": 0.8929, "benign": 0.71}), (2, None, {}))
    ]
    monkeypatch.setattr(
        performance_tabs.architectures,
        "load_architecture_rows",
        lambda *arguments: asked.append(arguments) or rows,
    )
    performance_tabs._render_networks(view())
    assert page.take() == expected_lines("performance", "networks")
    runs = ("evaluate-1", "evaluate-2", "evaluate-3", "evaluate-4")
    assert [(str(asked[0][0]), *asked[0][1:])] == [("/the study", runs, "test", "patch")]
    performance_tabs._render_networks(view(classes=ClassDefinition(("a", "b"), "b", "a")))
    assert [line.split(":")[0] for line in page.take()] == ["html_table"]


def test_comparison(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def compare(study: Any, run: str, other: str, split: str, level: str) -> Any:
        asked.append((run, other, split, level))
        if other == "evaluate-1":
            raise ValueError("other <patches>")
        return SimpleNamespace(
            difference=0.021,
            low=-0.012,
            high=0.054,
            p_value=0.0234 if other == "evaluate-3" else 0.05,
            reason="",
        )

    monkeypatch.setattr(performance_tabs.performance_cache, "load_comparison", compare)
    performance_tabs._render_comparison(view())
    # The newest other run first.
    assert asked == [
        ("evaluate-2", "evaluate-4", "test", "patch"),
        ("evaluate-2", "evaluate-3", "test", "patch"),
        ("evaluate-2", "evaluate-1", "test", "patch"),
    ]
    shown = view()
    performance_tabs._render_comparison(view(evaluations={"evaluate-2": "itself"}))
    without = SimpleNamespace(
        difference=0.021, low=None, high=None, p_value=0.0003, reason="one <patient>"
    )
    row = performance_tabs._comparison_row(shown, "evaluate-3", without, 0.00045)  # type: ignore[arg-type]
    page.record("row", row)
    assert page.take() == expected_lines("performance", "comparison")


def test_training(page: Transcript) -> None:
    history = pd.DataFrame(
        {
            "part": ["train", "train", "holdout", "holdout"],
            "epoch": [0, 1, 0, 1],
            "loss": [0.9, 0.5, 0.8, 0.6],
            "accuracy": [0.5, 0.7, 0.55, 0.65],
            "auc_malignant": [None, None, 0.71, 0.83],
        }
    )
    page.queries["load_training_history", "train-2"] = history
    performance_tabs._render_training(view())
    page.queries["load_training_history", "train-2"] = history.assign(auc_malignant=None)
    performance_tabs._render_training(view())
    page.queries["load_training_history", "train-2"] = history.iloc[:0]
    performance_tabs._render_training(view())
    assert page.take() == expected_lines("performance", "training")


def test_subgroups(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = SimpleNamespace(
        subgroups=[
            SimpleNamespace(
                variable="density",
                value=value,
                n=n,
                patients=n - 7,
                auc=interval(0.7 + n / 1000, 0.6, 0.8 if n > 25 else None),
            )
            for value, n in (("a", 31), ("b", 22))
        ],
        interactions="tests",
    )
    asked: list[Any] = []
    monkeypatch.setattr(
        performance_tabs.performance_cache,
        "load_subgroup_summary",
        lambda *arguments: asked.append(arguments[1:]) or groups,
    )
    monkeypatch.setattr(performance_tabs, "adjusted_sentences", lambda t: f"{t} <1>" if t else "")
    performance_tabs._render_subgroups(view(level="image"))
    groups.interactions = ""
    # The line of all images would mislead beside another level.
    performance_tabs._render_subgroups(view(level="case"))
    groups.subgroups = []
    performance_tabs._render_subgroups(view())
    assert page.take() == expected_lines("performance", "subgroups")
    assert asked == [("evaluate-2", "test")] * 3


def test_failures(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = pd.DataFrame(
        {
            "kind": ["false positive", "false negative"],
            "mammogram_id": ["C1", "C2"],
            "patient_id": ["P1", "P2"],
            "score": [0.91234, 0.0123],
        }
    )
    asked: list[Any] = []
    monkeypatch.setattr(
        performance_tabs.performance,
        "load_extreme_errors",
        lambda *arguments: asked.append(arguments[1:]) or errors,
    )
    selection = SimpleNamespace(selection=SimpleNamespace(rows=[]))
    page.replace(performance_tabs.elements, "data_table", result=selection)
    page.answers["Open its explanation"] = True
    performance_tabs._render_failures(view())
    selection.selection.rows = [1]
    performance_tabs._render_failures(view())
    assert page.take() == expected_lines("performance", "failures")
    assert asked == [("evaluate-2", "test")] * 2


def test_order_of_the_tabs() -> None:
    names = {title: render.__name__ for title, render in performance_tabs.PERFORMANCE_TABS.items()}
    assert list(names) == [
        "Classes",
        "Calibration",
        "Thresholds",
        "Networks",
        "Comparison",
        "Training",
        "Subgroups",
        "Failures",
    ]
    assert all(name == f"_render_{title.lower()}" for title, name in names.items())


def test_roc_curves(page: Transcript) -> None:
    results = view().summary.results
    page.record("with a threshold", charts.roc_figure(results, "malignant", (0.214, 0.786)))
    # Its band is not estimable.
    page.record("without", charts.roc_figure(results, "normal"))
    assert page.take() == expected_lines("performance", "ROC curves")


def test_error_bars() -> None:
    bars = charts.error_bars([0.5, 0.25, None], [0.25, None, 0.125], [1.0, None, 0.5], 1.5)
    # The bounds are distances; one that is not estimable draws nothing.
    assert bars == {
        "type": "data",
        "array": [0.5, 0.0, 0.5],
        "arrayminus": [0.25, 0.0, -0.125],
        "width": 0,
        "thickness": 1.5,
    }


def test_colours_of_both_themes(page: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.array([[3, 1], [0, 4]])
    for mode in ("light", "dark"):
        monkeypatch.setattr(charts.theme, "theme_mode", lambda mode=mode: mode)
        page.record(mode, charts.confusion_figure(counts, ["benign", "malignant"]))
    assert page.take() == expected_lines("performance", "themes")
