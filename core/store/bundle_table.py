"""What goes between a study and its bundles: what is shown without what is sealed, readers' orders
and answers as rows. Bundles are facts of the study (`meta`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import duckdb

from core.store import dataset_table, reading_table
from core.store.reading_table import Case

Connection = duckdb.DuckDBPyConnection


def issued(con: Connection) -> dict[str, dict[str, Any]]:
    """The bundles a study has given out: id -> {key, protocol, version, hash, made, imported}."""
    rows = con.execute(
        "SELECT name, value FROM meta WHERE starts_with(name, 'bundle:') ORDER BY name"
    ).fetchall()
    return {name.removeprefix("bundle:"): json.loads(value) for name, value in rows}


def note_issued(con: Connection, bundle: str, facts: dict[str, Any]) -> None:
    """Record a bundle given out, or that its answers have come back."""
    dataset_table.set_meta(con, f"bundle:{bundle}", json.dumps(facts))


def own(con: Connection) -> dict[str, Any] | None:
    """{id, key, hash, seal} where this study is itself a bundle, else None."""
    found = dataset_table.get_meta(con, "bundle")
    return json.loads(found) if found else None


def note_own(con: Connection, facts: dict[str, Any]) -> None:
    """Make this study a bundle."""
    dataset_table.set_meta(con, "bundle", json.dumps(facts))


def shown(con: Connection, protocol: str, version: int) -> list[tuple[int, int, list[str]]]:
    """(case number, group, texts) by case number: all that a bundle holds of a case.

    Cases of one patient share a group, counted by first appearance, so that they can be kept apart
    in an order.
    """
    rows = con.execute(
        "SELECT case_number, patient_id, texts FROM reading_cases WHERE protocol = ? AND version ="
        " ? ORDER BY case_number",
        [protocol, version],
    ).fetchall()
    groups: dict[str, int] = {}
    return [
        (number, groups.setdefault(patient, len(groups) + 1), json.loads(texts))
        for number, patient, texts in rows
    ]


def add_shown(
    con: Connection, protocol: str, version: int, cases: Iterable[tuple[int, int, Sequence[str]]]
) -> None:
    """The cases of a bundle: no film, truth, score or arm."""
    reading_table.add_cases(
        con,
        protocol,
        version,
        [
            Case(
                number=number,
                mammogram_id="",
                patient_id=f"G{group}",
                arm="",
                texts=tuple(texts),
                truth=None,
                network_score=None,
                predicted=None,
            )
            for number, group, texts in cases
        ],
    )


def readers(con: Connection, protocol: str, version: int) -> list[dict[str, Any]]:
    """Every reader with an order: code, experience, consent, consented (time), items [position,
    case, repeat, practice], answers [position, revision, answer, seconds, idle, time].
    """
    found = []
    where = [protocol, version]
    codes = con.execute(
        "SELECT DISTINCT code FROM reading_items WHERE protocol = ? AND version = ? ORDER BY code",
        where,
    ).fetchall()
    for (code,) in codes:
        agreed = con.execute(
            "SELECT experience, consent, made FROM consents WHERE code = ? ORDER BY made DESC"
            " LIMIT 1",
            [code],
        ).fetchone() or ("", "", None)
        items = con.execute(
            "SELECT position, case_number, repeat, practice FROM reading_items WHERE protocol = ?"
            " AND version = ? AND code = ? ORDER BY position",
            [*where, code],
        ).fetchall()
        answers = con.execute(
            """SELECT position, revision, answer, seconds, idle, made FROM answers WHERE protocol = ? AND version = ? AND code = ?
            ORDER BY position, revision""",
            [*where, code],
        ).fetchall()
        found.append(
            {
                "code": code,
                "experience": agreed[0],
                "consent": agreed[1],
                "consented": _iso(agreed[2]),
                "items": [list(i) for i in items],
                "answers": [[*a[:5], _iso(a[5])] for a in answers],
            }
        )
    return found


def _iso(made: datetime | None) -> str | None:
    return made.isoformat() if made else None


def add_reader(
    con: Connection, protocol: str, version: int, reader: dict[str, Any], code: str
) -> None:
    """One reader of a bundle with order, answers and consent, under this code.

    Rows have been checked by the caller.
    """
    reading_table.assign(
        con,
        protocol,
        version,
        code,
        [
            reading_table.Item(number, repeat=repeat, practice=practice)
            for _, number, repeat, practice in reader["items"]
        ],
    )
    rows = [
        [protocol, version, code, a[0], a[1], a[2], a[3], a[4], False, datetime.fromisoformat(a[5])]
        for a in reader["answers"]
    ]
    if rows:
        con.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    if reader["consented"]:
        con.execute(
            "INSERT INTO consents VALUES (?, ?, ?, ?)",
            [
                code,
                reader["experience"],
                reader["consent"],
                datetime.fromisoformat(reader["consented"]),
            ],
        )
