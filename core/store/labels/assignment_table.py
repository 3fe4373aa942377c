"""The table of assignments: which dissections each annotator names the units of.

An annotator keeps the assigned dissections when a newer one appears: the queue changes only when
the team changes the assignment. The table is append-only; the latest row of an annotator and a
dissection counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import UserError
from core.store import run_table, unit_table
from core.store.connection import Connection
from core.timestamps import utc_now

# Who made an assignment that follows from an invitation, from a first dissection or from an import.
AUTOMATIC = "automatic"


def assigned_dissections(con: Connection, code: str) -> tuple[str, ...]:
    """Return the dissect runs that an annotator is assigned, in the order of assignment."""
    return load_assignments(con).get(code, ())


def load_assignments(con: Connection) -> dict[str, tuple[str, ...]]:
    """Return the assigned dissect runs of every annotator that has any, by code."""
    rows = con.execute(
        """
        SELECT code, run FROM annotation_assignments
        QUALIFY row_number() OVER (PARTITION BY code, run ORDER BY number DESC) = 1 AND assigned
        ORDER BY code, number
        """
    ).fetchall()
    assignments: dict[str, tuple[str, ...]] = {}
    for code, run in rows:
        assignments[code] = (*assignments.get(code, ()), run)
    return assignments


def assigned_titles(con: Connection, code: str) -> str:
    """Return the networks and layers that an annotator is assigned, in words; "" for none."""
    titles = {one.run: one.title for one in unit_table.list_dissections(con)}
    return "; ".join(titles[run] for run in assigned_dissections(con, code))


def assign_dissections(con: Connection, code: str, runs: Sequence[str], actor: str) -> None:
    """Set the dissections that an annotator names the units of; earlier answers stay.

    Parameters
    ----------
    con : Connection
        Inside `core.store.write`.
    code : str
        The annotator.
    runs : sequence of str
        Ids of dissect runs, all that are assigned from now on; at least one.
    actor : str
        Who assigns, for the log.

    Raises
    ------
    UserError
        If the code is not an annotator's, no run or a repeated one is given, or one of them is no
        dissect run.
    """
    role = con.execute("SELECT role FROM people WHERE code = ?", [code]).fetchone()
    if role is None or role[0] != "annotator":
        raise UserError(
            f"{code} is {f'a {role[0]}' if role else 'no participant'} of this study; only"
            " annotators are assigned to dissections."
        )
    if not runs or len(set(runs)) < len(runs):
        raise UserError(
            f"Name at least one dissection for {code}, each once; these are"
            f" {', '.join(runs) or 'none'}."
        )
    for run in runs:
        kind = run_table.load_run(con, run)["kind"]
        if kind != "dissect":
            raise UserError(f"{run} is a {kind} run; annotators name the units of a dissect run.")
    before = assigned_dissections(con, code)
    for run in before:
        if run not in runs:
            _append(con, code, run, assigned=False, actor=actor)
    for run in runs:
        if run not in before:
            _append(con, code, run, assigned=True, actor=actor)
    run_table.append_log(con, actor, "annotator assigned", f"{code}: {', '.join(runs)}")


def add_assignment(con: Connection, code: str, run: str) -> None:
    """Assign one more dissection to an annotator, who answered on it elsewhere."""
    if run not in assigned_dissections(con, code):
        _append(con, code, run, assigned=True, actor=AUTOMATIC)


def assign_new_annotator(con: Connection, code: str, run: str | None) -> None:
    """Assign a dissection, by default the current one; nothing before the first dissection."""
    run = run or unit_table.current_dissection(con)
    if run is not None:
        add_assignment(con, code, run)


def assign_first_dissection(con: Connection, run: str) -> None:
    """Assign a new dissection to the annotators who were invited before there was any."""
    waiting = con.execute(
        "SELECT code FROM people WHERE role = 'annotator'"
        " AND code NOT IN (SELECT code FROM annotation_assignments) ORDER BY code"
    ).fetchall()
    for (code,) in waiting:
        add_assignment(con, code, run)


def _append(con: Connection, code: str, run: str, *, assigned: bool, actor: str) -> None:
    con.execute(
        "INSERT INTO annotation_assignments"
        " SELECT 1 + coalesce(max(number), 0), ?, ?, ?, ?, ? FROM annotation_assignments",
        [code, run, assigned, str(actor), utc_now()],
    )
