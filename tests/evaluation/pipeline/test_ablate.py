"""Ablation statistics on made-up scores, and on the demonstration: the named units matter more than
random ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import store
from core.pipeline.ablate import AblationRun, DeletionStep, UnitAblation
from core.store import run_table
from evaluation.annotation import association_queries
from evaluation.pipeline import ablate
from evaluation.queries import faithfulness
from evaluation.resampling import clustered_mean
from evaluation.roc.ablated_scores import auc_drop


def test_auc_drop_interval_separates_noise_from_loss() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(80), 5)
    y = rng.uniform(size=400) < 0.3
    good = rng.normal(size=400) + 2 * y
    lost = auc_drop(y, good, rng.normal(size=400), patients)
    same = auc_drop(y, good, good + 1e-3 * rng.normal(size=400), patients)
    assert (
        lost.low is not None
        and lost.low > 0.2
        and same.low is not None
        and same.low <= 0 <= same.high + 1e-3
    )
    beyond = auc_drop(y, good, rng.normal(size=400), patients, [rng.normal(size=400)])
    assert beyond.low < 0 < beyond.high
    assert auc_drop(np.zeros(4, bool), good[:4], good[:4], patients[:4]).reason == "one class only"


def test_a_clustered_mean_is_the_mean_and_widens_with_patients() -> None:
    rng = np.random.default_rng(1)
    shift = rng.normal(size=20)
    values, patients = (
        np.repeat(shift, 10) + 0.1 * rng.normal(size=200),
        np.repeat(np.arange(20), 10),
    )
    by_patient, alone = (
        clustered_mean(values, patients),
        clustered_mean(values, np.arange(200)),
    )
    assert by_patient.estimate == pytest.approx(
        values.mean()
    ) and by_patient.high - by_patient.low > 2 * (alone.high - alone.low)
    assert clustered_mean(values[:0], patients[:0]).estimate is None
    same = clustered_mean(np.full(200, 0.1), patients)
    assert (
        same.estimate == pytest.approx(0.1)
        and same.low is None
        and same.reason == "all patients have the same value"
    )


def test_an_interval_without_width_is_not_estimable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def rows(peak: tuple[float | None, float | None]) -> pd.DataFrame:
        shares = {
            ("map", "mass"): (0.2, 0.1, 0.3),
            ("map", "area"): (0.05, 0.04, 0.06),
            ("map", "peak"): (0.5, *peak),
            ("map", "chance"): (0.05, 0.04, 0.06),
            ("random weights", "mass"): (0.05, 0.04, 0.06),
            ("random weights", "peak"): (0.1, 0.0, 0.4),
        }
        return pd.DataFrame(
            [
                {
                    "class": 2,
                    "subject": s,
                    "name": n,
                    "step": None,
                    "estimate": e,
                    "low": low,
                    "high": high,
                    "n": 8,
                }
                for (s, n), (e, low, high) in shares.items()
            ]
        )

    monkeypatch.setattr(faithfulness, "run_class_names", lambda *_: {2: "malignant"})
    monkeypatch.setattr(faithfulness, "load_ablation_table", lambda *_: rows((None, None)))
    mass, peak = faithfulness.summary_lines(tmp_path, "dissect-1")
    assert mass.good and "95 % CI 10 % to 30 %; 8 mammograms" in mass.note
    assert (
        not peak.good
        and "not estimable: one patient, or all patients have the same value" in peak.note
    )
    monkeypatch.setattr(faithfulness, "load_ablation_table", lambda *_: rows((0.3, 0.7)))
    assert faithfulness.summary_lines(tmp_path, "dissect-1")[1].good


def dissection(study: Path) -> str:
    with store.read(study) as con:
        run = run_table.latest_run(con, "dissect")
    assert run is not None
    return run


def test_selected_units_matter_more_than_random_ones(
    demonstration: Path,
) -> None:
    rows = faithfulness.load_ablation_table(demonstration, dissection(demonstration))
    beyond = rows[
        (rows["class"] == 2)
        & (rows["subject"] == "selected")
        & (rows["name"] == "logit_beyond_random")
    ]
    assert beyond["low"].item() > 0
    curves = faithfulness.deletion_curves(demonstration, dissection(demonstration))
    middle = curves[curves["step"] == 16].set_index("subject")["estimate"]
    assert middle["by influence"] < middle["at random"]
    ends = curves[curves["step"] == curves["step"].max()]["estimate"]
    assert ends.iloc[0] == pytest.approx(
        ends.iloc[1], abs=1e-4
    )  # all units at zero: the order no longer matters
    assert len(faithfulness.summary_lines(demonstration, dissection(demonstration))) == 3


def test_class_map_localizes_findings(
    demonstration: Path,
) -> None:
    rows = faithfulness.load_ablation_table(demonstration, dissection(demonstration))
    found = rows[rows["class"] == 2].set_index(["subject", "name"])["estimate"]
    assert found["map", "mass"] > 1.5 * found["random weights", "mass"]
    assert found["map", "peak"] > found["map", "chance"] + 0.2


def test_on_the_phantom_some_units_know_a_concept(demonstration: Path) -> None:
    run = dissection(demonstration)
    frames = [
        association_queries.overlap_by_unit(demonstration, run, d)
        for d in association_queries.list_descriptors(demonstration, run)
        if d.startswith("mass margin: spiculated")
    ]
    assert frames and frames[0]["auc"].max() > 0.65
    checks = association_queries.label_checks(demonstration, run).values()
    assert "holds" in {check.verdict for of_unit in checks for check in of_unit}


def probability(logits: np.ndarray, column: int) -> np.ndarray:
    return np.exp(logits[:, column]) / np.exp(logits).sum(1)


def area(positive: np.ndarray, score: np.ndarray) -> float:
    pairs = [(p > o) + (p == o) / 2 for p in score[positive] for o in score[~positive]]
    return float(np.mean(pairs))


def test_rows_of_an_ablation_by_hand() -> None:
    """The falls of one class's logit and AUC, beyond those of two random sets, on 12 patches."""
    rng = np.random.default_rng(6)
    labels = np.array([0, 1, 2] * 4)
    before, after, one, two = rng.normal(size=(4, 12, 3))
    group = UnitAblation(
        code=7,
        column=1,
        subject="selected",
        units=5,
        before=before,
        after=after,
        random=[one, two],
    )
    steps = [
        DeletionStep(
            code=7,
            column=1,
            step=4,
            by_influence=np.array([1.0, 2.0, 4.0, 8.0]),
            random_means=[3.0, 5.0, 7.5],
        )
    ]
    scores = pd.DataFrame(
        {
            "class": [7, 7],
            "patient_id": ["a", "b"],
            "mass": [0.2, 0.4],
            "peak": [1.0, 0.0],
            "area": [0.1, 0.2],
            "chance": [0.05, 0.15],
        }
    )
    results = AblationRun(
        labels=labels,
        patients=np.array(list("abcdefabcdef")),
        groups=[group, *steps],
        localization={"map": scores},
        inference={},
    )
    table = ablate.ablation_table(results)
    rows = {(row.subject, row.name): row for row in table.itertuples(index=False)}
    positive = labels == 1
    drop = (before - after)[positive, 1].mean()
    random = ((before - one)[positive, 1].mean() + (before - two)[positive, 1].mean()) / 2
    old, new = (area(positive, probability(scores, 1)) for scores in (before, after))
    other = np.mean([area(positive, probability(scores, 1)) for scores in (one, two)])
    expected = {
        "logit_drop": drop,
        "logit_drop_random": random,
        "logit_beyond_random": drop - random,
        "auc_drop": old - new,
        "auc_beyond_random": other - new,
    }
    for name, value in expected.items():
        row = rows["selected", name]
        assert row.estimate == pytest.approx(value), name
        assert (row[0], row.n) == (7, 5) and pd.isna(row.step)
        assert name.startswith("auc") or row.method.endswith("; 2 random draws")
        assert row.low < row.estimate < row.high
    ordered, at_random = rows["by influence", "deletion"], rows["at random", "deletion"]
    assert (ordered.estimate, ordered.step, ordered.n) == (3.75, 4, 4)
    assert at_random.estimate == pytest.approx(15.5 / 3)
    assert (at_random.low, at_random.high) == pytest.approx((3.1, 7.375))
    assert (at_random.step, at_random.n) == (4, 4)
    assert at_random.method == "range of 3 random orders"
    shares = {name: rows["map", name].estimate for name in ("mass", "peak", "area", "chance")}
    assert shares == pytest.approx({"mass": 0.3, "peak": 0.5, "area": 0.15, "chance": 0.1})
    assert len(table) == 5 + 2 + 4
