"""Rows of the tables of the steps against counts and sums by hand, where all numbers differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.pipeline.ablate import AblationRun, UnitAblation
from core.pipeline.descriptor_overlap import DescriptorSample
from core.pipeline.sufficiency import BottleneckData
from evaluation.annotation.descriptor_association import descriptor_aucs
from evaluation.pipeline import ablate, bottleneck, descriptor_association, evaluate
from evaluation.pipeline import sufficiency as step
from evaluation.pipeline.sufficiency import KeptUnits, SufficiencyRun, sufficiency_table
from evaluation.roc import auc_interval
from evaluation.roc.ablated_scores import auc_drop, share_above_chance
from evaluation.roc.partial_area import partial_auc

TWO = MAMMOGRAPHY.with_outputs(2)


def test_rows_of_one_metric() -> None:
    rng = np.random.default_rng(4)
    positive = np.array([True, False, False, True, False, True, False, False] * 3)
    score = np.round(rng.random(24) + 0.3 * positive, 2)
    patient = np.array(list("aabbccde" * 3))
    group = {"split": "test", "level": "patch", "class": "benign"}
    rows = list(
        evaluate.class_metrics(group, pd.Series(positive), pd.Series(score), pd.Series(patient))
    )
    area, part = auc_interval(positive, score, patient), partial_auc(positive, score)
    base = group | {"n": 24, "positives": 9, "patients": 5}
    assert area.estimate == pytest.approx(roc_auc_score(positive, score))
    assert rows[0] == base | {
        "name": "auc",
        "estimate": area.estimate,
        "low": area.low,
        "high": area.high,
        "method": "logit scale, small-sample t, patients as clusters",
        "reason": "",
    }
    values = {
        "pauc": part.raw,
        "pauc_fraction": part.fraction,
        "pauc_mcclish": part.mcclish,
        "pauc_deepminer_2021": part.deepminer_2021,
    }
    assert len(set(values.values())) == 4
    for row, (name, value) in zip(rows[1:], values.items(), strict=True):
        assert row == base | {
            "name": name,
            "estimate": value,
            "low": None,
            "high": None,
            "method": "trapezoid, sensitivity >= .8",
            "reason": "",
        }
    # One class has no AUC, and an empty split no rows but the reason.
    alone = pd.Series([True, True])
    ones = list(evaluate.class_metrics(group, alone, pd.Series([0.1, 0.2]), pd.Series(["a", "b"])))
    assert len(ones) == 5 and all(row["estimate"] is None and row["reason"] for row in ones)
    empty = pd.Series([], dtype=float)
    assert list(evaluate.class_metrics(group, empty, empty, empty)) == [
        group
        | {"n": 0, "positives": 0, "patients": 0, "name": "auc", "estimate": None}
        | {"low": None, "high": None, "method": "logit scale"}
        | {"reason": "the test split has no patch"}
    ]


@pytest.mark.parametrize("classes", [MAMMOGRAPHY, TWO])
def test_metrics_of_a_split(classes: ClassDefinition) -> None:
    """Patches, mammograms with a truth, and patients are counted by class."""
    patches = pd.DataFrame(
        {
            "patient_id": list("aabbbz"),
            "split": ["test"] * 5 + ["holdout"],
            "label": [0, 2, 2, 1, 0, 2],
            **{f"p_{name}": [0.1, 0.9, 0.6, 0.5, 0.2, 0.7] for name in classes.scored},
        }
    )
    mammograms = pd.DataFrame(
        {
            "patient_id": list("aabbcz"),
            "split": ["test"] * 5 + ["holdout"],
            "truth": [0, 2, 1, np.nan, 0, 2],
            **{f"s_{name}": [0.1, 0.9, 0.95, 0.5, 0.2, 0.7] for name in classes.scored},
        }
    )
    rows = pd.DataFrame(evaluate.split_metrics("test", patches, mammograms, classes))
    areas = rows[rows["name"] == "auc"].set_index(["class", "level"])
    counts = areas[["n", "positives", "patients"]]
    assert areas.index.tolist() == [
        (name, level) for name in classes.scored for level in ("patch", "image", "case")
    ]
    assert (areas["split"] == "test").all()
    positives = {"normal": (2, 2, 1), "benign": (1, 1, 1), "malignant": (2, 1, 1)}
    for name in classes.scored:
        for level, n, patients, count in zip(
            ("patch", "image", "case"), (5, 4, 3), (2, 3, 3), positives[name], strict=True
        ):
            assert counts.loc[(name, level)].tolist() == [n, count, patients], (name, level)
    # Of the patients the largest score counts: b has .95 and truth 1, a has .9 and truth 2.
    malignant = areas.loc["malignant"]["estimate"]
    assert malignant.tolist() == pytest.approx([1, 2 / 3, 1 / 2])


def test_scores_and_threshold_of_two_and_three_classes() -> None:
    row = {"s_normal": 0.5, "s_benign": 0.25, "s_malignant": 0.125}
    three, two = evaluate._scores(row, MAMMOGRAPHY), evaluate._scores(row, TWO)
    assert (three.normal, three.lesions) == (0.5, (0.25, 0.125))
    assert (two.normal, two.lesions) == (None, (0.125,))
    holdout = pd.DataFrame(
        {
            "truth": [0, 0, 1, 2, np.nan],
            "s_normal": [0.9, 0.7, 0.8, 0.1, 0.65],
            "s_malignant": [0.2, 0.1, 0.3, 0.6, 0.05],
        }
    )
    # Normal at or above .7: both, and one of two others; at or above .9: one and none.
    assert evaluate.normal_threshold(holdout, MAMMOGRAPHY) == 0.9
    assert evaluate.normal_threshold(holdout.iloc[:3], MAMMOGRAPHY) == 0.9
    assert evaluate.normal_threshold(holdout, TWO) == 0.6
    assert evaluate.normal_threshold(holdout.iloc[:2], MAMMOGRAPHY) == 0.5
    assert evaluate.normal_threshold(holdout.iloc[[2, 3, 4]], MAMMOGRAPHY) == 0.5


def test_association_rows() -> None:
    """Words of reports are compared among findings, categories among all patches."""
    rng = np.random.default_rng(8)
    present = rng.random((60, 3)) < 0.4
    patients = np.repeat(np.arange(15).astype(str), 4)
    sample = DescriptorSample(
        descriptors=["finding", "mass margin: spiculated", "mass"],
        present=present,
        patients=patients,
        units=np.array([3, 8]),
        activations=rng.random((2, 60)).astype(np.float32),
        iou=np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]),
        inference={},
    )
    table = descriptor_association.association_table(sample)
    kinds = [descriptor_association.comparison_group(name) for name in sample.descriptors]
    assert "other findings" in kinds and len(set(kinds)) == 2
    assert table["unit"].tolist() == [3, 8] * 3 and table["unit"].dtype == np.int32
    assert table["iou"].tolist() == [0.1, 0.4, 0.2, 0.5, 0.3, 0.6]
    for column, (name, kind) in enumerate(zip(sample.descriptors, kinds)):
        positive = present[:, column]
        among = np.ones(60, bool) if kind != "other findings" else positive | present[:, 0]
        expected = descriptor_aucs(sample.activations[:, among], positive[among], patients[among])
        rows = table[table["descriptor"] == name].reset_index(drop=True)
        assert rows[["auc", "low", "high", "p"]].equals(expected)
        assert (rows["contrast"] == kind).all() and (rows["positives"] == positive.sum()).all()
        assert (rows["patients"] == len(set(patients[positive]))).all()
    adjusted = stats.false_discovery_control(table["p"], method="bh")
    assert table["p_adjusted"].tolist() == pytest.approx(adjusted.tolist())
    # Without the descriptor of findings all patches are compared.
    sample = DescriptorSample(**vars(sample) | {"descriptors": ["x", *sample.descriptors[1:]]})
    rows = descriptor_association._descriptor_rows(sample, 1)
    assert rows["auc"][0] == pytest.approx(roc_auc_score(present[:, 1], sample.activations[0]))


def kept_units(rng: np.random.Generator, signal: np.ndarray, subject: str, n: int) -> KeptUnits:
    logits = [signal + rng.normal(size=signal.shape) for _ in range(7)]
    return KeptUnits(subject=subject, units=n, logits=logits[0], random=logits[1:])


def test_rows_of_sufficiency_by_hand() -> None:
    """Two sets of units and a classifier on the named ones; two of three classes have patches."""
    rng = np.random.default_rng(5)
    labels, patients = np.array([0, 2, 0, 0, 2] * 6), np.repeat(np.arange(10).astype(str), 3)
    signal = np.eye(3)[labels] * 1.5
    train_labels = np.arange(60) % 3
    activations = rng.random((90, 4)) + np.eye(4)[np.r_[train_labels, labels]]
    data = BottleneckData(
        train=activations[:60],
        train_labels=train_labels,
        holdout=activations[:60],
        holdout_labels=train_labels,
        test=activations[60:],
    )
    named = kept_units(rng, signal, "named", 4)
    results = SufficiencyRun(
        codes=[0, 1, 2],
        labels=labels,
        patients=patients,
        full=signal + rng.normal(size=signal.shape),
        sets=[named, kept_units(rng, signal, "selected", 6)],
        living=9,
        holdout_patches=60,
        inference={},
        bottleneck=data,
    )
    head = bottleneck.fit_bottleneck(
        data.train, data.train_labels, data.holdout, data.holdout_labels, data.test
    )
    assert head is not None
    table = sufficiency_table(results)
    assert list(table) == [
        *("class", "subject", "name", "step", "estimate", "low", "high", "method", "n")
    ]
    assert table["step"].isna().all() and table["step"].dtype == float
    assert str(table["n"].dtype) == "Int64"
    rows = {(r[0], r.subject, r.name): r for r in table.itertuples(index=False)}
    order = [
        ("all", "auc"),
        *((s, n) for s in ("named", "selected") for n in ("auc", "share_above_chance", "random")),
        ("bottleneck", "auc"),
        ("bottleneck", "auc_drop"),
    ]
    names = [(s, n.replace("random", "auc_random_sets")) for s, n in order]
    subjects = {"all": step.ALL_UNITS, "bottleneck": step.BOTTLENECK}
    names = [(subjects.get(s, s), n) for s, n in names]
    for code in (0, 2):
        assert [key[1:] for key in rows if key[0] == code] == names
    # Without patches of a class there are no random sets.
    assert [key[1:] for key in rows if key[0] == 1] == [n for n in names if "random" not in n[1]]

    def log_odds(logits: np.ndarray) -> np.ndarray:
        # Of a softmax: the log of p / (1 - p).
        p = np.exp(logits)[:, 2] / np.exp(logits).sum(1)
        return np.round(np.log(p / (1 - p)), 4)

    def check(key: tuple[int, str, str], expected: Any, n: int | None) -> None:
        row = rows[key]
        assert (row.estimate, row.low, row.high) == pytest.approx(
            (expected.estimate, expected.low, expected.high)
        ), key
        assert row.method == expected.method and (pd.isna(row.n) if n is None else row.n == n)

    y, whole = labels == 2, log_odds(results.full)
    check((2, step.ALL_UNITS, "auc"), auc_interval(y, whole, patients), None)
    assert rows[2, step.ALL_UNITS, "auc"].estimate == pytest.approx(roc_auc_score(y, whole))
    for units in results.sets:
        part = log_odds(units.logits)
        check((2, units.subject, "auc"), auc_interval(y, part, patients), units.units)
        share = share_above_chance(y, whole, part, patients)
        check((2, units.subject, "share_above_chance"), share, units.units)
        areas = [roc_auc_score(y, log_odds(logits)) for logits in units.random]
        row = rows[2, units.subject, "auc_random_sets"]
        assert (row.estimate, row.low, row.high) == pytest.approx(
            (np.median(areas), *np.quantile(areas, [0.025, 0.975]))
        )
        assert row.method == "median and central 95 % of 6 random sets" and row.n == units.units
    own = log_odds(head.logits)
    check((2, step.BOTTLENECK, "auc"), auc_interval(y, own, patients), head.units)
    check((2, step.BOTTLENECK, "auc_drop"), auc_drop(y, whole, own, patients), head.units)
    # Without a fitted classifier its rows are absent.
    bare = SufficiencyRun(**vars(results) | {"bottleneck": None})
    assert set(sufficiency_table(bare)["subject"]) == {step.ALL_UNITS, "named", "selected"}


def test_the_classifier_on_named_units_is_the_sparsest_of_the_good_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert bottleneck.STRENGTHS == (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    # So close to each other that several have nearly the least loss.
    strengths = (0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15)
    monkeypatch.setattr(bottleneck, "STRENGTHS", strengths)
    rng = np.random.default_rng(2)
    labels = np.arange(240) % 3
    data = rng.gamma(2.0, 1.0, (240, 6))
    data[:, 1] += labels == 1
    data[:, 4] += 1.5 * (labels == 2)
    data[:, 5] *= 50
    train, holdout, test = data[:120], data[120:200], data[200:]
    result = bottleneck.fit_bottleneck(train, labels[:120], holdout, labels[120:200], test)
    mean, deviation = train.mean(0), train.std(0)
    fits = []
    for strength in strengths:
        model = LogisticRegression(
            C=strength, l1_ratio=1.0, solver="saga", tol=1e-2, max_iter=2_000, random_state=1
        ).fit((train - mean) / deviation, labels[:120])
        p = model.predict_proba((holdout - mean) / deviation)
        fits.append((-np.log(p[np.arange(80), labels[120:200]]).mean(), strength, model))
    least = min(loss for loss, *_ in fits)
    loss, strength, model = next(fit for fit in fits if fit[0] <= least + 0.01)
    assert result is not None and result.strength == strength and loss > least
    assert result.units == (model.coef_ != 0).any(axis=0).sum() < 6
    expected = model.predict_proba((test - mean) / deviation)
    assert np.exp(result.logits) == pytest.approx(expected)


def test_ten_random_sets_have_an_auc() -> None:
    rng = np.random.default_rng(7)
    labels, patients = np.arange(24) % 3, np.repeat(np.arange(8).astype(str), 3)
    before, after, *random = rng.normal(size=(14, 24, 3)) + np.eye(3)[labels]
    group = UnitAblation(
        code=2, column=2, subject="labelled", units=3, before=before, after=after, random=random
    )
    results = AblationRun(
        labels=labels, patients=patients, groups=[group], localization={}, inference={}
    )
    rows = {row["name"]: row for row in ablate._set_rows(group, results)}
    table = ablate.ablation_table(results)
    columns = ["class", "subject", "name", "step", "estimate", "low", "high", "method", "n"]
    assert list(table) == columns and str(table["n"].dtype) == "Int64"
    assert table["step"].dtype == float

    def probability(logits: np.ndarray) -> np.ndarray:
        return np.exp(logits)[:, 2] / np.exp(logits).sum(1)

    y, own, other = labels == 2, probability(before), probability(after)
    ten = auc_drop(y, own, other, patients, [probability(logits) for logits in random[:10]])
    assert rows["auc_beyond_random"]["estimate"] == pytest.approx(ten.estimate)
    assert rows["auc_beyond_random"]["method"] == ten.method and len(random) == 12
    assert rows["auc_drop"]["method"] == auc_drop(y, own, other, patients).method
    assert rows["logit_drop"]["method"].endswith("; 12 random draws")
    large = np.array([[2000.0, 0.0, 2000.0], [-3000.0, -3000.0, -3001.0]])
    assert ablate._probability(large, 2) == pytest.approx([0.5, 1 / (1 + 2 * np.e)])


def test_summary_of_an_ablation() -> None:
    columns = ["class", "subject", "name", "estimate", "low", "high"]
    rows = [
        (2, "selected", "logit_beyond_random", 1.234, 0.456, 2.345),
        (1, "selected", "logit_beyond_random", 0.5, None, None),
        (0, "selected", "logit_beyond_random", -0.25, -0.75, 0.125),
        (2, "labelled", "logit_beyond_random", 9.0, 8.0, 9.5),
        (2, "selected", "logit_drop", 7.0, 6.0, 7.5),
    ]
    assert ablate.summary_line(pd.DataFrame(rows, columns=columns), MAMMOGRAPHY) == (
        "malignant logit falls 1.23 more than with random units (0.46 to 2.35); normal logit falls"
        " -0.25 more than with random units (-0.75 to 0.12)"
    )
