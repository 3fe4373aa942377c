"""Files that are replaced as a whole: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, and rename it to `path` when the block succeeds.

    If the block raises, the temporary file is removed and `path` stays as it was.
    """
    # In the same folder, because a rename is atomic only within one file system.
    partial = path.with_name(path.name + ".partial")
    # Left by a process that was killed.
    partial.unlink(missing_ok=True)
    try:
        yield partial
    # KeyboardInterrupt is no Exception, and must leave no partial file either.
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
