"""The quick demonstration study and its copies, for tests of whole studies."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.requirements import skip_unmet
from support.study_templates import use_template_folder

# `make test` starts several workers (pytest-xdist); without them a test may use both cores.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
MAIN = sys.modules["__main__"]
os.environ.setdefault("OMP_NUM_THREADS", "1" if WORKER else "2")

pytest_plugins = ["support.server_fixtures"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and order the modules.

    Start with one module that needs the demonstration, and keep the others to the end: one worker
    builds it while the others run what does not need it. In both parts slow modules come first, so
    that no worker is left alone with one at the end. Within these groups the order is random
    (pytest-randomly prints its seed).
    """
    if left_out := skip_unmet(items):
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    users = [item.path for item in items if "demonstration" in getattr(item, "fixturenames", ())]
    parts = dict.fromkeys(users, 2) | dict.fromkeys(users[:1], 0)
    slow = {
        item.path
        for item in items
        if item.get_closest_marker("slow") or item.get_closest_marker("browser")
    }
    items.sort(key=lambda item: (parts.get(item.path, 1), item.path not in slow))


@pytest.fixture(scope="module", autouse=True)
def short_garbage_collections() -> None:
    """Exempt what the imports left from garbage collection, which Streamlit asks for at each run.

    With PyTorch and pandas loaded, a collection otherwise takes a tenth of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_main_module() -> Iterator[None]:
    """Put the main module back: Streamlit replaces it, and new processes would run a page."""
    yield
    sys.modules["__main__"] = MAIN


def pytest_unconfigure() -> None:
    """Leave no frozen objects: the database's module would report them as leaked."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def template_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the studies that tests copy in a folder of this process."""
    use_template_folder(tmp_path_factory.mktemp("templates"))


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
