"""One quick phantom study, made once with every step and simulated experts, for all tests that need a whole study."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick demonstration study. Do not write to it; take `own_study` for that."""
    from dashboard.demonstration import build

    return build(tmp_path_factory.mktemp("demonstration") / "study", quick=True, experts=True)


@pytest.fixture
def own_study(demonstration: Path, tmp_path: Path) -> Path:
    """A copy of the demonstration for one test; the working images are shared, since nothing ever changes them."""
    copy = tmp_path / "study"
    shutil.copytree(demonstration, copy, ignore=shutil.ignore_patterns("images"))
    (copy / "images").symlink_to(demonstration / "images")
    return copy
