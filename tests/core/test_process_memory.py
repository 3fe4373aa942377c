"""Memory that this process has freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.paths import ROOT

_PAGE_FAULTS = """
import resource
import torch
# As in every step that runs networks. A process with fewer libraries has another heap.
import core.networks
from core.process_memory import keep_freed_memory


def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.zeros(50_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


count_faults()
print(count_faults())
keep_freed_memory()
count_faults()
print(count_faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_kept_for_the_next_maps():
    done = subprocess.run(
        [sys.executable, "-c", _PAGE_FAULTS], check=True, capture_output=True, text=True, cwd=ROOT
    )
    default, kept = map(int, done.stdout.split())
    # 200 MB are 49,000 pages of 4 KB; huge pages would be 100.
    assert default > 100 and kept < default / 2
