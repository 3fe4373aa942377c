"""Middleware that checks the host name and the origin of every request."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.server.static_pages import FOREIGN_ORIGIN, UNKNOWN_HOST, refuse


class TrustedOriginMiddleware:
    """Refuse requests for unknown host names and state-changing requests from other sites.

    `hosts` are the names of this server. With `allow_addresses` plain IP addresses are accepted
    too: DNS rebinding, the attack against which host names are checked, requires a name.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], allow_addresses: bool = False) -> None:
        self.app = app
        names = [f"[{host}]" if ":" in host else host for host in hosts]
        self._names = [*names, *(f"{name}." for name in names)]  # the dot ends a qualified name
        self._allow_addresses = allow_addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not await self._has_trusted_host(scope):
            await refuse(scope, receive, send, UNKNOWN_HOST)
        elif not _has_own_origin(scope):
            await refuse(scope, receive, send, FOREIGN_ORIGIN)
        else:
            await self.app(scope, receive, send)

    async def _has_trusted_host(self, scope: Scope) -> bool:
        if self._allow_addresses and _is_ip_address(Headers(scope=scope).get("host", "")):
            return True
        trusted = False

        async def accept(*_: object) -> None:
            """Take the place of the application behind Starlette's check."""
            nonlocal trusted
            trusted = True

        async def discard(message: Message) -> None:
            """Drop Starlette's plain-text refusal: `refuse` sends a page with the remedy."""

        async def receive_nothing() -> Message:
            return {"type": "http.disconnect"}

        check = TrustedHostMiddleware(accept, self._names, www_redirect=False)
        await check(scope, receive_nothing, discard)
        return trusted


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True


def _has_own_origin(scope: Scope) -> bool:
    """Return whether a request is safe, without an Origin header, or from this server's pages.

    Browsers send the header with every POST and with every websocket.
    """
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
        return True
    headers = Headers(scope=scope)
    origin = headers.get("origin", "")
    return not origin or urlsplit(origin).netloc == headers.get("host", "")
