"""Stepper of the Reading study page: the stages of a version, the present one, what comes next."""

from __future__ import annotations

from collections.abc import Set

import pandas as pd

from core.store import participant_table
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import (
    CHECKED,
    CLOSED,
    DESIGN,
    FROZEN,
    OPEN_STATES,
    PROTOCOL_STATES,
    READING,
    SCORED,
)
from core.store.reading.protocol_table import Protocol
from dashboard.ui import elements
from dashboard.ui.cached_queries import cached_query
from evaluation.intervals import count_text

# What a version needs to reach each state.
_NEEDS = {
    DESIGN: "arms, cases and analysis",
    CHECKED: "the leakage check of this design",
    FROZEN: "no error, a reason for each warning, the name typed",
    READING: "a reader who begins",
    CLOSED: "the name typed",
    SCORED: "at least one answer",
}
# What the team does next in each state; {version} stands for the version.
_NEXT_ACTIONS = {
    None: "Save this design as a version.",
    DESIGN: "Check version {version} for leakage.",
    CHECKED: (
        "Freeze version {version}. To change it, save a new design under the same name, which"
        " discards the check."
    ),
    CLOSED: "Version {version} is scored when its results are opened.",
    SCORED: (
        "Read the results below. Version {version} is complete; a change needs a new version: save"
        " a new design under the same name."
    ),
}


def render_stages(protocol: Protocol | None) -> None:
    """Write the stages of a version and its next action; None: a design that is not saved yet."""
    if protocol is None:
        # Without what each stage needs: the form of a new design needs the height of the window.
        steps = [(name.capitalize(), "") for name in PROTOCOL_STATES]
        elements.stepper(steps, -1, f"Next: {_NEXT_ACTIONS[None]}")
        return
    key = protocol.protocol, protocol.version
    reached = cached_query(protocol_table.load_state_times, *key)
    present = PROTOCOL_STATES.index(protocol.state)
    steps = []
    for number, name in enumerate(PROTOCOL_STATES):
        if number > present:
            note = f"needs {_NEEDS[name]}"
        elif name == READING:  # it is not recorded: it begins with the first order
            readers = cached_query(reading_table.reading_progress_by_reader, *key)
            note = count_text(len(readers), "reader")
        else:
            # A study of the first release may lack the record of a state.
            reached_at, actor = reached.get(name, (None, "no record"))
            note = ", ".join(filter(None, (elements.age_text(reached_at), actor)))
        steps.append((name.capitalize(), note))
    if protocol.state in OPEN_STATES:
        action = reading_action(
            protocol, cached_query(reading_table.reading_progress_by_reader, *key), _reader_codes()
        )
    else:
        action = _NEXT_ACTIONS[protocol.state].format(version=protocol.version)
    elements.stepper(steps, present, f"Next: {action}")


def _reader_codes() -> set[str]:
    """Return the codes of the readers with a valid invitation."""
    invited = cached_query(participant_table.valid_invitations).values()
    return {person.code for person in invited if person.role == "reader"}


def reading_action(protocol: Protocol, progress: pd.DataFrame, invited: Set[str]) -> str:
    """Return what the team does next in an open version.

    progress: result of `reading_table.reading_progress_by_reader`. invited: codes of the readers
    with a valid invitation.
    """
    planned = int(protocol.design["readers"])
    finished = int((progress["missing"] == 0).sum())
    available = len(invited | set(progress["code"]))
    name = f"version {protocol.version}"
    if finished >= planned:
        return f"Close {name}: {finished} of {planned} planned readers have finished."
    if available < planned:
        return (
            f"Invite readers to {name} on the Participants page; {available} of {planned} planned"
            f" readers {'is' if available == 1 else 'are'} invited."
        )
    return (
        f"Wait for the readers of {name}: {finished} of {planned} planned"
        f" {'has' if finished == 1 else 'have'} finished. Close it when all have."
    )
