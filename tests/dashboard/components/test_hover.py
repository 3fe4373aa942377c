"""Pointer hover on answer buttons: it must not look like a chosen answer."""

from __future__ import annotations

import re

import pytest

from dashboard.components.http import component_source


def declarations(css: str, selector: str) -> dict[str, str]:
    """Return the declarations of the rule with exactly this selector."""
    match = re.search(r"(?:^|[{}/])\s*" + re.escape(selector) + r"\{([^}]*)\}", css, re.MULTILINE)
    assert match, f"no rule {selector}"
    pairs = (part.split(":", 1) for part in match.group(1).split(";") if part)
    return {name.strip(): value.strip() for name, value in pairs}


@pytest.mark.parametrize(
    ("folder", "button"), [("reading", ".rd .six button"), ("annotation", ".ann.aud .three button")]
)
def test_hover_shares_no_style_with_a_chosen_answer(folder: str, button: str) -> None:
    css = component_source(folder, f"{folder}.css")
    hover = declarations(css, f"{button}:hover:enabled")
    chosen = declarations(css, f"{button}[aria-pressed=true]")
    assert "background" in hover and "background" in chosen
    assert not set(hover.items()) & set(chosen.items())
    # A touch screen keeps the hover state of the element that was touched last.
    assert f"@media (hover:hover){{{button}:hover:enabled" in css
