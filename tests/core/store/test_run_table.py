"""Which run is the latest, and which patches runs differ by their input side alone."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from core import store
from core.store import run_table
from core.store.connection import Connection
from support.synthetic_study import MADE


def add_run(
    con: Connection,
    run: str,
    settings: dict[str, Any],
    parents: tuple[str, ...] = (),
    inputs: str = "data",
) -> None:
    minutes = con.execute("SELECT count(*) FROM runs").fetchone()[0]
    con.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, 1.0)",
        [
            run,
            run.partition("-")[0],
            json.dumps(settings),
            json.dumps(parents),
            json.dumps({"inputs": inputs}),
            MADE + timedelta(minutes=minutes),
        ],
    )


def test_patches_runs_that_differ_by_their_side_alone(empty: Path) -> None:
    with store.write(empty) as con:
        add_run(con, "patches-1", {"input_side": 227, "seed": 1})
        add_run(con, "patches-2", {"input_side": 299, "seed": 1})
        add_run(con, "patches-3", {"input_side": 299, "seed": 2})
        add_run(con, "patches-4", {"input_side": 299, "seed": 1}, inputs="other data")
        add_run(con, "patches-5", {"input_side": 331, "seed": 1})
        side = run_table.patches_at_side
        assert side(con, "patches-1", 299) == "patches-2"
        assert side(con, "patches-3", 299) == "patches-3"
        assert side(con, "patches-3", 227) is None and side(con, "patches-4", 227) is None
        assert side(con, "patches-2", 331) == "patches-5"
        add_run(con, "patches-6", {"input_side": 299, "seed": 1})
        assert side(con, "patches-1", 299) == "patches-6"
        same = run_table.is_same_patches
        assert same(con, "patches-1", "patches-5") and same(con, "patches-3", "patches-3")
        assert not same(con, "patches-1", "patches-3") and not same(con, "patches-2", "patches-4")
        assert not same(con, None, "patches-1")
        add_run(con, "train-1", {"seed": 1})
        assert not same(con, "train-1", "patches-1")


def test_latest_run(empty: Path) -> None:
    with store.write(empty) as con:
        latest = run_table.latest_run
        assert latest(con, "explain") is None and latest(con, "explain", "dissect-1") is None
        add_run(con, "explain-1", {"mammograms": []}, ("dissect-1",))
        add_run(con, "explain-2", {"mammograms": []}, ("dissect-2", "train-1"))
        add_run(con, "explain-3", {"mammograms": ["m7"]}, ("dissect-1",))
        add_run(con, "coverage-1", {}, ("dissect-1",))
        assert latest(con, "explain") == "explain-2"
        assert latest(con, "explain", "dissect-1") == "explain-1"
        assert latest(con, "explain", "train-1") == "explain-2"
        assert latest(con, "explain", "dissect-3") is None
