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
from core.store.reading.stage_table import FIRST, PREDICTION, QUESTIONNAIRE_POSITION
from core.store.unit_table import Tile


@dataclass(frozen=True, kw_only=True)
class ReadingPosition:
    """One position of a reader's order with the latest answer; it never leaves the server.

    revision: of the latest answer, 0 without one. made: its time. period: of a crossover, else
    None. first, prediction: what was entered before advice, in a study with advice; locked_at: the
    time of the later one.
    """

    position: int
    token: str
    case_number: int
    practice: bool
    revision: int
    answer: int | None
    made: datetime | None
    period: int | None = None
    first: int | None = None
    prediction: int | None = None
    locked_at: datetime | None = None


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
    stages = (FIRST, PREDICTION)
    # A single query: it runs between the reader's key press and its acknowledgement.
    rows = con.execute(
        """
        SELECT i.position, i.token, i.case_number, i.practice,
            max(a.revision), arg_max(a.answer, a.revision), max(a.made), i.period,
            any_value(s.first), any_value(s.prediction), any_value(s.locked_at)
        FROM reading_items i
            LEFT JOIN answers a USING (protocol, version, code, position)
            LEFT JOIN (
                SELECT protocol, version, code, position,
                    max(value::INTEGER) FILTER (stage = ?) AS first,
                    max(value::INTEGER) FILTER (stage = ?) AS prediction, max(made) AS locked_at
                FROM reading_stages WHERE code = ? AND stage IN (?, ?) GROUP BY ALL
            ) s USING (protocol, version, code, position)
        WHERE i.protocol = ? AND i.version = ? AND i.code = ?
        GROUP BY ALL ORDER BY i.position
        """,
        [*stages, code, *stages, protocol, version, code],
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
            period=period,
            first=first,
            prediction=prediction,
            locked_at=locked_at,
        )
        for (
            position,
            token,
            case_number,
            practice,
            revision,
            answer,
            stored_at,
            period,
            first,
            prediction,
            locked_at,
        ) in rows
    ]


def load_case_content(
    con: Connection, protocol: str, version: int, case_number: int, film_slots: int
) -> tuple[list[str] | None, list[tuple[int, str, str]]]:
    """Return the texts of a case, and slot, kind and source of each of its images, by slot.

    None for the texts of practice, which are in the design. Advice has slots from film_slots on,
    which are not selected.
    """
    # A single query, joined to constants: it runs between key press and acknowledgement.
    rows = con.execute(
        """
        SELECT c.texts, p.slot, p.kind, p.source
        FROM (SELECT ? AS protocol, ? AS version, ? AS case_number) w
            LEFT JOIN reading_cases c USING (protocol, version, case_number)
            LEFT JOIN (SELECT * FROM reading_pictures WHERE slot < ?) p
                USING (protocol, version, case_number)
        ORDER BY p.slot
        """,
        [protocol, version, case_number, film_slots],
    ).fetchall()
    texts = rows[0][0] if rows else None
    pictures = [(slot, kind, source) for _, slot, kind, source in rows if kind is not None]
    return None if texts is None else json.loads(texts), pictures


def load_case_advice(
    con: Connection, protocol: str, version: int, case_number: int, film_slots: int
) -> tuple[str | None, list[tuple[int, str, str]]]:
    """Return what the advice of a case states, and slot, kind and source of its class maps.

    Call it only for a reader whose first answer is stored. None for a case without advice, and for
    practice, whose advice is in the design.
    """
    rows = con.execute(
        """
        SELECT c.advice, p.slot, p.kind, p.source
        FROM (SELECT ? AS protocol, ? AS version, ? AS case_number) w
            LEFT JOIN reading_cases c USING (protocol, version, case_number)
            LEFT JOIN (SELECT * FROM reading_pictures WHERE slot >= ?) p
                USING (protocol, version, case_number)
        ORDER BY p.slot
        """,
        [protocol, version, case_number, film_slots],
    ).fetchall()
    maps = [(slot, kind, source) for _, slot, kind, source in rows if kind is not None]
    return rows[0][0] if rows else None, maps


def has_questionnaire_answers(con: Connection, protocol: str, version: int, code: str) -> bool:
    """Return whether a reader has answered the questionnaire of a version."""
    row = con.execute(
        "SELECT 1 FROM reading_stages WHERE protocol = ? AND version = ? AND code = ?"
        " AND position = ? LIMIT 1",
        [protocol, version, code, QUESTIONNAIRE_POSITION],
    ).fetchone()
    return row is not None


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
