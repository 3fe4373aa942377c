"""Answers of a bundle are encrypted on the way and imported unchanged, for their protocol only."""

from __future__ import annotations

import json
import shutil
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from core import store
from core.errors import UserError
from core.store import participant_table, run_table
from core.store.evidence import verify_chain
from core.store.reading import bundle_table, protocol_table, reading_table
from core.study_checks import check_study
from evaluation.reading_study import check_frozen, site_bundles, workflow
from evaluation.reading_study.site_bundles import keys
from support.bundle_answers import (
    NAME,
    all_rows,
    answer_all,
    edited,
    opened_answers,
    write_forged,
)
from support.stored_answers import stored_answers

COLUMNS = ["position", "case_number", "repeat", "answer", "revision", "seconds", "made"]


@pytest.fixture
def file(away: Path, tmp_path: Path) -> Path:
    """Return an export of the bundle."""
    path = tmp_path / "answers.json"
    assert site_bundles.export_answers(away, path, "site") == {"R1": 26}
    return path


def assert_refused(home: Path, file: Path, message: str) -> None:
    """Check that an import is refused with a sentence that names the file, and changes nothing."""
    before = all_rows(home)
    with pytest.raises(UserError, match=message) as error:
        site_bundles.import_answers(home, file, "team")
    assert str(file) in str(error.value) or "bundle_B1.pem" in str(error.value)
    assert all_rows(home) == before


def test_answers_are_imported_unchanged(home: Path, away: Path, file: Path) -> None:
    answer_all(home, "R1")
    imported = site_bundles.import_answers(home, file, "team")
    assert (imported.readers, imported.added) == ({"B1-R1": 26}, 31)
    with store.read(home) as con, store.read(away) as there:
        here = stored_answers(con, NAME, 1)
        exported = stored_answers(there, NAME, 1)
        assert sorted(set(here["code"])) == ["B1-R1", "R1"]
        assert (
            here.loc[here["code"] == "B1-R1", COLUMNS]
            .reset_index(drop=True)
            .equals(exported[COLUMNS])
        )
        people = participant_table.load_participants(con).set_index("code")
        assert people.loc["B1-R1", "experience"] == "<b>9 years</b>"
        frozen = protocol_table.load_protocol(con, NAME, 1)
        check_frozen(
            workflow.protocol_design(frozen),
            reading_table.load_reading_cases(con, NAME, 1),
            frozen.hash,
        )


def test_import_and_export_are_part_of_the_evidence_chains(
    home: Path, away: Path, file: Path
) -> None:
    with store.read(away) as con:
        at_export = verify_chain(con)
        exports = run_table.load_log(con, "bundle answers exported")
    assert at_export.valid, at_export.reason
    assert exports["who"].tolist() == ["site"]
    assert exports["detail"].tolist() == ["26 answers to answers.json"]
    site_bundles.import_answers(home, file, "team")
    with store.read(home) as con:
        imported = verify_chain(con)
        log = run_table.load_log(con, "bundle answers imported")
    assert imported.valid, imported.reason
    assert imported.counts["bundle_import"] == 1
    assert imported.counts["reading_answer"] == 31 and imported.counts["reading_order"] == 1
    # The log of the export follows the head that the file names.
    head = at_export.head
    assert f"evidence record {head.number - 1}, SHA-256" in log["detail"].iloc[0]
    with store.write(home) as con:
        con.execute("UPDATE answers SET answer = 7 - answer WHERE position = 9")
    with store.read(home) as con:
        assert "B1-R1 at position 9, revision 1" in verify_chain(con).reason


def test_answers_cannot_be_read_on_the_way(home: Path, away: Path, file: Path) -> None:
    """Nothing of an answer is in the file or computable from the bundle, which made it."""
    sealed = json.loads(file.read_text())
    assert sorted(sealed) == ["bundle", "content", "kind", "schema", "signature"]
    raw = b64decode(sealed["content"])
    for word in (b"position", b"consents", b"agreed", b"9 years", NAME.encode()):
        assert word not in raw and word not in file.read_bytes()
    header = [sealed["kind"], sealed["schema"], sealed["bundle"]]
    other = X25519PrivateKey.generate()
    assert keys.decrypt(other, sealed["content"], header) is None
    # The header is bound to the content.
    key = keys.load_decryption_key(home, "B1")
    assert keys.decrypt(key, sealed["content"], [*header[:2], "B2"]) is None
    assert keys.decrypt(key, sealed["content"], header) is not None
    with pytest.raises(UserError, match="cannot be read"):
        keys.load_decryption_key(away, "B1")


def test_scoring_in_a_bundle_is_impossible(away: Path) -> None:
    with pytest.raises(UserError, match="site bundle without ground truth"):
        workflow.score_protocol(away, NAME)


def test_second_import_changes_nothing(home: Path, file: Path) -> None:
    assert site_bundles.import_answers(home, file, "team").added == 31
    before = all_rows(home)
    assert site_bundles.import_answers(home, file, "team").added == 0
    assert all_rows(home) == before


def test_later_export_adds_and_older_one_changes_nothing(
    home: Path, away: Path, file: Path, tmp_path: Path
) -> None:
    answer_all(away, "R2", 12, corrections=True)
    middle = tmp_path / "middle.json"
    site_bundles.export_answers(away, middle, "site")
    answer_all(away, "R2", corrections=True)
    last = tmp_path / "last.json"
    site_bundles.export_answers(away, last, "site")
    assert site_bundles.import_answers(home, middle, "team").readers == {"B1-R1": 26, "B1-R2": 7}
    assert site_bundles.import_answers(home, file, "team").added == 0
    assert site_bundles.import_answers(home, last, "team").readers == {"B1-R1": 26, "B1-R2": 26}
    before = all_rows(home)
    for older in (file, middle, last):
        assert site_bundles.import_answers(home, older, "team").added == 0
    assert all_rows(home) == before
    with store.read(home) as con, store.read(away) as there:
        for first in (False, True):
            here = stored_answers(con, NAME, 1, first)
            exported = stored_answers(there, NAME, 1, first)
            assert here[COLUMNS].equals(exported[COLUMNS])
        assert (stored_answers(con, NAME, 1)["revision"] == 2).sum() == 5


def test_answers_that_contradict_an_earlier_import_are_refused(
    home: Path, away: Path, file: Path
) -> None:
    content = opened_answers(home, file)
    site_bundles.import_answers(home, file, "team")
    row = content["readers"][0]["answers"][8]
    row["answer"] = 7 - row["answer"]
    write_forged(away, file, content)
    assert_refused(home, file, "position 9, revision 1 of B1-R1 differs")


def test_reset_bundle_is_refused(home: Path, away: Path, file: Path) -> None:
    """A reader is ahead and another one behind: no single bundle can have produced both files."""
    content = opened_answers(home, file)
    site_bundles.import_answers(home, file, "team")
    answer_all(away, "R2", 3)
    later = file.with_name("later.json")
    site_bundles.export_answers(away, later, "site")
    newer = opened_answers(home, later)
    content["readers"] = [
        newer["readers"][0] | {"answers": newer["readers"][0]["answers"][:20]},
        newer["readers"][1],
    ]
    content["exported"] = newer["exported"]
    write_forged(away, later, content)
    assert_refused(home, later, "has new rows of B1-R2 but lacks rows of B1-R1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited(lambda c: c.update(content=c["content"][:-8])), "does not carry the signature"),
        (edited(lambda c: c.update(content="é")), "does not carry the signature"),
        (edited(lambda c: c.update(signature="AAAA")), "does not carry the signature"),
        (edited(lambda c: c.update(bundle="B7")), "did not issue"),
        (edited(lambda c: c.pop("signature")), "not a complete file"),
        (edited(lambda c: c.update(more=1)), "not a complete file"),
        (edited(lambda c: c.update(kind="x")), "contains no answers"),
        (edited(lambda c: c.update(schema=3, recipients=[])), "has the form 3"),
        (edited(lambda c: c.update(schema=1)), "has the form 1"),
        (edited(lambda c: c.update(schema=2.0)), "not a complete file"),
        (lambda text: text[:400], "not a complete file"),
        (lambda text: "[" * 100_000, "not a complete file"),
        (lambda text: "[]", "not a complete file"),
        (lambda text: "", "not a complete file"),
    ],
)
def test_edited_file_is_refused(
    home: Path, file: Path, change: Callable[[str], str], message: str
) -> None:
    file.write_text(change(file.read_text()))
    assert_refused(home, file, message)


def test_file_signed_by_another_key_is_refused(home: Path, away: Path, file: Path) -> None:
    content = opened_answers(home, file)
    path = keys.signing_key_path(away)
    path.unlink()
    keys.write_private_key(path, Ed25519PrivateKey.generate())
    write_forged(away, file, content)
    assert_refused(home, file, "does not carry the signature of the bundle B1")


def test_file_of_another_bundle_or_study_is_refused(
    home: Path, away: Path, file: Path, tmp_path: Path
) -> None:
    """The same id in another study, and the content of one bundle under the id of another."""
    content = opened_answers(home, file)
    made = site_bundles.create_bundle(home, tmp_path / "second", None, "team")
    answer_all(made.folder, "R1", 3)
    write_forged(made.folder, file, content)
    assert_refused(home, file, "as the bundle was issued")
    with store.write(home) as con:
        records = bundle_table.bundle_exports(con)
        bundle_table.record_bundle_export(con, "B1", records["B2"])
    write_forged(away, file, content)
    assert_refused(home, file, "does not carry the signature")


def test_missing_or_wrong_keys_are_reported(home: Path, away: Path, file: Path) -> None:
    key = keys.decryption_key_path(home, "B1")
    text = key.read_bytes()
    key.unlink()
    assert_refused(home, file, "bundle_B1.pem cannot be read .*; restore it from a backup")
    key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert_refused(home, file, "bundle_B1.pem is damaged")
    key.unlink()
    keys.write_private_key(key, X25519PrivateKey.generate())
    assert_refused(home, file, "that is not the key of this bundle")
    key.unlink()
    keys.write_private_key(key, Ed25519PrivateKey.generate())
    assert_refused(home, file, "holds a key of another kind")
    key.write_bytes(text)
    assert site_bundles.import_answers(home, file, "team").added == 31
    keys.signing_key_path(away).unlink()
    with pytest.raises(UserError, match="signing.pem cannot be read"):
        site_bundles.export_answers(away, file.with_name("again.json"), "site")
    assert not file.with_name("again.json").exists()


def test_answers_are_readable_after_the_loss_of_a_study(
    home: Path, file: Path, tmp_path: Path
) -> None:
    """A backup and what lies beside it suffice: the answers of a bundle are not lost with it."""
    store.create_backup(home, tmp_path / "copy.duckdb")
    shutil.rmtree(home / "keys")
    assert not {c.check: c for c in check_study(home)}["keys of site bundles"].good
    store.restore_backup(home, tmp_path / "copy.duckdb")
    assert {c.check: c for c in check_study(home)}["keys of site bundles"].good
    assert site_bundles.import_answers(home, file, "team").added == 31


def test_answers_arrive_before_closing_only(home: Path, away: Path, file: Path) -> None:
    with pytest.raises(UserError, match="export-answers"):
        workflow.close_protocol(away, NAME, "team", version=1, confirm=NAME)
    workflow.close_protocol(home, NAME, "team", version=1, confirm=NAME)
    assert_refused(home, file, "closed before these answers arrived")


def test_closing_while_a_file_is_read_is_noticed(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decrypt = keys.decrypt

    def close_first(*arguments: object) -> bytes | None:
        workflow.close_protocol(home, NAME, "team", version=1, confirm=NAME)
        return decrypt(*arguments)

    monkeypatch.setattr(keys, "decrypt", close_first)
    with pytest.raises(UserError, match="closed before these answers arrived"):
        site_bundles.import_answers(home, file, "team")
    with store.read(home) as con:
        assert con.execute("SELECT count(*) FROM answers").fetchall() == [(0,)]


def test_protocol_that_was_frozen_differently_is_refused(home: Path, file: Path) -> None:
    """The record of the bundle belongs to a protocol that a restored study does not have."""
    with store.write(home) as con:
        con.execute("UPDATE protocols SET hash = 'x' WHERE state = 'frozen'")
    assert_refused(home, file, "is not the protocol of this study")


def test_export_reports_what_the_original_study_would_refuse(away: Path, file: Path) -> None:
    with store.write(away) as con:
        con.execute("UPDATE answers SET made = made + INTERVAL 3 DAY WHERE position = 9")
    again = file.with_name("again.json")
    with pytest.raises(UserError, match="position 9, revision 1 is of"):
        site_bundles.export_answers(away, again, "site")
    assert not again.exists()


def test_record_of_the_first_form_is_refused(home: Path, file: Path) -> None:
    with store.write(home) as con:
        bundle_table.record_bundle_export(con, "B1", {"key": "00", "hash": "x", "imported": None})
    assert_refused(home, file, "made by an earlier DeepMiner")


def test_export_needs_answers_and_a_new_file(home: Path, away: Path, file: Path) -> None:
    with pytest.raises(UserError, match="is not a site bundle"):
        site_bundles.export_answers(home, file.with_name("y.json"), "team")
    with pytest.raises(UserError, match="exists already"):
        site_bundles.export_answers(away, file, "site")
    made = site_bundles.create_bundle(home, file.parent / "quiet", NAME, "team", version=1)
    with pytest.raises(UserError, match="no answers to export yet"):
        site_bundles.export_answers(made.folder, file.with_name("x.json"), "site")


def test_taken_code_is_refused(home: Path, file: Path) -> None:
    """A participant of the original study who happens to have the code of the bundle's reader."""
    with store.write(home) as con:
        participant_table.add_participant(con, "B1-R1", "reader")
    with pytest.raises(UserError, match="The code B1-R1 is taken"):
        site_bundles.import_answers(home, file, "team")
