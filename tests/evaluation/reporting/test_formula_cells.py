"""Texts of people in the CSV files of tables and figures: no cell starts a formula."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from core import study_folder
from evaluation.reporting.figures.base import FigureResult, FigureSpec
from evaluation.reporting.figures.export import export_figure
from evaluation.reporting.tables import Table, TableColumn, TableSpec
from evaluation.reporting.tables.export import export_table

FORMULA = '=HYPERLINK("http://evil.example","Mass")'


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return study_folder.create_study(tmp_path / "study")


def cells(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_csv_of_a_table(study: Path, tmp_path: Path) -> None:
    table = Table((TableColumn("Label"), TableColumn("n")), [(FORMULA, -3)], "Note.")
    spec = TableSpec(name="x", title="X", needs=(), required=(), build=lambda _: table)
    export_table(study, spec, tmp_path)
    assert cells(tmp_path / "table_x.csv")[1] == [f"'{FORMULA}", "-3"]


def test_csv_of_a_figure(study: Path, tmp_path: Path) -> None:
    result = FigureResult(
        figure=Figure((1, 1)),
        data={"values": pd.DataFrame({"label": [FORMULA], "n": [-3.5]})},
        caption="Caption.",
        counts={},
        method="Method.",
    )
    spec = FigureSpec(name="x", title="X", needs=(), required=(), width=85, plot=lambda *_: result)
    export_figure(study, spec, tmp_path, None, ["svg"])
    assert cells(tmp_path / "x.values.csv")[1] == [f"'{FORMULA}", "-3.5"]
