"""The table of data-quality problems: what ingestion and patch extraction list, and decisions.

A problem with a finding number and without a resolution keeps its mammogram from giving patches.
The checks that produce problems belong in `core.images`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.errors import UserError
from core.store.connection import Connection, fetch_records
from core.timestamps import utc_now

# Decisions about a problem: the data are right as they are, or the mammogram gives no patches.
ACCEPTED, LEFT_OUT = "accepted", "left_out"
RESOLUTIONS = (ACCEPTED, LEFT_OUT)
COLUMNS = ("source_id", "item", "cause", "action", "skipped", "code", "mammogram_id", "finding")


@dataclass(frozen=True)
class FindingDecision:
    """A listed problem of a finding. resolution: None without a decision."""

    mammogram_id: str
    finding: int
    code: str
    resolution: str | None


def add_problems(con: Connection, rows: list[dict[str, Any]]) -> None:
    """Append problems that are not listed yet.

    Each row has the keys source_id, item, cause, action and skipped, and may have code,
    mammogram_id and finding. A coded problem is the same as a listed one with equal code,
    mammogram_id and finding; its decision is kept.
    """
    if not rows:
        return
    complete = [{"code": "", "mammogram_id": None, "finding": None} | row for row in rows]
    frame = pd.DataFrame(complete, columns=list(COLUMNS)).astype({"finding": "Int64"})
    con.register("new_problems", frame)
    con.execute("""
        INSERT INTO problems BY NAME
        SELECT source_id, item, cause, action, skipped, code,
            mammogram_id::VARCHAR AS mammogram_id, finding::INTEGER AS finding
        FROM new_problems n
        WHERE n.code = '' OR NOT EXISTS (
            SELECT 1 FROM problems p
            WHERE p.code = n.code
                AND p.mammogram_id IS NOT DISTINCT FROM n.mammogram_id::VARCHAR
                AND p.finding IS NOT DISTINCT FROM n.finding::INTEGER
                AND (p.mammogram_id IS NOT NULL OR p.item = n.item)
        )
    """)
    con.unregister("new_problems")


def list_problems(
    con: Connection, *, code: str | None = None, open_only: bool = False
) -> pd.DataFrame:
    """Return the problems, skipped items first, each with a short id.

    Parameters
    ----------
    con : Connection
        An open store.
    code : str, optional
        Only the problems with this code; None: all.
    open_only : bool
        Only problems without a decision.

    Returns
    -------
    DataFrame
        Columns problem_id, source_id, item, cause, action, skipped, code ("" for problems without
        one), mammogram_id, finding, resolution, resolved_by, resolved_at.
    """
    return con.execute(
        """
        SELECT substr(md5(concat_ws('|', source_id, item, code, coalesce(mammogram_id, ''),
            coalesce(finding, 0), cause)), 1, 10) AS problem_id, *
        FROM problems
        WHERE (? IS NULL OR code = ?) AND (NOT ? OR resolution IS NULL)
        ORDER BY skipped DESC, item, code, finding
        """,
        [code, code, open_only],
    ).df()


def resolve_problem(con: Connection, problem_id: str, resolution: str, actor: str) -> None:
    """Record the decision about a problem; a later decision replaces an earlier one.

    Parameters
    ----------
    con : Connection
        A store opened for writing.
    problem_id : str
        As returned by `list_problems`.
    resolution : str
        ACCEPTED: the data are right, the mammogram gives patches; LEFT_OUT: it gives none.
    actor : str
        Code of the person who decided.

    Raises
    ------
    UserError
        If there is no such problem or no such resolution.
    """
    if resolution not in RESOLUTIONS:
        raise UserError(f"{resolution!r} is no decision; use one of {', '.join(RESOLUTIONS)}.")
    _set_resolution(con, _listed_problem(con, problem_id), resolution, actor)


def _listed_problem(con: Connection, problem_id: str) -> pd.Series:
    listed = list_problems(con)
    match = listed[listed["problem_id"] == problem_id]
    if not len(match):
        raise UserError(
            f"There is no problem {problem_id}; `deepminer problems` lists those of this study."
        )
    return match.iloc[0]


def _set_resolution(
    con: Connection, row: pd.Series, resolution: str | None, actor: str | None
) -> None:
    con.execute(
        """
        UPDATE problems SET resolution = ?, resolved_by = ?, resolved_at = ?
        WHERE source_id = ? AND item = ? AND code = ? AND cause = ?
            AND mammogram_id IS NOT DISTINCT FROM ? AND finding IS NOT DISTINCT FROM ?
        """,
        [
            resolution,
            actor,
            None if resolution is None else utc_now(),
            row["source_id"],
            row["item"],
            row["code"],
            row["cause"],
            None if pd.isna(row["mammogram_id"]) else row["mammogram_id"],
            None if pd.isna(row["finding"]) else int(row["finding"]),
        ],
    )


def reopen_problem(con: Connection, problem_id: str) -> None:
    """Take back the decision about a problem. UserError if there is no such problem."""
    row = _listed_problem(con, problem_id)
    _set_resolution(con, row, None, None)


def replace_open_problems(con: Connection, code: str, rows: list[dict[str, Any]]) -> None:
    """Replace the open problems of one code, as found with other settings, by the given ones."""
    con.execute("DELETE FROM problems WHERE code = ? AND resolution IS NULL", [code])
    add_problems(con, rows)


def clear_skipped_problems(con: Connection, items: list[str]) -> None:
    """Remove the listed reasons why these items were left out, once they have been imported."""
    con.execute(
        """
        UPDATE sources SET skipped = skipped - removed.n FROM (
            SELECT source_id, count(*) AS n FROM problems
            WHERE skipped AND list_contains(?, item) GROUP BY source_id
        ) AS removed
        WHERE sources.source_id = removed.source_id
        """,
        [items],
    )
    con.execute("DELETE FROM problems WHERE skipped AND list_contains(?, item)", [items])


def finding_decisions(con: Connection) -> list[FindingDecision]:
    """Return the listed problems of findings with their decisions."""
    cursor = con.execute("""
        SELECT mammogram_id, finding, code, resolution FROM problems
        WHERE finding IS NOT NULL AND mammogram_id IS NOT NULL
        ORDER BY ALL
    """)
    return fetch_records(cursor, FindingDecision)
