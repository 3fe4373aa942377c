"""The visual language where Streamlit's theme cannot say it: class colours with their lines, and
the frame of a page.
"""

from __future__ import annotations

import streamlit as st

# Class = colour and line, always both (the tritanopic distance of green and blue is small). Fill
# for lines and areas, ink for text.
CLASS_FILL = {
    "light": {"normal": "#009E73", "benign": "#0072B2", "malignant": "#D55E00", "other": "#57606B"},
    "dark": {"normal": "#48D6A6", "benign": "#4FA6EA", "malignant": "#FF8A4D", "other": "#A7B0BA"},
}
CLASS_INK = {
    "light": {"normal": "#00795A", "benign": "#0068A8", "malignant": "#B94700", "other": "#57606B"},
    "dark": {"normal": "#48D6A6", "benign": "#62B1EE", "malignant": "#FF8A4D", "other": "#A7B0BA"},
}
CLASS_DASH = {"normal": "dot", "benign": "dash", "malignant": "solid", "other": "longdash"}
ACCENT = {"light": "#4F46A5", "dark": "#6E62D2"}
ACCENT_INK = {"light": "#4F46A5", "dark": "#B1A9FA"}

_FRAME = """<style>
[data-testid="stMainBlockContainer"]{padding-left:16px;padding-right:16px;max-width:none}
button[data-variant="segmented_control"][aria-checked="true"],[data-testid="stTab"][aria-selected="true"]{color:inherit!important}
</style>"""
_EXPERT = """<style>
[data-testid="stHeader"],[data-testid="stToolbar"],[data-testid="stDecoration"],[data-testid="stStatusWidget"],[data-testid="stDialog"]
  {display:none!important}
[data-testid="stMainBlockContainer"]{padding:0!important;max-width:none}
[data-testid="stMain"]{overflow:hidden}
[data-testid="stMain"]:focus,[data-testid="stMain"]:focus-visible,[data-testid="stMainBlockContainer"]:focus{outline:none!important;box-shadow:none!important}
[data-testid="stVerticalBlock"]{gap:0}
</style>"""


def mode() -> str:
    """The theme in use: "light" or "dark"."""
    return "dark" if st.context.theme.type == "dark" else "light"


def line(name: str) -> dict[str, str]:
    """plotly's `line` for a class: colour of the theme in use, and dash."""
    return {
        "color": CLASS_FILL[mode()].get(name, CLASS_FILL[mode()]["other"]),
        "dash": CLASS_DASH.get(name, "solid"),
    }


def frame() -> None:
    """First element of every team page: content from edge to edge."""
    st.html(_FRAME)


def expert_frame() -> None:
    """First element of an expert's page: nothing but the component."""
    st.html(_EXPERT)
