"""A label on the Explanations page: from the first answer to the undone decision."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import store
from core.lexicon import annotation_answers
from core.lexicon.birads_categories import BIRADS
from core.store import annotation_table, participant_table, run_table
from core.store.connection import Connection
from core.store.labels import decision_table, finished_annotators
from evaluation.queries import explanations
from support.team_page import Open, page_text

pytestmark = pytest.mark.slow
ASYMMETRY = annotation_answers.create_answer(
    [{"category": "asymmetry", "terms": {"extent": "focal"}, "association": "uncertain"}], 3, BIRADS
)


def answer(con: Connection, run: str, unit: int, code: str) -> None:
    if participant_table.participant_role(con, code) is None:
        participant_table.add_participant(con, code, "annotator", False)
    annotation_table.append_annotation(
        con,
        run=run,
        unit=unit,
        code=code,
        answer=ASYMMETRY,
        seconds=10.0,
        annotation_id=f"{code}-{unit}",
    )


def label_in_strip(page: AppTest, rank: int) -> str:
    """Return the label of the unit of a rank, with its state."""
    (strip,) = (e.body for e in page.get("html") if 'class="dm-strip"' in e.body)
    cells = re.findall(
        r'<div class="label" title="[^"]*">(.*?)</div><div class="state">(.*?)</div>', strip
    )
    label, state = cells[rank - 1]
    return f"{label} ({state})" if state else label


def test_label_from_the_first_answer_to_the_undone_decision(
    own_study: Path, open_page: Open
) -> None:
    """Provisional, agreed, disputed, decided and undone: each is seen at the next rerun."""
    with store.read(own_study) as con:
        explain = run_table.latest_run(con, "explain") or ""
        dissect = run_table.latest_run(con, "dissect") or ""
        answered = set(annotation_table.load_annotations(con, dissect)["unit"])
    cases = explanations.list_explained(own_study, explain, "all", 1)["mammogram_id"]
    shown = (explanations.load_explanation(own_study, explain, case) for case in cases)
    case = next(c for c in shown if c.units[0].label and {u.unit for u in c.units} - answered)
    named = case.units[0]
    other = next(u for u in case.units if u.unit not in answered)
    new = ASYMMETRY["label"]
    page = open_page(own_study, "explanations", film=case.mammogram_id)

    def labels() -> tuple[str, str]:
        page.run()
        assert not page.exception
        return label_in_strip(page, named.rank), label_in_strip(page, other.rank)

    agreed = f"{named.label} ({named.state})"
    assert labels() == (agreed, "no label")

    # Two people begin: their names are in use nowhere.
    with store.write(own_study) as con:
        for code in ("E1", "E2"):
            answer(con, dissect, other.unit, code)
        answer(con, dissect, named.unit, "E1")
    assert labels() == (agreed, "no label (provisional)")
    assert new not in page_text(page)

    # One has finished. A name of one person among several does not count; a unit loses its label
    # where finished experts differ.
    with store.write(own_study) as con:
        finished_annotators.mark_finished(con, dissect, "E1", "team")
    assert labels() == ("no label (experts differ)", "no label (provisional)")
    assert new not in page_text(page)
    with store.write(own_study) as con:
        finished_annotators.mark_finished(con, dissect, "E2", "team")
    assert labels() == ("no label (experts differ)", f"{new} (agreed)")

    with store.write(own_study) as con:
        decision_table.record_decision(
            con, dissect, named.unit, new, [f"E1-{named.unit}"], "answer A", "team"
        )
    assert labels() == (f"{new} (adjudicated)", f"{new} (agreed)")
    with store.write(own_study) as con:
        decision_table.undo_decision(con, dissect, named.unit, "team")
    assert labels() == ("no label (experts differ)", f"{new} (agreed)")
    with store.write(own_study) as con:
        for code in ("E1", "E2"):
            finished_annotators.undo_mark(con, dissect, code, "team")
    assert labels() == (agreed, "no label (provisional)")
    assert new not in page_text(page)
