"""Groups of units for annotation, and the table of units that people separated from them.

The groups of a dissection stand in the manifest of its latest run of the kind "groups". A unit that
is separated is annotated on its own from then on; the answers that it got with its group stay until
it is answered again. The table is append-only; the latest row of a unit counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from core.class_labels import unit_name
from core.errors import UserError
from core.store import run_table, unit_table
from core.store.connection import Connection, fetch_integer
from core.timestamps import utc_now

Groups = tuple[tuple[int, ...], ...]


def groups_run(con: Connection, dissect: str) -> str | None:
    """Return the latest run that grouped the units of a dissect run, or None."""
    return run_table.latest_run(con, "groups", dissect)


def load_groups(con: Connection, dissect: str) -> Groups | None:
    """Return the groups of a dissect run, separated units as groups of one; None without a run.

    Every unit is in one group.
    """
    run = groups_run(con, dissect)
    if run is None:
        return None
    computed = run_table.load_run(con, run)["manifest"]["groups"]
    alone = separated_units(con, dissect)
    together = [tuple(unit for unit in group if unit not in alone) for group in computed]
    return (*(group for group in together if group), *((unit,) for unit in sorted(alone)))


def annotated_groups(con: Connection, dissect: str) -> dict[int, tuple[int, ...]]:
    """Return the selected units of each group by the unit that stands for them.

    That unit is the one most often among the top units of hold-out mammograms, of equal ones the
    smallest; it comes first in its group. Without groups every selected unit stands for itself.
    """
    selected = unit_table.load_selected_units(con, dissect)
    counts: Counter[int] = Counter()
    for unit, count in zip(selected["unit"], selected["count"]):
        counts[int(unit)] += int(count)
    groups = load_groups(con, dissect) or tuple((unit,) for unit in sorted(counts))
    result = {}
    for group in groups:
        members = sorted((u for u in group if u in counts), key=lambda u: (-counts[u], u))
        if members:
            result[members[0]] = tuple(members)
    return dict(sorted(result.items()))


def separated_units(con: Connection, dissect: str) -> set[int]:
    """Return the units of a dissect run that people separated from their groups."""
    rows = con.execute(
        """
        SELECT unit FROM group_separations WHERE run = ?
        QUALIFY row_number() OVER (PARTITION BY unit ORDER BY number DESC) = 1 AND separated
        """,
        [groups_run(con, dissect)],
    ).fetchall()
    return {int(unit) for (unit,) in rows}


def separate_units(con: Connection, dissect: str, units: Sequence[int], actor: str) -> None:
    """Separate units from their groups: each is annotated on its own from now on.

    UserError if a unit is in no group with others.
    """
    groups = {unit: group for group in load_groups(con, dissect) or () for unit in group}
    for unit in units:
        if len(groups.get(unit, ())) < 2:
            raise UserError(
                f"{unit_name(unit)} is in no group with other units of {dissect}, so it cannot be"
                " separated; run `deepminer group` first, or choose another unit."
            )
    for unit in units:
        _append(con, dissect, unit, True, actor)


def rejoin_unit(con: Connection, dissect: str, unit: int, actor: str) -> None:
    """Undo the separation of a unit. UserError if it is not separated."""
    if unit not in separated_units(con, dissect):
        raise UserError(
            f"{unit_name(unit)} was not separated from its group; there is nothing to undo."
        )
    _append(con, dissect, unit, False, actor)


def _append(con: Connection, dissect: str, unit: int, separated: bool, actor: str) -> None:
    number = 1 + fetch_integer(con, "SELECT coalesce(max(number), 0) FROM group_separations", [])
    con.execute(
        "INSERT INTO group_separations VALUES (?, ?, ?, ?, ?, ?)",
        [number, groups_run(con, dissect), unit, separated, actor, utc_now()],
    )
