"""Documentation agrees with the code: generated pages, docstrings, links, examples."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "docs" / "scripts"))
import generate_reference

LAYERS = ("core", "evaluation", "dashboard", "benchmarks")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Packages whose public functions are used from notebooks: each has runnable examples.
EXAMPLE_PACKAGES = ("core", "evaluation")
MIN_EXAMPLES = 60


def _modules(*layers: str) -> list[Path]:
    return sorted(path for layer in layers for path in (ROOT / layer).rglob("*.py"))


def _with_examples() -> list[str]:
    names = []
    for path in _modules(*EXAMPLE_PACKAGES):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def test_generated_reference_pages_are_current() -> None:
    for path, text in generate_reference.generated_pages().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is out of date: run python docs/scripts/generate_reference.py"
        )


def test_every_public_function_and_module_has_a_docstring() -> None:
    missing = []
    for path in _modules(*LAYERS):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if ast.get_docstring(module) is None:
            missing.append(str(path.relative_to(ROOT)))
        for node in module.body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if not node.name.startswith("_") and ast.get_docstring(node) is None:
                missing.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert missing == []


def _anchor(heading: str) -> str:
    """Return the anchor that Markdown renderers derive from a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_links_between_documents_resolve() -> None:
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            if target.startswith("http"):
                continue
            file, _, anchor = target.partition("#")
            linked = path.parent / file if file else path
            if not linked.exists():
                broken.append((path.name, target))
            elif anchor:
                headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.M)
                if anchor not in map(_anchor, headings):
                    broken.append((path.name, target))
    assert broken == []


def test_documents_cited_by_docstrings_exist() -> None:
    missing = set()
    for path in _modules(*LAYERS):
        for cited in re.findall(r"\bdocs/[\w/]+\.md\b", path.read_text(encoding="utf-8")):
            if not (ROOT / cited).is_file():
                missing.add((path.name, cited))
    assert missing == set()


def test_headings_cited_by_docstrings_exist() -> None:
    definitions = (ROOT / "docs" / "reference" / "definitions.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^## (.+)$", definitions, re.M))
    cited = {
        heading
        for path in _modules(*LAYERS)
        for heading in re.findall(
            r"definitions\.md`?,\s+\(?\"([^\"]+)\"", path.read_text(encoding="utf-8")
        )
    }
    assert {" ".join(heading.split()) for heading in cited} - headings == set()


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")]
    assert [p for p in pages if p != "index.md" and f"({p})" not in index] == []


def test_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 9_000


def test_readme_example_prints_what_it_shows() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = doctest.DocTestParser().get_doctest(text, {}, "README.md", None, 0)
    result = doctest.DocTestRunner().run(example)
    assert result.failed == 0 and result.attempted >= 4


@pytest.mark.parametrize("name", _with_examples())
def test_examples_print_what_they_show(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0 and result.attempted > 0


def test_the_public_api_has_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    documented = {
        test.name
        for name in _with_examples()
        for test in finder.find(importlib.import_module(name))
        if test.examples
    }
    assert len(documented) >= MIN_EXAMPLES
