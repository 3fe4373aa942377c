"""One quick phantom study, made once with every step and simulated experts, for all tests that need
a whole study.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

# `make test` starts two workers (pytest-xdist), one a core; alone, a test may have both.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
os.environ.setdefault("OMP_NUM_THREADS", "1" if WORKER else "2")


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick demonstration study.

    Do not write to it; take `own_study` for that. Of several workers the first to ask builds it,
    each has a copy.
    """
    from evaluation.demo.build import build

    mine = tmp_path_factory.mktemp("demonstration") / "study"
    if WORKER is None:
        return build(mine, quick=True, experts=True)
    common = tmp_path_factory.getbasetemp().parent / "demonstration"
    with common.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not common.exists():
            build(common.with_suffix(".making"), quick=True, experts=True).rename(common)
    shutil.copytree(common, mine)
    return mine


@pytest.fixture
def own_study(demonstration: Path, tmp_path: Path) -> Path:
    """A copy of the demonstration for one test; the working images are shared, since nothing ever
    changes them.
    """
    copy = tmp_path / "study"
    shutil.copytree(demonstration, copy, ignore=shutil.ignore_patterns("images"))
    (copy / "images").symlink_to(demonstration / "images")
    return copy
