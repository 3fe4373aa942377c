"""Rows of units: name, top patches, patch classes, label, share of top influences.

A click on a row opens the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.components.http import source


def show(rows: Sequence[dict[str, Any]], *, key: str) -> int | None:
    """Rows of {unit, name, under, tiles (urls), counts {class: patches}, label, source, share,
    images}; the unit that was clicked, or None.
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_gallery",
        html='<div class="gallery"></div>',
        css=source("unit_gallery", "unit_gallery.css"),
        js=source("unit_gallery", "unit_gallery.js"),
    )
    result = component(
        key=key, data={"rows": list(rows)}, height="content", on_open_change=lambda: None
    )
    return None if result.open is None else int(result.open)
