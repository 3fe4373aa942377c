"""Shared parts of the experts' HTTP routes.

A request and its reply are one JSON object each; a refusal is a code with a message. The experts'
components use these routes instead of the script's websocket: an answer has its own
acknowledgement, a lost answer is sent again with the same one-time token, and no script run lies
between the key press and the commit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core import store
from core.errors import DiskFullError, RequestRefused
from core.sessions.reply_times import seconds_until_reply
from core.store.connection import Connection, StoreLockedError
from dashboard.server import context, identity

_Result = TypeVar("_Result")
Handler = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
MAX_BODY_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 16  # an answer has four levels
# Refusals that the page handles as a state of its own have status 200.
_STATUS = {
    "stale": 409,
    "closed": 409,
    "consent": 409,
    "queue": 409,
    "empty": 200,
    "answer": 422,
}


class BodyRefusedError(Exception):
    """The body of a request cannot be used; status: of the reply, 400 or 413."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def component_source(folder: str, name: str) -> str:
    """Return the text of a component's file."""
    return (Path(__file__).parent / folder / name).read_text(encoding="utf-8")


def iso_timestamp(time: datetime | None) -> str | None:
    """Return a stored time (UTC) for the browser, which displays local time."""
    return time.isoformat(timespec="seconds") + "Z" if time else None


async def run_read(work: Callable[[Connection], _Result]) -> _Result:
    """Run a function on a read connection, in a thread."""

    def read_in_thread() -> _Result:
        with store.read(context.served_study()) as con:
            return work(con)

    return await asyncio.to_thread(read_in_thread)


async def run_append(work: Callable[[Connection], _Result]) -> _Result:
    """Run a function on the shared write connection; return after the commit."""
    writer = context.group_commit_writer(context.served_study())
    return await asyncio.wrap_future(writer.submit(work))


def _reply(body: Mapping[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


async def _json_body(request: Request) -> dict[str, Any]:
    body, length = b"", 0
    # A body that is too long is read to its end: if the connection were cut, the browser would
    # report a lost connection and send the same body again and again.
    async for chunk in request.stream():
        length += len(chunk)
        if length <= MAX_BODY_BYTES:
            body += chunk
        elif length > MAX_DISCARDED_BYTES:
            break
    if length > MAX_BODY_BYTES:
        raise BodyRefusedError(
            413,
            f"The text is too long to be saved ({length:,} bytes; at most {MAX_BODY_BYTES:,});"
            " shorten it.",
        )
    return _parse_body(body)


def _parse_body(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body or b"{}")
        # Fails on half of a surrogate pair, which no table can store.
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BodyRefusedError(
            400,
            "The text contains a broken character that cannot be saved; delete it and type it"
            " again.",
        ) from None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not _is_shallow(values, MAX_DEPTH):
        raise BodyRefusedError(400, "The request could not be understood; reload the page.")
    return values


def _is_shallow(value: object, depth: int) -> bool:
    """Return whether a JSON value has at most `depth` levels of lists and objects."""
    if not isinstance(value, dict | list):
        return True
    children = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(child, depth - 1) for child in children)


async def _handle(request: Request, role: str, handler: Handler) -> Response:
    user = identity.identity_from_headers(request.headers)
    if user.role != role:
        return _reply({"code": "forbidden", "message": identity.FORBIDDEN}, 403)
    try:
        is_post = request.method == "POST"
        values = await _json_body(request) if is_post else dict(request.query_params)
        return _reply(await handler(user.code, values))
    except BodyRefusedError as refused:
        return _reply({"code": "answer", "message": str(refused)}, refused.status)
    except RequestRefused as refusal:
        # The page selects its view by `stage`: a refusal with status 200 is such a view.
        body = {"code": refusal.code, "stage": refusal.code, "message": str(refusal)}
        return _reply(body, _STATUS.get(refusal.code, 409))
    except StoreLockedError:
        message = "The server is busy; your answer is kept here and sent again."
        return _reply({"code": "busy", "message": message}, 503)
    except DiskFullError:
        logging.getLogger(__name__).exception("%s failed", request.url.path)
        message = (
            "The server's disk is full; your answer is kept here and sent again. Inform the"
            " research team."
        )
        return _reply({"code": "full", "message": message}, 507)
    except Exception:
        # Also every other UserError: it is for the team and names a path on the server, such as a
        # mistake in study.toml. What an expert can correct is a RequestRefused.
        return _failure(request)


def _failure(request: Request) -> Response:
    """Log the current exception and ask the page to repeat the request, so that nothing is lost."""
    logging.getLogger(__name__).exception("%s failed", request.url.path)
    message = (
        "The server could not process this. It is kept here and sent again; inform the research"
        " team if this message stays."
    )
    return _reply({"code": "failed", "message": message}, 500)


def expert_route(path: str, role: str, method: str, handler: Handler) -> Route:
    """Return a route of the experts' pages for one role.

    The handler receives the participant's code and the JSON object or the query of the request.
    """

    async def endpoint(request: Request) -> Response:
        """Return the handler's reply, or its refusal."""
        started = time.monotonic()
        reply = await _handle(request, role, handler)
        if role == "reader":
            await asyncio.sleep(seconds_until_reply(time.monotonic() - started))
        return reply

    return Route(path, endpoint, methods=[method])
