"""Atomic writes: a file holds its old content or its new content."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.atomic_files import atomic_write, write_text


def test_failed_write_keeps_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(OSError), atomic_write(path) as partial:
        partial.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_left_over_partial_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file.txt.partial").write_text("from a killed process")
    with atomic_write(tmp_path / "file.txt") as partial:
        assert not partial.exists()
        partial.write_text("new", encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_failure_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing yet"), atomic_write(tmp_path / "file.txt"):
        raise ValueError("nothing yet")
    assert not list(tmp_path.iterdir())
