"""What the stepper of a reading study names as the next action while readers work."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pytest

from core.store.reading.protocol_table import Protocol
from dashboard.ui.stage_stepper import reading_action


@pytest.mark.parametrize(
    ("missing", "invited", "action"),
    [
        ({}, set(), "Invite readers to version 3 on the Participants page; 0 of 2"),
        ({"R1": 4}, {"R1"}, "1 of 2 planned readers is invited"),
        ({"R1": 4}, {"R1", "R2"}, "Wait for the readers of version 3: 0 of 2"),
        # A reader whose link was revoked has begun, and counts.
        ({"R1": 0}, {"R2"}, "Wait for the readers of version 3: 1 of 2"),
        ({"R1": 0, "R2": 0}, {"R1", "R2"}, "Close version 3: 2 of 2 planned readers have finished"),
        ({"R1": 0, "R2": 0, "R3": 1}, set(), "Close version 3: 2 of 2"),
    ],
)
def test_next_action_follows_the_readers(
    missing: dict[str, int], invited: set[str], action: str
) -> None:
    protocol = Protocol(
        protocol="Ours",
        version=3,
        state="frozen",
        design={"readers": 2},
        lint=[],
        hash="0123",
        run="run",
        simulated=False,
        who="team",
        made=datetime(2026, 1, 2),
    )
    progress = pd.DataFrame({"code": list(missing), "missing": list(missing.values())})
    assert action in reading_action(protocol, progress, invited)
