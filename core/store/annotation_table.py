"""The tables of annotations and of adjudicated labels.

An annotation is one expert's answer on one unit. It is never overwritten: a changed answer is a new
version, and the latest one counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from core.errors import UserError
from core.lexicon import birads_lexicon
from core.store import unit_table
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

    unit: int
    code: str
    repeat: bool
    practice: bool
    answer: dict[str, Any]
    version: int
    made: datetime


@dataclass(frozen=True)
class UnitLabel:
    """The label of a unit, the annotations it rests on, and whether any of them is simulated."""

    text: str
    annotation_ids: tuple[str, ...]
    simulated: bool


def find_annotation(con: Connection, annotation_id: str) -> StoredAnnotation | None:
    """Return the annotation with this id, or None."""
    row = con.execute(
        "SELECT unit, code, repeat, practice, answer, version, made FROM annotations"
        " WHERE annotation_id = ?",
        [annotation_id],
    ).fetchone()
    if row is None:
        return None
    return StoredAnnotation(
        unit=row[0],
        code=row[1],
        repeat=row[2],
        practice=row[3],
        answer=json.loads(row[4]),
        version=row[5],
        made=row[6],
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
    answer is incomplete (`core.lexicon.birads_lexicon.validate_answer`).
    """
    stored = find_annotation(con, annotation_id)
    if stored is not None:
        return SavedAnnotation(annotation_id, stored.version, stored.made)
    return _insert(
        con,
        run=run,
        unit=unit,
        code=code,
        answer=birads_lexicon.validate_answer(answer),
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

    Free text (`core.lexicon.birads_lexicon.free_answer`) may name no category. UserError if this
    expert has answered on the unit already: an import never becomes a revision.
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


def annotation_counts(con: Connection, run: str, order_of_experts: Sequence[str]) -> dict[str, int]:
    """Return units_selected, units_annotated (selected and labelled) and experts (who answered)."""
    units = set(unit_table.selected_unit_ids(con, run))
    experts = fetch_integer(
        con, "SELECT count(DISTINCT code) FROM annotations WHERE run = ? AND NOT practice", [run]
    )
    return {
        "units_selected": len(units),
        "units_annotated": len(units & set(unit_labels(con, run, order_of_experts))),
        "experts": experts,
    }


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
                "named": sum(map(birads_lexicon.is_substantive, first["answer"])),
                "revised": int((latest["version"] > 1).sum()),
                "repeats": int(latest["repeat"].sum()),
                "median_seconds": float(answers["seconds"].median()) if timed else None,
                "last": answers["made"].max(),
            }
        )
    return pd.DataFrame(rows, columns=_PROGRESS_COLUMNS)


def record_decision(
    con: Connection,
    run: str,
    unit: int,
    label: str,
    sources: Sequence[str],
    reason: str,
    decided_by: str,
    origin: str = "",
) -> None:
    """Append an adjudicated label with its reason; the latest decision on a unit counts.

    label: "" decides that the unit has none. sources: ids of the annotations it rests on. origin:
    "imported" for a label that was published elsewhere. UserError if a text is too long.
    """
    text = " ".join(label.split())
    limit = birads_lexicon.MAX_CHARACTERS
    if len(text) > limit or len(reason) > limit:
        raise UserError(
            f"A decision's label and reason may have {limit} characters each; shorten them."
        )
    con.execute(
        "INSERT INTO decisions (run, layer, unit, label, sources, reason, decided_by, made, origin)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run,
            unit_table.unit_layer(con, run, unit),
            unit,
            text,
            json.dumps(list(sources)),
            reason.strip(),
            decided_by,
            utc_now(),
            origin,
        ],
    )


def load_decisions(con: Connection, run: str, imported: bool = False) -> pd.DataFrame:
    """Return the latest decision on each unit of a run; imported: among imported ones only.

    Columns: unit, label, sources (list of annotation ids), reason, decided_by, made.
    """
    frame = con.execute(
        """
        SELECT unit, label, sources, reason, decided_by, made FROM decisions
        WHERE run = ? AND (NOT ? OR origin = 'imported')
        QUALIFY row_number() OVER (PARTITION BY unit ORDER BY made DESC) = 1
        ORDER BY unit
        """,
        [run, imported],
    ).df()
    return _decode_column(frame, "sources")


def unit_labels(con: Connection, run: str, order_of_experts: Sequence[str]) -> dict[int, UnitLabel]:
    """Return the label of each unit that has one.

    It is the adjudicated text, else the first substantive latest answer among the experts: those in
    `order_of_experts` (the setting of the study), then people before simulated experts, each by the
    date of the first answer. See docs/reference/definitions.md, "Annotation".
    """
    frame = load_annotations(con, run)
    # Repeats measure consistency and practice units are not selected; neither becomes a label.
    frame = frame[~frame["practice"] & ~frame["repeat"]] if len(frame) else frame
    rank = _expert_ranks(con, run, order_of_experts)
    labels: dict[int, UnitLabel] = {}
    for unit, answers in frame.groupby("unit"):
        # Only latest versions are in the frame: an answer that its author changed to "nothing"
        # gives no label, and the next expert's counts.
        for row in sorted(answers.itertuples(), key=lambda row: rank[row.code]):
            if birads_lexicon.is_substantive(row.answer):
                labels[int(unit)] = UnitLabel(
                    row.answer["label"], (row.annotation_id,), bool(row.simulated)
                )
                break
    simulated = dict(
        con.execute(
            "SELECT annotation_id, simulated FROM annotations WHERE run = ?", [run]
        ).fetchall()
    )
    # A decision replaces every answer on its unit, also where it decides that there is no label.
    for row in load_decisions(con, run).itertuples():
        labels.pop(int(row.unit), None)
        if row.label:
            labels[int(row.unit)] = UnitLabel(
                row.label,
                tuple(row.sources),
                any(simulated.get(source, False) for source in row.sources),
            )
    return dict(sorted(labels.items()))


def _expert_ranks(con: Connection, run: str, order_of_experts: Sequence[str]) -> dict[str, int]:
    """Return each expert's rank when the label of a unit is chosen."""
    rows = con.execute(
        "SELECT code FROM annotations WHERE run = ? GROUP BY code"
        " ORDER BY bool_or(simulated), min(made), code",
        [run],
    ).fetchall()
    others = [code for (code,) in rows if code not in order_of_experts]
    return {code: rank for rank, code in enumerate([*order_of_experts, *others])}
