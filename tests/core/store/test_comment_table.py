"""Comments of the team: author and time, removal with a log, withdrawal with a patient."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.store import run_table
from core.store.labels import comment_table
from core.store.withdrawal import withdraw_patient
from support import synthetic_study

RUN = synthetic_study.DISSECT


@pytest.fixture
def commented(tmp_path: Path) -> tuple[Path, str, str]:
    """A study with a comment on a unit and one on a mammogram; with that and its patient."""
    path = synthetic_study.create_study(tmp_path / "study", protocol=False)
    with store.write(path) as con:
        mammogram, patient = con.execute(
            "SELECT mammogram_id, patient_id FROM mammograms ORDER BY 1 LIMIT 1"
        ).fetchone()
        comment_table.add_unit_comment(con, RUN, 4, "  =spicules  ", "T1")
        comment_table.add_case_comment(con, mammogram, "marker touches the breast", "T2")
    return path, mammogram, patient


def test_comments_have_author_time_and_item(commented: tuple[Path, str, str]) -> None:
    path, mammogram, _ = commented
    with store.read(path) as con:
        comments = comment_table.load_comments(con)
        of_unit = comment_table.load_unit_comments(con, RUN, 4)
        of_case = comment_table.load_case_comments(con, mammogram)
        assert not len(comment_table.load_unit_comments(con, RUN, 5))
        assert not len(comment_table.load_unit_comments(con, "dissect-other", 4))
    assert comments["time"].notna().all()
    expected = [
        ("unit", RUN, "unit_0005", "=spicules", "T1"),
        ("case", "", mammogram, "marker touches the breast", "T2"),
    ]
    columns = ["kind", "run", "item", "comment", "actor"]
    assert list(comments[columns].itertuples(index=False, name=None)) == expected
    assert list(of_unit["number"]) == [1] and list(of_case["number"]) == [2]


def test_a_removed_comment_leaves_a_log_without_its_text(
    commented: tuple[Path, str, str],
) -> None:
    path, _, _ = commented
    with store.write(path) as con:
        comment_table.remove_comment(con, 1, "T3")
        with pytest.raises(UserError, match="no comment 1"):
            comment_table.remove_comment(con, 1, "T3")
        comment_table.add_unit_comment(con, RUN, 4, "again", "T1")
    with store.read(path) as con:
        assert list(comment_table.load_comments(con)["number"]) == [2, 3]
        log = run_table.load_log(con, "comment removed")
    assert list(log["detail"]) == ["comment 1 of T1"]


@pytest.mark.parametrize("text", ["", " \n ", "x" * (comment_table.MAX_COMMENT_CHARACTERS + 1)])
def test_empty_and_long_comments_are_refused(commented: tuple[Path, str, str], text: str) -> None:
    path, _, _ = commented
    with store.write(path) as con, pytest.raises(UserError, match="1 to 2,000 characters"):
        comment_table.add_unit_comment(con, RUN, 4, text, "T1")
    with store.read(path) as con:
        assert len(comment_table.load_comments(con)) == 2


def test_withdrawal_of_a_patient_removes_the_comments(commented: tuple[Path, str, str]) -> None:
    path, _, patient = commented
    with store.write(path) as con:
        removed = withdraw_patient(con, patient, "T1").removed
        assert removed["comments"] == 1
        assert list(comment_table.load_comments(con)["kind"]) == ["unit"]
