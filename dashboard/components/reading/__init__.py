"""The reading page as one component.

It is mounted once, with only the server's path prefix, and then uses its own routes.
"""

from __future__ import annotations

from dashboard.components.http import component_source
from dashboard.components.reading.routes import READING_ROUTES
from dashboard.server import context

__all__ = ["READING_ROUTES", "mount_reading"]


def mount_reading() -> None:
    """Show the page."""
    import streamlit as st

    # Streamlit takes one script a component: the files share one scope, in this order.
    scripts = [component_source("", name) for name in ("session.js", "viewer.js")]
    scripts += [
        component_source("reading", name) for name in ("films.js", "questions.js", "reading.js")
    ]
    component = st.components.v2.component(
        "expert_read",
        html=component_source("reading", "reading.html"),
        css=component_source("", "design_tokens.css") + component_source("reading", "reading.css"),
        js="".join(scripts),
    )
    component(key="expert", data={"prefix": context.url_prefix()}, height="content")
