"""The tab Audit of the Annotations page, and the commands of the label audit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner, Result

from core import store
from core.store import audit_table, participant_table
from dashboard.cli import app
from support.team_page import Open, button, open_section, page_text


def labels_command(study: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["labels", *arguments, "--study", str(study)])


def judge_all(study: Path) -> None:
    """Judge every patch of the open audit as two experts: only top patches show the label."""
    with store.write(study) as con:
        audit = audit_table.current_audit(con)
        for code, simulated in (("A1", False), ("S1", True)):
            participant_table.add_participant(con, code, "annotator", simulated)
            for item in audit_table.load_audit_items(con, audit.audit):
                audit_table.append_audit_answer(
                    con,
                    audit.audit,
                    code,
                    item.item,
                    1,
                    "yes" if item.kind == "top" else "no",
                    2.0,
                    simulated,
                )


def precision_table(page: AppTest) -> pd.DataFrame:
    return next(f.value for f in page.dataframe if "Top minus random" in f.value.columns)


def test_audit_on_the_page(own_study: Path, team: Open) -> None:
    page = team(own_study, "annotations")
    open_section(page, "Audit")
    assert "Progress of audit-1" in page_text(page) and "SIMULATED" in page_text(page)
    assert len(precision_table(page))
    page.number_input(key="audit_patches").set_value(3).run()
    button(page, "Start the audit").click().run()
    assert not page.exception and "audit-2 is open" in page.success[0].value
    assert "No patch has been judged yet" in page_text(page)
    judge_all(own_study)
    page.run()
    text = page_text(page)
    assert not page.exception and "Label precision" in text and "SIMULATED" in text
    assert "1.00" in text and "same difference" in text
    units = precision_table(page)
    one_patient = "6 of 6, 1.00; all patches come from one patient"
    assert units["Top"].str.startswith(("6 of 6, 1.00 (", one_patient)).all()
    assert units["Random"].str.startswith("0 of 6, .00").all()
    page.selectbox(key="audit_shown").set_value("audit-1").run()
    assert not page.exception and "Progress of audit-1" in page_text(page)
    page.selectbox(key="audit_shown").set_value("audit-2").run()
    button(page, "End the audit").click().run()
    assert "is ended" in page.success[0].value and button(page, "Start the audit")
    # Every top patch shows the label to both experts, and no other patch does.
    judged = [e.body for e in page.get("html") if 'class="dm-judged"' in e.body]
    captions = [re.findall(r"<figcaption>(.*?)</figcaption>", body) for body in judged]
    assert captions == [["2 of 2"] * 3, ["0 of 2"] * 3, ["0 of 2"] * 3]
    with store.read(own_study) as con:
        audit = next(a for a in audit_table.list_audits(con) if a.audit == "audit-2")
        items = audit_table.load_audit_items(con, "audit-2")
    unit = max(item.unit for item in items)
    top = [item.item for item in items if item.unit == unit and item.kind == "top"]
    page.selectbox(key="judged_unit").set_value(unit).run()
    assert 'class="doubtful"' not in page_text(page)
    with store.write(own_study) as con:
        con.execute(
            "UPDATE audit_answers SET answer = 'no' WHERE audit = ? AND item = ?",
            [audit.audit, top[0]],
        )
    page.run()
    assert page_text(page).count('class="doubtful"') == 1


def test_audit_commands(own_study: Path, tmp_path: Path) -> None:
    assert labels_command(own_study, "audit-start", "--patches", "3").exit_code == 0
    judge_all(own_study)
    results, judgements = tmp_path / "results.csv", tmp_path / "judgements.csv"
    answer = labels_command(
        own_study, "audit", "--csv", str(results), "--judgements", str(judgements), "--json"
    )
    assert answer.exit_code == 0
    rows, table = json.loads(answer.stdout)["result"]["rows"], pd.read_csv(results)
    units = table.loc[table["unit"] != "all units", "unit"].nunique()
    # Three kinds of patches, for each unit and for all units together.
    assert len(rows) == len(table) == 3 * units + 3 and table["simulated_judgements"].all()
    assert len(pd.read_csv(judgements)) == 18 * units
    assert "SIMULATED" in labels_command(own_study, "audit").stdout
    first = labels_command(own_study, "audit", "--audit", "audit-1", "--json")
    assert json.loads(first.stdout)["result"]["audit"]["audit"] == "audit-1"
    unknown = labels_command(own_study, "audit", "--audit", "x")
    assert "no label audit 'x'; there are audit-1, audit-2" in str(unknown.exception)
    assert labels_command(own_study, "audit-end").exit_code == 0
    assert labels_command(own_study, "audit-start", "--patches", "2").exit_code == 0
    assert "audit-3 is ended" in labels_command(own_study, "audit-end").stdout
