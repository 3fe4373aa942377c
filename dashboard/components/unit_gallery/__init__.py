"""Rows of units: name, top patches, patch classes, label and share of top influences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.components.http import component_source


def show_unit_gallery(rows: Sequence[dict[str, Any]], *, key: str) -> int | None:
    """Show rows of units and return the unit whose row was clicked, or None.

    Each row holds unit, name, under (second line), tiles (image addresses), counts (patches by
    class), label, source, share and facts (further lines of its column).
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_gallery",
        html='<div class="gallery"></div>',
        css=component_source("unit_gallery", "unit_gallery.css"),
        js=component_source("unit_gallery", "unit_gallery.js"),
    )
    # Streamlit delivers a trigger only if its callback exists.
    result = component(
        key=key, data={"rows": list(rows)}, height="content", on_open_change=lambda: None
    )
    return None if result.open is None else int(result.open)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return the shortest beginnings of names that are distinct, with a capital first letter.

    Examples
    --------
    >>> short_names(["normal", "benign"]), short_names(["sky", "stone"])
    ({'normal': 'N', 'benign': 'B'}, {'sky': 'Sk', 'stone': 'St'})
    """
    longest = max(map(len, names))
    length = next(
        (n for n in range(1, longest) if len({name[:n] for name in names}) == len(names)), longest
    )
    return {name: name[:length].capitalize() for name in names}
