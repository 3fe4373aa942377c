"""A reading study with advice in a study folder, from design to report and exported answers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from core import store
from core.errors import UserError
from core.sessions.arms import ARM_TITLES
from core.store import unit_table
from core.store.reading import reading_table
from evaluation.reading_study import workflow
from evaluation.reading_study.narrative import narrative
from evaluation.reading_study.primary import comparison_name
from evaluation.reading_study.workflow.candidates import candidate_images
from evaluation.reporting.answers import export_reading_answers
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import render_figure
from evaluation.reporting.methods_text import reading_sentences
from evaluation.reporting.tables.checklists import (
    FOUND,
    MISSING,
    WRITE,
    ChecklistItem,
    checklist_items,
)
from evaluation.reporting.tables.questions import build_question_table
from evaluation.reporting.tables.reading_study import build_reading_table
from support.advice_readings import NAME, close_advice_study, freeze_advice_study
from support.image_arms import close_open_study

QUESTIONS = [{"text": "How sure?", "kind": "scale", "options": ["not", "very"]}]
ARMS = ("advice_units_map", "advice_shuffled", "no_advice")


def decide_ai(study: Path) -> dict[str, ChecklistItem]:
    """Return the items of DECIDE-AI by number."""
    items = [item for item in checklist_items(study) if item.guideline == "DECIDE-AI"]
    return {item.number: item for item in items}


def test_freezing_fixes_pictures_practice_and_advice(own_study: Path) -> None:
    close_open_study(own_study)
    assert not decide_ai(own_study)
    frozen = freeze_advice_study(own_study, arms=ARMS)
    items = decide_ai(own_study)
    assert "labels of another case" in items["4c"].evidence
    assert frozen.hash[:12] in items["11"].evidence
    assert "chosen, as many of each class: " in items["3a"].evidence
    # Nothing was read, and the design asks no question.
    assert {items[number].state for number in ("7", "10a", "12", "13a", "14a")} == {MISSING}
    assert f"reading close --protocol '{NAME}'" in items["12"].evidence
    with store.read(own_study) as con:
        cases = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")
        pictures = reading_table.load_case_pictures(con, NAME, 1)
    slots: dict[int, list[tuple[int, str]]] = {}
    for picture in pictures:
        slots.setdefault(picture.case_number, []).append((picture.slot, picture.kind))
    for number, row in cases.iterrows():
        has_map = row["arm"] == "advice_units_map"
        assert slots[number] == [(0, "film")] + [(4, "class_map")] * has_map
        assert pd.isna(row["advice"]) == (row["arm"] == "no_advice")
    practice, advice = frozen.design["practice"], frozen.design["practice_advice"]
    assert len(practice) == len(advice) == sum(number < 0 for number in slots)
    # Two practice cases of each arm, in the order of the arms.
    assert [text is None for text in advice] == [False] * 4 + [True] * 2
    # Each states what the network decided on the film, with the texts of that film in every arm
    # with units: a sham would not be true of the practice film.
    films = {p.case_number: json.loads(p.source)["film"] for p in pictures if not p.slot}
    candidates = candidate_images(own_study, frozen.run, workflow.protocol_design(frozen))
    with store.read(own_study) as con:
        explained = unit_table.load_explanations(con, frozen.run).set_index("film")["mammogram_id"]
    by_image = candidates.set_index("mammogram_id")
    for number, (texts, stated) in enumerate(zip(practice, advice), start=1):
        image = by_image.loc[explained[films[-number]]]
        assert stated in (None, image["predicted"])
        assert tuple(texts) == (image["texts"] if stated else ()) and bool(texts) == bool(stated)
        assert image["patient_id"] not in set(cases["patient_id"])
    # Advice that was altered after freezing is found before the study is closed.
    number = int(cases.index[cases["advice"].notna()][0])
    with store.write(own_study) as con:
        con.execute(
            "UPDATE reading_cases SET advice = 'other' WHERE protocol = ? AND case_number = ?",
            [NAME, number],
        )
    with pytest.raises(UserError, match="not the one that was frozen"):
        workflow.close_protocol(own_study, NAME, "team", confirm=NAME)


def test_results_report_and_export(own_study: Path, tmp_path: Path) -> None:
    close_open_study(own_study)
    close_advice_study(own_study, arms=ARMS, predict_network=True, questions=QUESTIONS)
    protocol, score = workflow.score_protocol(own_study, NAME, 1)
    units, _, control = score.advice.arms
    # Readers follow the network wherever they see its decision.
    items = decide_ai(own_study)
    assert units.sentence() in items["12"].evidence
    assert f"{units.answers} answers after advice" in items["10a"].evidence
    assert f"{units.wrong_advice} answers to cases with a wrong decision" in items["13a"].evidence
    assert score.primary.sentence() in items["VII"].evidence
    # The characteristics of users are what they state.
    assert items["9b"].evidence.startswith("2 readers; 0 stated") and items["9b"].state == MISSING
    # One question at each answer; the questionnaire has none.
    asked = sum(arm.answers for arm in score.advice.arms)
    assert items["14a"].evidence.startswith(f"{asked} answers to the questions")
    assert items["7"].state == FOUND and "How sure?" in items["7"].evidence
    assert items["15"].state == WRITE
    right = units.answers - units.wrong_advice
    assert round(units.final_correct.estimate * units.answers) == right
    assert units.reliance_on_network.estimate in (1.0, None)
    assert control.to_right == control.to_wrong == 0
    assert score.primary.endpoint == "advice_change"
    text = narrative(score)
    assert "SIMULATED" in text and "final minus first answers" in text
    assert "relative reliance on the network" in text and "Reliance on the advice" in text
    result, _ = render_figure(own_study, FIGURES["reading"], FIGURES["reading"].width)
    switches = result.data["switches"].set_index("arm")
    assert list(switches.index) == list(ARMS) and "null" not in result.data
    expected = 100 * units.to_right / units.answers
    assert switches.loc["advice_units_map", "to_right_percent"] == pytest.approx(expected)
    # The legend of the curves lies outside their axes.
    result.figure.draw_without_rendering()
    curves = result.figure.axes[1]
    assert curves.get_legend().get_window_extent().y1 < curves.get_window_extent().y0
    # The arm has too few answers a reader for a proportion; the panel says so, the caption names
    # what each count is of.
    result, _ = render_figure(own_study, FIGURES["time_order"], FIGURES["time_order"].width)
    assert "no 10 positions" in result.figure.axes[1].texts[0].get_text()
    assert f"{units.answers} answers in the arm advice with named units" in result.caption
    assert f"All arms together: {sum(arm.answers for arm in score.advice.arms)} answers" in (
        result.caption
    )
    remarks = {row[0]: row[-1] for row in build_reading_table(own_study).rows}
    rows = list(remarks)
    assert sum("relative reliance on oneself" in row for row in rows) == 3
    # Prose has titles of arms; codes are for files.
    assert not any(arm in text for arm in ARMS) and ARM_TITLES[ARMS[0]] in text
    assert "no sham" in remarks[f"Exploratory: over-reliance, {comparison_name(*ARMS[:2])}"]
    network = score.network
    assert network.decision_right == units.cases - units.wrong_advice // 2
    assert any("decision that the advice states" in row for row in rows)
    # First answer, prediction and final answer took 5 s each.
    assert (score.conduct.median_seconds, score.conduct.first_seconds) == (15, 5)
    assert "15.0 s a case" in items["14b"].evidence and units.total_seconds == 15
    with store.read(own_study) as con:
        progress = reading_table.reading_progress_by_reader(con, NAME, 1)
    assert set(progress["median_seconds"]) == {15}
    asked_in = build_question_table(own_study).rows
    assert asked_in[0] == ("How sure?", ARM_TITLES[ARMS[0]], "not", *[units.answers] * 2, 1.0)
    assert len(asked_in) == 6 and asked_in[1][3] == 0
    methods = reading_sentences(protocol)
    assert "which was locked" in methods and "predicted the network's decision" in methods
    out = tmp_path / "answers.csv"
    export_reading_answers(own_study, out, "csv", "team", NAME, 1)
    table = pd.read_csv(out)
    assert {"first_answer", "prediction", "question_1", "network_decision"} <= set(table.columns)
    assert (table["question_1"] == 1).all() and (table["first_answer_seconds"] == 5).all()
    assert (table["question_1_text"] == "How sure?").all()
    assert (table["question_1_option"] == "not").all() and (table["total_seconds"] == 15).all()
    record = json.loads((tmp_path / "answers.provenance.json").read_text())
    # The films and the labels are simulated; the answers are not said to be.
    assert record["simulated"] == "images, unit labels" and "SIMULATED" in record["caption"]
    kept = table[table["arm"] == "no_advice"]
    assert (kept["answer"] == kept["first_answer"]).all()
    with pytest.raises(UserError, match="does not contain the primary analysis"):
        export_reading_answers(own_study, tmp_path / "a.R", "r", "team", NAME, 1)


def test_crossover_is_scored_over_all_periods(own_study: Path) -> None:
    close_open_study(own_study)
    close_advice_study(own_study, arms=("advice", "no_advice"), washout_days=28, duration_days=60)
    _, score = workflow.score_protocol(own_study, NAME, 1)
    advised, control = score.advice.arms
    # Both arms hold the same images, and each reader read each of them once in each arm.
    assert advised.answers == control.answers == 2 * advised.cases
    assert score.comparisons[0].pairs == advised.answers
