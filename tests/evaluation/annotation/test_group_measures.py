"""Minutes to a coverage and variety of texts, by hand and on the demonstration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import store
from core.pipeline.unit_groups import run_grouping
from core.store import run_table, unit_table
from core.store.labels import group_table, label_states
from evaluation.annotation.group_measures import measure_groups, minutes_to_coverage
from support.array_patches import no_progress


def test_minutes_by_hand() -> None:
    # Two classes and three images; units 0 and 1 respond to the same thing.
    tops = np.array([[[0, 1], [0, 2], [1, 3]], [[0, 1], [1, 4], [5, 6]]])
    units = [[0], [1], [2], [3], [4]]
    groups = [[0, 1], [2], [3], [4]]
    half, most, all_ = minutes_to_coverage(tops, ["a", "b", "b"], units, groups, seconds=60)
    # Ten of the twelve slots belong to the five units: 3 of unit 0, 4 of unit 1, 1 of each other.
    assert all_.coverage == pytest.approx(10 / 12)
    assert (half.units, half.groups) == (2, 1) and half.coverage == pytest.approx(5 / 12)
    assert (most.units, most.groups) == (3, 2)
    assert (all_.minutes_units, all_.minutes_groups) == (5.0, 4.0)
    assert all_.ratio.estimate == pytest.approx(0.8)


def test_a_coverage_that_groups_never_reach_is_said() -> None:
    tops = np.array([[[0, 1], [0, 2], [1, 3]]])
    rows = minutes_to_coverage(tops, list("abc"), [[0], [1], [2], [3]], [[0]], seconds=30)
    assert rows[-1].groups is None and rows[-1].minutes_groups is None
    assert rows[-1].ratio.estimate is None
    one = minutes_to_coverage(tops, list("aaa"), [[0], [1]], [[0, 1]], seconds=30)
    assert one[0].ratio.low is None and one[0].ratio.reason == "one patient"


def test_the_interval_of_the_ratio_resamples_patients() -> None:
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(12), 10)
    # Each patient has units of its own among the top of all its images.
    own = rng.integers(0, 20, (12, 4))[patients]
    units, groups = [[u] for u in range(20)], [[u, u + 1] for u in range(0, 20, 2)]
    clustered = minutes_to_coverage(own[None], patients, units, groups, 30)[0].ratio
    alone = minutes_to_coverage(own[None], np.arange(120), units, groups, 30)[0].ratio
    assert clustered.high - clustered.low > alone.high - alone.low


def test_on_the_demonstration_groups_halve_the_minutes(own_study: Path) -> None:
    with store.read(own_study) as con:
        dissect = run_table.latest_run(con, "dissect")
    assert dissect is not None and measure_groups(own_study, dissect) is None
    first = run_grouping(own_study, no_progress, dissect)
    assert first.created and not run_grouping(own_study, no_progress, dissect).created
    measures = measure_groups(own_study, dissect)
    assert measures is not None and measures.groups < measures.units
    for selected, whole in zip(measures.selected, measures.whole):
        assert selected.ratio.estimate is not None and selected.ratio.estimate < 0.75
        assert whole.ratio.estimate is not None and whole.ratio.estimate <= 0.5
        assert selected.minutes_units == whole.minutes_units
    before, after = measures.by_unit, measures.by_group
    assert before is not None and after is not None and measures.ratio is not None
    # Printing a phenomenon once leaves room for others, from the same labels and mammograms.
    assert measures.ratio > 1 and after.cases == before.cases
    assert _labels_by_hand(own_study, dissect) == (
        before.per_case.estimate,
        after.per_case.estimate,
    )
    text = " ".join(measures.sentences())
    assert text.startswith("SIMULATED answers. The ") and "hold-out mammograms" in text
    with store.read(own_study) as con:
        groups = group_table.load_groups(con, dissect) or ()
    assert sorted(unit for group in groups for unit in group) == list(range(64))


def _labels_by_hand(study: Path, dissect: str) -> tuple[float, float]:
    """Return the mean number of distinct labels, by unit and by group, of hold-out mammograms."""
    with store.read(study) as con:
        explain = run_table.latest_run(con, "explain")
        labels = label_states.unit_labels(con, dissect, [])
        explained = unit_table.load_explanations(con, explain)
        by_unit, by_group = [], []
        for row in explained[explained["split"] == "holdout"].itertuples():
            influences = unit_table.load_influences(con, explain, row.mammogram_id)
            code = 2 if row.p_malignant >= row.p_benign else 1
            ranked = influences[influences["class"] == code].head(32)
            first = [labels[u].text for u in ranked["unit"].head(8) if u in labels]
            positive = [u for u, value in zip(ranked["unit"], ranked["influence"]) if value > 0]
            by_unit.append(len(set(first[:5])))
            by_group.append(min(5, len({labels[u].text for u in positive if u in labels})))
    return float(np.mean(by_unit)), float(np.mean(by_group))
