"""What a network with auxiliary columns looked at, case by case: its attention weights over the
image and the patient's columns (HDSR 2021, section 2.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core import store
from core.store import run_table, unit_table


@dataclass(frozen=True)
class Attended:
    """One source of a decision. name: "image" or a column; value: the patient's, as text; None for
    the image and where it is missing; weight: its share, all of a case's shares sum to one.
    """

    name: str
    value: str | None
    missing: bool
    weight: float


def attended(study: Path, run: str, mammogram_id: str) -> tuple[Attended, ...]:
    """The image and the columns of one mammogram in an evaluate or explain run, in the network's
    order; empty for a network without auxiliary columns.
    """
    with store.read(study) as con:
        parents = run_table.get(con, run)["parents"]
        evaluated = next((p for p in parents if p.startswith("evaluate-")), run)
        frame = unit_table.attention(con, evaluated, mammogram_id)
    return tuple(
        Attended(row.source, row.value or None, bool(row.missing), float(row.weight))
        for row in frame.itertuples()
    )
