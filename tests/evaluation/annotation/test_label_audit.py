"""Label audits: counts and intervals against direct computation, and the sample of patches."""

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
from core.store import audit_table, participant_table
from core.store.labels import decision_table, label_states
from evaluation.annotation import audit_workflow
from evaluation.annotation.label_audit import (
    compute_audit_result,
    precision_interval,
    sample_patch_ranks,
    wilson_bounds,
)
from evaluation.proportion import proportion_interval
from support import synthetic_study


def table(
    answers: dict[str, list[str]],
    patients: int = 100,
    unit: int = 3,
    code: str = "A1",
    start: int = 0,
) -> pd.DataFrame:
    """Return judgements with the given answers by kind of patches."""
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
        for k, (kind, kind_answers) in enumerate(answers.items())
        for n, answer in enumerate(kind_answers)
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
    result = compute_audit_result(frame)
    top, _, random = result.units
    assert [(s.kind, s.yes, s.no, s.unsure, s.patches, s.patients) for s in result.units] == [
        ("top", 9, 0, 1, 10, 10),
        ("middle", 1, 3, 0, 4, 4),
        ("random", 1, 9, 0, 10, 10),
    ]
    assert (
        top.interval.estimate == 0.9
        and random.interval.estimate == 0.1
        and result.difference_of(3).estimate == pytest.approx(0.8)
    )
    gap = result.difference_of(None)
    assert (
        gap.low < 0.8 < gap.high
        and gap.low > 0.3
        and result.agreement is None
        and not result.simulated
    )
    assert [s.unit for s in result.pooled] == [None] * 3 and result.pooled[0].yes == 9


def test_precision_interval_widens_with_clustering() -> None:
    yes = np.array([True] * 12 + [False] * 8)
    independent = precision_interval(yes, np.arange(20))
    plain = proportion_interval(12, 20, "wilson")
    assert wilson_bounds(12 / 20, 20, 0.95) == pytest.approx((plain.low, plain.high))
    assert (independent.low, independent.high) == pytest.approx(
        (plain.low, plain.high), abs=0.02
    )  # effective n is 19, the linearised variance's m - 1
    wide = precision_interval(yes, np.arange(20) // 4)  # five patients with mostly equal judgements
    assert (
        wide.low < independent.low
        and wide.high > independent.high
        and wide.estimate == independent.estimate
    )


def test_constant_judgements_and_single_patient() -> None:
    constant = precision_interval(np.ones(12, bool), np.arange(12) // 3)
    assert (constant.estimate, constant.high) == (1.0, 1.0) and constant.low == pytest.approx(
        proportion_interval(4, 4, "wilson").low
    )
    assert (
        precision_interval(np.zeros(5, bool), np.zeros(5)).reason
        == "all patches come from one patient"
    )
    assert precision_interval(np.zeros(0, bool), np.zeros(0)).reason == "no patch has been judged"
    result = compute_audit_result(table({"top": ["yes"] * 6, "random": ["no"] * 6}))
    assert (
        result.difference_of(3).estimate == 1
        and result.difference_of(3).low is None
        and "same difference" in result.difference_of(3).reason
    )
    assert result.units[1].interval.estimate is None


def test_agreement_of_two_experts() -> None:
    answers = {"top": ["yes"] * 8, "random": ["no"] * 8}
    same = compute_audit_result(pd.concat([table(answers), table(answers, code="A2")]))
    assert (
        same.agreement.estimate == pytest.approx(1)
        and same.units[0].experts == 2
        and same.units[0].patches == 8
        and same.units[0].yes == 16
    )
    other = compute_audit_result(
        pd.concat([table(answers), table({"top": ["no"] * 8, "random": ["yes"] * 8}, code="A2")])
    )
    assert other.agreement.estimate < 0


@given(st.integers(5, 300), st.integers(1, 12), st.integers(0, 5), st.data())
def test_sampled_ranks(total: int, number: int, seed: int, data: st.DataObject) -> None:
    values = np.array(
        data.draw(st.lists(st.floats(0, 1, width=32), min_size=total, max_size=total))
    )
    if total < 5 * number:
        with pytest.raises(UserError, match="too few"):
            sample_patch_ranks(values, number, seed, 4)
        return
    result = sample_patch_ranks(values, number, seed, 4)
    assert result["top"].tolist() == list(range(number))
    assert all(0.4 * total - 1 <= rank < 0.6 * total for rank in result["middle"])
    together = np.concatenate(list(result.values()))
    assert len(set(together.tolist())) == 3 * number and together.max() < total
    again = sample_patch_ranks(values, number, seed, 4)
    assert all((result[kind] == again[kind]).all() for kind in result)


def test_without_an_audit(tmp_path: Path) -> None:
    store.create(tmp_path)
    assert audit_workflow.latest_audit(tmp_path) is None
    for work in (
        lambda: audit_workflow.load_audit_result(tmp_path),
        lambda: audit_workflow.end_audit(tmp_path, "team"),
        lambda: audit_workflow.start_audit(tmp_path, 4, 1, "team"),
    ):
        with pytest.raises(UserError, match="no label audit|No label audit|no dissect run"):
            work()


def test_simulated_judgement() -> None:
    mask = np.zeros((64, 64), np.uint32)
    mask[:4, :4] = int(Concept.NIPPLE)
    answers = [
        simulated_experts.simulate_audit_judgement("Nipple", mask, np.random.default_rng(i))
        for i in range(200)
    ]
    assert 180 <= answers.count("yes") < 200 and answers.count("unsure") == 0
    assert (
        simulated_experts.simulate_audit_judgement(
            "Pectoral muscle", mask, np.random.default_rng(0)
        )
        == "no"
    )
    assert (
        simulated_experts.simulate_audit_judgement("Something else", mask, np.random.default_rng(0))
        == "unsure"
    )
    assert (
        simulated_experts.simulate_audit_judgement("Nipple", mask[3:], np.random.default_rng(0))
        == "unsure"
    )


def test_audit_of_the_demonstration(own_study: Path) -> None:
    simulated, result = audit_workflow.load_audit_result(
        own_study
    )  # answers of the simulated experts
    top, _, random = (share.interval for share in result.pooled)
    assert (
        simulated.ended is not None
        and result.simulated
        and top.low > random.high
        and result.difference_of(None).low > 0
        and result.agreement.estimate > 0.6
    )
    unit_audit = audit_workflow.load_unit_audit(own_study, simulated.run, result.units[0].unit)
    assert (
        unit_audit is not None
        and unit_audit[0].audit == "audit-1"
        and unit_audit[1].units == result.units[:3]
    )
    assert audit_workflow.load_unit_audit(own_study, simulated.run, -1) is None
    with pytest.raises(UserError, match="1 to 32"):
        audit_workflow.start_audit(own_study, 0, 1, "team")
    audit = audit_workflow.start_audit(own_study, 4, 1, "team")
    assert audit.audit == "audit-2"
    with store.read(own_study) as con:
        labels = label_states.unit_labels(con, audit.run, [])
        items = audit_table.load_audit_items(con, audit.audit)
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
    with pytest.raises(UserError, match="has no answers yet"):
        audit_workflow.load_audit_result(own_study)
    with store.write(own_study) as con:
        participant_table.add_participant(con, "A1", "annotator")
        for item in items:
            audit_table.append_audit_answer(
                con, audit.audit, "A1", item.item, 1, "yes" if item.kind == "top" else "no", 1.0
            )
    result = audit_workflow.load_audit_result(own_study)[1]
    assert (
        result.pooled[0].interval.estimate == 1
        and result.pooled[2].interval.estimate == 0
        and result.difference_of(None).estimate == 1
    )
    frame = audit_workflow.audit_result_table(audit, result, {})
    assert len(frame) == 3 * len(labels) + 3 and frame["precision"].tolist() == [1, 0, 0] * (
        len(labels) + 1
    )
    assert frame["simulated_labels"].all() and not frame["simulated_judgements"].any()
    assert len(audit_workflow.load_judgement_versions(own_study, audit)) == len(items)
    assert audit_workflow.outdated_labels(own_study, audit.audit) == {}
    unit = result.units[0].unit
    with store.write(own_study) as con:
        decision_table.record_decision(con, audit.run, unit, "Skin fold", [], "looked again", "T1")
    outdated = audit_workflow.outdated_labels(own_study, audit.audit)
    assert set(outdated) == {unit} and "it is now “Skin fold”" in outdated[unit]
    with store.write(own_study) as con:
        decision_table.undo_decision(con, audit.run, unit, "T1")
    assert audit_workflow.outdated_labels(own_study, audit.audit) == {}
    assert (
        audit_workflow.end_audit(own_study, "team").ended is not None
        and audit_workflow.latest_audit(own_study).audit == audit.audit
    )


def test_unsure_counts_as_not_shown_in_both_sets() -> None:
    """6 of 10 on top patches minus 2 of 16 on random ones; unsure is in both denominators."""
    frame = table(
        {
            "top": ["yes"] * 6 + ["no"] * 3 + ["unsure"],
            "random": ["yes"] * 2 + ["no"] * 9 + ["unsure"] * 5,
        },
        patients=1000,
    )
    result = compute_audit_result(frame)
    assert result.difference_of(None).estimate == pytest.approx(6 / 10 - 2 / 16)
    assert result.difference_of(3).estimate == pytest.approx(6 / 10 - 2 / 16)
    assert [(s.kind, s.interval.estimate) for s in result.pooled if s.yes] == [
        ("top", 6 / 10),
        ("random", 2 / 16),
    ]


def test_audit_belongs_to_the_label_that_it_judged(tmp_path: Path) -> None:
    study = synthetic_study.create_study(tmp_path / "study")
    run = synthetic_study.DISSECT
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=2)
        for unit, label in enumerate(synthetic_study.LABELS[:2]):
            decision_table.record_decision(con, run, unit, f"{label}, suspicious", [], "", "T1")
    # The association was not judged: it makes no label outdated.
    assert audit_workflow.outdated_labels(study, audit.audit) == {}
    with store.write(study) as con:
        decision_table.record_decision(con, run, 0, "Lymph node", [], "seen again", "T1")
        decision_table.record_decision(con, run, 1, "", [], "seen again", "T1")
    outdated = audit_workflow.outdated_labels(study, audit.audit)
    judged = synthetic_study.LABELS[0]
    assert outdated[0] == f"Outdated: audit-1 judged “{judged}”; it is now “Lymph node”."
    assert "no label of the unit counts now" in outdated[1]
    with store.write(study) as con:
        decision_table.undo_decision(con, run, 0, "T1")
    assert set(audit_workflow.outdated_labels(study, audit.audit)) == {1}
