"""Mammograms side by side, with what lies on them: outlines, patches, heat maps on one scale.

Wheel zooms, drag changes window and level, a double click resets, O toggles outlines, P patches.
Nothing is asked of the server while looking.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dashboard.components.http import source


@dataclass(frozen=True, kw_only=True)
class Box:
    """A patch on a film, in shares of its width and height. kind: normal, benign, malignant or
    mark; text: shown while hovered.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One film. url: its picture; width, height: of the working image; outlines: polygons [n, 2] in
    working-image pixels; nested: inner outlines; heat: float [h, w] in 0..1 of the scale shown
    beneath, or None; scale: the two ends of the heat's colours as text.
    """

    url: str
    width: int
    height: int
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


def _path(polygons: Sequence[np.ndarray], panel: Panel) -> list[str]:
    scale = np.array([100 / panel.width, 100 / panel.height])
    return [
        "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in (np.asarray(p) + 0.5) * scale) + "Z"
        for p in polygons
    ]


def _heat(values: np.ndarray) -> dict[str, Any]:
    bytes_ = np.clip(np.nan_to_num(values) * 255, 0, 255).astype(np.uint8)
    return {
        "w": int(values.shape[1]),
        "h": int(values.shape[0]),
        "data": base64.b64encode(bytes_.tobytes()).decode(),
    }


def as_data(panel: Panel) -> dict[str, Any]:
    """A panel as plain data for the browser."""
    return {
        "url": panel.url,
        "aspect": panel.width / panel.height,
        "title": panel.title,
        "right": panel.right,
        "caption": panel.caption,
        "note": panel.note,
        "alt": panel.alt,
        "outlines": _path(panel.outlines, panel),
        "nested": _path(panel.nested, panel),
        "boxes": [vars(box) for box in panel.boxes],
        "heat": None if panel.heat is None else _heat(panel.heat),
        "scale": panel.scale,
    }


def show(panels: Sequence[Panel], *, key: str, height: int, patches: bool = False) -> None:
    """Show panels in one row of this film height (px on a screen 640 px high, more on a taller
    one). patches: boxes visible at first.
    """
    import streamlit as st

    component = st.components.v2.component(
        "team_films",
        html='<div class="films"></div>',
        css=source("mammograms", "mammograms.css"),
        js=source("mammograms", "mammograms.js"),
    )
    component(
        key=key,
        data={"panels": [as_data(p) for p in panels], "height": height, "patches": patches},
        height="content",
    )
