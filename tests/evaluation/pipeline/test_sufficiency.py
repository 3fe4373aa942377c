"""What the named units carry alone: planted units of known effect, intervals and random sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import lineage, store
from core.interpretation import inference
from core.pipeline import sufficiency as network_half
from core.settings import load_order_of_experts
from core.store import run_table
from core.store.labels import decision_table, label_states
from evaluation.annotation.sufficiency import Sufficiency, load_sufficiency
from evaluation.pipeline.bottleneck import fit_bottleneck
from evaluation.pipeline.sufficiency import (
    KeptUnits,
    SufficiencyRun,
    class_log_odds,
    run_sufficiency,
    sufficiency_table,
)
from evaluation.queries.study_status import study_status
from evaluation.roc import auc
from evaluation.roc.ablated_scores import share_above_chance
from support.array_patches import no_progress


def plant_head(monkeypatch: pytest.MonkeyPatch, named: list[int], *, reads_named: bool) -> None:
    """Let the head of every loaded network read the named units only, or all but these.

    Every eighth patch is used: the planted effect does not depend on their number.
    """
    load, read = inference.load_network, network_half.load_patch_table

    def load_planted(study: Path, run: str) -> Any:
        network = load(study, run)
        weights = network.last_linear().weight
        silent = np.ones(weights.shape[1], bool)
        silent[named] = False
        weights.data[:, silent if reads_named else ~silent] = 0
        return network

    monkeypatch.setattr(network_half.inference, "load_network", load_planted)
    monkeypatch.setattr(
        network_half,
        "load_patch_table",
        lambda *a: read(*a).iloc[::8].reset_index(drop=True),
    )


def named_units(study: Path) -> tuple[str, list[int]]:
    with store.read(study) as con:
        dissect = run_table.latest_run(con, "dissect")
        assert dissect is not None
        return dissect, sorted(label_states.unit_labels(con, dissect, load_order_of_experts(study)))


def measure(study: Path, dissect: str) -> Sufficiency:
    run_sufficiency(study, no_progress, dissect)
    result = load_sufficiency(study, dissect)
    assert result is not None
    return result


def test_a_head_that_reads_only_the_named_units_gives_a_share_of_one(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dissect, named = named_units(own_study)
    plant_head(monkeypatch, named, reads_named=True)
    result = measure(own_study, dissect)
    assert result.units == len(named) and result.subject == "named"
    assert result.auc == result.whole and result.share == pytest.approx(1, abs=1e-12)
    assert result.whole is not None and result.whole > 0.6
    assert "carry 100 %" in result.sentence()
    assert result.bottleneck is not None and 0 < result.bottleneck_units <= len(named)
    assert result.drop == pytest.approx(result.whole - result.bottleneck)
    status = study_status(own_study)["sufficiency"]
    assert status == {
        "auc": result.auc,
        "random_low": result.random_low,
        "random_high": result.random_high,
    }


def test_a_head_that_reads_no_named_unit_gives_an_auc_of_one_half(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dissect, named = named_units(own_study)
    assert load_sufficiency(own_study, dissect) is None
    assert study_status(own_study)["sufficiency"] is None
    plant_head(monkeypatch, named, reads_named=False)
    result = measure(own_study, dissect)
    assert result.auc == 0.5 and result.share == 0
    assert result.share_low is None and "carry 0 %" in result.sentence()
    assert result.comparison == "less" and "carry less than random units do" in result.sentence()


def test_the_table_states_intervals_by_patient_for_every_class_and_set() -> None:
    rng = np.random.default_rng(3)
    labels, patients = np.tile([0, 1, 2], 60), np.repeat(np.arange(30).astype(str), 6)
    signal = np.eye(3)[labels] * 2
    full = signal + rng.normal(size=(180, 3))
    kept = KeptUnits(
        subject="named",
        units=4,
        logits=full + rng.normal(size=(180, 3)),
        random=[signal + rng.normal(size=(180, 3)) for _ in range(40)],
    )
    results = SufficiencyRun(
        codes=[0, 1, 2],
        labels=labels,
        patients=patients,
        full=full,
        sets=[kept],
        living=9,
        holdout_patches=50,
        inference={"form": "modules"},
    )
    table = sufficiency_table(results)
    assert set(table["class"]) == {0, 1, 2}
    rows = table[table["class"] == 2].set_index(["subject", "name"])
    part = rows.loc[("named", "auc")]
    assert part["low"] < part["estimate"] < part["high"] and part["n"] == 4
    # A slow count of pairs, on softmax probabilities instead of log odds.
    scores = np.exp(kept.logits) / np.exp(kept.logits).sum(1, keepdims=True)
    pairs = [
        (a > b) + 0.5 * (a == b) for a in scores[labels == 2, 2] for b in scores[labels != 2, 2]
    ]
    assert part["estimate"] == pytest.approx(np.mean(pairs), abs=1e-3)
    share = rows.loc[("named", "share_above_chance")]
    whole = rows.loc[("all", "auc")]["estimate"]
    assert share["estimate"] == pytest.approx((part["estimate"] - 0.5) / (whole - 0.5))
    random = rows.loc[("named", "auc_random_sets")]
    areas = [float(auc(labels == 2, class_log_odds(logits, 2))) for logits in kept.random]
    assert random["estimate"] == pytest.approx(np.median(areas))
    assert random["low"] == pytest.approx(np.quantile(areas, 0.025))


def test_the_share_is_not_estimable_where_the_whole_network_is_at_chance() -> None:
    rng = np.random.default_rng(0)
    labels, patients = np.tile([True, False], 40), np.repeat(np.arange(20), 4)
    noise, part = rng.normal(size=80), rng.normal(size=80) + labels
    below = noise - 2 * labels
    share = share_above_chance(labels, below, part, patients)
    assert share.estimate is None and share.reason == "the AUC of the whole network is not above .5"
    weak = share_above_chance(labels, noise + 0.4 * labels, part, patients)
    assert weak.low is None
    assert weak.reason == "the AUC of the whole network is not reliably above .5"
    assert share_above_chance(labels | True, noise, part, patients).reason == "one class only"
    one = share_above_chance(labels, noise + 3 * labels, part, np.zeros(80))
    assert one.low is None and one.estimate is not None


def test_the_interval_of_the_share_resamples_patients_and_not_patches() -> None:
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(24), 20)
    labels = np.tile([True, False], 240)
    whole = rng.normal(size=480) + 3 * labels
    # In half of the patients the units tell everything, in the other half nothing.
    part = np.where(patients % 2 == 0, whole, rng.normal(size=480))
    by_patient = share_above_chance(labels, whole, part, patients)
    alone = share_above_chance(labels, whole, part, np.arange(480))
    assert by_patient.high - by_patient.low > 1.5 * (alone.high - alone.low)


def test_other_labels_make_a_new_run(own_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dissect, named = named_units(own_study)
    computed: list[list[int]] = []

    def record(_study: Path, _run: str, sets: dict[str, list[int]], *_others: object) -> Any:
        computed.append(sets["named"])
        size = 12
        return SufficiencyRun(
            codes=list(lineage.run_classes(own_study, dissect).codes),
            labels=np.arange(size) % 3,
            patients=np.arange(size).astype(str),
            full=np.eye(3)[np.arange(size) % 3],
            sets=[],
            living=1,
            holdout_patches=1,
            inference={},
        )

    monkeypatch.setattr("evaluation.pipeline.sufficiency.keep_units", record)
    first = run_sufficiency(own_study, no_progress, dissect)
    again = run_sufficiency(own_study, no_progress, dissect)
    assert first.created and not again.created and first.run == again.run
    with store.write(own_study) as con:
        decision_table.record_decision(con, dissect, named[0], "", [], "no phenomenon", "T")
    other = run_sufficiency(own_study, no_progress, dissect)
    assert other.created and computed == [named, named[1:]]


def test_log_odds_are_those_of_the_probability() -> None:
    logits = np.random.default_rng(2).normal(size=(6, 3)) * 3
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.log(probability[:, 1] / (1 - probability[:, 1]))
    assert class_log_odds(logits, 1) == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(class_log_odds(np.array([[2000.0, -2000.0]]), 1)).all()


def test_the_bottleneck_uses_the_few_units_that_tell_the_classes() -> None:
    rng = np.random.default_rng(6)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 3
        activations = rng.gamma(1.0, 1.0, (count, 20))
        activations[:, 4] += labels == 1
        activations[:, 9] += labels == 2
        return activations, labels

    (train, train_labels), (holdout, holdout_labels), (test, labels) = map(draw, (900, 600, 600))
    head = fit_bottleneck(train, train_labels, holdout, holdout_labels, test)
    assert head is not None and 2 <= head.units <= 8
    # The best rule rests on these two units: a single one can hardly be better.
    for column, unit in ((1, 4), (2, 9)):
        area = float(auc(labels == column, class_log_odds(head.logits, column)))
        assert area > float(auc(labels == column, test[:, unit])) - 0.02 > 0.75
    alone = fit_bottleneck(train, np.zeros(900, int), holdout, holdout_labels * 0, test)
    assert alone is None
    assert fit_bottleneck(train, np.minimum(train_labels, 1), holdout, holdout_labels, test) is None
