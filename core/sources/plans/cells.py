"""Cells that several public sets share: age, density, split, and the location of image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.errors import UserError

IMAGE_SUFFIXES = {".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm"}
_DENSITIES = {"a": 1, "b": 2, "c": 3, "d": 4, "1": 1, "2": 2, "3": 3, "4": 4}
_MISSING = {"", "nan", "none", "n/a", "na", "removed"}


def is_missing(text: str) -> bool:
    """Return whether a cell states nothing: empty, or one of the words that programs write."""
    return text.strip().lower() in _MISSING


def parse_density(text: str) -> int | None:
    """Return the BI-RADS density 1 to 4 of a text; None for anything else.

    Examples
    --------
    >>> parse_density("DENSITY C"), parse_density("2.0"), parse_density("")
    (3, 2, None)
    """
    word = text.lower().removeprefix("density").strip().removesuffix(".0")
    return _DENSITIES.get(word)


def parse_age(text: str) -> int | None:
    """Return an age in years of a text such as "057Y" or "57.0"; None if it is missing.

    Examples
    --------
    >>> parse_age("057Y"), parse_age("57.0"), parse_age("removed")
    (57, 57, None)
    """
    try:
        age = int(float(text.strip().upper().removesuffix("Y")))
    except ValueError:
        return None
    return age if 0 < age <= 120 else None


def require_folder(path: Path | None, content: str) -> Path:
    """Return the folder of a set; UserError if there is no such folder.

    content: what it should hold, for the message.
    """
    if path is None:
        raise UserError(f"The source is missing: give the folder that holds {content}.")
    if not Path(path).is_dir():
        raise UserError(f"{path} is not a folder: give the folder that holds {content}.")
    return Path(path)


def find_table(root: Path, names: Iterable[str]) -> Path:
    """Return the one table below a folder that has one of the names; UserError otherwise.

    Of several files the one nearest to the folder counts.
    """
    wanted = [name.lower() for name in names]
    matches = [file for file in root.rglob("*") if file.name.lower() in wanted and file.is_file()]
    if not matches:
        raise UserError(
            f"The folder {root} has no table {' or '.join(names)}: put it there as it was"
            " downloaded."
        )
    return min(matches, key=lambda file: (wanted.index(file.name.lower()), len(file.parts), file))


class ImageIndex:
    """Image files below a folder, by the end of their path and by their name without suffix."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for folder, folders, files in os.walk(root):
            folders.sort()
            for name in sorted(files):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES:
                    self._by_stem.setdefault(stem, []).append(Path(folder) / name)

    def files(self) -> Mapping[str, list[Path]]:
        """Return the files by their name without suffix."""
        return self._by_stem

    def find(self, *parts: str) -> Path | None:
        """Return the file whose path ends with the given folders and name (without suffix).

        Folders decide only where several files have the name; None if none or several remain.
        """
        *folders, stem = parts
        candidates = self._by_stem.get(stem, [])
        if len(candidates) > 1:
            # A path of the tables can begin above the downloaded folder.
            tail = tuple(folders)
            candidates = [
                file for file in candidates if tail and file.parts[-1 - len(tail) : -1] == tail
            ]
        return candidates[0] if len(candidates) == 1 else None
