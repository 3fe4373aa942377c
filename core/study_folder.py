"""Study folders: creation and the check that a folder is one."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.atomic_files import write_text
from core.errors import MissingStudyError, UserError
from core.sessions.consent import consent_text
from core.settings import (
    NEW_STUDY_PRESET,
    SETTINGS_NAME,
    Settings,
    settings_from_preset,
    to_toml,
)
from core.store.connection import require_store


def create_study(study: Path, settings: Settings | None = None) -> Path:
    """Create a study folder with commented settings and an empty store, and return it.

    UserError if the folder is a study already or the path is a file.
    """
    if study.exists() and not study.is_dir():
        raise UserError(f"{study} is a file; name a folder for the study.")
    if (study / SETTINGS_NAME).exists():
        raise UserError(f"{study} is a study already; use it as it is, or name another folder.")
    for name in ("", "images", "runs", "exports"):
        (study / name).mkdir(parents=True, exist_ok=True)
    write_text(study / SETTINGS_NAME, to_toml(settings or settings_from_preset(NEW_STUDY_PRESET)))
    consent_text(study)  # writes the default text for the team to replace
    store.create(study)
    return study


def require_study(study: Path) -> Path:
    """Return the absolute path of a study; MissingStudyError for any other folder."""
    if not (study / SETTINGS_NAME).is_file():
        raise MissingStudyError(study, SETTINGS_NAME)
    require_store(study)
    return study.resolve()
