"""Reading studies in the store: protocols as states that are only ever added, cases, each reader's
order, answers as revisions.

For the team. What a reader's page may ask for is in `core.sessions.reading_session` and nowhere else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pandas as pd

from core.errors import UserError
from core.sessions.tokens import Refused, number
from core.timestamps import now

Connection = duckdb.DuckDBPyConnection
STATES = ("design", "lint", "frozen", "closed", "unblinded")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The newest state of one version of a protocol."""

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


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case with everything the team keeps apart from readers. texts: what is shown, in order;
    truth and network_score are the sealed key.
    """

    number: int
    mammogram_id: str
    patient_id: str
    arm: str
    texts: tuple[str, ...]
    truth: str | None
    network_score: float | None
    predicted: str | None


@dataclass(frozen=True)
class Item:
    """One place in a reader's order. case_number < 0: practice text -case_number of the design."""

    case_number: int
    repeat: bool = False
    practice: bool = False


@dataclass(frozen=True)
class Saved:
    """An answer that has been stored."""

    position: int
    revision: int
    answer: int
    made: datetime


def _protocol(row: Sequence[Any]) -> Protocol:
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


def append_state(
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
    who: str = "",
) -> None:
    """Add a state of a protocol's version.

    Stages cannot be skipped or taken back; a frozen design can never change (UserError).
    """
    if state not in STATES:
        raise UserError(
            f"{state!r} is not a stage of a reading study; the stages are {', '.join(STATES)}."
        )
    before = get(con, protocol, version)
    if (
        state in ("design", "lint")
        and before is not None
        and before.state not in ("design", "lint")
    ):
        raise UserError(
            f"Version {version} of {protocol} is {before.state}; a change needs a new version."
        )
    needed = {"frozen": ("lint",), "closed": ("frozen",), "unblinded": ("closed",)}.get(state)
    if needed and (before is None or before.state not in needed):
        raise UserError(
            f"Version {version} of {protocol} is {before.state if before else 'not designed'}; it"
            f" must be in stage {needed[0]} to become {state}."
        )
    if (
        needed
        and before is not None
        and state != "frozen"
        and (dict(design) != before.design or hash != before.hash)
    ):
        raise UserError(
            f"The frozen protocol {protocol}, version {version}, was altered; restore it, or design"
            " a new version."
        )
    con.execute(
        "DELETE FROM protocols WHERE protocol = ? AND version = ? AND state = ? AND state IN"
        " ('design', 'lint')",
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
            who,
            now(),
        ],
    )


_NEWEST = """SELECT protocol, version, state, design, lint, hash, run, simulated, who, made FROM protocols
    QUALIFY row_number() OVER (PARTITION BY protocol, version
        ORDER BY list_position(['design', 'lint', 'frozen', 'closed', 'unblinded'], state) DESC) = 1"""


def get(con: Connection, protocol: str, version: int) -> Protocol | None:
    """One version of a protocol in its newest state, or None."""
    row = con.execute(
        f"SELECT * FROM ({_NEWEST}) WHERE protocol = ? AND version = ?", [protocol, version]
    ).fetchone()
    return _protocol(row) if row else None


def protocols(con: Connection) -> list[Protocol]:
    """Every version of every protocol in its newest state, oldest first."""
    return [
        _protocol(row)
        for row in con.execute(
            f"SELECT * FROM ({_NEWEST}) ORDER BY made, protocol, version"
        ).fetchall()
    ]


def open_protocol(con: Connection) -> Protocol | None:
    """What a new reader reads: the newest protocol that is frozen and not closed, people's before
    simulated ones; else None.
    """
    return open_to(con, None)


def open_to(con: Connection, code: str | None) -> Protocol | None:
    """The same among those that this reader has not begun."""
    row = con.execute(
        f"""SELECT n.* FROM ({_NEWEST}) n WHERE state = 'frozen'
            AND NOT EXISTS (SELECT 1 FROM reading_items i WHERE i.protocol = n.protocol AND i.version = n.version AND i.code = ?)
        ORDER BY simulated, made DESC, protocol, version DESC LIMIT 1""",
        [code],
    ).fetchone()
    return _protocol(row) if row else None


def begun(con: Connection, code: str) -> tuple[Protocol, bool] | None:
    """What a reader is at, and whether all its places are answered: the open protocol begun and not
    finished, else the one answered last (closed last, where nothing was answered). None for
    somebody who has begun nothing. One query, because it runs between a key and its
    acknowledgement.
    """
    row = con.execute(
        f"""SELECT n.*, i.places = coalesce(a.answered, 0) AS finished FROM ({_NEWEST}) n
            JOIN (SELECT protocol, version, count(*) AS places FROM reading_items WHERE code = ? GROUP BY ALL) i
                ON i.protocol = n.protocol AND i.version = n.version
            LEFT JOIN (SELECT protocol, version, count(*) FILTER (revision = 1) AS answered, max(made) AS latest FROM answers WHERE code = ? GROUP BY ALL) a
                ON a.protocol = n.protocol AND a.version = n.version
            LEFT JOIN protocols c ON c.protocol = n.protocol AND c.version = n.version AND c.state = 'closed'
        ORDER BY n.state = 'frozen' AND NOT finished DESC, coalesce(a.latest, c.made) DESC NULLS LAST, n.made LIMIT 1""",
        [code, code],
    ).fetchone()
    return (_protocol(row), bool(row[-1])) if row else None


def add_cases(con: Connection, protocol: str, version: int, cases: Iterable[Case]) -> None:
    """Add a version's cases before it is frozen; a second call replaces them.

    UserError once it is frozen.
    """
    before = get(con, protocol, version)
    if before is not None and before.state not in ("design", "lint"):
        raise UserError(
            f"Version {version} of {protocol} is {before.state}; its cases cannot change."
        )
    con.execute("DELETE FROM reading_cases WHERE protocol = ? AND version = ?", [protocol, version])
    rows = [
        (
            protocol,
            version,
            c.number,
            c.mammogram_id,
            c.patient_id,
            c.arm,
            json.dumps(list(c.texts), ensure_ascii=False),
            c.truth,
            c.network_score,
            c.predicted,
        )
        for c in cases
    ]
    if rows:
        con.executemany("INSERT INTO reading_cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


@dataclass(frozen=True)
class Picture:
    """What a case shows beside its texts. case_number < 0: practice; kind and source as in
    `core.images.blinded_rendering`.
    """

    case_number: int
    kind: str
    source: str


def add_pictures(con: Connection, protocol: str, version: int, pictures: Sequence[Picture]) -> None:
    """Record what a version's cases show; once, when it is frozen."""
    if number(
        con,
        "SELECT count(*) FROM reading_pictures WHERE protocol = ? AND version = ?",
        [protocol, version],
    ):
        raise UserError(
            f"Version {version} of {protocol} has its pictures already; they cannot change."
        )
    if pictures:
        con.executemany(
            "INSERT INTO reading_pictures VALUES (?, ?, ?, 0, ?, ?)",
            [(protocol, version, p.case_number, p.kind, p.source) for p in pictures],
        )


def pictures(con: Connection, protocol: str, version: int) -> list[Picture]:
    """What a version's cases show, by case number."""
    rows = con.execute(
        "SELECT case_number, kind, source FROM reading_pictures WHERE protocol = ? AND version = ?"
        " ORDER BY case_number",
        [protocol, version],
    )
    return [Picture(*row) for row in rows.fetchall()]


def cases(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """For the team: case_number, mammogram_id, patient_id, arm, texts (list), truth, network_score,
    predicted.
    """
    frame = con.execute(
        "SELECT * EXCLUDE (protocol, version) FROM reading_cases WHERE protocol = ? AND version = ?"
        " ORDER BY case_number",
        [protocol, version],
    ).df()
    frame["texts"] = pd.Series(
        [json.loads(text) for text in frame["texts"]], dtype=object, index=frame.index
    )
    return frame


def assign(con: Connection, protocol: str, version: int, code: str, items: Sequence[Item]) -> None:
    """Give a reader an order, once: position 1.. with a random token each; practice first.

    UserError if the reader has one.
    """
    if number(
        con,
        "SELECT count(*) FROM reading_items WHERE protocol = ? AND version = ? AND code = ?",
        [protocol, version, code],
    ):
        raise UserError(
            f"The reader {code} has an order in {protocol}, version {version}, already; an order is"
            " never changed."
        )
    rows = [
        (
            protocol,
            version,
            code,
            i,
            item.case_number,
            item.repeat,
            item.practice,
            secrets.token_hex(16),
        )
        for i, item in enumerate(items, start=1)
    ]
    con.executemany("INSERT INTO reading_items VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def is_assigned(con: Connection, protocol: str, version: int, code: str) -> bool:
    """Whether a reader has an order."""
    return (
        number(
            con,
            "SELECT count(*) FROM reading_items WHERE protocol = ? AND version = ? AND code = ?",
            [protocol, version, code],
        )
        > 0
    )


def items(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """For the team: every reader's order: code, position, case_number, repeat, practice."""
    return con.execute(
        "SELECT code, position, case_number, repeat, practice FROM reading_items WHERE protocol = ?"
        " AND version = ? ORDER BY code, position",
        [protocol, version],
    ).df()


def append_answer(
    con: Connection,
    *,
    protocol: Protocol,
    code: str,
    position: int,
    revision: int,
    answer: int,
    seconds: float | None,
    idle: bool = False,
    simulated: bool = False,
) -> Saved:
    """Append a revision (1 is the first) of a reader's answer at a position.

    Refused when the protocol is not open, UserError when the answer is not on its scale.
    """
    if protocol.state != "frozen":
        raise Refused(
            "closed", "This reading study has been closed; no further answers are taken. Thank you."
        )
    most = scale(protocol.design)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 1 <= answer <= most:
        raise UserError(f"{answer!r} is not an answer of this study; answers are 1 to {most}.")
    made = now()
    con.execute(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            protocol.protocol,
            protocol.version,
            code,
            position,
            revision,
            answer,
            seconds,
            idle,
            simulated,
            made,
        ],
    )
    return Saved(position, revision, answer, made)


def scale(design: Mapping[str, Any]) -> int:
    """Answers a design offers:

    6 (definitely benign .. definitely malignant), or 2 for the preset "DeepMiner 2021".
    """
    return 2 if str(design.get("scale", 6)) in ("2", "binary") else 6


def answers(con: Connection, protocol: str, version: int, first: bool = False) -> pd.DataFrame:
    """Answers that count, practice left out: code, position, case_number, repeat, answer, revision,
    seconds, idle, simulated, made.

    first=True gives every reader's first answers instead of the corrected ones (both are analysed).
    """
    direction = "ASC" if first else "DESC"
    return con.execute(
        f"""SELECT a.code, a.position, i.case_number, i.repeat, a.answer, a.revision, a.seconds, a.idle, a.simulated, a.made
        FROM answers a JOIN reading_items i USING (protocol, version, code, position) WHERE protocol = ? AND version = ? AND NOT i.practice
        QUALIFY row_number() OVER (PARTITION BY a.code, a.position ORDER BY a.revision {direction}) = 1 ORDER BY a.code, a.position""",
        [protocol, version],
    ).df()


def progress(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """Per reader: code, total, done, missing, median_seconds, corrections, last_seen, simulated.

    No accuracy, no balance of answers, no truth: this is all that anybody may see before the study
    is closed (PAGES "Monitor").
    """
    return con.execute(
        """SELECT i.code, count(DISTINCT i.position) AS total, count(DISTINCT a.position) AS done,
            count(DISTINCT i.position) - count(DISTINCT a.position) AS missing, median(a.seconds) FILTER (WHERE a.revision = 1) AS median_seconds,
            count(a.revision) FILTER (WHERE a.revision > 1) AS corrections, max(a.made) AS last_seen,
            coalesce(bool_or(a.simulated), FALSE) AS simulated
        FROM reading_items i LEFT JOIN answers a USING (protocol, version, code, position)
        WHERE i.protocol = ? AND i.version = ? AND NOT i.practice GROUP BY i.code ORDER BY i.code""",
        [protocol, version],
    ).df()
