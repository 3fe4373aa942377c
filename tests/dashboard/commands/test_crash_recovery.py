"""SIGKILL in every step: the study stays usable and the next run completes.

`python -m benchmarks.crash_recovery 20` is the long form.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import crash_recovery
from support.paths import ROOT

# A process of its own, because a process has one fork server and this one may serve studies.
KILL_EVERY_STEP = """
import dataclasses, json
from benchmarks import crash_recovery
print(json.dumps([dataclasses.asdict(o) for o in crash_recovery.kill_every_step(1)]))
"""


@pytest.mark.slow
def test_every_step_survives_being_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILL_EVERY_STEP], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert done.returncode == 0
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert [o["step"] for o in outcomes] == [arguments[0] for arguments in crash_recovery.STEPS]
    assert [fault for o in outcomes for fault in o["faults"]] == []
