"""What `evaluate` keeps for the Performance page: the same numbers as computed from the store,
whole after JSON, and computed anew where it is missing.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from core import store
from core.class_labels import MAMMOGRAPHY
from core.store import run_table
from evaluation.queries import performance, performance_cache
from evaluation.queries.observations import LEVELS, Observations, load_observations, to_observations
from evaluation.queries.performance_cache import PerformanceSummary, from_json, to_json
from evaluation.roc import AucDifference, compare_aucs
from evaluation.roc.calibration_curve import calibration
from evaluation.roc.curve import RocCurve, roc_curve, thin_curve


def latest(path: Path) -> str:
    with store.read(path) as con:
        return str(run_table.latest_run(con, "evaluate"))


def same(a: object, b: object) -> None:
    """Equal up to the last digits: two readings of one study may order patients differently."""
    assert type(a) is type(b)
    left, right = (json.loads(to_json(type(v), v)) for v in (a, b))
    compare(left, right)


def compare(left: object, right: object) -> None:
    if isinstance(left, dict) and isinstance(right, dict):
        assert left.keys() == right.keys()
        for key in left:
            compare(left[key], right[key])
    elif isinstance(left, list) and isinstance(right, list):
        assert len(left) == len(right)
        for pair in zip(left, right):
            compare(*pair)
    elif isinstance(left, float) and isinstance(right, float):
        assert left == pytest.approx(right, rel=1e-9, abs=1e-12, nan_ok=True)
    else:
        assert left == right


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", performance_cache.SUMMARY_SPLITS)
def test_evaluate_keeps_what_the_store_gives(demonstration: Path, split: str, level: str) -> None:
    run = latest(demonstration)
    assert (
        demonstration / "runs" / run / performance_cache.SUMMARY_FOLDER / f"{split}-{level}.json"
    ).is_file()
    kept = performance_cache.load_summary(demonstration, run, split, level)
    fresh = performance.load_class_results(demonstration, run, split, level)
    assert [r.name for r in kept.results] == [r.name for r in fresh]
    for a, b in zip(kept.results, fresh):
        same(replace(a, curve=None), replace(b, curve=None))  # type: ignore[arg-type]
        same(a.curve, thin_curve(b.curve))
    seen = load_observations(demonstration, run, split, level)
    assert (kept.n, kept.patients) == (len(seen.truth), seen.patients) and sum(
        map(sum, kept.counts)
    ) == kept.n
    same(kept.point, performance.load_operating_point(demonstration, run, split, level))


def test_a_run_without_kept_results_is_computed_and_then_kept(
    demonstration: Path, own_study: Path
) -> None:
    run = latest(own_study)
    folder = own_study / "runs" / run / performance_cache.SUMMARY_FOLDER
    shutil.rmtree(folder)
    same(
        performance_cache.load_summary(own_study, run, "test", "image"),
        performance_cache.load_summary(demonstration, run, "test", "image"),
    )
    same(
        performance_cache.load_subgroup_summary(own_study, run, "test"),
        performance_cache.load_subgroup_summary(demonstration, run, "test"),
    )
    performance_cache.ensure_summaries(own_study, run)
    assert len(list(folder.glob("*.json"))) == len(
        list((demonstration / "runs" / run / performance_cache.SUMMARY_FOLDER).glob("*.json"))
    )


def test_results_of_another_version_are_computed_anew(own_study: Path) -> None:
    run = latest(own_study)
    path = own_study / "runs" / run / performance_cache.SUMMARY_FOLDER / "holdout-case.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps(before | {"version": 1, "result": before["result"] | {"n": 0}}))
    summary = performance_cache.load_summary(own_study, run, "holdout", "case")
    assert summary.n == before["result"]["n"] > 0


def test_a_comparison_turned_round_is_the_other_comparison() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 200)
    a, b, who = y + rng.normal(size=200), y + 2 * rng.normal(size=200), rng.integers(0, 40, 200)
    same(compare_aucs(y, a, b, who).reversed(), compare_aucs(y, b, a, who))


def test_a_thinned_curve_keeps_its_ends_and_stays_near() -> None:
    rng = np.random.default_rng(4)
    y = rng.random(20_000) < 0.1
    curve = roc_curve(y, y + rng.normal(size=20_000))
    few = thin_curve(curve)
    assert len(few.fpr) <= 301 and (few.fpr[0], few.tpr[0], few.fpr[-1], few.tpr[-1]) == (
        0,
        0,
        1,
        1,
    )
    # The narrowest screen column shows steps of a hundredth.
    assert np.abs(np.interp(curve.fpr, few.fpr, few.tpr) - curve.tpr).max() < 0.02
    assert thin_curve(few) is few


def test_clustered_calibration_equals_statsmodels() -> None:
    rng = np.random.default_rng(5)
    who = np.repeat(np.arange(60), 5)
    logit = rng.normal(size=300) + rng.normal(size=60)[who]
    p = 1 / (1 + np.exp(-logit))
    y = rng.random(300) < 1 / (1 + np.exp(-(0.7 * logit + rng.normal(size=60)[who])))
    found = calibration(y, p, cluster=who)
    model = sm.GLM(y.astype(float), sm.add_constant(logit), sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": who, "use_correction": False}
    )
    few = np.sqrt(60 / 59)
    assert found.slope == pytest.approx(
        model.params[1]
    ) and found.slope_standard_error == pytest.approx(model.bse[1] * few, rel=1e-6)
    naive = calibration(y, p)
    assert naive.slope == found.slope and naive.slope_standard_error != pytest.approx(
        found.slope_standard_error
    )
    assert (
        found.bins[3].observed.method == "Korn-Graubard"
        and naive.bins[3].observed.method == "wilson"
    )


def test_results_go_through_json_unchanged() -> None:
    curve = roc_curve([0, 1, 1, 0], [0.1, 0.4, 0.4, 0.2])
    read = from_json(RocCurve, to_json(RocCurve, curve))
    same(read, curve)
    assert isinstance(read.fpr, np.ndarray) and np.isinf(read.thresholds).any()
    assert from_json(AucDifference, to_json(RocCurve, curve)) is None
    assert from_json(RocCurve, b"{") is None


def test_splits_without_observations_are_kept_as_such(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    some = Observations(
        classes=MAMMOGRAPHY.names,
        key=np.arange(40),
        truth=rng.integers(0, 3, 40),
        scores=rng.random((40, 3)),
        patient=rng.integers(0, 5, 40).astype(str),
    )
    none = Observations(
        classes=MAMMOGRAPHY.names,
        key=np.array([]),
        truth=np.array([], int),
        scores=np.zeros((0, 3)),
        patient=np.array([], str),
    )
    performance_cache.write_summaries(
        tmp_path,
        lambda split, level: some if split == "holdout" else none,
        0.5,
        {"holdout": [], "test": []},
        {"evaluate-x": lambda split, level: none},
    )
    folder = tmp_path / performance_cache.SUMMARY_FOLDER
    summary = from_json(PerformanceSummary, (folder / "test-case.json").read_bytes())
    assert summary.n == 0 and summary.results == ()
    comparisons = json.loads((folder / performance_cache.COMPARISON_FILE).read_text())
    assert comparisons["result"] == {"evaluate-x": {}}


def test_case_scores_pool_the_images() -> None:
    table = pd.DataFrame(
        {
            "mammogram_id": ["a", "b", "c"],
            "patient_id": ["P", "P", "Q"],
            "truth": [0, 2, 1],
            "s_normal": [0.9, 0.2, 0.5],
            "s_benign": [0.1, 0.3, 0.4],
            "s_malignant": [0.05, 0.7, 0.2],
        }
    )
    observations = to_observations(table, "case", MAMMOGRAPHY)
    assert observations.truth.tolist() == [2, 1] and observations.scores.tolist() == [
        [0.2, 0.3, 0.7],
        [0.5, 0.4, 0.2],
    ]
