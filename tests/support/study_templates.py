"""Studies that a test process builds once, and copies for each test that needs one."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from core import store

StudyBuilder = Callable[[Path], object]


_folder: Path | None = None


def use_template_folder(folder: Path) -> None:
    """Keep the templates in a folder of pytest, which removes it also after a killed run."""
    global _folder
    _folder = folder


@functools.cache
def _template(build: StudyBuilder) -> Path:
    assert _folder is not None, "the fixture template_folder of tests/conftest.py has not run"
    path = _folder / f"{build.__module__}.{build.__qualname__}"
    build(path)
    return path


def copy_template(build: StudyBuilder, path: Path) -> Path:
    """Copy the study that `build` makes to a new folder.

    Building takes 0.2 s to 1 s, a copy 0.01 s. `build` is a function of a module.
    """
    shutil.copytree(_template(build), path, dirs_exist_ok=True)
    return path


def build_empty_store(path: Path) -> None:
    """Create a folder with an empty store."""
    path.mkdir()
    store.create(path)
