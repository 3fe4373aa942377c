"""Problems: listed once, decided by people, cleared when repaired."""

from __future__ import annotations

import hashlib
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


def test_problems_of_several_patients_are_removed(study: Path) -> None:
    """Those of the patient, its mammograms and their parts; a longer name is another patient."""
    mammogram_ids = {"A.LEFT_CC": "A", "A, b.LEFT_CC": "A", "B.LEFT_CC": "B", "C.LEFT_CC": "C"}
    items = ["A", "A, b.LEFT_CC, row 3", "B.LEFT_CC", "B.LEFT_CC, finding 1", "elsewhere"]
    kept = ["AB", "A, bc.LEFT_CC, row 3", "B.LEFT_CC_2", "C.LEFT_CC, finding 1", "row 7"]
    with store.write(study) as con:
        con.executemany(
            "INSERT INTO mammograms BY NAME SELECT ? AS mammogram_id, ? AS patient_id,"
            " 'LEFT' AS laterality, 'CC' AS view, 'f' AS file, 1 AS width, 1 AS height,"
            " 1 AS source_width, 1 AS source_height, '' AS scanner, false AS inverted,"
            " .5 AS tissue,"
            " 'h' AS pixel_hash, false AS has_concepts, false AS unlocated",
            list(mammogram_ids.items()),
        )
        problem_table.add_problems(
            con,
            [
                row(
                    item=item,
                    code=f"code {k}",
                    finding=None,
                    mammogram_id="A.LEFT_CC" if item == "elsewhere" else None,
                )
                for k, item in enumerate(items + kept)
            ],
        )
        con.executemany(
            "INSERT INTO patients BY NAME SELECT ? AS patient_id, 's' AS source_id,"
            " '{}' AS features, '' AS stratum",
            [[name] for name in ("A", "AB", "B", "C", "D", "row")],
        )
        assert problem_table.patients_with_problems(con) == ["A", "AB", "B", "C"]
        assert problem_table.remove_patient_problems(con, ["A", "B", "unknown"]) == len(items)
        assert problem_table.patients_with_problems(con) == ["AB", "C"]
        assert sorted(problem_table.list_problems(con)["item"]) == sorted(kept)
        assert problem_table.remove_patient_problems(con, []) == 0


def test_problems_of_a_kind_are_the_open_ones_of_mammograms(study: Path) -> None:
    with store.write(study) as con:
        problem_table.add_problems(
            con,
            [
                row(),
                row(finding=2),
                row(finding=3, code="unreached"),
                row(finding=None, mammogram_id=None),
                row(finding=4, mammogram_id="M2"),
            ],
        )
        ids = dict(problem_table.list_problems(con)[["finding", "problem_id"]].dropna().values)
        problem_table.resolve_problems(con, [ids[2]], problem_table.ACCEPTED, "team")
        assert set(problem_table.ids_of_kind(con, "outside_breast")) == {ids[1], ids[4]}
        assert problem_table.ids_of_kind(con, "unreached") == [ids[3]]
        # A name that is no kind is an id; neither is the missing kind of a problem without one.
        for name in ("p-17", ""):
            assert problem_table.ids_of_kind(con, name) == [name]


def test_what_a_source_reports_takes_the_place_of_what_it_reported(study: Path) -> None:
    def report(item: str, cause: str, source: str = "s") -> dict[str, Any]:
        return row(None, item=item, cause=cause, source_id=source, code="", mammogram_id=None)

    with store.write(study) as con:
        problem_table.replace_source_problems(
            con, ["s"], [report("row 1", "c"), report("row 2", "c")]
        )
        problem_table.replace_source_problems(con, ["t"], [report("row 9", "c", "t")])
        # From before the code was recorded: item and cause identify it, not one of them alone.
        problem_table.add_problems(con, [report("row 2", "d"), report("row 3", "c")])
        problem_table.replace_source_problems(
            con, ["s"], [report("row 2", "d"), report("row 4", "c")]
        )
        listed = problem_table.list_problems(con)
    found = sorted(zip(listed["source_id"], listed["item"], listed["cause"], listed["code"]))
    assert found == [
        ("s", "row 2", "d", "source"),
        ("s", "row 3", "c", ""),
        ("s", "row 4", "c", "source"),
        ("t", "row 9", "c", "source"),
    ]


def problem_id(*parts: str) -> str:
    """Return the documented id: ten hexadecimal digits of the MD5 of what identifies a problem."""
    return hashlib.md5("|".join(parts).encode()).hexdigest()[:10]


def test_every_column_of_the_list_and_its_order(study: Path) -> None:
    whole = {"item": "row 3", "mammogram_id": None, "finding": None, "skipped": True, "code": ""}
    with store.write(study) as con:
        problem_table.add_problems(con, [])
        problem_table.add_problems(
            con,
            [
                row(3, code="b"),
                row(2, code="b"),
                row(7, code="a"),
                row(item="M0", finding=None, mammogram_id="M0"),
                row(**whole),
            ],
        )
        frame = problem_table.list_problems(con)
        only = problem_table.list_problems(con, code="b")
        assert len(problem_table.list_problems(con, code="c")) == 0
    assert list(frame.columns) == [
        *("problem_id", "source_id", "item", "cause", "action", "skipped", "code"),
        *("mammogram_id", "finding", "resolution", "resolved_by", "resolved_at"),
    ]
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    open_ones = [None, None, None]
    first, item = ["s", "row 3", "outside", "no patches", True, ""], "M1, finding 1"
    assert rows == [
        [problem_id("s", "row 3", "", "", "0", "outside"), *first, None, None, *open_ones],
        [
            problem_id("s", "M0", "outside_breast", "M0", "0", "outside"),
            *("s", "M0", "outside", "no patches", False, "outside_breast", "M0", None),
            *open_ones,
        ],
        *(
            [
                problem_id("s", item, code, "M1", str(finding), "outside"),
                *("s", item, "outside", "no patches", False, code, "M1", finding),
                *open_ones,
            ]
            for code, finding in (("a", 7), ("b", 2), ("b", 3))
        ),
    ]
    assert only["finding"].tolist() == [2, 3]


def test_decisions_are_made_together_and_taken_back(study: Path) -> None:
    film = {"finding": None, "mammogram_id": "M5", "item": "M5"}
    with store.write(study) as con:
        plain = row(None, mammogram_id=None, code="", item="row 7")
        problem_table.add_problems(con, [row(1), row(2), row(**film), plain])
        ids = problem_table.list_problems(con).set_index("item")["problem_id"]
        finding, film_id, plain_id = ids["M1, finding 1"].iloc[0], ids["M5"], ids["row 7"]
        resolve = problem_table.resolve_problems
        with pytest.raises(UserError, match="row 7. concerns no mammogram of the study that could"):
            resolve(con, [finding, plain_id], problem_table.LEFT_OUT, "T1")
        assert len(problem_table.list_problems(con, open_only=True)) == 4
        resolve(con, [finding, film_id], problem_table.LEFT_OUT, "T1")
        resolve(con, [plain_id], problem_table.ACCEPTED, "T2")
        # A finding that is left out does not leave its mammogram out.
        assert problem_table.left_out_mammograms(con) == ["M5"]
        listed = problem_table.list_problems(con).set_index("problem_id")
        assert listed.loc[[finding, film_id, plain_id], "resolution"].tolist() == [
            *("left_out", "left_out", "accepted"),
        ]
        assert listed.loc[[finding, plain_id], "resolved_by"].tolist() == ["T1", "T2"]
        assert listed["resolved_at"].notna().sum() == 3
        open_ones = problem_table.list_problems(con, open_only=True)
        assert open_ones["finding"].tolist() == [2]
        resolve(con, [film_id], None, "T3")
        assert problem_table.left_out_mammograms(con) == []
        listed = problem_table.list_problems(con).set_index("problem_id").loc[film_id]
        assert listed[["resolution", "resolved_by", "resolved_at"]].isna().all()
        decisions = problem_table.finding_decisions(con)
    assert decisions == [
        problem_table.FindingDecision("M1", 1, "outside_breast", "left_out"),
        problem_table.FindingDecision("M1", 2, "outside_breast", None),
    ]


def test_open_problems_of_some_mammograms_are_replaced(study: Path) -> None:
    with store.write(study) as con:
        listed = [row(n, mammogram_id=f"M{n}", code=code) for n in (1, 2, 3) for code in "ab"]
        problem_table.add_problems(con, listed)
        found = problem_table.list_problems(con, code="a").set_index("finding")["problem_id"]
        problem_table.resolve_problems(con, [found[1]], problem_table.ACCEPTED, "T1")

        def left() -> list[tuple[int, str]]:
            frame = problem_table.list_problems(con)
            return sorted(zip(frame["finding"], frame["code"]))

        problem_table.replace_open_problems(con, ["a"], [row(9, code="a")], ["M1", "M2"])
        assert left() == [(1, "a"), (1, "b"), (2, "b"), (3, "a"), (3, "b"), (9, "a")]
        problem_table.replace_open_problems(con, ["b"], [], [])
        assert len(left()) == 6
        problem_table.replace_open_problems(con, ["a", "b"], [])
        assert left() == [(1, "a")]


def test_parts_of_the_names_of_items() -> None:
    assert problem_table._names("A, b, c") == ["A, b, c", "A", "A, b"]
    assert problem_table._names("A,b") == ["A,b"]
    assert problem_table._names_one_of("A, b", ["A"]) and not problem_table._names_one_of(
        "A", ["A"]
    )
    assert problem_table.RESOLUTIONS == ("accepted", "left_out")
