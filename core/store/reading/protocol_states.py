"""The states of a version of a reading study, and which of them may follow which.

This is the only definition: the store refuses any other transition, and pages, commands and imports
ask the functions below. Each version of each protocol has a state of its own.
"""

from __future__ import annotations

from collections.abc import Collection

from core.errors import UserError

DESIGN, CHECKED, FROZEN, READING, CLOSED, SCORED = PROTOCOL_STATES = (
    "design",
    "checked",
    "frozen",
    "reading",
    "closed",
    "scored",
)
# Cases, texts and settings may still change.
DRAFT_STATES = (DESIGN, CHECKED)
# Readers may start and answer.
OPEN_STATES = (FROZEN, READING)
# Results may be computed and seen.
RESULT_STATES = (CLOSED, SCORED)
# The design can never change again.
FROZEN_STATES = (*OPEN_STATES, *RESULT_STATES)
# READING is entered when the first reader gets an order. It is derived from the orders and has no
# row in the table of protocols.
STORED_STATES = (DESIGN, CHECKED, FROZEN, CLOSED, SCORED)

# The states that may follow each state; None stands for a version that does not exist. A draft may
# be designed and checked repeatedly. An open study may be closed without a reader, and further
# readers may begin one that is being read.
TRANSITIONS: dict[str | None, tuple[str, ...]] = {
    None: (DESIGN,),
    DESIGN: (DESIGN, CHECKED),
    CHECKED: (DESIGN, CHECKED, FROZEN),
    FROZEN: (READING, CLOSED),
    READING: (READING, CLOSED),
    CLOSED: (SCORED,),
    SCORED: (),
}
# The command that takes a version out of each state.
NEXT_COMMANDS = {
    DESIGN: "lint",
    CHECKED: "freeze",
    FROZEN: "close",
    READING: "close",
    CLOSED: "score",
    SCORED: "score",
}


def next_command(name: str, version: int, state: str) -> str:
    """Return the command that takes a version out of its state, with its name and version.

    Examples
    --------
    >>> next_command("Masses", 2, "checked")
    "deepminer reading freeze --protocol 'Masses' --version 2"
    """
    return f"deepminer reading {NEXT_COMMANDS[state]} --protocol {name!r} --version {version}"


def check_transition(name: str, version: int, current: str | None, state: str) -> None:
    """Raise a UserError unless a version in state `current` may enter `state`.

    Parameters
    ----------
    name, version : str, int
        The version, for the message.
    current : str or None
        Its state; None if the version does not exist.
    state : str
        The state to enter.

    Examples
    --------
    >>> check_transition("Masses", 1, "checked", "frozen")
    >>> check_transition("Masses", 1, "design", "frozen")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    core.errors.UserError: Masses, version 1, is design and cannot become frozen; only a version...
    """
    if state not in PROTOCOL_STATES:
        raise UserError(
            f"{state!r} is not a state of a reading study; the states are"
            f" {', '.join(PROTOCOL_STATES)}."
        )
    if state in TRANSITIONS[current]:
        return
    if state in DRAFT_STATES and current in FROZEN_STATES:
        raise UserError(
            f"{name}, version {version}, is {current}; a change needs a new version (`deepminer"
            " reading create`)."
        )
    earlier = [known for known, following in TRANSITIONS.items() if known and state in following]
    raise UserError(
        f"{name}, version {version}, is {current or 'not designed'} and cannot become {state};"
        f" only a version that is {' or '.join(earlier)} can."
    )


def require_state(name: str, version: int, current: str, allowed: Collection[str]) -> None:
    """Raise a UserError unless the state of a version is among the allowed ones."""
    if current not in allowed:
        raise UserError(
            f"{name}, version {version}, is {current}; this needs a version that is"
            f" {' or '.join(state for state in PROTOCOL_STATES if state in allowed)}."
        )


def require_results(name: str, version: int, current: str) -> None:
    """Raise a UserError unless the results of a version may be computed.

    Every function that computes or returns a result asks here: results before closing would allow a
    stop at a favourable count.
    """
    if current not in RESULT_STATES:
        raise UserError(
            f"{name}, version {version}, is {current}: results are hidden until it is closed (next:"
            f" `{next_command(name, version, current)}`)."
        )
