"""The pages outside Streamlit: the sign-in page of a link, messages and refusals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

_TEMPLATE = Environment(autoescape=True).from_string(
    Path(__file__).with_name("message_page.html").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Refusal:
    """A reason to refuse a request: HTTP status, title of the page and text with the remedy."""

    status: int
    title: str
    text: str


@dataclass(frozen=True)
class PageLink:
    """A link below the text of a page."""

    url: str
    label: str


SESSION_REQUIRED = Refusal(
    401,
    "Please sign in",
    "Open the link that was sent to you. If you have used it before, your session has ended:"
    " open the link again.",
)
LINK_INVALID = Refusal(
    403,
    "This link is not valid",
    "It was mistyped, replaced or withdrawn. Ask the research team for a new one.",
)
NOT_INVITED = Refusal(
    403,
    "Not part of your invitation",
    "This address is not open to you. Go back to the page you came from.",
)
SERVER_BUSY = Refusal(
    503,
    "The server is busy",
    "It has just started, and a command is using the study. Try again in a few seconds.",
)
SIGN_IN_UNAVAILABLE = Refusal(
    503,
    "Signing in is not possible at the moment",
    "The server cannot store anything right now. Try again in a few minutes, and tell the research"
    " team if this page stays.",
)
TOO_MANY_ATTEMPTS = Refusal(
    429,
    "Too many attempts",
    "Several links that are not valid were tried from your network. Wait ten minutes, then open"
    " your own link again.",
)
OTHER_SESSION = Refusal(
    409,
    "Sign out first",
    "A member of the research team is signed in in this browser, and this link belongs to a"
    " participant. Sign out first, or open the link in another browser.",
)
SIGNED_OUT = Refusal(
    200,
    "You are signed out",
    "What you entered is kept. Open your link to sign in again.",
)
UNKNOWN_HOST = Refusal(
    400,
    "Unknown address",
    "This server does not answer under that name. Use the address in your link.",
)
FOREIGN_ORIGIN = Refusal(
    403,
    "Request from another site",
    "The request did not come from this server's own pages and was refused.",
)


def _render(status: int, **values: Any) -> HTMLResponse:
    page = _TEMPLATE.render({"link": None, "token": None, "button": None, **values})
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})


def message_page(
    title: str, text: str, status: int = 200, link: PageLink | None = None
) -> HTMLResponse:
    """Return a page with a title, a text and optionally one link."""
    return _render(status, title=title, text=text, link=link)


def refusal_page(refusal: Refusal, link: PageLink | None = None) -> HTMLResponse:
    """Return the page of a refusal."""
    return message_page(refusal.title, refusal.text, refusal.status, link)


def sign_in_page(token: str, action: str) -> HTMLResponse:
    """Return the page of an invitation link; its button posts the token to `action`.

    Only the POST signs in. Webmail opens links from another site, and a SameSite=Strict cookie
    set by that GET would not accompany the next request.
    """
    text = "You have been invited. Press Start to sign in on this device."
    return _render(200, title="DeepMiner", text=text, button="Start", token=token, action=action)


def sign_out_page(action: str) -> HTMLResponse:
    """Return the page that asks whether to sign out; its button posts to `action`."""
    text = "Sign out in this browser. Other devices stay signed in."
    return _render(200, title="Sign out", text=text, button="Sign out", action=action)


async def refuse(
    scope: Scope, receive: Receive, send: Send, refusal: Refusal, link: PageLink | None = None
) -> None:
    """Answer a request with the refusal's page, or close a websocket with code 4000 + status."""
    if scope["type"] == "websocket":
        await receive()
        code, reason = 4000 + refusal.status, refusal.title
        await send({"type": "websocket.close", "code": code, "reason": reason})
        return
    await refusal_page(refusal, link)(scope, receive, send)
