"""Problems: listed once, decided by people, cleared when repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import store
from core.errors import UserError
from core.store import problem_table
from core.study_folder import create_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return create_study(tmp_path / "study")


def row(finding: int | None = 1, **changes: Any) -> dict[str, Any]:
    return {
        "source_id": "s",
        "item": "M1, finding 1",
        "cause": "outside",
        "action": "no patches",
        "skipped": False,
        "code": "outside_breast",
        "mammogram_id": "M1",
        "finding": finding,
    } | changes


def test_a_coded_problem_is_listed_once_and_keeps_its_decision(study: Path) -> None:
    with store.write(study) as con:
        problem_table.add_problems(con, [row(), row(finding=2)])
        first, second = problem_table.list_problems(con)["problem_id"]
        problem_table.resolve_problems(con, [first], problem_table.ACCEPTED, "team")
        problem_table.add_problems(con, [row(cause="outside, found again"), row(finding=3)])
        listed = problem_table.list_problems(con)
        assert listed["finding"].tolist() == [1, 2, 3]
        assert listed["resolution"].tolist()[0] == "accepted"
        assert listed["resolved_by"].tolist()[0] == "team" and second in set(listed["problem_id"])
        open_problems = problem_table.list_problems(con, open_only=True)
        assert open_problems["finding"].tolist() == [2, 3]
        decisions = problem_table.finding_decisions(con)
        assert [(d.finding, d.resolution) for d in decisions] == [
            (1, "accepted"),
            (2, None),
            (3, None),
        ]
        problem_table.replace_open_problems(con, ["outside_breast"], [row(finding=4)])
        assert problem_table.list_problems(con)["finding"].tolist() == [1, 4]


def test_problems_without_a_code(study: Path) -> None:
    plain = {"source_id": "s", "item": "row 3", "cause": "c", "action": "a", "skipped": True}
    with store.write(study) as con:
        problem_table.add_problems(con, [plain, row()])
        listed = problem_table.list_problems(con)
        assert listed["code"].tolist() == ["", "outside_breast"]
        assert [d.finding for d in problem_table.finding_decisions(con)] == [1]
        assert len(problem_table.list_problems(con, code="outside_breast")) == 1


def test_unknown_problem_and_decision(study: Path) -> None:
    with store.write(study) as con:
        problem_table.add_problems(con, [row()])
        name = problem_table.list_problems(con)["problem_id"][0]
        with pytest.raises(UserError, match="'maybe' is no decision; use one of accepted"):
            problem_table.resolve_problems(con, [name], "maybe", "team")
        with pytest.raises(UserError, match="no problem 0123456789"):
            problem_table.resolve_problems(con, ["0123456789"], problem_table.LEFT_OUT, "team")


def test_repaired_patients_leave_the_list(study: Path) -> None:
    with store.write(study) as con:
        con.execute(
            "INSERT INTO sources BY NAME SELECT 's' AS source_id, 'manifest' AS kind, '' AS"
            " location, '{}' AS options, FALSE AS simulated, FALSE AS image_labels,"
            " now()::TIMESTAMP AS made, 5 AS patients, 5 AS mammograms, 2 AS skipped"
        )
        problem_table.add_problems(
            con,
            [
                row(item=name, code="", mammogram_id=None, finding=None, skipped=True)
                for name in ("P1", "P2")
            ],
        )
        problem_table.clear_skipped_problems(con, ["P2", "P9"])
        assert problem_table.list_problems(con)["item"].tolist() == ["P1"]
        assert con.execute("SELECT skipped FROM sources").fetchall() == [(1,)]
