"""Colours of the classes, for figures in print and for the dashboard.

This is the only definition in Python. `.streamlit/config.toml` repeats the values, and a test
compares them.
"""

from __future__ import annotations

from core.class_labels import ClassDefinition

# Light: the palette of Okabe and Ito, distinguishable with the common colour-vision deficiencies.
# Green and blue remain close in tritanopia, so every chart pairs a colour with a line style.
CLASS_FILL = {
    "light": {"normal": "#009E73", "benign": "#0072B2", "malignant": "#D55E00", "other": "#57606B"},
    "dark": {"normal": "#48D6A6", "benign": "#4FA6EA", "malignant": "#FF8A4D", "other": "#A7B0BA"},
}
# Of the classes of a study that names more than these: the rest of the same palette, repeated.
FURTHER_FILL = {
    "light": ("#CC79A7", "#B27C00", "#2F8FBF", "#7A6A00", "#6F4E9C"),
    "dark": ("#E39AC2", "#E9A825", "#7CC7EE", "#D8C93A", "#B79BE0"),
}
# Text needs a contrast of 4.5 : 1 against the page, which the fills do not all reach.
CLASS_INK = {
    "light": {"normal": "#00795A", "benign": "#0068A8", "malignant": "#B94700", "other": "#57606B"},
    "dark": {"normal": "#48D6A6", "benign": "#62B1EE", "malignant": "#FF8A4D", "other": "#A7B0BA"},
}


def class_styles(classes: ClassDefinition) -> dict[str, str]:
    """Return the style of each class of a study, by name.

    A style is a key of `CLASS_FILL`, or the position of a colour in `FURTHER_FILL` as text. Names
    that have a style of their own keep it; the positive, the comparison and the normal class take
    those of malignant, benign and normal.

    Examples
    --------
    >>> classes = ClassDefinition(("empty", "bird", "cat", "dog"), "cat", "dog")
    >>> class_styles(classes)
    {'empty': 'normal', 'bird': '0', 'cat': 'malignant', 'dog': 'benign', 'other': 'other'}
    """
    known = CLASS_FILL["light"]
    roles = {
        classes.positive: "malignant",
        classes.comparison: "benign",
        classes.normal: "normal",
    }
    taken = {name for name in classes.names if name in known}
    styles: dict[str, str] = {}
    for name in classes.names:
        role = name if name in known else roles.get(name)
        if role is None or (role != name and role in taken):
            further = sum(style.isdigit() for style in styles.values())
            role = str(further % len(FURTHER_FILL["light"]))
        styles[name] = role
    return styles | {"other": "other"}


def class_fill(style: str, mode: str = "light") -> str:
    """Return the colour of a style for lines and areas; mode: "light" or "dark"."""
    return FURTHER_FILL[mode][int(style)] if style.isdigit() else CLASS_FILL[mode][style]
