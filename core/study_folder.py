"""A study folder: made by `init`, found by every command."""

from __future__ import annotations

import os
from pathlib import Path

from core import settings as settings_module
from core import store
from core.errors import UserError
from core.settings import SETTINGS_NAME, Settings


def init(study: Path, settings: Settings | None = None) -> Path:
    """Make a study folder with commented settings and an empty store; UserError if it already is
    one or is a file.
    """
    if study.exists() and not study.is_dir():
        raise UserError(f"{study} is a file; name a folder for the study.")
    if (study / SETTINGS_NAME).exists():
        raise UserError(f"{study} is a study already; use it as it is, or name another folder.")
    for name in ("", "images", "runs", "exports"):
        (study / name).mkdir(parents=True, exist_ok=True)
    write_text(study / SETTINGS_NAME, settings_module.as_toml(settings or settings_module.preset()))
    store.create(study)
    return study


def require(study: Path) -> Path:
    """The folder as an absolute path, or a UserError when it is not a study."""
    if not (study / SETTINGS_NAME).is_file() or not store.exists(study):
        raise UserError(
            f"{study} is not a study folder (it lacks {SETTINGS_NAME} or its store); run `deepminer"
            f" init {study}` or give --study."
        )
    return study.resolve()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".partial")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
