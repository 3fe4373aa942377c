"""Two versions of a reading study, closed and scored by the team in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from core import store
from core.sessions.reading_session import ReadingSession
from core.store import participant_table
from core.store.reading import protocol_table, reading_table
from dashboard.server import links
from support import explained_study
from support.explained_study import NAME
from support.live_server import Served, start_server, stop_server

pytestmark = pytest.mark.browser
CLOSE = "Close and unblind"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A study with two frozen versions, each read by a reader of its own."""
    explained_study.use_few_permutations(monkeypatch)
    study = explained_study.create_study(tmp_path / "study")
    for version, code in ((1, "R1"), (2, "R2")):
        explained_study.frozen(study, seed=version)
        with store.write(study) as con:
            participant_table.add_participant(con, code, "reader")
            protocol = protocol_table.find_protocol(con, NAME, version)
            ReadingSession(code, b"secret").assign_order(con, protocol)
            for item in reading_table.load_reading_items(con, NAME, version).itertuples():
                reading_table.append_reading_answer(
                    con,
                    protocol=protocol,
                    code=code,
                    position=int(item.position),
                    revision=1,
                    answer=3 + version,
                    seconds=2.0,
                )
    server = start_server(study)
    yield server
    stop_server(server)


def states(study: Path) -> dict[int, str]:
    with store.read(study) as con:
        return {p.version: p.state for p in protocol_table.list_protocols(con)}


def open_version(page, served: Served, version: int) -> None:
    page.goto(f"{served.base}/reading_study?study={quote(f'{NAME}, version {version}')}")
    page.wait_for_selector(f"text=version {version}")


def close_version(page, version: int) -> None:
    name = f"{CLOSE} version {version}"
    page.locator("summary", has_text=name).click()
    field = page.get_by_label("Type the study's name to close it")
    button = page.get_by_role("button", name=name, exact=True)
    expect(button).to_be_disabled()
    field.fill(NAME)
    field.press("Enter")
    page.wait_for_selector(f"button:has-text('{name}'):not([disabled])")
    button.click()


def test_two_versions_are_closed_and_scored_independently(context, served: Served) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 640})
    page.goto(links.invitation_link(served.base, links.ensure_team_link(served.study)))
    page.click("button")
    open_version(page, served, 1)
    # No result of an open study is on the page.
    expect(page.get_by_text("Statistics paragraph")).to_have_count(0)
    close_version(page, 1)
    page.get_by_text("Statistics paragraph").first.wait_for(timeout=60_000)
    assert states(served.study) == {1: "scored", 2: "reading"}
    open_version(page, served, 2)
    page.get_by_label("Type the study's name to close it").wait_for(state="attached")
    expect(page.get_by_text("Statistics paragraph")).to_have_count(0)
    close_version(page, 2)
    page.get_by_text("Statistics paragraph").first.wait_for(timeout=60_000)
    assert states(served.study) == {1: "scored", 2: "scored"}
