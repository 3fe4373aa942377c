"""The head of a chain as a file, to be kept outside the study."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core.atomic_files import write_text
from core.errors import UserError
from core.store.evidence.chain import ChainHead, Connection, chain_head, load_records
from core.store.evidence.replaced_records import load_replaced_records
from core.timestamps import utc_now


@dataclass(frozen=True)
class Deposit:
    """A head that was deposited: study's folder, number and hash of the record, time."""

    study: str
    number: int
    hash: str
    made: str


def deposit_head(study: Path, head: ChainHead, file: Path) -> Deposit:
    """Write a chain's head to a file. UserError if the file exists or cannot be written."""
    if file.exists():
        raise UserError(f"{file} exists already; name a new file for the head of the evidence.")
    deposit = Deposit(study.name, head.number, head.hash, f"{utc_now():%Y-%m-%dT%H:%M:%S}Z")
    try:
        write_text(file, json.dumps(vars(deposit), indent=1) + "\n")
    except OSError as error:
        raise UserError(
            f"{file} cannot be written ({error.strerror}); name another file for the head of the"
            " evidence."
        ) from error
    return deposit


def read_deposit(file: Path) -> Deposit:
    """Return a head that was deposited. UserError if the file is another one."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        deposit = Deposit(**values)
        valid = isinstance(deposit.number, int) and isinstance(deposit.hash, str)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(_no_deposit(file)) from error
    if not valid:
        raise UserError(_no_deposit(file))
    return deposit


def _no_deposit(file: Path) -> str:
    return (
        f"{file} is not a deposited head; name a file written by `deepminer verify --deposit FILE`."
    )


def compare_with_deposit(con: Connection, deposit: Deposit) -> str:
    """Return what contradicts a deposited head, or "" where the chain continues it."""
    records = {record.number: record.hash for record in load_records(con)}
    head = chain_head(con)
    if deposit.number == 0 or records.get(deposit.number) == deposit.hash:
        return ""
    deposited = (
        f"record {deposit.number} had hash {deposit.hash} when it was deposited on {deposit.made}"
    )
    for replaced in load_replaced_records(con):
        if (replaced.record.number, replaced.record.hash) == (deposit.number, deposit.hash):
            return (
                f"{deposited}; it belongs to the store that the restore of"
                f" {replaced.restored_at:%Y-%m-%d %H:%M:%S} UTC replaced"
            )
    if deposit.number not in records:
        return f"{deposited}; the chain now ends at record {head.number}"
    return f"{deposited}, now {records[deposit.number]}: the chain was rewritten"
