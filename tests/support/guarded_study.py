"""The middleware stack over a small store, driven as ASGI without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from core import store
from core.store import participant_table
from dashboard import application
from dashboard.server.security_headers import SecurityHeadersMiddleware
from dashboard.server.sign_in_limits import SignInLimit
from dashboard.server.trusted_origins import TrustedOriginMiddleware
from support.study_templates import build_empty_store, copy_template

HOST = (b"host", b"127.0.0.1:8501")
FORM = (b"content-type", b"application/x-www-form-urlencoded")


def run(work: Coroutine) -> Any:
    """Return the result of a coroutine that runs in a thread of its own.

    The browser driver of other modules keeps an event loop running in this thread.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _echo(scope, receive, send) -> None:
    """The application behind the middleware: answers with the headers that it received."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        await send({"type": "echo.end", "code": message.get("code")})
        return
    body = "\n".join(f"{k.decode()}: {v.decode()}" for k, v in scope["headers"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"server", b"uvicorn")]})
    await send({"type": "http.response.body", "body": body})


class GuardedStudy:
    """The middleware stack over a new store with one participant a role."""

    def __init__(self, path: Path) -> None:
        copy_template(build_empty_store, path)
        self.path = path
        self.tokens = {}
        with store.write(path) as con:
            for code, role in (("T1", "team"), ("A1", "annotator"), ("R1", "reader")):
                self.tokens[code] = participant_table.new_invitation_token()
                participant_table.invite_participant(
                    con, code, role, participant_table.hash_token(self.tokens[code])
                )
        self.build()

    def build(self, **origins: object) -> None:
        """Build the stack, as a server does when it starts."""
        routes, access_control = application.sign_in_stack(self.path)
        origins = {"hosts": ("127.0.0.1", "localhost", "::1"), **origins}
        self.app = Starlette(
            routes=[*routes, Mount("", app=_echo)],
            middleware=[
                Middleware(SecurityHeadersMiddleware, script=Path("app.py")),
                Middleware(TrustedOriginMiddleware, **origins),
                access_control,
            ],
        )

    def build_with_limit(self, limit: SignInLimit) -> None:
        """Build the stack with a limit on failed sign-ins whose clock the test sets."""
        with mock.patch("dashboard.server.sign_in.SignInLimit", lambda: limit):
            self.build()

    def build_with_writer(self, writer: object) -> None:
        """Build the stack with another writer to the store."""
        with mock.patch("dashboard.server.context.group_commit_writer", lambda path: writer):
            self.build()

    def connection(self, *headers: tuple[bytes, bytes]) -> HTTPConnection:
        """Return a request with these headers, such as a cookie."""
        return HTTPConnection(http_scope("/", [HOST, *headers]))

    async def send(self, scope: dict, body: bytes = b"") -> list[dict]:
        """Return the messages of the response to one HTTP request."""
        sent: list[dict] = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        headers=(),
        body: bytes = b"",
        query: str = "",
        host=HOST,
        client: str = "127.0.0.1",
    ):
        """Return (status, headers, body) of one request."""
        sent: list[dict] = []
        scope = http_scope(path, [host, *headers], method, query, client)

        async def ask() -> None:
            sent.extend(await self.send(scope, body))

        run(ask())
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], dict(sent[0]["headers"]), content.decode()

    def post_token(self, token: str, headers=(), client: str = "127.0.0.1"):
        """Press Start on the page of a link."""
        body = f"token={token}".encode()
        return self.ask("/enter", "POST", [FORM, *headers], body, client=client)

    def cookie(self, code: str) -> tuple[bytes, bytes]:
        """Sign in and return the cookie header."""
        status, headers, _ = self.post_token(self.tokens[code])
        assert status == 303
        return b"cookie", headers[b"set-cookie"].split(b";")[0]

    def websocket(
        self,
        headers,
        before_second: Callable[[], None] = lambda: None,
        path: str = "/_stcore/stream",
        host=HOST,
    ):
        """Return the messages to a websocket client that sends two messages."""
        sent: list[dict] = []
        script = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "bytes": b"1"},
            {"type": "websocket.receive", "bytes": b"2"},
        ]

        async def receive():
            if len(script) == 1:
                before_second()
            return script.pop(0) if script else {"type": "websocket.disconnect", "code": 1000}

        async def send(message) -> None:
            sent.append(message)

        scope = {
            "type": "websocket",
            "path": path,
            "headers": [host, *headers],
            "query_string": b"",
        }
        run(self.app(scope, receive, send))
        return sent


def http_scope(
    path: str, headers: list, method: str = "GET", query: str = "", client: str = "127.0.0.1"
) -> dict:
    """Return the ASGI scope of an HTTP request."""
    return {
        "type": "http",
        "path": path,
        "method": method,
        "query_string": query.encode(),
        "headers": headers,
        "scheme": "http",
        "client": (client, 50_000),
    }
