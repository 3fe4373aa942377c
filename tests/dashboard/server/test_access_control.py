"""The middleware stack driven as ASGI: who is admitted, in which role, to which paths."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from core import store
from core.sessions import tokens
from core.store import StoreLockedError, participant_table
from dashboard.server import context, invitations
from dashboard.server.access_control import is_allowed
from dashboard.server.invitations import invitation_cache
from dashboard.server.sessions import SESSION_S, SessionCookies
from support.guarded_study import HOST, GuardedStudy, http_scope, run


@pytest.fixture
def guarded(tmp_path: Path) -> GuardedStudy:
    return GuardedStudy(tmp_path)


def test_only_the_post_of_a_link_signs_in(guarded: GuardedStudy) -> None:
    token = guarded.tokens["R1"]
    status, headers, body = guarded.ask("/enter", query=f"token={token}")
    assert status == 200 and token in body and "Start" in body and b"set-cookie" not in headers
    status, headers, _ = guarded.post_token(token, [(b"origin", b"http://127.0.0.1:8501")])
    assert status == 303 and headers[b"location"] == b"/"
    assert (
        b"HttpOnly" in headers[b"set-cookie"]
        and b"SameSite=strict" in headers[b"set-cookie"]
        and token.encode() not in headers[b"set-cookie"]
    )
    for wrong in ("", "x", token[:-1], token + "x"):
        status, headers, body = guarded.post_token(wrong)
        assert status == 403 and "not valid" in body and b"set-cookie" not in headers


def test_large_sign_in_forms_are_refused(guarded: GuardedStudy) -> None:
    for body in ("x" * 100_000, "&".join(f"a{i}=1" for i in range(100))):
        status, headers, _ = guarded.post_token(body)
        assert status == 400 and b"set-cookie" not in headers


def test_limits_of_the_sign_in_form(guarded: GuardedStudy) -> None:
    """Four fields of 4,096 bytes are the most that are read."""
    token = guarded.tokens["R1"]
    fields = "&a=1&b=2&c=3"
    assert guarded.post_token(token + fields)[0] == 303
    status, headers, _ = guarded.post_token(f"{token}{fields}&d=4")
    assert status == 400 and b"set-cookie" not in headers


def test_markup_in_a_link_stays_text(guarded: GuardedStudy) -> None:
    _, _, body = guarded.ask("/enter", query="token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>" not in body


def test_forged_role_headers_are_removed(guarded: GuardedStudy) -> None:
    forged = [
        (b"X-Auth-Role", b"team"),
        (b"x-auth-who", b"T1"),
        (b"x_auth_role", b"team"),
        (b"X-AUTH-WHO", b"T1"),
    ]
    status, _, body = guarded.ask("/", headers=[guarded.cookie("R1"), *forged])
    # The signed cookie is random text and may contain any two letters.
    body = "\n".join(line for line in body.splitlines() if not line.startswith("cookie:"))
    assert (
        status == 200
        and "x-auth-role: reader" in body
        and "x-auth-who: R1" in body
        and "team" not in body
        and "T1" not in body
    )
    assert guarded.ask("/", headers=forged)[0] == 401
    health = guarded.ask("/_stcore/health", headers=forged)  # open, but without an identity
    assert health[0] == 200 and "team" not in health[2] and "T1" not in health[2]


def _replace_signature_start(cookie: bytes) -> bytes:
    value, signature = cookie.rsplit(b".", 1)
    return value + b"." + (b"B" if signature[:1] == b"A" else b"A") + signature[1:]


@pytest.mark.parametrize(
    "alter",
    [
        _replace_signature_start,
        lambda c: c.replace(b"=", b"=A", 1),
        lambda c: c.split(b".")[0],
        lambda c: c.rsplit(b".", 2)[0] + b".AAAAAA." + c.rsplit(b".", 1)[1],
        lambda c: b"",
        lambda c: c.split(b"=")[0] + b"=.",
        lambda c: c.split(b"=")[0] + b"=\xff\xfe.\xff",
    ],
)
def test_altered_cookies_are_refused(guarded: GuardedStudy, alter) -> None:
    name, value = guarded.cookie("T1")
    status, _, body = guarded.ask("/", headers=[(name, alter(value))])
    assert status == 401 and "open the link again" in body


def test_cookies_expire_and_belong_to_one_study(
    guarded: GuardedStudy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cookies = SessionCookies(context.study_secret(guarded.path))
    token_hash = participant_table.hash_token(guarded.tokens["T1"])

    def ask(value: str) -> int:
        return guarded.ask("/", headers=[(b"cookie", f"{cookies.name}={value}".encode())])[0]

    signed = {}
    for age in (SESSION_S - 60, SESSION_S + 60):
        with mock.patch("itsdangerous.timed.time.time", return_value=time.time() - age):
            signed[age] = cookies.sign("T1", token_hash)
    assert ask(signed[SESSION_S - 60]) == 200 and ask(signed[SESSION_S + 60]) == 401
    other = SessionCookies(tokens.load_secret_key(tmp_path_factory.mktemp("other")))
    assert other.name != cookies.name and ask(other.sign("T1", token_hash)) == 401
    assert ask(cookies.sign("A1", token_hash)) == 401  # the invitation of another participant


def test_revocation_takes_effect_at_once(guarded: GuardedStudy) -> None:
    cookie = guarded.cookie("A1")
    assert guarded.ask("/", headers=[cookie])[0] == 200
    with store.write(guarded.path) as con:
        participant_table.revoke_invitations(con, "A1")
    invitation_cache(guarded.path).refresh()  # as the participants page does
    assert guarded.ask("/", headers=[cookie])[0] == 401
    cookie = guarded.cookie("R1")
    with store.write(guarded.path) as con:  # as a command in another process does
        participant_table.reissue_invitation(con, "R1", participant_table.hash_token("new"))
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + invitations.RECHECK_S)
    with mock.patch.object(invitations, "time", later):
        assert guarded.ask("/", headers=[cookie])[0] == 401
    assert guarded.post_token("new")[0] == 303


def test_simultaneous_first_requests_are_admitted(guarded: GuardedStudy) -> None:
    """None of them may be refused because another one is still loading the invitations."""
    cookie = guarded.cookie("R1")
    invitation_cache.cache_clear()
    guarded.build()
    statuses = []

    async def ask_all() -> None:
        scopes = [http_scope("/", [HOST, cookie]) for _ in range(8)]
        for sent in await asyncio.gather(*map(guarded.send, scopes)):
            statuses.append(sent[0]["status"])

    run(ask_all())
    assert statuses == [200] * 8


def test_a_locked_store_at_start_ends_no_session(
    guarded: GuardedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = guarded.cookie("R1")
    invitation_cache.cache_clear()
    guarded.build()

    def locked(path: Path):
        raise StoreLockedError("busy")

    with monkeypatch.context() as patched:
        patched.setattr("dashboard.server.invitations.store.read", locked)
        status, _, body = guarded.ask("/expert/read/state", headers=[cookie])
        assert status == 503 and "Try again" in body
    assert guarded.ask("/", headers=[cookie])[0] == 200


def test_websockets_are_checked_too(guarded: GuardedStudy) -> None:
    reader = guarded.cookie("R1")
    assert guarded.websocket([])[0]["code"] == 4401
    assert guarded.websocket([reader], path="/somewhere")[0]["code"] == 4403
    foreign = (b"origin", b"http://evil.example")
    assert guarded.websocket([reader, foreign])[0]["code"] == 4403
    assert guarded.websocket([reader], host=(b"host", b"evil.example"))[0]["code"] == 4400
    messages = [message.get("bytes") for message in guarded.websocket([reader])]
    assert messages == [None, b"1", b"2", None]


def test_an_open_websocket_ends_with_the_invitation(guarded: GuardedStudy) -> None:
    cookie = guarded.cookie("R1")

    def withdraw() -> None:
        with store.write(guarded.path) as con:
            participant_table.revoke_invitations(con, "R1")
        invitation_cache(guarded.path).refresh()

    sent = guarded.websocket([cookie], withdraw)
    assert [m.get("bytes") for m in sent] == [None, b"1", None] and sent[-1]["code"] == 4401


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8501", True),
        ("localhost", True),
        ("LOCALHOST.:1", True),
        ("[::1]:8501", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("203.0.113.9", False),
        ("", False),
        ("[::1", False),
        ("evil@127.0.0.1", False),
        ("evil@127.0.0.1:8501", False),
        ("127.0.0.1:8501@evil.example", False),
        ("127.0.0.1/evil", False),
        ("127.0.0.1:8501:1", False),
        ("127.0.0.1 ", False),
        ("127.0.0.1:port", False),
    ],
)
def test_only_known_host_names(guarded: GuardedStudy, host: str, known: bool) -> None:
    cookie = guarded.cookie("T1")
    status, _, body = guarded.ask("/", host=(b"host", host.encode()), headers=[cookie])
    assert (status == 200) is known and (known or "does not answer under that name" in body)


def test_plain_addresses_on_all_interfaces(guarded: GuardedStudy) -> None:
    guarded.build(allow_addresses=True)
    cookie = guarded.cookie("T1")
    hosts = {
        b"203.0.113.9:8501": 200,
        b"[2001:db8::1]:8501": 200,
        b"evil.example": 400,
        b"evil@203.0.113.9": 400,
        b"user:word@203.0.113.9:8501": 400,
    }
    for host, status in hosts.items():
        assert guarded.ask("/", host=(b"host", host), headers=[cookie])[0] == status


def test_requests_from_other_sites_are_refused(guarded: GuardedStudy) -> None:
    cookie = guarded.cookie("A1")
    for origin, status in (
        (b"http://evil.example", 403),
        (b"null", 403),
        (b"http://127.0.0.1:9999", 403),
        (b"http://127.0.0.1:8501", 200),
    ):
        headers = [cookie, (b"origin", origin)]
        assert guarded.ask("/expert/annotate/answer", "POST", headers)[0] == status


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
def test_readers_get_one_page(guarded: GuardedStudy, path: str) -> None:
    status, _, body = guarded.ask(path, headers=[guarded.cookie("R1")])
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
        assert is_allowed("reader", path)
    assert (
        is_allowed("annotator", "/image/abc")
        and is_allowed("annotator", "/expert/annotate/answer")
        and not is_allowed("annotator", "/expert/read/state")
    )
    assert (
        not is_allowed("annotator", "/read")
        and is_allowed("team", "/participants")
        and not is_allowed("team", "/expert/read/state")
        and not is_allowed("", "/")
    )


def test_landing_pages_redirect(guarded: GuardedStudy) -> None:
    for code, path in (("T1", "/overview"), ("A1", "/annotate"), ("R1", "/read")):
        status, headers, _ = guarded.ask(path, headers=[guarded.cookie(code)])
        assert status == 303 and headers[b"location"] == b"/"


def test_every_response_has_security_headers(guarded: GuardedStudy) -> None:
    for status, headers, _ in (
        guarded.ask("/"),
        guarded.ask("/", host=(b"host", b"evil.example")),
        guarded.ask("/", headers=[guarded.cookie("T1")]),
        guarded.ask("/enter"),
        guarded.ask("/participants", headers=[guarded.cookie("R1")]),
    ):
        assert (
            headers[b"x-frame-options"] == b"DENY"
            and headers[b"x-content-type-options"] == b"nosniff"
            and b"server" not in headers
        ), status
        assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]


def test_the_key_is_private_and_made_once(tmp_path: Path) -> None:
    first = tokens.load_secret_key(tmp_path)
    assert len(first) == 32 and tokens.load_secret_key(tmp_path) == first
    assert stat.S_IMODE((tmp_path / ".key").stat().st_mode) == 0o600
