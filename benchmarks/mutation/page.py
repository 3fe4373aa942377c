"""The result page benchmarks/MUTATION.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.mutation.operators import Mutant
from benchmarks.mutation.runs import NOTICED, SURVIVED, TIMED_OUT, UNTESTED, MutantResult

Samples = Mapping[str, Sequence[Mutant]]

_INTRODUCTION = """# Mutation analysis

Small mistakes are put into the program, one at a time, and the tests that enter the changed
function are run until one fails. Written by `make mutants`; see CONTRIBUTING.md. Mistakes:
comparisons, arithmetic, constants, defaults, conditions that always or never hold, dropped calls
and returned values, exchanged arguments and columns, `and` for `or`. Messages of errors and
constants that only set an appearance are not changed.

Noticed: a test fails. Timed out: the tests hang, which counts as noticed. Equivalent: the program
does the same with the mistake; the reasons are below. Survived: all tests pass. No test: no test
enters the function. Share: noticed and timed out, of all that ran and are not equivalent.
"""


def format_page(
    samples: Mapping[int, Samples],
    results: Mapping[str, MutantResult],
    equivalent: Mapping[str, str],
) -> str:
    """Return the page.

    Parameters
    ----------
    samples : mapping of int to mapping
        The mutants drawn with each seed, by package.
    results : mapping of str to MutantResult
        Results by identity; mutants without one have not been run.
    equivalent : mapping of str to str
        Reason by identity of each equivalent mutant.
    """
    parts = [_INTRODUCTION]
    for seed, packages in samples.items():
        parts.append(f"## Seed {seed}\n\n{_table(packages, results, equivalent)}")
    mutants = {
        mutant.identity: mutant
        for packages in samples.values()
        for drawn in packages.values()
        for mutant in drawn
    }
    open_mutants = [
        mutant
        for identity, mutant in sorted(mutants.items())
        if identity not in equivalent and _outcome(results, identity) in (SURVIVED, UNTESTED)
    ]
    rows = [
        f"| {_location(m)} | {m.operator} | {_code(m.before)} | {_code(m.after)}"
        f" | {results[m.identity].outcome} |"
        for m in open_mutants
    ]
    parts.append(_listing("Not noticed", "place | mistake | code | changed to | outcome", rows))
    rows = [
        f"| {_location(mutants[identity])} | {_code(mutants[identity].before)}"
        f" | {_code(mutants[identity].after)} | {reason} |"
        for identity, reason in sorted(equivalent.items())
        if identity in mutants
    ]
    parts.append(_listing("Equivalent", "place | code | changed to | reason", rows))
    return "\n".join(parts)


def _table(
    packages: Samples, results: Mapping[str, MutantResult], equivalent: Mapping[str, str]
) -> str:
    lines = [
        "| package | mutants | not run | equivalent | noticed | timed out | survived | no test"
        " | share |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    everything = [mutant for drawn in packages.values() for mutant in drawn]
    for name, drawn in [*packages.items(), ("all", everything)]:
        outcomes = [
            "equivalent" if m.identity in equivalent else _outcome(results, m.identity)
            for m in drawn
        ]
        counts = {
            outcome: outcomes.count(outcome)
            for outcome in ("", "equivalent", NOTICED, TIMED_OUT, SURVIVED, UNTESTED)
        }
        noticed = counts[NOTICED] + counts[TIMED_OUT]
        valid = noticed + counts[SURVIVED] + counts[UNTESTED]
        share = f"{100 * noticed / valid:.0f} %" if valid else ""
        cells = [name, len(drawn), *counts.values(), share]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _outcome(results: Mapping[str, MutantResult], identity: str) -> str:
    return results[identity].outcome if identity in results else ""


def _location(mutant: Mutant) -> str:
    return f"{mutant.path}:{mutant.line} {mutant.function}"


def _code(text: str) -> str:
    """Return code for a cell of a table."""
    escaped = text.replace("|", "\\|").replace("\n", " ")
    return f"`` {escaped} ``"


def _listing(title: str, header: str, rows: Sequence[str]) -> str:
    if not rows:
        return f"## {title}\n\nNone.\n"
    rule = "|---" * (header.count("|") + 1) + "|"
    return "\n".join([f"## {title}\n", f"| {header} |", rule, *rows]) + "\n"
