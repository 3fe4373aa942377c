"""What the design stage of a reading study renders, and the design that its form gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from core.sessions.arms import ADVICE_ARMS
from dashboard.views import reading_design
from dashboard.views.advice import design_fields
from evaluation.power import StudyPower
from evaluation.reading_study import design_preset
from support.page_transcript import STUDY, Transcript, expected_lines, render_into

EXPLAIN = "explain-1"


@pytest.fixture
def designing(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, reading_design, design_fields, own=("flash", "render_planner"))
    page.queries = {
        ("_available_rules",): ["first_abnormality", "any_malignant"],
        ("current_dissection",): "dissect-1",
        ("list_label_sets", "dissect-1"): {"E1": 7, "default": 5},
    }
    return page


def test_form_of_each_preset(designing: Transcript) -> None:
    for preset in ("Recommended", "DeepMiner 2021", "Reading with advice"):
        designing.answers["Preset"] = preset
        design = reading_design._render_form()
        base = design_preset(preset, name="Reading study")
        assert design is not None
        # Without a change the form gives the preset, as far as the study has its truth rule.
        rule = base.truth_rule if base.truth_rule != "folder" else "any_malignant"
        different = {
            name
            for name, value in vars(base).items()
            if name != "truth_rule" and getattr(design, name) != value
        }
        assert different == set() and design.truth_rule == rule
    assert designing.take() == expected_lines("design", "forms")


def test_every_field_reaches_the_design(designing: Transcript) -> None:
    designing.answers |= {
        "Name of the study": "Ours",
        "Readers": 5.0,
        "Seed": 11.0,
        "Arms": ["explanation", "shuffled"],
        "Split": "holdout",
        "Cases per class": 17.0,
        "Truth rule": "first_abnormality",
        "Answer": 6,
        "Texts for the class": "malignant",
        "Hidden repeats": 3.0,
        "Keep verdict words": True,
        "State prevalence": True,
        "Primary analysis": "gee",
        "Side": "two-sided",
        "Alpha": 0.025,
        "Expected proportion correct": 0.61,
        "Missing answers": "counted_wrong",
        "Cases whose truth rules differ": "in",
        "Images of a patient": "all",
        "Design effect": 1.35,
        "Units considered for texts": "8",
        "A case is": "exam",
        "Exams of a single film": "out",
        "Labels that the texts consist of": "E1",
        "Hypothesis": "H",
        "Stopping rule": "S",
        "Show a label once where several units carry it": False,
        "With every case (at most 2)": "scale: How? | a | b",
        "At the end of the study": "text: Why?",
    }
    # Exams and expectations about arms have rules of their own, which are tested elsewhere.
    values: dict[str, Any] = {}
    base = design_preset("Recommended")
    for fields in (
        reading_design._study_fields()[2],
        reading_design._case_fields(base),
        reading_design._answer_fields(base),
        reading_design._analysis_fields(base),
        design_fields.advice_fields(base),
    ):
        assert not set(fields) & set(values)
        values |= fields
    questions = values.pop("questions"), values.pop("questionnaire")
    assert [[q.text for q in asked] for asked in questions] == [["How?"], ["Why?"]]
    assert values == {
        "name": "Ours",
        "readers": 5,
        "seed": 11,
        "arms": ("explanation", "shuffled"),
        "split": "holdout",
        "cases_per_class": 17,
        "truth_rule": "first_abnormality",
        "scale": 6,
        "influence_class": "malignant",
        "repeats": 3,
        "association_words": True,
        "prevalence_told": True,
        "primary": "gee",
        "side": "two-sided",
        "alpha": 0.025,
        "expected_share": 0.61,
        "goal": base.goal,
        "margin": base.margin,
        "multiplicity": base.multiplicity,
        "missing_answers": "counted_wrong",
        "looks": base.looks,
        "spending": base.spending,
        "case_unit": "exam",
        "single_films": "out",
        "discrepant": "in",
        "images_per_patient": None,
        "design_effect": 1.35,
        "depth": 8,
        "label_set": "E1",
        "hypothesis": "H",
        "stopping": "S",
        "merge_duplicates": False,
    }
    designing.answers |= {"Margin": 0.05, "Looks": 3.0, "A case is": "image"}
    designing.answers |= {"Goal": "noninferiority", "Comparisons that are tested": "holm"}
    designing.answers |= {"Alpha spending": "pocock"}
    assert reading_design._hypothesis_fields(base) == {
        "goal": "noninferiority",
        "margin": 0.05,
        "multiplicity": "holm",
        "missing_answers": "counted_wrong",
        "looks": 3,
        "spending": "pocock",
    }
    # Without exams the question of single films does not arise.
    assert reading_design._exclusion_fields(base)["single_films"] == base.single_films


def test_settings_of_advice(designing: Transcript) -> None:
    base = design_preset("Reading with advice")
    settings = design_fields._advice_settings(base)
    assert settings["washout_days"] is settings["duration_days"] is None
    designing.answers |= {
        "Wrong advice": 0.25,
        "Washout, days": 28.0,
        "Duration, days": 90.0,
        "Expected proportion correct before advice": 0.7,
        "Advice states": "probability_band",
        "State the share of wrong advice": True,
        "Ask for the network's decision first": True,
    }
    expected = {
        "advice": "probability_band",
        "wrong_advice": 0.25,
        "wrong_advice_told": True,
        "predict_network": True,
        "washout_days": 28,
        "duration_days": 90,
        "expected_first_share": 0.7 if base.primary == "advice_change" else None,
    }
    assert design_fields._advice_settings(base) == expected
    designing.answers["Wrong advice"] = 0.0
    settings = design_fields._advice_settings(design_preset("Reading with advice", primary="gee"))
    assert settings["wrong_advice"] is None and settings["expected_first_share"] is None


def test_sentences_of_advice() -> None:
    fields = {
        "advice": "class",
        "wrong_advice": None,
        "wrong_advice_told": False,
        "predict_network": False,
        "washout_days": None,
        "duration_days": None,
        "questions": (),
        "questionnaire": (),
    }
    designs = (
        {"advice": "none"},
        {},
        {"advice": "probability_band", "wrong_advice": 0.2, "predict_network": True},
        {"wrong_advice": 0.3, "wrong_advice_told": True, "washout_days": 28, "duration_days": 1},
        {"washout_days": 1, "questions": (1,)},
        {"questionnaire": (1, 2)},
        {"questions": (1, 2), "questionnaire": (1,)},
    )
    lines = []
    for changes in designs:
        design: Any = SimpleNamespace(**(fields | changes))
        text = f"{design_fields.advice_sentence(design)}|{design_fields.questions_sentence(design)}"
        lines.append(f"{text}.")
    assert lines == expected_lines("design", "sentences of advice")


def test_form_with_a_mistake(designing: Transcript) -> None:
    designing.answers["Arms"] = ["explanation", "explanation"]
    assert reading_design._render_form() is None
    designing.queries["_preview_cases", EXPLAIN, design_preset("Recommended")] = None
    assert designing.take()[-1].startswith("error: \"The design's arms are explanation, expl")


CASES = pd.DataFrame(
    {
        "arm": ["explanation"] * 12 + ["shuffled"] * 3,
        "patient_id": [f"P{n // 2}" for n in range(15)],
        "texts": [(f"text {n % 5}", "Mass") for n in range(15)],
    }
)


def test_planned_cases(designing: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    design = design_preset("Recommended", arms=("explanation", "shuffled"), readers=4)
    flow: Any = SimpleNamespace(sentence=lambda: "The flow.")
    designing.queries["_count_labels", EXPLAIN, design] = 23
    plan = StudyPower(endpoint="auc", expected=0.6, power=0.456)
    planned: list[Any] = []
    monkeypatch.setattr(
        reading_design, "design_power", lambda d, *n: planned.append((d is design, *n)) or plan
    )
    monkeypatch.setattr(reading_design, "patients_needed", lambda p: 321)
    # Six patients are in the primary arm.
    for least, needed in ((6, 321), (6, None), (7, 321)):
        monkeypatch.setattr(reading_design, "least_patients", lambda d, least=least: least)
        monkeypatch.setattr(reading_design, "patients_needed", lambda p, n=needed: n)
        found = reading_design._render_planned_cases(EXPLAIN, design, CASES, flow)
        assert found is (plan if least == 6 else None)
    assert planned == [(True, 6, 12)] * 2
    reading_design._render_example_texts(design, CASES)
    assert designing.take() == expected_lines("design", "planned cases")


def test_design_form(designing: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    design = design_preset("Recommended", name="Ours")
    monkeypatch.setattr(reading_design, "_render_form", lambda: design)
    monkeypatch.setattr(reading_design, "cached_result", lambda *a: ("cases", "flow"))
    for name in ("_render_planned_cases", "_render_example_texts"):
        monkeypatch.setattr(reading_design, name, designing.recorder(name, "plan"))
    reading_design.render_design_form(EXPLAIN)
    steps = [line.split(":")[0] for line in designing.take()]
    order = ["_render_planned_cases", "button", "render_planner", "_render_example_texts"]
    assert steps == order
    monkeypatch.setattr(
        reading_design, "_render_planned_cases", designing.recorder("_render_planned_cases", None)
    )
    reading_design.render_design_form(EXPLAIN)
    assert "render_planner: 'plan'" not in designing.take()

    def refuse(*_: Any) -> None:
        raise UserError("No case is left.")

    monkeypatch.setattr(reading_design, "cached_result", refuse)
    reading_design.render_design_form(EXPLAIN)
    assert designing.take() == ["error: 'No case is left.'"]
    monkeypatch.setattr(reading_design, "_render_form", lambda: None)
    reading_design.render_design_form(EXPLAIN)
    assert designing.take() == []


def test_saving_a_design(designing: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    design = design_preset("Recommended", name="Ours")
    asked: list[Any] = []
    saved = SimpleNamespace(protocol="Ours", version=2)
    monkeypatch.setattr(
        reading_design.workflow,
        "create_protocol",
        lambda *a, **o: asked.append((*a, o)) or saved,
    )
    reading_design._save(design, EXPLAIN)
    assert asked == [(STUDY, "Ours", design, "T1", {"explain": EXPLAIN})]
    assert designing.session_state == {"study": "Ours, version 2"}
    assert designing.take() == ["flash: 'Saved as Ours, version 2. Next: leakage check.'"]
    designing.raise_from(reading_design.workflow, "create_protocol", "Too few.")
    reading_design._save(design, EXPLAIN)
    assert designing.take() == ["flash: 'Too few.', error=True"]


def test_truth_rules_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    render_into(monkeypatch, reading_design)
    for folder, rules in (
        ([None, "benign"], ["folder", "first_abnormality", "any_malignant"]),
        ([None, None], ["first_abnormality", "any_malignant"]),
    ):
        truth = pd.DataFrame({"folder": folder})
        monkeypatch.setattr(
            reading_design.workflow, "load_truth_by_rule", lambda con, design, t=truth: t
        )
        assert reading_design._available_rules(STUDY) == rules


def test_cases_of_a_design_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview asks for the cases as saving the design would choose them."""
    workflow = reading_design.workflow
    monkeypatch.setattr(workflow, "study_design", lambda *a: ("design", *a))
    monkeypatch.setattr(workflow, "candidate_images", lambda *a: ("images", *a))
    monkeypatch.setattr(reading_design, "choose_cases", lambda *a: a)
    design = design_preset("Recommended")
    changed = ("design", STUDY, EXPLAIN, design)
    expected = (("images", STUDY, EXPLAIN, changed), changed)
    assert reading_design._preview_cases(STUDY, EXPLAIN, design) == expected


def test_labels_are_counted_as_they_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    render_into(monkeypatch, reading_design)
    monkeypatch.setattr(reading_design.lineage, "ancestor_run", lambda *a: "dissect-1")
    monkeypatch.setattr(reading_design, "load_order_of_experts", lambda _: ["E1"])
    asked: list[Any] = []
    labels = {
        4: SimpleNamespace(text="Mass, suspicious"),
        5: SimpleNamespace(text="Mass"),
        6: SimpleNamespace(text="Line"),
    }
    monkeypatch.setattr(
        reading_design.label_sets, "load_label_set", lambda *a: asked.append(a) or labels
    )
    lexicon = SimpleNamespace(association_names=("suspicious", "benign"))
    monkeypatch.setattr(reading_design.dataset_table, "load_lexicon", lambda con: lexicon)
    monkeypatch.setattr(
        reading_design,
        "explanation_texts",
        lambda ranks, texts, design, words: [texts[0].removesuffix(f", {words[0]}")],
    )
    design = design_preset("Recommended", label_set="E1")
    assert reading_design._count_labels(Path(STUDY), EXPLAIN, design) == 2
    assert asked == [("read connection", "dissect-1", "E1", ["E1"])]


def test_offered_arms(designing: Transcript) -> None:
    reading_design._case_fields(design_preset("Reading with advice"))
    line = next(line for line in designing.take() if "multiselect" in line)
    assert all(f"{arm!r}:" in line for arm in ADVICE_ARMS) and "'shuffled'" not in line
