"""Every step works on more films than a process may open files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT

# Half of them may be images; the process itself needs about ten.
FILMS, OPEN_FILES = 36, 32

ALL_STEPS = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES}, {OPEN_FILES}))
from pathlib import Path
from benchmarks.growth import study_steps
for step, work in study_steps(Path(sys.argv[1]), {FILMS}):
    work()
    print(step)
"""


def test_steps_with_fewer_open_files_than_films(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL_STEPS, str(tmp_path / "study")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["explain", "ablate"]
    pixels = [
        path for path in (tmp_path / "study" / "images").glob("*.npy") if "." not in path.stem
    ]
    assert len(pixels) == FILMS
