"""Mammograms side by side with outlines, patches and heat maps on one scale.

The wheel zooms, dragging changes window and level, a double click resets, the keys O and P toggle
outlines and patches. Only a zoom beyond the pixels of the working image needs a request: for the
image at source resolution.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dashboard.components.http import component_source


@dataclass(frozen=True, kw_only=True)
class Box:
    """A patch on a mammogram, in shares of its width and height.

    kind: style of a class, or mark; text: shown while the pointer is over the box; color: of the
    line, "" for that of the kind.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str = ""
    color: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One mammogram.

    url: address of its image; width, height: of the working image; source: address of the image at
    source resolution, "" without one; outlines: polygons [n, 2] in
    working-image pixels; nested: inner outlines; heat: float [h, w] in 0..1 of the scale shown
    below, or None; scale: the labels at the two ends of the color scale; ramp: colours of the heat,
    "probability" or "contribution", which differ because their scales do.
    """

    url: str
    width: int
    height: int
    source: str = ""
    title: str = ""
    right: str = ""
    caption: str = ""
    note: str = ""
    alt: str = "mammogram"
    outlines: Sequence[np.ndarray] = ()
    nested: Sequence[np.ndarray] = ()
    boxes: Sequence[Box] = ()
    heat: np.ndarray | None = field(default=None, repr=False)
    scale: tuple[str, str] | None = None
    ramp: str = "probability"


def _svg_paths(polygons: Sequence[np.ndarray], panel: Panel) -> list[str]:
    """Return SVG paths in a view box of 100 x 100; a pixel's coordinate is its center."""
    scale = np.array([100 / panel.width, 100 / panel.height])
    return [
        "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in (np.asarray(p) + 0.5) * scale) + "Z"
        for p in polygons
    ]


def _heat_data(heat: np.ndarray) -> dict[str, Any]:
    # One byte a cell instead of a JSON number keeps the message to the browser small.
    levels = np.clip(np.nan_to_num(heat) * 255, 0, 255).astype(np.uint8)
    return {
        "w": int(heat.shape[1]),
        "h": int(heat.shape[0]),
        "data": base64.b64encode(levels.tobytes()).decode(),
    }


def panel_data(panel: Panel) -> dict[str, Any]:
    """Return a panel as JSON-compatible data for the browser."""
    return {
        "url": panel.url,
        "source": panel.source,
        "pixels": panel.width,
        "aspect": panel.width / panel.height,
        "title": panel.title,
        "right": panel.right,
        "caption": panel.caption,
        "note": panel.note,
        "alt": panel.alt,
        "outlines": _svg_paths(panel.outlines, panel),
        "nested": _svg_paths(panel.nested, panel),
        "boxes": [vars(box) for box in panel.boxes],
        "heat": None if panel.heat is None else _heat_data(panel.heat),
        "scale": panel.scale,
        "ramp": panel.ramp,
    }


def show_mammograms(
    panels: Sequence[Panel], *, key: str, height: int, patches: bool = False, linked: bool = False
) -> None:
    """Show panels in one row.

    height: of the images in pixels on a screen 640 px high, in proportion on taller screens;
    patches: whether the boxes are visible at first; linked: whether zoom, position, window and
    level of one panel apply to all, for panels of one mammogram.
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_mammograms",
        html='<div class="mammograms"></div>',
        css=component_source("mammograms", "mammograms.css"),
        js=component_source("mammograms", "mammograms.js"),
    )
    component(
        key=key,
        data={
            "panels": [panel_data(p) for p in panels],
            "height": height,
            "patches": patches,
            "linked": linked,
        },
        height="content",
    )
