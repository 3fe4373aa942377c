"""Which study this process serves, and what it needs once: its secret and the thread that appends
for many.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from core.errors import UserError
from core.sessions import tokens
from core.sessions.group_commit import Together

VARIABLE = "DEEPMINER_STUDY"
PREFIX = "DEEPMINER_PREFIX"


def current() -> Path:
    """The study's folder, set by `deepminer serve`."""
    value = os.environ.get(VARIABLE)
    if not value:
        raise UserError(
            f"No study is being served ({VARIABLE} is not set); start the dashboard with `deepminer"
            " serve --study DIR`."
        )
    return Path(value)


def prefix() -> str:
    """The path under which a reverse proxy shows this server, such as "/mammography"; empty where
    it has a host of its own.
    """
    value = os.environ.get(PREFIX, "").rstrip("/")
    if value and not re.fullmatch(r"(/[A-Za-z0-9_-]+)+", value):
        raise UserError(
            f"{PREFIX} is {value!r}; it must be a path such as /mammography, of letters, digits,"
            " dashes and underscores."
        )
    return value


@cache
def secret(study: Path) -> bytes:
    """The key of cookies and tokens."""
    return tokens.key(study)


@cache
def appends(study: Path) -> Together:
    """The one thread of this process that commits experts' answers together."""
    return Together(study)
