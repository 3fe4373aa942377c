"""The Units page's views and states, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import store
from core.store import run_table
from dashboard.server import identity
from dashboard.server.context import VARIABLE
from support.paths import ROOT

PAGE = ROOT / "dashboard" / "pages" / "units.py"


@pytest.fixture
def opened(demonstration: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """The page opened with these parameters in its address."""
    monkeypatch.setenv(VARIABLE, str(demonstration))
    monkeypatch.setattr(identity, "current", lambda: identity.Identity("test", "team"))

    def run(**parameters: str) -> AppTest:
        page = AppTest.from_file(str(PAGE), default_timeout=60)
        for name, value in parameters.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception, page.exception[0].message
        return page

    return run


def words(page: AppTest) -> str:
    return " ".join(str(getattr(e.proto, "body", "")) for e in page.get("html")) + " ".join(
        c.value for c in page.caption
    )


def test_every_view_shows_its_numbers(opened: Callable[..., AppTest]) -> None:
    assert "split-half" in words(opened())
    coverage = words(opened(view="Coverage"))
    assert "Test films" in coverage and "Calcification" in coverage
    truth = words(opened(view="Is it true?"))
    assert "units at zero" in truth and "random weights" in truth


def test_a_descriptor_in_the_address_filters_the_rows(opened: Callable[..., AppTest]) -> None:
    page = opened(descriptor="mass margin: spiculated", sort="AUC of the descriptor")
    assert (
        page.selectbox(key="descriptor").value == "mass margin: spiculated"
        and page.selectbox(key="sort").value == "AUC of the descriptor"
    )


def test_the_units_page_says_what_the_data_say(
    opened: Callable[..., AppTest], demonstration: Path
) -> None:
    with store.read(demonstration) as con:
        run = run_table.latest(con, "dissect")
        unit = con.execute(
            "SELECT unit FROM selected WHERE run = ? AND class = 2 ORDER BY rank", [run]
        ).fetchone()[0]
    for patches in ("Top 32", "Middle", "Random"):
        assert "What the data say" in words(opened(unit=f"unit_{unit + 1:04d}", patches=patches))
