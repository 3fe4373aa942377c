"""Sign-in with an invitation link, and the session that every way of signing in begins."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.store import participant_table
from dashboard.server import context
from dashboard.server.access_control import SIGN_IN_PATH
from dashboard.server.invitations import invitation_cache
from dashboard.server.sessions import SessionCookies
from dashboard.server.static_pages import LINK_INVALID, message_page, sign_in_page

# The form has one short field. Starlette refuses larger ones before it stores them.
MAX_FORM_FIELDS, MAX_FIELD_BYTES = 4, 4096


class SignIn:
    """Begin sessions of one study."""

    def __init__(self, path: Path) -> None:
        self.secret = context.study_secret(path)
        self.invitations = invitation_cache(path)
        self.cookies = SessionCookies(self.secret)
        self.home = f"{context.url_prefix()}/"
        self._writer = context.group_commit_writer(path)

    async def begin_session(
        self, request: Request, response: Response, code: str, token_hash: str
    ) -> Response:
        """Record the sign-in and add the session cookie to a response.

        The cookie is limited to TLS where the request came over TLS. Behind a proxy, uvicorn takes
        the scheme from X-Forwarded-Proto of the hosts in FORWARDED_ALLOW_IPS.
        """
        recorded = self._writer.submit(lambda con: participant_table.record_sign_in(con, code))
        await asyncio.wrap_future(recorded)
        secure = request.url.scheme == "https"
        self.cookies.set_cookie(response, code, token_hash, path=self.home, secure=secure)
        return response

    async def invitation(self, request: Request) -> Response:
        """Answer an invitation link: GET shows the Start button, POST signs in."""
        if request.method != "POST":
            action = f"{context.url_prefix()}{SIGN_IN_PATH}"
            return sign_in_page(request.query_params.get("token", "")[:200], action)
        async with request.form(
            max_files=0, max_fields=MAX_FORM_FIELDS, max_part_size=MAX_FIELD_BYTES
        ) as form:
            token_hash = participant_table.hash_token(str(form.get("token", "")))
        participant = await self.invitations.participant(token_hash, immediately=True)
        if participant is None:
            return message_page(LINK_INVALID.title, LINK_INVALID.text, LINK_INVALID.status)
        response = RedirectResponse(self.home, 303)
        return await self.begin_session(request, response, participant.code, token_hash)

    def routes(self) -> list[Route]:
        """Return the routes of invitation links."""
        return [Route(SIGN_IN_PATH, self.invitation, methods=["GET", "POST"])]
