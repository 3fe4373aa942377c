"""Stepper of the Reading study page: the stages of a version, the present one, what comes next."""

from __future__ import annotations

from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import (
    CHECKED,
    CLOSED,
    DESIGN,
    FROZEN,
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
    FROZEN: "Invite readers to version {version} on the Participants page.",
    READING: "Close version {version} when the readers have finished.",
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
    action = _NEXT_ACTIONS[protocol.state].format(version=protocol.version)
    elements.stepper(steps, present, f"Next: {action}")
