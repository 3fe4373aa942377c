"""Crash test: kill every step with SIGKILL at random moments, many times.

After each kill the study must be usable and the next run of the step must complete.
`python -m benchmarks.crash_recovery 20` prints one line per step. The tests run a short form.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from tqdm import tqdm

from core import runs, settings, store
from core.store import run_table
from core.study_folder import create_study

STEPS = (
    # The fewest patients whose training split has normal, benign and malignant patches.
    ("ingest", "phantom", "--patients", "4", "--seed", "2", "--workers", "1"),
    ("patches",),
    ("train", "--epochs", "2"),
    ("evaluate",),
    ("dissect",),
    ("explain",),
)


@dataclass(frozen=True)
class CrashOutcome:
    """Result of one step: kills that hit the step while it ran, and the faults that followed."""

    step: str
    kills: int
    faults: tuple[str, ...]


# A fork server with the modules preloaded starts children at once. A kill then interrupts the step
# and not the start of Python.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "core.pipeline.train",
        "core.pipeline.dissect",
        "core.pipeline.explain",
        "core.pipeline.patches",
        "evaluation.pipeline.evaluate",
        "dashboard.cli",
    ]
)


def run_command(study: Path, arguments: tuple[str, ...], log: Path) -> None:
    """Run a `deepminer` command on a study in this process; write its output to `log`."""
    from dashboard import cli

    with log.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    # The default lock of tqdm is a semaphore shared between processes. A killed process would leave
    # it behind, so a lock of this process replaces it.
    tqdm.set_lock(threading.RLock())
    sys.argv = ["deepminer", *arguments, "--study", str(study)]
    cli.main()


def start_step(study: Path, arguments: tuple[str, ...]) -> tuple[BaseProcess, Path]:
    """Start a step; return its process and the file with its output."""
    log = study.with_name(f"{study.name}.log")
    process = PROCESSES.Process(target=run_command, args=(study, arguments, log))
    # Children import the main module again. In a test run that module may be a page.
    main = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules[__name__]
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
    return process, log


def create_small_study(folder: Path) -> Path:
    """Create an empty study whose steps take seconds."""
    small = (
        settings.settings_from_preset(settings.PHANTOM_PRESET)
        .with_changes("training", units=16, draws=192, augment=False)
        .with_changes("splits", train=0.5, holdout=0.25)
    )
    return create_study(folder, small)


def run_step(study: Path, arguments: tuple[str, ...]) -> str | None:
    """Run a step to its end; return the last line of its output if it fails."""
    process, log = start_step(study, arguments)
    process.join()
    if process.exitcode == 0:
        return None
    return (log.read_text().strip().splitlines() or ["no output"])[-1]


def kill_once(study: Path, arguments: tuple[str, ...], max_delay_s: float) -> bool:
    """Start a step and kill it after a random delay; return whether it was still running."""
    process, _ = start_step(study, arguments)
    time.sleep(random.uniform(0, max_delay_s))
    running = process.is_alive()
    process.kill()
    process.join()
    return running


def kill_step(
    before: Path, arguments: tuple[str, ...], times: int, max_delay_s: float
) -> CrashOutcome:
    """Kill one step `times` times, each time on a copy of the study `before` the step."""
    kills, faults = 0, []
    for number in range(times):
        with tempfile.TemporaryDirectory() as folder:
            study = Path(folder) / "study"
            shutil.copytree(before, study)
            kills += kill_once(study, arguments, max_delay_s)
            faults += [f"kill {number}: {fault}" for fault in faults_after_kill(study, arguments)]
    return CrashOutcome(arguments[0], kills, tuple(faults))


def faults_after_kill(study: Path, arguments: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a study after a kill, including a failure of the next run."""
    with store.read(study) as con:
        registered = set(run_table.load_runs(con)["run"])
    faults = [
        f"{name} is registered but has no manifest"
        for name in registered
        if not (study / "runs" / name / "manifest.json").is_file()
    ]
    failure = run_step(study, arguments)
    if failure:
        faults.append(f"the next run failed: {failure}")
    if [b for b in runs.unfinished_runs(study) if b["kind"] == arguments[0]]:
        faults.append("an unfinished run remains")
    return faults


def kill_every_step(times: int) -> Iterator[CrashOutcome]:
    """Kill each step on copies of a study, then complete it once for the next step."""
    with tempfile.TemporaryDirectory() as folder:
        study = create_small_study(Path(folder) / "whole")
        # The first command starts the fork server, whose start must not count as a step's time.
        run_step(study, ("status",))
        for arguments in STEPS:
            before = Path(folder) / f"before-{arguments[0]}"
            shutil.copytree(study, before)
            started = time.monotonic()
            failure = run_step(study, arguments)
            if failure:
                raise RuntimeError(failure)
            yield kill_step(before, arguments, times, time.monotonic() - started)
            shutil.rmtree(before)


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for outcome in kill_every_step(repetitions):
        print(
            f"{outcome.step}: {outcome.kills} of {repetitions} kills while it ran,"
            f" {len(outcome.faults)} faults {'; '.join(outcome.faults)}",
            flush=True,
        )
