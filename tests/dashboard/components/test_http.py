"""Replies to experts: bodies that cannot be used, and errors without paths of the server."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from starlette.routing import Route

from core.errors import DiskFullError, RequestRefused, UserError
from core.sessions.reply_times import REPLY_STEP_S, seconds_until_reply
from core.store import StoreLockedError
from dashboard.components.http import MAX_BODY_BYTES, expert_route

STUDY = "/srv/studies/secret"


def post(route: Route, body: bytes, role: str = "reader") -> tuple[int, dict]:
    """Return status and reply of a route of experts."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/expert/x",
        "query_string": b"",
        "headers": [(b"x-auth-role", role.encode()), (b"x-auth-who", b"R1")],
    }
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    # In a thread: the browser driver of other modules keeps an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, route.handle(scope, receive, send)).result()
    return sent[0]["status"], json.loads(sent[1]["body"])


def echoing_route() -> Route:
    async def echo(code: str, values: object) -> dict:
        return {"code": code, "values": values}

    return expert_route("/expert/x", "reader", "POST", echo)


def failing_route(error: Exception) -> Route:
    async def fail(code: str, values: object) -> dict:
        raise error

    return expert_route("/expert/x", "reader", "POST", fail)


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b'{"a": [1, {"b": null}]}', 200),
        (nested(16), 200),
        (nested(17), 400),
        (b"[" * 32_000 + b"]" * 32_000, 400),
        (nested(10_000), 400),
        (b'{"a":' * 12_000, 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (b'{"a": "\\ud800"}', 400),
        (b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}', 413),
    ],
)
def test_bodies(body: bytes, status: int) -> None:
    got, reply = post(echoing_route(), body)
    assert got == status
    assert ("values" in reply) == (status == 200)
    assert got == 200 or reply["message"]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (DiskFullError(Path(STUDY)), 507, "disk is full; your answer is kept here"),
        (StoreLockedError(f"The study {STUDY} is busy"), 503, "busy; your answer is kept here"),
        (UserError(f"{STUDY}/study.toml: repeats is -1"), 500, "could not process this"),
        (UserError("a relative study.toml is wrong"), 500, "could not process this"),
        (ValueError(STUDY), 500, "could not process this"),
        (RequestRefused("answer", "Choose a confidence: 1, 2 or 3."), 422, "Choose a confidence"),
        (RequestRefused("queue", "The audit opens later."), 409, "opens later"),
        (RequestRefused("empty", "Nothing to read yet."), 200, "Nothing to read"),
    ],
)
def test_errors_carry_no_path(
    error: Exception, status: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        got, reply = post(failing_route(error), b"{}")
    assert got == status
    assert text in reply["message"]
    assert "srv" not in json.dumps(reply)
    assert "toml" not in json.dumps(reply)
    # The team finds in the log what the expert is not shown.
    assert bool(caplog.records) == (status in (500, 507))


def test_another_role_is_refused() -> None:
    assert post(echoing_route(), b"{}", role="team")[0] == 403


@pytest.mark.parametrize("role", ["reader", "annotator"])
def test_only_replies_to_readers_wait_for_the_next_step(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a reply must not show how much work a case needed."""
    waits: list[float] = []

    async def slow_handler(code: str, values: object) -> dict:
        await sleep(0.002)
        return {}

    async def record_wait(seconds: float) -> None:
        waits.append(seconds)

    sleep = asyncio.sleep
    monkeypatch.setattr("dashboard.components.http.asyncio.sleep", record_wait)
    post(expert_route("/expert/x", role, "POST", slow_handler), b"{}", role)
    post(expert_route("/expert/x", role, "POST", slow_handler), b"{}", "team")
    assert len(waits) == (2 if role == "reader" else 0)
    assert all(0 < wait < REPLY_STEP_S for wait in waits)


def test_replies_leave_at_multiples_of_the_step() -> None:
    elapsed = [0.0, 0.001, 0.029, 0.031, 0.0899, 0.5]
    leaving = [seconds + seconds_until_reply(seconds) for seconds in elapsed]
    np.testing.assert_allclose(leaving, [0.03, 0.03, 0.03, 0.06, 0.09, 0.51], rtol=0, atol=1e-12)
