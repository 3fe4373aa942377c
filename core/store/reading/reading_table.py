"""The tables of a reading study's cases, images, readers' orders and answers.

For the research team. Queries on behalf of readers are in `core.store.blinded_queries`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from core.errors import RequestRefused, UserError
from core.store.connection import Connection, fetch_integer
from core.store.evidence import record_group, record_row
from core.store.reading.protocol_states import (
    DESIGN,
    OPEN_STATES,
    READING,
    check_transition,
    require_results,
    require_state,
)
from core.store.reading.protocol_table import (
    Protocol,
    answer_scale,
    check_designable,
    load_protocol,
)
from core.store.reading.stage_table import FIRST, PREDICTION
from core.timestamps import utc_now


@dataclass(frozen=True, kw_only=True)
class ReadingCase:
    """One case with the data that are withheld from readers.

    texts: the texts shown, in order. truth, network_score, predicted: the sealed key. block: of the
    readers' orders, see `core.sessions.case_order`; None for the order of the first release.
    advice: what the advice of the case states, see `core.sessions.reading`; None without advice.
    """

    number: int
    mammogram_id: str
    patient_id: str
    arm: str
    texts: tuple[str, ...]
    truth: str | None
    network_score: float | None
    predicted: str | None
    block: int | None = None
    advice: str | None = None


@dataclass(frozen=True)
class CasePicture:
    """An image that a case shows.

    case_number: negative for practice. kind, source: see `core.images.blinded_rendering`. slot:
    place of a film; a class map that belongs to advice has 4 more than its film.
    """

    case_number: int
    kind: str
    source: str
    slot: int = 0


@dataclass(frozen=True)
class ReadingItem:
    """One position of a reader's order.

    case_number: -n stands for practice text n of the design. period: of a crossover, from 0.
    """

    case_number: int
    repeat: bool = False
    practice: bool = False
    period: int | None = None


@dataclass(frozen=True)
class SavedAnswer:
    """Acknowledgement of a stored answer."""

    position: int
    revision: int
    answer: int
    made: datetime


def add_reading_cases(
    con: Connection, protocol: str, version: int, cases: Iterable[ReadingCase]
) -> None:
    """Store the cases of a version, in place of earlier ones. UserError once it was checked."""
    check_designable(con, protocol, version)
    con.execute("DELETE FROM reading_cases WHERE protocol = ? AND version = ?", [protocol, version])
    rows = [
        (
            protocol,
            version,
            case.number,
            case.mammogram_id,
            case.patient_id,
            case.arm,
            json.dumps(list(case.texts), ensure_ascii=False),
            case.truth,
            case.network_score,
            case.predicted,
            case.block,
            case.advice,
        )
        for case in cases
    ]
    if rows:
        con.executemany(
            "INSERT INTO reading_cases (protocol, version, case_number, mammogram_id, patient_id,"
            " arm, texts, truth, network_score, predicted, block, advice)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    actor = _latest_actor(con, protocol, version)
    record_group(con, "reading_cases", actor, protocol=protocol, version=version)


def load_reading_cases(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """Return the cases of a version with the sealed key.

    Columns: case_number, mammogram_id, patient_id, arm, texts (list), truth, network_score,
    predicted, block, advice.
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


def add_case_pictures(
    con: Connection, protocol: str, version: int, pictures: Sequence[CasePicture]
) -> None:
    """Store the images of a version's cases, once, when it is frozen. UserError the second time."""
    if fetch_integer(
        con,
        "SELECT count(*) FROM reading_pictures WHERE protocol = ? AND version = ?",
        [protocol, version],
    ):
        raise UserError(
            f"Version {version} of {protocol} has its pictures already; they cannot change."
        )
    if pictures:
        con.executemany(
            "INSERT INTO reading_pictures VALUES (?, ?, ?, ?, ?, ?)",
            [(protocol, version, p.case_number, p.slot, p.kind, p.source) for p in pictures],
        )
        actor = _latest_actor(con, protocol, version)
        record_group(con, "reading_pictures", actor, protocol=protocol, version=version)


def _latest_actor(con: Connection, protocol: str, version: int) -> str:
    """Return who recorded the latest state of a version, in the same transaction."""
    current = load_protocol(con, protocol, version)
    return current.who if current is not None else ""


def load_case_pictures(con: Connection, protocol: str, version: int) -> list[CasePicture]:
    """Return the images of a version's cases, by case number."""
    rows = con.execute(
        "SELECT case_number, kind, source, slot FROM reading_pictures"
        " WHERE protocol = ? AND version = ? ORDER BY case_number, slot",
        [protocol, version],
    )
    return [CasePicture(*row) for row in rows.fetchall()]


def has_reading_order(con: Connection, protocol: str, version: int, code: str) -> bool:
    """Return whether a reader has an order."""
    count = fetch_integer(
        con,
        "SELECT count(*) FROM reading_items WHERE protocol = ? AND version = ? AND code = ?",
        [protocol, version, code],
    )
    return count > 0


def count_reading_orders(con: Connection, protocol: str, version: int) -> int:
    """Return how many readers have an order."""
    return fetch_integer(
        con,
        "SELECT count(DISTINCT code) FROM reading_items WHERE protocol = ? AND version = ?",
        [protocol, version],
    )


def assign_reading_order(
    con: Connection, protocol: str, version: int, code: str, items: Sequence[ReadingItem]
) -> None:
    """Store a reader's order, practice first, once.

    The first order takes the version from frozen to reading. UserError if the reader has an order,
    or the version is not open.

    Positions count from 1. Each gets a random token, so that nothing about a case can be derived
    from what the reader's browser receives.
    """
    if has_reading_order(con, protocol, version, code):
        raise UserError(
            f"The reader {code} has an order in {protocol}, version {version}, already; an order is"
            " never changed."
        )
    current = load_protocol(con, protocol, version)
    check_transition(protocol, version, current.state if current else None, READING)
    # Random and not derived from the case: a hidden repeat must not have its first showing's token.
    rows = [
        (
            protocol,
            version,
            code,
            position,
            item.case_number,
            item.repeat,
            item.practice,
            secrets.token_hex(16),
            item.period,
        )
        for position, item in enumerate(items, start=1)
    ]
    con.executemany("INSERT INTO reading_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    record_group(con, "reading_order", code, protocol=protocol, version=version, code=code)


def load_reading_items(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """Return every reader's order: code, position, case_number, repeat, practice."""
    return con.execute(
        "SELECT code, position, case_number, repeat, practice FROM reading_items WHERE protocol = ?"
        " AND version = ? ORDER BY code, position",
        [protocol, version],
    ).df()


def check_answer(answer: object, highest: int) -> None:
    """Raise a UserError unless an answer is a whole number from 1 to the highest one."""
    # bool is a subclass of int: True would be stored as 1.
    if isinstance(answer, bool) or not isinstance(answer, int) or not 1 <= answer <= highest:
        raise UserError(f"{answer!r} is not an answer of this study; answers are 1 to {highest}.")


def append_reading_answer(
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
) -> SavedAnswer:
    """Append a revision (from 1) of a reader's answer at a position.

    RequestRefused if the protocol is not open; UserError if the answer is not on its scale.
    """
    if protocol.state not in OPEN_STATES:
        raise RequestRefused(
            "closed", "This reading study has been closed; no further answers are taken. Thank you."
        )
    check_answer(answer, answer_scale(protocol.design))
    stored_at = utc_now()
    stored = con.execute(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
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
            stored_at,
        ],
    )
    record_row(con, "reading_answer", stored, code)
    return SavedAnswer(position, revision, answer, stored_at)


def load_reading_answers(
    con: Connection, protocol: str, version: int, first: bool = False
) -> pd.DataFrame:
    """Return the answers to the cases of a closed version, without practice.

    first: each reader's first answers instead of the corrected ones; both are analysed. Columns:
    code, position, case_number, repeat, answer, revision, seconds, idle, simulated, made.
    UserError before closing.
    """
    _require_closed(con, protocol, version)
    return _latest_answers(con, protocol, version, "ASC" if first else "DESC")


def load_interim_answers(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """Return the latest answers that an open version has so far, for its planned interim looks.

    Columns as of `load_reading_answers`. UserError unless the version is open and its frozen design
    plans interim looks.
    """
    current = load_protocol(con, protocol, version)
    require_state(protocol, version, current.state if current else DESIGN, OPEN_STATES)
    if current is None or int(current.design.get("looks", 1)) < 2:
        raise UserError(
            f"The design of {protocol}, version {version}, plans no interim look; its results are"
            " hidden until it is closed."
        )
    return _latest_answers(con, protocol, version, "DESC")


def _latest_answers(con: Connection, protocol: str, version: int, direction: str) -> pd.DataFrame:
    """Return the last (direction DESC) or first (ASC) revision of each answer."""
    return con.execute(
        f"""
        SELECT a.code, a.position, i.case_number, i.repeat, a.answer, a.revision, a.seconds,
            a.idle, a.simulated, a.made
        FROM answers a JOIN reading_items i USING (protocol, version, code, position)
        WHERE protocol = ? AND version = ? AND NOT i.practice
        QUALIFY row_number() OVER (
            PARTITION BY a.code, a.position ORDER BY a.revision {direction}
        ) = 1
        ORDER BY a.code, a.position
        """,
        [protocol, version],
    ).df()


def load_answer_revisions(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """Return every revision of every answer to the cases of a closed version, without practice.

    Columns and error as of `load_reading_answers`.
    """
    _require_closed(con, protocol, version)
    return con.execute(
        """
        SELECT a.code, a.position, i.case_number, i.repeat, a.answer, a.revision, a.seconds,
            a.idle, a.simulated, a.made
        FROM answers a JOIN reading_items i USING (protocol, version, code, position)
        WHERE protocol = ? AND version = ? AND NOT i.practice
        ORDER BY a.code, a.position, a.revision
        """,
        [protocol, version],
    ).df()


def _require_closed(con: Connection, protocol: str, version: int) -> None:
    """Raise a UserError unless the results of a version may be computed.

    Figures, tables, reports and exports select a closed version; here they cannot get the answers
    of another one, whichever they select.
    """
    current = load_protocol(con, protocol, version)
    require_results(protocol, version, current.state if current else DESIGN)


def count_answered(con: Connection, protocol: str, version: int, arm: str) -> int:
    """Return how many showings of an arm's cases are answered, without practice and repeats."""
    return fetch_integer(
        con,
        """
        SELECT count(*) FROM reading_items i JOIN reading_cases c
            USING (protocol, version, case_number)
        WHERE protocol = ? AND version = ? AND c.arm = ? AND NOT i.practice AND NOT i.repeat
            AND EXISTS (
                SELECT 1 FROM answers a WHERE a.protocol = i.protocol AND a.version = i.version
                    AND a.code = i.code AND a.position = i.position
            )
        """,
        [protocol, version, arm],
    )


def reading_progress_by_reader(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """Return each reader's progress.

    Columns: code, total, done, missing, median_seconds (of the whole case, with the first answer
    and the prediction of a study with advice), corrections, last_seen, simulated.
    """
    # The only statistics of an open study. No accuracy, no distribution of answers and no truth
    # may be added here: the team would be unblinded before the study is closed.
    return con.execute(
        """
        SELECT i.code, count(DISTINCT i.position) AS total, count(DISTINCT a.position) AS done,
            count(DISTINCT i.position) - count(DISTINCT a.position) AS missing,
            median(CASE WHEN e.code IS NULL THEN a.seconds ELSE a.seconds + e.seconds END)
                FILTER (WHERE a.revision = 1) AS median_seconds,
            count(a.revision) FILTER (WHERE a.revision > 1) AS corrections,
            max(a.made) AS last_seen, coalesce(bool_or(a.simulated), FALSE) AS simulated
        FROM reading_items i LEFT JOIN answers a USING (protocol, version, code, position)
            LEFT JOIN (
                SELECT protocol, version, code, position,
                    CASE WHEN count(seconds) = count(*) THEN sum(seconds) END AS seconds
                FROM reading_stages WHERE stage IN (?, ?) GROUP BY ALL
            ) e USING (protocol, version, code, position)
        WHERE i.protocol = ? AND i.version = ? AND NOT i.practice
        GROUP BY i.code ORDER BY i.code
        """,
        [FIRST, PREDICTION, protocol, version],
    ).df()
