"""Progress of the reading studies of a study folder; never their results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import FROZEN_STATES, OPEN_STATES, RESULT_STATES


@dataclass(frozen=True, kw_only=True)
class ReadingState:
    """Progress of one version of a reading study.

    done, total: answers given and expected, from readers who have an order and those who are
    planned; readers: the larger number of the two; simulated: whether the study itself or any
    answer is simulated; made: time of its state.
    """

    protocol: str
    version: int
    state: str
    done: int
    total: int
    readers: int
    simulated: bool
    made: datetime


def load_reading_states(con: Connection) -> list[ReadingState]:
    """Return the newest version of every reading study, and every version that was frozen.

    Open studies come first (people's before simulated ones), then finished ones, then designs;
    newest first within each group.
    """
    protocols = protocol_table.list_protocols(con)
    # Sorted by version, so that the newest entry of a name comes last and stays.
    newest = {p.protocol: p.version for p in sorted(protocols, key=lambda p: p.version)}
    states = [
        _reading_state(con, protocol)
        for protocol in reversed(protocols)
        if protocol.state in FROZEN_STATES or newest[protocol.protocol] == protocol.version
    ]

    def rank(reading: ReadingState) -> tuple[int, bool]:
        """Return the group of a study, and whether it follows the people's studies in it."""
        if reading.state in OPEN_STATES:
            return 0, reading.simulated
        return (1 if reading.state in RESULT_STATES else 2), False

    # sorted() is stable: the newest stay first within a group.
    return sorted(states, key=rank)


def _reading_state(con: Connection, protocol: protocol_table.Protocol) -> ReadingState:
    key = protocol.protocol, protocol.version
    progress = reading_table.reading_progress_by_reader(con, *key)
    done, total, present = 0, 0, len(progress)
    if present:
        done, total = int(progress["done"].sum()), int(progress["total"].sum())
    planned = present
    if protocol.state in OPEN_STATES:
        # Readers receive their order when they begin. Until then the design states their number.
        planned = max(present, int(protocol.design.get("readers", 1)))
        cases = len(reading_table.load_reading_cases(con, *key))
        total += (planned - present) * (cases + int(protocol.design.get("repeats", 0)))
    return ReadingState(
        protocol=protocol.protocol,
        version=protocol.version,
        state=protocol.state,
        done=done,
        total=total,
        readers=planned,
        simulated=protocol.simulated or bool(present and progress["simulated"].any()),
        made=protocol.made,
    )
