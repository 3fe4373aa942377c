"""A dissection with its classes, for parts of the Units page that render into a transcript."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from evaluation.queries.units import ActivationCurves
from support.page_transcript import Transcript, render_into

RUN = "dissect-1"

CLASS_NAMES = {0: "normal", 1: "benign", 2: "malignant"}

SETTINGS = {"threshold": 0.25, "quantile": 0.005, "top": 20}

CURVES = ActivationCurves(
    values=np.array([0.0, 2.0, 10.0]),
    densities={"benign": np.array([0.5, 1.0, 0.25]), "malignant": np.array([0.125, 0.75, 1.0])},
    zero_share=0.37,
)


def patch_urls(run: str, units: list[int], number: int, size: int) -> dict[int, list[str]]:
    """Return two addresses of each unit that state what was asked for."""
    return {unit: [f"{run}/{unit}/{number}/{size}/{i}" for i in range(2)] for unit in units}


def render_unit_parts(
    monkeypatch: pytest.MonkeyPatch, *modules: ModuleType, own: tuple[str, ...] = ()
) -> Transcript:
    """Return a transcript of modules, with the run and its classes known."""
    page = render_into(monkeypatch, *modules, own=own)
    for module in modules:
        if hasattr(module, "top_patch_urls"):
            monkeypatch.setattr(module, "top_patch_urls", patch_urls)
        for name in ("image_noun", "image_nouns", "shows_breasts"):
            if hasattr(module, name):
                value = {"image_noun": "scan", "image_nouns": "scans"}.get(name, True)
                monkeypatch.setattr(module, name, lambda value=value: value)
    page.queries = {
        ("load_run", RUN): {
            "settings": {"dissection": SETTINGS},
            "manifest": {"units": 40, "receptive_field": 61, "map_side": 8},
        },
        ("run_class_names", RUN): CLASS_NAMES,
    }
    return page
