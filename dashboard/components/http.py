"""What the desks' routes share: one JSON object in, one out, refusals as a code and a sentence,
reads in a thread, appends together.

The experts' components talk to these routes and not through the script's websocket: an answer has
its own acknowledgement, a lost one is noticed and sent again with the same one-time token, and no
script run stands between key and commit.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core import store
from core.errors import UserError
from core.sessions.tokens import Refused
from core.store.connection import DoorBusy
from dashboard.server import context, identity

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection
Handler = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
MOST_BYTES = 64 * 1024
MOST_READ = 64 * 1024 * 1024
STATUS = {"stale": 409, "closed": 409, "consent": 409, "empty": 200, "answer": 422}


def source(folder: str, name: str) -> str:
    """A component's own file as text."""
    return (Path(__file__).parent / folder / name).read_text(encoding="utf-8")


def stamp(made: datetime | None) -> str | None:
    """A stored time for the browser, which shows it in local time."""
    return made.isoformat(timespec="seconds") + "Z" if made else None


async def reading(work: Callable[[Connection], T]) -> T:
    """Run a function on a reading connection, in a thread."""

    def run() -> T:
        """In the thread."""
        with store.read(context.current()) as con:
            return work(con)

    return await asyncio.to_thread(run)


async def appending(work: Callable[[Connection], T]) -> T:
    """Run a function on the shared writing connection; returns after the commit."""
    return await asyncio.wrap_future(context.appends(context.current()).submit(work))


def _reply(body: Mapping[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


async def _object(request: Request) -> dict[str, Any]:
    body, length = b"", 0
    # Read to the end even where it is too long: a browser whose sending is cut off sees a lost
    # connection and would send it again for ever.
    async for piece in request.stream():
        length += len(piece)
        if length <= MOST_BYTES:
            body += piece
        elif length > MOST_READ:
            break
    if length > MOST_BYTES:
        raise Refused(
            "answer",
            f"The text is too long to be saved ({length:,} bytes; at most {MOST_BYTES:,});"
            " shorten it.",
        )
    try:
        found = json.loads(body or b"{}")
        json.dumps(
            found, ensure_ascii=False
        ).encode()  # fails on half a character, which no table can hold
    except UnicodeEncodeError:
        raise Refused(
            "answer",
            "The text holds a broken character that cannot be saved; delete it and type it anew.",
        ) from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused("answer", "The request could not be understood; reload the page.")
    return found


def route(path: str, role: str, method: str, handler: Handler) -> Route:
    """A desk's route for one role.

    The handler gets the person's code and the request's object (or query).
    """

    async def endpoint(request: Request) -> Response:
        """The handler's answer, or its refusal with a code and a sentence; an unforeseen error is
        logged and told as such.
        """
        who = identity.from_headers(request.headers)
        if who.role != role:
            return _reply({"code": "forbidden", "sentence": identity.FORBIDDEN}, 403)
        try:
            return _reply(
                await handler(
                    who.code,
                    await _object(request) if method == "POST" else dict(request.query_params),
                )
            )
        except Refused as refusal:
            return _reply(
                {"code": refusal.code, "stage": refusal.code, "sentence": str(refusal)},
                STATUS.get(refusal.code, 409),
            )
        except DoorBusy:
            return _reply(
                {
                    "code": "busy",
                    "sentence": "The server is busy; your answer is kept here and sent again.",
                },
                503,
            )
        except UserError as error:
            return _reply({"code": "answer", "sentence": str(error)}, 422)
        except Exception:
            logging.getLogger(__name__).exception("%s failed", path)
            sentence = (
                "The server could not do this. It is kept here and sent again; tell the research"
                " team if it lasts."
            )
            return _reply({"code": "failed", "sentence": sentence}, 500)

    return Route(path, endpoint, methods=[method])
