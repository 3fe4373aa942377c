"""Runs of mutants in a copy of the project, with results that are kept."""

from __future__ import annotations

import compileall
import json
import py_compile
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mutation.forked_pytest import run_pytest
from benchmarks.mutation.operators import Mutant, mutated_source
from benchmarks.mutation.records import RecordedTest, select_tests

NOTICED, TIMED_OUT, SURVIVED, UNTESTED = "noticed", "timed out", "survived", "no test"
# Tests of one mutant are left out once those before them take this long without the mutant.
TEST_BUDGET_S = 180
# A run that takes this many times longer than without the mutant, and at least a minute, hangs.
HANG_FACTOR, MIN_LIMIT_S = 6, 60
# pytest's exit codes: all passed, a test failed, interrupted (an error during collection).
_PASSED, _FAILED, _INTERRUPTED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class MutantResult:
    """What became of one mutant.

    Attributes
    ----------
    mutant : str
        Its identity.
    outcome : str
        NOTICED, TIMED_OUT (the tests hang, which is noticed), SURVIVED or UNTESTED (no test enters
        its function).
    test : str
        First test that failed, else "".
    tests : int
        Number of tests chosen.
    seconds : float
    """

    mutant: str
    outcome: str
    test: str
    tests: int
    seconds: float


class ResultFile:
    """Results as JSON lines, one a mutant; a later line replaces an earlier one.

    Parameters
    ----------
    path : Path
        File of the results.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results: dict[str, MutantResult] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                result = MutantResult(**json.loads(line))
                self.results[result.mutant] = result

    def add(self, result: MutantResult) -> None:
        """Store a result at once, so that a run that is stopped loses one mutant at most."""
        self.results[result.mutant] = result
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")

    def write_sorted(self) -> None:
        """Write the file anew, one line a mutant, by identity."""
        rows = [json.dumps(asdict(self.results[key])) for key in sorted(self.results)]
        self._path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def copy_project(root: Path, tree: Path) -> None:
    """Copy the tracked and new files of a git repository, without what git ignores, and compile.

    The compiled files are used as long as the source has the same content: a mutant changes it.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listing.stdout.split("\0"):
        source = root / name
        if name and source.is_file():
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    compileall.compile_dir(
        tree, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
    )


def run_mutant(
    tree: Path, mutant: Mutant, records: Sequence[RecordedTest], variables: Mapping[str, str]
) -> MutantResult:
    """Run the tests of a mutant in a copy of the project, until one fails.

    Parameters
    ----------
    tree : Path
        The copy; its file is restored afterwards.
    mutant : Mutant
    records : sequence of RecordedTest
        All recorded tests.
    variables : mapping of str to str
        Environment variables of the tests.
    """
    chosen = _within_budget(select_tests(records, mutant))
    started, outcome, test = time.monotonic(), UNTESTED, ""
    if chosen:
        path = tree / mutant.path
        original = path.read_bytes()
        path.write_text(mutated_source(tree, mutant), encoding="utf-8")
        try:
            outcome, test = _test_outcome(tree, chosen, variables)
        finally:
            path.write_bytes(original)
    return MutantResult(
        mutant=mutant.identity,
        outcome=outcome,
        test=test,
        tests=len(chosen),
        seconds=round(time.monotonic() - started, 1),
    )


def _within_budget(records: list[RecordedTest]) -> list[RecordedTest]:
    chosen, seconds = [], 0.0
    for record in records:
        if seconds > TEST_BUDGET_S:
            break
        chosen.append(record)
        seconds += record.seconds
    return chosen


def _test_outcome(
    tree: Path, chosen: list[RecordedTest], variables: Mapping[str, str]
) -> tuple[str, str]:
    limit = MIN_LIMIT_S + HANG_FACTOR * sum(record.seconds for record in chosen)
    try:
        run = run_pytest(tree, ["-x", *(record.node for record in chosen)], variables, limit)
    except subprocess.TimeoutExpired:
        return TIMED_OUT, ""
    if run.returncode == _PASSED:
        return SURVIVED, ""
    if run.returncode in (_FAILED, _INTERRUPTED):
        return NOTICED, _first_failure(run.stdout)
    # A mutant can also end the interpreter or keep pytest from starting.
    return NOTICED, f"pytest ended with {run.returncode}"


def _first_failure(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split(" ", 1)[1].split(" - ")[0]
    return ""
