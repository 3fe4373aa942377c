"""Sign-in with an invitation link, the session that every way of signing in begins, sign-out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.errors import UserError
from core.store import participant_table, run_table
from core.store.connection import StoreLockedError
from core.store.participant_table import Participant
from dashboard.server import context
from dashboard.server.access_control import SIGN_IN_PATH, SIGN_OUT_PATH
from dashboard.server.invitations import invitation_cache
from dashboard.server.sessions import SessionCookies
from dashboard.server.sign_in_limits import WINDOW_S, SignInLimit
from dashboard.server.static_pages import (
    LINK_INVALID,
    OTHER_SESSION,
    SERVER_BUSY,
    SIGN_IN_UNAVAILABLE,
    SIGNED_OUT,
    TOO_MANY_ATTEMPTS,
    PageLink,
    Refusal,
    message_page,
    refusal_page,
    sign_in_page,
    sign_out_page,
)

# The form has one short field. Starlette refuses larger ones before it stores them.
MAX_FORM_FIELDS, MAX_FIELD_BYTES = 4, 4096
FAILED_SIGN_IN = "sign-in refused"


class SignIn:
    """Begin and end sessions of one study."""

    def __init__(self, path: Path) -> None:
        self.secret = context.study_secret(path)
        self.invitations = invitation_cache(path)
        self.cookies = SessionCookies(self.secret)
        self.home = f"{context.url_prefix()}/"
        self.limit = SignInLimit()
        self._writer = context.group_commit_writer(path)
        self._sign_out_address = f"{context.url_prefix()}{SIGN_OUT_PATH}"

    async def begin_session(
        self, request: Request, response: Response, code: str, token_hash: str
    ) -> Response:
        """Record the sign-in and add the session cookie to a response.

        The cookie is limited to TLS where the request came over TLS. Behind a proxy, uvicorn takes
        the scheme from X-Forwarded-Proto of the hosts in FORWARDED_ALLOW_IPS. Where the sign-in
        cannot be recorded (a full disk, a busy store) a page that says so takes the response's
        place.
        """
        recorded = self._writer.submit(lambda con: participant_table.record_sign_in(con, code))
        try:
            await asyncio.wrap_future(recorded)
        except UserError as error:
            return _unavailable(error)
        secure = request.url.scheme == "https"
        self.cookies.set_cookie(response, code, token_hash, path=self.home, secure=secure)
        return response

    def limit_refusal(self, request: Request) -> Response | None:
        """Return the refusal of an address with too many failed sign-ins, or None."""
        if not self.limit.is_exceeded(_client_address(request)):
            return None
        page = refusal_page(TOO_MANY_ATTEMPTS)
        page.headers["Retry-After"] = str(round(WINDOW_S))
        return page

    async def record_failure(
        self, request: Request, reason: str, limit: SignInLimit | None = None
    ) -> None:
        """Count a failed sign-in and write it to the study's log, up to the limit of an address.

        limit: the counts to add to; those of links where none is given. The log holds a keyed hash
        of the address, which tells whether two attempts came from one address and not from which.
        """
        address, counts = _client_address(request), limit or self.limit
        if counts.is_exceeded(address):
            return
        counts.record_failure(address)
        name = hmac.new(self.secret, f"address|{address}".encode(), hashlib.sha256).hexdigest()[:12]
        recorded = self._writer.submit(
            lambda con: run_table.append_log(con, "", FAILED_SIGN_IN, f"{reason}, address {name}")
        )
        try:
            await asyncio.wrap_future(recorded)
        except UserError as error:  # the refusal itself does not depend on the record
            logging.getLogger(__name__).warning("a failed sign-in was not recorded: %s", error)

    async def invitation(self, request: Request) -> Response:
        """Answer an invitation link: GET shows the Start button, POST signs in."""
        if request.method != "POST":
            action = f"{context.url_prefix()}{SIGN_IN_PATH}"
            return sign_in_page(request.query_params.get("token", "")[:200], action)
        limited = self.limit_refusal(request)
        if limited is not None:
            return limited
        async with request.form(
            max_files=0, max_fields=MAX_FORM_FIELDS, max_part_size=MAX_FIELD_BYTES
        ) as form:
            token_hash = participant_table.hash_token(str(form.get("token", "")))
        try:
            participant = await self.invitations.participant(token_hash, immediately=True)
            present = await self.invitations.participant_of(self.cookies.read(request))
        except UserError as error:
            return _unavailable(error)
        if participant is None:
            await self.record_failure(request, "link not valid")
            return refusal_page(LINK_INVALID)
        if _belongs_to_expert(participant, present):
            return refusal_page(OTHER_SESSION, PageLink(self._sign_out_address, "Sign out"))
        response = RedirectResponse(self.home, 303)
        return await self.begin_session(request, response, participant.code, token_hash)

    async def sign_out(self, request: Request) -> Response:
        """End the session of this browser: GET shows the button, POST signs out."""
        if request.method != "POST":
            return sign_out_page(self._sign_out_address)
        session = self.cookies.read(request)
        if session is not None:
            name = session.name
            ended = self._writer.submit(lambda con: participant_table.end_session(con, name))
            try:
                await asyncio.wrap_future(ended)
                await asyncio.to_thread(self.invitations.refresh)
            except UserError as error:  # without its cookie the browser is signed out all the same
                logging.getLogger(__name__).warning("a sign-out was not recorded: %s", error)
        page = message_page(SIGNED_OUT.title, SIGNED_OUT.text)
        page.delete_cookie(self.cookies.name, self.home)
        return page

    def routes(self) -> list[Route]:
        """Return the routes of invitation links and of signing out."""
        return [
            Route(SIGN_IN_PATH, self.invitation, methods=["GET", "POST"]),
            Route(SIGN_OUT_PATH, self.sign_out, methods=["GET", "POST"]),
        ]


def _client_address(request: Request) -> str:
    return request.client.host if request.client else ""


def _belongs_to_expert(participant: Participant, present: Participant | None) -> bool:
    """Return whether an expert's link was opened where a member of the team is signed in."""
    # The expert would go on in the team's browser, or the team see what the expert sees.
    return present is not None and present.role == "team" and participant.role != "team"


def _unavailable(error: UserError) -> Response:
    """Return the page of a sign-in that cannot be stored; the log has the error and its path."""
    logging.getLogger(__name__).error("a sign-in was not possible: %s", error)
    refusal: Refusal = SERVER_BUSY if isinstance(error, StoreLockedError) else SIGN_IN_UNAVAILABLE
    return refusal_page(refusal)
