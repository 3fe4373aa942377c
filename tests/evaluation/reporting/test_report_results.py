"""What stands in the results part of the report where an input is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evaluation.queries.provenance import MissingInput
from evaluation.reporting import report
from evaluation.reporting.blocks import Paragraph
from evaluation.reporting.tables.base import Table

STUDY = Path("study")


def test_a_table_without_its_input_names_the_next_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(study: Path, spec: Any) -> Table:
        raise MissingInput("evaluate", "no run", "deepminer evaluate")

    monkeypatch.setattr(report, "build_table", build)
    title = report.TABLES["classifiers"].title
    text = f'Table "{title}" is not available: no run. Next command: deepminer evaluate.'
    assert report._table_blocks(STUDY, "classifiers") == [Paragraph(text)]
    assert report._question_blocks(STUDY) == []
