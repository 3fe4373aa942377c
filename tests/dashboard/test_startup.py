"""Commands start fast: they import only what they use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.study_folder import create_study
from dashboard.cli import app
from support.paths import ROOT

COMPUTATION = {
    "matplotlib",
    "plotly",
    "scipy.optimize",
    "scipy.stats",
    "sklearn",
    "streamlit",
    "torch",
    "torchvision",
}
# Boxes around help texts would take as long as the command line itself.
DECORATION = {"markdown_it", "rich"}
TABLES = {"duckdb", "numpy", "pandas", "pyarrow", "scipy"}
PROBE = """
import json, sys
from dashboard.cli import app
try:
    app(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported_modules(*arguments: str) -> set[str]:
    """Return the modules that a command has imported when it ends."""
    command = [sys.executable, "-c", PROBE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("reading", "--help")])
def test_help_imports_neither_tables_nor_computation(arguments: tuple[str, ...]) -> None:
    assert imported_modules(*arguments) & (COMPUTATION | TABLES | DECORATION) == set()


def test_help_has_whole_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for group, sentence in (
        (
            [],
            "Import the mammograms and findings of a source; if a patient fails, nothing is added.",
        ),
        (["labels"], "Confirm or correct the BI-RADS categories of one label in free text."),
    ):
        printed = CliRunner().invoke(app, [*group, "--help"]).stdout
        assert sentence in " ".join(printed.split())
        assert "..." not in printed.split("Commands:")[1]


def test_status_imports_no_computation(tmp_path: Path) -> None:
    study = create_study(tmp_path / "study")
    # The analysis of reading studies is imported for closed ones only.
    left_out = COMPUTATION | {"evaluation.reading_study"}
    assert imported_modules("status", str(study)) & left_out == set()


def test_status_of_a_closed_reading_study_imports_no_computation(own_study: Path) -> None:
    assert imported_modules("status", str(own_study)) & COMPUTATION == set()


def test_figures_import_no_network_and_no_reader_of_source_images() -> None:
    """Each process that exports figures imports them anew."""
    statements = "import json, sys, evaluation.reporting.figures.export"
    code = f"{statements}; print(json.dumps([*sys.modules]))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    left_out = {"pydicom", "scipy.cluster", "scipy.ndimage", "scipy.sparse", "scipy.spatial"}
    drawing = {"matplotlib", "scipy"}
    assert set(json.loads(done.stdout)) & (COMPUTATION - drawing | left_out) == set()
