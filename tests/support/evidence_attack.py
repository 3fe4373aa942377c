"""Changes to a store with SQL, and the chain rewritten to hide them.

The hashes are computed here from the documented algorithm, without the product's code.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

# kind: table, columns of a record's rows, order, name of the rows
TABLES = {
    "protocol_state": (
        "protocols",
        ("protocol", "version", "state"),
        "state",
        "{protocol}, version {version}: state {state}",
    ),
    "reading_cases": (
        "reading_cases",
        ("protocol", "version"),
        "case_number",
        "{protocol}, version {version}: cases",
    ),
    "reading_pictures": (
        "reading_pictures",
        ("protocol", "version"),
        "case_number, slot",
        "{protocol}, version {version}: images",
    ),
    "reading_order": (
        "reading_items",
        ("protocol", "version", "code"),
        "position",
        "{protocol}, version {version}: order of reader {code}",
    ),
    "reading_answer": (
        "answers",
        ("protocol", "version", "code", "position", "revision"),
        "revision",
        "{protocol}, version {version}: answer of reader {code} at position {position}, revision"
        " {revision}",
    ),
    "participant": ("people", ("code",), "code", "participant {code}"),
    "consent": ("consents", ("code", "made"), "made", "consent of {code} at {made}"),
    "log": (
        "log",
        ("made", "who", "event"),
        "made",
        "log of {made}: {event}, {who}",
    ),
}


def sha256_of_json(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a content as the documentation defines it."""

    def time_text(value: datetime) -> str:
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f")

    text = json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=time_text
    )
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def execute_sql(study: Path, *statements: str) -> None:
    """Run statements on the database, past the product."""
    with duckdb.connect(str(study / "study.duckdb")) as con:
        for statement in statements:
            con.execute(statement)


def _rows(con: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    cursor = con.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _content_hashes(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str]:
    """Return the content hash of every record's rows as they are now, by kind and name."""
    hashes = {}
    for kind, (table, key, order, name) in TABLES.items():
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in _rows(con, f"SELECT * FROM {table} ORDER BY {order}"):
            groups.setdefault(tuple(row[column] for column in key), []).append(row)
        for rows in groups.values():
            filled = [{k: v for k, v in row.items() if v is not None} for row in rows]
            hashes[kind, name.format(**rows[0])] = sha256_of_json({"rows": filled})
    return hashes


def rewrite_chain(study: Path) -> None:
    """Make the chain fit the rows as they are now, with every hash of every record."""
    with duckdb.connect(str(study / "study.duckdb")) as con:
        records = _rows(con, "SELECT * FROM evidence ORDER BY number")
        previous = hashlib.sha256(b"DeepMiner evidence chain").hexdigest()
        hashes = _content_hashes(con)
        last_of = {(r["kind"], r["subject"]): r["number"] for r in records}
        kept = []
        for record in records:
            subject = record["kind"], record["subject"]
            if record["kind"] in TABLES and last_of[subject] == record["number"]:
                if subject not in hashes:
                    continue
                record["content_hash"] = hashes.pop(subject)
            kept.append(record)
        for kind, subject in hashes:
            new = {"kind": kind, "subject": subject, "content_hash": hashes[kind, subject]}
            kept.append({**records[-1], "actor": "R9", **new})
        con.execute("DELETE FROM evidence")
        for number, record in enumerate(kept, start=1):
            del record["hash"]
            record |= {"number": number, "previous_hash": previous}
            previous = sha256_of_json(record)
            columns = [*record, "hash"]
            con.execute(
                f"INSERT INTO evidence ({', '.join(columns)})"
                f" VALUES ({', '.join('?' * len(columns))})",
                [*record.values(), previous],
            )
