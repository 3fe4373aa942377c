"""Site bundles hold what readers see and no more; changed or old bundles are refused."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import store
from core.errors import RequestRefused, UserError
from core.sessions.reading_session import ReadingSession
from core.store import dataset_table, run_table
from core.store.reading import bundle_table, protocol_table, reading_table
from evaluation.reading_study import site_bundles, workflow
from evaluation.reading_study.site_bundles import bundles, keys
from support import synthetic_study
from support.bundle_answers import NAME, all_rows, answer_all

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
FILLED_TABLES = {
    "meta",
    "migrations",
    "protocols",
    "reading_cases",
    "reading_items",
    "answers",
    "people",
    "consents",
    "log",
    "evidence",
}


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
        assert set(tables) <= FILLED_TABLES
        assert (
            len(
                con.execute(
                    "SELECT * FROM reading_cases WHERE truth IS NULL AND network_score IS NULL AND"
                    " predicted IS NULL AND arm = '' AND patient_id = ''"
                ).fetchall()
            )
            == 24
        )
        # The seed would reveal the order and the selection of the cases.
        assert "seed" not in protocol_table.load_protocol(con, NAME, 1).design
    for secret in SECRETS:
        assert secret not in content, secret
    for file in (f for f in away.rglob("*") if f.is_file()):
        assert not any(secret.encode() in file.read_bytes() for secret in SECRETS[:7]), file
    assert not list((away / "images").iterdir()) and not list((away / "runs").iterdir())


def test_bundle_readers_have_the_orders_of_the_frozen_rule(home: Path, away: Path) -> None:
    with store.write(home) as con:
        frozen = protocol_table.load_protocol(con, NAME, 1)
        for code in ("R1", "R2"):
            ReadingSession(code, b"").assign_order(con, frozen)
        original = reading_table.load_reading_items(con, NAME, 1)
    answer_all(away, "R2", 1)
    with store.read(away) as con:
        # The bundle's readers have the orders that were checked in the original study.
        assert protocol_table.load_protocol(con, NAME, 1).hash == frozen.hash
        assert reading_table.load_reading_items(con, NAME, 1).equals(original)


def test_reader_without_seat_is_refused(away: Path) -> None:
    with store.write(away) as con:
        session = ReadingSession("R3", b"")
        with pytest.raises(RequestRefused, match="is for the readers R1, R2"):
            session.assign_order(con, session.protocol(con))


def test_keys_are_apart_and_readable_by_their_owner_only(home: Path, away: Path) -> None:
    home_key, away_key = home / "keys" / "bundle_B1.pem", away / "keys" / "signing.pem"
    for key in (home_key, away_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    # Neither private key is in the other folder or in a store.
    for study, key in ((home, away_key), (away, home_key)):
        body = "".join(key.read_text().splitlines()[1:-1]).encode()
        assert not any(body in file.read_bytes() for file in study.rglob("*") if file.is_file())
    with pytest.raises(FileExistsError):
        keys.write_private_key(home_key, keys.load_decryption_key(home, "B1"))


def test_key_file_is_created_for_its_owner_only(tmp_path: Path) -> None:
    """The mode is set when the file is made, whatever the process's mask allows."""
    mask = os.umask(0)
    try:
        keys.write_private_key(tmp_path / "keys" / "a.pem", Ed25519PrivateKey.generate())
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "keys" / "a.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE reading_cases SET texts = '[\"Spiculated mass\"]' WHERE case_number = 3",
        "UPDATE protocols SET hash = 'x' WHERE state = 'frozen'",
        "DELETE FROM reading_cases WHERE case_number = 4",
        "UPDATE protocols SET design = '{}'",
        "UPDATE meta SET value = replace(value, 'true', 'false') WHERE name = 'bundle'",
        "UPDATE meta SET value = replace(value, 'seal_key', 'other') WHERE name = 'bundle'",
    ],
)
def test_changed_bundle_is_refused(away: Path, tmp_path: Path, change: str) -> None:
    assert site_bundles.check_bundle(away) is not None
    with store.write(away) as con:
        con.execute(change)
    with pytest.raises(UserError, match="changed after its creation"):
        site_bundles.check_bundle(away)
    with pytest.raises(UserError, match="changed after its creation"):
        site_bundles.export_answers(away, tmp_path / "x.json", "team")


def test_bundle_of_the_first_form_is_refused(home: Path, away: Path) -> None:
    old = {"id": "B1", "key": "00" * 32, "hash": "x", "seal": "y"}
    with store.write(away) as con:
        bundle_table.record_bundle_identity(con, old)
    with pytest.raises(UserError, match="made by an earlier DeepMiner"):
        site_bundles.check_bundle(away)


def test_clock_before_the_bundle_is_refused(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.read(away) as con:
        made = bundle_table.bundle_identity(con)["made"]
    earlier = bundles.datetime.fromisoformat(made) - 1.1 * bundles.CLOCK_TOLERANCE
    monkeypatch.setattr(bundles, "utc_now", lambda: earlier)
    with pytest.raises(UserError, match="clock of this machine is before"):
        site_bundles.check_bundle(away)


def test_bundling_names_one_open_version(home: Path, away: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is itself a site bundle"):
        site_bundles.create_bundle(away, tmp_path / "x", None, "team")
    with pytest.raises(UserError, match="not an empty folder"):
        site_bundles.create_bundle(home, away, None, "team")
    with store.write(home) as con:
        synthetic_study.add_protocol(con, 24, version=2)
    with pytest.raises(UserError, match="Several reading studies are open"):
        site_bundles.create_bundle(home, tmp_path / "x", None, "team")
    with pytest.raises(UserError, match="has the versions 1 .*, 2 "):
        site_bundles.create_bundle(home, tmp_path / "x", NAME, "team")
    with pytest.raises(UserError, match="version 7"):
        site_bundles.create_bundle(home, tmp_path / "x", NAME, "team", version=7)
    made = site_bundles.create_bundle(home, tmp_path / "x", NAME, "team", version=1, readers=3)
    assert (made.id, made.version, made.readers) == ("B2", 1, ("R1", "R2", "R3"))


def test_closed_study_is_not_bundled(home: Path, tmp_path: Path) -> None:
    workflow.close_protocol(home, NAME, "team", version=1, confirm=NAME)
    with pytest.raises(UserError, match="No reading study is frozen and open"):
        site_bundles.create_bundle(home, tmp_path / "z", None, "team")
    with pytest.raises(UserError, match="is closed; this needs a version that is frozen"):
        site_bundles.create_bundle(home, tmp_path / "z", NAME, "team")


def test_new_bundle_does_not_reuse_the_key_of_a_lost_record(home: Path, tmp_path: Path) -> None:
    """A restored backup may not know a bundle that was made after it."""
    with store.write(home) as con:
        con.execute("DELETE FROM meta WHERE name = 'bundle:B1'")
    key = (home / "keys" / "bundle_B1.pem").read_bytes()
    made = site_bundles.create_bundle(home, tmp_path / "next", None, "team")
    assert made.id == "B2" and (home / "keys" / "bundle_B1.pem").read_bytes() == key


def test_altered_key_is_not_bundled(home: Path, tmp_path: Path) -> None:
    with store.write(home) as con:
        con.execute("UPDATE reading_cases SET truth = 'BENIGN'")
    with pytest.raises(UserError, match="is not the one that was frozen"):
        site_bundles.create_bundle(home, tmp_path / "x", None, "team")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("step", "existed"), [("record_bundle_identity", False), ("record_bundle_export", True)]
)
def test_failed_bundle_leaves_no_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, existed: bool
) -> None:
    """Whether the bundle or its record in the study cannot be completed."""
    out, before = tmp_path / "x", all_rows(home)
    if existed:
        out.mkdir()

    def fail(*_: object) -> None:
        # The folder holds the cases and the signing key by now.
        assert (out / "keys" / "signing.pem").exists()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle_table, step, fail)
    with pytest.raises((OSError, UserError)):
        site_bundles.create_bundle(home, out, None, "team")
    assert (list(out.iterdir()) == []) if existed else not out.exists()
    assert all_rows(home) == before


def test_record_of_a_bundle_names_what_it_may_produce(home: Path, away: Path) -> None:
    with store.read(home) as con, store.read(away) as there:
        record = bundle_table.bundle_exports(con)["B1"]
        identity = json.loads(dataset_table.get_meta(there, "bundle") or "")
        frozen = protocol_table.load_protocol(con, NAME, 1)
        log = run_table.load_log(con, "bundle made")
    assert log["who"].tolist() == ["team"]
    assert log["detail"].iloc[0].startswith(f"B1 of {NAME} version 1 {frozen.hash}, signing key")
    assert record["seats"] == identity["seats"] and list(record["seats"]) == ["R1", "R2"]
    assert (record["protocol"], record["version"], record["hash"]) == (NAME, 1, frozen.hash)
    # 5 practice cases, 24 cases, 2 hidden repeats
    assert [len(order) for order in record["seats"].values()] == [31, 31]
