"""Label audit sessions: blind, repeatable orders and append-only answers, one patch at a time."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.sessions.annotation_session import AnnotationSession
from core.sessions.audit_session import AuditSession, DisplayedPatch
from core.sessions.tokens import load_secret_key
from core.store import audit_table, participant_table
from support import synthetic_study
from support.annotation_queue import finish_queue


def annotation_session(study: Path, code: str) -> AnnotationSession:
    return AnnotationSession(code, load_secret_key(study), repeats=2)


def start_session(study: Path, code: str = "A1") -> AuditSession:
    """Return the session of an expert who has consented and named all units."""
    session = annotation_session(study, code)
    with store.write(study) as con:
        if participant_table.participant_role(con, code) is None:
            participant_table.add_participant(con, code, "annotator")
            participant_table.record_consent(con, code, "", "yes")
            finish_queue(con, session)
    return AuditSession(session, load_secret_key(study))


def test_order_is_blind_repeatable_and_individual(study: Path) -> None:
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=6, each=4)
    one, two = start_session(study), start_session(study, "A2")
    with store.read(study) as con:
        kinds = {i.item: i.kind for i in audit_table.load_audit_items(con, audit.audit)}
        positions = one.audit_progress(con, audit)
        other_key = AuditSession(annotation_session(study, "A1"), b"another key")
        assert positions == other_key.audit_progress(con, audit)
        assert positions != two.audit_progress(con, audit)
    assert sorted(p.item for p in positions) == sorted(kinds)
    labels = [p.label for p in positions]
    # Label by label, and under each label not in the order in which the patches were drawn.
    distinct = list(dict.fromkeys(labels))
    assert [x for i, x in enumerate(labels) if i == 0 or labels[i - 1] != x] == distinct
    items_by_label = [[p.item for p in positions if p.label == label] for label in distinct]
    assert sum(items == sorted(items) for items in items_by_label) == 0
    mean_rank = {
        kind: sum(i % 12 for i, p in enumerate(positions) if kinds[p.item] == kind) / 24
        for kind in audit_table.AUDIT_PATCH_KINDS
    }
    assert (
        max(mean_rank.values()) - min(mean_rank.values()) < 3.5
    )  # kinds are spread within a label
    assert {f.name for f in fields(DisplayedPatch)} == {
        "token",
        "label",
        "tile",
        "number",
        "total",
        "answer",
        "is_new_label",
        "can_reopen",
    }
    with store.read(study) as con:
        tile = one.displayed_patch(con, audit).tile
    assert (tile.rank, tile.label) == (0, 0)  # neither rank nor class is filled in


def test_only_the_previous_answer_can_be_corrected(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con)
        first = session.displayed_patch(con, audit)
        first_saved = session.save_answer(con, first.token, "yes", 2.5)
        # A repeated request gets the same acknowledgement and adds no row.
        assert session.save_answer(con, first.token, "yes", 9.9) == first_saved
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(con, first.token, "no", 1.0)
        second = session.displayed_patch(con, audit)
        assert (second.number, second.can_reopen, second.answer) == (2, True, None)
        assert session.completed_count(con) == (1, 18)
        again = session.reopen_previous(con)
        assert (again.number, again.answer, again.tile) == (1, "yes", first.tile)
        assert not again.can_reopen
        session.save_answer(con, again.token, "unsure", 1.0)
        session.save_answer(con, second.token, "no", 1.0)
        with pytest.raises(RequestRefused):
            session.save_answer(con, again.token, "no", 1.0)  # no longer the previous one
        late, third = session.reopen_previous(con), session.displayed_patch(con, audit)
        session.save_answer(con, third.token, "yes", 1.0)
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(con, late.token, "yes", 1.0)  # reopened, then passed by
        frame = audit_table.load_judgements(con, audit, versions=True).iloc[:3]
        assert frame[["item", "version", "answer"]].values.tolist() == [
            [frame["item"][0], 1, "yes"],
            [frame["item"][0], 2, "unsure"],
            [frame["item"][2], 1, "no"],
        ]
        assert audit_table.load_judgements(con, audit)["answer"].tolist() == ["unsure", "no", "yes"]
        assert audit_table.audit_progress_by_expert(con, audit.audit).iloc[0]["corrections"] == 1
        for answer in ("maybe", None, 1, "YES"):
            with pytest.raises(UserError, match="yes, no or unsure"):
                session.save_answer(con, session.displayed_patch(con, audit).token, answer, 1.0)
        while (patch := session.displayed_patch(con, audit)) is not None:
            session.save_answer(con, patch.token, "no", None)
        assert session.completed_count(con) == (18, 18)
        assert session.reopen_previous(con).number == 18


def test_one_audit_at_a_time(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        with pytest.raises(RequestRefused, match="no audit"):
            session.current_audit(con)
        assert session.completed_count(con) is None
        with pytest.raises(UserError, match="No unit carries a label"):
            audit_table.create_audit(con, synthetic_study.DISSECT, 1, 2, "team", [])
        audit = synthetic_study.add_audit(con)
        token = session.displayed_patch(con, audit).token
        with pytest.raises(UserError, match="still open"):
            synthetic_study.add_audit(con)
        ended = audit_table.close_audit(con, "team")
        assert ended.ended is not None and audit_table.current_audit(con) is None
        with pytest.raises(RequestRefused, match="ended"):
            session.save_answer(con, token, "yes", 1.0)
        with pytest.raises(UserError, match="No label audit is open"):
            audit_table.close_audit(con, "team")
        assert synthetic_study.add_audit(con).audit == "audit-2"
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(con, token, "yes", 1.0)  # a token of the first audit


def test_the_audit_opens_after_consent_and_the_own_queue(study: Path) -> None:
    annotation = annotation_session(study, "A9")
    session = AuditSession(annotation, load_secret_key(study))

    def refusals(con) -> set[str]:
        """Return the codes with which every request is refused."""
        codes = set()
        for request in (
            lambda: session.current_audit(con),
            lambda: session.reopen_previous(con),
            lambda: session.save_answer(con, "token", "yes", 1.0),
        ):
            with pytest.raises(RequestRefused) as refused:
                request()
            codes.add(refused.value.code)
        assert session.completed_count(con) is None
        return codes

    with store.write(study) as con:
        audit = synthetic_study.add_audit(con)
        participant_table.add_participant(con, "A9", "annotator")
        assert refusals(con) == {"consent"}
        finish_queue(con, annotation)
        assert refusals(con) == {"consent"}  # finished in another way, without consent
        con.execute("DELETE FROM annotations")
        participant_table.record_consent(con, "A9", "", "yes")
        assert refusals(con) == {"queue"}
        finish_queue(con, annotation, leave_open=1)
        open_slot = annotation.queue(con).slots[-1]
        annotation.skip_slot(con, annotation.slot_token(open_slot))
        assert refusals(con) == {"queue"}  # a skipped unit is not answered
        finish_queue(con, annotation)
        assert session.current_audit(con) == audit
        assert session.completed_count(con) == (0, 18)
