"""Answers of a closed study can be downloaded from its results, and only from there."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.store import run_table
from evaluation.reporting.answers import EXPORT_FORMATS
from support.team_page import Open, choose_study

LABEL = "Answers, ZIP"


def test_results_offer_every_format(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    choose_study(page, "Open demonstration, version 1")
    assert LABEL not in [button.label for button in page.get("download_button")]
    choose_study(page, "Simulated demonstration, version 1")
    assert not page.exception
    assert LABEL in [button.label for button in page.get("download_button")]
    choice = next(box for box in page.selectbox if box.label == "Answers as")
    assert len(choice.options) == len(EXPORT_FORMATS)
    # To see the button is no export; the file is made, and logged, when it is downloaded.
    with store.read(own_study) as con:
        assert run_table.load_log(con, "answers exported").empty
