"""Label audits in the store: which patches are judged under which words, and what experts said, as
versions that are only ever added.

For the team. What an expert's page may ask for is in `core.sessions.audit_session` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pandas as pd

from core.errors import UserError
from core.store import annotation_table
from core.store.connection import fetch_records
from core.timestamps import now

Connection = duckdb.DuckDBPyConnection
ANSWERS = ("yes", "no", "unsure")
KINDS = ("top", "middle", "random")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One audit. patches: of each kind a unit; simulated: a label that is audited comes from a
    simulated expert; ended: when, or None while it is open.
    """

    audit: str
    run: str
    seed: int
    patches: int
    simulated: bool
    who: str
    made: datetime
    ended: datetime | None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One patch to be judged under a unit's words. kind: of KINDS; rank: place in the unit's order
    of all dissected patches (from 0).
    """

    item: int
    unit: int
    label: str
    kind: str
    patch_id: int
    rank: int
    activation: float


def audits(con: Connection) -> list[Audit]:
    """Every audit, oldest first."""
    cursor = con.execute(
        "SELECT a.audit, run, seed, patches, simulated, a.who, a.made, e.made AS ended FROM audits a"
        " LEFT JOIN audit_ends e USING (audit) ORDER BY a.made, a.audit"
    )
    return fetch_records(cursor, Audit)


def current(con: Connection) -> Audit | None:
    """The audit that experts answer now: the newest that has not been ended."""
    return next((a for a in reversed(audits(con)) if a.ended is None), None)


def start(
    con: Connection,
    run: str,
    seed: int,
    patches: int,
    who: str,
    items: Sequence[Item],
    simulated: bool = False,
) -> Audit:
    """Open an audit over these items; they never change.

    UserError while another is open, or where there is nothing to judge.
    """
    before = current(con)
    if before is not None:
        raise UserError(
            f"The audit {before.audit} is still open; end it before another is started."
        )
    if not items:
        raise UserError(
            "No unit carries a label yet, so there are no words to audit; let an expert annotate"
            " first."
        )
    name = f"audit-{len(audits(con)) + 1}"
    con.execute(
        "INSERT INTO audits VALUES (?, ?, ?, ?, ?, ?, ?)",
        [name, run, seed, patches, simulated, who, now()],
    )
    con.executemany(
        "INSERT INTO audit_items VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(name, i.item, i.unit, i.label, i.kind, i.patch_id, i.rank, i.activation) for i in items],
    )
    return audits(con)[-1]


def end(con: Connection, who: str) -> Audit:
    """End the open audit: no further answers. UserError if none is open."""
    open_one = current(con)
    if open_one is None:
        raise UserError(
            "No label audit is open; start one on the Annotations page or with `deepminer labels"
            " audit-start`."
        )
    con.execute("INSERT INTO audit_ends VALUES (?, ?, ?)", [open_one.audit, who, now()])
    return next(a for a in audits(con) if a.audit == open_one.audit)


def append_answer(
    con: Connection,
    audit: str,
    code: str,
    item: int,
    version: int,
    answer: str,
    seconds: float | None,
    simulated: bool = False,
) -> datetime:
    """Add a version (1 is the first) of an expert's judgement; the time at which it was stored."""
    if answer not in ANSWERS:
        raise UserError(f"{str(answer)[:20]!r} is not an answer; answer yes, no or unsure.")
    made = now()
    con.execute(
        "INSERT INTO audit_answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [audit, code, item, version, answer, seconds, simulated, made],
    )
    return made


def judgements(con: Connection, audit: Audit, versions: bool = False) -> pd.DataFrame:
    """Answers (latest, or all versions) with what was judged: code, item, unit, label, kind, rank,
    activation, patch_id, mammogram_id, patient_id, answer, version, seconds, simulated, made.
    """
    return con.execute(
        f"""SELECT a.code, i.item, i.unit, i.label, i.kind, i.rank, i.activation, i.patch_id, m.mammogram_id, m.patient_id, a.answer, a.version, a.seconds,
            a.simulated, a.made
        FROM audit_answers a JOIN audit_items i USING (audit, item) JOIN patches p ON p.run = ? AND p.patch_id = i.patch_id
        JOIN mammograms m ON m.mammogram_id = p.mammogram_id WHERE a.audit = ?
        {"" if versions else "QUALIFY row_number() OVER (PARTITION BY a.code, a.item ORDER BY a.version DESC) = 1"}
        ORDER BY a.made, a.code, a.item, a.version""",
        [annotation_table.patches_run(con, audit.run), audit.audit],
    ).df()


def items(con: Connection, audit: str) -> list[Item]:
    """What an audit asks, in the order in which it was drawn."""
    cursor = con.execute(
        "SELECT * EXCLUDE (audit) FROM audit_items WHERE audit = ? ORDER BY item", [audit]
    )
    return fetch_records(cursor, Item)


def progress(con: Connection, audit: str) -> pd.DataFrame:
    """Per expert: code, done, total, corrections, median_seconds (of first answers), last,
    simulated.
    """
    return con.execute(
        """SELECT code, count(DISTINCT item) AS done, (SELECT count(*) FROM audit_items i WHERE i.audit = a.audit) AS total,
            count(*) FILTER (WHERE version > 1) AS corrections, median(seconds) FILTER (WHERE version = 1) AS median_seconds, max(made) AS last,
            bool_or(simulated) AS simulated
        FROM audit_answers a WHERE audit = ? GROUP BY code, audit ORDER BY code""",
        [audit],
    ).df()
