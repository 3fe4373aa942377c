"""`deepminer reading`: what the states refuse, one sentence each, with nothing half-entered."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core import store
from core.errors import UserError
from core.store.reading import protocol_table, reading_table
from core.store.reading.reading_table import ReadingItem
from dashboard.commands.reading_study import reading_app
from evaluation.reading_study import workflow
from evaluation.reading_study.leakage_issues import WARNING
from support import explained_study
from support.explained_study import NAME


@pytest.fixture(scope="module", autouse=True)
def few_permutations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        explained_study.use_few_permutations(patch)
        yield


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose version 1 is frozen and whose version 2 is a design."""
    study = explained_study.create_study(tmp_path_factory.mktemp("two") / "study")
    explained_study.frozen(study)
    explained_study.checked(study, seed=2)
    assert _run(study, "create", *_DESIGN, "--seed", "3")[0] == 0
    return study


@pytest.fixture
def study(two_versions: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_versions, tmp_path / "study"))


_DESIGN = (
    "--protocol",
    NAME,
    "--readers",
    "1",
    "--set",
    "images_per_patient=none",
    "--set",
    "depth=none",
    "--set",
    "comparison_share=0.5",
)


def _run(study: Path, *arguments: str) -> tuple[int, str]:
    """Run a command; return the exit code and what it prints or its message."""
    done = CliRunner().invoke(reading_app, [*arguments, "--study", str(study)])
    if isinstance(done.exception, UserError):
        return 1, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def states(study: Path) -> dict[int, str]:
    with store.read(study) as con:
        return {p.version: p.state for p in protocol_table.list_protocols(con)}


def protocol_rows(study: Path) -> list[Any]:
    with store.read(study) as con:
        return con.execute("SELECT * FROM protocols ORDER BY ALL").fetchall()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lint", "--protocol", NAME), "versions 1 (frozen), 2 (design); name one with --version"),
        (("freeze",), "versions 1 (frozen), 2 (design); name one with --version"),
        (("close", "--confirm", NAME), "versions 1 (frozen), 2 (design); name one"),
        (("score", "--protocol", NAME), "versions 1 (frozen), 2 (design); name one"),
        (("lint", "--version", "3"), "has no version 3; it has 1 (frozen), 2 (design)"),
        (("freeze", "--version", "0"), "has no version 0"),
        (("close", "--version", "9", "--confirm", NAME), "has no version 9"),
        (("score", "--version", "9"), "has no version 9"),
        (("score", "--protocol", "Other"), "no reading study called 'Other'"),
        (("lint", "--version", "1"), "version 1, is frozen; a change needs a new version"),
        (("freeze", "--version", "1"), "version 1, is frozen and cannot become frozen"),
        (("freeze", "--version", "2"), "version 2, is design and cannot become frozen"),
        (("close", "--version", "2", "--confirm", NAME), "is design and cannot become closed"),
        (("score", "--version", "1"), "version 1, is frozen: results are hidden"),
        (("score", "--version", "2"), "version 2, is design: results are hidden"),
        (("close", "--version", "1", "--confirm", "other"), "Type the study's name exactly"),
        (("close", "--version", "1"), f"confirm it with --confirm '{NAME}'"),
        (("freeze", "--version", "2", "--reason", "texts"), "--reason takes FIELD=why"),
    ],
)
def test_each_mistake_is_one_sentence_and_changes_nothing(
    two_versions: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = protocol_rows(two_versions)
    code, text = _run(two_versions, *arguments)
    assert code == 1 and message in text and "\n" not in text.strip()
    assert protocol_rows(two_versions) == before


def test_changed_design_is_not_frozen(study: Path) -> None:
    assert _run(study, "lint", "--version", "2")[0] == 0
    with store.write(study) as con:
        con.execute("UPDATE reading_cases SET texts = '[\"Cancer\"]' WHERE version = 2")
    code, text = _run(study, "freeze", "--version", "2", *_reasons(study, 2))
    assert code == 1 and "version 2, is not what was checked: the texts of the cases" in text
    assert states(study) == {1: "frozen", 2: "checked"}
    # The command that the message names is the remedy.
    command = re.search(r"`deepminer reading (lint .*?)`", text)
    assert command is not None and _run(study, *command[1].replace("'", "").split())[0] == 0


def _reasons(study: Path, version: int) -> list[str]:
    with store.read(study) as con:
        found = protocol_table.find_protocol(con, NAME, version)
    return [f"--reason={name}=accepted" for name in explained_study.accepted(found)]


def test_two_versions_from_check_to_close(study: Path) -> None:
    code, text = _run(study, "lint", "--protocol", NAME, "--version", "2")
    assert code == 0 and f"deepminer reading freeze --protocol '{NAME}' --version 2" in text
    code, text = _run(study, "freeze", "--version", "2", *_reasons(study, 2), "--json")
    result = json.loads(text)["result"]
    assert code == 0 and result["version"] == 2 and len(result["content_hash"]) == 64
    assert states(study) == {1: "frozen", 2: "frozen"}
    assert _run(study, "close", "--version", "1", "--confirm", NAME)[0] == 0
    assert states(study) == {1: "closed", 2: "frozen"}
    code, text = _run(study, "score", "--version", "1")
    assert code == 1 and "closed without a single answer" in text
    code, text = _run(study, "status", "--json")
    listed = json.loads(text)["result"]["protocols"]
    assert {(p["version"], p["state"]) for p in listed} == {(1, "closed"), (2, "frozen")}


def test_freezing_names_every_warning_and_prints_both_hashes(study: Path) -> None:
    assert _run(study, "lint", "--version", "2")[0] == 0
    with store.read(study) as con:
        drafted = protocol_table.find_protocol(con, NAME, 2)
    # The setting none is a value, and not an option that was left out.
    assert drafted.design["images_per_patient"] is drafted.design["depth"] is None
    warnings = [issue for issue in drafted.lint if issue["severity"] == WARNING]
    code, text = _run(study, "freeze", "--version", "2", "--reason", f"{warnings[0]['field']}=yes")
    left = [issue for issue in warnings if issue["field"] != warnings[0]["field"]]
    assert code == 1 and len(left) > 1 and all(issue["finding"] in text for issue in left)
    code, text = _run(study, "freeze", "--version", "2", *_reasons(study, 2))
    with store.read(study) as con:
        frozen = protocol_table.find_protocol(con, NAME, 2)
    assert code == 0 and frozen.hash in text and frozen.content_hash in text


def test_closing_names_missing_answers(study: Path) -> None:
    with store.write(study) as con:
        protocol = protocol_table.find_protocol(con, NAME, 1)
        items = [ReadingItem(1), ReadingItem(2), ReadingItem(3)]
        assert "1 of 1 planned reader has not begun" in workflow.unanswered_sentence(con, NAME, 1)
        reading_table.assign_reading_order(con, NAME, 1, "R1", items)
        answer = {"protocol": protocol, "code": "R1", "revision": 1, "answer": 2, "seconds": 1.0}
        reading_table.append_reading_answer(con, **answer, position=2)
        missing = "R1 has not answered 2 of 3 cases"
        assert missing in workflow.unanswered_sentence(con, NAME, 1)
    # Named also where closing is refused, because it was not confirmed.
    refused = CliRunner().invoke(reading_app, ["close", "--version", "1", "--study", str(study)])
    assert isinstance(refused.exception, UserError) and missing in refused.output
    code, text = _run(study, "close", "--version", "1", "--confirm", NAME)
    assert code == 0 and missing in text
    with store.write(study) as con:
        for position in (1, 3):
            con.execute(
                "INSERT INTO answers SELECT * REPLACE (? AS position) FROM answers WHERE position ="
                " 2",
                [position],
            )
        assert workflow.unanswered_sentence(con, NAME, 1) == ""


def test_close_asks_for_the_name_on_a_terminal(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.commands import reading_study

    asked = []

    def answer(text: str, **_options: object) -> str:
        """Stand in for a person at a terminal."""
        asked.append(text)
        return NAME if len(asked) > 1 else "something else"

    monkeypatch.setattr(reading_study, "_on_terminal", lambda: True)
    monkeypatch.setattr("typer.prompt", answer)
    code, text = _run(study, "close", "--version", "1")
    assert code == 1 and "confirmed with 'something else'" in text and states(study)[1] == "frozen"
    assert _run(study, "close", "--version", "1")[0] == 0
    assert states(study) == {1: "closed", 2: "design"} and NAME in asked[0]
