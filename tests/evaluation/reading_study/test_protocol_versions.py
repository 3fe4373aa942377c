"""The version that a new design of a study gets."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.store.reading import protocol_table
from evaluation.reading_study import workflow
from support import explained_study
from support.explained_study import NAME


def test_a_new_version_follows_the_newest_frozen_one(tmp_path: Path) -> None:
    """Versions of another study do not count."""
    study = explained_study.create_study(tmp_path / "study")
    with store.write(study) as con:
        for name, version in ((NAME, 1), (NAME, 2), ("Other", 1), ("Other", 2), ("Other", 3)):
            for state in ("design", "checked", "frozen"):
                protocol_table.append_protocol_state(
                    con, protocol=name, version=version, state=state, design={}, hash="h"
                )
    design = explained_study.small_design()
    assert workflow.create_protocol(study, NAME, design, "T1").version == 3
    # An unfrozen version is designed again.
    assert workflow.create_protocol(study, NAME, design, "T1").version == 3
