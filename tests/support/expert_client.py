"""An HTTP client with a session, for the routes of experts and of the team."""

from __future__ import annotations

import http.client
import json

from support.live_server import Served

FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


class ExpertClient:
    """Send requests to a server and keep its session cookie."""

    def __init__(self, base: str) -> None:
        self.line = http.client.HTTPConnection(base.removeprefix("http://"), timeout=60)
        self.headers: dict[str, str] = {}

    def request(self, path: str, body: object = None, form: str | None = None) -> tuple[int, bytes]:
        """Return (status, body); `body` is posted as JSON, `form` as it is."""
        headers = dict(self.headers)
        data = None if body is None else json.dumps(body).encode()
        if form is not None:
            data, headers = form.encode(), headers | FORM_TYPE
        self.line.request("GET" if data is None else "POST", path, data, headers)
        reply = self.line.getresponse()
        content = reply.read()
        self.line.close()
        cookie = reply.getheader("set-cookie")
        if cookie:
            self.headers["Cookie"] = cookie.split(";")[0]
        return reply.status, content

    def sign_in(self, token: str) -> ExpertClient:
        """Sign in with an invitation."""
        assert self.request("/enter", form=f"token={token}")[0] == 303
        return self

    def reading_request(self, path: str, body: object = None) -> dict:
        """Send one request of the reading page that must succeed."""
        status, content = self.request(f"/expert/read/{path}", body)
        assert status == 200, content
        return json.loads(content)


def token_of(link: str) -> str:
    """Return the token of an invitation link."""
    return link.split("token=")[1]


def begin_reading(served: Served, code: str) -> tuple[ExpertClient, dict]:
    """Return the client of a new reader, and the first practice case."""
    client = ExpertClient(served.base).sign_in(token_of(served.invite("reader", code)))
    client.reading_request("consent", {})
    return client, client.reading_request("begin", {})["case"]
