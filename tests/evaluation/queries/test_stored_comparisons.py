"""What a page is given from a run's stored results, and what it computes without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.queries import performance, performance_cache
from evaluation.queries.performance_cache import (
    COMPARISON_FILE,
    SUMMARY_FOLDER,
    Comparisons,
    PerformanceSummary,
    SubgroupSummary,
    load_comparison,
    to_json,
)
from evaluation.roc import AucDifference

STORED = AucDifference(
    difference=0.1,
    standard_error=0.05,
    statistic=2.0,
    p_value=0.046,
    low=0.002,
    high=0.198,
    first=0.9,
    second=0.8,
    p_greater=0.023,
)
TURNED = AucDifference(
    difference=-0.1,
    standard_error=0.05,
    statistic=-2.0,
    p_value=0.046,
    low=-0.198,
    high=-0.002,
    first=0.8,
    second=0.9,
    p_greater=0.977,
)
ANEW = AucDifference(difference=0.25)


def put(study: Path, name: str, text: bytes) -> None:
    folder = study / "runs" / "evaluate-2" / SUMMARY_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text)


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The comparisons that are computed anew."""
    made: list[tuple[object, ...]] = []

    def compare(*named: object) -> AucDifference:
        made.append(named)
        return ANEW

    monkeypatch.setattr(performance, "compare_runs", compare)
    return made


def test_comparisons_are_read_in_both_directions(
    tmp_path: Path, requested: list[tuple[object, ...]]
) -> None:
    stored = {"evaluate-1": {"test-image": STORED}}
    put(tmp_path, COMPARISON_FILE, to_json(Comparisons, stored))
    assert load_comparison(tmp_path, "evaluate-2", "evaluate-1", "test", "image") == STORED
    assert load_comparison(tmp_path, "evaluate-1", "evaluate-2", "test", "image") == TURNED
    assert requested == []
    # Another level, and another run, are not stored.
    for first, second, level in (
        ("evaluate-2", "evaluate-1", "case"),
        ("evaluate-2", "evaluate-3", "image"),
    ):
        assert load_comparison(tmp_path, first, second, "test", level) is ANEW
        assert requested.pop() == (tmp_path, first, second, "test", level)


def test_summaries_are_read_from_the_folder_of_the_run(tmp_path: Path) -> None:
    """No store lies in the folder: to compute a result would fail."""
    summary = PerformanceSummary(
        n=7,
        patients=5,
        results=(),
        calibrations={},
        names=("benign", "malignant"),
        counts=((3, 1), (2, 1)),
        points={},
    )
    put(tmp_path, "test-case.json", to_json(PerformanceSummary, summary))
    put(tmp_path, "test-groups.json", to_json(SubgroupSummary, SubgroupSummary((), ())))
    assert performance_cache.load_summary(tmp_path, "evaluate-2", "test", "case") == summary
    assert summary.point is None
    groups = performance_cache.load_subgroup_summary(tmp_path, "evaluate-2", "test")
    assert groups == SubgroupSummary((), ())
