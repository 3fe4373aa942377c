"""Runs in the store: registration of a run's tables, and what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from core.errors import UserError
from core.sessions.tokens import number
from core.timestamps import now

Connection = duckdb.DuckDBPyConnection

# Tables that a run may fill; anything else in a run folder is not for the store.
RUN_TABLES = (
    "splits",
    "patches",
    "history",
    "predictions",
    "image_scores",
    "metrics",
    "units",
    "top_patches",
    "influences",
    "selected",
    "coverage",
    "concepts",
    "explanations",
    "ablations",
    "meanings",
    "attention",
)


def register(con: Connection, folder: Path, manifest: dict[str, Any]) -> None:
    """Append a whole run: its row and every table in `tables/`.

    Does nothing if it is registered.
    """
    name = manifest["run"]
    if number(con, "SELECT count(*) FROM runs WHERE run = ?", [name]):
        return
    for path in sorted((folder / "tables").glob("*.parquet")):
        if path.stem not in RUN_TABLES:
            raise UserError(
                f"{path} is not a table of the store; the run was made by another version of"
                " DeepMiner."
            )
        con.execute(
            f"INSERT INTO {path.stem} BY NAME SELECT ?::VARCHAR AS run, * FROM read_parquet(?)",
            [name, str(path)],
        )
    con.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?::TIMESTAMP, ?)",
        [
            name,
            manifest["kind"],
            json.dumps(manifest["settings"]),
            json.dumps(manifest["parents"]),
            json.dumps(manifest, default=str),
            manifest["made"],
            manifest["seconds"],
        ],
    )


def runs(con: Connection, kind: str | None = None) -> pd.DataFrame:
    """run, kind, settings (dict), parents (list), manifest (dict), made, seconds; the one asked for
    last comes last.
    """
    frame = con.execute(
        """SELECT runs.* FROM runs LEFT JOIN (SELECT run, max(made) AS used FROM uses GROUP BY run) USING (run)
        WHERE ? IS NULL OR kind = ? ORDER BY greatest(runs.made, coalesce(used, runs.made)), runs.made, run""",
        [kind, kind],
    ).df()
    for column in ("settings", "parents", "manifest"):
        frame[column] = [json.loads(text) for text in frame[column]]
    return frame


def latest(con: Connection, kind: str, parent: str | None = None) -> str | None:
    """The run of a kind (that has this parent) that was made or asked for last, or None.

    An explanation of single mammograms is nobody's latest: the study's explanations are those of
    whole splits.
    """
    frame = runs(con, kind)
    if len(frame):
        frame = frame[[not settings.get("mammograms") for settings in frame["settings"]]]
    if parent is not None:
        frame = frame[[parent in parents for parents in frame["parents"]]] if len(frame) else frame
    return str(frame["run"].iloc[-1]) if len(frame) else None


def use(con: Connection, run: str) -> None:
    """Remember that a run was asked for again: it is the current one of its kind from now on."""
    con.execute("INSERT INTO uses VALUES (?, ?)", [run, now()])


def get(con: Connection, run: str) -> dict[str, Any]:
    """One run as a dict; UserError with the ids that exist if there is none of this name."""
    frame = runs(con)
    rows = frame[frame["run"] == run]
    if not len(rows):
        raise UserError(
            f"There is no run {run}; the study has {', '.join(frame['run']) or 'none yet'}."
        )
    return rows.iloc[0].to_dict()


def log(con: Connection, who: str, event: str, detail: str = "") -> None:
    """Append to the study's log."""
    con.execute("INSERT INTO log VALUES (?, ?, ?, ?)", [now(), who, event, detail])


def events(con: Connection, event: str | None = None) -> pd.DataFrame:
    """made, who, event, detail; newest first."""
    return con.execute(
        "SELECT * FROM log WHERE ? IS NULL OR event = ? ORDER BY made DESC", [event, event]
    ).df()


def metrics(con: Connection, run: str, split: str | None = None) -> pd.DataFrame:
    """What `evaluate` measured: split, level, class, name, estimate, low, high, method, reason, n,
    positives, patients.
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM metrics WHERE run = ? AND (? IS NULL OR split = ?)",
        [run, split, split],
    ).df()


def history(con: Connection, run: str) -> pd.DataFrame:
    """Training history: epoch, part (train or holdout), loss, accuracy, learning_rate, seconds, and
    on hold-out auc_<class> (class against rest).
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM history WHERE run = ? ORDER BY epoch, part DESC", [run]
    ).df()
