"""Interim looks at an open reading study, as its frozen design plans them.

This is the only function that analyses the answers of an open study. It tells whether the study
stops, and nothing else of the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from core import store
from core.errors import UserError
from core.store import run_table, withdrawal
from core.store.connection import Connection
from core.store.reading import interim_table, protocol_table, reading_table
from core.store.reading.protocol_states import CLOSED, OPEN_STATES, require_state
from core.store.reading.protocol_table import Protocol
from evaluation.intervals import percent
from evaluation.reading_study.design import Design
from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.primary.interim import InterimLook, information_share, interim_look
from evaluation.reading_study.sealed_key import check_frozen
from evaluation.reading_study.workflow.content import check_frozen_content
from evaluation.reading_study.workflow.protocols import (
    append_next_state,
    protocol_design,
    require_original_study,
)


def taken_looks(con: Connection, protocol: str, version: int) -> tuple[InterimLook, ...]:
    """Return the interim looks of a version that were taken, in their order."""
    rows = interim_table.load_interim_looks(con, protocol, version)
    return tuple(InterimLook(**row) for row in rows)


@dataclass(frozen=True, kw_only=True)
class NextLook:
    """The planned look that comes next, without anything of the result.

    Attributes
    ----------
    number, looks : int
        Its number, and the planned looks with the final one.
    information, needed : float
        Share of the planned information that there is, and that the look needs.
    """

    number: int
    looks: int
    information: float
    needed: float

    @property
    def is_due(self) -> bool:
        """Whether there are answers enough."""
        # A share such as 2/3 may fall short by rounding.
        return self.information >= self.needed - 1e-12


def next_look(con: Connection, protocol: str, version: int) -> NextLook | None:
    """Return the interim look of an open version that comes next; None where none is left."""
    current = protocol_table.find_protocol(con, protocol, version)
    design = protocol_design(current)
    number = len(taken_looks(con, current.protocol, current.version)) + 1
    if current.state not in OPEN_STATES or number >= design.looks:
        return None
    joined, key = _present_answers(con, current, design)
    return NextLook(
        number=number,
        looks=design.looks,
        information=information_share(joined, key, design),
        needed=number / design.looks,
    )


def take_interim_look(
    study: Path, protocol: str | None, user: str, *, confirm: str, version: int | None = None
) -> tuple[Protocol, InterimLook]:
    """Take the next planned look at an open version; close the version if it stops.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str or None
        Name of the reading study; None for the one that changed last.
    user : str
        Code of the acting person, for the log.
    confirm : str
        The name of the study as the acting person typed it.
    version : int, optional
        May be left out where the study has one version.

    Returns
    -------
    Protocol
        Closed if the look stops it.
    InterimLook

    Raises
    ------
    UserError
        If the name was not confirmed, the version is not open or differs from what was frozen, its
        design plans no further interim look, or the look is not due yet.
    """
    with store.read(study) as con:
        require_original_study(con)
        current = protocol_table.find_protocol(con, protocol, version)
        cases = reading_table.load_reading_cases(con, current.protocol, current.version)
    name, version, design = current.protocol, current.version, protocol_design(current)
    title = f"{name}, version {version}"
    require_state(name, version, current.state, OPEN_STATES)
    if design.looks < 2:
        raise UserError(
            f"The design of {title}, plans no interim look; its results stay hidden until it is"
            " closed. Plan looks in a new version."
        )
    if confirm != name:
        raise UserError(
            f"An interim look at {title}, spends a part of alpha and can close the study; it was"
            f" confirmed with {confirm!r}. Type the study's name exactly to take it."
        )
    check_frozen(design, cases, current.hash)
    check_frozen_content(study, current, cases, pictures=True)
    # One transaction: no answer can arrive between the look and its record.
    with store.write(study) as con:
        coming = next_look(con, name, version)
        if coming is None:
            raise UserError(
                f"Every planned interim look at {title}, has been taken; the final analysis follows"
                f" when it is closed (`deepminer reading close --protocol {name!r} --version"
                f" {version}`)."
            )
        if not coming.is_due:
            raise UserError(
                f"Look {coming.number} of {coming.looks} at {title}, needs"
                f" {percent(coming.needed)} of the planned answers; there are"
                f" {percent(coming.information)}. Take it when enough cases have been read."
            )
        decided = interim_look(*_present_answers(con, current, design), design, coming.number)
        interim_table.add_interim_look(con, name, version, **asdict(decided), actor=user)
        run_table.append_log(
            con,
            user,
            "interim look",
            f"{name} version {version} look {decided.number} {current.hash}",
        )
        if decided.stops:
            append_next_state(con, current, CLOSED, user)
        return protocol_table.find_protocol(con, name, version), decided


def _present_answers(
    con: Connection, protocol: Protocol, design: Design
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the latest answers with their key, and the key, without withdrawn patients."""
    key = reading_table.load_reading_cases(con, protocol.protocol, protocol.version)
    key = key[~key["patient_id"].isin(withdrawal.withdrawn_patients(con))]
    answers = reading_table.load_interim_answers(con, protocol.protocol, protocol.version)
    answers = answers[answers["case_number"].isin(key["case_number"])]
    return join_answers(answers, key, design), key
