"""The reading page as one component.

Mounted once, with nothing but the server's path; it talks to its own routes.
"""

from __future__ import annotations

from dashboard import study
from dashboard.components.expert import source
from dashboard.components.read.routes import ROUTES

__all__ = ["ROUTES", "mount"]


def mount() -> None:
    """Show the page."""
    import streamlit as st

    component = st.components.v2.component(
        "expert_read",
        html=source("read", "read.html"),
        css=source("", "tokens.css") + source("read", "read.css"),
        js=source("", "desk.js") + source("", "viewer.js") + source("read", "read.js"),
    )
    component(key="expert", data={"prefix": study.prefix()}, height="content")
