"""The rows that records of the chain describe, and what a record says of each.

The content of a record is the row as stored; of a group, such as a reader's order, its rows in
order. Empty columns do not count, so that a migration may add a column: it must leave it empty in
existing rows, and must not change their other columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from core.store.evidence.chain import Connection, append_evidence, content_hash

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RowKind:
    """One kind of covered rows.

    table: a table, or a table with its condition. key: columns that rows of one record share, empty
    where every row has its own record. order: columns that order the rows. subject: template of the
    row's name, from its columns. replaceable: a later record may take the place of an earlier one.
    """

    kind: str
    table: str
    key: tuple[str, ...]
    order: tuple[str, ...]
    subject: str
    replaceable: bool = False


# Of a version the state comes last: an adopted closed study has its answers before its closing.
ROW_KINDS = {
    kind.kind: kind
    for kind in (
        RowKind(
            kind="reading_cases",
            table="reading_cases",
            key=("protocol", "version"),
            order=("protocol", "version", "case_number"),
            subject="{protocol}, version {version}: cases",
            replaceable=True,
        ),
        RowKind(
            kind="reading_pictures",
            table="reading_pictures",
            key=("protocol", "version"),
            order=("protocol", "version", "case_number", "slot"),
            subject="{protocol}, version {version}: images",
        ),
        RowKind(
            kind="reading_order",
            table="reading_items",
            key=("protocol", "version", "code"),
            order=("protocol", "version", "code", "position"),
            subject="{protocol}, version {version}: order of reader {code}",
        ),
        RowKind(
            kind="reading_answer",
            table="answers",
            key=("protocol", "version", "code", "position", "revision"),
            order=("protocol", "version", "code", "position", "revision"),
            subject=(
                "{protocol}, version {version}: answer of reader {code} at position {position},"
                " revision {revision}"
            ),
        ),
        RowKind(
            kind="reading_stage",
            table="reading_stages",
            key=("protocol", "version", "code", "position", "stage"),
            order=("protocol", "version", "code", "position", "stage"),
            subject=(
                "{protocol}, version {version}: {stage} of reader {code} at position {position}"
            ),
        ),
        RowKind(
            kind="interim_look",
            table="interim_looks",
            key=("protocol", "version", "number"),
            order=("protocol", "version", "number"),
            subject="{protocol}, version {version}: interim look {number}",
        ),
        RowKind(
            kind="protocol_state",
            table="protocols",
            key=("protocol", "version", "state"),
            order=("protocol", "version", "state"),
            subject="{protocol}, version {version}: state {state}",
            replaceable=True,
        ),
        RowKind(
            kind="participant",
            table="people",
            key=("code",),
            order=("code",),
            subject="participant {code}",
        ),
        RowKind(
            kind="consent",
            table="consents",
            key=(),
            order=("code", "made"),
            subject="consent of {code} at {made}",
        ),
        RowKind(
            kind="withdrawal",
            table="(SELECT * FROM invitations WHERE revoked_at IS NOT NULL)",
            key=("token_hash",),
            order=("token_hash",),
            subject="withdrawal of the link of {code} that was made at {made}",
        ),
        RowKind(
            kind="log",
            table="log",
            key=(),
            order=("made", "who", "event", "detail"),
            subject="log of {made}: {event}, {who}",
        ),
        RowKind(
            kind="restore",
            table="replaced_records",
            key=("restored_at",),
            order=("restored_at", "number", "hash"),
            subject="restore of a backup at {restored_at}",
        ),
    )
}


# The last part of the subject of a closing, and what may not be recorded of a version after it.
CLOSING = "state closed"
ENDED_KINDS = {
    "reading_cases",
    "reading_pictures",
    "reading_order",
    "reading_answer",
    "reading_stage",
    "interim_look",
}


@dataclass(frozen=True)
class CoveredContent:
    """What the store holds under one subject now."""

    kind: str
    subject: str
    content_hash: str


def rows_hash(rows: Iterable[Row]) -> str:
    """Return the content hash of the rows of one record; no rows: the record of a removal."""
    return content_hash(_content(rows))


def _content(rows: Iterable[Row]) -> dict[str, Any]:
    filled = [{k: v for k, v in row.items() if v is not None} for row in rows]
    return {"rows": filled}


def record_row(con: Connection, kind: str, stored: Connection, actor: str) -> None:
    """Append the record of a row that was just inserted.

    stored: result of the `INSERT ... RETURNING *`.
    """
    (row,) = _fetch_rows(stored)
    append_evidence(con, kind, ROW_KINDS[kind].subject.format(**row), _content([row]), actor)


def record_group(con: Connection, kind: str, actor: str, **key: Any) -> None:
    """Append the record of the rows with a key, as they are stored now.

    A key without rows gives the record of their removal.
    """
    row_kind = ROW_KINDS[kind]
    condition = " AND ".join(f"{name} = ?" for name in row_kind.key)
    rows = _fetch_rows(
        con.execute(
            f"SELECT * FROM {row_kind.table} WHERE {condition} ORDER BY {_order(row_kind)}",
            [key[name] for name in row_kind.key],
        )
    )
    subject = row_kind.subject.format(**(rows[0] if rows else key))
    append_evidence(con, kind, subject, _content(rows), actor)


def load_covered_contents(con: Connection) -> list[CoveredContent]:
    """Return what the store holds under every subject now."""
    contents = []
    for row_kind in ROW_KINDS.values():
        rows = _fetch_rows(
            con.execute(f"SELECT * FROM {row_kind.table} ORDER BY {_order(row_kind)}")
        )
        for group in _groups(row_kind, rows):
            subject = row_kind.subject.format(**group[0])
            contents.append(CoveredContent(row_kind.kind, subject, rows_hash(group)))
    return contents


def _groups(row_kind: RowKind, rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    if not row_kind.key:
        return [[row] for row in rows]
    key = [[row[name] for name in row_kind.key] for row in rows]
    return [
        [row for _, row in group]
        for _, group in groupby(zip(key, rows, strict=True), key=lambda pair: pair[0])
    ]


def _order(row_kind: RowKind) -> str:
    return ", ".join(row_kind.order)


def _fetch_rows(cursor: Connection) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
