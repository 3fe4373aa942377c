"""The table of reading study protocols: one row for each state that a version reached.

The states and their order are those of `core.store.reading.protocol_states`. A frozen design never
changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core.errors import UserError
from core.store.connection import Connection
from core.store.evidence import record_group
from core.store.reading.protocol_states import (
    CHECKED,
    CLOSED,
    DESIGN,
    DRAFT_STATES,
    FROZEN,
    READING,
    RESULT_STATES,
    STORED_STATES,
    check_transition,
    require_state,
)
from core.timestamps import utc_now

# States are ordered by their place in STORED_STATES, never by time: clocks may be set back.
_COLUMNS = "protocol, version, state, design, lint, hash, run, simulated, who, made, content"
_STORED = f"""
    SELECT {_COLUMNS}
    FROM protocols
    QUALIFY row_number() OVER (
        PARTITION BY protocol, version
        ORDER BY list_position({list(STORED_STATES)}, state) DESC
    ) = 1
"""
_OPEN = (FROZEN, READING)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The latest state of one version of a protocol.

    hash: SHA-256 of the frozen design and sealed key, see `evaluation.reading_study`. run: the
    explain run. who: the code of the person who recorded the state. content: SHA-256 of each part
    of what was checked or frozen, such as its pictures; empty in studies of the first release.
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
    content: dict[str, str] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """SHA-256 of all parts of the content together; "" where none is known.

        It covers more than `hash`: also pictures, practice, instructions, and the reasons for
        accepting warnings.
        """
        if not self.content:
            return ""
        text = json.dumps(self.content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


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
        content=json.loads(row[10] or "{}"),
    )


def load_protocol(con: Connection, protocol: str, version: int) -> Protocol | None:
    """Return one version of a protocol in its latest state, or None."""
    # Two simple queries take a third of the time of one with windows and subqueries.
    rows = con.execute(
        f"SELECT {_COLUMNS} FROM protocols WHERE protocol = ? AND version = ?", [protocol, version]
    ).fetchall()
    if not rows:
        return None
    begun = con.execute(
        "SELECT protocol, version FROM reading_items WHERE protocol = ? AND version = ? LIMIT 1",
        [protocol, version],
    ).fetchall()
    return _with_reading(_to_protocol(max(rows, key=_state_number)), begun)


def _state_number(row: Sequence[Any]) -> int:
    return STORED_STATES.index(row[2])


def _with_reading(protocol: Protocol, begun: Collection[tuple[str, int]]) -> Protocol:
    """Return a protocol in the state reading if it is frozen and a reader has an order.

    Everything but the state, its time included, stays that of the frozen row. begun: the versions
    of which readers have orders.
    """
    is_read = protocol.state == FROZEN and (protocol.protocol, protocol.version) in begun
    return replace(protocol, state=READING) if is_read else protocol


def load_state_times(
    con: Connection, protocol: str, version: int
) -> dict[str, tuple[datetime, str]]:
    """Return when each recorded state of a version was reached (UTC), and the code of the actor."""
    rows = con.execute(
        "SELECT state, made, who FROM protocols WHERE protocol = ? AND version = ?",
        [protocol, version],
    ).fetchall()
    return {state: (reached_at, actor) for state, reached_at, actor in rows}


def list_protocols(con: Connection) -> list[Protocol]:
    """Return every version of every protocol in its latest state, oldest first.

    A scored version has its place by the time of its closing: looking at results for the first time
    does not make it newer than versions that were closed later.
    """
    # Simple queries, like those of `load_protocol`.
    rows = con.execute(f"SELECT {_COLUMNS} FROM protocols").fetchall()
    rows.sort(key=_state_number)
    closed = {row[:2]: row[9] for row in rows if row[2] == CLOSED}
    latest = [_to_protocol(row) for row in {row[:2]: row for row in rows}.values()]
    begun = con.execute("SELECT DISTINCT protocol, version FROM reading_items").fetchall()
    return sorted(
        (_with_reading(protocol, begun) for protocol in latest),
        key=lambda p: (closed.get((p.protocol, p.version), p.made), p.protocol, p.version),
    )


def find_protocol(con: Connection, name: str | None = None, version: int | None = None) -> Protocol:
    """Return one version of a reading study.

    name: None for the study that changed last. version: may be left out only where the study has
    one. UserError if there is no such study or version, or if several versions exist and none is
    named.
    """
    protocols = list_protocols(con)
    if name is None and protocols:
        name = protocols[-1].protocol
    versions = sorted((p for p in protocols if p.protocol == name), key=lambda p: p.version)
    if not versions:
        names = ", ".join(dict.fromkeys(repr(p.protocol) for p in protocols))
        raise UserError(
            f"There is no reading study{f' called {name!r}' if name else ''} yet"
            f"{f' (there is {names})' if names else ''}; run `deepminer reading create` or use the"
            " Reading study page."
        )
    known = ", ".join(f"{p.version} ({p.state})" for p in versions)
    if version is None:
        if len(versions) > 1:
            raise UserError(
                f"The reading study {name!r} has the versions {known}; name one with --version."
            )
        return versions[0]
    selected = next((p for p in versions if p.version == version), None)
    if selected is None:
        raise UserError(
            f"The reading study {name!r} has no version {version}; it has {known}. Name one of"
            " them with --version."
        )
    return selected


def newest_open_protocol(con: Connection) -> Protocol | None:
    """Return the protocol that a new reader reads, or None.

    It is the one frozen last and not closed; real studies come before simulated ones.
    """
    return next_reading_study(con, None)


def next_reading_study(con: Connection, code: str | None) -> Protocol | None:
    """Return the newest open protocol that a reader has not begun, or None."""
    own = con.execute(
        "SELECT DISTINCT protocol, version FROM reading_items WHERE code = ?", [code]
    ).fetchall()
    waiting = (
        p for p in list_protocols(con) if p.state in _OPEN and (p.protocol, p.version) not in own
    )
    return min(
        waiting,
        key=lambda p: (p.simulated, datetime.max - p.made, p.protocol, -p.version),
        default=None,
    )


def current_reading_study(con: Connection, code: str) -> tuple[Protocol, bool] | None:
    """Return the protocol that a reader has begun, and whether all its positions are answered.

    It is the open protocol that is begun and unfinished, else the one answered last (closed last,
    where no answer was given). None for a reader who has begun nothing.
    """
    # A single query: it runs between the reader's key press and its acknowledgement. A version that
    # this reader has begun is being read, so no other reader's order is looked for.
    row = con.execute(
        f"""
        SELECT
            n.* REPLACE (
                CASE n.state WHEN '{FROZEN}' THEN '{READING}' ELSE n.state END AS state
            ),
            i.positions = coalesce(a.answered, 0) AS finished
        FROM ({_STORED}) n
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
                ON c.protocol = n.protocol AND c.version = n.version AND c.state = '{CLOSED}'
        ORDER BY n.state = '{FROZEN}' AND NOT finished DESC,
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
    content: Mapping[str, str] | None = None,
) -> None:
    """Append a state of a protocol's version.

    actor: the code of the person who records it. content: see `Protocol`. Designing again discards
    the leakage check. UserError if the state may not follow the present one, if a frozen design
    would change, or if what is frozen is not what was checked.
    """
    current = load_protocol(con, protocol, version)
    check_transition(protocol, version, current.state if current else None, state)
    if state == READING:
        raise UserError("The state reading begins with a reader's order and is not recorded.")
    content = dict(content or {})
    if current is not None:
        _check_unchanged(current, state, dict(design), list(lint), hash, content)
    # A draft may be saved repeatedly. No statement here can delete a state after the check.
    outdated = DRAFT_STATES if state == DESIGN else (CHECKED,) if state == CHECKED else ()
    for draft in outdated:
        deleted = con.execute(
            "DELETE FROM protocols WHERE protocol = ? AND version = ? AND state = ?"
            " RETURNING state",
            [protocol, version, draft],
        ).fetchall()
        if deleted and draft != state:
            record_group(
                con, "protocol_state", actor, protocol=protocol, version=version, state=draft
            )
    con.execute(
        "INSERT INTO protocols (protocol, version, state, design, lint, hash, run, simulated, who,"
        " made, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            json.dumps(content, sort_keys=True),
        ],
    )
    record_group(con, "protocol_state", actor, protocol=protocol, version=version, state=state)


def _check_unchanged(
    current: Protocol,
    state: str,
    design: dict[str, Any],
    lint: list[Any],
    hash: str,
    content: dict[str, str],
) -> None:
    """Raise a UserError if the next state would carry something else than the present one."""
    # Freezing adds reasons and practice to the checked design, and parts to the checked content.
    kept_design = {key: design.get(key) for key in current.design}
    kept_content = {part: content.get(part) for part in current.content}
    if state == CHECKED and kept_design != current.design:
        raise UserError(
            f"{current.protocol}, version {current.version}, was designed differently from what was"
            " checked; save the design again, then check it."
        )
    if state == FROZEN and (
        kept_design != current.design or lint != current.lint or kept_content != current.content
    ):
        raise UserError(
            f"{current.protocol}, version {current.version}, is not what was checked; check it"
            " again before freezing."
        )
    # Freezing sets the hash; every later state must carry the same design and the same hashes.
    if state in RESULT_STATES and (
        design != current.design or hash != current.hash or content != current.content
    ):
        raise UserError(
            f"The frozen protocol {current.protocol}, version {current.version}, was altered;"
            " restore it, or design a new version."
        )


def check_designable(con: Connection, protocol: str, version: int) -> None:
    """Raise a UserError if the cases of a version can no longer change.

    A checked version must be designed again first, which discards the check.
    """
    current = load_protocol(con, protocol, version)
    if current is not None:
        require_state(protocol, version, current.state, (DESIGN,))


def answer_scale(design: Mapping[str, Any]) -> int:
    """Return the number of answers that a design offers.

    6 (definitely benign to definitely malignant), or 2 for the preset "DeepMiner 2021".
    """
    return 2 if str(design.get("scale", 6)) in ("2", "binary") else 6
