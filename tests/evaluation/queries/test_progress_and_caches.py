"""Progress of reading studies, and stored results of evaluate runs, from a recorded store."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.store.reading.protocol_states import CLOSED, DESIGN, FROZEN
from evaluation.queries import performance_cache, reading_states
from evaluation.queries.performance_cache import COMPARISON_FILE, SUMMARY_FOLDER
from evaluation.queries.reading_states import load_reading_states
from evaluation.roc.subgroups import Subgroup

MADE, STUDY = datetime(2026, 2, 3), Path("study")
CON: Any = "connection"


def protocol(name: str, version: int, state: str, simulated: bool = False, **design: Any) -> Any:
    return SimpleNamespace(
        protocol=name, version=version, state=state, simulated=simulated, design=design, made=MADE
    )


PROGRESS = pd.DataFrame(
    {"done": [3, 4], "total": [10, 12], "simulated": [False, False]}, index=["R1", "R2"]
)


def replace_tables(
    monkeypatch: pytest.MonkeyPatch, protocols: list[Any], progress: pd.DataFrame
) -> list[tuple[Any, ...]]:
    asked: list[tuple[Any, ...]] = []

    def of(value: Any) -> Any:
        return lambda *named: asked.append(named) or value

    monkeypatch.setattr(reading_states.protocol_table, "list_protocols", lambda con: protocols)
    tables = {"reading_progress_by_reader": progress, "load_reading_cases": pd.DataFrame([0] * 7)}
    for name, value in tables.items():
        monkeypatch.setattr(reading_states.reading_table, name, of(value))
    return asked


@pytest.mark.parametrize(
    ("state", "design", "progress", "numbers"),
    [
        # Two readers of five have an order of 10 and 12; each other one reads 7 and 2 again.
        (FROZEN, {"readers": 5, "repeats": 2}, PROGRESS, (7, 22 + 3 * 9, 5)),
        (FROZEN, {"readers": 1, "repeats": 2}, PROGRESS, (7, 22, 2)),
        (FROZEN, {}, PROGRESS[:0], (0, 7, 1)),
        (FROZEN, {"readers": 2}, PROGRESS[:1], (3, 10 + 7, 2)),
        (CLOSED, {"readers": 5, "repeats": 2}, PROGRESS, (7, 22, 2)),
        (DESIGN, {"readers": 5}, PROGRESS[:0], (0, 0, 0)),
    ],
)
def test_answers_that_are_planned(
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    design: dict[str, int],
    progress: pd.DataFrame,
    numbers: tuple[int, int, int],
) -> None:
    asked = replace_tables(monkeypatch, [protocol("A", 3, state, **design)], progress)
    (found,) = load_reading_states(CON)
    assert (found.done, found.total, found.readers) == numbers
    assert (found.protocol, found.version, found.state, found.made) == ("A", 3, state, MADE)
    assert set(asked) == {(CON, "A", 3)} and found.simulated is False


def test_simulated_answers_make_a_study_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    some = PROGRESS.assign(simulated=[False, True])
    for is_simulated, progress, expected in (
        (False, some, True),
        (True, PROGRESS, True),
        (True, PROGRESS[:0], True),
        (False, PROGRESS[:0], False),
    ):
        replace_tables(monkeypatch, [protocol("A", 1, CLOSED, is_simulated)], progress)
        assert load_reading_states(CON)[0].simulated is expected


def test_order_of_reading_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oldest change first, as the table lists them."""
    protocols = [
        protocol("A", 2, DESIGN),
        protocol("A", 1, CLOSED),
        protocol("B", 1, DESIGN),
        protocol("C", 1, FROZEN, True),
        protocol("D", 1, CLOSED),
        protocol("E", 1, FROZEN),
        protocol("F", 1, FROZEN, True),
        protocol("B", 2, DESIGN),
    ]
    replace_tables(monkeypatch, protocols, PROGRESS)
    found = [(one.protocol, one.version) for one in load_reading_states(CON)]
    # Of B only the newest design; open studies of people first, then finished, then designs.
    assert found == [("E", 1), ("F", 1), ("C", 1), ("D", 1), ("A", 1), ("B", 2), ("A", 2)]


def test_results_are_stored_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[tuple[Any, ...]] = []
    cache = performance_cache
    monkeypatch.setattr(cache.store, "read", lambda study: nullcontext(study))
    manifest = {"manifest": {"normal_threshold": 0.4}}
    monkeypatch.setattr(
        cache.run_table, "load_run", lambda con, run: {(tmp_path, "e-3"): manifest}[con, run]
    )
    runs = pd.DataFrame(
        {"run": ["e-1", "e-2", "e-3"], "parents": [["p-1", "t"], ["p-2"], ["t", "p-1"]]}
    )
    monkeypatch.setattr(
        cache.run_table, "load_runs", lambda con, kind: {(tmp_path, "evaluate"): runs}[con, kind]
    )
    monkeypatch.setattr(
        cache.lineage,
        "ancestor_run",
        lambda study, run, kind: {(tmp_path, "e-3", "patches"): "p-1"}[study, run, kind],
    )
    monkeypatch.setattr(cache.performance, "load_subgroups", lambda *named: named)
    monkeypatch.setattr(cache, "load_observations", lambda *named: named)
    monkeypatch.setattr(cache, "write_summaries", lambda *named: written.append(named))
    # Without a folder of the run there is nowhere to store anything.
    cache.ensure_summaries(tmp_path, "e-3")
    assert written == []
    folder = tmp_path / "runs" / "e-3"
    folder.mkdir(parents=True)
    cache.ensure_summaries(tmp_path, "e-3")
    ((out, load, threshold, subgroups, others),) = written
    assert (out, threshold) == (folder, 0.4)
    assert load("test", "case") == (tmp_path, "e-3", "test", "case")
    assert subgroups == {name: (tmp_path, "e-3", name) for name in ("holdout", "test")}
    # Only e-1 rests on the same patches.
    assert list(others) == ["e-1"]
    assert others["e-1"]("test", "image") == (tmp_path, "e-1", "test", "image")
    assert list(cache.earlier_evaluations(tmp_path, "p-1")) == ["e-1", "e-3"]
    (folder / SUMMARY_FOLDER).mkdir()
    path = folder / SUMMARY_FOLDER / COMPARISON_FILE
    path.write_bytes(cache.to_json(cache.Comparisons, {}))
    cache.ensure_summaries(tmp_path, "e-3")
    assert len(written) == 1
    # A file of another version is computed anew.
    for content in (path.read_bytes().replace(b'"version":3', b'"version":2'), b"{}"):
        path.write_bytes(content)
        assert cache.from_json(cache.Comparisons, content) is None
    cache.ensure_summaries(tmp_path, "e-3")
    assert len(written) == 2


def test_files_of_the_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache, files = performance_cache, {}
    monkeypatch.setattr(cache, "_write", lambda path, kind, result: files.update({path: result}))
    monkeypatch.setattr(cache, "_summarize", lambda load, *named: (load("x", "y"), *named))
    monkeypatch.setattr(cache, "_summarize_subgroups", lambda groups: f"summary of {groups}")

    def compare(first: Any, second: Any) -> Any:
        if second == ("b", "test", "case"):
            raise ValueError("no common observation")
        return first, second

    monkeypatch.setattr(cache.performance, "compare_observations", compare)
    cache.write_summaries(
        tmp_path,
        lambda split, level: ("a", split, level),
        0.4,
        {"holdout": ["g"], "test": ["h"]},
        {"e-1": lambda split, level: ("b", split, level)},
    )
    parts = [
        (split, level) for split in ("holdout", "test") for level in ("patch", "image", "case")
    ]
    out = tmp_path / SUMMARY_FOLDER
    expected: dict[Path, Any] = {
        out / f"{split}-{level}.json": (("a", "x", "y"), split, level, 0.4)
        for split, level in parts
    }
    expected |= {
        out / "holdout-groups.json": "summary of ['g']",
        out / "test-groups.json": "summary of ['h']",
        out / COMPARISON_FILE: {
            "e-1": {
                f"{split}-{level}": (("a", split, level), ("b", split, level))
                for split, level in parts[:-1]
            }
        },
    }
    assert files == expected and list(files)[-1].name == COMPARISON_FILE


def test_stored_subgroups_carry_no_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Subgroup(
        variable="view",
        value="cc",
        auc="auc",
        n=5,
        patients=4,
        truth=np.ones(5),
        score=np.ones(5),
        patient=np.ones(5),
    )
    seen = []
    monkeypatch.setattr(
        performance_cache, "interactions", lambda groups: seen.append(groups) or ["test"]
    )
    found = performance_cache._summarize_subgroups([group])
    assert seen == [[group]] and found.interactions == ("test",)
    (kept,) = found.subgroups
    assert (kept.variable, kept.value, kept.auc, kept.n, kept.patients) == (
        "view",
        "cc",
        "auc",
        5,
        4,
    )
    assert len(kept.truth) == len(kept.score) == len(kept.patient) == 0
