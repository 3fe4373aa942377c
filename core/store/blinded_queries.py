"""Queries on behalf of blinded readers and auditing experts.

The pages of readers and auditing experts get their cases from here and from nowhere else. No query
names a column of the sealed key, an arm, a rank, an activation or another person's row; tests
check it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from core.store import run_table
from core.store.connection import Connection
from core.store.unit_table import Tile


@dataclass(frozen=True, kw_only=True)
class ReadingPosition:
    """One position of a reader's order with the latest answer; it never leaves the server.

    revision: of the latest answer, 0 without one. made: its time.
    """

    position: int
    token: str
    case_number: int
    practice: bool
    revision: int
    answer: int | None
    made: datetime | None


@dataclass(frozen=True, kw_only=True)
class AuditPosition:
    """One patch of an audit with an expert's latest answer; it never leaves the server.

    revision: of the latest answer, 0 without one. made: its time.
    """

    item: int
    unit: int
    label: str
    revision: int
    answer: str | None
    made: datetime | None


def load_cases_to_order(
    con: Connection, protocol: str, version: int
) -> tuple[list[int], list[str], list[list[str]], list[int | None]]:
    """Return case numbers, patients, texts and blocks, from which a reader's order is drawn."""
    rows = con.execute(
        "SELECT case_number, patient_id, texts, block FROM reading_cases"
        " WHERE protocol = ? AND version = ?",
        [protocol, version],
    ).fetchall()
    return (
        [row[0] for row in rows],
        [row[1] for row in rows],
        [json.loads(row[2]) for row in rows],
        [row[3] for row in rows],
    )


def has_case_pictures(con: Connection, protocol: str, version: int) -> bool:
    """Return whether any case of a version shows an image."""
    row = con.execute(
        "SELECT 1 FROM reading_pictures WHERE protocol = ? AND version = ? LIMIT 1",
        [protocol, version],
    ).fetchone()
    return row is not None


def load_reading_positions(
    con: Connection, protocol: str, version: int, code: str
) -> list[ReadingPosition]:
    """Return one reader's whole order with the latest answers."""
    # A single query: it runs between the reader's key press and its acknowledgement.
    rows = con.execute(
        """
        SELECT i.position, i.token, i.case_number, i.practice,
            max(a.revision), arg_max(a.answer, a.revision), max(a.made)
        FROM reading_items i LEFT JOIN answers a USING (protocol, version, code, position)
        WHERE i.protocol = ? AND i.version = ? AND i.code = ?
        GROUP BY ALL ORDER BY i.position
        """,
        [protocol, version, code],
    ).fetchall()
    return [
        ReadingPosition(
            position=position,
            token=token,
            case_number=case_number,
            practice=practice,
            revision=revision or 0,
            answer=answer,
            made=stored_at,
        )
        for position, token, case_number, practice, revision, answer, stored_at in rows
    ]


def load_case_content(
    con: Connection, protocol: str, version: int, case_number: int
) -> tuple[list[str] | None, tuple[str, str] | None]:
    """Return the texts of a case, and the kind and source of its image.

    None for the texts of practice, which are in the design, and for a case without image.
    """
    # A single query, joined to constants: it runs between key press and acknowledgement.
    row = con.execute(
        """
        SELECT c.texts, p.kind, p.source
        FROM (SELECT ? AS protocol, ? AS version, ? AS case_number) w
            LEFT JOIN reading_cases c USING (protocol, version, case_number)
            LEFT JOIN reading_pictures p USING (protocol, version, case_number)
        """,
        [protocol, version, case_number],
    ).fetchone()
    if row is None:
        return None, None
    texts = None if row[0] is None else json.loads(row[0])
    return texts, (row[1], row[2]) if row[1] else None


def load_audit_positions(con: Connection, audit: str, code: str) -> list[AuditPosition]:
    """Return the patches of an audit with one expert's latest answers, in no particular order."""
    rows = con.execute(
        """
        SELECT i.item, i.label, i.unit, max(a.version), arg_max(a.answer, a.version), max(a.made)
        FROM audit_items i
            LEFT JOIN (SELECT * FROM audit_answers WHERE code = ?) a USING (audit, item)
        WHERE i.audit = ? GROUP BY ALL
        """,
        [code, audit],
    ).fetchall()
    return [
        AuditPosition(
            item=item, unit=unit, label=label, revision=version or 0, answer=answer, made=stored_at
        )
        for item, label, unit, version, answer, stored_at in rows
    ]


def load_audit_tile(con: Connection, audit: str, run: str, item: int) -> Tile | None:
    """Return the patch of an audit item without its position among the top patches and its class.

    None if the item does not exist.
    """
    row = con.execute(
        """
        SELECT p.patch_id, m.mammogram_id, m.file, m.width, m.height, p.y, p.x, p.side
        FROM audit_items i
            JOIN patches p ON p.run = ? AND p.patch_id = i.patch_id
            JOIN mammograms m ON m.mammogram_id = p.mammogram_id
        WHERE i.audit = ? AND i.item = ?
        """,
        [run_table.ancestor(con, run, "patches"), audit, item],
    ).fetchone()
    if row is None:
        return None
    patch_id, mammogram_id, file, width, height, y, x, side = row
    return Tile(
        rank=0,  # withheld
        patch_id=patch_id,
        mammogram_id=mammogram_id,
        file=file,
        width=width,
        height=height,
        y=y,
        x=x,
        side=side,
        label=0,  # withheld
    )
