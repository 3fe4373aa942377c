"""Kill every step with SIGKILL at a random moment, many times; the study must stay usable and the next run of the step must complete.

`python -m benchmarks.kills 20` prints a line per step; tests run a short form of it.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core import runs, settings, store
from core.store import runs as run_table
from core.study import init

STEPS = (
    ("ingest", "phantom", "--patients", "14", "--workers", "1"),
    ("patches",),
    ("train", "--epochs", "2"),
    ("evaluate",),
    ("dissect",),
    ("explain",),
)


@dataclass(frozen=True)
class Outcome:
    """One step: how often it was killed while it ran, and what went wrong (nothing, it is hoped)."""

    step: str
    killed: int
    faults: tuple[str, ...]


def command(study: Path, *arguments: str) -> list[str]:
    """A command line of ours on a study."""
    return [sys.executable, "-m", "dashboard.cli", *arguments, "--study", str(study)]


def small_study(folder: Path) -> Path:
    """An empty study whose steps take seconds."""
    chosen = settings.preset(settings.PHANTOM).changed("training", units=16, draws=640, augment=False).changed("splits", train=0.5, holdout=0.25)
    return init(folder, chosen)


def run(study: Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run a step to its end."""
    return subprocess.run(command(study, *arguments), capture_output=True, text=True, check=False)


def kill_once(study: Path, arguments: tuple[str, ...], within: float) -> bool:
    """Start a step and kill it after a random time below `within` seconds; whether it was still running."""
    process = subprocess.Popen(command(study, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(0, within))
    running = process.poll() is None
    process.kill()
    process.wait()
    return running


def trial(before: Path, arguments: tuple[str, ...], times: int, seconds: float) -> Outcome:
    """Kill one step `times` times on fresh copies of the study before it."""
    killed, faults = 0, []
    for number in range(times):
        with tempfile.TemporaryDirectory() as folder:
            study = Path(folder) / "study"
            shutil.copytree(before, study)
            killed += kill_once(study, arguments, seconds)
            faults += [f"kill {number}: {fault}" for fault in check(study, arguments)]
    return Outcome(arguments[0], killed, tuple(faults))


def check(study: Path, arguments: tuple[str, ...]) -> list[str]:
    """Whether the study is usable after a kill, and the step completes when it is run again."""
    with store.read(study) as con:
        known = set(run_table.runs(con)["run"])
    missing = [name for name in known if not (study / "runs" / name / "manifest.json").is_file()]
    again = run(study, arguments)
    faults = [f"{name} is registered but not there" for name in missing]
    if again.returncode:
        faults.append(f"the next run failed: {again.stderr.strip().splitlines()[-1]}")
    if [b for b in runs.unfinished(study) if b["kind"] == arguments[0]]:
        faults.append("a half-made run is left")
    return faults


def every_step(times: int) -> Iterator[Outcome]:
    """All steps in order, each killed on copies and then run once for the next."""
    with tempfile.TemporaryDirectory() as folder:
        study = small_study(Path(folder) / "whole")
        for arguments in STEPS:
            before = Path(folder) / f"before-{arguments[0]}"
            shutil.copytree(study, before)
            started = time.monotonic()
            done = run(study, arguments)
            if done.returncode:
                raise RuntimeError(done.stderr)
            yield trial(before, arguments, times, time.monotonic() - started)
            shutil.rmtree(before)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for outcome in every_step(number):
        print(
            f"{outcome.step}: {outcome.killed} of {number} kills while it ran, {len(outcome.faults)} faults {'; '.join(outcome.faults)}", flush=True
        )
