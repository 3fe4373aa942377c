"""The table of data-quality problems: what ingestion and patch extraction list, and decisions.

A problem with a finding number and without a resolution keeps its mammogram from giving patches.
A mammogram that is left out for a problem of its own, without a finding, is used in no step.
The checks that produce problems belong in `core.images`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.errors import UserError
from core.store.connection import Connection, fetch_records
from core.timestamps import utc_now

# Code of what a source reports as a whole: rows and patients that were left out, unused files.
SOURCE = "source"
# Decisions about a problem: the data are right as they are, or the mammogram is left out.
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
                AND (p.mammogram_id IS NOT NULL OR (p.item = n.item AND p.cause = n.cause))
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


def resolve_problems(
    con: Connection, problem_ids: Sequence[str], resolution: str | None, actor: str
) -> None:
    """Record the decision about problems; a later decision replaces an earlier one.

    Parameters
    ----------
    con : Connection
        A store opened for writing.
    problem_ids : sequence of str
        As returned by `list_problems`.
    resolution : str or None
        ACCEPTED: the data are right, the mammogram gives patches; LEFT_OUT: it gives none, and for
        a problem of the mammogram itself it is used in no step; None: the decision is taken back.
    actor : str
        Code of the person who decided.

    Raises
    ------
    UserError
        If there is no such problem or no such resolution, or if a problem without a mammogram is to
        be left out; nothing is recorded then.
    """
    if resolution is not None and resolution not in RESOLUTIONS:
        raise UserError(f"{resolution!r} is no decision; use one of {', '.join(RESOLUTIONS)}.")
    listed = list_problems(con).set_index("problem_id")
    for name in problem_ids:
        if name not in listed.index:
            raise UserError(
                f"There is no problem {name}; `deepminer problems` lists those of this study."
            )
        if resolution == LEFT_OUT and pd.isna(listed.loc[name, "mammogram_id"]):
            raise UserError(
                f"Problem {name} ({listed.loc[name, 'item']}) concerns no mammogram of the study"
                " that could be left out; correct the source, or accept it."
            )
    for name in problem_ids:
        _set_resolution(con, listed.loc[name], resolution, actor if resolution else None)


def ids_of_kind(con: Connection, name: str) -> list[str]:
    """Return the problems of a kind, without a decision, that concern a mammogram.

    name: a kind, such as "doubtful_source"; any other name is returned as it is, as an id.
    """
    listed = list_problems(con)
    if name not in set(listed["code"]) - {""}:
        return [name]
    is_open = listed["resolution"].isna() & listed["mammogram_id"].notna()
    return list(listed.loc[is_open & (listed["code"] == name), "problem_id"])


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


def replace_open_problems(
    con: Connection,
    codes: Sequence[str],
    rows: list[dict[str, Any]],
    mammograms: Sequence[str] | None = None,
) -> None:
    """Replace the open problems of some codes, as found before, by the given ones.

    mammograms: only the problems of these; None: of all.
    """
    con.execute(
        """
        DELETE FROM problems WHERE list_contains(?, code) AND resolution IS NULL
            AND (? OR mammogram_id IN (SELECT unnest(?::VARCHAR[])))
        """,
        [list(codes), mammograms is None, list(mammograms or ())],
    )
    add_problems(con, rows)


def replace_source_problems(
    con: Connection, source_ids: Sequence[str], rows: list[dict[str, Any]]
) -> None:
    """Replace what earlier ingestions of a source reported about it as a whole."""
    con.execute(
        "DELETE FROM problems WHERE code = ? AND list_contains(?, source_id)",
        [SOURCE, list(source_ids)],
    )
    # Rows of studies from before the code was recorded.
    con.execute(
        """
        DELETE FROM problems WHERE code = ''
            AND (item, cause) IN (SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]))
        """,
        [[row["item"] for row in rows], [row["cause"] for row in rows]],
    )
    add_problems(con, [row | {"code": SOURCE} for row in rows])


def clear_skipped_problems(con: Connection, items: list[str]) -> None:
    """Remove the listed reasons why these items were left out, once they have been imported."""
    con.execute(
        """
        UPDATE sources SET skipped = skipped - removed.n FROM (
            SELECT source_id, count(*) AS n FROM problems
            WHERE skipped AND item IN (SELECT unnest(?::VARCHAR[])) GROUP BY source_id
        ) AS removed
        WHERE sources.source_id = removed.source_id
        """,
        [items],
    )
    con.execute(
        "DELETE FROM problems WHERE skipped AND item IN (SELECT unnest(?::VARCHAR[]))", [items]
    )


def patients_with_problems(con: Connection) -> list[str]:
    """Return the patients that a listed problem names, or one of their mammograms or findings."""
    owners = dict(con.execute("SELECT mammogram_id, patient_id FROM mammograms").fetchall())
    patients = {row[0] for row in con.execute("SELECT patient_id FROM patients").fetchall()}
    rows = con.execute("SELECT DISTINCT item, mammogram_id FROM problems").fetchall()
    named = {owners.get(name) for item, mammogram in rows for name in (mammogram, *_names(item))}
    return sorted(patients & (named | {item for item, _ in rows}))


def remove_patient_problems(con: Connection, patient_ids: Collection[str]) -> int:
    """Remove what is listed about patients, their mammograms and findings; return the number.

    The items of a source are named after the patient, a mammogram, or a finding of it.
    """
    own = con.execute(
        "SELECT mammogram_id FROM mammograms WHERE patient_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(patient_ids)],
    )
    mammograms = {row[0] for row in own.fetchall()}
    named = set(patient_ids) | mammograms
    items = [row[0] for row in con.execute("SELECT DISTINCT item FROM problems").fetchall()]
    rows = con.execute(
        """
        DELETE FROM problems WHERE item IN (SELECT unnest(?::VARCHAR[]))
            OR mammogram_id IN (SELECT unnest(?::VARCHAR[])) RETURNING 1
        """,
        [
            [item for item in items if item in named or _names_one_of(item, mammograms)],
            sorted(mammograms),
        ],
    ).fetchall()
    return len(rows)


def _names_one_of(item: str, mammograms: Collection[str]) -> bool:
    """Return whether an item is a mammogram and, after a comma, a part of it."""
    return any(name in mammograms for name in _names(item)[1:])


def _names(item: str) -> list[str]:
    """Return an item, and what stands before each of its commas."""
    # The name of a mammogram can hold commas itself.
    return [item] + [item[:k] for k in range(len(item)) if item.startswith(", ", k)]


def finding_decisions(con: Connection) -> list[FindingDecision]:
    """Return the listed problems of findings with their decisions."""
    cursor = con.execute("""
        SELECT mammogram_id, finding, code, resolution FROM problems
        WHERE finding IS NOT NULL AND mammogram_id IS NOT NULL
        ORDER BY ALL
    """)
    return fetch_records(cursor, FindingDecision)


def left_out_mammograms(con: Connection) -> list[str]:
    """Return the mammograms that were left out for a problem of their own, not of a finding."""
    rows = con.execute(
        """
        SELECT DISTINCT mammogram_id FROM problems
        WHERE finding IS NULL AND mammogram_id IS NOT NULL AND resolution = ?
        ORDER BY mammogram_id
        """,
        [LEFT_OUT],
    ).fetchall()
    return [row[0] for row in rows]
