"""The study that this process serves, its secret key and its shared writer."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from core.errors import UserError
from core.sessions import tokens
from core.sessions.group_commit import GroupCommitWriter

STUDY_VARIABLE = "DEEPMINER_STUDY"
PREFIX_VARIABLE = "DEEPMINER_PREFIX"


def served_study() -> Path:
    """Return the study folder that `deepminer serve` set for this process."""
    # An environment variable, because Streamlit runs the pages as scripts: they take no arguments.
    value = os.environ.get(STUDY_VARIABLE)
    if not value:
        raise UserError(
            f"No study is being served ({STUDY_VARIABLE} is not set); start the dashboard with"
            " `deepminer serve --study DIR`."
        )
    return Path(value)


def url_prefix() -> str:
    """Return the path under which a reverse proxy publishes this server, such as "/mammography".

    Empty where the server has a host name of its own.
    """
    value = os.environ.get(PREFIX_VARIABLE, "").rstrip("/")
    if value and not re.fullmatch(r"(/[A-Za-z0-9_-]+)+", value):
        raise UserError(
            f"{PREFIX_VARIABLE} is {value!r}; it must be a path such as /mammography, of letters,"
            " digits, dashes and underscores."
        )
    return value


@cache
def study_secret(study: Path) -> bytes:
    """Return the key that signs the cookies and one-time tokens of a study."""
    return tokens.load_secret_key(study)


@cache
def group_commit_writer(study: Path) -> GroupCommitWriter:
    """Return the writer thread that commits the answers of many experts together."""
    return GroupCommitWriter(study)
