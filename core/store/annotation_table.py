"""The table of annotations.

An annotation is one expert's answer on one unit. It is never overwritten: a changed answer is a new
version, and the latest one counts. What follows from the answers belongs in `core.store.labels`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from core.errors import UserError
from core.lexicon import annotation_answers
from core.store import dataset_table, unit_table
from core.store.connection import Connection, fetch_integer
from core.timestamps import utc_now

_LATEST = """
    SELECT * FROM annotations
    QUALIFY row_number() OVER (
        PARTITION BY run, unit, code, repeat, practice ORDER BY version DESC
    ) = 1
"""

_PROGRESS_COLUMNS = [
    "code",
    "simulated",
    "units",
    "named",
    "revised",
    "repeats",
    "median_seconds",
    "last",
]


@dataclass(frozen=True)
class SavedAnnotation:
    """Acknowledgement of a stored annotation."""

    annotation_id: str
    version: int
    made: datetime


@dataclass(frozen=True, kw_only=True)
class StoredAnnotation:
    """One stored version of an annotation."""

    run: str
    unit: int
    code: str
    repeat: bool
    practice: bool
    answer: dict[str, Any]
    version: int
    made: datetime


def find_annotation(con: Connection, annotation_id: str) -> StoredAnnotation | None:
    """Return the annotation with this id, or None."""
    row = con.execute(
        "SELECT run, unit, code, repeat, practice, answer, version, made FROM annotations"
        " WHERE annotation_id = ?",
        [annotation_id],
    ).fetchone()
    if row is None:
        return None
    return StoredAnnotation(
        run=row[0],
        unit=row[1],
        code=row[2],
        repeat=row[3],
        practice=row[4],
        answer=json.loads(row[5]),
        version=row[6],
        made=row[7],
    )


def append_annotation(
    con: Connection,
    *,
    run: str,
    unit: int,
    code: str,
    answer: Mapping[str, Any],
    seconds: float | None,
    annotation_id: str,
    repeat: bool = False,
    practice: bool = False,
    simulated: bool = False,
    patch_labels_shown: bool = False,
) -> SavedAnnotation:
    """Append a version of one expert's answer on one unit.

    A second call with the same annotation_id returns what the first one stored. UserError if the
    answer is incomplete (`core.lexicon.annotation_answers.validate_answer`).
    """
    stored = find_annotation(con, annotation_id)
    if stored is not None:
        return SavedAnnotation(annotation_id, stored.version, stored.made)
    return _insert(
        con,
        run=run,
        unit=unit,
        code=code,
        answer=annotation_answers.validate_answer(answer, dataset_table.load_lexicon(con)),
        seconds=seconds,
        annotation_id=annotation_id,
        repeat=repeat,
        practice=practice,
        simulated=simulated,
        patch_labels_shown=patch_labels_shown,
    )


def append_imported_annotation(
    con: Connection,
    *,
    run: str,
    unit: int,
    code: str,
    answer: Mapping[str, Any],
    annotation_id: str,
    origin: str,
) -> SavedAnnotation:
    """Append an answer that was given elsewhere, marked with its origin.

    Free text (`core.lexicon.annotation_answers.free_answer`) may name no category. UserError if
    this expert has answered on the unit already: an import never becomes a revision.
    """
    if fetch_integer(
        con,
        "SELECT count(*) FROM annotations WHERE run = ? AND unit = ? AND code = ? AND NOT practice",
        [run, unit, code],
    ):
        raise UserError(f"{code} has an answer on this unit already")
    # Imported answers carry their origin in the answer itself, so that every export shows it.
    answer = {**answer, "origin": origin}
    return _insert(con, run=run, unit=unit, code=code, answer=answer, annotation_id=annotation_id)


def append_group_answer(
    con: Connection,
    *,
    run: str,
    unit: int,
    code: str,
    answer: Mapping[str, Any],
    annotation_id: str,
    group_of: int,
    patch_labels_shown: bool,
) -> SavedAnnotation:
    """Append the answer that an expert gave on a group, for one more of its units.

    answer: in its stored form. group_of: the unit on which it was given; the stored answer names it
    (`is_group_answer`), and the expert's time belongs to that unit alone.
    """
    return _insert(
        con,
        run=run,
        unit=unit,
        code=code,
        answer={**answer, "group_of": group_of},
        annotation_id=annotation_id,
        patch_labels_shown=patch_labels_shown,
    )


def is_group_answer(answer: Mapping[str, Any]) -> bool:
    """Return whether an answer was given on another unit of the same group.

    Counts of answers and measures of agreement leave such answers out: the expert gave one.
    """
    return "group_of" in answer


def _insert(
    con: Connection,
    *,
    run: str,
    unit: int,
    code: str,
    answer: Mapping[str, Any],
    annotation_id: str,
    seconds: float | None = None,
    repeat: bool = False,
    practice: bool = False,
    simulated: bool = False,
    patch_labels_shown: bool = False,
) -> SavedAnnotation:
    """Insert the next version of an answer."""
    version = 1 + fetch_integer(
        con,
        "SELECT coalesce(max(version), 0) FROM annotations"
        " WHERE run = ? AND unit = ? AND code = ? AND repeat = ? AND practice = ?",
        [run, unit, code, repeat, practice],
    )
    stored_at = utc_now()  # one time for the row and for its acknowledgement
    con.execute(
        "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            annotation_id,
            run,
            unit_table.unit_layer(con, run, unit),
            unit,
            code,
            version,
            repeat,
            practice,
            json.dumps(dict(answer), ensure_ascii=False),
            seconds,
            patch_labels_shown,
            simulated,
            stored_at,
        ],
    )
    return SavedAnnotation(annotation_id, version, stored_at)


def record_skip(con: Connection, run: str, unit: int, code: str, repeat: bool = False) -> None:
    """Record that an expert postponed a unit."""
    con.execute("INSERT INTO skips VALUES (?, ?, ?, ?, ?)", [run, unit, repeat, code, utc_now()])


def skipped_units(con: Connection, run: str, code: str) -> set[tuple[int, bool]]:
    """Return every (unit, repeat) that an expert ever postponed."""
    return set(
        con.execute(
            "SELECT DISTINCT unit, repeat FROM skips WHERE run = ? AND code = ?", [run, code]
        ).fetchall()
    )


def _decode_column(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Replace a column of JSON texts by their values."""
    # An explicit object Series: pandas would turn an empty column of lists or dicts into floats.
    frame[column] = pd.Series(
        [json.loads(text) for text in frame[column]], dtype=object, index=frame.index
    )
    return frame


def load_annotations(
    con: Connection, run: str | None = None, versions: bool = False
) -> pd.DataFrame:
    """Return the latest annotations of a run (None: of all runs), or all their versions.

    Columns: annotation_id, run, layer, unit, code, version, repeat, practice, answer (dict),
    seconds, patch_labels_shown, simulated, made.
    """
    source = "SELECT * FROM annotations" if versions else _LATEST
    frame = con.execute(
        f"SELECT * FROM ({source}) WHERE ? IS NULL OR run = ? ORDER BY made, annotation_id",
        [run, run],
    ).df()
    return _decode_column(frame, "answer")


def load_expert_annotations(con: Connection, run: str, code: str) -> pd.DataFrame:
    """Return one expert's latest annotations of a run, practice and repeats included."""
    frame = con.execute(
        f"SELECT * FROM ({_LATEST}) WHERE run = ? AND code = ? ORDER BY made", [run, code]
    ).df()
    return _decode_column(frame, "answer")


def latest_answered_run(con: Connection, code: str) -> str | None:
    """Return the dissect run on which an expert answered last, or None."""
    row = con.execute(
        "SELECT run FROM annotations WHERE code = ? ORDER BY made DESC, annotation_id LIMIT 1",
        [code],
    ).fetchone()
    return row[0] if row else None


def practised_runs(con: Connection, code: str) -> set[str]:
    """Return the dissect runs on which an expert answered practice units."""
    rows = con.execute("SELECT DISTINCT run FROM annotations WHERE code = ? AND practice", [code])
    return {row[0] for row in rows.fetchall()}


def load_latest_answer(
    con: Connection, *, run: str, unit: int, code: str, repeat: bool, practice: bool
) -> dict[str, Any] | None:
    """Return one expert's latest answer on a unit, or None."""
    row = con.execute(
        """
        SELECT answer FROM annotations
        WHERE run = ? AND unit = ? AND code = ? AND repeat = ? AND practice = ?
        ORDER BY version DESC LIMIT 1
        """,
        [run, unit, code, repeat, practice],
    ).fetchone()
    return json.loads(row[0]) if row else None


def count_annotators(con: Connection, run: str) -> int:
    """Return the number of experts with an answer on a dissect run, practice excluded."""
    return fetch_integer(
        con, "SELECT count(DISTINCT code) FROM annotations WHERE run = ? AND NOT practice", [run]
    )


def annotation_progress_by_expert(con: Connection, run: str) -> pd.DataFrame:
    """Return each expert's progress on a run.

    Columns: code, simulated, units (answered), named (with a label), revised, repeats,
    median_seconds, last (time of the last answer).
    """
    frame = load_annotations(con, run, versions=True)
    frame = frame[~frame["practice"]] if len(frame) else frame
    rows = []
    for code, answers in frame.groupby("code", sort=True):
        latest = answers.sort_values("version").groupby(["unit", "repeat"]).tail(1)
        # Repeats are counted in their own column, not as units.
        first = latest[~latest["repeat"]]
        timed = answers["seconds"].notna().any()
        rows.append(
            {
                "code": code,
                "simulated": bool(answers["simulated"].any()),
                "units": len(first),
                "named": sum(map(annotation_answers.is_substantive, first["answer"])),
                "revised": int((latest["version"] > 1).sum()),
                "repeats": int(latest["repeat"].sum()),
                "median_seconds": float(answers["seconds"].median()) if timed else None,
                "last": answers["made"].max(),
            }
        )
    return pd.DataFrame(rows, columns=_PROGRESS_COLUMNS)


def expert_ranks(con: Connection, run: str, order_of_experts: Sequence[str]) -> dict[str, int]:
    """Return each expert's rank: those of the setting, then people before simulated experts.

    Each by the date of the first answer on the dissect run.
    """
    rows = con.execute(
        "SELECT code FROM annotations WHERE run = ? GROUP BY code"
        " ORDER BY bool_or(simulated), min(made), code",
        [run],
    ).fetchall()
    others = [code for (code,) in rows if code not in order_of_experts]
    return {code: rank for rank, code in enumerate([*order_of_experts, *others])}
