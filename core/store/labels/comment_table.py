"""The table of comments of the team on units and on cases."""

from __future__ import annotations

import pandas as pd

from core.class_labels import unit_name
from core.errors import UserError
from core.store import run_table
from core.store.connection import Connection, fetch_integer
from core.timestamps import utc_now

MAX_COMMENT_CHARACTERS = 2000


def add_unit_comment(con: Connection, run: str, unit: int, text: str, actor: str) -> None:
    """Append a comment on a unit of a dissect run. UserError for an empty or too long text."""
    _append(con, run, unit, None, text, actor)


def add_case_comment(con: Connection, mammogram_id: str, text: str, actor: str) -> None:
    """Append a comment on a mammogram. UserError for an empty or too long text."""
    _append(con, None, None, mammogram_id, text, actor)


def _append(
    con: Connection,
    run: str | None,
    unit: int | None,
    mammogram_id: str | None,
    text: str,
    actor: str,
) -> None:
    text = text.strip()
    if not text or len(text) > MAX_COMMENT_CHARACTERS:
        raise UserError(
            f"A comment has 1 to {MAX_COMMENT_CHARACTERS:,} characters, and this one has"
            f" {len(text):,}; write or shorten it."
        )
    number = 1 + fetch_integer(con, "SELECT coalesce(max(number), 0) FROM comments", [])
    con.execute(
        "INSERT INTO comments VALUES (?, ?, ?, ?, ?, ?, ?)",
        [number, run, unit, mammogram_id, text, actor, utc_now()],
    )


def remove_comment(con: Connection, number: int, actor: str) -> None:
    """Remove a comment, for example one that names a person; the log keeps that it was removed.

    UserError if there is none of this number.
    """
    row = con.execute("DELETE FROM comments WHERE number = ? RETURNING who", [number]).fetchone()
    if row is None:
        raise UserError(f"There is no comment {number}; it may have been removed already.")
    run_table.append_log(con, actor, "comment removed", f"comment {number} of {row[0]}")


def load_unit_comments(con: Connection, run: str, unit: int) -> pd.DataFrame:
    """Return the comments on a unit of a dissect run, as `load_comments`."""
    comments = load_comments(con)
    return comments[(comments["run"] == run) & (comments["item"] == unit_name(unit))]


def load_case_comments(con: Connection, mammogram_id: str) -> pd.DataFrame:
    """Return the comments on a mammogram, as `load_comments`."""
    comments = load_comments(con)
    return comments[(comments["run"] == "") & (comments["item"] == mammogram_id)]


def load_comments(con: Connection) -> pd.DataFrame:
    """Return every comment, oldest first.

    Columns: number, kind ("unit" or "case"), run ("" for cases), item (name of the unit, or id of
    the mammogram), comment, actor, time (UTC).
    """
    rows = con.execute(
        "SELECT number, run, unit, mammogram_id, comment, who, made FROM comments ORDER BY number"
    ).fetchall()
    return pd.DataFrame(
        [
            (
                number,
                "case" if unit is None else "unit",
                run or "",
                mammogram_id if unit is None else unit_name(unit),
                text,
                actor,
                time,
            )
            for number, run, unit, mammogram_id, text, actor, time in rows
        ],
        columns=["number", "kind", "run", "item", "comment", "actor", "time"],
    )
