"""A unit's top patches as tiles, and the mammogram of the tile under the pointer.

Both are placed by the page in columns of their own. Hovering or focusing a tile shows its position
without a request to the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboard.components.http import component_source


def show_patch_tiles(items: Sequence[dict[str, Any]], *, key: str, columns: int = 8) -> None:
    """Show patches as wide as their column allows; the key H toggles the highlighted region.

    Each item holds name, tile, plain and mammogram (image addresses), aspect (width to height), box
    [x, y, width, height] in shares of the mammogram's sides, and the texts left, right and note.
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_tiles",
        html='<div class="grid"></div>',
        css=component_source("patch_tiles", "patch_tiles.css"),
        js=component_source("patch_tiles", "patch_tiles.js"),
    )
    component(key=key, data={"items": list(items), "columns": columns}, height="content")


def show_patch_mammogram(item: dict[str, Any], *, key: str, height: int) -> None:
    """Show the mammogram of an item of `show_patch_tiles`, then of the tile under the pointer.

    height: in pixels on a screen 640 px high, in proportion on taller screens.
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_patch_mammogram",
        html=(
            '<div class="side"><div class="mammogram"><img alt=""><i></i></div>'
            '<div class="line"></div><div class="note"></div></div>'
        ),
        css=component_source("patch_tiles", "patch_tiles.css"),
        js=component_source("patch_tiles", "patch_mammogram.js"),
    )
    component(key=key, data={"item": item, "height": height}, height="content")
