"""Closing of a reading study, which opens its results."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.errors import UserError
from core.store import run_table
from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import CLOSED, check_transition
from core.store.reading.protocol_table import Protocol
from evaluation.intervals import count_text
from evaluation.reading_study.sealed_key import check_frozen
from evaluation.reading_study.workflow.content import check_frozen_content
from evaluation.reading_study.workflow.protocols import (
    append_next_state,
    protocol_design,
    require_original_study,
)


def unanswered_sentence(con: Connection, protocol: str, version: int) -> str:
    """Return which answers are missing before a study is closed; "" if every one is there.

    Readers who have begun are named with their cases, hidden repeats included; of those who have
    not begun the number is known.
    """
    progress = reading_table.reading_progress_by_reader(con, protocol, version)
    parts = [
        f"{row['code']} has not answered {row['missing']} of {count_text(row['total'], 'case')}"
        for row in progress.to_dict("records")
        if row["missing"]
    ]
    planned = protocol_design(protocol_table.find_protocol(con, protocol, version)).readers
    if len(progress) < planned:
        absent = planned - len(progress)
        verb = "has" if absent == 1 else "have"
        parts.append(f"{absent} of {count_text(planned, 'planned reader')} {verb} not begun")
    if not parts:
        return ""
    return (
        f"Answers are missing: {'; '.join(parts)}. Analyses of several readers need cases that all"
        " of them answered."
    )


def close_protocol(
    study: Path, protocol: str | None, user: str, *, confirm: str, version: int | None = None
) -> Protocol:
    """Close a version and open its results.

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
        The closed protocol.

    Raises
    ------
    UserError
        If the name was not confirmed, the version is not open, or it differs from what was frozen.
    """
    with store.read(study) as con:
        require_original_study(con)
        current = protocol_table.find_protocol(con, protocol, version)
        cases = reading_table.load_reading_cases(con, current.protocol, current.version)
    # Here and not only on the page: closing cannot be taken back.
    if confirm != current.protocol:
        raise UserError(
            f"Closing {current.protocol}, version {current.version}, opens its results for good; it"
            f" was confirmed with {confirm!r}. Type the study's name exactly to close it."
        )
    check_transition(current.protocol, current.version, current.state, CLOSED)
    # Before the results are open: an altered key is reported while they are unknown.
    check_frozen(protocol_design(current), cases, current.hash)
    check_frozen_content(study, current, cases, pictures=True)
    with store.write(study) as con:
        append_next_state(con, current, CLOSED, user)
        run_table.append_log(
            con,
            user,
            "reading study closed",
            f"{current.protocol} version {current.version} {current.hash}",
        )
        return protocol_table.find_protocol(con, current.protocol, current.version)
