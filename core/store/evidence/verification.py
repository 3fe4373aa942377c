"""Verification of the chain: its hashes, and the rows as they are now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.store.evidence.chain import (
    EMPTY_HEAD,
    ChainHead,
    Connection,
    EvidenceRecord,
    chain_head,
    load_records,
)
from core.store.evidence.covered_rows import (
    CLOSING,
    ENDED_KINDS,
    ROW_KINDS,
    CoveredContent,
    load_covered_contents,
    rows_hash,
)
from core.store.evidence.replaced_records import ReplacedRecord, load_replaced_records

_NO_ROWS = rows_hash([])


@dataclass(frozen=True)
class Fault:
    """One contradiction: between two records, or between a record and the rows.

    number, made: of the record; None for rows that no record covers.
    """

    kind: str
    subject: str
    reason: str
    number: int | None = None
    made: datetime | None = None

    def sentence(self) -> str:
        """Return the fault as one sentence without its full stop."""
        if self.number is None or self.made is None:
            return f"{self.subject} ({self.kind}): {self.reason}"
        return (
            f"record {self.number} of {self.made:%Y-%m-%d %H:%M:%S} UTC ({self.kind}),"
            f" {self.subject}: {self.reason}"
        )


@dataclass(frozen=True, kw_only=True)
class ChainVerification:
    """The result of a verification.

    records, rows: numbers of records, and of contents compared with them. removed: orders and
    answers whose removal is recorded, such as those of a participant who withdrew. faults: by
    record, then the rows without one. replaced: records of stores that a restored backup replaced.
    """

    records: int
    rows: int
    removed: int
    head: ChainHead
    counts: dict[str, int]
    faults: tuple[Fault, ...]
    replaced: tuple[ReplacedRecord, ...]

    @property
    def valid(self) -> bool:
        """Whether nothing contradicts the chain."""
        return not self.faults

    @property
    def first_broken(self) -> Fault | None:
        """The first fault, or None."""
        return self.faults[0] if self.faults else None

    @property
    def reason(self) -> str:
        """The first fault as a sentence, or ""."""
        return self.faults[0].sentence() if self.faults else ""


def verify_chain(con: Connection) -> ChainVerification:
    """Recompute the chain, and compare what it recorded with the rows as they are now.

    Parameters
    ----------
    con : Connection
        A connection of `core.store.read` or `core.store.write`.

    Returns
    -------
    ChainVerification
        Its faults are a record that was changed, removed or inserted, a row that was changed or
        removed, and a row that no record covers.
    """
    records, contents = load_records(con), load_covered_contents(con)
    broken, uncovered = _row_faults(records, contents)
    # A record that is broken itself says nothing about its row: the first fault of each counts.
    first: dict[int | None, Fault] = {}
    for fault in [*_chain_faults(records), *_late_records(records), *broken]:
        first.setdefault(fault.number, fault)
    return ChainVerification(
        records=len(records),
        rows=len(contents),
        removed=_count_removed(records),
        head=chain_head(con),
        counts=dict(Counter(record.kind for record in records)),
        faults=(*sorted(first.values(), key=lambda fault: fault.number or 0), *uncovered),
        replaced=tuple(load_replaced_records(con)),
    )


def _chain_faults(records: Sequence[EvidenceRecord]) -> Iterable[Fault]:
    """Return the records that do not continue the one before, or whose hash is not theirs."""
    number, previous = EMPTY_HEAD.number, EMPTY_HEAD.hash
    for record in records:
        if record.number != number + 1:
            yield _fault(record, f"the record before it is missing; it follows record {number}")
        elif record.computed_hash() != record.hash:
            yield _fault(record, "the record was changed: its hash does not match its fields")
        elif record.previous_hash != previous:
            yield _fault(record, f"it does not continue record {number}, which was changed")
        number, previous = record.number, record.hash


def _late_records(records: Sequence[EvidenceRecord]) -> Iterable[Fault]:
    """Return the cases, orders and answers that were recorded after their study was closed."""
    closed: set[str] = set()
    for record in records:
        version, _, part = record.subject.rpartition(": ")
        if record.kind == "protocol_state" and part == CLOSING:
            closed.add(version)
        # Removing what a person withdraws is allowed at any time.
        elif record.kind in ENDED_KINDS and version in closed and record.content_hash != _NO_ROWS:
            yield _fault(record, "it was recorded after the reading study was closed")


def _row_faults(
    records: Sequence[EvidenceRecord], contents: Sequence[CoveredContent]
) -> tuple[list[Fault], list[Fault]]:
    """Return the records whose rows differ, and the rows that no record covers."""
    stored: dict[tuple[str, str], list[str]] = defaultdict(list)
    for content in contents:
        stored[content.kind, content.subject].append(content.content_hash)
    recorded: dict[tuple[str, str], list[EvidenceRecord]] = defaultdict(list)
    for record in records:
        if record.kind in ROW_KINDS:
            recorded[record.kind, record.subject].append(record)
    broken = []
    for key, all_of_subject in recorded.items():
        current = _since_removal(all_of_subject)
        if ROW_KINDS[key[0]].replaceable:
            current = current[-1:]
        left = stored.pop(key, [])
        unmatched = []
        for record in current:
            if record.content_hash in left:
                left.remove(record.content_hash)
            else:
                unmatched.append(record)
        for record in unmatched:
            changed = bool(left)
            broken.append(_fault(record, "its row was changed" if changed else "its row is gone"))
            left = left[1:]
        stored[key] = left
    uncovered = [
        Fault(kind, subject, "no record covers this row")
        for (kind, subject), hashes in stored.items()
        for _ in hashes
    ]
    return broken, uncovered


def _since_removal(records: list[EvidenceRecord]) -> list[EvidenceRecord]:
    """Return the records of a subject after the last one that records its removal."""
    removals = [i for i, record in enumerate(records) if record.content_hash == _NO_ROWS]
    return records[removals[-1] + 1 :] if removals else records


def _count_removed(records: Sequence[EvidenceRecord]) -> int:
    """Return how many subjects that nothing may replace have their removal as last record."""
    last = {
        (record.kind, record.subject): record.content_hash
        for record in records
        if record.kind in ENDED_KINDS and not ROW_KINDS[record.kind].replaceable
    }
    return list(last.values()).count(_NO_ROWS)


def _fault(record: EvidenceRecord, reason: str) -> Fault:
    return Fault(record.kind, record.subject, reason, record.number, record.made)
