"""A bundle holds texts and nothing else; its answers come home once, unchanged, and under the
protocol they were read under.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dashboard"))
import synthetic

from core import store
from core.errors import UserError
from core.store import bundles, desk, people, readings
from core.store.reader import Desk
from evaluation.reading import check_frozen, protocol_hash
from evaluation.steps import bundle
from evaluation.steps import reading as stages

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
    at, given = Desk(code, desk.key(study)), {}
    with store.write(study) as con:
        if people.role_of(con, code) is None:
            people.add(con, code, "reader")
            people.consent(con, code, "<b>9 years</b>", "agreed")
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
    study = synthetic.make(folder / "home", protocol=False)
    with store.write(study) as con:
        synthetic.add_protocol(
            con, 24, state="lint", design={"arms": ["explanation"], "truth_rule": "any_malignant"}
        )
        found = readings.get(con, NAME, 1)
        digest = protocol_hash(stages.design_of(found), readings.cases(con, NAME, 1))
        readings.append_state(
            con, protocol=NAME, version=1, state="frozen", design=found.design, hash=digest
        )
    made = bundle.make(study, folder / "away", None, "team")
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
        frozen = readings.get(con, NAME, 1)
        here = Desk("R1", b"")._order(con, frozen)
    with store.read(away) as con:
        found = readings.get(con, NAME, 1)
        assert (
            found.hash == frozen.hash and Desk("R1", b"")._order(con, found) == here
        )  # the order that was linted at home


def test_answers_come_home_once(home: Path, away: Path, tmp_path: Path) -> None:
    given, file = answer_all(away, "R1", 0) or None, tmp_path / "answers.json"
    assert given is None and bundle.export_answers(away, file) == {"R1": 26}
    assert not any(secret in file.read_text() for secret in SECRETS[:8])
    answer_all(home, "R1")
    assert bundle.import_answers(home, file, "team").readers == {"B1-R1": 26}
    with store.read(home) as con, store.read(away) as there:
        mine = readings.answers(con, NAME, 1)
        theirs = readings.answers(there, NAME, 1)
        assert sorted(set(mine["code"])) == ["B1-R1", "R1"]
        columns = ["position", "case_number", "repeat", "answer", "revision", "seconds", "made"]
        assert (
            mine.loc[mine["code"] == "B1-R1", columns]
            .reset_index(drop=True)
            .equals(theirs[columns])
        )
        assert people.people(con).set_index("code").loc["B1-R1", "experience"] == "<b>9 years</b>"
        check_frozen(
            stages.design_of(readings.get(con, NAME, 1)),
            readings.cases(con, NAME, 1),
            readings.get(con, NAME, 1).hash,
        )
    for _ in range(2):
        with pytest.raises(UserError, match="imported on .* already"):
            bundle.import_answers(home, file, "team")
    with pytest.raises(UserError, match="exists already"):
        bundle.export_answers(away, file)
    with store.read(home) as con:
        assert len(readings.answers(con, NAME, 1)) == 52


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
    bundle.export_answers(away, file)
    file.write_text(change(file.read_text()))
    with pytest.raises(UserError, match=words) as error:
        bundle.import_answers(home, file, "team")
    assert str(file) in str(error.value)
    with store.read(home) as con:
        assert (
            not len(readings.answers(con, NAME, 1))
            and bundles.issued(con)["B1"]["imported"] is None
        )


def test_sealed_rows_that_do_not_fit_change_nothing(home: Path, away: Path, tmp_path: Path) -> None:
    """Even with the key: an answer off the scale, a case missing from the order."""
    file = tmp_path / "answers.json"
    bundle.export_answers(away, file)
    whole = json.loads(file.read_text())
    with store.read(home) as con:
        key = bundles.issued(con)["B1"]["key"]
    for change in (
        lambda r: r["answers"][7].__setitem__(2, 7),
        lambda r: r["items"].pop(),
        lambda r: r["answers"][7].__setitem__(1, 2),
        lambda r: r["items"][9].__setitem__(1, r["items"][10][1]),
        lambda r: r["answers"].append([999, 1, 3, 1.0, False, "2026-01-01T00:00:00"]),
    ):
        content = json.loads(json.dumps({k: v for k, v in whole.items() if k != "seal"}))
        change(content["readers"][0])
        file.write_text(json.dumps(content | {"seal": bundle._seal(key, content)}))
        with pytest.raises(UserError, match="do not fit the protocol"):
            bundle.import_answers(home, file, "team")
    with store.read(home) as con:
        assert not len(readings.answers(con, NAME, 1)) and people.role_of(con, "B1-R1") is None


def test_a_bundle_edited_by_hand_is_refused(away: Path, tmp_path: Path) -> None:
    assert bundle.check(away) is not None
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
            lambda c=copy: bundle.check(c),
            lambda c=copy: bundle.export_answers(c, tmp_path / "x.json"),
        ):
            with pytest.raises(UserError, match="changed after it was made"):
                work()


def test_stages_and_places(home: Path, away: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    bundle.export_answers(away, file)
    with pytest.raises(UserError, match="is a bundle itself"):
        bundle.make(away, tmp_path / "x", None, "team")
    with pytest.raises(UserError, match="is no bundle"):
        bundle.export_answers(home, tmp_path / "y.json")
    with pytest.raises(UserError, match="not an empty folder"):
        bundle.make(home, away, None, "team")
    with pytest.raises(UserError, match="export-answers"):
        stages.close(away, None, "team")
    stages.close(home, None, "team")
    with pytest.raises(UserError, match="closed before these answers came"):
        bundle.import_answers(home, file, "team")
    with pytest.raises(UserError, match="No reading study is frozen"):
        bundle.make(home, tmp_path / "z", None, "team")
    with pytest.raises(UserError, match="only a frozen and open study"):
        bundle.make(home, tmp_path / "z", NAME, "team")


def test_a_bundle_that_nobody_read(home: Path, tmp_path: Path) -> None:
    made = bundle.make(home, tmp_path / "quiet", NAME, "team")
    assert made.id == "B2"
    with pytest.raises(UserError, match="Nobody has read yet"):
        bundle.export_answers(made.folder, tmp_path / "x.json")
