"""The table of categories that people confirmed for labels in free text.

A confirmation belongs to a unit and to the words of its label: other words need another one. The
table is append-only; the latest row of a unit and label counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from core.errors import UserError
from core.store import dataset_table
from core.store.connection import Connection
from core.timestamps import utc_now

CONFIRMED, WITHDRAWN = "confirmed", "withdrawn"


def label_key(label: str) -> str:
    """Return the key of a label's words; capitals and spaces do not distinguish labels.

    A hash, so that the words of a participant who withdraws do not remain in this table.
    """
    return hashlib.sha256(" ".join(label.lower().split()).encode()).hexdigest()[:32]


def confirm_categories(
    con: Connection, run: str, unit: int, label: str, categories: Sequence[str], decided_by: str
) -> None:
    """Record the categories that a person confirmed for a unit's label.

    Parameters
    ----------
    con : Connection
        Inside `core.store.write`.
    run : str
        Id of the dissect run.
    unit : int
        0-based unit.
    label : str
        The label that the person read.
    categories : sequence of str
        Category names, at least one, each once.
    decided_by : str
        Code of the person.

    Raises
    ------
    UserError
        For an unknown or repeated category, and for none.
    """
    lexicon = dataset_table.load_lexicon(con)
    for name in categories:
        lexicon.category(name)
    if len(set(categories)) < len(categories) or not categories:
        raise UserError(
            "A label has one or several different categories; these are"
            f" {', '.join(categories) or 'none'}."
        )
    _append(con, run, unit, label, categories, CONFIRMED, decided_by)


def withdraw_confirmation(
    con: Connection, run: str, unit: int, label: str, decided_by: str
) -> None:
    """Undo the confirmation of a unit's label: its categories are proposed again.

    UserError if they are not confirmed.
    """
    if (unit, label_key(label)) not in confirmed_categories(con, run):
        raise UserError(f"The categories of {label!r} are not confirmed; there is nothing to undo.")
    _append(con, run, unit, label, (), WITHDRAWN, decided_by)


def _append(
    con: Connection,
    run: str,
    unit: int,
    label: str,
    categories: Sequence[str],
    state: str,
    decided_by: str,
) -> None:
    con.execute(
        "INSERT INTO label_categories"
        " SELECT ?, ?, ?, 1 + coalesce(max(version), 0), ?, ?, ?, ?"
        " FROM label_categories WHERE run = ? AND unit = ? AND label_key = ?",
        [
            run,
            unit,
            label_key(label),
            json.dumps(list(categories)),
            state,
            decided_by,
            utc_now(),
            run,
            unit,
            label_key(label),
        ],
    )


def confirmed_categories(con: Connection, run: str) -> dict[tuple[int, str], tuple[str, ...]]:
    """Return the confirmed categories of a dissect run by (unit, `label_key`)."""
    rows = con.execute(
        """
        SELECT unit, label_key, categories, state FROM label_categories WHERE run = ?
        QUALIFY row_number() OVER (PARTITION BY unit, label_key ORDER BY version DESC) = 1
        ORDER BY unit, label_key
        """,
        [run],
    ).fetchall()
    return {
        (int(unit), key): tuple(json.loads(categories))
        for unit, key, categories, state in rows
        if state == CONFIRMED
    }


def used_categories(con: Connection) -> set[str]:
    """Return every category that was ever confirmed in the study."""
    rows = con.execute("SELECT DISTINCT categories FROM label_categories").fetchall()
    return {name for (categories,) in rows for name in json.loads(categories)}
