"""Site bundles hold texts only; their answers are imported once, unchanged, for their protocol."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.sessions import tokens
from core.sessions.reading_session import ReadingSession
from core.store import (
    bundle_table,
    participant_table,
    protocol_table,
    reading_table,
)
from evaluation.reading_study import check_frozen, protocol_hash, site_bundles, workflow
from evaluation.reading_study.site_bundles.bundles import seal_content
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
    """Answer the remaining cases of a reader and return position to answer."""
    at, given = ReadingSession(code, tokens.load_secret_key(study)), {}
    with store.write(study) as con:
        if participant_table.participant_role(con, code) is None:
            participant_table.add_participant(con, code, "reader")
            participant_table.record_consent(con, code, "<b>9 years</b>", "agreed")
        at.assign_order(con, at.protocol(con))
        shown = at.displayed_case(con, at.protocol(con))
        while shown is not None and len(given) < most:
            given[shown.position] = 1 + (shown.position * 7 + len(code)) % 6
            shown = at.save_answer(con, shown.token, given[shown.position], 3.5, False)[1]
    return given


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create "home", a study with a frozen protocol of 24 cases, and "away", its bundle.

    One reader has read the bundle. Tests copy both folders.
    """
    folder = tmp_path_factory.mktemp("pair")
    study = synthetic_study.create_study(folder / "home", protocol=False)
    with store.write(study) as con:
        synthetic_study.add_protocol(
            con, 24, state="lint", design={"arms": ["explanation"], "truth_rule": "any_malignant"}
        )
        linted = protocol_table.load_protocol(con, NAME, 1)
        digest = protocol_hash(
            workflow.protocol_design(linted), reading_table.load_reading_cases(con, NAME, 1)
        )
        protocol_table.append_protocol_state(
            con, protocol=NAME, version=1, state="frozen", design=linted.design, hash=digest
        )
    made = site_bundles.create_bundle(study, folder / "away", None, "team")
    assert (made.id, made.cases) == ("B1", 24)
    answer_all(made.folder, "R1")
    return folder


@pytest.fixture
def home(pair: Path, tmp_path: Path) -> Path:
    """Return a copy of the original study."""
    return Path(
        shutil.copytree(pair / "home", tmp_path / "home", ignore=shutil.ignore_patterns("*.npy"))
    )


@pytest.fixture
def away(pair: Path, tmp_path: Path) -> Path:
    """Return a copy of the bundle."""
    return Path(shutil.copytree(pair / "away", tmp_path / "away"))


def test_bundle_holds_texts_only(home: Path, away: Path) -> None:
    with store.read(away) as con:
        con.execute("SET enable_progress_bar = FALSE")
        tables = [
            row[0]
            for row in con.execute(
                "SELECT table_name FROM duckdb_tables() WHERE estimated_size > 0"
            ).fetchall()
        ]
        content = " ".join(str(con.execute(f"SELECT * FROM {name}").fetchall()) for name in tables)
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
        assert secret not in content, secret
    for file in (f for f in away.rglob("*") if f.is_file()):
        assert not any(secret.encode() in file.read_bytes() for secret in SECRETS[:7]), file
    assert not list((away / "images").iterdir()) and not list((away / "runs").iterdir())
    with store.write(home) as con:
        frozen = protocol_table.load_protocol(con, NAME, 1)
        ReadingSession("R1", b"").assign_order(con, frozen)
        original_order = reading_table.load_reading_items(con, NAME, 1)
    with store.read(away) as con:
        # The bundle's reader has the order that was checked in the original study.
        assert protocol_table.load_protocol(con, NAME, 1).hash == frozen.hash
        assert reading_table.load_reading_items(con, NAME, 1).equals(original_order)


def test_answers_are_imported_once(home: Path, away: Path, tmp_path: Path) -> None:
    given, file = answer_all(away, "R1", 0) or None, tmp_path / "answers.json"
    assert given is None and site_bundles.export_answers(away, file) == {"R1": 26}
    assert not any(secret in file.read_text() for secret in SECRETS[:8])
    answer_all(home, "R1")
    assert site_bundles.import_answers(home, file, "team").readers == {"B1-R1": 26}
    with store.read(home) as con, store.read(away) as there:
        imported = reading_table.load_reading_answers(con, NAME, 1)
        exported = reading_table.load_reading_answers(there, NAME, 1)
        assert sorted(set(imported["code"])) == ["B1-R1", "R1"]
        columns = ["position", "case_number", "repeat", "answer", "revision", "seconds", "made"]
        assert (
            imported.loc[imported["code"] == "B1-R1", columns]
            .reset_index(drop=True)
            .equals(exported[columns])
        )
        assert (
            participant_table.load_participants(con).set_index("code").loc["B1-R1", "experience"]
            == "<b>9 years</b>"
        )
        check_frozen(
            workflow.protocol_design(protocol_table.load_protocol(con, NAME, 1)),
            reading_table.load_reading_cases(con, NAME, 1),
            protocol_table.load_protocol(con, NAME, 1).hash,
        )
    for _ in range(2):
        with pytest.raises(UserError, match="already imported on"):
            site_bundles.import_answers(home, file, "team")
    with pytest.raises(UserError, match="exists already"):
        site_bundles.export_answers(away, file)
    with store.read(home) as con:
        assert len(reading_table.load_reading_answers(con, NAME, 1)) == 52


def _edit(change: Callable[[dict], None]) -> Callable[[str], str]:
    def edited(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return edited


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _edit(lambda c: c["readers"][0]["answers"][7].__setitem__(2, 6)),
            "was edited or truncated",
        ),
        (_edit(lambda c: c["readers"][0]["answers"].pop()), "was edited or truncated"),
        (_edit(lambda c: c["readers"].append(c["readers"][0])), "was edited or truncated"),
        (_edit(lambda c: c.__setitem__("hash", "0" * 64)), "was edited or truncated"),
        (_edit(lambda c: c.__setitem__("bundle", "B7")), "did not issue"),
        (_edit(lambda c: c.pop("seal")), "was edited or truncated"),
        (_edit(lambda c: c.__setitem__("kind", "x")), "contains no answers"),
        (lambda text: text[:400], "is not JSON"),
        (lambda text: "[]", "contains no answers"),
    ],
)
def test_edited_file_is_refused(
    home: Path, away: Path, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    file = tmp_path / "answers.json"
    site_bundles.export_answers(away, file)
    file.write_text(change(file.read_text()))
    with pytest.raises(UserError, match=message) as error:
        site_bundles.import_answers(home, file, "team")
    assert str(file) in str(error.value)
    with store.read(home) as con:
        assert (
            not len(reading_table.load_reading_answers(con, NAME, 1))
            and bundle_table.bundle_exports(con)["B1"]["imported"] is None
        )


def test_sealed_rows_that_do_not_fit_are_refused(home: Path, away: Path, tmp_path: Path) -> None:
    """The rows are checked even if the seal is valid."""
    file = tmp_path / "answers.json"
    site_bundles.export_answers(away, file)
    whole = json.loads(file.read_text())
    with store.read(home) as con:
        key = bundle_table.bundle_exports(con)["B1"]["key"]
    for change in (
        lambda r: r["answers"][7].__setitem__(2, 7),
        lambda r: r["items"].pop(),
        lambda r: r["answers"][7].__setitem__(1, 2),
        lambda r: r["items"][9].__setitem__(1, r["items"][10][1]),
        lambda r: r["answers"].append([999, 1, 3, 1.0, False, "2026-01-01T00:00:00"]),
    ):
        content = json.loads(json.dumps({k: v for k, v in whole.items() if k != "seal"}))
        change(content["readers"][0])
        file.write_text(json.dumps(content | {"seal": seal_content(key, content)}))
        with pytest.raises(UserError, match="do not fit the protocol"):
            site_bundles.import_answers(home, file, "team")
    with store.read(home) as con:
        assert (
            not len(reading_table.load_reading_answers(con, NAME, 1))
            and participant_table.participant_role(con, "B1-R1") is None
        )


def test_edited_bundle_is_refused(away: Path, tmp_path: Path) -> None:
    assert site_bundles.check_bundle(away) is not None
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
            lambda c=copy: site_bundles.check_bundle(c),
            lambda c=copy: site_bundles.export_answers(c, tmp_path / "x.json"),
        ):
            with pytest.raises(UserError, match="changed after its creation"):
                work()


def test_errors_by_stage_and_folder(home: Path, away: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    site_bundles.export_answers(away, file)
    with pytest.raises(UserError, match="is itself a site bundle"):
        site_bundles.create_bundle(away, tmp_path / "x", None, "team")
    with pytest.raises(UserError, match="is not a site bundle"):
        site_bundles.export_answers(home, tmp_path / "y.json")
    with pytest.raises(UserError, match="not an empty folder"):
        site_bundles.create_bundle(home, away, None, "team")
    with pytest.raises(UserError, match="export-answers"):
        workflow.close_protocol(away, None, "team")
    workflow.close_protocol(home, None, "team")
    with pytest.raises(UserError, match="closed before these answers arrived"):
        site_bundles.import_answers(home, file, "team")
    with pytest.raises(UserError, match="No reading study is frozen"):
        site_bundles.create_bundle(home, tmp_path / "z", None, "team")
    with pytest.raises(UserError, match="only a frozen and open study"):
        site_bundles.create_bundle(home, tmp_path / "z", NAME, "team")


def test_bundle_without_answers(home: Path, tmp_path: Path) -> None:
    made = site_bundles.create_bundle(home, tmp_path / "quiet", NAME, "team")
    assert made.id == "B2"
    with pytest.raises(UserError, match="no answers to export yet"):
        site_bundles.export_answers(made.folder, tmp_path / "x.json")
