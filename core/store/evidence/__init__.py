"""The evidence chain: one record for each act of a reading study, each sealed to the one before.

Records are appended in the transaction of the rows they describe. The hash of a record covers its
own fields and the hash of the record before it, so that changing, removing or inserting a record
changes the hash of every later one, up to the head. `verify_chain` recomputes the chain and
compares the rows as they are now with what was recorded of them.
"""

from core.store.evidence.actor import Actor, operating_system_user
from core.store.evidence.chain import (
    EMPTY_HEAD,
    ChainHead,
    append_evidence,
    chain_head,
    write_pending,
)
from core.store.evidence.covered_rows import record_group, record_row
from core.store.evidence.deposits import compare_with_deposit, deposit_head, read_deposit
from core.store.evidence.replaced_records import ReplacedRecord, load_replaced_records
from core.store.evidence.verification import ChainVerification, Fault, verify_chain

__all__ = [
    "EMPTY_HEAD",
    "Actor",
    "ChainHead",
    "ChainVerification",
    "Fault",
    "ReplacedRecord",
    "append_evidence",
    "chain_head",
    "compare_with_deposit",
    "deposit_head",
    "load_replaced_records",
    "operating_system_user",
    "read_deposit",
    "record_group",
    "record_row",
    "verify_chain",
    "write_pending",
]
