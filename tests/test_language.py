"""Plain professional English: words that may not appear in code, pages and documents."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

# Folk words and personifications found in reviews of this project, with the reason each pattern
# exists: none of them occurs in the prose of the field.
PROSE = re.compile(
    r"""\b(
        excit(?:e|es|ed|ing)            # a patch activates a unit
      | odd(?:ly)? | nothing\ odd       # name the data-quality issue
      | mend(?:s|ed|ing)?               # correct, repair
      | (?:come|comes|came|coming)\ in  # is imported
      | la(?:y|id)\ in                  # is staged
      | told | said                     # stated, reported, answered
      | nobody | somebody | whoever     # name the role
      | (?<!there\ )(?:is|are)\ none     # is not a valid ...
      | goes\ on | went\ on             # continues, resumes
      | at\ home                        # in the original study folder
      | no\ proof                       # does not prove
      | sceptic | folk
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
# Names that state nothing about what they hold.
NAMES = {
    *("dealt", "every", "found", "kept", "look", "luck", "made", "mine"),
    *("of", "place", "said", "say", "some", "told", "who"),
}
# Stored texts: a change would alter the hash of protocols that were frozen with them.
FROZEN_TEXTS = {"Every reader reads every case; nobody looks at results before closing."}
PRODUCT = ("core", "evaluation", "dashboard", "benchmarks")
TEXT_SUFFIXES = (".md", ".html", ".js", ".css", ".toml")


def _tracked(*folders: str, suffixes: tuple[str, ...]) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listing.stdout.splitlines() if line.endswith(suffixes)]
    return [path for path in paths if path.is_file()]


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment and every string with a blank of a Python file."""
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def _assigned_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of every variable, parameter, function and class.

    Fields of records are left out: they repeat the names of stored columns.
    """
    fields = {
        id(statement.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if id(node) in fields:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name


@pytest.mark.parametrize("folder", PRODUCT)
def test_python_prose_has_no_folk_words(folder: str) -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{line} {match.group(0)!r}"
        for path in _tracked(folder, suffixes=(".py",))
        for line, text in _prose(path)
        if text not in FROZEN_TEXTS
        for match in PROSE.finditer(text)
    ]
    assert hits == []


def test_documents_and_page_sources_have_no_folk_words() -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{number} {match.group(0)!r}"
        for path in _tracked(".", suffixes=TEXT_SUFFIXES)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        # Program text stands between double backquotes in the tables of mutants.
        for match in PROSE.finditer(re.sub("``.*?``", "", line))
    ]
    assert hits == []


@pytest.mark.parametrize("folder", PRODUCT)
def test_names_state_what_they_hold(folder: str) -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in _tracked(folder, suffixes=(".py",))
        for line, name in _assigned_names(ast.parse(path.read_text(encoding="utf-8")))
        if name in NAMES
    ]
    assert hits == []
