"""The table of the evidence chain: records, their hashes and the head."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import duckdb

from core.timestamps import utc_now

Connection = duckdb.DuckDBPyConnection
RECORD_COLUMNS = (
    "number",
    "made",
    "kind",
    "subject",
    "actor",
    "claimed",
    "content_hash",
    "previous_hash",
    "hash",
)


@dataclass(frozen=True)
class ChainHead:
    """The last record of a chain; its hash depends on every record of the chain."""

    number: int
    hash: str
    made: datetime | None = None

    def sentence(self) -> str:
        """Return the head as it is printed in exports."""
        return f"Evidence record {self.number}, SHA-256 {self.hash}"


# The hash that the first record continues.
EMPTY_HEAD = ChainHead(0, hashlib.sha256(b"DeepMiner evidence chain").hexdigest())


@dataclass(frozen=True, kw_only=True)
class EvidenceRecord:
    """One record of the chain.

    subject: the row or act that it is about. actor: participant's code or operating system's user.
    claimed: a name that the actor gave beside it, or "". content_hash: SHA-256 of the content.
    """

    number: int
    made: datetime
    kind: str
    subject: str
    actor: str
    claimed: str
    content_hash: str
    previous_hash: str
    hash: str

    def computed_hash(self) -> str:
        """Return the hash of the record's fields as they are."""
        fields = asdict(self)
        del fields["hash"]
        return content_hash(fields)


@dataclass(frozen=True, kw_only=True)
class _PendingRecord:
    """A record that waits for the end of its transaction, when it gets number and hashes."""

    made: datetime
    kind: str
    subject: str
    actor: str
    claimed: str
    content_hash: str


# Records of the open transaction of each connection. They are written together, once for each
# transaction: up to 64 answers share one, and each statement costs more than the answer's hash.
_pending: WeakKeyDictionary[Connection, list[_PendingRecord]] = WeakKeyDictionary()


def content_hash(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a content as canonical JSON.

    Keys are sorted, times are ISO 8601 to the microsecond, and no blanks separate the parts.
    """
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_time_text
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _time_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    raise TypeError(f"{value!r} has no canonical form")


def append_evidence(
    con: Connection,
    kind: str,
    subject: str,
    content: Mapping[str, Any],
    actor: str,
    claimed: str = "",
) -> None:
    """Append a record to the chain, in the caller's transaction.

    Parameters
    ----------
    con : Connection
        A connection of `core.store.write`.
    kind : str
        Kind of the act, such as "restore".
    subject : str
        The row or act.
    content : mapping
        What the record seals. Only its hash is stored.
    actor : str
        Participant's code, or the operating system's user.
    claimed : str
        Name that was given beside the actor's; by default that of an `Actor`.
    """
    append_content_hash(con, kind, subject, content_hash(content), actor, claimed)


def append_content_hash(
    con: Connection, kind: str, subject: str, hash: str, actor: str, claimed: str = ""
) -> None:
    """Append a record of a content that is known by its hash; see `append_evidence`."""
    _pending.setdefault(con, []).append(
        _PendingRecord(
            made=utc_now(),
            kind=kind,
            subject=subject,
            actor=str(actor),
            claimed=claimed or getattr(actor, "claimed", ""),
            content_hash=hash,
        )
    )


def write_pending(con: Connection) -> None:
    """Write the records that were appended in the open transaction."""
    pending = _pending.pop(con, None)
    if not pending:
        return
    head = _stored_head(con)
    number, previous = head.number, head.hash
    records = []
    for waiting in pending:
        number += 1
        fields = asdict(waiting) | {"number": number, "previous_hash": previous}
        previous = content_hash(fields)
        records.append(EvidenceRecord(**fields, hash=previous))
    columns = [[getattr(record, name) for record in records] for name in RECORD_COLUMNS]
    types = ("BIGINT", "TIMESTAMP", *["VARCHAR"] * 7)
    values = ", ".join(f"unnest(?::{name}[])" for name in types)
    con.execute(f"INSERT INTO evidence ({', '.join(RECORD_COLUMNS)}) SELECT {values}", columns)


def chain_head(con: Connection) -> ChainHead:
    """Return the head of the chain, the records of the open transaction included.

    A chain without a record has number 0 and the fixed hash of `EMPTY_HEAD`.
    """
    write_pending(con)
    return _stored_head(con)


def _stored_head(con: Connection) -> ChainHead:
    row = con.execute(
        "SELECT number, hash, made FROM evidence ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return ChainHead(*row) if row else EMPTY_HEAD


def load_records(con: Connection) -> list[EvidenceRecord]:
    """Return the records of the chain, by number."""
    write_pending(con)
    rows = con.execute(
        f"SELECT {', '.join(RECORD_COLUMNS)} FROM evidence ORDER BY number"
    ).fetchall()
    return [EvidenceRecord(**dict(zip(RECORD_COLUMNS, row, strict=True))) for row in rows]
