"""The reading page as one component.

Mounted once, with nothing but the server's path; it talks to its own routes.
"""

from __future__ import annotations

from dashboard.components.http import source
from dashboard.components.reading.routes import ROUTES
from dashboard.server import context

__all__ = ["ROUTES", "mount"]


def mount() -> None:
    """Show the page."""
    import streamlit as st

    component = st.components.v2.component(
        "expert_read",
        html=source("reading", "reading.html"),
        css=source("", "design_tokens.css") + source("reading", "reading.css"),
        js=source("", "session.js") + source("", "viewer.js") + source("reading", "reading.js"),
    )
    component(key="expert", data={"prefix": context.prefix()}, height="content")
