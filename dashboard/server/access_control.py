"""Middleware that admits requests with a valid session and states their role in a header.

It is plain ASGI, so that media, static files and the websocket are checked as pages are.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import UserError
from core.store.participant_table import Participant
from dashboard.server import context
from dashboard.server.identity import CODE_HEADER, ROLE_HEADER
from dashboard.server.invitations import invitation_cache
from dashboard.server.sessions import SessionCookies
from dashboard.server.static_pages import (
    NOT_INVITED,
    SERVER_BUSY,
    SESSION_REQUIRED,
    PageLink,
    Refusal,
    refuse,
)

SIGN_IN_PATH, SIGN_OUT_PATH = "/enter", "/sign-out"
# Streamlit serves the first page of a role at "/" and reports that page's own name as unknown.
LANDING_PAGE = {"team": "/overview", "annotator": "/annotate", "reader": "/read"}
_HEALTH_PATH = "/_stcore/health"
_STREAMLIT_PATHS = (
    r"/|/_stcore/(health|stream|host-config)|/static/.+|/app/static/inter\.woff2"
    r"|/favicon\.(png|ico|svg)|/manifest\.json"
)
_EXPERT_PATHS = {
    "annotator": re.compile(
        rf"{_STREAMLIT_PATHS}|/annotate|/image/[A-Za-z0-9_-]+|/expert/annotate/[a-z]+"
    ),
    "reader": re.compile(rf"{_STREAMLIT_PATHS}|/read|/image/[A-Za-z0-9_-]+|/expert/read/[a-z]+"),
}


def is_allowed(role: str, path: str) -> bool:
    """Return whether a role may request a path.

    The team may request every path except the routes of the experts' pages.
    """
    # The server behind may normalise such paths, after which they would be others.
    if "/.." in path or "\\" in path or "//" in path:
        return False
    if role == "team":
        return not path.startswith("/expert/")
    return role in _EXPERT_PATHS and _EXPERT_PATHS[role].fullmatch(path) is not None


class AccessControlMiddleware:
    """Pass on requests of participants with a valid invitation.

    `sign_in_paths` are served without a session; `institution_link` is offered on the page that
    asks to sign in.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: Path,
        sign_in_paths: Collection[str] = (SIGN_IN_PATH, SIGN_OUT_PATH),
        institution_link: PageLink | None = None,
    ) -> None:
        self.app = app
        self._invitations = invitation_cache(path)
        self._cookies = SessionCookies(context.study_secret(path))
        self._prefix = context.url_prefix()
        self._sign_in_paths = frozenset(sign_in_paths)
        self._institution_link = institution_link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope = _without_identity(_without_prefix(scope, self._prefix))
        try:
            participant = await self._participant(scope)
        except UserError:  # the invitations could not be loaded yet
            await refuse(scope, receive, send, SERVER_BUSY)
            return
        refusal = self._refusal(scope, participant)
        if refusal is not None:
            link = self._institution_link if refusal is SESSION_REQUIRED else None
            await refuse(scope, receive, send, refusal, link)
        elif participant is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == LANDING_PAGE[participant.role]:
            await RedirectResponse(f"{self._prefix}/", 303)(scope, receive, send)
        else:
            receive = self._ending_with_session(scope, receive)
            await self.app(_with_identity(scope, participant), receive, send)

    async def _participant(self, scope: Scope) -> Participant | None:
        return await self._invitations.participant_of(self._cookies.read(HTTPConnection(scope)))

    def _refusal(self, scope: Scope, participant: Participant | None) -> Refusal | None:
        path = scope["path"]
        if scope["type"] == "http" and path in self._sign_in_paths:
            return None
        if participant is None:
            return None if path == _HEALTH_PATH else SESSION_REQUIRED
        return None if is_allowed(participant.role, path) else NOT_INVITED

    def _ending_with_session(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that ends a websocket once the invitation has been withdrawn."""

        async def receive_while_invited() -> Message:
            """Return the next message, or a disconnect."""
            message = await receive()
            if message["type"] == "websocket.receive" and await self._participant(scope) is None:
                return {"type": "websocket.disconnect", "code": 4401, "reason": "signed out"}
            return message

        return receive_while_invited


def _without_prefix(scope: Scope, prefix: str) -> Scope:
    """Return the scope without the proxy's path prefix; some proxies remove it themselves."""
    if not prefix or not scope["path"].startswith(f"{prefix}/"):
        return scope
    path = scope["path"][len(prefix) :]
    return {**scope, "path": path, "raw_path": path.encode()}


def _without_identity(scope: Scope) -> Scope:
    """Return the scope without identity headers of the client.

    Underscores count as dashes, because WSGI-style servers do not distinguish the two.
    """
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if not name.lower().replace(b"_", b"-").startswith(b"x-auth-")
    ]
    return {**scope, "headers": headers}


def _with_identity(scope: Scope, participant: Participant) -> Scope:
    identity = [
        (ROLE_HEADER.encode(), participant.role.encode()),
        (CODE_HEADER.encode(), participant.code.encode()),
    ]
    return {**scope, "headers": [*scope["headers"], *identity]}
