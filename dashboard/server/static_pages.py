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
    page = _TEMPLATE.render({"link": None, "token": None, **values})
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})


def message_page(
    title: str, text: str, status: int = 200, link: PageLink | None = None
) -> HTMLResponse:
    """Return a page with a title, a text and optionally one link."""
    return _render(status, title=title, text=text, link=link)


def sign_in_page(token: str, action: str) -> HTMLResponse:
    """Return the page of an invitation link; its button posts the token to `action`.

    Only the POST signs in. Webmail opens links from another site, and a SameSite=Strict cookie
    set by that GET would not accompany the next request.
    """
    text = "You have been invited. Press Start to sign in on this device."
    return _render(200, title="DeepMiner", text=text, token=token, action=action)


async def refuse(
    scope: Scope, receive: Receive, send: Send, refusal: Refusal, link: PageLink | None = None
) -> None:
    """Answer a request with the refusal's page, or close a websocket with code 4000 + status."""
    if scope["type"] == "websocket":
        await receive()
        code, reason = 4000 + refusal.status, refusal.title
        await send({"type": "websocket.close", "code": code, "reason": reason})
        return
    page = message_page(refusal.title, refusal.text, refusal.status, link)
    await page(scope, receive, send)
