"""Documentation that can be read off the code is up to date, every public function says what it
does, and no link is dead.
"""

from __future__ import annotations

import ast
import re
import sys

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "docs" / "scripts"))
import generate_reference


def test_tree_commands_and_settings_are_those_of_today() -> None:
    for path, text in generate_reference.everything().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is stale: run python docs/scripts/generate_reference.py"
        )


def test_every_public_function_and_module_has_a_docstring() -> None:
    bare = []
    for layer in ("core", "evaluation", "dashboard", "benchmarks"):
        for path in (ROOT / layer).rglob("*.py"):
            module = ast.parse(path.read_text())
            if ast.get_docstring(module) is None:
                bare.append(str(path.relative_to(ROOT)))
            for node in module.body:
                if (
                    isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                    and not node.name.startswith("_")
                    and ast.get_docstring(node) is None
                ):
                    bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert bare == []


def test_links_between_documents_lead_somewhere() -> None:
    dead = []
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if not target.startswith("http") and not (path.parent / target).exists():
                dead.append((path.name, target))
    assert dead == []
