"""Fixtures: an empty store and a synthetic study, each in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import synthetic_study
from support.study_templates import build_empty_store, copy_template


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Return a folder with an empty store."""
    return copy_template(build_empty_store, tmp_path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a synthetic study."""
    return synthetic_study.create_study(tmp_path / "study")
