"""Kill every step with SIGKILL at a random moment, many times; the study must stay usable and the
next run of the step must complete.

`python -m benchmarks.crash_recovery 20` prints a line per step; tests run a short form of it.
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
from core.study_folder import init

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


# Children of a server that has our modules loaded start at once: what is killed is the step, not
# Python's start.
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


def command(study: Path, arguments: tuple[str, ...], output: Path) -> None:
    """A command line of ours on a study, in a process of its own; what it says goes into a file."""
    from dashboard import cli

    with output.open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    tqdm.set_lock(
        threading.RLock()
    )  # its own lock between processes would be left behind by every kill
    sys.argv = ["deepminer", *arguments, "--study", str(study)]
    cli.main()


def start(study: Path, arguments: tuple[str, ...]) -> tuple[BaseProcess, Path]:
    """A step that runs, and the file that holds what it says."""
    output = study.with_name(f"{study.name}.log")
    process = PROCESSES.Process(target=command, args=(study, arguments, output))
    main = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules[
        __name__
    ]  # children load the main module, which under tests may be a page
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
    return process, output


def small_study(folder: Path) -> Path:
    """An empty study whose steps take seconds."""
    chosen = (
        settings.preset(settings.PHANTOM)
        .changed("training", units=16, draws=640, augment=False)
        .changed("splits", train=0.5, holdout=0.25)
    )
    return init(folder, chosen)


def run(study: Path, arguments: tuple[str, ...]) -> str | None:
    """Run a step to its end; what it says last if it fails."""
    process, output = start(study, arguments)
    process.join()
    return (
        None
        if process.exitcode == 0
        else (output.read_text().strip().splitlines() or ["nothing was said"])[-1]
    )


def kill_once(study: Path, arguments: tuple[str, ...], within: float) -> bool:
    """Start a step and kill it after a random time below `within` seconds; whether it was still
    running.
    """
    process, _ = start(study, arguments)
    time.sleep(random.uniform(0, within))
    running = process.is_alive()
    process.kill()
    process.join()
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
    failed = run(study, arguments)
    faults = [f"{name} is registered but not there" for name in missing]
    if failed:
        faults.append(f"the next run failed: {failed}")
    if [b for b in runs.unfinished(study) if b["kind"] == arguments[0]]:
        faults.append("a half-made run is left")
    return faults


def every_step(times: int) -> Iterator[Outcome]:
    """All steps in order, each killed on copies and then run once for the next."""
    with tempfile.TemporaryDirectory() as folder:
        study = small_study(Path(folder) / "whole")
        run(
            study, ("status",)
        )  # starts the server of processes, whose start is no part of a step's time
        for arguments in STEPS:
            before = Path(folder) / f"before-{arguments[0]}"
            shutil.copytree(study, before)
            started = time.monotonic()
            failed = run(study, arguments)
            if failed:
                raise RuntimeError(failed)
            yield trial(before, arguments, times, time.monotonic() - started)
            shutil.rmtree(before)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for outcome in every_step(number):
        print(
            f"{outcome.step}: {outcome.killed} of {number} kills while it ran,"
            f" {len(outcome.faults)} faults {'; '.join(outcome.faults)}",
            flush=True,
        )
