"""What the disk refuses is a sentence, from init and ingest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from dashboard.commands import pipeline


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.study: Not a directory; check the disk"):
        pipeline.init(tmp_path / "file" / "study")
    pipeline.init(tmp_path / "study")
    (tmp_path / "study" / "images").rmdir()
    (tmp_path / "study" / "images").write_text("")
    with pytest.raises(
        UserError, match=r"images.* Not a directory; check the disk|Not a directory"
    ):
        pipeline.ingest("phantom", study=tmp_path / "study", patients=3, workers=1)


def test_a_full_disk_names_the_disk_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.init(tmp_path / "study")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match="disk that holds .*study; free some space"):
        pipeline.ingest("phantom", study=tmp_path / "study", patients=3, workers=1)
