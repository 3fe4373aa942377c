"""The reader's desk over HTTP: a case's texts and its picture's address, a token, a place in the
order. Nothing else may leave the server for a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
from starlette.routing import BaseRoute

from core.sessions.reading_session import CLOSED, NOTHING, PICTURES, Desk, Shown
from core.sessions.tokens import Refused
from core.store import participant_table, reading_table
from core.store.reading_table import Protocol
from dashboard.components.http import appending, reading, route, stamp
from dashboard.server import context, image_routes

Connection = duckdb.DuckDBPyConnection
PAUSE_EVERY = 50
SIX = (
    "Definitely benign",
    "Probably benign",
    "Possibly benign",
    "Possibly malignant",
    "Probably malignant",
    "Definitely malignant",
)
TWO = ("Benign", "Malignant")
QUESTION = "How likely is it that this breast contains a malignant finding?"
QUESTION_TWO = "Do these texts speak for a benign or for a malignant finding?"
QUESTION_TWO_PICTURES = "Does what is shown speak for a benign or for a malignant finding?"
NEXT = "Go on to the next study"
CONSENT = (
    (
        "You will read short descriptions of what a computer program found in mammograms and judge"
        " by them whether each breast contains a malignant finding. No images are shown."
    ),
    (
        "A case takes a few seconds. You can pause at any time and go on later, on any device, with"
        " the same link."
    ),
    (
        "Your answers, the time you take and your experience are stored under a code, never with"
        " your name. They are used for research only."
    ),
    (
        "You will not be told whether an answer was right, during the study or by anything on the"
        " page. Please do not discuss cases with other readers."
    ),
)
CONSENT_PICTURES = (
    (
        "You will be shown mammograms, maps that a computer program made of mammograms, or short"
        " descriptions of what it found, and judge by them whether each breast contains a malignant"
        " finding."
    ),
    *CONSENT[1:],
)
INSTRUCTIONS_PICTURES = (
    (
        "A case shows a film, a map, a list of short descriptions (the most influential first), or"
        " several of these. Judge by what is shown, and by that alone."
    ),
    (
        "On a film: wheel zooms, drag changes window and level, shift and drag moves, double click"
        " resets; the keys Z, W, L and R do the same. A map shows where the program saw signs of"
        " malignancy, on the same scale for every case."
    ),
)
INSTRUCTIONS = (
    (
        "Each case is a list of short descriptions, the most influential first. Judge by these"
        " words alone."
    ),
    (
        "Press a number key or click. Your answer is saved at once and the next case opens when it"
        " has been saved."
    ),
    (
        "Backspace reopens the previous case, and only that one, to correct a slip. First answers"
        " are kept."
    ),
    "Practice comes first; it does not count, and there is no feedback.",
)


def _picture(code: str, shown: Shown) -> dict[str, str] | None:
    """The address of a case's picture, for this reader and place; addresses of places that cannot
    be reopened end.
    """
    if shown.picture is None:
        return None
    image_routes.forget(code, (shown.position - 1, shown.position, shown.position + 1))
    kind, source = shown.picture
    return {
        "kind": kind,
        "url": image_routes.url("blinded", code, shown=kind, source=source, place=shown.position),
    }


def _shown(code: str, protocol: Protocol, shown: Shown) -> dict[str, Any]:
    pause = (
        not shown.practice
        and shown.given is None
        and shown.number > 1
        and (shown.number - 1) % PAUSE_EVERY == 0
    )
    answers = list(TWO if reading_table.scale(protocol.design) == 2 else SIX)
    texts = list(shown.texts) if any(shown.texts) else []
    return {
        "token": shown.token,
        "texts": texts,
        "picture": _picture(code, shown),
        "number": shown.number,
        "total": shown.total,
        "practice": shown.practice,
        "given": shown.given,
        "back": shown.may_reopen,
        "pause": pause,
        "answers": answers,
        "question": _question(protocol),
    }


def _question(protocol: Protocol) -> str:
    """The question in the scale's own terms; one wording for all cases of a study, which tells
    nothing of the arm.
    """
    if protocol.design.get("question"):
        return str(protocol.design["question"])
    if reading_table.scale(protocol.design) != 2:
        return QUESTION
    return (
        QUESTION_TWO_PICTURES
        if set(protocol.design.get("arms", ())) & set(PICTURES)
        else QUESTION_TWO
    )


def _state(con: Connection, at: Desk, onward: bool = False) -> dict[str, Any]:
    """What the page shows now; onward: with the study begun behind, if it is finished or closed."""
    if not at.consented(con):
        return {"stage": "consent", "paragraphs": _consent(con, at)}
    try:
        protocol = at.protocol(con, onward)
    except Refused as refusal:
        if refusal.code != "closed":
            raise
        return _closed(con, at)
    if not at.is_seated(con, protocol):
        pictured = at.has_pictures(con, protocol)
        words = [*INSTRUCTIONS_PICTURES, *INSTRUCTIONS[1:]] if pictured else INSTRUCTIONS
        return {
            "stage": "instructions",
            "paragraphs": [*words, *filter(None, [protocol.design.get("told", "")])],
            "button": (
                "Start with the practice cases" if pictured else "Start with five practice texts"
            ),
            "ticket": at.ticket(protocol),
        }
    return _case(con, at, protocol, at.show(con, protocol))


def _closed(con: Connection, at: Desk) -> dict[str, Any]:
    """The study this reader was at was closed: said before anything of another one is offered.

    Its pictures are not to be had any more.
    """
    image_routes.forget(at.code, ())
    more = at.has_next(con)
    return {
        "stage": "closed",
        "paragraphs": [CLOSED, *([] if more else [NOTHING])],
        "button": NEXT if more else "",
    }


def _consent(con: Connection, at: Desk) -> tuple[str, ...]:
    """The paragraphs a reader agrees to: they say whether images are shown."""
    return CONSENT_PICTURES if at.shows_pictures(con) else CONSENT


def _case(con: Connection, at: Desk, protocol: Protocol, shown: Shown | None) -> dict[str, Any]:
    if shown is not None:
        return {"stage": "case", "case": _shown(at.code, protocol, shown)}
    return {"stage": "done", **({"button": NEXT} if at.has_next(con) else {})}


def _at(code: str) -> Desk:
    return Desk(code, context.secret(context.current()))


async def _get_state(code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    return await reading(lambda con: _state(con, _at(code)))


async def _post_consent(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    def work(con: Connection) -> dict[str, Any]:
        """Consent, to the words that were shown."""
        participant_table.consent(
            con, code, str(body.get("experience", "")), " ".join(_consent(con, _at(code)))
        )
        return {}

    await appending(work)
    return await reading(lambda con: _state(con, _at(code)))


async def _post_begin(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The instructions were read: make this reader's order and show the first practice text."""
    at, ticket = _at(code), str(body.get("ticket") or "")
    await appending(lambda con: at.begin(con, ticket))
    return await reading(lambda con: _state(con, at))


async def _post_next(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The instructions of the next study, for a reader who was told that the one begun is finished
    or closed.
    """
    return await reading(lambda con: _state(con, _at(code), onward=True))


async def _post_answer(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Save and show the next case; one commit and one reply."""
    at = _at(code)

    def work(con: Connection) -> dict[str, Any]:
        """Answer and next case in one transaction."""
        saved, following, protocol = at.answer(
            con, str(body.get("token")), body.get("answer"), body.get("seconds"), body.get("idle")
        )
        return {**_case(con, at, protocol, following), "saved": stamp(saved.made)}

    return await appending(work)


async def _post_reopen(code: str, body: Mapping[str, Any]) -> dict[str, Any]:
    at = _at(code)

    def work(con: Connection) -> dict[str, Any]:
        """The case before, in one reading of the store."""
        protocol = at.protocol(con)
        return {"stage": "case", "case": _shown(code, protocol, at.reopen(con, protocol))}

    return await reading(work)


def _build() -> list[BaseRoute]:
    base = "/expert/read"
    return [
        route(f"{base}/state", "reader", "GET", _get_state),
        route(f"{base}/consent", "reader", "POST", _post_consent),
        route(f"{base}/begin", "reader", "POST", _post_begin),
        route(f"{base}/answer", "reader", "POST", _post_answer),
        route(f"{base}/reopen", "reader", "POST", _post_reopen),
        route(f"{base}/next", "reader", "POST", _post_next),
    ]


ROUTES = _build()
