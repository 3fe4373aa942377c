"""Rows and sentences that pages and files show, from small tables with numbers that all differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.interpretation.explanation import NamedUnit
from evaluation.queries import faithfulness
from evaluation.queries.architectures import PUBLISHED_ARCHITECTURES, _architecture_row
from evaluation.queries.explanations import ExplainedMammogram
from evaluation.queries.faithfulness import SummaryLine, deletion_curves, summary_lines
from evaluation.queries.observations import Observations, to_observations
from evaluation.queries.performance import (
    OPERATING_RULES,
    compare_observations,
    compute_class_results,
    operating_points,
    printed_subgroups,
)
from evaluation.queries.report_similarity import descriptive_part
from evaluation.queries.study_overview import RUN_STEPS, StepCard, first_command, next_step
from evaluation.roc import auc_interval, compare_aucs
from evaluation.roc.curve import roc_curve
from evaluation.roc.diagnostic import fixed_threshold, operating_point
from evaluation.roc.partial_area import partial_auc, specificity_at
from evaluation.roc.resampled_curves import partial_auc_interval, specificity_interval
from evaluation.roc.subgroups import Subgroup


def seen(n: int, seed: int, start: int = 0) -> Observations:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    scores = rng.random((n, 3)) + 0.3 * np.eye(3)[truth]
    return Observations(
        classes=MAMMOGRAPHY.names,
        key=np.arange(start, start + n),
        truth=truth,
        scores=scores / 1.3,
        patient=(np.arange(start, start + n) // 2).astype(str),
    )


def test_results_of_every_class() -> None:
    found = compute_class_results(seen(60, 1))
    assert [result.name for result in found] == ["normal", "benign", "malignant"]
    for code, result in enumerate(found):
        truth, score = seen(60, 1).truth == code, seen(60, 1).scores[:, code]
        patient = seen(60, 1).patient
        area = auc_interval(truth, score, patient)
        partial = partial_auc(truth, score)
        bounds = partial_auc_interval(truth, score, patient, resamples=500)
        at = specificity_interval(truth, score, patient, resamples=500)
        assert result.row() == {
            "class": MAMMOGRAPHY.names[code],
            "auc": area.estimate,
            "low": area.low,
            "high": area.high,
            "method": area.method,
            "reason": "",
            "pauc": partial.raw,
            "pauc_low": bounds.low,
            "pauc_high": bounds.high,
            "pauc_fraction": partial.fraction,
            "pauc_mcclish": partial.mcclish,
            "specificity_at_80": specificity_at(truth, score).interpolated,
            "specificity_at_80_low": at.low,
            "specificity_at_80_high": at.high,
        }
        drawn = roc_curve(truth, score, patient, resamples=500)
        np.testing.assert_array_equal(result.curve.low, drawn.low)
    assert compute_class_results(seen(0, 1)) == []


def test_operating_points_at_thresholds_of_holdout() -> None:
    test, holdout = seen(40, 2), seen(50, 3)
    points = operating_points(test, holdout)
    assert OPERATING_RULES == {
        "sensitivity .8": ("sensitivity", 0.8),
        "sensitivity .9": ("sensitivity", 0.9),
        "specificity .9": ("specificity", 0.9),
        "largest Youden index": ("youden", 0.0),
    }
    assert list(points) == list(OPERATING_RULES)
    for rule, (kind, value) in OPERATING_RULES.items():
        cut = fixed_threshold(holdout.truth == 2, holdout.scores[:, 2], kind, value)
        expected = operating_point(test.truth == 2, test.scores[:, 2], cut, test.patient)
        assert points[rule].threshold == cut
        assert points[rule].table == expected.table
    assert list(operating_points(test, holdout, ["specificity .9"])) == ["specificity .9"]
    benign = Observations(**vars(holdout) | {"truth": np.ones(50, int)})
    assert operating_points(test, benign) == {}


def test_runs_are_compared_on_what_they_share() -> None:
    first, second = seen(40, 4), seen(40, 5, start=10)
    found = compare_observations(first, second)
    expected = compare_aucs(
        first.truth[10:] == 2,
        first.scores[10:, 2],
        second.scores[:30, 2],
        first.patient[10:],
        method="logit",
    )
    assert found == expected and found.difference != 0
    with pytest.raises(ValueError, match="share no observation"):
        compare_observations(first, seen(40, 5, start=40))


def test_observations_of_each_level() -> None:
    images = pd.DataFrame(
        {
            "mammogram_id": ["a", "b", "c", "d"],
            "patient_id": ["p1", "p1", "p2", "p3"],
            "truth": [0.0, 2.0, 1.0, np.nan],
            "s_normal": [0.9, 0.2, 0.4, 0.5],
            "s_benign": [0.3, 0.1, 0.6, 0.5],
            "s_malignant": [0.05, 0.8, 0.25, 0.5],
        }
    )
    found = to_observations(images, "image", MAMMOGRAPHY)
    assert found.key.tolist() == ["a", "b", "c"] and found.truth.tolist() == [0, 2, 1]
    assert found.patient.tolist() == ["p1", "p1", "p2"] and found.patients == 2
    assert found.scores.tolist() == [[0.9, 0.3, 0.05], [0.2, 0.1, 0.8], [0.4, 0.6, 0.25]]
    truth, score = found.against_rest("benign")
    assert (truth.tolist(), score.tolist()) == ([False, False, True], [0.3, 0.1, 0.6])
    truth, score = found.positive_against_rest()
    assert (truth.tolist(), score.tolist()) == ([False, True, False], [0.05, 0.8, 0.25])
    cases = to_observations(images, "case", MAMMOGRAPHY)
    assert cases.key.tolist() == ["p1", "p2"] and cases.truth.tolist() == [2, 1]
    assert cases.scores.tolist() == [[0.2, 0.3, 0.8], [0.4, 0.6, 0.25]]
    patches = images.rename(columns=lambda name: name.replace("s_", "p_")).assign(
        patch_id=[7, 5, 6, 8], label=[1, 0, 2, 2]
    )
    found = to_observations(patches, "patch", MAMMOGRAPHY)
    assert found.key.tolist() == [7, 5, 6, 8] and found.truth.tolist() == [1, 0, 2, 2]
    assert found.scores[3].tolist() == [0.5, 0.5, 0.5] and found.definition == MAMMOGRAPHY


def test_groups_of_all_mammograms_are_not_printed() -> None:
    none = np.empty(0)
    area = auc_interval([1, 0], [0.5, 0.4])
    groups = [
        Subgroup(
            variable="v",
            value=str(n),
            auc=area,
            n=n,
            patients=n,
            truth=none,
            score=none,
            patient=none,
        )
        for n in (9, 10, 11)
    ]
    assert [group.n for group in printed_subgroups(groups, 10)] == [9]


def test_row_of_an_architecture() -> None:
    train = {
        "settings": {"training": {"weights": "/data/weights/own.pth", "epochs": 7}},
        "manifest": {"architecture": "resnet152"},
    }
    rows = [
        ("patch", "malignant", "auc", 0.81, 0.7, 0.9, "logit", "", 120, 30, 25),
        ("patch", "benign", "auc", 0.61, None, None, "Obuchowski (1997)", "few", 110, 40, 24),
        ("patch", "normal", "pauc", 0.5, 0.4, 0.6, "logit", "", 500, 50, 99),
        ("image", "malignant", "auc", 0.9, 0.8, 0.95, "logit", "", 60, 20, 21),
    ]
    names = [
        "level",
        "class",
        "name",
        "estimate",
        "low",
        "high",
        "method",
        "reason",
        "n",
        "positives",
        "patients",
    ]
    metrics = pd.DataFrame(rows, columns=names)
    row = _architecture_row("evaluate-1", train, metrics, "patch")
    assert (row.run, row.architecture, row.weights, row.epochs) == (
        *("evaluate-1", "resnet152"),
        *("own.pth", 7),
    )
    assert (row.n, row.patients, list(row.auc)) == (120, 25, ["malignant", "benign"])
    assert row.published == {
        "normal": 0.862,
        "benign": 0.844,
        "malignant": 0.872,
        "malignant (two classes)": 0.8757,
    }
    assert row.source == "HDSR 2021, test; two classes: SPIE 2018, validation"
    malignant, benign = row.auc["malignant"], row.auc["benign"]
    assert (malignant.estimate, malignant.low, malignant.high, malignant.method) == (
        *(0.81, 0.7, 0.9),
        "logit",
    )
    assert (malignant.positives, malignant.negatives, malignant.clusters) == (30, 90, 25)
    assert (malignant.level, malignant.reason, malignant.standard_error) == (0.95, None, None)
    assert (benign.low, benign.method, benign.reason) == (None, "obuchowski", "few")
    image = _architecture_row("e", train, metrics, "image")
    assert (image.n, image.published, image.source) == (60, {}, "")
    other = train | {"manifest": {"architecture": "own"}}
    none = _architecture_row("e", other, metrics.iloc[:0], "patch")
    assert (none.n, none.patients, none.auc, none.published) == (0, 0, {}, {})
    values = {
        name: published["malignant"] for name, (published, _) in PUBLISHED_ARCHITECTURES.items()
    }
    assert values == {
        "alexnet": 0.8632,
        "vgg16": 0.8929,
        "inception_v3": 0.8805,
        "resnet152": 0.872,
    }
    for name in ("alexnet", "vgg16", "inception_v3"):
        assert PUBLISHED_ARCHITECTURES[name][1] == "SPIE 2018, validation, two classes"


ABLATED = [
    # Class, subject, name, step, estimate, low, high, n.
    (2, "selected", "logit_beyond_random", None, 0.9, 0.8, 1.0, 99),
    (2, "labelled", "logit_drop", None, 1.256, 1.0, 1.5, 17),
    (2, "labelled", "logit_drop_random", None, 0.334, 0.2, 0.4, 17),
    (2, "labelled", "logit_beyond_random", None, 0.922, 0.512, 1.333, 17),
    (2, "labelled", "auc_drop", None, 0.0456, 0.03, 0.06, 17),
    (2, "labelled", "auc_beyond_random", None, 0.0312, 0.0101, 0.0523, 17),
    (2, "map", "mass", None, 0.423, 0.351, 0.498, 41),
    (2, "map", "area", None, 0.123, None, None, 41),
    (2, "map", "peak", None, 0.667, 0.25, 0.782, 40),
    (2, "map", "chance", None, 0.25, None, None, 40),
    (2, "random weights", "mass", None, 0.187, None, None, 41),
    (2, "random weights", "peak", None, 0.214, None, None, 40),
    (2, "by influence", "deletion", 8, 1.5, 1.4, 1.6, 17),
    (2, "by influence", "deletion", 1, 2.5, 2.4, 2.6, 17),
    (2, "at random", "deletion", 1, 2.8, 2.7, 2.9, 17),
    (1, "by influence", "deletion", 1, 9.9, 9.8, 9.99, 17),
]


@pytest.fixture
def ablated(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    columns = ["class", "subject", "name", "step", "estimate", "low", "high", "n"]
    table = pd.DataFrame(ABLATED, columns=columns).assign(method="m")
    monkeypatch.setattr(faithfulness, "load_ablation_table", lambda study, dissect: table)
    monkeypatch.setattr(faithfulness, "run_class_names", lambda study, run: MAMMOGRAPHY.outputs)
    monkeypatch.setattr(faithfulness, "load_image_noun", lambda study: "film")
    return table


def test_lines_about_faithfulness(ablated: pd.DataFrame) -> None:
    assert summary_lines(Path(), "d") == [
        SummaryLine(
            "17 labelled units at zero",
            "malignant logit falls by 1.26",
            "as many random units of equal activation: .33; difference .92 (95 % CI .512 to 1.333);"
            " AUC falls by .046, .031 (95 % CI .010 to .052) more than with random units",
            True,
        ),
        SummaryLine(
            "Class map inside the finding",
            "42 %",
            "95 % CI 35 % to 50 %; 41 films; uniform map 12 %, random weights 19 %",
            True,
        ),
        # A bound at chance does not exclude it.
        SummaryLine(
            "Peak of the map on the finding",
            "67 %",
            "95 % CI 25 % to 78 %; 40 films; by chance 25 %, random weights 21 %",
            False,
        ),
    ]
    assert summary_lines(Path(), "d", 1) == []
    ablated.loc[3, "low"] = 0.0
    ablated.loc[6, ["low", "high"]] = None
    first, second, _ = summary_lines(Path(), "d", 2)
    assert not first.good and second.good is False
    assert second.note.startswith(
        "95 % CI not estimable: one patient, or all patients have the same value; 41 films;"
    )
    ablated.loc[3, "low"] = np.nan
    assert "difference .92; AUC falls" in summary_lines(Path(), "d")[0].note


def test_deletion_curves(ablated: pd.DataFrame) -> None:
    curves = deletion_curves(Path(), "d")
    assert curves.to_numpy().tolist() == [
        ["at random", 1, 2.8, 2.7, 2.9],
        ["by influence", 1, 2.5, 2.4, 2.6],
        ["by influence", 8, 1.5, 1.4, 1.6],
    ]
    assert list(curves.columns) == ["subject", "step", "estimate", "low", "high"]
    assert deletion_curves(Path(), "d", 1)["estimate"].tolist() == [9.9]


def explained(**changes: Any) -> ExplainedMammogram:
    units = tuple(
        NamedUnit(rank, 10 + rank, 1.0 / rank, label, state)
        for rank, (label, state) in enumerate(
            (("Mass", "agreed"), (None, ""), ("Skin", "provisional"), ("Mass", "agreed")), start=1
        )
    )
    maps = np.array([[[4.0, 1], [-3, 16]], [[8, 2], [0, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 0.0]]])
    values: dict[str, Any] = dict.fromkeys(ExplainedMammogram.__dataclass_fields__, None)
    values |= {
        "predicted": "malignant",
        "truth": "malignant",
        "units": units[:3],
        "further": units[3:],
        "unit_maps": maps,
        "scale": 16.0,
        "classes": MAMMOGRAPHY,
        "label_set": "consensus",
    }
    return ExplainedMammogram(**(values | changes))


def test_an_explained_mammogram() -> None:
    case = explained()
    assert case.unit_heat(case.units[0]).tolist() == [[0.5, 0.25], [0, 1]]
    assert case.unit_heat(case.units[1])[0, 0] == pytest.approx(0.5**0.5)
    assert case.rank_text(case.units[2]) == "3 of 4"
    assert [unit.unit for unit in case.all_units] == [11, 12, 13, 14]
    assert [phenomenon.text for phenomenon in case.phenomena(5)] == ["Mass (2 units)", "Skin"]
    assert [phenomenon.text for phenomenon in case.phenomena(1)] == ["Mass (2 units)"]
    assert case.label_sentence().endswith(
        "Labels: 1 provisional (named by one expert, not confirmed), 2 agreed."
    )
    bare = explained(units=case.units[1:2], further=())
    assert bare.label_sentence() == case.label_sentence().split(" Labels:")[0]


@pytest.mark.parametrize(
    ("predicted", "truth", "verdict"),
    [
        ("malignant", "malignant", "true positive"),
        ("malignant", "normal", "false positive"),
        ("benign", "malignant", "false negative"),
        ("benign", "normal", "true negative"),
        (None, "normal", ""),
        ("benign", None, ""),
    ],
)
def test_verdicts_of_decisions(predicted: str | None, truth: str | None, verdict: str) -> None:
    assert explained(predicted=predicted, truth=truth).verdict == verdict


def test_report_lines_without_their_verdict() -> None:
    text = "MASS SHAPE OVAL Assessment 4 SUBTLETY 3 ASSESSMENT 2"
    assert descriptive_part(text) == "MASS SHAPE OVAL "
    assert descriptive_part("REASSESSMENTS OF MASS") == "REASSESSMENTS OF MASS"


def test_commands_on_the_way_to_a_step() -> None:
    states = ["done", "stale", "missing", "running", "failed", "missing"]
    kinds = ["source", *RUN_STEPS]
    cards = [
        StepCard(kind=kind, title=kind.upper(), state=state, headline="", command=f"run {kind}")
        for kind, state in zip(kinds, states)
    ]
    cards.insert(3, StepCard(kind="annotate", title="A", state="missing", headline="", command="x"))
    assert first_command(cards, "patches") == "run patches"
    assert first_command(cards, "train") == "run train"
    assert first_command(cards, "explain") == "run train"
    assert first_command([card for card in cards if card.kind != "train"], "explain") == (
        "run dissect"
    )
    assert next_step(cards).kind == "patches"
    assert cards[-2].next_task == "DISSECT: failed. The command continues it."
    assert cards[0].next_task == "Ingest images." and cards[0].page == "data"
    own = StepCard(kind="reading", title="R", state="missing", headline="", task="Freeze it.")
    assert (own.next_task, own.page) == ("Freeze it.", "reading_study")
    pages = {card.kind: card.page for card in cards}
    assert pages == {
        "source": "data",
        "patches": "data",
        "train": "performance",
        "annotate": "annotations",
        "evaluate": "performance",
        "dissect": "units",
        "explain": "explanations",
    }
