"""The annotation page as one component: patches, mammogram, form and queue.

It is mounted once and then uses its own routes.
"""

from __future__ import annotations

from core import store
from core.lexicon import annotation_answers
from core.store import dataset_table
from dashboard.components.annotation import audit_routes, routes
from dashboard.components.http import component_source
from dashboard.server import context

ANNOTATOR_ROUTES = [*routes.ANNOTATION_ROUTES, *audit_routes.AUDIT_ROUTES]
_SCRIPTS = ("mammogram", "form", "audit", "annotation")


def mount_annotation() -> None:
    """Show the page; the component requests the unit's data in the annotator's own session."""
    import streamlit as st

    # Streamlit takes one script a component: the files share one scope, in this order.
    scripts = [component_source("", "session.js"), component_source("", "viewer.js")]
    scripts += [component_source("annotation", f"{name}.js") for name in _SCRIPTS]
    styles = [component_source("", "design_tokens.css")]
    styles += [component_source("annotation", "annotation.css")]
    component = st.components.v2.component(
        "expert_annotate",
        html=component_source("annotation", "annotation.html"),
        css="".join(styles),
        js="".join(scripts),
    )
    with store.read(context.served_study()) as con:
        lexicon = dataset_table.load_lexicon(con)
    component(
        key="expert",
        data={"lexicon": annotation_answers.lexicon_data(lexicon), "prefix": context.url_prefix()},
        height="content",
    )
