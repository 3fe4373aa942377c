"""Exchange between a study and its site bundles.

A bundle is a study without images, truth and scores, in which readers at another site read. What it
holds of a case, and what comes back, passes through the functions below as plain rows. Bundles are
properties of the study (table `meta`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from core.store import dataset_table, reading_table
from core.store.connection import Connection
from core.store.reading_table import ReadingCase, ReadingItem


def bundle_exports(con: Connection) -> dict[str, dict[str, Any]]:
    """Return the bundles exported from a study, by id.

    Values: {key, protocol, version, hash, made, imported}.
    """
    rows = con.execute(
        "SELECT name, value FROM meta WHERE starts_with(name, 'bundle:') ORDER BY name"
    ).fetchall()
    return {name.removeprefix("bundle:"): json.loads(value) for name, value in rows}


def record_bundle_export(con: Connection, bundle: str, properties: dict[str, Any]) -> None:
    """Record that a bundle was exported, or that its answers were imported."""
    dataset_table.set_meta(con, f"bundle:{bundle}", json.dumps(properties))


def bundle_identity(con: Connection) -> dict[str, Any] | None:
    """Return {id, key, hash, seal} of a study that is itself a bundle, else None."""
    text = dataset_table.get_meta(con, "bundle")
    return json.loads(text) if text else None


def record_bundle_identity(con: Connection, properties: dict[str, Any]) -> None:
    """Make this study a bundle."""
    dataset_table.set_meta(con, "bundle", json.dumps(properties))


def load_bundle_cases(
    con: Connection, protocol: str, version: int
) -> list[tuple[int, int, list[str]]]:
    """Return all that a bundle holds of each case: (case number, group, texts), by case number.

    Cases of one patient share a group, so that a reader's order can keep them apart.
    """
    rows = con.execute(
        "SELECT case_number, patient_id, texts FROM reading_cases"
        " WHERE protocol = ? AND version = ? ORDER BY case_number",
        [protocol, version],
    ).fetchall()
    # Counted by first appearance: the ids of patients must not leave the study.
    groups: dict[str, int] = {}
    return [
        (number, groups.setdefault(patient, len(groups) + 1), json.loads(texts))
        for number, patient, texts in rows
    ]


def add_bundle_cases(
    con: Connection, protocol: str, version: int, cases: Iterable[tuple[int, int, Sequence[str]]]
) -> None:
    """Store the cases of a bundle, without mammogram, truth, score and arm."""
    reading_table.add_reading_cases(
        con,
        protocol,
        version,
        [
            ReadingCase(
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


def load_bundle_readers(con: Connection, protocol: str, version: int) -> list[dict[str, Any]]:
    """Return every reader who has an order, as plain data.

    Keys: code, experience, consent, consented (time), items [position, case, repeat, practice],
    answers [position, revision, answer, seconds, idle, time].
    """
    codes = con.execute(
        "SELECT DISTINCT code FROM reading_items WHERE protocol = ? AND version = ? ORDER BY code",
        [protocol, version],
    ).fetchall()
    return [_bundle_reader(con, protocol, version, code) for (code,) in codes]


def _bundle_reader(con: Connection, protocol: str, version: int, code: str) -> dict[str, Any]:
    experience, consent, consented = con.execute(
        "SELECT experience, consent, made FROM consents WHERE code = ? ORDER BY made DESC LIMIT 1",
        [code],
    ).fetchone() or ("", "", None)
    items = con.execute(
        "SELECT position, case_number, repeat, practice FROM reading_items"
        " WHERE protocol = ? AND version = ? AND code = ? ORDER BY position",
        [protocol, version, code],
    ).fetchall()
    answers = con.execute(
        "SELECT position, revision, answer, seconds, idle, made FROM answers"
        " WHERE protocol = ? AND version = ? AND code = ? ORDER BY position, revision",
        [protocol, version, code],
    ).fetchall()
    return {
        "code": code,
        "experience": experience,
        "consent": consent,
        "consented": consented.isoformat() if consented else None,
        "items": [list(item) for item in items],
        "answers": [[*answer, stored_at.isoformat()] for *answer, stored_at in answers],
    }


def add_bundle_reader(
    con: Connection, protocol: str, version: int, reader: dict[str, Any], code: str
) -> None:
    """Store a bundle's reader with order, answers and consent, under a code of this study.

    The caller has checked the rows.
    """
    items = [
        ReadingItem(number, repeat=repeat, practice=practice)
        for _, number, repeat, practice in reader["items"]
    ]
    reading_table.assign_reading_order(con, protocol, version, code, items)
    # The original times are kept; `append_reading_answer` would stamp the time of the import.
    rows = [
        [
            protocol,
            version,
            code,
            position,
            revision,
            answer,
            seconds,
            idle,
            False,  # not simulated: only people read at a site
            datetime.fromisoformat(stored_at),
        ]
        for position, revision, answer, seconds, idle, stored_at in reader["answers"]
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
