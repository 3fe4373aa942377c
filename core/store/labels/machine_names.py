"""Machine names of units: the label set "machine", from the latest run that computed them.

They are one more set beside those of experts. No expert's page asks for them, and they decide about
no label that counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.store import run_table
from core.store.connection import Connection

RUN_KIND = "machine_names"


@dataclass(frozen=True, kw_only=True)
class StoredName:
    """The machine answer on one unit: the nearest word, and whether it is the unit's name.

    score: standardised similarity; p_adjusted: against random patches, over all units.
    """

    word: str
    score: float
    p_adjusted: float
    named: bool


def load_machine_names(con: Connection, dissect: str) -> dict[int, StoredName] | None:
    """Return the machine answers on the units of a dissect run, by unit; None without a run."""
    run = run_table.latest_run(con, RUN_KIND, dissect)
    if run is None:
        return None
    rows = run_table.load_run(con, run)["manifest"]["names"]
    return {
        int(row["unit"]): StoredName(
            word=row["word"],
            score=row["score"],
            p_adjusted=row["p_adjusted"],
            named=row["named"],
        )
        for row in rows
    }
