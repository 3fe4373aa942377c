"""Ablation statistics on made-up scores, and on the demonstration: the named units matter more than
random ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import store
from core.store import run_table
from evaluation.annotation import association_queries
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
