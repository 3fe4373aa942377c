"""The annotation page as one component: grid, film, form, queue.

Mounted once; it talks to its own routes.
"""

from __future__ import annotations

from core import lexicon
from dashboard import study
from dashboard.components.annotate import audit_routes, routes
from dashboard.components.expert import source

ROUTES = [*routes.ROUTES, *audit_routes.ROUTES]
__all__ = ["ROUTES", "mount"]


def mount() -> None:
    """Show the page.

    Nothing about the unit is in the mount: it is fetched by the person's own session.
    """
    import streamlit as st

    component = st.components.v2.component(
        "expert_annotate",
        html=source("annotate", "annotate.html"),
        css=source("", "tokens.css") + source("annotate", "annotate.css"),
        js=source("", "desk.js")
        + source("", "viewer.js")
        + "".join(source("annotate", f"{n}.js") for n in ("film", "form", "audit", "annotate")),
    )
    component(
        key="expert",
        data={"lexicon": lexicon.as_data(), "prefix": study.prefix()},
        height="content",
    )
