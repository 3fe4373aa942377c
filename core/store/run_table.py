"""The tables of runs, of their use, of the study's log and of training and evaluation metrics."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core.class_labels import ClassDefinition
from core.errors import MissingRunError, UserError
from core.store.connection import Connection, fetch_integer
from core.store.evidence import record_row
from core.store.migrations import RENAMED_RUN_KINDS, RENAMED_RUN_TABLES
from core.timestamps import utc_now

# Tables that a run may fill. A name outside this list is never put into an SQL statement.
RUN_TABLES = {
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
    "descriptor_associations",
    "attention",
}
_JSON_COLUMNS = ("settings", "parents", "manifest")
# The runs of a kind (NULL: of all), the one made or used last at the end. A request that an
# existing run answers makes that run the current one again (table `uses`).
_RUNS_IN_ORDER = """
    SELECT runs.*
    FROM runs LEFT JOIN (SELECT run, max(made) AS used FROM uses GROUP BY run) USING (run)
    WHERE ? IS NULL OR kind = ?
    ORDER BY greatest(runs.made, coalesce(used, runs.made)), runs.made, run
"""
# Tables with a column for each class, of this beginning or end.
_CLASS_COLUMNS = {
    "patches": ("_cover", "_part"),
    "history": ("auc_",),
    "predictions": ("p_",),
    "image_scores": ("s_",),
    "explanations": ("p_",),
}
# Rows of a table in one transaction. Every other access waits for it, at most LOCK_TIMEOUT_S: the
# insertion of 22 million rows took 7 of these 10 s.
SLICE_ROWS = 1_000_000


@dataclass(frozen=True)
class TableSlice:
    """Rows start (included) to stop (excluded) of a Parquet file of a run, for one table."""

    table: str
    path: Path
    start: int
    stop: int


def list_slices(con: Connection, folder: Path) -> list[TableSlice]:
    """Return the slices of large tables that are stored before their run is registered.

    The last rows of a table, at most SLICE_ROWS, belong to `register_run`. UserError if a table is
    unknown.
    """
    slices = []
    for path, table in _run_files(folder):
        query = "SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata(?)"
        rows = fetch_integer(con, query, [str(path)])
        slices += [
            TableSlice(table, path, start, start + SLICE_ROWS)
            for start in range(0, rows - SLICE_ROWS, SLICE_ROWS)
        ]
    return slices


def append_slice(con: Connection, run: str, part: TableSlice) -> None:
    """Append a slice of a run that is not registered yet.

    No query shows its rows before the run is registered, because queries name a registered run.
    """
    _append_rows(con, run, part.table, part.path, part.start, part.stop)


def remove_slices(con: Connection, run: str, slices: Collection[TableSlice]) -> None:
    """Remove what a process that was killed has stored of a run; a registered run stays."""
    for table in {part.table for part in slices}:
        con.execute(
            f"DELETE FROM {table} WHERE run = ? AND run NOT IN (SELECT run FROM runs)", [run]
        )


def register_run(
    con: Connection, folder: Path, manifest: dict[str, Any], slices: Collection[TableSlice] = ()
) -> None:
    """Append a whole run: its row and every table in `tables/`.

    slices: parts that are stored already. A run that is registered already stays as it is.
    UserError if a table is unknown.
    """
    name = manifest["run"]
    if fetch_integer(con, "SELECT count(*) FROM runs WHERE run = ?", [name]):
        return
    for path, table in _run_files(folder):
        stored = max((part.stop for part in slices if part.path == path), default=0)
        _append_rows(con, name, table, path, stored)
    # In the caller's transaction with the tables: a run is registered whole or not at all.
    con.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?::TIMESTAMP, ?)",
        [
            name,
            RENAMED_RUN_KINDS.get(manifest["kind"], manifest["kind"]),
            json.dumps(manifest["settings"]),
            json.dumps(manifest["parents"]),
            json.dumps(manifest, default=str),
            manifest["made"],
            manifest["seconds"],
        ],
    )


def _run_files(folder: Path) -> list[tuple[Path, str]]:
    """Return the Parquet files of a run, each with its table in the store."""
    files = []
    for path in sorted((folder / "tables").glob("*.parquet")):
        table = RENAMED_RUN_TABLES.get(path.stem, path.stem)
        if table not in RUN_TABLES:
            raise UserError(
                f"{path} is not a table of the store; the run was made by another version of"
                " DeepMiner."
            )
        files.append((path, table))
    return files


def _append_rows(
    con: Connection, run: str, table: str, path: Path, start: int, stop: int | None = None
) -> None:
    """Append the rows of a Parquet file from `start` on, up to `stop` (excluded; None: all)."""
    _add_class_columns(con, table, path)
    con.execute(
        f"""
        INSERT INTO {table} BY NAME
        SELECT ?::VARCHAR AS run, * EXCLUDE file_row_number
        FROM read_parquet(?, file_row_number = true)
        WHERE file_row_number >= ? AND (? IS NULL OR file_row_number < ?)
        """,
        [run, str(path), start, stop, stop],
    )


def _add_class_columns(con: Connection, table: str, path: Path) -> None:
    """Add the columns of classes that no earlier run of the study had."""
    existing = {row[0] for row in con.execute(f"DESCRIBE {table}").fetchall()}
    columns = con.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    for name in (column[0] for column in columns if column[0] not in existing):
        affixes = _CLASS_COLUMNS.get(table, ())
        if any(name.startswith(affix) or name.endswith(affix) for affix in affixes):
            quoted = name.replace('"', '""')
            con.execute(f'ALTER TABLE {table} ADD COLUMN "{quoted}" DOUBLE')


def run_classes(con: Connection, run: str) -> ClassDefinition:
    """Return the classes of the patches that a run was built on."""
    patches = load_run(con, ancestor(con, run, "patches"))
    return ClassDefinition.from_manifest(patches["manifest"])


def load_runs(con: Connection, kind: str | None = None) -> pd.DataFrame:
    """Return the runs of a kind (None: of all), the one made or used last at the end.

    Columns: run, kind, settings (dict), parents (list), manifest (dict), made, seconds.
    """
    frame = con.execute(_RUNS_IN_ORDER, [kind, kind]).df()
    for column in _JSON_COLUMNS:
        frame[column] = [json.loads(text) for text in frame[column]]
    return frame


def run_ids(con: Connection) -> set[str]:
    """Return the ids of all runs."""
    return {row[0] for row in con.execute("SELECT run FROM runs").fetchall()}


def latest_run(con: Connection, kind: str, parent: str | None = None) -> str | None:
    """Return the run of a kind that was made or used last, or None.

    parent: consider only runs that were built directly on this run. Explanations of single
    mammograms are never the latest: the study's explanations are those of whole splits.
    """
    for row in reversed(_fetch_rows(con, _RUNS_IN_ORDER, [kind, kind])):
        if json.loads(row["settings"]).get("mammograms"):
            continue
        if parent is None or parent in json.loads(row["parents"]):
            return str(row["run"])
    return None


def patches_at_side(con: Connection, run: str, input_side: int) -> str | None:
    """Return the patches run that differs from `run` by its input side alone, or None.

    It has the same windows, labels and split; of several, the one made or used last.
    """
    frame = load_runs(con, "patches")
    identity = {row["run"]: _side_free_request(row) for row in frame.to_dict("records")}
    sides = {row["run"]: row["settings"]["input_side"] for row in frame.to_dict("records")}
    matching = [
        other
        for other in frame["run"]
        if sides[other] == input_side and identity[other] == identity[run]
    ]
    return matching[-1] if matching else None


def is_same_patches(con: Connection, first: str | None, second: str) -> bool:
    """Return whether two runs are one, or patches runs that differ by their input side alone."""
    if first is None or first == second:
        return first == second
    rows = (load_run(con, first), load_run(con, second))
    if {row["kind"] for row in rows} != {"patches"}:
        return False
    return _side_free_request(rows[0]) == _side_free_request(rows[1])


def _side_free_request(row: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return settings and data of a patches run without its input side."""
    settings = {name: value for name, value in row["settings"].items() if name != "input_side"}
    return settings, row["manifest"].get("inputs")


def find_ancestor(con: Connection, run: str, kind: str) -> str | None:
    """Return the nearest run of a kind among a run and the runs it was built on, or None."""
    rows = con.execute("SELECT run, kind, parents FROM runs").fetchall()
    # The stored kind decides: an id keeps the kind of its time in its first part (migration 8).
    kinds = {name: stored_kind for name, stored_kind, _ in rows}
    parents = {name: json.loads(text) for name, _, text in rows}
    queue = [run] if run in kinds else []
    for name in queue:  # breadth first: the list grows while it is read
        if kinds[name] == kind:
            return name
        queue += [p for p in parents[name] if p in kinds and p not in queue]
    return None


def ancestor(con: Connection, run: str, kind: str) -> str:
    """Return the nearest run of a kind among a run and the runs it was built on.

    MissingRunError if the run does not exist or has no such ancestor.
    """
    name = find_ancestor(con, run, kind)
    if name is None:
        load_run(con, run)  # raises for an unknown run
        raise MissingRunError(f"{run} was not built on any {kind} run of this study.")
    return name


def record_use(con: Connection, run: str) -> None:
    """Record that a run was requested again, which makes it the latest of its kind."""
    con.execute("INSERT INTO uses VALUES (?, ?)", [run, utc_now()])


def load_run(con: Connection, run: str) -> dict[str, Any]:
    """Return one run as a dict; MissingRunError with the existing ids if it does not exist."""
    rows = _fetch_rows(con, "SELECT * FROM runs WHERE run = ?", [run])
    if not rows:
        existing = ", ".join(load_runs(con)["run"])
        raise MissingRunError(f"There is no run {run}; the study has {existing or 'none yet'}.")
    return rows[0] | {column: json.loads(rows[0][column]) for column in _JSON_COLUMNS}


def _fetch_rows(con: Connection, query: str, values: list[Any]) -> list[dict[str, Any]]:
    """Return rows by column name. A DataFrame of a few rows takes ten times as long."""
    result = con.execute(query, values)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def append_log(con: Connection, actor: str, event: str, detail: str = "") -> None:
    """Append to the study's log. actor: the person's code or the part of the program."""
    stored = con.execute(
        "INSERT INTO log VALUES (?, ?, ?, ?) RETURNING *", [utc_now(), actor, event, detail]
    )
    record_row(con, "log", stored, actor)


def load_log(con: Connection, event: str | None = None) -> pd.DataFrame:
    """Return the log of one event (None: of all), newest first: made, who, event, detail."""
    return con.execute(
        "SELECT * FROM log WHERE ? IS NULL OR event = ? ORDER BY made DESC", [event, event]
    ).df()


def load_metrics(con: Connection, run: str, split: str | None = None) -> pd.DataFrame:
    """Return the metrics of an evaluate run, of one split or all.

    Columns: split, level, class, name, estimate, low, high, method, reason, n, positives, patients.
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM metrics WHERE run = ? AND (? IS NULL OR split = ?)",
        [run, split, split],
    ).df()


def load_training_history(con: Connection, run: str) -> pd.DataFrame:
    """Return the training history of a train run.

    Columns: epoch, part (train or holdout), loss, accuracy, learning_rate, seconds and, on
    hold-out, auc_<class> (the class against the rest).
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM history WHERE run = ? ORDER BY epoch, part DESC", [run]
    ).df()
