"""The records that a restored backup does not have: what the replaced store held beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from core.store.evidence.chain import RECORD_COLUMNS, Connection, EvidenceRecord, load_records
from core.store.evidence.covered_rows import record_group


@dataclass(frozen=True)
class ReplacedRecord:
    """A record of a store that a restoration replaced."""

    restored_at: datetime
    record: EvidenceRecord


def load_replaced_records(con: Connection) -> list[ReplacedRecord]:
    """Return the records of all stores that were replaced, by time of the restoration."""
    rows = con.execute(
        f"SELECT restored_at, {', '.join(RECORD_COLUMNS)} FROM replaced_records"
        " ORDER BY restored_at, made, number, hash"
    ).fetchall()
    return [
        ReplacedRecord(restored_at, EvidenceRecord(**dict(zip(RECORD_COLUMNS, row, strict=True))))
        for restored_at, *row in rows
    ]


def all_records(con: Connection) -> list[EvidenceRecord]:
    """Return the records of a chain with those of the stores that were replaced earlier."""
    return [*(replaced.record for replaced in load_replaced_records(con)), *load_records(con)]


def records_beyond(
    replaced: Sequence[EvidenceRecord], restored: Sequence[EvidenceRecord]
) -> list[EvidenceRecord]:
    """Return the records of a replaced store that the restored one lacks."""
    present = {record.hash for record in restored}
    return [record for record in replaced if record.hash not in present]


def keep_replaced_records(
    con: Connection, restored_at: datetime, records: Sequence[EvidenceRecord], actor: str
) -> None:
    """Store records that are lost by a restoration, and append the record of the restoration."""
    if records:
        con.executemany(
            "INSERT INTO replaced_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(restored_at, *astuple(record)) for record in records],
        )
    record_group(con, "restore", actor, restored_at=restored_at)
