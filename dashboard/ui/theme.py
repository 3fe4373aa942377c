"""Colours, line styles and stylesheets that Streamlit's own theme cannot express."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st

from evaluation.class_colors import CLASS_FILL, CLASS_INK

CLASS_DASH = {"normal": "dot", "benign": "dash", "malignant": "solid", "other": "longdash"}
ACCENT = {"light": "#4F46A5", "dark": "#6E62D2"}
ACCENT_INK = {"light": "#4F46A5", "dark": "#B1A9FA"}


def theme_mode() -> str:
    """Return the theme in use: "light" or "dark"."""
    return "dark" if st.context.theme.type == "dark" else "light"


def class_color(name: str) -> str:
    """Return the colour of a class for lines and areas, in the theme in use."""
    fills = CLASS_FILL[theme_mode()]
    return fills.get(name, fills["other"])


def class_ink(name: str) -> str:
    """Return the colour of a class for text; "inherit" for a name that is no class."""
    return CLASS_INK[theme_mode()].get(name, "inherit")


def class_line(name: str) -> dict[str, str]:
    """Return the plotly `line` of a class: its colour in the theme in use, and its dash."""
    return {"color": class_color(name), "dash": CLASS_DASH.get(name, "solid")}


# The files are part of the package and do not change while the server runs.
@cache
def _stylesheet(name: str) -> str:
    css = Path(__file__).with_name(f"{name}.css").read_text(encoding="utf-8")
    return f"<style>{css}</style>"


def apply_team_style() -> None:
    """Apply the stylesheets of the team pages; the first call of each of them."""
    st.html(_stylesheet(f"palette_{theme_mode()}") + _stylesheet("team_pages"))


def apply_expert_style() -> None:
    """Apply the stylesheet of the experts' pages; the first call of each of them."""
    st.html(_stylesheet("expert_pages"))
