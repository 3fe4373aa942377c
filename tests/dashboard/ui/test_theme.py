"""Class colours: Streamlit's theme and the stylesheets agree with the definition in Python."""

from __future__ import annotations

import re
import tomllib

import pytest

from dashboard.ui import theme
from evaluation.class_colors import CLASS_FILL, CLASS_INK
from support.paths import ROOT

STREAMLIT_NAMES = {"normal": "green", "benign": "blue", "malignant": "orange"}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_streamlit_theme_has_the_class_colors(mode: str) -> None:
    config = tomllib.loads((ROOT / "dashboard" / ".streamlit" / "config.toml").read_text())
    colors = config["theme"][mode]
    for name, hue in STREAMLIT_NAMES.items():
        assert colors[f"{hue}Color"] == CLASS_FILL[mode][name]
        assert colors[f"{hue}TextColor"] == CLASS_INK[mode][name]
    assert colors["grayTextColor"] == CLASS_INK[mode]["other"]
    assert colors["chartCategoricalColors"][:4] == list(CLASS_FILL[mode].values())
    assert colors["primaryColor"] == theme.ACCENT[mode]
    assert colors["linkColor"] == theme.ACCENT_INK[mode]


def test_the_palette_defines_every_color_in_use_for_both_themes() -> None:
    folder = ROOT / "dashboard" / "ui"
    used = set(re.findall(r"var\((--dm-[a-z-]+)\)", (folder / "team_pages.css").read_text()))
    palette = (folder / "palette.css").read_text()
    defined = re.findall(r"(--dm-[a-z-]+): light-dark\((#\w{6}), (#\w{6})\);", palette)
    assert used == {name for name, *_ in defined}
    assert all(light != dark for _, light, dark in defined)
