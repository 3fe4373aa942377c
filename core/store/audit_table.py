"""The tables of label audits: the patches judged under a unit's label, and the experts' answers.

For the research team. Queries on behalf of experts are in `core.store.blinded_queries`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from core.errors import UserError
from core.store import run_table
from core.store.connection import Connection, fetch_records
from core.timestamps import utc_now

AUDIT_ANSWERS = ("yes", "no", "unsure")
AUDIT_PATCH_KINDS = ("top", "middle", "random")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One audit of a dissect run's labels.

    patches: per unit and kind. simulated: whether a label in it comes from a simulated expert. who:
    code of the person who started it. ended: None while it is open. label_set: name of the labels
    that it judges.
    """

    audit: str
    run: str
    seed: int
    patches: int
    simulated: bool
    who: str
    made: datetime
    ended: datetime | None
    label_set: str = "default"


@dataclass(frozen=True, kw_only=True)
class AuditItem:
    """One patch to be judged under a unit's label.

    kind: one of AUDIT_PATCH_KINDS. rank: from 0, among all dissected patches of the unit.
    """

    item: int
    unit: int
    label: str
    kind: str
    patch_id: int
    rank: int
    activation: float


def list_audits(con: Connection) -> list[Audit]:
    """Return every audit, oldest first."""
    cursor = con.execute("""
        SELECT a.audit, run, seed, patches, simulated, a.who, a.made, e.made AS ended,
            label_set
        FROM audits a LEFT JOIN audit_ends e USING (audit)
        ORDER BY a.made, a.audit
    """)
    return fetch_records(cursor, Audit)


def current_audit(con: Connection) -> Audit | None:
    """Return the newest audit that has not ended, which experts answer, or None."""
    return next((audit for audit in reversed(list_audits(con)) if audit.ended is None), None)


def create_audit(
    con: Connection,
    run: str,
    seed: int,
    patches: int,
    actor: str,
    items: Sequence[AuditItem],
    simulated: bool = False,
    label_set: str = "default",
) -> Audit:
    """Store an audit with its items, which never change.

    UserError while another audit is open, or without items.
    """
    open_audit = current_audit(con)
    if open_audit is not None:
        raise UserError(
            f"The audit {open_audit.audit} is still open; end it before another is started."
        )
    if not items:
        raise UserError(
            "No unit carries a label yet, so there are no labels to audit; let an expert annotate"
            " first."
        )
    # Audits are never deleted, so their count numbers the next one.
    name = f"audit-{len(list_audits(con)) + 1}"
    con.execute(
        "INSERT INTO audits (audit, run, seed, patches, simulated, who, made, label_set)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [name, run, seed, patches, simulated, actor, utc_now(), label_set],
    )
    con.executemany(
        "INSERT INTO audit_items VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(name, i.item, i.unit, i.label, i.kind, i.patch_id, i.rank, i.activation) for i in items],
    )
    return list_audits(con)[-1]


def close_audit(con: Connection, actor: str) -> Audit:
    """End the open audit, so that no further answers are taken. UserError if none is open."""
    open_audit = current_audit(con)
    if open_audit is None:
        raise UserError(
            "No label audit is open; start one on the Annotations page or with `deepminer labels"
            " audit-start`."
        )
    con.execute("INSERT INTO audit_ends VALUES (?, ?, ?)", [open_audit.audit, actor, utc_now()])
    return next(audit for audit in list_audits(con) if audit.audit == open_audit.audit)


def append_audit_answer(
    con: Connection,
    audit: str,
    code: str,
    item: int,
    version: int,
    answer: str,
    seconds: float | None,
    simulated: bool = False,
) -> datetime:
    """Append a version (from 1) of an expert's answer and return the time of storing.

    UserError if it is not one of AUDIT_ANSWERS.
    """
    if answer not in AUDIT_ANSWERS:
        raise UserError(f"{str(answer)[:20]!r} is not an answer; answer yes, no or unsure.")
    stored_at = utc_now()
    con.execute(
        "INSERT INTO audit_answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [audit, code, item, version, answer, seconds, simulated, stored_at],
    )
    return stored_at


def load_audit_items(con: Connection, audit: str) -> list[AuditItem]:
    """Return the patches of an audit in the order in which they were drawn."""
    cursor = con.execute(
        "SELECT * EXCLUDE (audit) FROM audit_items WHERE audit = ? ORDER BY item", [audit]
    )
    return fetch_records(cursor, AuditItem)


def load_judgements(con: Connection, audit: Audit, versions: bool = False) -> pd.DataFrame:
    """Return the latest answers of an audit with their patches, or all versions.

    Columns: code, item, unit, label, kind, rank, activation, patch_id, mammogram_id, patient_id,
    answer, version, seconds, simulated, made.
    """
    latest = "QUALIFY row_number() OVER (PARTITION BY a.code, a.item ORDER BY a.version DESC) = 1"
    return con.execute(
        f"""
        SELECT a.code, i.item, i.unit, i.label, i.kind, i.rank, i.activation, i.patch_id,
            m.mammogram_id, m.patient_id, a.answer, a.version, a.seconds, a.simulated, a.made
        FROM audit_answers a
            JOIN audit_items i USING (audit, item)
            JOIN patches p ON p.run = ? AND p.patch_id = i.patch_id
            JOIN mammograms m ON m.mammogram_id = p.mammogram_id
        WHERE a.audit = ?
        {"" if versions else latest}
        ORDER BY a.made, a.code, a.item, a.version
        """,
        [run_table.ancestor(con, audit.run, "patches"), audit.audit],
    ).df()


def audit_progress_by_expert(con: Connection, audit: str) -> pd.DataFrame:
    """Return each expert's progress in an audit.

    Columns: code, done, total, corrections, median_seconds (of first answers), last, simulated.
    """
    return con.execute(
        """
        SELECT code, count(DISTINCT item) AS done,
            (SELECT count(*) FROM audit_items i WHERE i.audit = a.audit) AS total,
            count(*) FILTER (WHERE version > 1) AS corrections,
            median(seconds) FILTER (WHERE version = 1) AS median_seconds,
            max(made) AS last, bool_or(simulated) AS simulated
        FROM audit_answers a
        WHERE audit = ?
        GROUP BY code, audit ORDER BY code
        """,
        [audit],
    ).df()
