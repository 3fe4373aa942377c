"""Which tests enter which functions, recorded once per test file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.mutation import function_recorder
from benchmarks.mutation.forked_pytest import run_pytest
from benchmarks.mutation.operators import MODULE_LEVEL, Mutant

PLUGIN = function_recorder.__name__
# Much more than the slowest test file needs while recorded.
RECORD_LIMIT_S = 3600


@dataclass(frozen=True, kw_only=True)
class RecordedTest:
    """One test that passes without a mutant.

    Attributes
    ----------
    node : str
        pytest's id of the test.
    seconds : float
        Duration with its fixtures.
    entered : frozenset of str
        "file::function" of each function of the program that it enters.
    """

    node: str
    seconds: float
    entered: frozenset[str]

    @property
    def file(self) -> str:
        """Test file of the test."""
        return self.node.split("::")[0]


class RecordFolder:
    """The records of all test files, each stored as one JSON file.

    A record is used as long as its test file is unchanged. Functions are recorded rather than
    lines, so that a change of the program elsewhere does not make it useless.

    Parameters
    ----------
    folder : Path
        Where the records are stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def missing(self, tree: Path, tests: str) -> list[str]:
        """Return the test files of a copy of the project that have no record of their content."""
        files = sorted((tree / tests).rglob("test_*.py"))
        return [
            file.relative_to(tree).as_posix()
            for file in files
            if not self._record_path(tree, file.relative_to(tree).as_posix()).exists()
        ]

    def add(
        self,
        tree: Path,
        test_file: str,
        folders: Iterable[str],
        variables: dict[str, str],
    ) -> None:
        """Run a test file and store its record. RuntimeError if pytest does not come to an end."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._record_path(tree, test_file)
        partial = path.with_suffix(".partial")
        recorded = {
            function_recorder.OUTPUT_VARIABLE: str(partial.resolve()),
            function_recorder.FOLDERS_VARIABLE: os.pathsep.join(folders),
        }
        run = run_pytest(tree, ["-p", PLUGIN, test_file], variables | recorded, RECORD_LIMIT_S)
        if not partial.exists():
            # An empty record would leave out these tests without a word.
            raise RuntimeError(f"pytest ended early in {test_file}:\n{run.stdout[-2000:]}")
        partial.rename(path)

    def load(self, tree: Path, tests: str) -> list[RecordedTest]:
        """Return the recorded tests of a copy of the project that passed."""
        records = []
        for file in sorted((tree / tests).rglob("test_*.py")):
            path = self._record_path(tree, file.relative_to(tree).as_posix())
            content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
            records += [
                RecordedTest(node=node, seconds=test["seconds"], entered=frozenset(test["entered"]))
                for node, test in content.items()
                if test["passed"]
            ]
        return records

    def _record_path(self, tree: Path, test_file: str) -> Path:
        content = f"{test_file}\n".encode() + (tree / test_file).read_bytes()
        return self._folder / f"{hashlib.sha256(content).hexdigest()[:20]}.json"


def select_tests(records: Sequence[RecordedTest], mutant: Mutant) -> list[RecordedTest]:
    """Return the tests that can notice a mutant, the most promising test files first.

    These are the tests that enter its function. Of a mutant in a statement that the import of a
    file executes, they are all tests of the test files that enter a function of the file, or of
    its folder where none does: a test of constants enters no function. The test file whose name is
    that of the mutant's file comes first, then the shorter ones.
    """
    prefix = f"{mutant.path}::"
    namesake = f"test_{PurePosixPath(mutant.path).stem}"
    if mutant.function == MODULE_LEVEL:
        folder = f"{PurePosixPath(mutant.path).parent}/"
        files = _files_entering(records, prefix) or _files_entering(records, folder)
        chosen = [r for r in records if r.file in files or _is_named(r, namesake)]
    else:
        chosen = [r for r in records if prefix + mutant.function in r.entered]
    seconds: dict[str, float] = {}
    for record in chosen:
        seconds[record.file] = seconds.get(record.file, 0.0) + record.seconds

    def order(record: RecordedTest) -> tuple[bool, float, str]:
        return not _is_named(record, namesake), seconds[record.file], record.file

    return sorted(chosen, key=order)


def _is_named(record: RecordedTest, name: str) -> bool:
    return PurePosixPath(record.file).stem == name


def _files_entering(records: Iterable[RecordedTest], prefix: str) -> set[str]:
    return {r.file for r in records if any(name.startswith(prefix) for name in r.entered)}
