"""A third expert begins on agreed labels: the walk from the first answer to the undone decision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from core import store
from core.store import annotation_table
from core.store.labels import decision_table, label_states
from dashboard.server import links
from evaluation.queries.units import selected_units
from support import synthetic_study
from support.annotation_browser import enter_annotation, press, wait_for_unit, wait_until_ready
from support.live_server import Served

pytestmark = pytest.mark.browser
RUN, UNITS = synthetic_study.DISSECT, (4, 5, 6)
AGREED = "Mass with spiculated margin, suspicious"


@pytest.fixture
def agreed(served: Served) -> Served:
    """Two experts, one of them simulated, have finished three units and agree."""
    with store.write(served.study) as con:
        con.execute("DELETE FROM selected WHERE unit NOT IN (4, 5, 6)")
        # What the cards of the Overview read of a run.
        for kind, values, manifest in (
            ("patches", {"patches": {"min_overlap": 0.3}, "seed": 1}, {"inputs": "", "patches": 9}),
            ("dissect", None, {"units": 40, "dead_units": [], "mammograms": ["ZQXCASE000"]}),
        ):
            con.execute(
                "UPDATE runs SET manifest = ?, settings = coalesce(?, settings) WHERE kind = ?",
                [json.dumps(manifest), values and json.dumps(values), kind],
            )
        for code in ("E1", "E2"):
            for unit in UNITS:
                synthetic_study.annotate(
                    con, code, unit, synthetic_study.mass_answer(), simulated=code == "E2"
                )
    return served


def used_labels(study: Path) -> dict[int, str]:
    """Return the labels of the Units page and of every figure."""
    table = selected_units(study, RUN)
    return {int(row.unit): row.label for row in table.itertuples() if row.label}


def open_tab(page, served: Served, name: str) -> None:
    page.goto(f"{served.base}/annotations")
    page.click(f"[data-testid=stTab]:has-text('{name}')")


def test_third_expert_then_adjudication_and_undo(context, browser, agreed: Served) -> None:
    team = context.new_page()
    team.goto(links.invitation_link(agreed.base, links.ensure_team_link(agreed.study)))
    team.click("button")
    team.wait_for_selector("text=Needs attention")
    before = used_labels(agreed.study)
    assert before == dict.fromkeys(UNITS, AGREED)

    # The third expert begins and differs.
    profile = browser.new_context(viewport={"width": 1280, "height": 640})
    expert = enter_annotation(profile, agreed, "A3")
    press(expert, "0 Enter")
    wait_until_ready(expert, "Practice 2 / 2")
    press(expert, "U Enter")
    expert.click("text=Start with unit 1")
    wait_until_ready(expert, "Unit 1 / 3")
    press(expert, "M 4 S 3 Enter")
    wait_for_unit(expert, "Unit 2 / 3")
    assert used_labels(agreed.study) == before
    team.goto(f"{agreed.base}/annotations")
    team.wait_for_selector("text=3 labelled units; 0 further names are not used yet")
    team.wait_for_selector("button:has-text('Count the answers so far')")
    # Answers of a simulated expert are on the page, whether or not a label rests on them.
    expect(team.locator(".dm-title").first).to_contain_text("SIMULATED", use_inner_text=True)
    open_tab(team, agreed, "Adjudication")
    team.wait_for_selector("text=0 disagreements left, 0 decided, 3 labels agreed")

    # The third expert finishes: one unit waits, the others are agreed by all three.
    for title in ("Unit 2 / 3", "Unit 3 / 3"):
        wait_until_ready(expert, title)
        press(expert, "M 5 S 3 Enter")
    expert.wait_for_selector("text=All 3 units are done")
    profile.close()
    after = used_labels(agreed.study)
    (disputed,) = set(before) - set(after)
    assert after == {unit: AGREED for unit in UNITS if unit != disputed}
    team.goto(agreed.base)
    team.wait_for_selector("text=Experts differ on 1 unit")
    open_tab(team, agreed, "Adjudication")
    team.wait_for_selector("text=1 disagreements left, 0 decided, 2 labels agreed")
    team.wait_for_selector("text=Mass with indistinct margin, suspicious")
    shown = team.locator("[role=tabpanel]:visible").inner_text()
    assert AGREED in shown and not {"A3", "E1", "E2"} & set(shown.split())

    # The decision, and its undo.
    team.click("button:has-text('Accept A')")
    team.wait_for_selector("text=0 disagreements left, 1 decided")
    with store.read(agreed.study) as con:
        label = label_states.unit_labels(con, RUN, ())[disputed]
        decision = decision_table.load_decisions(con, RUN).iloc[0]
        answers = len(annotation_table.load_annotations(con))
    assert (label.text, label.state) == ("Mass with indistinct margin, suspicious", "adjudicated")
    assert decision["decided_by"] == "team" and "answer A" in decision["reason"]
    assert tuple(decision["sources"]) == label.annotation_ids
    team.click("button:has-text('Undo')")
    team.wait_for_selector("text=1 disagreements left, 0 decided")
    assert used_labels(agreed.study) == after
    with store.read(agreed.study) as con:
        # Three answers of each expert and two practice units.
        assert len(annotation_table.load_annotations(con)) == answers == 11
