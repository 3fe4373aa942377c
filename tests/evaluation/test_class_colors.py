"""Colours of the classes: one definition in Python, repeated in Streamlit's configuration."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from evaluation.class_colors import CLASS_FILL, CLASS_INK

CONFIGURATION = Path(__file__).parents[2] / "dashboard" / ".streamlit" / "config.toml"
# Streamlit's names of the colours of normal, benign and malignant.
STREAMLIT_NAMES = {"normal": "green", "benign": "blue", "malignant": "orange", "other": "gray"}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_streamlit_has_same_colours(mode: str) -> None:
    theme = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["theme"][mode]
    assert theme["chartCategoricalColors"][:4] == list(CLASS_FILL[mode].values())
    for name, streamlit in STREAMLIT_NAMES.items():
        assert theme[f"{streamlit}TextColor"] == CLASS_INK[mode][name]
        if name != "other":
            assert theme[f"{streamlit}Color"] == CLASS_FILL[mode][name]
