"""Links, roles, hosts, origins and limits: each rule on both sides, without a server."""

from __future__ import annotations

import hashlib
import hmac
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from core import store
from core.errors import UserError
from core.sessions.group_commit import GroupCommitWriter
from core.store import StoreLockedError, participant_table, run_table
from core.store.participant_table import Participant
from dashboard.server import (
    access_control,
    context,
    identity,
    invitations,
    links,
    sign_in,
    sign_in_limits,
    static_pages,
    trusted_origins,
)
from dashboard.server.access_control import AccessControlMiddleware, is_allowed
from dashboard.server.identity import Identity
from dashboard.server.sessions import Session
from dashboard.server.sign_in_limits import SignInLimit
from support.guarded_study import http_scope, run
from support.study_templates import build_empty_store, copy_template


def team_token(key: bytes, message: str) -> str:
    return hmac.new(key, message.encode(), hashlib.sha256).hexdigest()[:40]


def test_tokens_of_the_teams_links(tmp_path: Path) -> None:
    """160 bits of a keyed hash, of "team link" and, from the second one on, its number."""
    copy_template(build_empty_store, tmp_path)
    key = context.study_secret(tmp_path)
    with store.write(tmp_path) as con:
        participant_table.add_participant(con, "team", "team")
    assert links.ensure_team_link(tmp_path) == team_token(key, "team link")
    with store.read(tmp_path) as con:
        assert participant_table.participant_role(con, "team") == "team"
        # No link was valid: none was revoked.
        assert participant_table.revoked_invitation_count(con, "team") == 0
    with store.write(tmp_path) as con:
        participant_table.revoke_invitations(con, "team")
    assert links.ensure_team_link(tmp_path) == team_token(key, "team link 1")
    with store.write(tmp_path) as con:
        participant_table.reissue_invitation(con, "team", "made on a page")
    # The second link and the one of the page are revoked now.
    assert links.ensure_team_link(tmp_path) == team_token(key, "team link 3")


def test_address_of_a_served_study(tmp_path: Path) -> None:
    assert not links.is_served(tmp_path)
    assert links.server_address(tmp_path) == "http://127.0.0.1:8501"
    (tmp_path / ".address").write_text("http://h:9")
    assert links.is_served(tmp_path) and links.server_address(tmp_path) == "http://h:9"


def test_identity_comes_from_two_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"x-auth-role": "reader", "x-auth-who": "R1"}
    assert identity.identity_from_headers(both) == Identity("R1", "reader")
    assert identity.identity_from_headers({}) == Identity("", "")
    shown: list[str] = []

    class Stopped(Exception):
        """The script has ended."""

    def stop() -> None:
        raise Stopped

    page = SimpleNamespace(context=SimpleNamespace(headers=both), error=shown.append, stop=stop)
    monkeypatch.setattr(identity, "st", page)
    assert identity.require_role("team", "reader") == Identity("R1", "reader") and shown == []
    for roles in (("team",), ("team", "annotator"), ()):
        with pytest.raises(Stopped):
            identity.require_role(*roles)
    assert shown == [identity.FORBIDDEN] * 3


SHARED = (
    "/", "/_stcore/health", "/_stcore/stream", "/_stcore/host-config", "/static/a/b.js",
    "/app/static/inter.woff2", "/favicon.png", "/favicon.ico", "/favicon.svg", "/manifest.json",
    "/image/aZ_9-",
)  # fmt: skip
OWN = {
    "annotator": ("/annotate", "/expert/annotate/state"),
    "reader": ("/read", "/expert/read/answer"),
}
NOBODY = (
    "/static/", "/static", "/image/", "/image/a.b", "/expert/read/", "/expert/read/a1",
    "/expert/read/a/b", "/read/", "/readers", "/_stcore/healthy", "/favicon.gif", "/participants",
    "/app/static/interxwoff2", "/faviconxpng", "/manifestxjson", "", "/image/a\n",
)  # fmt: skip


@pytest.mark.parametrize("role", ["annotator", "reader"])
def test_paths_of_experts(role: str) -> None:
    other = OWN["reader" if role == "annotator" else "annotator"]
    assert all(is_allowed(role, path) for path in (*SHARED, *OWN[role]))
    assert [path for path in (*other, *NOBODY) if is_allowed(role, path)] == []


def test_paths_of_the_team_and_of_nobody() -> None:
    paths = (*SHARED, "/participants", "/read", "/expert", "/experts", "/a.b", "/a/.b")
    assert all(is_allowed("team", path) for path in paths)
    for role in ("team", "reader"):
        for path in ("/..", "/static/../a", "\\", "/static/a\\b", "//", "/static//a"):
            assert not is_allowed(role, path)
    assert not is_allowed("team", "/expert/") and not is_allowed("team", "/expert/read/state")
    assert not any(is_allowed(role, path) for role in ("", "boss", "Team") for path in SHARED)


def test_identity_headers_of_clients_are_removed() -> None:
    names = (b"x-auth-role", b"X_Auth-Who", b"x-auth", b"x_auth_", b"xx-auth-role", b"cookie")
    scope = access_control._without_identity({"headers": [(name, b"1") for name in names]})
    assert [name for name, _ in scope["headers"]] == [b"x-auth", b"xx-auth-role", b"cookie"]
    known = access_control._with_identity(scope, Participant("R1", "reader"))
    assert known["headers"][3:] == [(b"x-auth-role", b"reader"), (b"x-auth-who", b"R1")]


class Admission:
    """The access control with a participant that the test sets; `seen` are admitted scopes."""

    def __init__(self, path: Path, **options: Any) -> None:
        copy_template(build_empty_store, path)
        self.participant: Participant | UserError | None = None
        self.seen: list[Any] = []
        self.received: list[Any] = []
        self.middleware = AccessControlMiddleware(self._app, path, **options)
        self.middleware._participant = self._found  # type: ignore[method-assign]

    async def _found(self, scope: Any) -> Participant | None:
        if isinstance(self.participant, UserError):
            raise self.participant
        return self.participant

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope)
        self.received.append(await receive())

    def ask(self, path: str, kind: str = "http", message: str = "http.request") -> list[Any]:
        """Return what is sent for one request."""
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": message}

        async def send(answer: Any) -> None:
            sent.append(answer)

        self.seen.clear()
        scope = {**http_scope(path, [(b"x-auth-role", b"team")]), "type": kind}
        run(self.middleware(scope, receive, send))
        return sent


def test_who_is_admitted_to_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(context.PREFIX_VARIABLE, "/mining")
    link = static_pages.PageLink("/oidc", "Institution")
    admission = Admission(tmp_path, sign_in_paths=("/enter", "/oidc"), institution_link=link)
    for path in ("/enter", "/oidc", "/mining/oidc", "/_stcore/health"):
        assert admission.ask(path) == [] and admission.seen[0]["headers"] == []
    for path in ("/sign-out", "/read", "/"):
        start, body = admission.ask(path)
        assert (start["status"], admission.seen) == (401, [])
        assert b'href="/oidc"' in body["body"]
    (closed,) = admission.ask("/enter", "websocket")
    assert (closed["type"], closed["code"], admission.seen) == ("websocket.close", 4401, [])
    admission.participant = Participant("R1", "reader")
    start, body = admission.ask("/participants")
    assert start["status"] == 403 and b"/oidc" not in body["body"] and not admission.seen
    assert admission.ask("/sign-out")[0]["status"] == 403
    (start, _) = admission.ask("/read")
    assert (start["status"], dict(start["headers"])[b"location"]) == (303, b"/mining/")
    # A websocket to the page's own address is no redirect.
    assert admission.ask("/read", "websocket") == []
    for path in ("/", "/mining/", "/enter", "/mining/expert/read/state"):
        assert admission.ask(path) == []
        assert admission.seen[0]["path"] == path.removeprefix("/mining")
        assert admission.seen[0]["headers"] == [(b"x-auth-role", b"reader"), (b"x-auth-who", b"R1")]
    admission.participant = UserError("locked")
    assert admission.ask("/")[0]["status"] == 503 and not admission.seen


def test_open_websocket_ends_with_the_invitation(tmp_path: Path) -> None:
    admission = Admission(tmp_path)
    reader = Participant("R1", "reader")
    found = [reader, None, reader, reader]

    async def participant(scope: Any) -> Participant | None:
        return found.pop(0)

    admission.middleware._participant = participant  # type: ignore[method-assign]
    admission.ask("/_stcore/stream", "websocket", "websocket.receive")
    assert admission.received.pop() == {
        "type": "websocket.disconnect", "code": 4401, "reason": "signed out",
    }  # fmt: skip
    admission.ask("/_stcore/stream", "websocket", "websocket.receive")
    assert admission.received.pop() == {"type": "websocket.receive"} and found == []
    # Only messages of the browser are checked; requests of pages were checked before.
    for kind, message in (("websocket", "websocket.connect"), ("http", "http.request")):
        found.append(reader)
        admission.ask("/", kind, message)
        assert admission.received.pop() == {"type": message} and found == []


def trusted(headers: list[tuple[bytes, bytes]], allow_addresses: bool = False) -> bool:
    middleware = trusted_origins.TrustedOriginMiddleware(
        None,  # type: ignore[arg-type]
        ["Study.Example", "::1"],
        allow_addresses,
    )
    return middleware._has_trusted_host(http_scope("/", headers))


def test_one_known_host_is_named() -> None:
    assert trusted([(b"host", b"study.example.:99999")]) and trusted([(b"host", b"[::1]")])
    assert not trusted([]) and not trusted([(b"host", b"study.example")] * 2)
    assert not trusted([(b"host", b"study.example:100000")])
    for address in (b"192.0.2.1", b"[2001:db8::1]:80"):
        assert trusted([(b"host", address)], True) and not trusted([(b"host", address)])
    assert not trusted([(b"host", b"other.example")], True)
    assert trusted([(b"host", b"study.example")], True)


def test_origin_of_requests_that_change_something() -> None:
    host, own, other = (
        (b"host", b"h:1"),
        (b"origin", b"https://h:1"),
        (b"origin", b"https://h:2"),
    )

    def accepted(method: str, headers: list[Any], kind: str = "http") -> bool:
        scope = {**http_scope("/", headers, method), "type": kind}
        return trusted_origins._has_own_origin(scope)

    for method in ("GET", "HEAD"):
        assert accepted(method, [host, other])
        # Browsers open websockets with GET as well.
        assert not accepted(method, [host, other], "websocket")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert not accepted(method, [host, other]) and accepted(method, [host, own])
        assert accepted(method, [host]) and not accepted(method, [own])
    assert accepted("GET", [host, own], "websocket")


def test_failures_are_forgotten_after_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_limits, "MAX_ADDRESSES", 2)
    clock = [0.0]
    limit = SignInLimit(lambda: clock[0])
    for number in range(12):
        limit.record_failure("a")
        assert limit.is_exceeded("a") is (number >= 9)
    clock[0] = 599.9
    assert limit.is_exceeded("a")
    clock[0] = 600.0
    assert not limit.is_exceeded("a") and not limit._failures["a"]
    # The address with the oldest failure is forgotten first.
    limit.record_failure("b")
    limit.record_failure("a")
    assert list(limit._failures) == ["b", "a"]
    limit.record_failure("c")
    assert list(limit._failures) == ["a", "c"] and len(limit._failures["a"]) == 1
    sites = [sign_in_limits._site(a) for a in ("192.0.2.1", "x", "", "2001:db8:1:2:3::4", "::1")]
    assert sites == ["192.0.2.1", "x", "", "2001:db8:1:2::/64", "::/64"]


def request_from(client: tuple[str, int] | None = ("192.0.2.9", 1), query: str = "") -> Request:
    return Request({**http_scope("/enter", [], query=query), "client": client})


def test_page_of_too_many_failures(tmp_path: Path) -> None:
    copy_template(build_empty_store, tmp_path)
    session = sign_in.SignIn(tmp_path)
    assert session.limit_refusal(request_from()) is None
    for _ in range(10):
        session.limit.record_failure("192.0.2.9")
    page = session.limit_refusal(request_from())
    assert page is not None and (page.status_code, page.headers["Retry-After"]) == (429, "600")
    assert session.limit_refusal(request_from(None)) is None
    assert sign_in._client_address(request_from(None)) == ""


def test_record_of_a_failure_holds_no_address(tmp_path: Path) -> None:
    copy_template(build_empty_store, tmp_path)
    session = sign_in.SignIn(tmp_path)
    counted = SignInLimit()

    async def fail() -> None:
        await session.record_failure(request_from(), "a reason")
        await session.record_failure(request_from(), "another", counted)

    run(fail())
    assert list(session.limit._failures) == list(counted._failures) == ["192.0.2.9"]
    message = b"address|192.0.2.9"
    name = hmac.new(session.secret, message, hashlib.sha256).hexdigest()[:12]
    with store.read(tmp_path) as con:
        log = run_table.load_log(con, "sign-in refused")
    assert sorted(log["detail"]) == [f"a reason, address {name}", f"another, address {name}"]
    assert set(log["who"]) == {""}


def test_link_is_cut_and_the_form_posts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(context.PREFIX_VARIABLE, "/mining")
    copy_template(build_empty_store, tmp_path)
    session = sign_in.SignIn(tmp_path)
    for query, token in (("token=" + "t" * 250, "t" * 200), ("", "")):
        page = run(session.invitation(request_from(query=query)))
        text = bytes(page.body).decode()
        assert f'name="token" value="{token}"' in text and 'action="/mining/enter"' in text
    page = run(session.sign_out(request_from()))
    assert 'action="/mining/sign-out"' in bytes(page.body).decode()
    assert session.home == "/mining/"
    methods = {"GET", "HEAD", "POST"}
    assert [(r.path, r.endpoint.__name__, r.methods) for r in session.routes()] == [
        ("/enter", "invitation", methods),
        ("/sign-out", "sign_out", methods),
    ]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_session_begins_with_a_record_and_a_cookie(tmp_path: Path, scheme: str) -> None:
    copy_template(build_empty_store, tmp_path)
    session = sign_in.SignIn(tmp_path)
    request = Request({**http_scope("/enter", [(b"host", b"h")]), "scheme": scheme})
    page = run(session.begin_session(request, Response("page"), "R1", "hash"))
    assert page.body == b"page"
    attributes = page.headers["set-cookie"].split("; ")
    assert attributes[0].startswith(f"{session.cookies.name}=") and "Path=/" in attributes
    assert ("Secure" in attributes) is (scheme == "https")
    with store.read(tmp_path) as con:
        assert run_table.load_log(con, "signed in")["who"].tolist() == ["R1"]


def test_experts_do_not_sign_in_where_the_team_is_signed_in() -> None:
    team, expert = Participant("T1", "team"), Participant("R1", "reader")
    belongs = sign_in._belongs_to_expert
    assert belongs(expert, team)
    assert not any(belongs(*pair) for pair in ((team, team), (team, expert), (expert, expert)))
    assert not belongs(expert, None) and not belongs(team, None)


def test_reason_of_a_failure_decides_about_the_page(caplog: pytest.LogCaptureFixture) -> None:
    busy, full = (sign_in._unavailable(error) for error in (StoreLockedError("x"), UserError("y")))
    assert busy.status_code == full.status_code == 503
    assert b"The server is busy" in busy.body and b"cannot store anything" in full.body
    assert b">x<" not in busy.body and b">y<" not in full.body
    # The log has the reason, which the page does not show.
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"a sign-in was not possible: {reason}" for reason in "xy"]


def test_what_cannot_be_recorded_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class BusyWriter:
        def submit(self, append: Any) -> Future[None]:
            future: Future[None] = Future()
            future.set_exception(StoreLockedError("busy"))
            return future

    copy_template(build_empty_store, tmp_path)
    session = sign_in.SignIn(tmp_path)
    session._writer = BusyWriter()  # type: ignore[assignment]
    run(session.record_failure(request_from(), "a reason"))
    cookie = f"{session.cookies.name}={session.cookies.sign('R1', 'hash')}".encode()
    request = Request(http_scope("/sign-out", [(b"cookie", cookie)], "POST"))
    page = run(session.sign_out(request))
    assert page.status_code == 200 and b"<h1>You are signed out</h1>" in page.body
    deleted = page.headers["set-cookie"].split("; ")
    assert deleted[0] == f'{session.cookies.name}=""' and {"Max-Age=0", "Path=/"} < set(deleted)
    assert [record.getMessage() for record in caplog.records] == [
        "a failed sign-in was not recorded: busy",
        "a sign-out was not recorded: busy",
    ]


def test_invitations_stay_known_while_the_store_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy_template(build_empty_store, tmp_path)
    with store.write(tmp_path) as con:
        participant_table.invite_participant(con, "R1", "reader", "hash")
    loads: list[Path] = []
    original = store.read

    def read(path: Path) -> Any:
        loads.append(path)
        return original(path)

    monkeypatch.setattr(invitations.store, "read", read)
    cache = invitations.InvitationCache(tmp_path)

    def locked(*_: Any) -> None:
        raise StoreLockedError("busy")

    async def ask() -> Any:
        return await cache.participant("hash", immediately=True)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "refresh", locked)
        with pytest.raises(StoreLockedError):
            run(ask())
    assert run(ask()) == run(ask()) == Participant("R1", "reader")
    # The store has not changed: it is not read again.
    assert loads == [tmp_path]
    monkeypatch.setattr(cache, "refresh", locked)
    monkeypatch.setattr(invitations, "time", SimpleNamespace(monotonic=lambda: cache._checked))
    assert run(cache.participant("hash")) == Participant("R1", "reader")
    assert caplog.text == ""
    assert run(ask()) == Participant("R1", "reader")
    assert "cannot reload the invitations: busy" in caplog.text

    async def ended() -> list[Any]:
        session = Session("R1", "hash", "name")
        cache._ended = frozenset(["other"])
        before = await cache.participant_of(session)
        cache._ended = frozenset(["name"])
        unknown = await cache.participant_of(Session("R1", "unknown", "n"))
        return [before, await cache.participant_of(session), unknown]

    assert run(ended()) == [Participant("R1", "reader"), None, None]
    assert invitations.invitation_cache(tmp_path) is invitations.invitation_cache(tmp_path)


def test_study_and_writer_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(context.STUDY_VARIABLE, str(tmp_path))
    assert context.served_study() == tmp_path
    monkeypatch.setenv(context.STUDY_VARIABLE, "")
    with pytest.raises(UserError, match="No study is being served .DEEPMINER_STUDY is not set."):
        context.served_study()
    writer = context.group_commit_writer(tmp_path)
    assert isinstance(writer, GroupCommitWriter)
    assert context.group_commit_writer(tmp_path) is writer
    writer.close()
