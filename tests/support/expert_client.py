"""An expert's HTTP client."""

from __future__ import annotations

import http.client
import json

from support.live_server import Served


class Client:
    """A browser without a window: keeps a cookie."""

    def __init__(self, base: str) -> None:
        self.line = http.client.HTTPConnection(base.removeprefix("http://"), timeout=20)
        self.headers: dict[str, str] = {}

    def ask(self, path: str, body: object = None, form: str | None = None) -> tuple[int, bytes]:
        """(status, body); a dict is posted as JSON, a form as it is."""
        headers = dict(self.headers)
        sent = (
            form.encode()
            if form is not None
            else json.dumps(body).encode()
            if body is not None
            else None
        )
        self.line.request("POST" if sent is not None else "GET", path, sent, headers)
        reply = self.line.getresponse()
        content = reply.read()
        self.line.close()
        if reply.getheader("set-cookie"):
            self.headers["Cookie"] = reply.getheader("set-cookie").split(";")[0]
        return reply.status, content

    def enter(self, token: str) -> Client:
        """Sign in."""
        assert self.ask("/enter", form=f"token={token}")[0] == 303
        return self

    def read(self, path: str, body: object = None) -> dict:
        """One request of the reader's desk that must succeed."""
        status, content = self.ask(f"/expert/read/{path}", body)
        assert status == 200, content
        return json.loads(content)


def token_of(link: str) -> str:
    return link.split("token=")[1]


def seat(served: Served, code: str) -> tuple[Client, dict]:
    """A reader at the first practice text."""
    client = Client(served.base).enter(token_of(served.invite("reader", code)))
    client.read("consent", {})
    return client, client.read("begin", {})["case"]
