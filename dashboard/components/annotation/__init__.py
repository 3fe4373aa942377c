"""The annotation page as one component: grid, film, form, queue.

Mounted once; it talks to its own routes.
"""

from __future__ import annotations

from core import birads_lexicon
from dashboard.components.annotation import audit_routes, routes
from dashboard.components.http import source
from dashboard.server import context

ROUTES = [*routes.ROUTES, *audit_routes.ROUTES]
__all__ = ["ROUTES", "mount"]


def mount() -> None:
    """Show the page.

    Nothing about the unit is in the mount: it is fetched by the person's own session.
    """
    import streamlit as st

    component = st.components.v2.component(
        "expert_annotate",
        html=source("annotation", "annotation.html"),
        css=source("", "design_tokens.css") + source("annotation", "annotation.css"),
        js=source("", "session.js")
        + source("", "viewer.js")
        + "".join(
            source("annotation", f"{n}.js") for n in ("mammogram", "form", "audit", "annotation")
        ),
    )
    component(
        key="expert",
        data={"lexicon": birads_lexicon.as_data(), "prefix": context.prefix()},
        height="content",
    )
