"""Run a sample of mutants against the tests and write benchmarks/MUTATION.md.

Results are kept in benchmarks/mutation/results.jsonl: a run continues where the last one ended.
Records of the tests are kept in .mutation/: the first runs make them, which takes as long as the
test suite in one process. The program is changed in a temporary copy only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.mutation.forked_pytest import load_libraries
from benchmarks.mutation.operators import Mutant
from benchmarks.mutation.page import format_page
from benchmarks.mutation.records import RecordFolder
from benchmarks.mutation.runs import (
    SURVIVED,
    UNTESTED,
    ResultFile,
    copy_project,
    run_mutant,
)
from benchmarks.mutation.sampling import sample_mutants

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
RESULTS, EQUIVALENT = FOLDER / "results.jsonl", FOLDER / "equivalent.json"
PAGE, STORE = FOLDER.parent / "MUTATION.md", ROOT / ".mutation"
FOLDERS = ("core", "evaluation", "dashboard")
# A further seed shows whether tests written for earlier samples notice other mutants as well. The
# second was run in halves, with tests written in between; the third after all tests.
SEEDS = (1, 2, 3)
SIZE = 450


def main() -> int:
    """Run what is left of a slice, then write the page."""
    arguments = _parser().parse_args()
    started = time.monotonic()

    def is_over() -> bool:
        return bool(arguments.minutes) and time.monotonic() - started > 60 * arguments.minutes

    samples = {seed: sample_mutants(ROOT, FOLDERS, SIZE, seed) for seed in SEEDS}
    equivalent: dict[str, str] = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    results = ResultFile(RESULTS)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "project"
        copy_project(ROOT, tree)
        variables = {"DEEPMINER_DEMONSTRATION": str(_demonstration())}
        load_libraries()
        records = RecordFolder(STORE / "records")
        for test_file in records.missing(tree, "tests"):
            if is_over():
                print("Time is over; the records of the tests are incomplete.", file=sys.stderr)
                return 1
            print(f"record {test_file}", file=sys.stderr)
            records.add(tree, test_file, FOLDERS, variables)
        tests = records.load(tree, "tests")
        for mutant in _slice(samples[arguments.seed], arguments.slice, arguments.only):
            earlier = results.results.get(mutant.identity)
            is_open = earlier is not None and earlier.outcome in (SURVIVED, UNTESTED)
            if mutant.identity in equivalent or (earlier and not (is_open and arguments.again)):
                continue
            if is_over():
                break
            result = run_mutant(tree, mutant, tests, variables)
            results.add(result)
            print(f"{result.outcome}: {mutant.identity}", file=sys.stderr)
    results.write_sorted()
    PAGE.write_text(format_page(samples, results.results, equivalent), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("--minutes", type=float, help="stop after this time (default: when done)")
    parser.add_argument(
        "--slice", default="1/1", type=_slice_argument, help="part of the sample, such as 3/10"
    )
    parser.add_argument("--seed", type=int, choices=SEEDS, default=SEEDS[0])
    parser.add_argument("--only", metavar="PATH", default="", help="files whose path begins so")
    parser.add_argument("--again", action="store_true", help="run also those that survived earlier")
    return parser


def _slice_argument(text: str) -> tuple[int, int]:
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a part such as 3/10")
    return int(number), int(parts)


def _slice(
    packages: Mapping[str, Sequence[Mutant]], part: tuple[int, int], only: str
) -> list[Mutant]:
    """Return the mutants of a part, which are spread over all packages."""
    number, parts = part
    mutants = [mutant for drawn in packages.values() for mutant in drawn]
    return [m for m in mutants[number - 1 :: parts] if m.path.startswith(only)]


def _demonstration() -> Path:
    """Return the quick demonstration study of the tests, which is built once."""
    if built := os.environ.get("DEEPMINER_DEMONSTRATION"):
        return Path(built).resolve()
    study = STORE / "demonstration"
    if not study.exists():
        # The networks' library takes seconds to import.
        from evaluation.demo.build import build_demo

        STORE.mkdir(exist_ok=True)
        build_demo(study.with_suffix(".partial"), quick=True, experts=True).rename(study)
    return study


if __name__ == "__main__":
    sys.exit(main())
