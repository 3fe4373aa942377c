"""Memory that this process has freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.paths import ROOT

_PAGE_FAULTS = """
import resource, sys
import torch
# As in every step that runs networks. A process with fewer libraries has another heap.
import core.networks
from core.process_memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(3):
    torch.zeros(50_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.zeros(50_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_kept_for_the_next_maps():
    faults = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", _PAGE_FAULTS, mode],
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
            ).stdout
        )
        for mode in ("default", "keep")
    }
    # 200 MB are 49,000 pages of 4 KB; huge pages would be 100.
    assert faults["default"] > 100 and faults["keep"] < faults["default"] / 2
