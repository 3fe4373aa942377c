"""Requests to the routes of experts in this process, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from support.guarded_study import HOST, http_scope


class RouteClient:
    """Sends the requests of experts to routes, behind the access control that a server has.

    One event loop serves all requests, in a thread of its own: the browser driver of other modules
    keeps a loop running in this thread.
    """

    def __init__(self, routes: Sequence[BaseRoute], role: str = "reader") -> None:
        self._app = Starlette(routes=list(routes))
        self._role = role
        self._pool = ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """End the event loop and its thread."""
        self._pool.submit(self._runner.close).result()
        self._pool.shutdown()

    def send(
        self, code: str, method: str, path: str, body: bytes | None = None, query: str = ""
    ) -> tuple[int, bytes]:
        """Return status and body of the response to an expert's request."""
        identity = [(b"x-auth-role", self._role.encode()), (b"x-auth-who", code.encode())]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body or b"", "more_body": False}

        async def keep(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = http_scope(path, [HOST, *identity], method, query)
        response = self._app(scope, receive, keep)
        self._pool.submit(self._runner.run, response).result()
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], content

    def get_state(self, code: str) -> dict[str, Any]:
        """Return what a reader's page shows."""
        status, content = self.send(code, "GET", "/expert/read/state")
        assert status == 200, content
        return json.loads(content)

    def post(self, code: str, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Return status and reply of a request of the reading page."""
        status, content = self.send(code, "POST", f"/expert/read/{path}", json.dumps(body).encode())
        return status, json.loads(content)
