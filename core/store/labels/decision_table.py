"""The table of decided labels: adjudicated in this study, or imported as a published consensus.

Rows are only added. An undo is a row of its own: it takes back the last decision on its unit that
was not yet taken back, and the decision before that one counts again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from core.class_labels import unit_name
from core.errors import UserError
from core.lexicon import annotation_answers
from core.store import unit_table
from core.store.connection import Connection
from core.timestamps import utc_now

IMPORTED = "imported"
_COLUMNS = ["unit", "label", "sources", "reason", "decided_by", "made"]


def record_decision(
    con: Connection,
    run: str,
    unit: int,
    label: str,
    sources: Sequence[str],
    reason: str,
    decided_by: str,
    origin: str = "",
) -> None:
    """Append a decided label with its reason; the latest decision on a unit counts.

    label: "" decides that the unit has none. sources: ids of the annotations it rests on. origin:
    "imported" for a label that was published elsewhere. UserError if a text is too long.
    """
    text = " ".join(label.split())
    limit = annotation_answers.MAX_CHARACTERS
    if len(text) > limit or len(reason) > limit:
        raise UserError(
            f"A decision's label and reason may have {limit} characters each; shorten them."
        )
    _append(con, run, unit, text, sources, reason.strip(), decided_by, origin, undone=False)


def undo_decision(con: Connection, run: str, unit: int, decided_by: str) -> None:
    """Take back the last decision made in this study on a unit.

    The decision before it counts again; without one, the experts' answers do. UserError if there is
    no decision to take back.
    """
    if unit not in set(load_decisions(con, run)["unit"]):
        raise UserError(f"{unit_name(unit)} has no decision made in this study to undo.")
    _append(con, run, unit, "", (), "", decided_by, "", undone=True)


def _append(
    con: Connection,
    run: str,
    unit: int,
    label: str,
    sources: Sequence[str],
    reason: str,
    decided_by: str,
    origin: str,
    *,
    undone: bool,
) -> None:
    con.execute(
        "INSERT INTO decisions"
        " (run, layer, unit, label, sources, reason, decided_by, made, origin, undone, number)"
        " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1 + coalesce(max(number), 0) FROM decisions",
        [
            run,
            unit_table.unit_layer(con, run, unit),
            unit,
            label,
            json.dumps(list(sources)),
            reason,
            decided_by,
            utc_now(),
            origin,
            undone,
        ],
    )


def load_decisions(con: Connection, run: str, imported: bool = False) -> pd.DataFrame:
    """Return the decision that counts on each unit: those made in this study, or imported ones.

    Columns: unit, label, sources (list of annotation ids), reason, decided_by, made. In order of
    unit; a unit whose decisions were all undone is not listed.
    """
    rows = con.execute(
        """
        SELECT unit, label, sources, reason, decided_by, made, undone FROM decisions
        WHERE run = ? AND (origin = 'imported') = ? ORDER BY number
        """,
        [run, imported],
    ).fetchall()
    standing: dict[int, list[tuple[object, ...]]] = {}
    for unit, label, sources, reason, decided_by, decided_at, undone in rows:
        of_unit = standing.setdefault(int(unit), [])
        if not undone:
            of_unit.append((int(unit), label, json.loads(sources), reason, decided_by, decided_at))
        elif of_unit:
            of_unit.pop()
    return pd.DataFrame(
        [of_unit[-1] for _, of_unit in sorted(standing.items()) if of_unit], columns=_COLUMNS
    )


def load_consensus(con: Connection, run: str) -> pd.DataFrame:
    """Return the decision on each unit, of this study where there is one, else the imported one.

    Columns: those of `load_decisions`, and imported (bool).
    """
    own = load_decisions(con, run).assign(imported=False)
    published = load_decisions(con, run, imported=True).assign(imported=True)
    others = published[~published["unit"].isin(own["unit"])]
    # An empty frame would turn the columns of the other one into objects.
    frames = [frame for frame in (own, others) if len(frame)] or [own]
    return pd.concat(frames).sort_values("unit", ignore_index=True)
