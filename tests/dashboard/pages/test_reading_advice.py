"""The Reading study page with the preset that gives advice: the form, and the results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import store
from core.store.reading import protocol_table
from dashboard.views.advice.design_fields import advice_sentence, questions_sentence
from dashboard.views.reading_design import ARM_NAMES
from evaluation.reading_study import design_preset, workflow
from support.advice_readings import NAME, close_advice_study
from support.image_arms import close_open_study
from support.team_page import Open, button, choose_study, page_text


def test_the_form_designs_a_study_with_advice(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    page.selectbox(key="preset").set_value("Reading with advice").run()
    arms = next(box for box in page.multiselect if box.label == "Arms")
    assert arms.value == ["advice_units", "advice_shuffled", "no_advice"]
    assert arms.options == [name for arm, name in ARM_NAMES.items() if "advice" in arm]
    labels = {element.label for element in (*page.number_input, *page.toggle, *page.selectbox)}
    assert {"Wrong advice", "Washout, days", "Ask for the network's decision first"} <= labels
    page.text_area(key="case_questions").set_value("scale: How sure?").run()
    assert "Line 1 of the questions" in page.error[0].value
    page.text_area(key="case_questions").set_value("scale: How sure? | not | very").run()
    assert not page.error
    button(page, "Save this design").click().run()
    with store.read(own_study) as con:
        stored = protocol_table.find_protocol(con, "Reading study")
    design = workflow.protocol_design(stored)
    assert (design.advice, design.primary, design.repeats) == ("class", "advice_change", 0)
    assert design.questions[0].options == ("not", "very")
    choose_study(page, "Reading study, version 1")
    assert "Advice states the class; wrong decisions as the network makes them." in page_text(page)
    assert "1 question with each case." in page_text(page)


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (
            {"wrong_advice": 0.25, "wrong_advice_told": True, "advice": "probability_band"},
            ("band of the probability; 25 % wrong decisions, stated to readers.", ""),
        ),
        (
            {
                "wrong_advice": 0.25,
                "predict_network": True,
                "washout_days": 28,
                "duration_days": 90,
                "questionnaire": [{"text": text, "kind": "text"} for text in ("Age?", "Remarks?")],
            },
            (
                "not stated to readers; readers predict the decision first; crossover with 28 days"
                " between periods, within 90 days.",
                " 2 questions at the end.",
            ),
        ),
    ],
)
def test_summary_of_a_design_states_advice_and_questions(
    settings: dict[str, object], sentences: tuple[str, str]
) -> None:
    design = design_preset("Reading with advice", **settings)
    advice, questions = sentences
    assert advice_sentence(design).endswith(advice) and questions_sentence(design) == questions
    plain = design_preset("Recommended")
    assert advice_sentence(plain) == questions_sentence(plain) == ""


def test_results_show_reliance(own_study: Path, team: Open) -> None:
    close_open_study(own_study)
    close_advice_study(own_study, questions=[{"text": "How sure?", "options": ["not", "very"]}])
    page = team(own_study, "reading_study")
    choose_study(page, f"{NAME}, version 1")
    text = page_text(page)
    assert "Reliance on advice" in text and "Reliance on oneself" in text
    assert "Change in mean AUC, primary analysis" in text
    charts = [json.loads(chart.proto.spec)["data"] for chart in page.get("plotly_chart")]
    traces = next(chart for chart in charts if chart[0].get("name") == "to right")
    axes = [json.loads(chart.proto.spec)["layout"]["xaxis"] for chart in page.get("plotly_chart")]
    ticks = next(axis["ticktext"] for axis in axes if "ticktext" in axis)
    assert ticks == ticks[::-1] and "0" in ticks and not any("-" in tick for tick in ticks)
    _, score = workflow.score_protocol(own_study, NAME, 1)
    assert "Correct as advice" in text
    assert f"{score.network.decision_right} of {score.network.n}" in text
    # One question of each arm, then one at the end.
    assert "Answers to questions" in text and text.count("not 10, very 0") == 2
    assert [trace["name"] for trace in traces] == ["to right", "to wrong"]
    for trace, sign in zip(traces, (1, -1)):
        counts = [arm.to_right if sign > 0 else arm.to_wrong for arm in score.advice.arms]
        expected = [
            sign * 100 * count / arm.answers for count, arm in zip(counts, score.advice.arms)
        ]
        assert trace["x"] == expected
