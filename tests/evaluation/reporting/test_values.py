"""Numbers of tables, figures and texts against values by hand, where all numbers differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core import lineage, store
from core.class_labels import MAMMOGRAPHY
from core.store import run_table, unit_table
from dashboard.commands.exports import _opens_test_split
from evaluation.queries.study_overview import _run_facts
from evaluation.reading_study import Design, design_preset, score_study
from evaluation.reading_study.design import NO_ADVICE
from evaluation.reading_study.workflow import candidates
from evaluation.reporting import base, report
from evaluation.reporting.figures import classifier, coverage, reading_study
from evaluation.reporting.methods_text import kept_epoch_sentence
from evaluation.reporting.tables.reading_study import _accuracy_results
from evaluation.reporting.tables.units import build_coverage_table
from support import synthetic_study


class Drawing:
    """Stand-in for matplotlib's axes that keeps the error bars."""

    def __init__(self) -> None:
        self.error_bars: list[tuple[list, list, list]] = []

    def errorbar(self, x, y, yerr, **_) -> None:
        self.error_bars.append((list(x), list(y), [list(side) for side in yerr]))

    def plot(self, *_, **__) -> None: ...

    def axhline(self, *_, **__) -> None: ...

    def set(self, **_) -> None: ...

    def legend(self, **_) -> None: ...


def test_roc_figure_has_false_positives_as_fpr() -> None:
    curve = SimpleNamespace(
        fpr=np.array([0, 0.1, 1]), tpr=np.array([0, 0.7, 1]), thresholds=np.array([9, 5, 1])
    )
    rows = classifier._curve_rows("patch", SimpleNamespace(name="benign", curve=curve))
    assert rows.iloc[1].to_dict() == {
        "level": "patch",
        "class": "benign",
        "fpr": 0.1,
        "tpr": 0.7,
        "threshold": 5,
    }


def test_error_bars_reach_the_bounds() -> None:
    drawing = Drawing()
    values = pd.DataFrame(
        {"estimate": [0.5, 0.44, 0.4], "low": [None, 0.3, 0.31], "high": [None, 0.6, 0.75]},
        index=["selected", "split_half", "interval"],
    )
    coverage._plot_marks(drawing, "malignant", values, 3.0)  # type: ignore[arg-type]
    ((x, centre, (below, above)),) = drawing.error_bars
    assert x == [3.0] and centre == [0.4]
    assert (below, above) == (pytest.approx([0.09]), pytest.approx([0.35]))


def test_error_bars_of_the_blocks_reach_the_bounds() -> None:
    drawing = Drawing()
    blocks = pd.DataFrame(
        {
            "reader": ["R1", "R1"],
            "middle": [5, 15],
            "share": [0.5, 0.7],
            "low": [0.4, 0.35],
            "high": [0.8, 0.9],
        }
    )
    reading_study._plot_block_proportions(drawing, blocks)  # type: ignore[arg-type]
    ((middle, share, (below, above)),) = drawing.error_bars
    assert (middle, share) == ([5, 15], [0.5, 0.7])
    assert below == pytest.approx([0.1, 0.35]) and above == pytest.approx([0.3, 0.2])


def test_accuracy_rows_carry_their_own_bounds() -> None:
    """5 malignant and 7 benign cases, 4 and 5 of them right."""
    truth = ["malignant"] * 5 + ["benign"] * 7
    n = len(truth)
    key = pd.DataFrame(
        {
            "case_number": range(1, n + 1),
            "mammogram_id": [f"m{i}" for i in range(n)],
            "patient_id": [f"p{i}" for i in range(n)],
            "arm": "explanation",
            "texts": [(f"text {i}",) for i in range(n)],
            "truth": truth,
            "network_score": np.linspace(0.9, 0.1, n),
            "predicted": "malignant",
        }
    )
    answers = pd.DataFrame(
        {
            "code": "R1",
            "case_number": range(1, n + 1),
            "repeat": False,
            "answer": [6, 5, 4, 4, 3, 6, 4, 3, 2, 1, 1, 1],
        }
    )
    design = design_preset("Recommended", arms=("explanation",), primary="gee", scale=6)
    score = score_study(answers, key, design, threshold=0.5)
    rows = {row[0]: row[1:4] for row in _accuracy_results(score)}
    table = score.table
    assert rows["Sensitivity"] == (4 / 5, table.sensitivity.low, table.sensitivity.high)
    assert rows["Specificity"] == (5 / 7, table.specificity.low, table.specificity.high)
    assert rows["AUC of the ratings"] == (score.roc.estimate, score.roc.low, score.roc.high)
    network = score.network.auc
    assert rows["AUC of the network alone"] == (1.0, network.low, network.high)
    # Scores from .9 in steps of .8 / 11: five of five malignant and six of seven benign.
    assert rows["Network correct at its hold-out threshold, of 12"][0] == 11
    bounds = {rows[name][1:] for name in ("Sensitivity", "Specificity", "AUC of the ratings")}
    assert len(bounds) == 3


def test_every_column_of_the_coverage_table(demonstration: Path) -> None:
    table = build_coverage_table(demonstration)
    with store.read(demonstration) as con:
        stored = unit_table.load_coverage(con, run_table.latest_run(con, "coverage") or "")
    frame = table.raw_frame()
    assert len(frame) == stored["class"].nunique() == 3
    for row, code in zip(frame.itertuples(index=False), (2, 1, 0), strict=True):
        values = stored[stored["class"] == code].set_index("name")
        _, mammograms, selected, half, low, high, labelled, chance = row
        assert mammograms == values.loc["selected", "n"]
        assert selected == values.loc["selected", "estimate"]
        assert half == values.loc["split_half", "estimate"]
        assert (low, high) == tuple(values.loc["interval", ["low", "high"]])
        assert chance == values.loc["chance", "estimate"]
        assert 0 <= labelled <= selected
        assert len({selected, half, low, high, chance}) == 5


@pytest.mark.parametrize(
    ("threshold", "right"), [(4, [True, False, False]), (3, [True, True, True])]
)
def test_answer_at_the_threshold_is_malignant(
    monkeypatch: pytest.MonkeyPatch, empty_tables: SimpleNamespace, threshold: int, right: list
) -> None:
    """Answers 4, 3 and 2 on a malignant, a malignant and a benign case."""
    design = SimpleNamespace(
        positive="malignant", arms=("explanation",), threshold=threshold, advice=NO_ADVICE
    )
    monkeypatch.setattr(base.workflow, "protocol_design", lambda protocol: design)
    if threshold == 4:
        empty_tables.answers.loc[2, "answer"] = 4
    table = base.primary_answers(Path("study")).sort_values("case_number")
    assert table["right"].tolist() == right
    # Two practice cases come first.
    assert table["position"].tolist() == [1, 2, 3]


@pytest.fixture
def empty_tables(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Put three answered cases in the place of a closed study."""
    answers = pd.DataFrame(
        {
            "code": "R1",
            "case_number": [1, 2, 3, 4],
            "position": [3, 4, 5, 6],
            "repeat": [False, False, False, False],
            "answer": [4, 3, 2, 5],
        }
    )
    cases = pd.DataFrame(
        {
            "case_number": [1, 2, 3, 4],
            "mammogram_id": ["a", "b", "c", "d"],
            "patient_id": ["a", "b", "c", "d"],
            "arm": ["explanation"] * 3 + ["shuffled"],
            "truth": ["malignant", "malignant", "benign", "benign"],
            "network_score": [0.1, 0.2, 0.3, 0.4],
        }
    )
    items = pd.DataFrame(
        {
            "code": "R1",
            "position": range(1, 7),
            "practice": [True, True, False, False, False, False],
        }
    )
    monkeypatch.setattr(
        base, "load_closed_protocol", lambda study: SimpleNamespace(protocol="P", version=1)
    )
    monkeypatch.setattr(base.store, "read", lambda study: _Nothing())
    for name, table in (("answers", answers), ("cases", cases), ("items", items)):
        monkeypatch.setattr(
            base.reading_table, f"load_reading_{name}", lambda *_, table=table: table
        )
    return SimpleNamespace(answers=answers)


class _Nothing:
    """Stand-in for a connection."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("inputs", "opens"),
    [
        ({"evaluate": "e1"}, True),
        ({"explain": "e1", "labels": "l"}, True),
        ({"data": "d", "ablate": "a1"}, True),
        ({"data": "d", "coverage": "c", "dissect": "d1", "protocol": "p", "labels": "l"}, False),
        ({}, False),
    ],
)
def test_exports_that_open_the_test_split(inputs: dict, opens: bool) -> None:
    skipped = SimpleNamespace(record=None)
    export = SimpleNamespace(record=SimpleNamespace(inputs=inputs))
    assert _opens_test_split([skipped, export]) is opens  # type: ignore[list-item]
    assert _opens_test_split([skipped]) is False  # type: ignore[list-item]


def test_epochs_are_counted_from_one() -> None:
    assert kept_epoch_sentence({"keep": "last", "epochs": 9}, {"best_epoch": 4}) == (
        "The weights of the last epoch (9) were kept."
    )
    best = kept_epoch_sentence({"keep": "best", "epochs": 9}, {"best_epoch": 4})
    assert "best hold-out accuracy (epoch 5)" in best
    row = {
        "kind": "train",
        "manifest": {"architecture": "resnet18", "best_epoch": 4},
        "settings": {"training": {"epochs": 9}},
    }
    headline, facts = _run_facts(None, row)  # type: ignore[arg-type]
    assert headline == "resnet18" and facts == ("9 epochs", "best: epoch 5")


@pytest.mark.parametrize("weak", [True, False])
def test_weak_labels_are_stated_before_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weak: bool
) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    monkeypatch.setattr(lineage, "has_image_level_labels", lambda path: weak)
    texts = [block.text for block in report._warnings(study)]
    assert any("Labels are image-level" in text for text in texts) is weak
    # The mammograms of this study are synthetic.
    assert texts[0].startswith("SIMULATED")


def test_normal_mammograms_do_not_move_the_threshold(
    study_with_scores: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Youden's index of malignant against benign is largest at .6; normal ones would make it .8."""
    threshold = candidates.holdout_threshold(Path("study"), "explain-1", Design())
    assert threshold == 0.6
    with_all = candidates.fixed_threshold(
        study_with_scores["truth"] == 2, study_with_scores["s_malignant"], "youden"
    )
    assert with_all == 0.8
    for codes in ([0, 1], [0, 2], [0]):
        part = study_with_scores[study_with_scores["truth"].isin(codes)]
        monkeypatch.setattr(candidates.unit_table, "load_image_scores", lambda *_, part=part: part)
        assert candidates.holdout_threshold(Path("study"), "explain-1", Design()) is None


@pytest.fixture
def study_with_scores(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Put the scores of eight hold-out mammograms, the last unproven, in the place of a study."""
    scores = pd.DataFrame(
        {
            "truth": [2, 2, 1, 1, 1, 0, 0, np.nan],
            "s_malignant": [0.6, 0.8, 0.5, 0.3, 0.7, 0.65, 0.62, 0.95],
        }
    )
    monkeypatch.setattr(candidates.store, "read", lambda study: _Nothing())
    monkeypatch.setattr(candidates.run_table, "ancestor", lambda *_: "evaluate-1")
    monkeypatch.setattr(candidates.run_table, "run_classes", lambda *_: MAMMOGRAPHY)
    monkeypatch.setattr(candidates.unit_table, "load_image_scores", lambda *_: scores)
    return scores


def test_mammograms_without_tissue_are_no_candidates(own_study: Path) -> None:
    with store.write(own_study) as con:
        explain = run_table.latest_run(con, "explain") or ""
        frame = unit_table.load_explanations(con, explain)
        empty = frame["mammogram_id"].iloc[1]
        con.execute(
            "UPDATE explanations SET predicted = -1 WHERE run = ? AND mammogram_id = ?",
            [explain, empty],
        )
    design = design_preset("Recommended", arms=("explanation",), truth_rule="any_malignant")
    table = candidates.candidate_images(own_study, explain, design)
    assert set(table["mammogram_id"]) == set(frame["mammogram_id"]) - {empty}
