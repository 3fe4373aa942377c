"""One-time tokens of experts' pages, the study's secret key, and checks of what browsers send."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import RequestRefused, UserError

SECRET_KEY_NAME = ".key"
LONGEST_SECONDS = 24 * 3600


def load_secret_key(study: Path) -> bytes:
    """Return the study's secret for cookies and tokens, created at first use with mode 0600.

    UserError if the file is damaged.
    """
    path = study / SECRET_KEY_NAME
    try:
        # O_EXCL: of two processes that start at once, exactly one creates the key.
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


def one_time_token(secret: bytes, *parts: object) -> str:
    """Return an opaque token for one displayed item in one state.

    It is derived from the state and not stored: it survives a restart, and it is void once the
    state has changed. Without the secret it can be neither guessed nor traced back to the item.
    """
    # 32 hexadecimal digits: 128 bits, beyond guessing through a web page.
    message = "|".join(map(str, parts)).encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:32]


@contextmanager
def refuse_invalid_answer() -> Iterator[None]:
    """Turn the mistake in an answer that a block finds into RequestRefused("answer").

    Only such mistakes are shown to experts; other errors name files and are for the team.
    """
    try:
        yield
    except RequestRefused:
        raise
    except UserError as error:
        raise RequestRefused("answer", str(error)) from error


def valid_seconds(raw: object) -> float | None:
    """Return a time on task in seconds as a browser measured it, or None if it is not plausible."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= LONGEST_SECONDS:
        return None
    return round(float(raw), 3)
