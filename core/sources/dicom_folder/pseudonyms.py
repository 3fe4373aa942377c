"""Pseudonyms of patients: a keyed hash whose key stays outside the study.

Without the key a pseudonym cannot be derived from an identifier, so that a list of all identifiers
of a hospital does not reveal who is in the study.

References
----------
RFC 2104 (HMAC) with SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from core.errors import UserError

DEFAULT_KEY_FILE = Path.home() / ".config" / "deepminer" / "pseudonym.key"
_MIN_KEY_BYTES = 32
_DIGITS = 16


def pseudonym(identifier: str, key: bytes) -> str:
    """Return the pseudonym of an identifier.

    Parameters
    ----------
    identifier : str
        A patient's identifier; blanks around it do not count.
    key : bytes
        The secret key, see `load_key`.

    Returns
    -------
    str
        "P-" and 16 hexadecimal digits.

    Examples
    --------
    >>> pseudonym("123", b"k" * 32) == pseudonym(" 123 ", b"k" * 32)
    True
    >>> pseudonym("123", b"k" * 32) == pseudonym("123", b"l" * 32)
    False
    """
    digest = hmac.new(key, identifier.strip().encode(), hashlib.sha256).hexdigest()
    return f"P-{digest[:_DIGITS]}"


def load_key(path: Path) -> bytes:
    """Return the key in a file; a missing file is created with a random key, readable by the owner.

    UserError if the file cannot be read or written, or holds less than 32 characters.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(_MIN_KEY_BYTES) + "\n")
        key = path.read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"The key file of the pseudonyms {path} cannot be read or created ({error.strerror}):"
            " name another with --pseudonym-key."
        ) from None
    if len(key) < _MIN_KEY_BYTES:
        raise UserError(
            f"The key file of the pseudonyms {path} holds less than {_MIN_KEY_BYTES} characters:"
            " restore it, or remove it for a new key (which gives other pseudonyms)."
        )
    return key


def check_key_location(key_file: Path, study: Path) -> None:
    """Raise UserError if the key file lies in the study folder, which is shared with others."""
    if key_file.resolve().is_relative_to(study.resolve()):
        raise UserError(
            f"The key file {key_file} lies in the study folder: keep it elsewhere, because with it"
            " pseudonyms can be traced to patients."
        )
