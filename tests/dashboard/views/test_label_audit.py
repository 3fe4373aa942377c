"""The tab Audit of the Annotations page, and the commands: start, follow, results with both
downloads, end.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from core import store
from core.store import audit_table, participant_table
from dashboard.cli import app
from support.team_page import Open, said


def button(page, label: str):
    return next(b for b in page.button if b.label == label)


def test_start_follow_and_end_an_audit(own_study: Path, team: Open, tmp_path: Path) -> None:
    page = team(own_study, "annotations")
    assert (
        "Progress of audit-1" in said(page)
        and "SIMULATED" in said(page)
        and any("Top minus random" in f.value.columns for f in page.dataframe)
    )
    page.number_input(key="audit_patches").set_value(3).run()
    button(page, "Start the audit").click().run()
    assert (
        not page.exception
        and "audit-2 is open" in page.success[0].value
        and "Nobody has judged a patch yet" in said(page)
    )
    with store.write(own_study) as con:
        audit = audit_table.current(con)
        for code, simulated in (("A1", False), ("S1", True)):
            participant_table.add(con, code, "annotator", simulated)
            for item in audit_table.items(con, audit.audit):
                audit_table.append_answer(
                    con,
                    audit.audit,
                    code,
                    item.item,
                    1,
                    "yes" if item.kind == "top" else "no",
                    2.0,
                    simulated,
                )
    page.run()
    text = said(page)
    assert (
        not page.exception
        and "Label precision" in text
        and "SIMULATED" in text
        and "1.00" in text
        and "same difference" in text
    )
    units = next(
        frame.value for frame in page.dataframe if "Top minus random" in frame.value.columns
    )
    assert (
        units["Top"]
        .str.startswith(("6 of 6, 1.00 (", "6 of 6, 1.00; all patches come from one patient"))
        .all()
        and units["Random"].str.startswith("0 of 6, .00").all()
    )
    cli, out, rows = CliRunner(), tmp_path / "a.csv", tmp_path / "j.csv"
    made = cli.invoke(
        app,
        [
            "labels",
            "audit",
            "--study",
            str(own_study),
            "--csv",
            str(out),
            "--judgements",
            str(rows),
            "--json",
        ],
    )
    assert (
        made.exit_code == 0
        and len(json.loads(made.stdout)["result"]["rows"])
        == len(pd.read_csv(out))
        == 3 * len(units) + 3
    )
    assert (
        len(pd.read_csv(rows)) == 18 * len(units) and pd.read_csv(out)["simulated_judgements"].all()
    )
    assert "SIMULATED" in cli.invoke(app, ["labels", "audit", "--study", str(own_study)]).stdout
    first = json.loads(
        cli.invoke(
            app, ["labels", "audit", "--study", str(own_study), "--audit", "audit-1", "--json"]
        ).stdout
    )["result"]
    assert first["audit"]["audit"] == "audit-1"
    assert "no label audit 'x'; there are audit-1, audit-2" in str(
        cli.invoke(app, ["labels", "audit", "--study", str(own_study), "--audit", "x"]).exception
    )
    page.selectbox(key="audit_shown").set_value("audit-1").run()
    assert not page.exception and "Progress of audit-1" in said(page)
    page.selectbox(key="audit_shown").set_value("audit-2").run()
    button(page, "End the audit").click().run()
    assert "is ended" in page.success[0].value and any(
        b.label == "Start the audit" for b in page.button
    )
    assert (
        cli.invoke(
            app, ["labels", "audit-start", "--study", str(own_study), "--patches", "2"]
        ).exit_code
        == 0
    )
    assert (
        "audit-3 is ended"
        in cli.invoke(app, ["labels", "audit-end", "--study", str(own_study)]).stdout
    )
