"""A bundle holds texts and nothing else; its answers come home once, unchanged, and under the
protocol they were read under.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.sessions import tokens
from core.sessions.reading_session import Desk
from core.store import bundle_table, participant_table, reading_table
from evaluation.reading_study import check_frozen, protocol_hash, site_bundles, workflow
from support import synthetic_study

NAME = "ZQXSTUDY"
SECRETS = (
    "ZQXCASE",
    "ZQXPATIENT",
    "ZQXARM",
    "zqxfile",
    "MALIGNANT",
    "BENIGN",
    "0.12345",
    "malignant",
    "any_malignant",
    "hypothesis",
)


def answer_all(study: Path, code: str, most: int = 99) -> dict[int, int]:
    """One reader reads; {position: answer}."""
    at, given = Desk(code, tokens.key(study)), {}
    with store.write(study) as con:
        if participant_table.role_of(con, code) is None:
            participant_table.add(con, code, "reader")
            participant_table.consent(con, code, "<b>9 years</b>", "agreed")
        at.seat(con, at.protocol(con))
        shown = at.show(con, at.protocol(con))
        while shown is not None and len(given) < most:
            given[shown.position] = 1 + (shown.position * 7 + len(code)) % 6
            shown = at.answer(con, shown.token, given[shown.position], 3.5, False)[1]
    return given


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To copy from: "home", a study with a frozen protocol of 24 cases, and "away", a bundle of it
    that one reader has read.
    """
    folder = tmp_path_factory.mktemp("pair")
    study = synthetic_study.make(folder / "home", protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(
            con, 24, state="lint", design={"arms": ["explanation"], "truth_rule": "any_malignant"}
        )
        found = reading_table.get(con, NAME, 1)
        digest = protocol_hash(workflow.design_of(found), reading_table.cases(con, NAME, 1))
        reading_table.append_state(
            con, protocol=NAME, version=1, state="frozen", design=found.design, hash=digest
        )
    made = site_bundles.make(study, folder / "away", None, "team")
    assert (made.id, made.cases) == ("B1", 24)
    answer_all(made.folder, "R1")
    return folder


@pytest.fixture
def home(pair: Path, tmp_path: Path) -> Path:
    """The study at home."""
    return Path(
        shutil.copytree(pair / "home", tmp_path / "home", ignore=shutil.ignore_patterns("*.npy"))
    )


@pytest.fixture
def away(pair: Path, tmp_path: Path) -> Path:
    """The bundle."""
    return Path(shutil.copytree(pair / "away", tmp_path / "away"))


def test_a_bundle_holds_texts_and_nothing_else(home: Path, away: Path) -> None:
    with store.read(away) as con:
        con.execute("SET enable_progress_bar = FALSE")
        tables = [
            row[0]
            for row in con.execute(
                "SELECT table_name FROM duckdb_tables() WHERE estimated_size > 0"
            ).fetchall()
        ]
        words = " ".join(str(con.execute(f"SELECT * FROM {name}").fetchall()) for name in tables)
        assert set(tables) <= {
            "meta",
            "migrations",
            "protocols",
            "reading_cases",
            "reading_items",
            "answers",
            "people",
            "consents",
            "log",
        }
        assert (
            len(
                con.execute(
                    "SELECT * FROM reading_cases WHERE truth IS NULL AND network_score IS NULL AND"
                    " predicted IS NULL AND arm = ''"
                ).fetchall()
            )
            == 24
        )
    for secret in SECRETS:
        assert secret not in words, secret
    for file in (f for f in away.rglob("*") if f.is_file()):
        assert not any(secret.encode() in file.read_bytes() for secret in SECRETS[:7]), file
    assert not list((away / "images").iterdir()) and not list((away / "runs").iterdir())
    with store.read(home) as con:
        frozen = reading_table.get(con, NAME, 1)
        here = Desk("R1", b"")._order(con, frozen)
    with store.read(away) as con:
        found = reading_table.get(con, NAME, 1)
        assert (
            found.hash == frozen.hash and Desk("R1", b"")._order(con, found) == here
        )  # the order that was linted at home


def test_answers_come_home_once(home: Path, away: Path, tmp_path: Path) -> None:
    given, file = answer_all(away, "R1", 0) or None, tmp_path / "answers.json"
    assert given is None and site_bundles.export_answers(away, file) == {"R1": 26}
    assert not any(secret in file.read_text() for secret in SECRETS[:8])
    answer_all(home, "R1")
    assert site_bundles.import_answers(home, file, "team").readers == {"B1-R1": 26}
    with store.read(home) as con, store.read(away) as there:
        mine = reading_table.answers(con, NAME, 1)
        theirs = reading_table.answers(there, NAME, 1)
        assert sorted(set(mine["code"])) == ["B1-R1", "R1"]
        columns = ["position", "case_number", "repeat", "answer", "revision", "seconds", "made"]
        assert (
            mine.loc[mine["code"] == "B1-R1", columns]
            .reset_index(drop=True)
            .equals(theirs[columns])
        )
        assert (
            participant_table.people(con).set_index("code").loc["B1-R1", "experience"]
            == "<b>9 years</b>"
        )
        check_frozen(
            workflow.design_of(reading_table.get(con, NAME, 1)),
            reading_table.cases(con, NAME, 1),
            reading_table.get(con, NAME, 1).hash,
        )
    for _ in range(2):
        with pytest.raises(UserError, match="imported on .* already"):
            site_bundles.import_answers(home, file, "team")
    with pytest.raises(UserError, match="exists already"):
        site_bundles.export_answers(away, file)
    with store.read(home) as con:
        assert len(reading_table.answers(con, NAME, 1)) == 52


def _edit(change: Callable[[dict], None]) -> Callable[[str], str]:
    def edited(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return edited


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_edit(lambda c: c["readers"][0]["answers"][7].__setitem__(2, 6)), "edited by hand"),
        (_edit(lambda c: c["readers"][0]["answers"].pop()), "edited by hand"),
        (_edit(lambda c: c["readers"].append(c["readers"][0])), "edited by hand"),
        (_edit(lambda c: c.__setitem__("hash", "0" * 64)), "edited by hand"),
        (_edit(lambda c: c.__setitem__("bundle", "B7")), "has not given out"),
        (_edit(lambda c: c.pop("seal")), "edited by hand"),
        (_edit(lambda c: c.__setitem__("kind", "x")), "holds no answers"),
        (lambda text: text[:400], "is not JSON"),
        (lambda text: "[]", "holds no answers"),
    ],
)
def test_an_edited_file_is_refused(
    home: Path, away: Path, tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    file = tmp_path / "answers.json"
    site_bundles.export_answers(away, file)
    file.write_text(change(file.read_text()))
    with pytest.raises(UserError, match=words) as error:
        site_bundles.import_answers(home, file, "team")
    assert str(file) in str(error.value)
    with store.read(home) as con:
        assert (
            not len(reading_table.answers(con, NAME, 1))
            and bundle_table.issued(con)["B1"]["imported"] is None
        )


def test_sealed_rows_that_do_not_fit_change_nothing(home: Path, away: Path, tmp_path: Path) -> None:
    """Even with the key: an answer off the scale, a case missing from the order."""
    file = tmp_path / "answers.json"
    site_bundles.export_answers(away, file)
    whole = json.loads(file.read_text())
    with store.read(home) as con:
        key = bundle_table.issued(con)["B1"]["key"]
    for change in (
        lambda r: r["answers"][7].__setitem__(2, 7),
        lambda r: r["items"].pop(),
        lambda r: r["answers"][7].__setitem__(1, 2),
        lambda r: r["items"][9].__setitem__(1, r["items"][10][1]),
        lambda r: r["answers"].append([999, 1, 3, 1.0, False, "2026-01-01T00:00:00"]),
    ):
        content = json.loads(json.dumps({k: v for k, v in whole.items() if k != "seal"}))
        change(content["readers"][0])
        file.write_text(json.dumps(content | {"seal": site_bundles._seal(key, content)}))
        with pytest.raises(UserError, match="do not fit the protocol"):
            site_bundles.import_answers(home, file, "team")
    with store.read(home) as con:
        assert (
            not len(reading_table.answers(con, NAME, 1))
            and participant_table.role_of(con, "B1-R1") is None
        )


def test_a_bundle_edited_by_hand_is_refused(away: Path, tmp_path: Path) -> None:
    assert site_bundles.check(away) is not None
    for change in (
        "UPDATE reading_cases SET texts = '[\"Spiculated mass\"]' WHERE case_number = 3",
        "UPDATE protocols SET hash = 'x' WHERE state = 'frozen'",
        "DELETE FROM reading_cases WHERE case_number = 4",
        "UPDATE protocols SET design = '{}'",
    ):
        copy = tmp_path / f"copy{len(change)}"
        copy.mkdir()
        for name in ("study.toml", "study.duckdb"):
            (copy / name).write_bytes((away / name).read_bytes())
        with store.write(copy) as con:
            con.execute(change)
        for work in (
            lambda c=copy: site_bundles.check(c),
            lambda c=copy: site_bundles.export_answers(c, tmp_path / "x.json"),
        ):
            with pytest.raises(UserError, match="changed after it was made"):
                work()


def test_stages_and_places(home: Path, away: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    site_bundles.export_answers(away, file)
    with pytest.raises(UserError, match="is a bundle itself"):
        site_bundles.make(away, tmp_path / "x", None, "team")
    with pytest.raises(UserError, match="is no bundle"):
        site_bundles.export_answers(home, tmp_path / "y.json")
    with pytest.raises(UserError, match="not an empty folder"):
        site_bundles.make(home, away, None, "team")
    with pytest.raises(UserError, match="export-answers"):
        workflow.close(away, None, "team")
    workflow.close(home, None, "team")
    with pytest.raises(UserError, match="closed before these answers came"):
        site_bundles.import_answers(home, file, "team")
    with pytest.raises(UserError, match="No reading study is frozen"):
        site_bundles.make(home, tmp_path / "z", None, "team")
    with pytest.raises(UserError, match="only a frozen and open study"):
        site_bundles.make(home, tmp_path / "z", NAME, "team")


def test_a_bundle_that_nobody_read(home: Path, tmp_path: Path) -> None:
    made = site_bundles.make(home, tmp_path / "quiet", NAME, "team")
    assert made.id == "B2"
    with pytest.raises(UserError, match="Nobody has read yet"):
        site_bundles.export_answers(made.folder, tmp_path / "x.json")
