"""The table of reading study protocols: one row for each stage that a version reached.

Stages are appended, never skipped or taken back, and a frozen design never changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import UserError
from core.store.connection import Connection
from core.timestamps import utc_now

PROTOCOL_STATES = ("design", "lint", "frozen", "closed", "unblinded")
DRAFT_STATES = ("design", "lint")
# The only way into each of these stages; drafts may be saved in either order.
_PRECEDING_STATE = {"frozen": "lint", "closed": "frozen", "unblinded": "closed"}

# Stages are ordered by their place in PROTOCOL_STATES, never by time: clocks may be set back.
_LATEST = f"""
    SELECT protocol, version, state, design, lint, hash, run, simulated, who, made FROM protocols
    QUALIFY row_number() OVER (
        PARTITION BY protocol, version
        ORDER BY list_position({list(PROTOCOL_STATES)}, state) DESC
    ) = 1
"""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The latest stage of one version of a protocol.

    hash: SHA-256 of the frozen design and sealed key, see `evaluation.reading_study`. run: the
    explain run. who: the code of the person who recorded the stage.
    """

    protocol: str
    version: int
    state: str
    design: dict[str, Any]
    lint: list[dict[str, Any]]
    hash: str
    run: str
    simulated: bool
    who: str
    made: datetime


def _to_protocol(row: Sequence[Any]) -> Protocol:
    return Protocol(
        protocol=row[0],
        version=row[1],
        state=row[2],
        design=json.loads(row[3]),
        lint=json.loads(row[4]),
        hash=row[5],
        run=row[6],
        simulated=row[7],
        who=row[8],
        made=row[9],
    )


def load_protocol(con: Connection, protocol: str, version: int) -> Protocol | None:
    """Return one version of a protocol in its latest stage, or None."""
    row = con.execute(
        f"SELECT * FROM ({_LATEST}) WHERE protocol = ? AND version = ?", [protocol, version]
    ).fetchone()
    return _to_protocol(row) if row else None


def list_protocols(con: Connection) -> list[Protocol]:
    """Return every version of every protocol in its latest stage, oldest first."""
    rows = con.execute(f"SELECT * FROM ({_LATEST}) ORDER BY made, protocol, version").fetchall()
    return [_to_protocol(row) for row in rows]


def newest_open_protocol(con: Connection) -> Protocol | None:
    """Return the protocol that a new reader reads, or None.

    It is the newest one that is frozen and not closed; real studies come before simulated ones.
    """
    return next_reading_study(con, None)


def next_reading_study(con: Connection, code: str | None) -> Protocol | None:
    """Return the newest open protocol that a reader has not begun, or None."""
    row = con.execute(
        f"""
        SELECT n.* FROM ({_LATEST}) n
        WHERE state = 'frozen' AND NOT EXISTS (
            SELECT 1 FROM reading_items i
            WHERE i.protocol = n.protocol AND i.version = n.version AND i.code = ?
        )
        ORDER BY simulated, made DESC, protocol, version DESC LIMIT 1
        """,
        [code],
    ).fetchone()
    return _to_protocol(row) if row else None


def current_reading_study(con: Connection, code: str) -> tuple[Protocol, bool] | None:
    """Return the protocol that a reader has begun, and whether all its positions are answered.

    It is the open protocol that is begun and unfinished, else the one answered last (closed last,
    where no answer was given). None for a reader who has begun nothing.
    """
    # A single query: it runs between the reader's key press and its acknowledgement.
    row = con.execute(
        f"""
        SELECT n.*, i.positions = coalesce(a.answered, 0) AS finished
        FROM ({_LATEST}) n
            JOIN (
                SELECT protocol, version, count(*) AS positions
                FROM reading_items WHERE code = ? GROUP BY ALL
            ) i ON i.protocol = n.protocol AND i.version = n.version
            LEFT JOIN (
                SELECT protocol, version, count(*) FILTER (revision = 1) AS answered,
                    max(made) AS latest
                FROM answers WHERE code = ? GROUP BY ALL
            ) a ON a.protocol = n.protocol AND a.version = n.version
            LEFT JOIN protocols c
                ON c.protocol = n.protocol AND c.version = n.version AND c.state = 'closed'
        ORDER BY n.state = 'frozen' AND NOT finished DESC,
            coalesce(a.latest, c.made) DESC NULLS LAST, n.made
        LIMIT 1
        """,
        [code, code],
    ).fetchone()
    return (_to_protocol(row), bool(row[-1])) if row else None


def append_protocol_state(
    con: Connection,
    *,
    protocol: str,
    version: int,
    state: str,
    design: Mapping[str, Any],
    lint: Sequence[Mapping[str, Any]] = (),
    hash: str = "",
    run: str = "",
    simulated: bool = False,
    actor: str = "",
) -> None:
    """Append a stage of a protocol's version.

    actor: the code of the person who records it. UserError if the stage is unknown, skips a stage,
    goes back, or changes a frozen design.
    """
    if state not in PROTOCOL_STATES:
        raise UserError(
            f"{state!r} is not a stage of a reading study; the stages are"
            f" {', '.join(PROTOCOL_STATES)}."
        )
    _check_transition(load_protocol(con, protocol, version), protocol, version, state, design, hash)
    # A draft may be saved repeatedly. The second condition on `state` keeps this statement from
    # deleting a frozen, closed or unblinded stage.
    con.execute(
        "DELETE FROM protocols WHERE protocol = ? AND version = ? AND state = ?"
        " AND state IN ('design', 'lint')",
        [protocol, version, state],
    )
    con.execute(
        "INSERT INTO protocols VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            protocol,
            version,
            state,
            json.dumps(dict(design), sort_keys=True),
            json.dumps(list(lint)),
            hash,
            run,
            simulated,
            actor,
            utc_now(),
        ],
    )


def _check_transition(
    current: Protocol | None,
    protocol: str,
    version: int,
    state: str,
    design: Mapping[str, Any],
    hash: str,
) -> None:
    """Raise a UserError unless a version in stage `current` may enter `state`."""
    if state in DRAFT_STATES and current is not None and current.state not in DRAFT_STATES:
        raise UserError(
            f"Version {version} of {protocol} is {current.state}; a change needs a new version."
        )
    needed = _PRECEDING_STATE.get(state)
    if needed is None:
        return
    if current is None or current.state != needed:
        raise UserError(
            f"Version {version} of {protocol} is {current.state if current else 'not designed'}; it"
            f" must be in stage {needed} to become {state}."
        )
    # Freezing sets the hash; every later stage must carry the same design and the same hash.
    if state != "frozen" and (dict(design) != current.design or hash != current.hash):
        raise UserError(
            f"The frozen protocol {protocol}, version {version}, was altered; restore it, or design"
            " a new version."
        )


def check_draft(con: Connection, protocol: str, version: int) -> None:
    """Raise a UserError if the cases of a version can no longer change."""
    current = load_protocol(con, protocol, version)
    if current is not None and current.state not in DRAFT_STATES:
        raise UserError(
            f"Version {version} of {protocol} is {current.state}; its cases cannot change."
        )


def answer_scale(design: Mapping[str, Any]) -> int:
    """Return the number of answers that a design offers.

    6 (definitely benign to definitely malignant), or 2 for the preset "DeepMiner 2021".
    """
    return 2 if str(design.get("scale", 6)) in ("2", "binary") else 6
