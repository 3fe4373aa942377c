"""Parts of the server in this process: headers, refusals, cookies, limits and invitations."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.responses import Response

from core import store
from core.errors import UserError
from core.sessions import tokens
from core.store import participant_table
from core.store.participant_table import Participant
from dashboard.components import http
from dashboard.components.annotation import routes
from dashboard.components.reading import routes as reading_routes
from dashboard.server import (
    access_control,
    context,
    image_routes,
    invitations,
    links,
    security_headers,
    sign_in,
    sign_in_limits,
    static_pages,
    trusted_origins,
)
from dashboard.server.sessions import SESSION_S, Session, SessionCookies
from dashboard.ui import cached_queries
from support.guarded_study import http_scope, run


def test_messages_of_streamlit_do_not_describe_the_machine() -> None:
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    script = Path("/home/person/dashboard/app.py")
    middleware = security_headers.SecurityHeadersMiddleware(None, script)  # type: ignore[arg-type]
    message = ForwardMsg()
    session = message.new_session
    session.main_script_path = str(script)
    session.initialize.environment_info.python_version = "3.11.7"
    session.initialize.environment_info.server_os = "linux"
    session.initialize.environment_info.streamlit_version = "1.0"
    session.initialize.user_info.installation_id = "secret"
    content = middleware._without_description(message.SerializeToString())
    sent = ForwardMsg.FromString(content).new_session
    assert sent.main_script_path == "app.py"
    assert not sent.initialize.user_info.ListFields()
    environment = sent.initialize.environment_info
    assert (environment.python_version, environment.server_os) == ("", "")
    # The browser needs Streamlit's own version.
    assert environment.streamlit_version == "1.0"
    other = ForwardMsg()
    other.delta.new_element.text.body = str(script)
    assert middleware._without_description(other.SerializeToString()) == other.SerializeToString()

    async def application_of(scope: Any, receive: Any, send: Any) -> None:
        for sent in messages:
            await send(sent)

    middleware.app = application_of
    received: list[Any] = []

    async def keep(message: Any) -> None:
        received.append(message)

    described = message.SerializeToString()
    messages = [
        {"type": "websocket.send", "bytes": described},
        {"type": "websocket.send", "bytes": b"other"},
        {"type": "websocket.send", "text": "text"},
        {"type": "http.response.start", "status": 200},
    ]
    run(middleware({"type": "websocket"}, None, keep))  # type: ignore[arg-type]
    assert received[0]["bytes"] == content and received[1:3] == messages[1:3]
    headers = {name.decode(): value.decode() for name, value in received[3]["headers"]}
    assert headers == security_headers.SECURITY_HEADERS


def test_security_headers() -> None:
    policy = security_headers.SECURITY_HEADERS["content-security-policy"].split("; ")
    assert len(policy) == 10 and {
        "default-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'self'",
    } <= set(policy)
    assert not any("http" in part or "*" in part for part in policy)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_refused_requests(kind: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        sent.append("received")
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {**http_scope("/", []), "type": kind}
    run(static_pages.refuse(scope, receive, send, static_pages.NOT_INVITED))
    if kind == "websocket":
        # Browsers report a close code only after the handshake was read.
        assert sent == [
            "received",
            {"type": "websocket.close", "code": 4403, "reason": "Not part of your invitation"},
        ]
    else:
        assert sent[0]["status"] == 403 and b"not open to you" in sent[1]["body"]


def test_other_kinds_of_connection_pass(tmp_path: Path) -> None:
    """Such as the start of the server, which has neither a path nor headers."""
    seen: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    store.create(tmp_path)
    for middleware in (
        access_control.AccessControlMiddleware(inner, tmp_path),
        trusted_origins.TrustedOriginMiddleware(inner, ["localhost"]),
    ):
        run(middleware({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"] * 2


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("", "/mining/read", "/mining/read"),
        ("/mining", "/mining/read", "/read"),
        ("/mining", "/read", "/read"),
        ("/mining", "/miningread", "/miningread"),
        ("/mining", "/mining", "/mining"),
    ],
)
def test_prefix_of_a_proxy(prefix: str, path: str, expected: str) -> None:
    scope = {"path": path, "raw_path": path.encode(), "headers": []}
    found = access_control._without_prefix(scope, prefix)
    assert (found["path"], found["raw_path"]) == (expected, expected.encode())


@pytest.mark.parametrize(
    ("value", "prefix"), [("", ""), ("/", ""), ("/a", "/a"), ("/a_1/b-2/", "/a_1/b-2")]
)
def test_prefixes(monkeypatch: pytest.MonkeyPatch, value: str, prefix: str) -> None:
    monkeypatch.setenv(context.PREFIX_VARIABLE, value)
    assert context.url_prefix() == prefix
    assert links.invitation_link("http://h:1/", "t") == f"http://h:1{prefix}/enter?token=t"
    for wrong in ("a", "/a b", "/a?b", "/a//b"):
        monkeypatch.setenv(context.PREFIX_VARIABLE, wrong)
        with pytest.raises(UserError, match="must be a path such as /mammography"):
            context.url_prefix()


def test_limits_of_the_server() -> None:
    """Values that the documentation states."""
    assert (sign_in.MAX_FORM_FIELDS, sign_in.MAX_FIELD_BYTES) == (4, 4096)
    limits = sign_in_limits
    assert (limits.MAX_FAILURES, limits.WINDOW_S, limits.MAX_ADDRESSES) == (10, 600, 10_000)
    assert invitations.RECHECK_S == 1.0
    assert (http.MAX_BODY_BYTES, http.MAX_DISCARDED_BYTES, http.MAX_DEPTH) == (2**16, 2**26, 16)
    assert (image_routes.CACHE_BYTES, image_routes.TILE_PIXELS) == (2**27, 176)
    assert (image_routes.DIMMING, image_routes.OUTLINE_COLOUR) == (0.38, (214, 178, 84))
    assert (reading_routes.PAUSE_INTERVAL, routes.PREVIEW_PATCHES, routes.UNIT_PATCHES) == (
        50,
        8,
        32,
    )
    assert cached_queries.FAILURE_LIFETIME_S == 30 and cached_queries.MAX_RESULTS == 600
    assert http._STATUS == {
        "stale": 409,
        "closed": 409,
        "consent": 409,
        "queue": 409,
        "empty": 200,
        "answer": 422,
    }


def test_session_cookies() -> None:
    cookies = SessionCookies(b"key")
    response = Response()
    cookies.set_cookie(response, "R1", "hash", path="/mining/", secure=True)
    header = response.headers["set-cookie"]
    value, *attributes = header.split("; ")
    assert sorted(attributes) == [
        "HttpOnly",
        f"Max-Age={7 * 24 * 3600}",
        "Path=/mining/",
        "SameSite=strict",
        "Secure",
    ]
    assert SESSION_S == 604_800

    def read(cookie: str) -> Session | None:
        headers = [(b"cookie", cookie.encode())]
        return cookies.read(HTTPConnection(http_scope("/", headers)))

    session = read(value)
    assert session is not None and (session.code, session.token_hash) == ("R1", "hash")
    # Each session has a name of its own, so that one can end while another goes on.
    other = read(f"{cookies.name}={cookies.sign('R1', 'hash')}")
    assert other is not None and other.name != session.name and len(session.name) == 32
    assert read("") is None and read(f"{cookies.name}=x") is None
    signed = cookies._serializer.dumps(["R1", "hash"])
    assert read(f"{cookies.name}={signed}") is None
    assert SessionCookies(b"other").name != cookies.name and cookies.name.startswith("dm_")
    assert len(cookies.name) == 13


def test_invitations_of_a_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(tmp_path)
    with store.write(tmp_path) as con:
        for code, role in (("T1", "team"), ("R1", "reader")):
            participant_table.invite_participant(con, code, role, f"hash of {code}")
    cache = invitations.InvitationCache(tmp_path)
    found: dict[Any, Any] = {}

    async def ask() -> None:
        for code, role in (("T1", "team"), ("R1", "reader"), ("R1", "team"), ("T2", "team")):
            found[code, role] = await cache.token_hash_of(code, role)
        session = Session("T1", "hash of T1", "name")
        found["session"] = await cache.participant_of(session)
        found["other code"] = await cache.participant_of(Session("R1", "hash of T1", "name"))
        found["no session"] = await cache.participant_of(None)
        with store.write(tmp_path) as con:
            participant_table.end_session(con, "name")
        await asyncio.to_thread(cache.refresh)
        found["ended"] = await cache.participant_of(session)
        found["another session"] = await cache.participant_of(Session("T1", "hash of T1", "n2"))

    run(ask())
    team = Participant("T1", "team")
    assert found == {
        ("T1", "team"): "hash of T1",
        ("R1", "reader"): "hash of R1",
        ("R1", "team"): None,
        ("T2", "team"): None,
        "session": team,
        "other code": None,
        "no session": None,
        "ended": None,
        "another session": team,
    }


def test_invitations_are_checked_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(tmp_path)
    cache = invitations.InvitationCache(tmp_path)
    clock = [100.0]
    refreshed: list[float] = []
    monkeypatch.setattr(invitations, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    original = cache.refresh

    def refresh() -> None:
        refreshed.append(clock[0])
        original()

    monkeypatch.setattr(cache, "refresh", refresh)

    async def ask() -> None:
        for now, immediately in (
            (100.0, False),
            (101.0, False),  # exactly a second later
            (101.01, False),
            (101.5, False),
            (101.6, True),
            (102.7, False),
        ):
            clock[0] = now
            await cache.participant("x", immediately)

    run(ask())
    assert refreshed == [100.0, 101.01, 101.6, 102.7]


def test_key_of_a_study_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(tokens, "load_secret_key", lambda study: asked.append(study) or b"k")
    folder = tmp_path / "a study"
    assert [context.study_secret(folder) for _ in range(2)] == [b"k", b"k"] and asked == [folder]
    monkeypatch.delenv(context.STUDY_VARIABLE, raising=False)
    with pytest.raises(UserError, match="No study is being served"):
        context.served_study()
