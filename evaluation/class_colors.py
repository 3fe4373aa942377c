"""Colours of the classes, for figures in print and for the dashboard.

This is the only definition in Python. `.streamlit/config.toml` repeats the values, and a test
compares them.
"""

from __future__ import annotations

# Light: the palette of Okabe and Ito, distinguishable with the common colour-vision deficiencies.
# Green and blue remain close in tritanopia, so every chart pairs a colour with a line style.
CLASS_FILL = {
    "light": {"normal": "#009E73", "benign": "#0072B2", "malignant": "#D55E00", "other": "#57606B"},
    "dark": {"normal": "#48D6A6", "benign": "#4FA6EA", "malignant": "#FF8A4D", "other": "#A7B0BA"},
}
# Text needs a contrast of 4.5 : 1 against the page, which the fills do not all reach.
CLASS_INK = {
    "light": {"normal": "#00795A", "benign": "#0068A8", "malignant": "#B94700", "other": "#57606B"},
    "dark": {"normal": "#48D6A6", "benign": "#62B1EE", "malignant": "#FF8A4D", "other": "#A7B0BA"},
}
