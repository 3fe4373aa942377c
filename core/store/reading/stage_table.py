"""The table of what a reader enters beside the answer of a case, one row for each stage.

In a study with advice these are the first answer, given before advice, and the prediction of the
network's decision; in any study the answers to further questions, and the questionnaire at its end.
A row never changes and has no revisions: a first answer is locked once it is stored. The final
answer of a case is in the table of answers.
"""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from core.errors import RequestRefused
from core.store.connection import Connection
from core.store.evidence import record_row
from core.store.reading.protocol_states import (
    DESIGN,
    OPEN_STATES,
    require_results,
)
from core.store.reading.protocol_table import Protocol, load_protocol
from core.timestamps import utc_now

FIRST, PREDICTION, QUESTION, CLOSING_QUESTION = (
    "first answer",
    "prediction",
    "question",
    "closing question",
)
# The questionnaire belongs to no position of the order; positions count from 1.
QUESTIONNAIRE_POSITION = 0


def question_stage(kind: str, number: int) -> str:
    """Return the stage of a question, by its number from 1.

    kind: QUESTION or CLOSING_QUESTION.
    """
    return f"{kind} {number}"


def stage_number(stage: str) -> int:
    """Return the place of a stage among those of its position, from 0.

    Examples
    --------
    >>> [stage_number(stage) for stage in ("first answer", "prediction", "question 2")]
    [0, 1, 3]
    """
    before = (FIRST, PREDICTION)
    return before.index(stage) if stage in before else 1 + int(stage.rsplit(maxsplit=1)[-1])


def append_stage_answer(
    con: Connection,
    *,
    protocol: Protocol,
    code: str,
    position: int,
    stage: str,
    value: str,
    seconds: float | None = None,
    idle: bool = False,
    simulated: bool = False,
) -> datetime:
    """Append what a reader entered at one stage of a position; return the time.

    The caller has checked the value and that the stage has no row yet; the primary key refuses a
    second one. RequestRefused if the protocol is not open.
    """
    if protocol.state not in OPEN_STATES:
        raise RequestRefused(
            "closed", "This reading study has been closed; no further answers are taken. Thank you."
        )
    stored_at = utc_now()
    stored = con.execute(
        "INSERT INTO reading_stages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        [
            protocol.protocol,
            protocol.version,
            code,
            position,
            stage,
            value,
            seconds,
            idle,
            simulated,
            stored_at,
        ],
    )
    record_row(con, "reading_stage", stored, code)
    return stored_at


def load_stage_answers(con: Connection, protocol: str, version: int) -> pd.DataFrame:
    """Return what readers entered at every stage of a closed version, without practice.

    Columns: code, position, case_number (missing for the questionnaire), stage, value, seconds,
    idle, simulated, made. UserError before closing.
    """
    current = load_protocol(con, protocol, version)
    require_results(protocol, version, current.state if current else DESIGN)
    return con.execute(
        """
        SELECT s.code, s.position, i.case_number, s.stage, s.value, s.seconds, s.idle, s.simulated,
            s.made
        FROM reading_stages s LEFT JOIN reading_items i USING (protocol, version, code, position)
        WHERE s.protocol = ? AND s.version = ? AND NOT coalesce(i.practice, FALSE)
        ORDER BY s.code, s.position, s.stage
        """,
        [protocol, version],
    ).df()
