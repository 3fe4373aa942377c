"""The table of interim looks: one row for each planned look that was taken."""

from __future__ import annotations

from typing import Any

from core.store.connection import Connection
from core.store.evidence import record_row
from core.timestamps import utc_now


def add_interim_look(
    con: Connection,
    protocol: str,
    version: int,
    *,
    number: int,
    information: float,
    answers: int,
    boundary: float,
    stops: bool,
    actor: str,
) -> None:
    """Store a look, once, with its record in the evidence chain.

    number: of the look among the planned ones, from 1. information: share of the planned
    information. boundary: significance level of the look. stops: whether it ended the study.
    """
    stored = con.execute(
        "INSERT INTO interim_looks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        [protocol, version, number, information, answers, boundary, stops, actor, utc_now()],
    )
    record_row(con, "interim_look", stored, actor)


def load_interim_looks(con: Connection, protocol: str, version: int) -> list[dict[str, Any]]:
    """Return the looks of a version that were taken, in their order.

    Keys: number, information, answers, boundary, stops.
    """
    rows = con.execute(
        "SELECT number, information, answers, boundary, stops FROM interim_looks"
        " WHERE protocol = ? AND version = ? ORDER BY number",
        [protocol, version],
    )
    names = ("number", "information", "answers", "boundary", "stops")
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
