"""The gate in front of everything:

HTTP and websocket, invitation link -> Start button -> signed cookie, role in a header clients
cannot set.

Pure ASGI, so that media, static files and the websocket pass it as pages do. Who may come in is in
the store's invitations table (hashes only) and is looked at again whenever the store has changed,
so a revoked link ends sessions at once, open websockets included.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import cache
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core import store
from core.errors import UserError
from core.store import participant_table
from core.store.participant_table import Person
from dashboard.server import context, oidc, static_pages

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

COOKIE_S = 7 * 24 * 3600
RECHECK_S = 1.0
ENTER = "/enter"
# Streamlit serves a role's first page at / only, and calls its own name unknown.
FRONT = {"team": "/overview", "annotator": "/annotate", "reader": "/read"}
_OPEN = ("/_stcore/health",)
_COMMON = r"/|/_stcore/(health|stream|host-config)|/static/.+|/app/static/inter\.woff2|/favicon\.(png|ico|svg)|/manifest\.json"
_MAY = {
    "annotator": re.compile(rf"{_COMMON}|/annotate|/image/[A-Za-z0-9_-]+|/expert/annotate/[a-z]+"),
    "reader": re.compile(rf"{_COMMON}|/read|/image/[A-Za-z0-9_-]+|/expert/read/[a-z]+"),
}
_TEAM_NEVER = re.compile(r"/expert/.*")
SECURITY_HEADERS: Headers = [
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (
        b"content-security-policy",
        (
            b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:;"
            b" style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
            b" connect-src 'self' data: blob:; worker-src 'self' blob:; frame-ancestors 'none';"
            b" form-action 'self'; base-uri 'self'"
        ),
    ),
]
SIGN_IN = (
    "Please sign in",
    (
        "Open the link that was sent to you. If you have used it before, your session has ended:"
        " open the link again."
    ),
)
LINK_ENDED = (
    "This link is not valid",
    "It was mistyped, replaced or withdrawn. Ask the research team for a new one.",
)
BUSY = (
    "The server is busy",
    "It has just started, and the study is in use by a command. Try again in a few seconds.",
)
NOT_YOURS = (
    "Not part of your invitation",
    "This address is not open to you. Go back to the page you came from.",
)
WRONG_HOST = (
    "Unknown address",
    "This server does not answer under that name. Use the address in your link.",
)
WRONG_ORIGIN = (
    "Request from another site",
    "The request did not come from this server's own pages and was refused.",
)


class Roster:
    """Who holds a valid invitation, as the store says; read again when the store has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version: object = None
        self._valid: dict[str, Person] = {}
        self._checked = 0.0

    def refresh(self) -> None:
        """Look now (blocking). Called after an invitation was changed in this process."""
        with self._lock:
            version = store.version(self._path)
            if version != self._version:
                with store.read(self._path) as con:
                    self._valid = participant_table.valid(con)
                self._version = version
            self._checked = time.monotonic()

    async def person(self, token_hash: str, sure: bool = False) -> Person | None:
        """Whose invitation this is, or None. sure: look into the store whatever the last look said.

        UserError only where there was no first look yet: requests that come together after a start
        all wait for it, since whoever does not is told that the session has ended.
        """
        if sure or self._version is None or time.monotonic() - self._checked > RECHECK_S:
            self._checked = time.monotonic()
            try:
                await asyncio.to_thread(self.refresh)
            except UserError as busy:
                if self._version is None:
                    raise
                logging.getLogger(__name__).warning("invitations could not be read again: %s", busy)
        return self._valid.get(token_hash)

    async def invitation_of(self, code: str, role: str) -> str | None:
        """The token hash of a valid invitation of this code in this role, or None."""
        await self.person("", sure=True)
        return next(
            (
                token_hash
                for token_hash, person in self._valid.items()
                if (person.code, person.role) == (code, role)
            ),
            None,
        )


@cache
def roster(path: Path) -> Roster:
    """The one roster of a study in this process."""
    return Roster(path)


class Cookies:
    """Signed cookies of one study; named after its key, so that two studies on one host do not
    overwrite each other's.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.name = "dm_" + hashlib.sha256(b"cookie name" + secret).hexdigest()[:10]

    def _sign(self, payload: str) -> str:
        return hmac.new(self._secret, b"cookie|" + payload.encode(), hashlib.sha256).hexdigest()

    def make(self, code: str, token_hash: str, seconds: int = COOKIE_S) -> str:
        """The cookie's value for a person, with the invitation it rests on and its end."""
        payload = base64.urlsafe_b64encode(
            json.dumps([code, token_hash, int(time.time()) + seconds]).encode()
        ).decode()
        return f"{payload}.{self._sign(payload)}"

    def open(self, headers: Headers) -> tuple[str, str] | None:
        """(code, token hash) of a genuine cookie that has not run out, or None."""
        for name, value in headers:
            if name.lower() != b"cookie":
                continue
            try:
                jar = SimpleCookie(value.decode("latin-1"))
                payload, signature = jar[self.name].value.rsplit(".", 1)
                if hmac.compare_digest(signature.encode(), self._sign(payload).encode()):
                    code, token_hash, end = json.loads(base64.urlsafe_b64decode(payload))
                    return (code, token_hash) if end > time.time() else None
            except (KeyError, ValueError, CookieError):
                continue
        return None


def _header(headers: Headers, name: bytes) -> str:
    return next((v.decode("latin-1") for k, v in headers if k.lower() == name), "")


def _cookie(headers: Headers, name: str) -> str:
    """The value of a cookie, or nothing."""
    try:
        return SimpleCookie(_header(headers, b"cookie"))[name].value
    except (KeyError, CookieError):
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def may(role: str, path: str) -> bool:
    """Whether a role may ask for a path at all.

    The team may ask for everything but the experts' own desks.
    """
    if "/.." in path or "\\" in path or "//" in path:
        return False
    if role == "team":
        return not _TEAM_NEVER.fullmatch(path)
    return role in _MAY and _MAY[role].fullmatch(path) is not None


class Gate:
    """ASGI middleware. hosts: names under which this server may be addressed; "*" admits any plain
    IP address too (DNS rebinding needs a name).
    """

    def __init__(self, app: App, path: Path, hosts: Sequence[str]) -> None:
        self.app = app
        self._roster = roster(path)
        self._cookies = Cookies(context.secret(path))
        self._appends = context.appends(path)
        self._hosts = {h.lower() for h in hosts}
        self._prefix = context.prefix()
        chosen = oidc.settings()
        self._provider = oidc.Provider(chosen, context.secret(path)) if chosen else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self._prefix and scope["path"].startswith(f"{self._prefix}/"):
            # The proxy left the prefix on; where it takes it off, the path is as it should be
            # already.
            path = scope["path"][len(self._prefix) :]
            scope = dict(scope, path=path, raw_path=path.encode())
        headers: Headers = [
            (k, v)
            for k, v in scope["headers"]
            if not k.lower().replace(b"_", b"-").startswith(b"x-auth-")
        ]
        if not self._known_host(_header(headers, b"host")):
            await self._refuse(scope, receive, send, 400, WRONG_HOST)
        elif not self._own_origin(scope, headers):
            await self._refuse(scope, receive, send, 403, WRONG_ORIGIN)
        else:
            try:
                # The first look into the store after a start; later ones keep what is known.
                await self._roster.person("")
            except UserError:
                await self._refuse(scope, receive, send, 503, BUSY)
                return
            if scope["type"] == "http" and scope["path"] == ENTER:
                await self._enter(scope, receive, send)
            elif (
                scope["type"] == "http"
                and self._provider
                and scope["path"] in (oidc.BEGIN, oidc.BACK)
                and scope["method"] == "GET"
            ):
                await self._institution(scope, send, headers, self._provider)
            else:
                await self._pass(scope, receive, send, headers)

    def _known_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
        except ValueError:
            return False
        return name in self._hosts or ("*" in self._hosts and _is_address(name))

    def _own_origin(self, scope: Scope, headers: Headers) -> bool:
        """Whatever changes something, and every websocket, must come from this server's own pages
        (a browser always says where from).
        """
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return True
        origin = _header(headers, b"origin")
        return not origin or urlsplit(origin).netloc == _header(headers, b"host")

    async def _person(self, headers: Headers) -> Person | None:
        found = self._cookies.open(headers)
        person = await self._roster.person(found[1]) if found else None
        return person if person and found and person.code == found[0] else None

    async def _pass(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        person = await self._person(headers)
        if person is None and scope["path"] not in _OPEN:
            await self._refuse(scope, receive, send, 401, SIGN_IN)
            return
        if person is not None:
            if not may(person.role, scope["path"]):
                await self._refuse(scope, receive, send, 403, NOT_YOURS)
                return
            if scope["type"] == "http" and scope["path"] == FRONT[person.role]:
                await _answer(send, 303, b"", [(b"location", self._home)])
                return
            headers = [
                *headers,
                (b"x-auth-role", person.role.encode()),
                (b"x-auth-who", person.code.encode()),
            ]
        inner = dict(scope, headers=headers)
        if scope["type"] == "websocket":
            receive = self._watched(receive, headers)
        await self.app(inner, receive, _with_headers(send))

    def _watched(self, receive: Receive, headers: Headers) -> Receive:
        """A websocket's receive that ends when the invitation behind it has been withdrawn."""

        async def watched() -> MutableMapping[str, Any]:
            """The next message, or the end."""
            message = await receive()
            if message["type"] == "websocket.receive" and await self._person(headers) is None:
                return {"type": "websocket.disconnect", "code": 4401, "reason": "signed out"}
            return message

        return watched

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):
            token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            await _answer(send, 200, static_pages.start(token[:200], f"{self._prefix}{ENTER}"))
            return
        if scope["method"] != "POST":
            await self._refuse(scope, receive, send, 403, NOT_YOURS)
            return
        token = parse_qs((await _body(receive, 4096)).decode("latin-1")).get("token", [""])[0]
        token_hash = participant_table.token_hash(token)
        person = await self._roster.person(token_hash, sure=True)
        if person is None:
            await self._refuse(scope, receive, send, 403, LINK_ENDED)
            return
        await asyncio.wrap_future(
            self._appends.submit(lambda con: participant_table.entered(con, person.code))
        )
        await _answer(
            send,
            303,
            b"",
            [(b"location", self._home), self._signed_in(scope, person.code, token_hash)],
        )

    async def _institution(
        self, scope: Scope, send: Send, headers: Headers, provider: oidc.Provider
    ) -> None:
        """Sign a member of the team in through the institution: away to the provider, and back."""
        kept = f"{self._cookies.name}_oidc"
        lax = f"Path={self._prefix}{oidc.BEGIN}; HttpOnly; SameSite=Lax" + self._secure(scope)
        again = (f"{self._prefix}{oidc.BEGIN}", "Begin again")
        try:
            if scope["path"] == oidc.BEGIN:
                where, value = await asyncio.to_thread(provider.begin)
                await _answer(
                    send,
                    303,
                    b"",
                    [
                        (b"location", where.encode()),
                        (b"set-cookie", f"{kept}={value}; {lax}; Max-Age={oidc.STATE_S}".encode()),
                    ],
                )
                return
            query = {
                name: values[0]
                for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()
            }
            code = await asyncio.to_thread(provider.finish, query, _cookie(headers, kept))
            token_hash = await self._roster.invitation_of(code, "team")
            if token_hash is None:
                raise oidc.Refusal(
                    "You are in this server's list, but the research team has ended your"
                    " invitation, or has given you another role."
                )
            await asyncio.wrap_future(
                self._appends.submit(lambda con: participant_table.entered(con, code))
            )
        except oidc.Refusal as refusal:
            await _answer(
                send,
                403,
                static_pages.sentence("Not signed in", str(refusal), again),
                [(b"set-cookie", f"{kept}=; {lax}; Max-Age=0".encode())],
            )
            return
        # No redirect: the browser came from another site, and would not send the new cookie along
        # with it.
        page = static_pages.sentence(
            "You are signed in",
            f"As {code}, a member of the research team.",
            (self._home.decode(), "Open the study"),
        )
        await _answer(
            send,
            200,
            page,
            [
                self._signed_in(scope, code, token_hash),
                (b"set-cookie", f"{kept}=; {lax}; Max-Age=0".encode()),
            ],
        )

    @property
    def _home(self) -> bytes:
        return f"{self._prefix}/".encode()

    def _signed_in(self, scope: Scope, code: str, token_hash: str) -> tuple[bytes, bytes]:
        """The session's cookie; over TLS (the proxy says so in X-Forwarded-Proto, which uvicorn
        believes of FORWARDED_ALLOW_IPS) for TLS only.
        """
        kept = (
            f"Path={self._prefix}/; HttpOnly; SameSite=Strict;"
            f" Max-Age={COOKIE_S}{self._secure(scope)}"
        )
        return (
            b"set-cookie",
            f"{self._cookies.name}={self._cookies.make(code, token_hash)}; {kept}".encode(),
        )

    def _secure(self, scope: Scope) -> str:
        return "; Secure" if scope.get("scheme") == "https" else ""

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, status: int, what: tuple[str, str]
    ) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4000 + status, "reason": what[0]})
        else:
            link = (
                (f"{self._prefix}{oidc.BEGIN}", "Sign in through your institution")
                if what == SIGN_IN and self._provider
                else None
            )
            await _answer(send, status, static_pages.sentence(*what, link))


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        """Pass on, with our headers in place of the server's own."""
        if message["type"] == "http.response.start":
            kept = [
                (k, v)
                for k, v in message.get("headers", [])
                if k.lower() not in {name for name, _ in SECURITY_HEADERS} | {b"server"}
            ]
            message = dict(message, headers=[*kept, *SECURITY_HEADERS])
        await send(message)

    return sending


async def _answer(send: Send, status: int, body: bytes, more: Headers | None = None) -> None:
    sending = _with_headers(send)
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
        *(more or []),
    ]
    await sending({"type": "http.response.start", "status": status, "headers": headers})
    await sending({"type": "http.response.body", "body": body})


async def _body(receive: Receive, most: int) -> bytes:
    """A request's body, cut at `most` bytes."""
    body = b""
    while len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:most]
