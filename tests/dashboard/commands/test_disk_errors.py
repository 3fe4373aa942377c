"""Errors of the disk are reported with a clear message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from dashboard.commands import dataset


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.study: Not a directory; check the disk"):
        dataset.init_command(tmp_path / "file" / "study")
    dataset.init_command(tmp_path / "study")
    (tmp_path / "study" / "images").rmdir()
    (tmp_path / "study" / "images").write_text("")
    with pytest.raises(
        UserError, match=r"images.* Not a directory; check the disk|Not a directory"
    ):
        dataset.ingest_command("phantom", study=tmp_path / "study", patients=3, workers=1)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.init_command(tmp_path / "study")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match="disk that holds .*study; free some space"):
        dataset.ingest_command("phantom", study=tmp_path / "study", patients=3, workers=1)
