"""HTTP routes of the reading page.

A reply contains the texts of a case, the address of its image, a one-time token and the position in
the reader's order. Nothing else leaves the server for a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute

from core.errors import RequestRefused
from core.sessions.reading.practice_notes import practice_note
from core.sessions.reading.steps import FINAL_STEP, locks_answers
from core.sessions.reading_instructions import design_shows_images, reading_instructions
from core.sessions.reading_session import (
    NO_OPEN_STUDY,
    STUDY_CLOSED,
    DisplayedCase,
    ReadingSession,
)
from core.store.connection import Connection
from core.store.reading.protocol_table import Protocol
from dashboard.components.consent import consent_stage, record_consent
from dashboard.components.http import expert_route, iso_timestamp, run_append, run_read
from dashboard.components.reading import texts
from dashboard.components.reading.advice import advice_fields
from dashboard.components.reading.pictures import picture_fields
from dashboard.server import context, image_routes

PAUSE_INTERVAL = 50


def reading_session_of(code: str) -> ReadingSession:
    """Return the session of one reader."""
    return ReadingSession(code, context.study_secret(context.served_study()))


def _case(code: str, protocol: Protocol, case: DisplayedCase) -> dict[str, Any]:
    completed = case.number - 1
    first_visit = not case.practice and case.answer is None and case.first_answer is None
    instructions = reading_instructions(protocol.design, design_shows_images(protocol.design))
    return {
        "token": case.token,
        "texts": list(case.texts) if any(case.texts) else [],
        **picture_fields(
            code, case.position, case.pictures, is_exam=protocol.design.get("case_unit") == "exam"
        ),
        "number": case.number,
        "total": case.total,
        "practice": case.practice,
        "answer": case.answer,
        "can_reopen": case.can_reopen,
        "pause": first_visit and completed > 0 and completed % PAUSE_INTERVAL == 0,
        "answers": list(instructions.answers),
        # The same for all cases of a study, so that it reveals no arm.
        "question": instructions.question,
        **advice_fields(code, protocol.design, case, instructions.answers),
        "practice_note": _practice_note(protocol, case),
    }


def _practice_note(protocol: Protocol, case: DisplayedCase) -> list[str]:
    """Return what the page explains after the answer to a practice case, else nothing."""
    if not case.practice or case.step not in (None, FINAL_STEP):
        return []
    return list(practice_note(protocol.design, case))


def _state(con: Connection, session: ReadingSession, next_study: bool = False) -> dict[str, Any]:
    """Return what the page shows; `next_study` leaves a study that is finished or closed."""
    if not session.has_consented(con):
        return consent_stage(context.served_study())
    try:
        protocol = session.protocol(con, next_study)
    except RequestRefused as refusal:
        if refusal.code != "closed":
            raise
        return _closed(con, session)
    if not session.has_order(con, protocol):
        return _instructions(con, session, protocol)
    return _case_or_end(con, session, protocol, session.displayed_case(con, protocol))


def _instructions(con: Connection, session: ReadingSession, protocol: Protocol) -> dict[str, Any]:
    has_images = session.has_pictures(con, protocol)
    return {
        "stage": "instructions",
        "paragraphs": list(reading_instructions(protocol.design, has_images).paragraphs),
        "button": texts.START_IMAGE_PRACTICE if has_images else texts.START_PRACTICE,
        "start_token": session.start_token(protocol),
    }


def _closed(con: Connection, session: ReadingSession) -> dict[str, Any]:
    """Return the notice that the reader's study was closed; its image addresses end.

    It precedes the offer of another study.
    """
    image_routes.revoke_image_urls(session.code, ())
    has_next = session.has_next_study(con)
    return {
        "stage": "closed",
        "paragraphs": [STUDY_CLOSED] if has_next else [STUDY_CLOSED, NO_OPEN_STUDY],
        "button": texts.NEXT_STUDY if has_next else "",
    }


def _case_or_end(
    con: Connection, session: ReadingSession, protocol: Protocol, case: DisplayedCase | None
) -> dict[str, Any]:
    if case is not None:
        return {"stage": "case", "case": _case(session.code, protocol, case)}
    opens = session.washout_end(con, protocol)
    if opens is not None:
        image_routes.revoke_image_urls(session.code, ())
        return {"stage": "washout", "paragraphs": [texts.WASHOUT], "until": iso_timestamp(opens)}
    token = session.questionnaire_token(con, protocol)
    if token is not None:
        questions = list(protocol.design["questionnaire"])
        return {"stage": "questionnaire", "token": token, "questions": questions}
    button = {"button": texts.NEXT_STUDY} if session.has_next_study(con) else {}
    # Absent where the last case can be reopened, as in the replies of earlier versions.
    locked = {"can_reopen": False} if locks_answers(protocol.design) else {}
    return {"stage": "done", **locked, **button}


async def _get_state(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    return await run_read(lambda con: _state(con, reading_session_of(code)))


async def _post_consent(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = reading_session_of(code)
    await record_consent(code, body)
    return await run_read(lambda con: _state(con, session))


async def _post_begin(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Assign the reader's order after the instructions and return the first practice case."""
    session, start_token = reading_session_of(code), str(body.get("start_token") or "")
    await run_append(lambda con: session.start_study(con, start_token))
    return await run_read(lambda con: _state(con, session))


async def _post_next(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the instructions of the next study."""
    return await run_read(lambda con: _state(con, reading_session_of(code), next_study=True))


async def _post_answer(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Save an answer and return the next case."""
    session = reading_session_of(code)
    answer = [body.get(name) for name in ("answer", "seconds", "idle", "questions")]

    def save(con: Connection) -> dict[str, Any]:
        """Save and read in one transaction: the reader waits for one commit and one reply."""
        saved, case, protocol = session.save_answer(con, str(body.get("token")), *answer)
        state = _case_or_end(con, session, protocol, case)
        return {**state, "saved": iso_timestamp(saved.made)}

    return await run_append(save)


async def _post_questionnaire(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Save the answers to the questionnaire at the end of a study."""
    session = reading_session_of(code)

    def save(con: Connection) -> dict[str, Any]:
        """Save and read in one transaction."""
        stored_at, protocol = session.save_questionnaire(
            con, str(body.get("token")), body.get("answers")
        )
        return {
            **_case_or_end(con, session, protocol, None),
            "saved": iso_timestamp(stored_at),
        }

    return await run_append(save)


async def _post_reopen(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session = reading_session_of(code)

    def reopen(con: Connection) -> dict[str, Any]:
        """Return the previous case with its answer."""
        protocol = session.protocol(con)
        case = session.reopen_previous(con, protocol)
        return {"stage": "case", "case": _case(code, protocol, case)}

    return await run_read(reopen)


READING_ROUTES: list[BaseRoute] = [
    expert_route("/expert/read/state", "reader", "GET", _get_state),
    expert_route("/expert/read/consent", "reader", "POST", _post_consent),
    expert_route("/expert/read/begin", "reader", "POST", _post_begin),
    expert_route("/expert/read/answer", "reader", "POST", _post_answer),
    expert_route("/expert/read/reopen", "reader", "POST", _post_reopen),
    expert_route("/expert/read/questionnaire", "reader", "POST", _post_questionnaire),
    expert_route("/expert/read/next", "reader", "POST", _post_next),
]
