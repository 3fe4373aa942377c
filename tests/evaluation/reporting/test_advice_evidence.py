"""Evidence for the items of DECIDE-AI: what is planned, and what a closed study has."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from evaluation.reporting.methods_text import ARM_CONTENTS
from evaluation.reporting.tables import advice_evidence as advice

STUDY = Path("study")


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(owner, name, function)


def frozen(state: str, number: int) -> SimpleNamespace:
    severities = ("warning", "note", "warning")
    return SimpleNamespace(
        protocol=f"P{number}",
        version=number,
        state=state,
        hash="0123456789abcdef",
        run="explain-1",
        lint=[{"severity": severity} for severity in severities],
        design={"flow": [["a", 4, 3], ["b", 2, 1]], "practice": [["x"]]},
    )


def advised(**changes: Any) -> SimpleNamespace:
    values = {
        "arms": ("advice_units", "no_advice"),
        "advice": "class",
        "truth_rule": "any_malignant",
        "questions": (SimpleNamespace(text="Clear?"),),
        "questionnaire": (SimpleNamespace(text="Useful?"),),
    }
    return SimpleNamespace(**values | changes)


def test_plan_of_a_study_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    designs = [advised()]
    protocol: Any = frozen("reading", 2)
    cases = pd.DataFrame({"predicted": list("aabb"), "truth": list("abbb")})
    replace(
        monkeypatch,
        advice,
        advice_sentences=lambda design: " Advice.",
        analysis_sentences=lambda design: "Analysis.",
        CaseFlow=lambda steps: SimpleNamespace(sentence=lambda: f"flow {steps}"),
    )
    monkeypatch.setattr(advice.workflow, "protocol_design", lambda given: designs[-1])
    found = advice._planned_evidence(protocol, cases)
    assert found == {
        "advice_cases": (True, "flow (('a', 4, 3), ('b', 2, 1))"),
        "advice_practice": (
            True,
            "1 practice case of all arms before the first case; frozen instructions",
        ),
        "advice_outputs": (
            True,
            f"advice with named units: {ARM_CONTENTS['advice_units']}; stated: class",
        ),
        "advice_workflow": (True, "Advice."),
        "advice_outcomes": (
            True,
            "Analysis. Exploratory: switches, relative reliance, over-reliance against the control"
            " arms",
        ),
        "advice_errors_planned": (
            True,
            "an error of the network is a decision that differs from the truth by the rule any"
            " malignant: 1 of 4 cases, known before reading",
        ),
        "advice_questions": (True, "questions to readers: Clear? | Useful?; table protocol"),
        "advice_unchanged": (
            True,
            "decisions, texts and images of all cases were fixed at freezing (run explain-1, hash"
            " 0123456789ab); scoring refuses changed ones",
        ),
    }
    protocol.design = {"practice": None}
    designs.append(advised(questions=(), questionnaire=()))
    bare = advice._planned_evidence(protocol, cases)
    no_question = (False, "the design asks readers no question (questions, questionnaire)")
    assert bare["advice_questions"] == no_question
    assert bare["advice_cases"] == (False, "the protocol states no selection of its cases")
    assert bare["advice_practice"][0] is False


def test_readers_of_a_study_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [pd.DataFrame({"code": ["R1", "R1", "R2", "R3"]})]
    people = pd.DataFrame({"code": ["R1", "R2", "R3", "R4"], "experience": ["5", "", "7", "8"]})
    monkeypatch.setattr(
        advice.reading_table,
        "load_reading_items",
        lambda con, *given: orders[-1] if given == ("P2", 2) else None,
    )
    monkeypatch.setattr(advice.participant_table, "load_participants", lambda con: people)
    protocol: Any = frozen("reading", 2)
    text = "3 readers; 2 stated their experience (Participants page)"
    assert advice._reader_evidence(None, protocol) == (True, text)
    orders.append(orders[0].iloc[2:3])
    assert advice._reader_evidence(None, protocol)[0] is False
    orders.append(orders[0].iloc[:0])
    assert advice._reader_evidence(None, protocol) == (False, "deepminer invite reader")


def test_results_of_a_study_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def arm(name: str, k: int) -> SimpleNamespace:
        return SimpleNamespace(
            arm=name,
            answers=k,
            cases=k + 1,
            wrong_advice=k + 2,
            to_wrong=k + 3,
            sentence=lambda: f"Arm {k}.",
        )

    score: Any = SimpleNamespace(
        advice=SimpleNamespace(
            arms=[arm("advice", 10), arm("no_advice", 20), arm("advice_map", 1)]
        ),
        primary=SimpleNamespace(p_value=0.5, sentence=lambda: "Primary."),
        conduct=SimpleNamespace(trend=SimpleNamespace(estimate=0.5), sentence=lambda: "Conduct."),
        design="design",
    )
    monkeypatch.setattr(advice, "_question_evidence", lambda *given: given)
    protocol: Any = frozen("closed", 2)
    found = advice._result_evidence(STUDY, protocol, score)
    assert found == {
        "advice_exposure": (
            True,
            "advice: 10 answers after advice, of 11 cases; advice with class map: 1 answer after"
            " advice, of 2 cases",
        ),
        "advice_result": (True, "table reading: Primary."),
        "advice_agreement": (True, "table reading; Arm 10. Arm 1."),
        "advice_errors": (
            True,
            "advice: 12 answers to cases with a wrong decision, 13 of all answers changed to wrong;"
            " advice with class map: 3 answers to cases with a wrong decision, 4 of all answers"
            " changed to wrong",
        ),
        "advice_answers": (STUDY, protocol, "design"),
        "advice_trend": (True, "Reading page: Conduct."),
    }
    score.primary.p_value = score.conduct.trend.estimate = None
    changed = advice._result_evidence(STUDY, protocol, score)
    assert (changed["advice_result"][0], changed["advice_trend"][0]) == (False, False)
    command = advice.next_command("P2", 2, "reading")
    assert advice._open_evidence(frozen("reading", 2)) == dict.fromkeys(  # type: ignore[arg-type]
        (
            *("advice_exposure", "advice_result", "advice_agreement", "advice_errors"),
            *("advice_answers", "advice_trend"),
        ),
        (False, command),
    )


def test_answers_to_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [pd.DataFrame({"stage": ["question 1", "closing question 1", "first answer"]})]
    kinds = (advice.stage_table.QUESTION, advice.stage_table.CLOSING_QUESTION)
    stages[0]["stage"] = [f"{kinds[0]} 1", f"{kinds[1]} 1", "first answer"]
    monkeypatch.setattr(advice.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(
        advice.stage_table,
        "load_stage_answers",
        lambda con, *given: stages[-1] if given == ("P2", 2) else None,
    )
    protocol: Any = frozen("closed", 2)
    text = "answers to the questions of the design (table questions; deepminer reading answers)"
    for changes in ({}, {"questions": ()}, {"questionnaire": ()}):
        design: Any = advised(**changes)
        assert advice._question_evidence(STUDY, protocol, design) == (True, f"2 {text}")
    stages.append(stages[0].iloc[2:])
    assert advice._question_evidence(STUDY, protocol, advised()) == (False, f"0 {text}")  # type: ignore[arg-type]
    none: Any = advised(questions=(), questionnaire=())
    assert advice._question_evidence(STUDY, protocol, none)[1].startswith("the design asks readers")


def test_newest_study_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results only after closing, and only those of the described version."""
    listed = [frozen("closed", 1), frozen("reading", 2), frozen("closed", 3), frozen("designed", 4)]
    kinds = {"P1": "class", "P2": "class", "P3": "none", "P4": "class"}
    scores = {"P1": (frozen("closed", 1), "score")}
    newest = ["P1"]
    replace(
        monkeypatch,
        advice,
        list_protocols=lambda con: listed,
        load_closed_study=lambda study: scores[newest[-1]],
        _reader_evidence=lambda con, protocol: "readers",
        _planned_evidence=lambda protocol, cases: {"planned": (protocol.protocol, cases)},
        _open_evidence=lambda protocol: {"open": protocol.protocol},
        _result_evidence=lambda study, protocol, score: {"result": (protocol.protocol, score)},
    )
    monkeypatch.setattr(advice.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(
        advice.workflow, "protocol_design", lambda p: SimpleNamespace(advice=kinds[p.protocol])
    )
    monkeypatch.setattr(advice.reading_table, "load_reading_cases", lambda con, *given: given)
    planned = {"planned": ("P2", ("P2", 2)), "advice_readers": "readers"}
    assert advice.advice_evidence(STUDY) == planned | {"open": "P2"}
    del listed[1]
    planned = {"planned": ("P1", ("P1", 1)), "advice_readers": "readers"}
    assert advice.advice_evidence(STUDY) == planned | {"result": ("P1", "score")}
    for other in (frozen("closed", 3), frozen("closed", 1)):
        other.protocol = "P1" if other.version == 3 else "P3"
        scores["P1"] = (other, "score")
        assert advice.advice_evidence(STUDY) == planned | {"open": "P1"}
    kinds["P1"] = "none"
    assert advice.advice_evidence(STUDY) == {}
