"""HTTP routes of the reading page.

A reply contains the texts of a case, the address of its image, a one-time token and the position in
the reader's order. Nothing else leaves the server for a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute

from core.errors import RequestRefused
from core.sessions.arms import shows_images
from core.sessions.reading_session import (
    NO_OPEN_STUDY,
    STUDY_CLOSED,
    DisplayedCase,
    ReadingSession,
)
from core.store import participant_table, protocol_table
from core.store.connection import Connection
from core.store.protocol_table import Protocol
from dashboard.components.http import expert_route, iso_timestamp, run_append, run_read
from dashboard.components.reading import texts
from dashboard.server import context, image_routes

PAUSE_INTERVAL = 50


def reading_session_of(code: str) -> ReadingSession:
    """Return the session of one reader."""
    return ReadingSession(code, context.study_secret(context.served_study()))


def _image(code: str, case: DisplayedCase) -> dict[str, str] | None:
    """Return kind and address of a case's image.

    Addresses of cases that can no longer be reopened end.
    """
    if case.picture is None:
        return None
    # While a case is reopened, the one after it stays available.
    position = case.position
    image_routes.revoke_image_urls(code, (position - 1, position, position + 1))
    kind, source = case.picture
    url = image_routes.image_url("blinded", code, content=kind, source=source, position=position)
    return {"kind": kind, "url": url}


def _case(code: str, protocol: Protocol, case: DisplayedCase) -> dict[str, Any]:
    completed = case.number - 1
    first_visit = not case.practice and case.answer is None
    two_point = protocol_table.answer_scale(protocol.design) == 2
    return {
        "token": case.token,
        "texts": list(case.texts) if any(case.texts) else [],
        "image": _image(code, case),
        "number": case.number,
        "total": case.total,
        "practice": case.practice,
        "answer": case.answer,
        "can_reopen": case.can_reopen,
        "pause": first_visit and completed > 0 and completed % PAUSE_INTERVAL == 0,
        "answers": list(texts.TWO_POINT_SCALE if two_point else texts.SIX_POINT_SCALE),
        "question": _question(protocol),
    }


def _question(protocol: Protocol) -> str:
    """Return the question of a study; the same for all its cases, so that it reveals no arm."""
    design = protocol.design
    if design.get("question"):
        return str(design["question"])
    if protocol_table.answer_scale(design) != 2:
        return texts.SIX_POINT_QUESTION
    has_images = any(map(shows_images, design.get("arms", ())))
    return texts.TWO_POINT_IMAGE_QUESTION if has_images else texts.TWO_POINT_QUESTION


def _state(con: Connection, session: ReadingSession, next_study: bool = False) -> dict[str, Any]:
    """Return what the page shows; `next_study` leaves a study that is finished or closed."""
    if not session.has_consented(con):
        return {"stage": "consent", "paragraphs": _consent(con, session)}
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
    paragraphs = list(texts.IMAGE_INSTRUCTIONS if has_images else texts.INSTRUCTIONS)
    if protocol.design.get("told"):  # the prevalence, where the design discloses it
        paragraphs.append(protocol.design["told"])
    return {
        "stage": "instructions",
        "paragraphs": paragraphs,
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


def _consent(con: Connection, session: ReadingSession) -> tuple[str, ...]:
    """Return the consent text, which states whether images are shown."""
    return texts.IMAGE_READING_CONSENT if session.shows_pictures(con) else texts.READING_CONSENT


def _case_or_end(
    con: Connection, session: ReadingSession, protocol: Protocol, case: DisplayedCase | None
) -> dict[str, Any]:
    if case is not None:
        return {"stage": "case", "case": _case(session.code, protocol, case)}
    button = {"button": texts.NEXT_STUDY} if session.has_next_study(con) else {}
    return {"stage": "done", **button}


async def _get_state(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    return await run_read(lambda con: _state(con, reading_session_of(code)))


async def _post_consent(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    session, experience = reading_session_of(code), str(body.get("experience", ""))

    def record(con: Connection) -> None:
        """Store the consent with the text to which the reader agreed."""
        text = " ".join(_consent(con, session))
        participant_table.record_consent(con, code, experience, text)

    await run_append(record)
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
    answer = [body.get(name) for name in ("answer", "seconds", "idle")]

    def save(con: Connection) -> dict[str, Any]:
        """Save and read in one transaction: the reader waits for one commit and one reply."""
        saved, case, protocol = session.save_answer(con, str(body.get("token")), *answer)
        state = _case_or_end(con, session, protocol, case)
        return {**state, "saved": iso_timestamp(saved.made)}

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
    expert_route("/expert/read/next", "reader", "POST", _post_next),
]
