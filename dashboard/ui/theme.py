"""Colours, line styles and stylesheets that Streamlit's own theme cannot express."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st

from core.store import dataset_table
from dashboard.ui.cached_queries import cached_query
from evaluation.class_colors import (
    CLASS_FILL,
    CLASS_INK,
    FURTHER_FILL,
    class_fill,
    class_styles,
)

CLASS_DASH = {"normal": "dot", "benign": "dash", "malignant": "solid", "other": "longdash"}
_FURTHER_DASH = "dashdot"
ACCENT = {"light": "#4F46A5", "dark": "#6E62D2"}
ACCENT_INK = {"light": "#4F46A5", "dark": "#B1A9FA"}
TEXT = {"light": "#1B2026", "dark": "#E6E9EC"}


def theme_mode() -> str:
    """Return the theme in use: "light" or "dark"."""
    return "dark" if st.context.theme.type == "dark" else "light"


def class_style(name: str) -> str:
    """Return the style of a class of the study, see `evaluation.class_colors.class_styles`."""
    if name in CLASS_DASH:
        return name
    return class_styles(cached_query(dataset_table.load_classes)).get(name, "other")


def class_color(name: str) -> str:
    """Return the colour of a class for lines and areas, in the theme in use."""
    return class_fill(class_style(name), theme_mode())


def class_ink(name: str) -> str:
    """Return the CSS colour of a class for text, in both themes; "inherit" if it is no class."""
    if name not in CLASS_INK["light"]:
        names = cached_query(dataset_table.load_classes).names
        name = class_style(name) if name in names else ""
    if name not in CLASS_INK["light"]:
        return "inherit"
    return f"light-dark({CLASS_INK['light'][name]}, {CLASS_INK['dark'][name]})"


def class_line(name: str) -> dict[str, str]:
    """Return the plotly `line` of a class: its colour in the theme in use, and its dash."""
    dash = CLASS_DASH.get(class_style(name), _FURTHER_DASH)
    return {"color": class_color(name), "dash": dash}


# The files are part of the package and do not change while the server runs.
@cache
def _stylesheet(name: str) -> str:
    css = Path(__file__).with_name(f"{name}.css").read_text(encoding="utf-8")
    return f"<style>{css}</style>"


@cache
def _chart_stylesheet() -> str:
    """Return rules by which the colours of charts follow a change of the theme at once.

    Charts are drawn in the colours of the theme at the last run; a rule replaces each of them, in
    the form in which plotly writes it, by the pair of both themes.
    """
    light, dark = CLASS_FILL["light"], CLASS_FILL["dark"]
    pairs = [(TEXT["light"], TEXT["dark"]), (ACCENT_INK["light"], ACCENT_INK["dark"])]
    pairs += [(light[name], dark[name]) for name in light]
    pairs += zip(FURTHER_FILL["light"], FURTHER_FILL["dark"])
    rules = [
        f"{_drawn_in(name, pair)} {{ {name}: light-dark({pair[0]}, {pair[1]}) !important; }}"
        for pair in pairs
        for name in ("stroke", "fill")
    ]
    return f"<style>{' '.join(rules)}</style>"


def _drawn_in(name: str, colors: tuple[str, str]) -> str:
    """Return the selector of the parts of charts whose stroke or fill has one of two colours."""
    written = (f"rgb({', '.join(str(int(c[i : i + 2], 16)) for i in (1, 3, 5))})" for c in colors)
    return ", ".join(f'.js-plotly-plot [style*="{name}: {color}"]' for color in written)


def apply_team_style() -> None:
    """Apply the stylesheets of the team pages; the first call of each of them."""
    # Streamlit sets the colour scheme of its application alone; dialogs lie outside.
    scheme = f"<style>:root {{ color-scheme: {theme_mode()}; }}</style>"
    sheets = _stylesheet("palette") + _stylesheet("team_pages") + _chart_stylesheet()
    st.html(scheme + sheets)


def apply_expert_style() -> None:
    """Apply the stylesheet of the experts' pages; the first call of each of them."""
    st.html(_stylesheet("expert_pages"))
