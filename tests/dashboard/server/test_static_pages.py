"""Status, title and text of the pages outside Streamlit."""

from __future__ import annotations

import pytest

from dashboard.server import static_pages
from dashboard.server.static_pages import PageLink, Refusal, refusal_page

# Status and title; how the text begins, which gives the reason or the remedy.
REFUSALS = {
    "SESSION_REQUIRED": (401, "Please sign in", "Open the link that was sent to you."),
    "LINK_INVALID": (403, "This link is not valid", "It was mistyped, replaced or withdrawn."),
    "NOT_INVITED": (403, "Not part of your invitation", "This address is not open to you."),
    "SERVER_BUSY": (503, "The server is busy", "It has just started, and a command"),
    "SIGN_IN_UNAVAILABLE": (
        503,
        "Signing in is not possible at the moment",
        "The server cannot store anything right now.",
    ),
    "TOO_MANY_ATTEMPTS": (429, "Too many attempts", "Several links that are not valid were"),
    "OTHER_SESSION": (409, "Sign out first", "A member of the research team is signed in"),
    "SIGNED_OUT": (200, "You are signed out", "What you entered is kept."),
    "UNKNOWN_HOST": (400, "Unknown address", "This server does not answer under that name."),
    "FOREIGN_ORIGIN": (403, "Request from another site", "The request did not come from"),
}


def test_every_refusal_is_listed() -> None:
    names = {name for name, value in vars(static_pages).items() if isinstance(value, Refusal)}
    assert names == set(REFUSALS)


@pytest.mark.parametrize("name", REFUSALS)
def test_page_of_a_refusal(name: str) -> None:
    status, title, start = REFUSALS[name]
    page = refusal_page(getattr(static_pages, name))
    body = bytes(page.body).decode()
    assert page.status_code == status and page.headers["cache-control"] == "no-store"
    assert f"<title>{title}</title>" in body and f"<h1>{title}</h1>" in body
    assert f"<p>{start}" in body and "<form" not in body and 'class="link"' not in body


def test_link_and_forms() -> None:
    refusal = static_pages.OTHER_SESSION
    linked = bytes(refusal_page(refusal, PageLink("/leave?a=<b>", "Sign <out>")).body).decode()
    assert '<a class="link" href="/leave?a=&lt;b&gt;">Sign &lt;out&gt;</a>' in linked
    sign_in = bytes(static_pages.sign_in_page('t"o', "/enter").body).decode()
    assert '<form method="post" action="/enter">' in sign_in
    assert '<input type="hidden" name="token" value="t&#34;o">' in sign_in
    sign_out = bytes(static_pages.sign_out_page("/leave").body).decode()
    assert '<form method="post" action="/leave">' in sign_out and "<input" not in sign_out
