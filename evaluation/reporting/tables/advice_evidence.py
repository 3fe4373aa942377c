"""Evidence in a study's record for the items of DECIDE-AI: reading studies with advice."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core import store
from core.sessions.arms import ARM_TITLES, shows_advice
from core.store import participant_table
from core.store.connection import Connection
from core.store.reading import reading_table, stage_table
from core.store.reading.protocol_states import FROZEN_STATES, RESULT_STATES, next_command
from core.store.reading.protocol_table import Protocol, list_protocols
from evaluation.intervals import count_text, display_name
from evaluation.reading_study import CaseFlow, Design, ReadingScore, workflow
from evaluation.reading_study.design import NO_ADVICE
from evaluation.reporting.base import load_closed_study
from evaluation.reporting.methods_text import ARM_CONTENTS, advice_sentences, analysis_sentences

# Whether the record has evidence, and where it is (or the command that supplies it).
Evidence = tuple[bool, str]
_NO_QUESTION = "the design asks readers no question (questions, questionnaire)"


def advice_evidence(study: Path) -> dict[str, Evidence]:
    """Return the evidence for the facts of DECIDE-AI; empty without a frozen study with advice.

    Parameters
    ----------
    study : Path
        The study folder. The newest frozen study with advice is described; results are named only
        after it was closed.

    Returns
    -------
    dict
        Fact, as `guidelines.DECIDE_AI` names it, to evidence.
    """
    with store.read(study) as con:
        frozen = [
            protocol
            for protocol in list_protocols(con)
            if protocol.state in FROZEN_STATES
            and workflow.protocol_design(protocol).advice != NO_ADVICE
        ]
        if not frozen:
            return {}
        protocol = frozen[-1]
        cases = reading_table.load_reading_cases(con, protocol.protocol, protocol.version)
        readers = _reader_evidence(con, protocol)
    planned = _planned_evidence(protocol, cases) | {"advice_readers": readers}
    closed, score = (
        load_closed_study(study) if protocol.state in RESULT_STATES else (protocol, None)
    )
    if score is None or (closed.protocol, closed.version) != (protocol.protocol, protocol.version):
        return planned | _open_evidence(protocol)
    return planned | _result_evidence(study, protocol, score)


def _planned_evidence(protocol: Protocol, cases: pd.DataFrame) -> dict[str, Evidence]:
    """Return what the frozen design fixes."""
    design = workflow.protocol_design(protocol)
    steps = tuple(tuple(step) for step in protocol.design.get("flow", ()))
    practice = len(protocol.design.get("practice") or ())
    advised = [arm for arm in design.arms if shows_advice(arm)]
    outputs = "; ".join(f"{ARM_TITLES[arm]}: {ARM_CONTENTS[arm]}" for arm in advised)
    wrong = int((cases["predicted"] != cases["truth"]).sum())
    asked = [question.text for question in (*design.questions, *design.questionnaire)]
    return {
        "advice_cases": (
            bool(steps),
            CaseFlow(steps).sentence()
            if steps
            else "the protocol states no selection of its cases",
        ),
        "advice_practice": (
            practice > 0,
            f"{count_text(practice, 'practice case')} of all arms before the first case; frozen"
            " instructions",
        ),
        "advice_outputs": (True, f"{outputs}; stated: {design.advice}"),
        "advice_workflow": (True, advice_sentences(design).strip()),
        "advice_outcomes": (
            True,
            f"{analysis_sentences(design)} Exploratory: switches, relative reliance, over-reliance"
            " against the control arms",
        ),
        "advice_errors_planned": (
            True,
            "an error of the network is a decision that differs from the truth by the rule"
            f" {display_name(design.truth_rule)}: {wrong} of {count_text(len(cases), 'case')},"
            " known before reading",
        ),
        "advice_questions": (
            bool(asked),
            f"questions to readers: {' | '.join(asked)}; table protocol" if asked else _NO_QUESTION,
        ),
        "advice_unchanged": (
            True,
            f"decisions, texts and images of all cases were fixed at freezing (run {protocol.run},"
            f" hash {protocol.hash[:12]}); scoring refuses changed ones",
        ),
    }


def _reader_evidence(con: Connection, protocol: Protocol) -> Evidence:
    """Return how many readers there are, and how many stated their experience."""
    orders = reading_table.load_reading_items(con, protocol.protocol, protocol.version)
    codes = set(orders["code"])
    people = participant_table.load_participants(con)
    stated = int((people.loc[people["code"].isin(codes), "experience"] != "").sum())
    return (
        stated > 0,
        f"{count_text(len(codes), 'reader')}; {stated} stated their experience (Participants page)"
        if codes
        else "deepminer invite reader",
    )


def _open_evidence(protocol: Protocol) -> dict[str, Evidence]:
    """Return that a study that is not closed has no results."""
    command = next_command(protocol.protocol, protocol.version, protocol.state)
    facts = ("exposure", "result", "agreement", "errors", "answers", "trend")
    return dict.fromkeys((f"advice_{fact}" for fact in facts), (False, command))


def _result_evidence(study: Path, protocol: Protocol, score: ReadingScore) -> dict[str, Evidence]:
    """Return what a closed study has measured."""
    assert score.advice is not None
    arms = score.advice.arms
    advised = [arm for arm in arms if shows_advice(arm.arm)]
    trend = score.conduct.trend
    return {
        "advice_exposure": (
            True,
            "; ".join(
                f"{ARM_TITLES[arm.arm]}: {count_text(arm.answers, 'answer')} after advice, of"
                f" {count_text(arm.cases, 'case')}"
                for arm in advised
            ),
        ),
        "advice_result": (
            score.primary.p_value is not None,
            f"table reading: {score.primary.sentence()}",
        ),
        "advice_agreement": (
            True,
            "table reading; " + " ".join(arm.sentence() for arm in advised),
        ),
        "advice_errors": (
            True,
            "; ".join(
                f"{ARM_TITLES[arm.arm]}: {count_text(arm.wrong_advice, 'answer')} to cases with a"
                f" wrong decision, {arm.to_wrong} of all answers changed to wrong"
                for arm in advised
            ),
        ),
        "advice_answers": _question_evidence(study, protocol, score.design),
        "advice_trend": (
            trend.estimate is not None,
            f"Reading page: {score.conduct.sentence()}",
        ),
    }


def _question_evidence(study: Path, protocol: Protocol, design: Design) -> Evidence:
    """Return how many answers to questions a closed study has."""
    if not design.questions and not design.questionnaire:
        return False, _NO_QUESTION
    with store.read(study) as con:
        stages = stage_table.load_stage_answers(con, protocol.protocol, protocol.version)
    kinds = (stage_table.QUESTION, stage_table.CLOSING_QUESTION)
    count = int(stages["stage"].str.startswith(kinds).sum())
    return (
        count > 0,
        f"{count_text(count, 'answer')} to the questions of the design (table questions; deepminer"
        " reading answers)",
    )
