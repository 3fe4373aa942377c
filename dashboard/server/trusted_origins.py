"""Middleware that checks the host name and the origin of every request."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.server.static_pages import FOREIGN_ORIGIN, UNKNOWN_HOST, refuse

# RFC 9110 7.2: a name or an address, and optionally a port; no user information.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")


def host_name(header: str) -> str | None:
    """Return the lower-case name or address in a Host header without the port; None if malformed.

    Examples
    --------
    >>> host_name("Localhost.:8501"), host_name("[::1]:80"), host_name("user@127.0.0.1")
    ('localhost', '::1', None)
    """
    match = _HOST.fullmatch(header)
    if match is None:
        return None
    # The dot ends a fully qualified name.
    return match["ipv6"] or match["name"].lower().removesuffix(".")


class TrustedOriginMiddleware:
    """Refuse requests for unknown host names and state-changing requests from other sites.

    `hosts` are the names of this server. With `allow_addresses` plain IP addresses are accepted
    too: DNS rebinding, the attack against which host names are checked, requires a name.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], allow_addresses: bool = False) -> None:
        self.app = app
        self._names = frozenset(host.lower() for host in hosts)
        self._allow_addresses = allow_addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not self._has_trusted_host(scope):
            await refuse(scope, receive, send, UNKNOWN_HOST)
        elif not _has_own_origin(scope):
            await refuse(scope, receive, send, FOREIGN_ORIGIN)
        else:
            await self.app(scope, receive, send)

    def _has_trusted_host(self, scope: Scope) -> bool:
        sent = Headers(scope=scope).getlist("host")
        name = host_name(sent[0]) if len(sent) == 1 else None
        if name is None:
            return False
        return name in self._names or (self._allow_addresses and _is_ip_address(name))


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
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
