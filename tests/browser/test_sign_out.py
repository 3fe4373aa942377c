"""Signing out, a withdrawn link of the team after a restart, and another person's browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import store
from core.store import participant_table
from dashboard.server import links
from support import synthetic_study
from support.live_server import Served, start_server, stop_server
from support.reading_browser import wait_for_case

pytestmark = pytest.mark.browser


def test_a_reader_signs_out(context, served: Served) -> None:
    link = served.invite("reader", "S1")
    page = context.new_page()
    page.goto(link)
    page.click("button")
    page.check("#agree")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.click("text=Start with five practice texts")
    wait_for_case(page, "Practice 1 / 5")
    page.click(".out")
    page.wait_for_selector("text=Other devices stay signed in")
    page.click("button")
    page.wait_for_selector("text=You are signed out")
    page.goto(served.base)
    page.wait_for_selector("text=Please sign in")
    page.goto(link)
    page.click("button")
    wait_for_case(page, "Practice 1 / 5")  # nothing is lost


def test_an_annotator_and_the_team_find_the_way_out(context, served: Served) -> None:
    page = context.new_page()
    page.goto(served.invite("annotator", "S2"))
    page.click("button")
    page.click(".out:visible")  # before consent
    page.wait_for_selector("text=Other devices stay signed in")
    page.click("button")
    page.wait_for_selector("text=You are signed out")
    page.goto(served.invite("team", "S3"))
    page.click("button")
    page.wait_for_selector(".dm-out")
    page.goto(served.invite("reader", "S4"))  # a participant's link in the team's browser
    page.click("button")
    page.wait_for_selector("text=A member of the research team is signed in")
    page.get_by_role("link", name="Sign out", exact=True).click()
    page.click("button")
    page.wait_for_selector("text=You are signed out")


@pytest.fixture
def team_study(tmp_path: Path) -> Iterator[list[Served]]:
    """Servers over one study; the test restarts them."""
    running = [start_server(synthetic_study.create_study(tmp_path / "study"))]
    yield running
    for server in running:
        if server.process.is_alive():
            stop_server(server)


def test_a_withdrawn_team_link_stays_withdrawn(context, team_study: list[Served]) -> None:
    served = team_study[0]

    def team_link() -> str:
        return links.invitation_link(served.base, links.ensure_team_link(served.study))

    def is_refused(link: str) -> bool:
        """Open a link in a browser without a session and return whether it is refused."""
        context.clear_cookies()
        page = context.new_page()
        page.goto(link)
        page.click("button")
        refusal = page.get_by_text("not valid")
        refusal.or_(page.locator("[data-testid=stApp]")).first.wait_for()
        refused = refusal.is_visible()
        page.close()
        return refused

    first = team_link()
    assert not is_refused(first)
    with store.write(served.study) as con:
        participant_table.revoke_invitations(con, links.TEAM_CODE)
    stop_server(served)
    team_study.append(start_server(served.study, served.port))
    second = next(
        line.strip()
        for line in reversed((served.study / "server.log").read_text().splitlines())
        if "/enter?token=" in line
    )
    assert is_refused(first)
    assert not is_refused(second)
    stop_server(team_study[-1])
    (served.study / ".key").unlink()
    team_study.append(start_server(served.study, served.port))
    assert is_refused(first)
    assert is_refused(second)
