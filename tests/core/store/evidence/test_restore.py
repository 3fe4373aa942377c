"""A restoration is a record: what the replaced store held beyond the backup stays visible."""

from __future__ import annotations

from pathlib import Path

import duckdb

from core import store
from core.store import evidence, run_table
from core.store.evidence.deposits import Deposit
from core.store.reading import protocol_table


def close_and_score(study: Path) -> None:
    """Close the reading study and record that it was scored."""
    with store.write(study) as con:
        current = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
        for state in ("closed", "scored"):
            protocol_table.append_protocol_state(
                con,
                protocol="ZQXSTUDY",
                version=1,
                state=state,
                design=current.design,
                hash=current.hash,
                actor="mallory",
            )
        run_table.append_log(con, "mallory", "reading study scored", "early look")


def test_early_look_remains_visible_after_a_restore(reading_study: Path, tmp_path: Path) -> None:
    backup = tmp_path / "before.duckdb"
    store.create_backup(reading_study, backup)
    close_and_score(reading_study)
    with store.read(reading_study) as con:
        replaced_head = evidence.chain_head(con)
    restored = store.restore_backup(reading_study, backup)
    assert restored.lost_records == 3
    with store.read(reading_study) as con:
        result = evidence.verify_chain(con)
        log = run_table.load_log(con, "restore")
        state = protocol_table.load_protocol(con, "ZQXSTUDY", 1).state
    assert result.valid and state == "reading"
    assert result.counts["restore"] == 1
    lost = [(r.record.kind, r.record.subject, r.record.actor) for r in result.replaced]
    assert lost[:2] == [
        ("protocol_state", "ZQXSTUDY, version 1: state closed", "mallory"),
        ("protocol_state", "ZQXSTUDY, version 1: state scored", "mallory"),
    ]
    assert lost[2][0] == "log" and "reading study scored, mallory" in lost[2][1]
    detail = log["detail"][0]
    assert f"ended at record {replaced_head.number}, {replaced_head.hash}" in detail
    assert "state scored" in detail and restored.kept.name in detail


def test_second_restore_keeps_what_the_first_recorded(reading_study: Path, tmp_path: Path) -> None:
    backup = tmp_path / "before.duckdb"
    store.create_backup(reading_study, backup)
    close_and_score(reading_study)
    store.restore_backup(reading_study, backup)
    # The backup that is restored again has neither the early look nor the first restoration.
    assert store.restore_backup(reading_study, backup).lost_records == 5
    with store.read(reading_study) as con:
        result = evidence.verify_chain(con)
    assert result.valid
    kinds = [replaced.record.kind for replaced in result.replaced]
    assert sorted(kinds) == ["log", "log", "protocol_state", "protocol_state", "restore"]


def test_removal_of_the_replaced_records_is_named(reading_study: Path, tmp_path: Path) -> None:
    backup = tmp_path / "before.duckdb"
    store.create_backup(reading_study, backup)
    close_and_score(reading_study)
    store.restore_backup(reading_study, backup)
    with duckdb.connect(str(reading_study / "study.duckdb")) as con:
        con.execute("DELETE FROM replaced_records WHERE subject LIKE '%scored'")
    with store.read(reading_study) as con:
        fault = evidence.verify_chain(con).first_broken
    assert fault is not None
    assert (fault.kind, fault.reason) == ("restore", "its row was changed")


def test_deposited_head_of_the_replaced_store_is_explained(
    reading_study: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "before.duckdb"
    store.create_backup(reading_study, backup)
    close_and_score(reading_study)
    with store.read(reading_study) as con:
        head = evidence.chain_head(con)
    store.restore_backup(reading_study, backup)
    deposit = Deposit("study", head.number, head.hash, "2026-11-27T10:00:00Z")
    with store.read(reading_study) as con:
        text = evidence.compare_with_deposit(con, deposit)
    assert head.hash in text and "the restore of" in text and text.endswith("replaced")


def test_store_that_cannot_be_opened_is_recorded_as_such(
    reading_study: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "before.duckdb"
    store.create_backup(reading_study, backup)
    (reading_study / "study.duckdb").write_bytes(b"damaged")
    assert store.restore_backup(reading_study, backup).lost_records == 0
    with store.read(reading_study) as con:
        assert evidence.verify_chain(con).valid
        assert "could not be opened" in run_table.load_log(con, "restore")["detail"][0]


def test_backup_is_recorded_in_the_study_and_in_the_copy(
    reading_study: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy" / "study.duckdb"
    target.parent.mkdir()
    store.create_backup(reading_study, target)
    heads = []
    for study in (reading_study, target.parent):
        with store.read(study) as con:
            heads.append(evidence.chain_head(con))
            assert run_table.load_log(con, "backup")["detail"].tolist() == ["to study.duckdb"]
    assert heads[0] == heads[1] and heads[0].number == 31
