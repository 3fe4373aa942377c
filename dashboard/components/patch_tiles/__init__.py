"""A unit's top patches as tiles beside the mammogram of the selected patch.

Hovering or focusing a tile shows its position without a request to the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.components.http import component_source


def show_patch_tiles(
    items: Sequence[dict[str, Any]],
    *,
    key: str,
    columns: int = 8,
    tile: int = 72,
    mammogram_width: int = 348,
    mammogram_height: int = 432,
) -> None:
    """Show patches; the key H toggles the highlighted region.

    Each item holds tile, plain and mammogram (image addresses), aspect (width to height), box
    [x, y, width, height] in shares of the mammogram's sides, and the texts left, right and note.
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_tiles",
        html=(
            '<div class="wrap"><div class="grid"></div><div class="side"><div class="mammogram">'
            '<img alt=""><i></i></div><div class="line"></div><div class="note"></div></div></div>'
        ),
        css=component_source("patch_tiles", "patch_tiles.css"),
        js=component_source("patch_tiles", "patch_tiles.js"),
    )
    component(
        key=key,
        data={
            "items": list(items),
            "columns": columns,
            "tile": tile,
            "width": mammogram_width,
            "height": mammogram_height,
        },
        height="content",
    )
