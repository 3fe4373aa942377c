"""What the two experts' desks share: refusals with a code, one-time tokens, the key file."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from core.errors import UserError

KEY_NAME = ".key"


class Refused(UserError):
    """Something an expert's page asked for is not to be had now. code: "stale", "closed",
    "consent", "answer" or "empty".
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def number(con: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()) -> int:
    """The one number that a query asks for."""
    row = con.execute(query, list(values)).fetchone()
    return int(row[0]) if row is not None else 0


def key(study: Path) -> bytes:
    """The study's secret for cookies and tokens, made at first use with mode 0600."""
    path = study / KEY_NAME
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = path.read_text().strip()
        if len(text) < 64:
            raise UserError(
                f"{path} is damaged; delete it (everybody then signs in again with a link) and"
                " start the server again."
            ) from None
        return bytes.fromhex(text)
    secret = secrets.token_bytes(32)
    with os.fdopen(fd, "w") as file:
        file.write(secret.hex())
        file.flush()
        os.fsync(file.fileno())
    return secret


def one_time(secret: bytes, *what: object) -> str:
    """An opaque token for one shown item in one state.

    Derived, not stored: it survives a restart and dies with the state it names.
    """
    return hmac.new(secret, "|".join(str(w) for w in what).encode(), hashlib.sha256).hexdigest()[
        :32
    ]


def clean_seconds(raw: object) -> float | None:
    """Time on task in seconds as the browser measured it, or None if it is no sensible number."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= 24 * 3600:
        return None
    return round(float(raw), 3)
