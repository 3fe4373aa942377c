"""Looks at the results of a closed reading study, which the study's log and evidence keep."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.store import run_table
from core.store.reading.protocol_table import Protocol


def log_lookup(study: Path, protocol: Protocol, user: str) -> None:
    """Write to the study's log that a person looked at the results of a version."""
    with store.write(study) as con:
        run_table.append_log(
            con, user, "results looked up", f"{protocol.protocol} version {protocol.version}"
        )
