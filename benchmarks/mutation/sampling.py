"""A sample of mutants, spread over the packages by lines."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from benchmarks.mutation.operators import Mutant, generate_mutants

# A package of a few lines is sampled as well.
MIN_PER_PACKAGE = 4


def package_of(path: str) -> str:
    """Return the package that a file is counted in: at most two folders deep.

    Examples
    --------
    >>> package_of("core/store/evidence/chain.py"), package_of("core/runs.py")
    ('core/store', 'core')
    """
    return "/".join(PurePosixPath(path).parent.parts[:2])


def sample_mutants(
    root: Path, folders: Sequence[str], size: int, seed: int
) -> dict[str, list[Mutant]]:
    """Draw mutants, in proportion to the lines of each package, at most one a statement.

    The operators take turns, as far as a package has mutants of each. The rank of a mutant is a
    hash of seed and identity, so that the sample changes little when code is added.

    Parameters
    ----------
    root : Path
        Root of the project.
    folders : sequence of str
        Folders of the program, relative to it.
    size : int
        Number of mutants of all packages together, before rounding up.
    seed : int

    Returns
    -------
    dict of str to list of Mutant
        By package, in the order of their ranks.
    """
    files: dict[str, list[str]] = {}
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            files.setdefault(package_of(path), []).append(path)
    lines = {package: sum(_line_count(root / p) for p in paths) for package, paths in files.items()}
    sizes = _sizes(lines, size)
    return {
        package: _draw(root, paths, sizes[package], seed)
        for package, paths in sorted(files.items())
    }


def _line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _sizes(lines: Mapping[str, int], size: int) -> dict[str, int]:
    total = max(1, sum(lines.values()))
    return {
        package: max(MIN_PER_PACKAGE, -(-size * count // total)) for package, count in lines.items()
    }


def _draw(root: Path, paths: Sequence[str], size: int, seed: int) -> list[Mutant]:
    mutants = [mutant for path in paths for mutant in generate_mutants(root, path)]
    turns: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for mutant in sorted(mutants, key=lambda mutant: _rank(mutant, seed)):
        turns[mutant.identity] = counts[mutant.operator]
        counts[mutant.operator] += 1
    drawn: list[Mutant] = []
    statements: set[tuple[str, int]] = set()
    # In turns, because some operators apply nearly everywhere and give mistakes that are easily
    # noticed, such as two arguments of different types exchanged.
    for mutant in sorted(mutants, key=lambda m: (turns[m.identity], _rank(m, seed))):
        if len(drawn) == size:
            break
        if (mutant.path, mutant.line) not in statements:
            statements.add((mutant.path, mutant.line))
            drawn.append(mutant)
    return drawn


def _rank(mutant: Mutant, seed: int) -> str:
    return hashlib.sha256(f"{seed} {mutant.identity}".encode()).hexdigest()
