"""The chain: what is recorded, in which transaction, by whom, and how older stores begin one."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.store import evidence, migrations, participant_table, run_table
from core.store.evidence import Actor
from core.store.migrations import MIGRATIONS
from core.store.reading import bundle_table, protocol_table, reading_table
from core.store.reading.reading_table import ReadingItem
from support import synthetic_study
from support.evidence_attack import execute_sql, sha256_of_json
from support.paths import ROOT

WHO = "from core.store.evidence import operating_system_user as u; print(u(), u().claimed)"


def test_hash_of_a_record_is_that_of_the_documented_text(empty: Path) -> None:
    with store.write(empty) as con:
        evidence.append_evidence(con, "note", "päper", {"b": 2, "a": "ü"}, Actor("root", "ann"))
    with store.read(empty) as con:
        row = con.execute("SELECT * FROM evidence").fetchone()
        made = row[1].strftime("%Y-%m-%dT%H:%M:%S.%f")
    content = hashlib.sha256('{"a":"ü","b":2}'.encode()).hexdigest()
    previous = hashlib.sha256(b"DeepMiner evidence chain").hexdigest()
    text = (
        f'{{"actor":"root","claimed":"ann","content_hash":"{content}","kind":"note",'
        f'"made":"{made}","number":1,"previous_hash":"{previous}","subject":"päper"}}'
    )
    assert row[2:] == (
        "note",
        "päper",
        "root",
        "ann",
        content,
        previous,
        hashlib.sha256(text.encode()).hexdigest(),
    )


def test_empty_chain_has_a_fixed_head(empty: Path) -> None:
    with store.read(empty) as con:
        assert evidence.chain_head(con) == evidence.EMPTY_HEAD
        assert evidence.verify_chain(con).valid
    assert evidence.EMPTY_HEAD.number == 0


def test_head_includes_the_open_transaction(empty: Path) -> None:
    with store.write(empty) as con:
        run_table.append_log(con, "team", "one")
        run_table.append_log(con, "team", "two")
        assert evidence.chain_head(con).number == 2
        run_table.append_log(con, "team", "three")
    with store.read(empty) as con:
        assert evidence.chain_head(con).number == 3 and evidence.verify_chain(con).valid


def test_failed_transaction_leaves_no_record(empty: Path) -> None:
    with pytest.raises(RuntimeError), store.write(empty) as con:
        run_table.append_log(con, "team", "lost")
        raise RuntimeError("stop")
    with store.write(empty) as con:
        run_table.append_log(con, "team", "kept")
    with store.read(empty) as con:
        result = evidence.verify_chain(con)
    assert result.valid and result.counts == {"log": 1}


def test_designing_again_records_that_the_check_is_discarded(empty: Path) -> None:
    design = {"name": "N", "seed": 1}
    with store.write(empty) as con:
        for state in ("design", "checked", "design"):
            protocol_table.append_protocol_state(
                con, protocol="N", version=1, state=state, design=design, actor="team"
            )
    with store.read(empty) as con:
        result = evidence.verify_chain(con)
        subjects = [
            row[0] for row in con.execute("SELECT subject FROM evidence ORDER BY number").fetchall()
        ]
    assert result.valid and result.rows == 1
    assert subjects == [
        f"N, version 1: state {s}" for s in ("design", "checked", "checked", "design")
    ]


def test_withdrawn_link_that_is_made_valid_again_is_named(empty: Path) -> None:
    with store.write(empty) as con:
        participant_table.invite_participant(con, "R1", "reader", "a" * 64)
        participant_table.revoke_invitations(con, "R1")
    execute_sql(empty, "UPDATE invitations SET revoked_at = NULL")
    with store.read(empty) as con:
        fault = evidence.verify_chain(con).first_broken
    assert (fault.kind, fault.reason) == ("withdrawal", "its row is gone")


def test_answer_recorded_after_closing_is_named(reading_study: Path) -> None:
    with store.write(reading_study) as con:
        opened = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
        protocol_table.append_protocol_state(
            con,
            protocol="ZQXSTUDY",
            version=1,
            state="closed",
            design=opened.design,
            hash=opened.hash,
        )
        # As if the study were still open: the store itself refuses it.
        reading_table.append_reading_answer(
            con, protocol=opened, code="R03", position=9, revision=2, answer=6, seconds=1.0
        )
    with store.read(reading_study) as con:
        result = evidence.verify_chain(con)
    assert len(result.faults) == 1
    assert "position 9, revision 2" in result.reason and "after the reading study" in result.reason


def test_recorded_removal_is_no_fault_and_is_counted(reading_study: Path) -> None:
    with store.write(reading_study) as con:
        opened = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
        state = {"protocol": "ZQXSTUDY", "version": 1, "hash": opened.hash}
        protocol_table.append_protocol_state(con, state="closed", design=opened.design, **state)
    with store.write(reading_study) as con:
        key = {"protocol": "ZQXSTUDY", "version": 1, "code": "R05", "position": 3, "revision": 1}
        con.execute("DELETE FROM answers WHERE code = 'R05' AND position = 3")
        evidence.record_group(con, "reading_answer", "team", **key)
    with store.read(reading_study) as con:
        result = evidence.verify_chain(con)
    assert result.reason == "" and result.removed == 1
    execute_sql(
        reading_study,
        "INSERT INTO answers VALUES ('ZQXSTUDY', 1, 'R05', 3, 1, 6, 3.25, FALSE, FALSE,"
        " now()::TIMESTAMP)",
    )
    with store.read(reading_study) as con:
        assert "position 3, revision 1" in evidence.verify_chain(con).reason


def test_imported_answers_are_recorded(tmp_path: Path) -> None:
    study = synthetic_study.create_study(tmp_path / "home")
    with store.write(study) as con:
        items = [ReadingItem(3), ReadingItem(1)]
        reading_table.assign_reading_order(con, "ZQXSTUDY", 1, "S1", items)
        answers = [
            bundle_table.BundleAnswer(
                position=p, revision=1, answer=4, seconds=2.5, idle=False, made=synthetic_study.MADE
            )
            for p in (1, 2)
        ]
        bundle_table.add_bundle_answers(con, "ZQXSTUDY", 1, "S1", answers)
    with store.read(study) as con:
        assert evidence.verify_chain(con).reason == ""
        rows = con.execute(
            "SELECT actor, claimed FROM evidence WHERE kind = 'reading_answer'"
        ).fetchall()
    assert rows == [("import", "S1")] * 2


def test_older_store_begins_its_chain_with_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "old"
    study.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:8])
        store.create(study)
    execute_sql(
        study,
        "INSERT INTO protocols SELECT 'P', 1, state, '{}', '[]', 'h', '', FALSE, 't',"
        " now()::TIMESTAMP FROM (VALUES ('lint'), ('unblinded')) t(state)",
        "INSERT INTO protocols VALUES"
        " ('A', 2, 'lint', '{}', '[]', 'h', '', FALSE, 't', now()::TIMESTAMP)",
        "INSERT INTO answers VALUES ('P', 1, 'R1', 3, 1, 5, 1.5, FALSE, FALSE, now()::TIMESTAMP)",
        "INSERT INTO consents VALUES ('R1', 'x', 'I agree', now()::TIMESTAMP)",
        "INSERT INTO log SELECT now()::TIMESTAMP, 't', 'e', 'd' FROM range(2)",
    )
    with store.read(study) as con:
        result = evidence.verify_chain(con)
        states = con.execute(
            "SELECT subject FROM evidence WHERE kind = 'protocol_state' ORDER BY number"
        ).fetchall()
    assert result.valid
    # By protocol and version.
    versions = ["A, version 2", "P, version 1", "P, version 1"]
    assert [subject.partition(":")[0] for (subject,) in states] == versions
    assert result.counts == {
        "adoption": 1,
        "reading_answer": 1,
        "protocol_state": 3,
        "consent": 1,
        "log": 2,
    }
    execute_sql(study, "UPDATE answers SET answer = 6")
    with store.read(study) as con:
        assert "answer of reader R1 at position 3" in evidence.verify_chain(con).reason


def test_who_acts_is_the_user_of_the_process_whatever_the_variables_say() -> None:
    real = pwd.getpwuid(os.getuid()).pw_name
    done = subprocess.run(
        [sys.executable, "-c", WHO],
        env={**os.environ, "LOGNAME": "forged", "USER": "forged"},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.split() == [real, "forged"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"number": 3}', '{"study": "s", "number": "3", "hash": "x", "made": "y"}'],
)
def test_file_that_is_no_head_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    file.write_text(content)
    with pytest.raises(UserError, match="is not a deposited head; name a file written by"):
        evidence.read_deposit(file)


def test_deposited_head_is_never_overwritten(empty: Path, tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    evidence.deposit_head(empty, evidence.ChainHead(3, "ab"), file)
    assert json.loads(file.read_text())["number"] == 3
    assert evidence.read_deposit(file).hash == "ab"
    with pytest.raises(UserError, match="exists already"):
        evidence.deposit_head(empty, evidence.ChainHead(4, "cd"), file)


def test_attack_helper_agrees_with_the_product(reading_study: Path) -> None:
    with store.read(reading_study) as con:
        cursor = con.execute("SELECT * FROM evidence WHERE number = 20")
        names = [column[0] for column in cursor.description]
        record = dict(zip(names, cursor.fetchone(), strict=True))
    assert record.pop("hash") == sha256_of_json(record)
