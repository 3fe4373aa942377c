"""A study with a frozen protocol of 24 cases, and a bundle of it that one reader has read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evaluation.reading_study import site_bundles
from support.bundle_answers import answer_all, create_frozen_study


@pytest.fixture(scope="package")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the study "home" and its bundle "away". Tests copy both folders."""
    folder = tmp_path_factory.mktemp("pair")
    study = create_frozen_study(folder / "home")
    made = site_bundles.create_bundle(study, folder / "away", None, "team")
    assert (made.id, made.cases, made.readers) == ("B1", 24, ("R1", "R2"))
    answer_all(made.folder, "R1")
    return folder


@pytest.fixture
def home(pair: Path, tmp_path: Path) -> Path:
    """Return a copy of the original study."""
    return Path(
        shutil.copytree(pair / "home", tmp_path / "home", ignore=shutil.ignore_patterns("*.npy"))
    )


@pytest.fixture
def away(pair: Path, tmp_path: Path) -> Path:
    """Return a copy of the bundle."""
    return Path(shutil.copytree(pair / "away", tmp_path / "away"))
