"""The commands of site bundles: bundle, answers out, answers in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from core import store
from core.errors import UserError
from core.store import participant_table, run_table
from core.store.evidence import operating_system_user
from dashboard.cli import app
from support.bundle_answers import NAME, answer_all, create_frozen_study


def reading(study: Path, *arguments: str) -> dict[str, Any]:
    """Run a command with --json and return its result."""
    done = CliRunner().invoke(
        app, ["reading", *arguments, "--study", str(study), "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)["result"]
    return result


def test_answers_go_out_and_come_back(tmp_path: Path) -> None:
    home, away, file = (
        create_frozen_study(tmp_path / "home"),
        tmp_path / "away",
        tmp_path / "answers.json",
    )
    made = reading(home, "bundle", "--out", str(away), "--protocol", NAME, "--readers", "1")
    assert (made["id"], made["readers"]) == ("B1", ["R1"])
    refused = CliRunner().invoke(app, ["invite", "reader", "--name", "R7", "--study", str(away)])
    assert isinstance(refused.exception, UserError) and "none for R7" in str(refused.exception)
    invited = CliRunner().invoke(app, ["invite", "reader", "--study", str(home)])
    # No server has written its address.
    assert invited.exit_code == 0 and "name the address with --base" in invited.output
    with store.read(away) as con:
        assert "R7" not in set(participant_table.load_participants(con)["code"])
    answer_all(away, "R1", 9)
    assert reading(away, "export-answers", str(file))["readers"] == {"R1": 4}
    # 5 practice cases and 4 others
    assert reading(home, "import-answers", str(file)) == {
        "id": "B1",
        "protocol": NAME,
        "version": 1,
        "readers": {"B1-R1": 4},
        "added": 9,
    }
    again = CliRunner().invoke(app, ["reading", "import-answers", str(file), "--study", str(home)])
    assert again.exit_code == 0 and "nothing changed" in again.output
    file.write_text(file.read_text()[:300])
    cut = CliRunner().invoke(app, ["reading", "import-answers", str(file), "--study", str(home)])
    assert isinstance(cut.exception, UserError) and "not a complete file" in str(cut.exception)
    with store.read(home) as con, store.read(away) as there:
        log = run_table.load_log(con)
        exported = run_table.load_log(there, "bundle answers exported")
    assert {"bundle made", "bundle answers imported"} <= set(log["event"])
    # A person is the operating system's user, whatever the environment says.
    assert exported["who"].tolist() == [operating_system_user()]


def test_plan_of_the_change_after_advice(tmp_path: Path) -> None:
    plan = reading(tmp_path, "plan", "--endpoint", "advice_change", "--cases", "80")["assumptions"]
    assert (plan["expected"], plan["side"]) == (0.05, "two-sided")
