"""Label precision: counts and intervals against literal versions, patients as clusters, and the
patches drawn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import store
from core.annotation import simulated_experts
from core.errors import UserError
from core.sources.phantom.concepts import Concept
from core.store import annotation_table, audit_table, participant_table
from evaluation.annotation import audit_workflow
from evaluation.annotation.label_audit import audited, precision_interval, wilson
from evaluation.proportion import proportion_interval


def table(
    answers: dict[str, list[str]],
    patients: int = 100,
    unit: int = 3,
    code: str = "A1",
    start: int = 0,
) -> pd.DataFrame:
    rows = [
        {
            "code": code,
            "item": start + 100 * k + n,
            "unit": unit,
            "label": "Mass",
            "kind": kind,
            "patch_id": n,
            "patient_id": f"p{(100 * k + n) % patients}",
            "answer": answer,
            "simulated": False,
        }
        for k, (kind, said) in enumerate(answers.items())
        for n, answer in enumerate(said)
    ]
    return pd.DataFrame(rows)


def test_counts_precision_and_difference() -> None:
    frame = table(
        {
            "top": ["yes"] * 9 + ["unsure"],
            "middle": ["yes", "no", "no", "no"],
            "random": ["yes"] + ["no"] * 9,
        },
        patients=1000,
    )
    found = audited(frame)
    top, _, random = found.units
    assert [(s.kind, s.yes, s.no, s.unsure, s.patches, s.patients) for s in found.units] == [
        ("top", 9, 0, 1, 10, 10),
        ("middle", 1, 3, 0, 4, 4),
        ("random", 1, 9, 0, 10, 10),
    ]
    assert (
        top.interval.estimate == 0.9
        and random.interval.estimate == 0.1
        and found.difference_of(3).estimate == pytest.approx(0.8)
    )
    gap = found.difference_of(None)
    assert (
        gap.low < 0.8 < gap.high
        and gap.low > 0.3
        and found.agreement is None
        and not found.simulated
    )
    assert [s.unit for s in found.pooled] == [None] * 3 and found.pooled[0].yes == 9


def test_independent_judgements_give_wilson_and_patients_widen_it() -> None:
    yes = np.array([True] * 12 + [False] * 8)
    own = precision_interval(yes, np.arange(20))
    plain = proportion_interval(12, 20, "wilson")
    assert wilson(12 / 20, 20, 0.95) == pytest.approx((plain.low, plain.high))
    assert (own.low, own.high) == pytest.approx(
        (plain.low, plain.high), abs=0.02
    )  # effective n is 19, the linearised variance's m - 1
    wide = precision_interval(
        yes, np.arange(20) // 4
    )  # five patients who mostly agree with themselves
    assert wide.low < own.low and wide.high > own.high and wide.estimate == own.estimate


def test_agreement_of_all_and_one_patient() -> None:
    every = precision_interval(np.ones(12, bool), np.arange(12) // 3)
    assert (every.estimate, every.high) == (1.0, 1.0) and every.low == pytest.approx(
        proportion_interval(4, 4, "wilson").low
    )
    assert (
        precision_interval(np.zeros(5, bool), np.zeros(5)).reason
        == "all patches come from one patient"
    )
    assert precision_interval(np.zeros(0, bool), np.zeros(0)).reason == "no patch has been judged"
    found = audited(table({"top": ["yes"] * 6, "random": ["no"] * 6}))
    assert (
        found.difference_of(3).estimate == 1
        and found.difference_of(3).low is None
        and "same difference" in found.difference_of(3).reason
    )
    assert found.units[1].interval.estimate is None


def test_two_experts_agree_or_not() -> None:
    said = {"top": ["yes"] * 8, "random": ["no"] * 8}
    same = audited(pd.concat([table(said), table(said, code="A2")]))
    assert (
        same.agreement.estimate == pytest.approx(1)
        and same.units[0].experts == 2
        and same.units[0].patches == 8
        and same.units[0].yes == 16
    )
    other = audited(
        pd.concat([table(said), table({"top": ["no"] * 8, "random": ["yes"] * 8}, code="A2")])
    )
    assert other.agreement.estimate < 0


@given(st.integers(5, 300), st.integers(1, 12), st.integers(0, 5), st.data())
def test_places_are_apart_seeded_and_of_their_kind(
    total: int, number: int, seed: int, data: st.DataObject
) -> None:
    values = np.array(
        data.draw(st.lists(st.floats(0, 1, width=32), min_size=total, max_size=total))
    )
    if total < 5 * number:
        with pytest.raises(UserError, match="too few"):
            audit_workflow.places(values, number, seed, 4)
        return
    found = audit_workflow.places(values, number, seed, 4)
    assert found["top"].tolist() == list(range(number))
    assert all(0.4 * total - 1 <= place < 0.6 * total for place in found["middle"])
    together = np.concatenate(list(found.values()))
    assert len(set(together.tolist())) == 3 * number and together.max() < total
    again = audit_workflow.places(values, number, seed, 4)
    assert all((found[kind] == again[kind]).all() for kind in found)


def test_without_an_audit(tmp_path: Path) -> None:
    store.create(tmp_path)
    assert audit_workflow.newest(tmp_path) is None
    for work in (
        lambda: audit_workflow.results(tmp_path),
        lambda: audit_workflow.end(tmp_path, "team"),
        lambda: audit_workflow.start(tmp_path, 4, 1, "team"),
    ):
        with pytest.raises(
            UserError, match="no label audit|No label audit|No unit carries a label"
        ):
            work()


def test_a_simulated_judgement_follows_the_pixels() -> None:
    mask = np.zeros((64, 64), np.uint32)
    mask[:4, :4] = int(Concept.NIPPLE)
    said = [
        simulated_experts.judgement("Nipple", mask, np.random.default_rng(i)) for i in range(200)
    ]
    assert 180 <= said.count("yes") < 200 and said.count("unsure") == 0
    assert simulated_experts.judgement("Pectoral muscle", mask, np.random.default_rng(0)) == "no"
    assert simulated_experts.judgement("Something else", mask, np.random.default_rng(0)) == "unsure"
    assert simulated_experts.judgement("Nipple", mask[3:], np.random.default_rng(0)) == "unsure"


def test_an_audit_of_the_demonstration(own_study: Path) -> None:
    simulated, found = audit_workflow.results(
        own_study
    )  # what the demonstration's simulated experts said
    top, _, random = (share.interval for share in found.pooled)
    assert (
        simulated.ended is not None
        and found.simulated
        and top.low > random.high
        and found.difference_of(None).low > 0
        and found.agreement.estimate > 0.6
    )
    shown = audit_workflow.of_unit(own_study, simulated.run, found.units[0].unit)
    assert shown is not None and shown[0].audit == "audit-1" and shown[1].units == found.units[:3]
    assert audit_workflow.of_unit(own_study, simulated.run, -1) is None
    with pytest.raises(UserError, match="1 to 32"):
        audit_workflow.start(own_study, 0, 1, "team")
    audit = audit_workflow.start(own_study, 4, 1, "team")
    assert audit.audit == "audit-2"
    with store.read(own_study) as con:
        labels = annotation_table.labels(con, audit.run)
        items = audit_table.items(con, audit.audit)
    assert (
        audit.simulated
        and len(items) == 12 * len(labels)
        and {i.unit for i in items} == set(labels)
    )
    assert not any(
        word in i.label.lower() for i in items for word in ("suspicious", "benign", "uncertain")
    )
    by_kind = (
        pd.DataFrame([vars(i) for i in items])
        .groupby(["unit", "kind"])["activation"]
        .mean()
        .unstack()
    )
    assert (by_kind["top"] >= by_kind["middle"]).all() and (
        by_kind["top"] >= by_kind["random"]
    ).all()
    with pytest.raises(UserError, match="Nobody has answered"):
        audit_workflow.results(own_study)
    with store.write(own_study) as con:
        participant_table.add(con, "A1", "annotator")
        for item in items:
            audit_table.append_answer(
                con, audit.audit, "A1", item.item, 1, "yes" if item.kind == "top" else "no", 1.0
            )
    result = audit_workflow.results(own_study)[1]
    assert (
        result.pooled[0].interval.estimate == 1
        and result.pooled[2].interval.estimate == 0
        and result.difference_of(None).estimate == 1
    )
    frame = audit_workflow.results_table(audit, result)
    assert len(frame) == 3 * len(labels) + 3 and frame["precision"].tolist() == [1, 0, 0] * (
        len(labels) + 1
    )
    assert frame["simulated_labels"].all() and not frame["simulated_judgements"].any()
    assert len(audit_workflow.judgements_table(own_study, audit)) == len(items)
    assert (
        audit_workflow.end(own_study, "team").ended is not None
        and audit_workflow.newest(own_study).audit == audit.audit
    )
