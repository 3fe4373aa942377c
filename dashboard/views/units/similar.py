"""Units that respond like a unit: the most similar ones, and its group."""

from __future__ import annotations

import streamlit as st

from core.class_labels import unit_name
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_result
from dashboard.ui.patch_images import top_patch_urls
from dashboard.views.units.groups import render_group
from evaluation.intervals import decimal
from evaluation.queries import units

_SIMILAR_UNITS = 5
_TILES = 3
_TILE_PIXELS = 96


def render_similar(dissect: str, unit: int) -> None:
    """Render the most similar units with a link to compare each, then the group of the unit."""
    similar = cached_result(units.similar_units, dissect, unit, _SIMILAR_UNITS)
    if similar:
        elements.section_heading("Similar units", "similarity: 1 identical, 0 independent")
    urls = top_patch_urls(dissect, [other.unit for other in similar], _TILES, _TILE_PIXELS)
    for other in similar:
        name = unit_name(other.unit)
        tiles, link = st.columns([3, 2], vertical_alignment="center", gap="small")
        with tiles:
            images = "".join(
                f'<img class="dm-thumbnail" src="{url}" alt="top patch of {name}">'
                for url in urls[other.unit]
            )
            st.html(f'<div title="{name}">{images}</div>')
        label = f"{name}, {decimal(other.similarity, 2)}"
        if link.button(label, key=f"compare_{name}", type="tertiary", help="Compare side by side"):
            st.query_params["with"] = name
            st.rerun()
    render_group(dissect, unit)
