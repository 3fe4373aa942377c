"""The pages Participants and Annotations in a browser: links, and a decision that keeps answers."""

from __future__ import annotations

import pytest

from core import store
from core.lexicon import birads_lexicon
from core.store import annotation_table, participant_table
from dashboard.server import links
from support import synthetic_study
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
    team.click("button:has-text('Revoke')")
    team.wait_for_selector("text=no longer works")
    assert link not in team.content()
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
    assert "not valid" in page.inner_text("body")
    expert.close()
    with store.read(served.study) as con:
        assert (
            participant_table.participant_role(con, "A7") == "annotator"
            and len(annotation_table.load_annotations(con)) == 0
        )
        assert "A7" not in {p.code for p in participant_table.valid_invitations(con).values()}


def test_adjudication_keeps_the_answers(team, served: Served) -> None:
    with store.write(served.study) as con:
        for code, answer in (
            ("E1", synthetic_study.mass_answer("spiculated")),
            ("E2", birads_lexicon.empty_answer()),
        ):
            synthetic_study.annotate(con, code, 4, answer, simulated=code == "E2")
            synthetic_study.annotate(con, code, 5, synthetic_study.mass_answer("obscured"))
    team.goto(f"{served.base}/annotations")
    team.click("[data-testid=stTab]:has-text('Agreement')")
    team.wait_for_selector("text=first-named category")
    team.click("[data-testid=stTab]:has-text('Adjudication')")
    team.wait_for_selector("text=1 disagreements left, 0 decided, 1 agreed")
    team.wait_for_selector("text=Mass with spiculated margin, suspicious")
    shown = team.locator("[role=tabpanel]:visible").inner_text()
    assert (
        "Mass with spiculated margin, suspicious" in shown
        and "E1" not in shown
        and "E2" not in shown
        and "SIMULATED" in shown
    )
    team.click("button:has-text('Accept A')")
    team.wait_for_selector("text=0 disagreements left, 1 decided")
    with store.read(served.study) as con:
        labels = annotation_table.unit_labels(con, synthetic_study.DISSECT, [])
        assert (
            labels[4].text == "Mass with spiculated margin, suspicious"
            and len(annotation_table.load_annotations(con)) == 4
        )
        decision = annotation_table.load_decisions(con, synthetic_study.DISSECT).iloc[0]
    assert (
        decision["decided_by"] == "team"
        and "answer A" in decision["reason"]
        and list(decision["sources"]) == list(labels[4].annotation_ids)
    )
