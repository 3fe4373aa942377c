"""Scoring of a closed protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import store
from core.errors import UserError
from core.store import reading_table
from core.store.protocol_table import Protocol
from evaluation.reading_study.design import Design
from evaluation.reading_study.results import ReadingScore
from evaluation.reading_study.scoring import join_answers, primary_rows, score_study
from evaluation.reading_study.sealed_key import check_frozen
from evaluation.reading_study.workflow.candidates import (
    has_simulated_material,
    holdout_threshold,
    load_truth_by_rule,
)
from evaluation.reading_study.workflow.protocols import (
    find_protocol,
    protocol_design,
    require_original_study,
)


@dataclass(frozen=True, kw_only=True)
class _ClosedStudy:
    """The tables of a closed protocol, whose key equals the frozen one."""

    protocol: Protocol
    design: Design
    answers: pd.DataFrame
    first_answers: pd.DataFrame
    items: pd.DataFrame
    key: pd.DataFrame


def _load_closed(study: Path, protocol: str | None) -> _ClosedStudy:
    with store.read(study) as con:
        require_original_study(con)
        current = find_protocol(con, protocol)
        name, version = current.protocol, current.version
        # Results before closing would allow a stop at a favourable count.
        if current.state not in ("closed", "unblinded"):
            raise UserError(
                f"{name}, version {version}, is {current.state}: results are hidden until it is"
                " closed (`deepminer reading close`)."
            )
        cases = reading_table.load_reading_cases(con, name, version)
        answers, first_answers = (
            reading_table.load_reading_answers(con, name, version, first=first)
            for first in (False, True)
        )
        items = reading_table.load_reading_items(con, name, version)
        truth = load_truth_by_rule(con)
    # A changed key would score other cases than the readers saw.
    design = protocol_design(current)
    check_frozen(design, cases, current.hash)
    if answers.empty:
        raise UserError(
            f"{name}, version {version}, was closed without a single answer; there is nothing to"
            " score."
        )
    return _ClosedStudy(
        protocol=current,
        design=design,
        answers=answers,
        first_answers=first_answers,
        items=items,
        key=cases.merge(truth, on="mammogram_id", how="left"),
    )


def score_protocol(study: Path, protocol: str | None = None) -> tuple[Protocol, ReadingScore]:
    """Return the newest version of a protocol and its score; available only after closing.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str, optional
        Name of the reading study; default the newest.

    Returns
    -------
    Protocol
    ReadingScore

    Raises
    ------
    UserError
        If the protocol is not closed, was altered after freezing, or has no answers.
    """
    closed = _load_closed(study, protocol)
    run = closed.protocol.run
    return closed.protocol, score_study(
        closed.answers,
        closed.key,
        closed.design,
        first_answers=closed.first_answers,
        threshold=holdout_threshold(study, run),
        assigned=int((~closed.items["practice"]).sum()) if len(closed.items) else None,
        # False in the protocol means undecided: the answers' own flags then decide.
        simulated=closed.protocol.simulated or None,
        synthetic=has_simulated_material(study, run),
    )


def count_correct(study: Path, protocol: str) -> tuple[int, int]:
    """Return the correct answers and the answers of a closed protocol's primary arm.

    Hidden repeats do not count. Errors are those of `score_protocol`, which computes every analysis
    and takes seconds; these two numbers are its `primary.correct` and `primary.n`.
    """
    closed = _load_closed(study, protocol)
    rows = primary_rows(join_answers(closed.answers, closed.key, closed.design), closed.design)
    return int(rows["correct"].sum()), len(rows)
