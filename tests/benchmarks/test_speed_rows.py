"""The speed benchmarks on tiny inputs: they fit the program as it is, and make every row."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks import ingestion, networks, statistics
from benchmarks.timing import BenchmarkRow


@pytest.fixture(autouse=True)
def process_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the memory of the test process alone."""
    monkeypatch.setattr(networks, "keep_freed_memory", lambda: None)


def assert_measured(rows: list[BenchmarkRow], names: list[str]) -> None:
    """Check names and that numbers were measured; how large they are depends on the machine."""
    assert [row.name for row in rows] == names
    for row in rows:
        for number in (row.value, row.reference, row.ratio):
            assert math.isfinite(number) and number > 0, row


def test_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(
        networks.SIZES["small"],
        mammograms=1,
        train_steps=2,
        train_batch=4,
        train_rounds=2,
        dissect_patches=8,
        dissect_batch=4,
        dissect_rounds=1,
        explain_rounds=1,
    )
    monkeypatch.setattr(networks, "SIZES", {"small": tiny})
    monkeypatch.setattr(networks, "DEFAULT_SIDE", 64)
    monkeypatch.setattr(networks, "MATRIX_SIDE", 64)
    assert_measured(
        list(networks.measure_networks()),
        [
            "matrix product, float32",
            "matrix product, bfloat16",
            "training, small",
            "dissection pass, small",
            "dissection over the published two passes, small",
            "explanation of a mammogram, small",
        ],
    )


def test_ingestion(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "DICOM, lossless JPEG"
    monkeypatch.setattr(ingestion, "FORMATS", {name: ingestion.FORMATS[name]})
    monkeypatch.setattr(ingestion, "MAMMOGRAM_COUNT", 2)
    monkeypatch.setattr(ingestion, "WIDTH", 1000)
    monkeypatch.setattr(ingestion, "ROUNDS", 1)
    assert_measured(list(ingestion.measure_ingestion()), [f"ingestion, {name}"])


def test_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "PATCH_COUNT", 600)
    monkeypatch.setattr(statistics, "PATIENT_COUNT", 20)
    monkeypatch.setattr(statistics, "RESAMPLES", 50)
    monkeypatch.setattr(statistics, "TIMED_RESAMPLES", 2)
    rows = statistics.measure_statistics()
    assert len(rows) > 1
    assert_measured(rows, [row.name for row in rows])
