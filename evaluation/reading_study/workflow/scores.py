"""Scoring of a closed protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import store
from core.errors import UserError
from core.store import run_table, withdrawal
from core.store.evidence import operating_system_user
from core.store.reading import protocol_table, reading_table, stage_table
from core.store.reading.protocol_states import SCORED, require_results
from core.store.reading.protocol_table import Protocol
from evaluation.reading_study.advice.first_stages import with_first_stages
from evaluation.reading_study.design import NO_ADVICE, Design
from evaluation.reading_study.joined_answers import join_answers, primary_rows
from evaluation.reading_study.primary import InterimLook, stopping_look
from evaluation.reading_study.results import ReadingScore
from evaluation.reading_study.scoring import score_study
from evaluation.reading_study.sealed_key import check_frozen
from evaluation.reading_study.workflow.candidates import (
    has_simulated_material,
    holdout_threshold,
    load_truth_by_rule,
)
from evaluation.reading_study.workflow.content import check_frozen_content
from evaluation.reading_study.workflow.interim_looks import taken_looks
from evaluation.reading_study.workflow.protocols import (
    append_next_state,
    protocol_design,
    require_original_study,
)


@dataclass(frozen=True, kw_only=True)
class ClosedStudy:
    """The tables of a closed protocol, whose key equals the frozen one.

    stages: what readers entered beside their answers; None where the design has neither advice nor
    questions.
    """

    protocol: Protocol
    design: Design
    answers: pd.DataFrame
    first_answers: pd.DataFrame
    items: pd.DataFrame
    key: pd.DataFrame
    looks: tuple[InterimLook, ...]
    stages: pd.DataFrame | None = None

    @property
    def stopped_at(self) -> int | None:
        """Number of the interim look that stopped the study, or None."""
        return stopping_look(self.looks)


def load_closed_study(study: Path, protocol: str | None, version: int | None) -> ClosedStudy:
    """Return the tables of a closed protocol. UserError before closing, or for a changed key."""
    with store.read(study) as con:
        require_original_study(con)
        current = protocol_table.find_protocol(con, protocol, version)
        name, version = current.protocol, current.version
        require_results(name, version, current.state)
        cases = reading_table.load_reading_cases(con, name, version)
        answers, first_answers = (
            reading_table.load_reading_answers(con, name, version, first=first)
            for first in (False, True)
        )
        items = reading_table.load_reading_items(con, name, version)
        stages = (
            stage_table.load_stage_answers(con, name, version)
            if protocol_design(current).has_stages
            else None
        )
        if stages is not None and protocol_design(current).advice != NO_ADVICE:
            answers, first_answers = (
                with_first_stages(table, stages) for table in (answers, first_answers)
            )
        looks = taken_looks(con, name, version)
        truth = load_truth_by_rule(con, protocol_design(current))
        withdrawn = withdrawal.withdrawn_patients(con)
    # A changed key would score other cases than the readers saw.
    design = protocol_design(current)
    check_frozen(design, cases, current.hash)
    check_frozen_content(study, current, cases, pictures=False)
    # The hash covers every case; scores leave out the patients who withdrew.
    cases = cases[~cases["patient_id"].isin(withdrawn)]
    answers, first_answers, items = (
        table[table["case_number"].isin(cases["case_number"]) | (table["case_number"] < 0)]
        for table in (answers, first_answers, items)
    )
    if stages is not None:
        # The questionnaire belongs to no case.
        of_case = stages["case_number"].isin(cases["case_number"])
        stages = stages[of_case | stages["case_number"].isna()]
    if answers.empty:
        raise UserError(
            f"{name}, version {version}, was closed without a single answer; there is nothing to"
            " score."
        )
    return ClosedStudy(
        protocol=current,
        design=design,
        answers=answers,
        first_answers=first_answers,
        items=items,
        key=cases.merge(truth, on="mammogram_id", how="left"),
        looks=looks,
        stages=stages,
    )


def score_protocol(
    study: Path, protocol: str | None = None, version: int | None = None, user: str | None = None
) -> tuple[Protocol, ReadingScore]:
    """Return a version of a protocol and its score; available only after closing.

    The first scoring is recorded as the state scored and in the log.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str, optional
        Name of the reading study; default the one that changed last.
    version : int, optional
        May be left out where the study has one version.
    user : str, optional
        Code of the acting person, for the log; default the operating system's user.

    Returns
    -------
    Protocol
        In the state scored.
    ReadingScore

    Raises
    ------
    UserError
        If the protocol is not closed, was altered after freezing, or has no answers.
    """
    closed = load_closed_study(study, protocol, version)
    run = closed.protocol.run
    score = score_study(
        closed.answers,
        closed.key,
        closed.design,
        first_answers=closed.first_answers,
        threshold=holdout_threshold(study, run, closed.design),
        assigned=int((~closed.items["practice"]).sum()) if len(closed.items) else None,
        # False in the protocol means undecided: the answers' own flags then decide.
        simulated=closed.protocol.simulated or None,
        synthetic=has_simulated_material(study, run, closed.design.label_set),
        looks=closed.looks,
        stages=closed.stages,
    )
    return _record_scoring(study, closed.protocol, user or operating_system_user()), score


def _record_scoring(study: Path, closed: Protocol, user: str) -> Protocol:
    """Record the first scoring of a closed protocol; return it in the state scored."""
    if closed.state == SCORED:
        return closed
    with store.write(study) as con:
        current = protocol_table.find_protocol(con, closed.protocol, closed.version)
        # Another process may have scored it in the meantime.
        if current.state != SCORED:
            append_next_state(con, current, SCORED, user)
            run_table.append_log(
                con,
                user,
                "reading study scored",
                f"{current.protocol} version {current.version} {current.hash}",
            )
        return protocol_table.find_protocol(con, current.protocol, current.version)


def count_correct(study: Path, protocol: str, version: int | None = None) -> tuple[int, int]:
    """Return the correct answers and the answers of a closed protocol's primary arm.

    Hidden repeats do not count. Errors are those of `score_protocol`, which computes every analysis
    and takes seconds; these two numbers are its `primary.correct` and `primary.n`.
    """
    closed = load_closed_study(study, protocol, version)
    rows = primary_rows(join_answers(closed.answers, closed.key, closed.design), closed.design)
    return int(rows["correct"].sum()), len(rows)
