"""What the demonstration shows: many phenomena, distinct texts, a network that errs sometimes."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.networks.checkpoints import read_state
from core.store import annotation_table, run_table, unit_table
from evaluation.demo.build import (
    FULL_PLAN,
    QUICK_PLAN,
    DemoPlan,
    _no_progress,
    build_demo,
    demo_settings,
)
from evaluation.demo.simulated_answers import SIMULATED_EXPERTS, simulate_annotations
from evaluation.queries import performance


def agreed_labels(study: Path) -> dict[int, str]:
    """Return the labels on which the simulated experts agree, by unit."""
    with store.read(study) as con:
        dissect = run_table.latest_run(con, "dissect")
        answers = annotation_table.load_annotations(con, dissect)
    experts = {code for code, _ in SIMULATED_EXPERTS}
    labels: dict[int, set[str]] = {}
    for row in answers[answers["code"].isin(experts)].itertuples():
        labels.setdefault(int(row.unit), set()).add(row.answer["label"])
    return {unit: label for unit, (label, *others) in labels.items() if label and not others}


def test_experts_agree_on_many_phenomena(demonstration: Path) -> None:
    labels = set(agreed_labels(demonstration).values())
    assert len(labels) >= 6
    text = " ".join(labels).lower()
    assert "spiculated" in text or "distortion" in text
    assert sum("calcifications" in label for label in labels) >= 2
    assert any(name in text for name in ("normal tissue", "pectoral muscle"))


def test_experts_differ_on_some_units_and_find_some_without_a_phenomenon(
    demonstration: Path,
) -> None:
    """Otherwise nothing would be there to adjudicate."""
    with store.read(demonstration) as con:
        dissect = run_table.latest_run(con, "dissect")
        selected = set(unit_table.selected_unit_ids(con, dissect))
    assert 0.5 * len(selected) <= len(agreed_labels(demonstration)) < len(selected)


def test_half_of_the_texts_are_distinct(demonstration: Path) -> None:
    """Of the explained mammograms, by the five labelled units that are printed beside them."""
    labels, texts = agreed_labels(demonstration), []
    with store.read(demonstration) as con:
        explain = run_table.latest_run(con, "explain")
        for row in unit_table.load_explanations(con, explain).itertuples():
            influences = unit_table.load_influences(con, explain, row.mammogram_id)
            units = influences[influences["class"] == row.predicted]["unit"]
            texts.append(tuple([labels[unit] for unit in units if unit in labels][:5]))
    assert len(texts) > 50
    assert len(set(texts)) >= len(texts) / 2


def test_network_is_good_and_errs(demonstration: Path) -> None:
    with store.read(demonstration) as con:
        run = run_table.latest_run(con, "evaluate")
    results = performance.load_class_results(demonstration, run, "test", "patch")
    assert len(results) == 3
    for result in results:
        assert 0.75 < result.auc.estimate < 0.98, result.name


@pytest.mark.parametrize("plan", [FULL_PLAN, QUICK_PLAN])
def test_training_starts_from_the_weights_of_the_repository(plan: DemoPlan) -> None:
    assert plan.weights.is_file()
    state = read_state(plan.weights)
    assert state["fc.weight"].shape[1] == plan.units
    chosen = demo_settings(plan, shortcut=False)
    assert chosen.training.weights == str(plan.weights)
    assert chosen.images.input_side == plan.input_side


def test_mammograms_of_the_demonstration_are_wide() -> None:
    assert 4 * FULL_PLAN.input_side >= 800


def test_shortcut_study_is_another_study(own_study: Path) -> None:
    """The folder of one demonstration is refused by the other."""
    with pytest.raises(UserError, match="another study"):
        build_demo(own_study, quick=True, experts=False, shortcut=True)


def test_simulated_answers_continue_as_they_would_have_been(own_study: Path) -> None:
    """An answer depends on its expert and unit alone."""

    def answers() -> dict[tuple[str, int], tuple]:
        with store.read(own_study) as con:
            rows = annotation_table.load_annotations(con, dissect)
        return {
            (row.code, row.unit): (row.answer, row.seconds, row.annotation_id, row.simulated)
            for row in rows.itertuples()
        }

    with store.write(own_study) as con:
        dissect = run_table.latest_run(con, "dissect") or ""
        code = SIMULATED_EXPERTS[1][0]
        first = unit_table.selected_unit_ids(con, dissect)[:5]
    before = answers()
    with store.write(own_study) as con:
        con.execute("DELETE FROM annotations WHERE code = ? AND unit <= ?", [code, max(first)])
    assert len(answers()) < len(before)
    simulate_annotations(own_study, dissect)
    assert answers() == before
    assert all(row[3] and round(row[1], 1) == row[1] > 0 for row in before.values())


def test_progress_is_not_needed() -> None:
    with _no_progress("patches") as report:
        assert report(1, 2, "patches") is None
