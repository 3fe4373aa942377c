"""The quick demonstration study and its copies, for tests of whole studies."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

# `make test` starts two workers (pytest-xdist), one a core; without them a test may use both cores.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
os.environ.setdefault("OMP_NUM_THREADS", "1" if WORKER else "2")

pytest_plugins = ["support.server_fixtures"]


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick demonstration study.

    Do not write to it; use `own_study` for that. The first of several workers that needs it builds
    it, and each worker gets a copy. While developing, the variable DEEPMINER_DEMONSTRATION may name
    one that is built already, which saves a minute.
    """
    from evaluation.demo.build import build_demo

    study = tmp_path_factory.mktemp("demonstration") / "study"
    if built := os.environ.get("DEEPMINER_DEMONSTRATION"):
        shutil.copytree(built, study)
        return study
    if WORKER is None:
        return build_demo(study, quick=True, experts=True)
    shared = tmp_path_factory.getbasetemp().parent / "demonstration"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            build_demo(shared.with_suffix(".making"), quick=True, experts=True).rename(shared)
    shutil.copytree(shared, study)
    return study


@pytest.fixture
def own_study(demonstration: Path, tmp_path: Path) -> Path:
    """A copy of the demonstration for one test; the working images are shared and never change."""
    copy = tmp_path / "study"
    shutil.copytree(demonstration, copy, ignore=shutil.ignore_patterns("images"))
    (copy / "images").symlink_to(demonstration / "images")
    return copy
