"""Structure of the code: rules that import-linter's contracts in pyproject.toml cannot express."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from support.paths import ROOT

PRODUCT = ("core", "evaluation", "dashboard")
SQL = re.compile(r"\b(SELECT .* FROM|INSERT INTO|UPDATE .* SET|DELETE FROM|CREATE TABLE)\b")
MAX_FILES_PER_PACKAGE = 14
MAX_DUPLICATED_NAMES = 40
# Public names that more than two modules may define, with the reason.
_SOURCE = "every data source has the same interface (core.pipeline.ingest)"
SHARED_NAMES = {
    "SIMULATED": _SOURCE,
    "TRUTH_BASIS": _SOURCE,
    "list_tasks": _SOURCE,
    "task_files": _SOURCE,
    "read_patient": _SOURCE,
    "ROUTES": "each package of browser components lists its HTTP routes",
    "mount": "each browser component has one function that shows it",
    "app": "each module of commands has one Typer application",
}
LOAD_MODULES = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # a name inside a module, not a module
        if not error.name.startswith(("core", "evaluation", "dashboard")):
            raise
print("torch" in sys.modules)
"""
INTERFACE = {
    "evaluation.proportion": (
        "exact_binomial_test proportion_interval clustered_proportion mcnemar adjust"
    ),
    "evaluation.roc": (
        "auc auc_interval compare_aucs partial_auc multiclass_auc diagnostic_table calibration"
    ),
    "evaluation.agreement": "cohen_kappa fleiss_kappa krippendorff_alpha gwet_ac1",
    "evaluation.power": "binomial_sample_size binomial_power",
    "evaluation.mrmc": "obuchowski_rockette",
    "evaluation.coverage": "unit_coverage",
    "evaluation.similarity": "greedy_matching report_tokens",
    "core.sources.ljpeg": "decode",
    "core.sources.ddsm": "read_ics read_overlay fill_outline",
    "core.networks": "build load_published_checkpoint to_fully_convolutional",
    "core": "open_study",
}


def _modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_the_store_opens_the_database() -> None:
    outside = [p for p in _modules(*PRODUCT) if "store" not in p.relative_to(ROOT).parts]
    # A layout engine of matplotlib has a method of this name.
    callers = [
        _relative(path)
        for path in outside
        if re.search(
            r"(?<!layout_engine)\.execute\(|duckdb\.connect\(", path.read_text(encoding="utf-8")
        )
    ]
    assert callers == []
    connecting = [
        path.name
        for path in _modules("core/store")
        if "duckdb.connect(" in path.read_text(encoding="utf-8")
    ]
    assert connecting == ["connection.py"]


def test_sql_is_written_only_in_the_store() -> None:
    hits = []
    for path in _modules(*PRODUCT):
        if "store" in path.relative_to(ROOT).parts:
            continue
        source = path.read_text(encoding="utf-8")
        # A walk through the tree of every module takes seconds.
        if not re.search("SELECT|INSERT|UPDATE|DELETE|CREATE", source):
            continue
        for node in ast.walk(ast.parse(source)):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and SQL.search(text):
                hits.append(f"{_relative(path)}:{node.lineno}")
    assert hits == []


def test_pages_do_not_load_torch() -> None:
    """Torch costs each server process seconds and hundreds of megabytes."""
    names = sorted(
        name
        for path in _modules("dashboard/pages", "dashboard/views")
        for name in _imported_names(path)
        if name.split(".")[0] in PRODUCT
    )
    command = [sys.executable, "-c", LOAD_MODULES, *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False", "an import of a page loads torch"


def test_the_command_line_starts_without_torch() -> None:
    command = [sys.executable, "-c", LOAD_MODULES, "dashboard.cli"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False", "an import of the command line loads torch"


def test_public_names_are_defined_once() -> None:
    """A name that several modules define needs an alias at import and cannot be searched for."""
    modules_of = defaultdict(set)
    for path in _modules(*PRODUCT):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            else:
                continue
            for name in names:
                if not name.startswith("_"):
                    modules_of[name].add(_relative(path))
    repeated = {name: sorted(files) for name, files in modules_of.items() if len(files) > 1}
    frequent = {
        name: files
        for name, files in repeated.items()
        if len(files) > 2 and name not in SHARED_NAMES
    }
    assert frequent == {}
    assert len(repeated) <= MAX_DUPLICATED_NAMES, sorted(repeated)


def test_wide_records_are_built_by_keyword() -> None:
    """One field inserted into a positional record of many numbers would shift them silently."""
    positional = []
    for path in _modules(*PRODUCT):
        source = path.read_text(encoding="utf-8")
        if "dataclass" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.ClassDef):
                continue
            decorators = [ast.unparse(d) for d in node.decorator_list]
            if not any("dataclass" in d for d in decorators):
                continue
            fields = [b for b in node.body if isinstance(b, ast.AnnAssign)]
            if len(fields) >= 6 and not any("kw_only=True" in d for d in decorators):
                positional.append(f"{_relative(path)} {node.name}")
    assert positional == []


def test_packages_are_small_and_state_their_subject() -> None:
    too_full, undocumented = [], []
    for folder in sorted({path.parent for path in _modules(*PRODUCT)}):
        files = list(folder.glob("*.py"))
        if len(files) > MAX_FILES_PER_PACKAGE:
            too_full.append((_relative(folder), len(files)))
        init = folder / "__init__.py"
        if init.is_file() and not ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))):
            undocumented.append(_relative(init))
    assert (too_full, undocumented) == ([], [])


def test_public_interface_is_importable() -> None:
    """Scripts outside the project rely on these names."""
    missing = [
        f"{module}.{name}"
        for module, names in INTERFACE.items()
        for name in names.split()
        if not hasattr(importlib.import_module(module), name)
    ]
    assert missing == []


# Methods of Playwright that read a page as it is at one moment.
MOMENTARY = {
    "all_inner_texts",
    "all_text_contents",
    "get_attribute",
    "inner_text",
    "input_value",
    "is_checked",
    "is_disabled",
    "is_enabled",
    "is_hidden",
    "is_visible",
    "text_content",
}


def test_browser_tests_wait_for_what_they_assert() -> None:
    """An assertion on a page goes through `expect`, which waits: a busy machine draws it later."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.browser" not in text:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{statement.lineno}"
            for statement in ast.walk(ast.parse(text))
            if isinstance(statement, ast.Assert)
            for call in ast.walk(statement.test)
            if isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and (call.func.attr in MOMENTARY or (call.func.attr == "count" and not call.args))
        ]
    assert found == []
