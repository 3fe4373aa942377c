"""The label audit: blind and repeatable orders, answers that are only added, one at a time, and
nothing else to be had.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.sessions.audit_session import Desk, Shown
from core.sessions.tokens import Refused, key
from core.store import audit_table, participant_table
from support import synthetic_study


def desk(study: Path, code: str = "A1") -> Desk:
    with store.write(study) as con:
        if participant_table.role_of(con, code) is None:
            participant_table.add(con, code, "annotator")
            participant_table.consent(con, code, "", "yes")
    return Desk(code, key(study))


def test_the_order_is_blind_repeatable_and_the_persons_own(study: Path) -> None:
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=6, each=4)
    one, two = desk(study), desk(study, "A2")
    with store.read(study) as con:
        kinds = {i.item: i.kind for i in audit_table.items(con, audit.audit)}
        mine = one.sheet(con, audit)
        assert mine == Desk("A1", b"another key").sheet(con, audit) and mine != two.sheet(
            con, audit
        )
    assert sorted(p.item for p in mine) == sorted(kinds)
    words = [p.words for p in mine]
    assert [w for i, w in enumerate(words) if i == 0 or words[i - 1] != w] == list(
        dict.fromkeys(words)
    )  # words by words
    under = [[p.item for p in mine if p.words == text] for text in dict.fromkeys(words)]
    assert (
        sum(items == sorted(items) for items in under) == 0
    )  # not in the order in which they were drawn
    mean = {
        kind: sum(i % 12 for i, p in enumerate(mine) if kinds[p.item] == kind) / 24
        for kind in audit_table.KINDS
    }
    assert max(mean.values()) - min(mean.values()) < 3.5  # kinds are spread within the words
    assert {f.name for f in fields(Shown)} == {
        "token",
        "words",
        "tile",
        "number",
        "total",
        "given",
        "fresh",
        "may_reopen",
    }
    with store.read(study) as con:
        tile = one.show(con, audit).tile
    assert (tile.rank, tile.label) == (0, 0)  # neither rank nor class is filled in


def test_answers_are_added_once_and_only_the_previous_is_reopened(study: Path) -> None:
    at = desk(study)
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con)
        first = at.show(con, audit)
        made = at.answer(con, first.token, "yes", 2.5)
        assert at.answer(con, first.token, "yes", 9.9) == made  # sent again: no second row
        with pytest.raises(Refused, match="another window"):
            at.answer(con, first.token, "no", 1.0)
        second = at.show(con, audit)
        assert (second.number, second.may_reopen, second.given) == (2, True, None) and at.count(
            con
        ) == (1, 18)
        again = at.reopen(con)
        assert (again.number, again.given, again.tile) == (
            1,
            "yes",
            first.tile,
        ) and not again.may_reopen
        at.answer(con, again.token, "unsure", 1.0)
        at.answer(con, second.token, "no", 1.0)
        with pytest.raises(Refused):
            at.answer(con, again.token, "no", 1.0)  # no longer the previous one
        late, third = at.reopen(con), at.show(con, audit)
        at.answer(con, third.token, "yes", 1.0)
        with pytest.raises(Refused, match="another window"):
            at.answer(con, late.token, "yes", 1.0)  # a reopened patch that was left behind
        frame = audit_table.judgements(con, audit, versions=True).iloc[:3]
        assert frame[["item", "version", "answer"]].values.tolist() == [
            [frame["item"][0], 1, "yes"],
            [frame["item"][0], 2, "unsure"],
            [frame["item"][2], 1, "no"],
        ]
        assert (
            audit_table.judgements(con, audit)["answer"].tolist() == ["unsure", "no", "yes"]
            and audit_table.progress(con, audit.audit).iloc[0]["corrections"] == 1
        )
        for answer in ("maybe", None, 1, "YES"):
            with pytest.raises(UserError, match="yes, no or unsure"):
                at.answer(con, at.show(con, audit).token, answer, 1.0)
        while (shown := at.show(con, audit)) is not None:
            at.answer(con, shown.token, "no", None)
        assert at.count(con) == (18, 18) and at.reopen(con).number == 18


def test_one_audit_at_a_time_ended_for_everybody(study: Path) -> None:
    at = desk(study)
    with store.write(study) as con:
        with pytest.raises(Refused, match="no audit"):
            at.audit(con)
        assert at.count(con) is None
        with pytest.raises(UserError, match="nobody|no words|nothing|No unit"):
            audit_table.start(con, synthetic_study.DISSECT, 1, 2, "team", [])
        audit = synthetic_study.add_audit(con)
        token = at.show(con, audit).token
        with pytest.raises(UserError, match="still open"):
            synthetic_study.add_audit(con)
        ended = audit_table.end(con, "team")
        assert ended.ended is not None and audit_table.current(con) is None
        with pytest.raises(Refused, match="ended"):
            at.answer(con, token, "yes", 1.0)
        with pytest.raises(UserError, match="No label audit is open"):
            audit_table.end(con, "team")
        assert synthetic_study.add_audit(con).audit == "audit-2"
        with pytest.raises(Refused, match="another window"):
            at.answer(con, token, "yes", 1.0)  # a token of the first audit
        participant_table.add(con, "A9", "annotator")
        with pytest.raises(Refused, match="consent"):
            Desk("A9", key(study)).answer(con, token, "yes", 1.0)
