"""Fixtures: an empty store and a synthetic study, each in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core import store
from support import synthetic_study


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Return a folder with an empty store."""
    store.create(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def study_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a synthetic study to copy from."""
    return synthetic_study.create_study(tmp_path_factory.mktemp("synthetic") / "study")


@pytest.fixture
def study(study_template: Path, tmp_path: Path) -> Path:
    """Return a copy of the synthetic study, for one test."""
    shutil.copytree(study_template, tmp_path / "study")
    return tmp_path / "study"
