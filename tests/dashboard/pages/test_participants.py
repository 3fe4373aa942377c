"""The Participants page in a browser: a link is shown once, used, and revoked."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from core import store
from core.store import annotation_table, participant_table
from dashboard.server import links
from support.live_server import Served

pytestmark = pytest.mark.browser


@pytest.fixture
def team(context, served: Served):
    """The Participants page of the team."""
    page = context.new_page()
    page.goto(links.invitation_link(served.base, links.ensure_team_link(served.study)))
    page.click("button")
    page.goto(f"{served.base}/participants")
    page.wait_for_selector("text=Invite")
    return page


def test_invite_use_and_revoke(team, browser, served: Served) -> None:
    team.fill("input[aria-label^=Code]", "Anna Schmidt <b>")
    team.click("button:has-text('Invite')")
    team.wait_for_selector("text=is not a code")
    team.fill("input[aria-label^=Code]", "A7")
    team.click("button:has-text('Invite')")
    team.wait_for_selector("text=shown this once")
    link = team.inner_text("[data-testid=stCode] code").strip()
    assert link.startswith(served.base)
    expert = browser.new_context(viewport={"width": 1280, "height": 640})
    page = expert.new_page()
    page.goto(link)
    page.click("button")
    page.check("#agree")
    page.click("text=Start with two practice units")
    page.wait_for_selector(".grid img")
    team.get_by_role("button", name="Revoke", exact=True).click()
    team.click("button:has-text('Revoke the link of A7')")
    team.wait_for_selector("text=no longer works")
    team.wait_for_function("link => !document.documentElement.outerHTML.includes(link)", arg=link)
    ended = (
        "() => [...document.querySelectorAll('*')].some(e =>"
        " e.shadowRoot?.querySelector('.lost')?.textContent.includes('session has ended'))"
    )
    for _ in range(8):  # a key in the dead time after an item is shown is ignored on purpose
        page.keyboard.press("0")
        page.wait_for_timeout(450)
        page.keyboard.press("Enter")
        page.wait_for_timeout(800)
        if page.evaluate(ended):
            break
    assert page.evaluate(ended)
    page.goto(link)
    page.click("button")
    expect(page.locator("body").first).to_contain_text("not valid", use_inner_text=True)
    expert.close()
    with store.read(served.study) as con:
        assert (
            participant_table.participant_role(con, "A7") == "annotator"
            and len(annotation_table.load_annotations(con)) == 0
        )
        assert "A7" not in {p.code for p in participant_table.valid_invitations(con).values()}
