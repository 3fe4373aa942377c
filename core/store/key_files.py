"""The key files of a study, and their copies in a folder beside a backup of the database.

The database holds no private key, so that its copies can be passed on. Keys are files that only
their owner can read, in the study and in a backup alike.
"""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import UserError

KEYS_FOLDER = "keys"


def signing_key_path(study: Path) -> Path:
    """Return the path of a bundle's signing key, in the folder of the bundle."""
    return study / KEYS_FOLDER / "signing.pem"


def decryption_key_path(study: Path, bundle: str) -> Path:
    """Return the path of the key that decrypts a bundle's answers, in the original study."""
    return study / KEYS_FOLDER / f"bundle_{bundle}.pem"


def write_key_file(path: Path, content: bytes) -> None:
    """Write a key into a new file that only its owner can read. FileExistsError if it exists."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # O_EXCL: a key that exists is never replaced, since nothing else opens what it protects.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def keys_beside(backup: Path) -> Path:
    """Return the folder with the keys that belong to a backup of the database."""
    return backup.with_name(f"{backup.name}.{KEYS_FOLDER}")


def copy_keys(source: Path, target: Path) -> int:
    """Copy the keys of a folder into another one; return how many. No folder: no keys."""
    files = _key_files(source)
    for file in files:
        write_key_file(target / file.name, file.read_bytes())
    return len(files)


def missing_keys(study: Path, backup: Path) -> list[Path]:
    """Return the keys beside a backup that a study does not have.

    UserError if the study has another key under one of their names.
    """
    missing = []
    for file in _key_files(keys_beside(backup)):
        present = study / KEYS_FOLDER / file.name
        if not present.exists():
            missing.append(file)
        elif present.read_bytes() != file.read_bytes():
            raise UserError(
                f"{present} and {file} are different keys: the backup is of another study. Nothing"
                " was restored; move the key of this folder away if the backup belongs here."
            )
    return missing


def restore_keys(study: Path, files: list[Path]) -> None:
    """Copy keys from beside a backup into a study; files: result of `missing_keys`."""
    for file in files:
        write_key_file(study / KEYS_FOLDER / file.name, file.read_bytes())


def _key_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file())
