"""Titles and width of the pages of each role, as the script sets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard.server import context, identity
from support.paths import ROOT


@pytest.mark.parametrize(
    ("role", "settings"),
    [
        (
            "team",
            [
                {"page_title": "DeepMiner", "layout": "wide"},
                {"page_title": "Overview, DeepMiner"},
            ],
        ),
        ("annotator", [{"page_title": "Annotate", "layout": "wide"}]),
        ("reader", [{"page_title": "Read", "layout": "wide"}]),
        ("", []),
    ],
)
def test_title_and_width(
    study: Path,
    main_module: None,
    monkeypatch: pytest.MonkeyPatch,
    role: Any,
    settings: list[dict[str, str]],
) -> None:
    found: list[dict[str, str]] = []
    monkeypatch.setattr(st, "set_page_config", lambda **values: found.append(values))
    monkeypatch.setattr(identity, "current_identity", lambda: identity.Identity("X1", role))
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    monkeypatch.chdir(ROOT)
    AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=180).run()
    assert found == settings
