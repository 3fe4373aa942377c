"""Tables of the team pages: what the browser downloads from them is safe in a spreadsheet."""

from __future__ import annotations

import ast

import pandas as pd
import pytest

from dashboard.ui import elements
from support.paths import ROOT

STREAMLIT_TABLES = {"dataframe", "data_editor"}


def test_tables_show_no_text_that_starts_a_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[pd.DataFrame] = []
    monkeypatch.setattr(elements.st, "dataframe", lambda frame, **_: shown.append(frame))
    frame = pd.DataFrame(
        {"Text": ["=HYPERLINK(1)", "@SUM(1)", "Mass"], "n": [-3, 0, 2], "Share": [-0.5, None, 1]}
    )
    elements.data_table(frame, hide_index=True)
    assert shown[0]["Text"].tolist() == ["'=HYPERLINK(1)", "'@SUM(1)", "Mass"]
    pd.testing.assert_frame_equal(shown[0][["n", "Share"]], frame[["n", "Share"]])


def test_pages_use_no_other_table_that_can_be_downloaded() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "dashboard").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in STREAMLIT_TABLES
    }
    assert users == {"dashboard/ui/elements.py"}


def test_every_page_has_its_help_and_no_other() -> None:
    """The names of the pages are those of the navigation, read without running the script."""
    tree = ast.parse((ROOT / "dashboard" / "app.py").read_text(encoding="utf-8"))
    titles = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_TEAM_PAGES"
    )
    assert list(elements.help_sections()) == list(titles.values())
    assert all(len(text) > 80 for text in elements.help_sections().values())
