"""A unit's top patches as tiles beside the mammogram they come from: hovering or focusing a tile
shows its place, without a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.components.http import source


def show(
    items: Sequence[dict[str, Any]],
    *,
    key: str,
    columns: int = 8,
    tile: int = 72,
    film_width: int = 348,
    film_height: int = 432,
) -> None:
    """Items of {tile, plain (urls), film (url), aspect, box [x, y, w, h] in 0..1, left, right,
    note}. H toggles the highlighted region.
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_tiles",
        html=(
            '<div class="wrap"><div class="grid"></div><div class="side"><div class="film"><img'
            ' alt=""><i></i></div><div class="line"></div><div class="note"></div></div></div>'
        ),
        css=source("patch_tiles", "patch_tiles.css"),
        js=source("patch_tiles", "patch_tiles.js"),
    )
    component(
        key=key,
        data={
            "items": list(items),
            "columns": columns,
            "tile": tile,
            "width": film_width,
            "height": film_height,
        },
        height="content",
    )
