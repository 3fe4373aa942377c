"""SIGKILL in every step: the study stays usable and the next run completes.

`python -m benchmarks.crash_recovery 20` is the long form.
"""

from __future__ import annotations

import pytest

from benchmarks import crash_recovery


@pytest.mark.slow
def test_every_step_survives_being_killed() -> None:
    outcomes = list(crash_recovery.kill_every_step(1))
    assert [o.step for o in outcomes] == [arguments[0] for arguments in crash_recovery.STEPS]
    assert [fault for o in outcomes for fault in o.faults] == []
