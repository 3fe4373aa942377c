"""The gate alone, driven as ASGI: who gets in, as whom, where to, and what is refused in a
sentence.
"""

from __future__ import annotations

import asyncio
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core import store
from core.sessions import tokens
from core.store import participant_table
from core.store.connection import DoorBusy
from dashboard.server import context
from dashboard.server.access_control import Cookies, Gate, may, roster

HOST = (b"host", b"127.0.0.1:8501")


def run(work) -> None:
    """Run a coroutine in a thread of its own: the browser driver of other modules keeps a loop
    running in this one.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def _inner(scope, receive, send) -> None:
    """What stands behind the gate: answers with the headers it was given."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        await send({"type": "inner.end", "code": message.get("code")})
        return
    body = "\n".join(f"{k.decode()}: {v.decode()}" for k, v in scope["headers"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"server", b"uvicorn")]})
    await send({"type": "http.response.body", "body": body})


class Door:
    """A gate over a fresh store with one person per role."""

    def __init__(self, path: Path) -> None:
        store.create(path)
        self.path = path
        self.tokens = {}
        with store.write(path) as con:
            for code, role in (("T1", "team"), ("A1", "annotator"), ("R1", "reader")):
                self.tokens[code] = participant_table.new_token()
                participant_table.invite(
                    con, code, role, participant_table.token_hash(self.tokens[code])
                )
        self.gate = Gate(_inner, path, ("127.0.0.1", "localhost"))

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        headers=(),
        body: bytes = b"",
        query: str = "",
        host=HOST,
    ):
        """(status, headers, body) of one request."""
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "query_string": query.encode(),
            "headers": [host, *headers],
            "scheme": "http",
        }
        run(self.gate(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode()

    def cookie(self, code: str) -> tuple[bytes, bytes]:
        """Sign in and keep the cookie."""
        status, headers, _ = self.ask("/enter", "POST", body=f"token={self.tokens[code]}".encode())
        assert status == 303
        return b"cookie", headers[b"set-cookie"].split(b";")[0]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_an_invitation_is_a_start_button_and_only_its_post_signs_in(door: Door) -> None:
    token = door.tokens["R1"]
    status, headers, body = door.ask("/enter", query=f"token={token}")
    assert status == 200 and token in body and "Start" in body and b"set-cookie" not in headers
    status, headers, _ = door.ask(
        "/enter",
        "POST",
        body=f"token={token}".encode(),
        headers=[(b"origin", b"http://127.0.0.1:8501")],
    )
    assert status == 303 and headers[b"location"] == b"/"
    assert (
        b"HttpOnly" in headers[b"set-cookie"]
        and b"SameSite=Strict" in headers[b"set-cookie"]
        and token.encode() not in headers[b"set-cookie"]
    )
    for wrong in ("", "x", token[:-1], token + "x"):
        status, headers, body = door.ask("/enter", "POST", body=f"token={wrong}".encode())
        assert status == 403 and "not valid" in body and b"set-cookie" not in headers


def test_markup_in_a_link_stays_text(door: Door) -> None:
    _, _, body = door.ask("/enter", query="token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>" not in body


def test_the_role_comes_from_the_store_and_never_from_the_client(door: Door) -> None:
    forged = [
        (b"X-Auth-Role", b"team"),
        (b"x-auth-who", b"T1"),
        (b"x_auth_role", b"team"),
        (b"X-AUTH-WHO", b"T1"),
    ]
    status, _, body = door.ask("/", headers=[door.cookie("R1"), *forged])
    assert (
        status == 200
        and "x-auth-role: reader" in body
        and "x-auth-who: R1" in body
        and "team" not in body
        and "T1" not in body
    )
    assert door.ask("/", headers=forged)[0] == 401


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c[:-1] + (b"0" if c[-1:] != b"0" else b"1"),
        lambda c: c.replace(b"=", b"=A", 1),
        lambda c: c.split(b".")[0],
        lambda c: b"",
        lambda c: c.split(b"=")[0] + b"=.",
        lambda c: c.split(b"=")[0] + b"=\xff\xfe.\xff",
    ],
)
def test_a_spoilt_cookie_is_none(door: Door, spoil) -> None:
    name, value = door.cookie("T1")
    status, _, body = door.ask("/", headers=[(name, spoil(value))])
    assert status == 401 and "open the link again" in body


def test_a_cookie_ends_and_is_of_one_study(
    door: Door, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cookies, token_hash = (
        Cookies(context.secret(door.path)),
        participant_table.token_hash(door.tokens["T1"]),
    )
    good, old = (
        f"{cookies.name}={cookies.make('T1', token_hash, seconds)}".encode() for seconds in (60, -1)
    )
    assert door.ask("/", headers=[(b"cookie", good)])[0] == 200
    assert door.ask("/", headers=[(b"cookie", old)])[0] == 401
    other = Cookies(tokens.key(tmp_path_factory.mktemp("other")))
    assert other.name != cookies.name
    foreign = f"{cookies.name}={other.make('T1', token_hash)}".encode()
    assert door.ask("/", headers=[(b"cookie", foreign)])[0] == 401


def test_revocation_takes_effect_at_once(door: Door) -> None:
    cookie = door.cookie("A1")
    assert door.ask("/", headers=[cookie])[0] == 200
    with store.write(door.path) as con:
        participant_table.revoke(con, "A1")
    roster(door.path).refresh()  # what the People page does in the serving process
    assert door.ask("/", headers=[cookie])[0] == 401
    cookie = door.cookie("R1")
    with store.write(door.path) as con:  # what a terminal does: seen at the next look
        participant_table.reissue(con, "R1", participant_table.token_hash("new"))
    time.sleep(1.1)
    assert door.ask("/", headers=[cookie])[0] == 401
    assert door.ask("/enter", "POST", body=b"token=new")[0] == 303


def test_requests_that_come_together_after_a_start_all_get_in(door: Door) -> None:
    """A page in use sends several at once; none may be told that its session has ended because
    another one is still looking.
    """
    cookie = door.cookie("R1")
    roster.cache_clear()
    gate = Gate(_inner, door.path, ("127.0.0.1",))
    statuses = []

    async def ask() -> None:
        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message) -> None:
            statuses.append(message.get("status"))

        await gate(
            {
                "type": "http",
                "path": "/",
                "method": "GET",
                "query_string": b"",
                "headers": [HOST, cookie],
                "scheme": "http",
            },
            receive,
            send,
        )

    async def together() -> None:
        await asyncio.gather(*(ask() for _ in range(8)))

    run(together())
    assert sorted(filter(None, statuses)) == [200] * 8


def test_a_shut_door_at_the_start_is_no_ended_session(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = door.cookie("R1")
    roster.cache_clear()
    door.gate = Gate(_inner, door.path, ("127.0.0.1",))

    def busy(path: Path):
        raise DoorBusy("busy")

    with monkeypatch.context() as patched:
        patched.setattr("dashboard.server.access_control.store.read", busy)
        status, _, body = door.ask("/expert/read/state", headers=[cookie])
        assert status == 503 and "Try again" in body
    assert door.ask("/", headers=[cookie])[0] == 200


def _socket(door: Door, headers, between=lambda: None, path: str = "/_stcore/stream"):
    """Messages the client gets from a websocket that says two things."""
    sent = []
    script = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "bytes": b"1"},
        {"type": "websocket.receive", "bytes": b"2"},
    ]

    async def receive():
        if len(script) == 1:
            between()
        return script.pop(0) if script else {"type": "websocket.disconnect", "code": 1000}

    async def send(message) -> None:
        sent.append(message)

    run(
        door.gate(
            {"type": "websocket", "path": path, "headers": [HOST, *headers], "query_string": b""},
            receive,
            send,
        )
    )
    return sent


def test_websockets_pass_the_same_gate(door: Door) -> None:
    assert _socket(door, [])[0]["code"] == 4401
    assert _socket(door, [door.cookie("R1")], path="/somewhere")[0]["code"] == 4403
    assert (
        _socket(door, [door.cookie("R1"), (b"origin", b"http://evil.example")])[0]["code"] == 4403
    )
    assert [m.get("bytes") for m in _socket(door, [door.cookie("R1")])] == [None, b"1", b"2", None]


def test_an_open_websocket_ends_with_the_invitation(door: Door) -> None:
    cookie = door.cookie("R1")

    def withdraw() -> None:
        with store.write(door.path) as con:
            participant_table.revoke(con, "R1")
        roster(door.path).refresh()

    sent = _socket(door, [cookie], withdraw)
    assert [m.get("bytes") for m in sent] == [None, b"1", None] and sent[-1]["code"] == 4401


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8501", True),
        ("localhost", True),
        ("LOCALHOST.:1", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_only_known_names(door: Door, host: str, known: bool) -> None:
    status, _, body = door.ask("/", host=(b"host", host.encode()), headers=[door.cookie("T1")])
    assert (status == 200) is known and (known or "does not answer under that name" in body)


def test_requests_from_other_sites_are_refused(door: Door) -> None:
    cookie = door.cookie("A1")
    for origin, status in (
        (b"http://evil.example", 403),
        (b"null", 403),
        (b"http://127.0.0.1:9999", 403),
        (b"http://127.0.0.1:8501", 200),
    ):
        assert (
            door.ask("/expert/annotate/answer", "POST", headers=[cookie, (b"origin", origin)])[0]
            == status
        )


@pytest.mark.parametrize(
    "path",
    [
        "/participants",
        "/units",
        "/overview",
        "/annotate",
        "/media/abc.png",
        "/image/a/b",
        "/app/static/other.png",
        "/_stcore/metrics",
        "/_stcore/upload_file/a/b",
        "/_stcore/agent/interact",
        "/component/x/y",
        "/expert/annotate/state",
        "/static/../app/static/x",
        "/app/static/inter.woff2/../x",
        "//participants",
        "/static\\..\\x",
        "/_stcore/script-health-check",
        "/read/../participants",
    ],
)
def test_a_reader_gets_one_page_and_nothing_else(door: Door, path: str) -> None:
    status, _, body = door.ask(path, headers=[door.cookie("R1")])
    assert status == 403 and "not open to you" in body


def test_roles_and_paths() -> None:
    for path in (
        "/",
        "/read",
        "/static/js/main.js",
        "/app/static/inter.woff2",
        "/_stcore/stream",
        "/expert/read/answer",
    ):
        assert may("reader", path)
    assert (
        may("annotator", "/image/abc")
        and may("annotator", "/expert/annotate/answer")
        and not may("annotator", "/expert/read/state")
    )
    assert (
        not may("annotator", "/read")
        and may("team", "/participants")
        and not may("team", "/expert/read/state")
        and not may("", "/")
    )


def test_the_first_page_is_found_by_its_name_too(door: Door) -> None:
    for code, path in (("T1", "/overview"), ("A1", "/annotate"), ("R1", "/read")):
        status, headers, _ = door.ask(path, headers=[door.cookie(code)])
        assert status == 303 and headers[b"location"] == b"/"


def test_every_answer_carries_the_security_headers(door: Door) -> None:
    for status, headers, _ in (
        door.ask("/"),
        door.ask("/", headers=[door.cookie("T1")]),
        door.ask("/enter"),
        door.ask("/participants", headers=[door.cookie("R1")]),
    ):
        assert (
            headers[b"x-frame-options"] == b"DENY"
            and headers[b"x-content-type-options"] == b"nosniff"
            and b"server" not in headers
        ), status
        assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]


def test_the_key_is_private_and_made_once(tmp_path: Path) -> None:
    first = tokens.key(tmp_path)
    assert len(first) == 32 and tokens.key(tmp_path) == first
    assert stat.S_IMODE((tmp_path / ".key").stat().st_mode) == 0o600
