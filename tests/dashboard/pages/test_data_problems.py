"""Tab Problems of the Data page: list, filters, decisions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from core import store
from core.annotation.spreadsheet_cells import csv_text
from core.store import dataset_table, problem_table
from dashboard.views import data_problems
from support.team_page import button, page_text

CAUSES = {"outside_breast": "outside of it", "too_small": "too small"}


@pytest.fixture
def listed(own_study: Path) -> Path:
    """The demonstration with two problems of findings."""
    with store.write(own_study) as con:
        con.execute("DELETE FROM problems")
        names = dataset_table.load_findings(con)["mammogram_id"].unique()
        problem_table.add_problems(
            con,
            [
                {
                    "source_id": "s",
                    "item": f"{name}, finding 1",
                    "cause": cause,
                    "action": "no patches",
                    "skipped": False,
                    "code": code,
                    "mammogram_id": name,
                    "finding": 1,
                }
                for name, (code, cause) in zip(names, CAUSES.items())
            ],
        )
    return own_study


def table_of(page):
    return next(
        frame.value for frame in page.dataframe if "Decision" in getattr(frame.value, "columns", ())
    )


def test_problems_are_filtered(open_page, listed: Path) -> None:
    page = open_page(listed, "data")
    assert any(tab.label == "Problems (2)" for tab in page.tabs)
    assert table_of(page)["Cause"].tolist() == ["outside of it", "too small"]
    page.selectbox(key="problem_kind").set_value("too_small").run()
    assert table_of(page)["Cause"].tolist() == ["too small"]
    # Nothing is selected: nothing can be decided.
    assert button(page, "Data are right").disabled


def test_thumbnails_of_the_listed_mammograms(open_page, listed: Path) -> None:
    """Without a selection the mammograms of the filtered list are shown with their outlines."""
    page = open_page(listed, "data")
    assert "data:image/jpeg;base64," in page_text(page)
    with store.write(listed) as con:
        con.execute("UPDATE problems SET mammogram_id = NULL")
    page = open_page(listed, "data")
    assert "data:image/jpeg" not in page_text(page)
    assert "None of these problems concerns a single mammogram" in page_text(page)


def test_the_export_is_neutral(open_page, listed: Path, monkeypatch) -> None:
    """Causes and file names are texts of people: no cell starts a formula."""
    written = []

    def keep(frame: pd.DataFrame) -> str:
        written.append(csv_text(frame))
        return written[-1]

    monkeypatch.setattr(data_problems, "csv_text", keep)
    with store.write(listed) as con:
        con.execute("UPDATE problems SET cause = '=1+1' WHERE code = 'too_small'")
    page = open_page(listed, "data")
    (text,) = written
    assert ",'=1+1," in text and ",=1+1," not in text
    # The browser downloads a table as it is shown.
    assert table_of(page)["Cause"].tolist() == ["outside of it", "'=1+1"]


def test_a_decision_and_its_undoing(open_page, listed: Path, monkeypatch) -> None:
    with store.read(listed) as con:
        ids = tuple(problem_table.list_problems(con)["problem_id"])
    monkeypatch.setattr(data_problems.context, "served_study", lambda: listed)
    messages: list[str] = []
    monkeypatch.setattr(data_problems, "flash", lambda text, error=False: messages.append(text))
    data_problems._decide(ids[:1], problem_table.LEFT_OUT)
    with store.read(listed) as con:
        rows = problem_table.list_problems(con)
    assert rows["resolution"].tolist()[0] == "left_out" and rows["resolved_by"].tolist()[0] == "T1"
    page = open_page(listed, "data")
    assert any(tab.label == "Problems (1)" for tab in page.tabs)
    assert table_of(page)["Decision"].tolist()[0] == "left out"
    data_problems._decide(ids[:1], None)
    with store.read(listed) as con:
        assert problem_table.list_problems(con)["resolution"].isna().all()
    data_problems._decide(("0000",), None)
    assert "There is no problem 0000" in messages[-1]


def test_empty_list_says_what_it_is_for(open_page, listed: Path) -> None:
    with store.write(listed) as con:
        con.execute("DELETE FROM problems")
    assert "No problem of the data is listed" in page_text(open_page(listed, "data"))
