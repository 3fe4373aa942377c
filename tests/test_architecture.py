"""Imports go one way: dashboard -> evaluation -> core.

Core knows no statistics of inference and no Streamlit; pages know no torch and no SQL.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

FORBIDDEN = {
    "core": ("evaluation", "dashboard", "streamlit", "statsmodels", "plotly", "matplotlib"),
    "evaluation": ("dashboard", "streamlit", "plotly"),
}
IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # a name inside a module, not a module
        if not error.name.startswith(("core", "evaluation", "dashboard")):
            raise
print("torch" in sys.modules)
"""
SQL = re.compile(r"\b(SELECT .* FROM|INSERT INTO|UPDATE .* SET|DELETE FROM|CREATE TABLE)\b")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_nothing_is_imported_from_a_layer_above(layer: str) -> None:
    wrong = [
        (path.relative_to(ROOT), name)
        for path in modules(layer)
        for name in imported(path)
        if name.split(".")[0] in FORBIDDEN[layer]
    ]
    assert wrong == []


def test_duckdb_is_spoken_to_only_in_the_store() -> None:
    outside = [
        path
        for layer in ("core", "evaluation", "dashboard")
        for path in modules(layer)
        if "store" not in path.relative_to(ROOT).parts
    ]
    assert [
        path.name
        for path in outside
        if ".execute(" in path.read_text() or "duckdb.connect(" in path.read_text()
    ] == []
    assert [
        path.name for path in modules("core/store") if "duckdb.connect(" in path.read_text()
    ] == ["connection.py"]


def test_sql_lives_only_in_the_store() -> None:
    wrong = []
    for layer in ("core", "evaluation", "dashboard"):
        for path in modules(layer):
            if "store" in path.relative_to(ROOT).parts:
                continue
            strings = [
                n.value
                for n in ast.walk(ast.parse(path.read_text()))
                if isinstance(n, ast.Constant) and isinstance(n.value, str)
            ]
            wrong += [
                (path.relative_to(ROOT).as_posix(), text[:60])
                for text in strings
                if SQL.search(text)
            ]
    assert wrong == []


def test_no_page_brings_in_torch() -> None:
    """Importing everything that pages import must not load torch: it costs seconds and hundreds of
    megabytes per server.
    """
    names = sorted(
        {
            name
            for path in [*modules("dashboard/pages"), *modules("dashboard/views")]
            for name in imported(path)
            if name.split(".")[0] in ("core", "evaluation", "dashboard")
        }
    )
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.strip() == "False", "a page's imports load torch"


def test_a_command_that_does_not_compute_starts_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, "dashboard.cli"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.strip() == "False", "the command line's imports load torch"
