"""The reading page in a browser without a server: its own files, and replies from a list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dashboard.components.http import component_source

ORIGIN = "http://reading.test"
_SCRIPTS = (
    ("", "session.js"),
    ("", "viewer.js"),
    ("reading", "films.js"),
    ("reading", "questions.js"),
    ("reading", "reading.js"),
)
_BACKGROUNDS = {"light": "#ffffff", "dark": "#121517"}


def reading_document(theme: str = "light") -> str:
    """Return the page's HTML, CSS and scripts as one document."""
    scripts = "".join(component_source(*name) for name in _SCRIPTS)
    scripts = scripts.replace("export default function", "const mount = function")
    styles = component_source("", "design_tokens.css") + component_source("reading", "reading.css")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Reading</title>
<style>body{{margin:0;--st-background-color:{_BACKGROUNDS[theme]}}}{styles}</style>
<div id="host">{component_source("reading", "reading.html")}</div>
<script type="module">{scripts}
mount({{ parentElement: document.getElementById("host"), data: {{ prefix: "" }} }});
</script></html>"""


class ScriptedReading:
    """Replies to the page by its own list, and keeps what the page sends.

    Parameters
    ----------
    page : playwright.sync_api.Page
        The page; `open` loads it.
    reply : callable
        Takes the route after `/expert/read/` and the body of the request, and returns the reply,
        or status and reply.
    images : mapping
        JPEG bytes by address.
    """

    def __init__(
        self, page: Any, reply: Callable[[str, dict[str, Any]], Any], images: dict[str, bytes]
    ) -> None:
        self.page, self._reply, self._images = page, reply, images
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def open(self, theme: str = "light") -> None:
        """Load the page."""
        document = reading_document(theme)

        def answer(route: Any) -> None:
            """Fulfil one request."""
            path = route.request.url.removeprefix(ORIGIN)
            if path == "/":
                route.fulfill(body=document, content_type="text/html")
            elif path.startswith("/expert/read/"):
                body = json.loads(route.request.post_data or "{}")
                name = path.removeprefix("/expert/read/")
                self.sent.append((name, body))
                reply = self._reply(name, body)
                status, reply = reply if isinstance(reply, tuple) else (200, reply)
                route.fulfill(status=status, json=reply)
            elif path in self._images:
                route.fulfill(body=self._images[path], content_type="image/jpeg")
            else:
                route.fulfill(body="")

        self.page.route("**/*", answer)
        self.page.goto(ORIGIN + "/")
