"""Annotations are only added; the annotator's desk shows its own work, saves once per token and
hides everything else.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core import birads_lexicon, store
from core.errors import UserError
from core.sessions.annotation_session import Desk, order
from core.sessions.tokens import Refused, key, one_time
from core.store import annotation_table, participant_table
from support import synthetic_study

RUN = synthetic_study.DISSECT


def desk(study: Path, code: str = "A1", repeats: int = 4) -> Desk:
    with store.write(study) as con:
        if participant_table.role_of(con, code) is None:
            participant_table.add(con, code, "annotator")
            participant_table.consent(con, code, "", "yes")
    return Desk(code, key(study), repeats)


def finish_practice(con, at: Desk) -> None:
    for slot in at.queue(con).slots[:2]:
        assert slot.practice
        at.save(con, at.token(at.queue(con), slot), birads_lexicon.empty_answer(), 1.0)


def test_versions_are_added_and_the_latest_is_a_view(study: Path) -> None:
    with store.write(study) as con:
        first = synthetic_study.annotate(con, "A1", 3, synthetic_study.mass("spiculated"))
        second = synthetic_study.annotate(con, "A1", 3, synthetic_study.mass("obscured"))
        assert (first.version, second.version) == (1, 2)
        assert len(annotation_table.answers(con, RUN, versions=True)) == 2
        latest = annotation_table.answers(con, RUN)
        assert [a["label"] for a in latest["answer"]] == ["Mass with obscured margin, suspicious"]
        same = annotation_table.append(
            con,
            run=RUN,
            unit=3,
            code="A1",
            answer=synthetic_study.mass(),
            seconds=1.0,
            annotation_id=second.annotation_id,
        )
        assert same == second and len(annotation_table.answers(con, RUN, versions=True)) == 2
        with pytest.raises(UserError):
            synthetic_study.annotate(con, "A1", 3, {"recognisable": "yes", "phenomena": []})


def test_label_of_a_unit(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 1, birads_lexicon.empty_answer())
        second = synthetic_study.annotate(
            con, "A2", 1, synthetic_study.mass("spiculated"), simulated=True
        )
        synthetic_study.annotate(con, "A1", 2, synthetic_study.mass("obscured"))
        synthetic_study.annotate(
            con, "A1", 2, birads_lexicon.empty_answer()
        )  # changed to nothing by its own author
        mine = synthetic_study.annotate(con, "A1", 4, synthetic_study.mass("obscured"))
        theirs = synthetic_study.annotate(con, "A2", 4, synthetic_study.mass("indistinct"))
        synthetic_study.annotate(
            con, "A2", 5, synthetic_study.mass(), repeat=True
        )  # a repeat is no label
        synthetic_study.annotate(con, "A2", 6, synthetic_study.mass(), practice=True)
        labels = annotation_table.labels(con, RUN)
        assert set(labels) == {1, 4} and labels[1].simulated and not labels[4].simulated
        assert labels[1].annotation_ids == (second.annotation_id,) and labels[4].annotation_ids == (
            mine.annotation_id,
        )
        early = synthetic_study.annotate(
            con, "S1", 7, synthetic_study.mass("obscured"), simulated=True
        )
        assert annotation_table.labels(con, RUN)[7].annotation_ids == (early.annotation_id,)
        late = synthetic_study.annotate(
            con, "A9", 7, synthetic_study.mass("indistinct")
        )  # a person counts before a simulated expert
        assert annotation_table.labels(con, RUN)[7].annotation_ids == (late.annotation_id,)
        annotation_table.decide(con, RUN, 7, "", [], "only for this test", "team")
        assert annotation_table.labels(con, RUN, ["A2", "A1"])[4].annotation_ids == (
            theirs.annotation_id,
        )
        annotation_table.decide(
            con,
            RUN,
            4,
            "Edge of a mass",
            [mine.annotation_id, theirs.annotation_id],
            "both see it",
            "team",
        )
        annotation_table.decide(con, RUN, 1, "", [second.annotation_id], "not convincing", "team")
        labels = annotation_table.labels(con, RUN)
        assert (
            set(labels) == {4}
            and labels[4].text == "Edge of a mass"
            and len(labels[4].annotation_ids) == 2
        )
        assert annotation_table.counts(con, RUN) == {
            "units_selected": synthetic_study.SELECTED,
            "units_annotated": 1,
            "experts": 4,
        }


def test_the_order_is_the_persons_own_and_not_by_class(study: Path) -> None:
    units = list(range(20))
    first, second = order(units, "run|A1", 4), order(units, "run|A2", 4)
    assert first != second and first == order(units, "run|A1", 4)
    assert sorted(u for u, again in first if not again) == units
    again = [u for u, repeat in first if repeat]
    assert len(again) == 4 and all(
        first.index((u, True)) - first.index((u, False)) >= 5 for u in again
    )


def test_the_desk_goes_through_the_queue(study: Path) -> None:
    at = desk(study)
    with store.write(study) as con:
        queue = at.queue(con)
        assert (
            len(queue.real) == synthetic_study.SELECTED + 4
            and sum(s.practice for s in queue.slots) == 2
        )
        assert not {s.unit for s in queue.slots if s.practice} & {s.unit for s in queue.real}
        finish_practice(con, at)
        slot = at.queue(con).next()
        assert slot.number == 1
        at.skip(con, at.token(at.queue(con), slot))
        queue = at.queue(con)
        assert queue.real[0].status == "skipped" and queue.next(queue.real[0]).number == 2
        for _ in range(len(queue.real) - 1):
            queue = at.queue(con)
            here = queue.next()
            assert here.status == "todo"
            at.save(con, at.token(queue, here), synthetic_study.mass(), 1.0)
        queue = at.queue(con)
        assert queue.next().number == 1 and queue.next().status == "skipped"
        at.save(con, at.token(queue, queue.next()), birads_lexicon.empty_answer(), 1.0)
        assert at.queue(con).next() is None


def test_one_token_saves_once(study: Path) -> None:
    at = desk(study)
    with store.write(study) as con:
        queue = at.queue(con)
        token = at.token(queue, queue.next())
        saved, _ = at.save(con, token, synthetic_study.mass(), 2.0)
        again, _ = at.save(con, token, synthetic_study.mass(), 9.0)
        assert again.made == saved.made
        with pytest.raises(Refused, match="another window"):
            at.save(con, token, birads_lexicon.empty_answer(), 2.0)
        with pytest.raises(Refused, match="another window"):
            at.save(con, one_time(b"guess", "annotate"), synthetic_study.mass(), 2.0)
        assert con.execute("SELECT count(*), sum(seconds) FROM annotations").fetchone() == (1, 2.0)
        changed = at.queue(con)
        slot = at.find(changed, at.name(queue, queue.slots[0]))
        second, _ = at.save(con, at.token(changed, slot), synthetic_study.mass("obscured"), None)
        assert second.version == 2


def test_a_desk_knows_no_colleague(study: Path) -> None:
    one, two = desk(study, "A1"), desk(study, "A2")
    with store.write(study) as con:
        queue = one.queue(con)
        token = one.token(queue, queue.next())
        one.save(con, token, synthetic_study.mass(), 1.0)
        assert two.answer_of(con, two.queue(con), two.queue(con).slots[0]) is None
        with pytest.raises(Refused):
            two.save(con, token, synthetic_study.mass(), 1.0)
        with pytest.raises(Refused):
            two.find(two.queue(con), one.name(queue, queue.slots[3]))


def test_no_consent_no_answer_and_nothing_to_name(study: Path, empty: Path) -> None:
    at = desk(study)
    with store.write(study) as con:
        con.execute("DELETE FROM consents")
        with pytest.raises(Refused, match="consent"):
            at.save(con, "x", synthetic_study.mass(), 1.0)
    with store.read(empty) as con, pytest.raises(Refused, match="no units"):
        Desk("A1", b"k", 4).queue(con)


def test_tiles_are_the_strongest_patches(study: Path) -> None:
    with store.read(study) as con:
        tiles = annotation_table.tiles(con, RUN, 7)
        expected = con.execute(
            "SELECT patch_id FROM top_patches WHERE run = ? AND unit = 7 AND rank < 32 ORDER BY"
            " rank",
            [RUN],
        ).fetchall()
    assert [t.patch_id for t in tiles] == [e[0] for e in expected] and len(tiles) == 32
    assert all(t.file.startswith("zqxfile") and t.side == synthetic_study.SIDE for t in tiles)
