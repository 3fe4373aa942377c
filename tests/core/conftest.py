"""An empty store in a folder of its own, and a synthetic study."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from support import synthetic_study


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder with a store and nothing in it."""
    store.create(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic study to copy from."""
    return synthetic_study.make(tmp_path_factory.mktemp("synthetic") / "study")


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A synthetic study of one's own."""
    import shutil

    shutil.copytree(made, tmp_path / "study")
    return tmp_path / "study"
