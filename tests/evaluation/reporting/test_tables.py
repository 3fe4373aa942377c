"""Tables: the pages' numbers in four formats, safe text, LaTeX that compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from core import store, study_folder
from core.errors import UserError
from core.store import run_table
from evaluation.intervals import decimal
from evaluation.queries import performance
from evaluation.queries import units as gallery
from evaluation.reporting.figures.reading_study import scored
from evaluation.reporting.tables import TABLES, Column, Table
from evaluation.reporting.tables.export import (
    FORMATS,
    excel,
    export_tables,
    latex,
    latex_text,
    markdown,
)


def silent(done: int, total: int, unit: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def written(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every table of the demonstration."""
    out = tmp_path_factory.mktemp("tables")
    done = export_tables(demonstration, ["all"], out, silent)
    assert [e.name for e in done if e.passport is None] == []
    return out


@pytest.mark.parametrize("name", list(TABLES))
def test_every_format_holds_the_same_rows(written: Path, name: str) -> None:
    assert all(
        (written / f"table_{name}.{suffix}").is_file() for suffix in (*FORMATS, "passport.json")
    )
    rows = pd.read_csv(written / f"table_{name}.csv", dtype=str, keep_default_na=False)
    sheet = openpyxl.load_workbook(written / f"table_{name}.xlsx").active
    assert [c.value for c in sheet[1]] == list(rows.columns)
    assert sheet.max_row == len(rows) + 3 and "SIMULATED" in sheet.cell(len(rows) + 3, 1).value
    body = (written / f"table_{name}.md").read_text().split("\n")
    assert sum(line.startswith("| ") for line in body) == len(rows) + 2
    tex = (written / f"table_{name}.tex").read_text()
    assert tex.count(r" \\") == len(rows) + 1 and all(
        rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule")
    )


def test_numbers_are_the_pages(demonstration: Path, written: Path) -> None:
    with store.read(demonstration) as con:
        run, dissect = run_table.latest(con, "evaluate"), run_table.latest(con, "dissect")
    table = pd.read_csv(written / "table_classifiers.csv")
    shown = (written / "table_classifiers.md").read_text()
    for level in performance.LEVELS:
        for r in performance.class_results(demonstration, run, "test", level):
            row = table[(table["Level"] == level) & (table["Class"] == r.name)].iloc[0]
            assert row["AUC"] == pytest.approx(r.auc.estimate, abs=1e-9)
            assert (
                f"{decimal(r.auc.estimate)} ({decimal(r.auc.low)} to {decimal(r.auc.high)})"
                in shown
                or r.auc.low is None
            )
    score = scored(demonstration)[1]
    reading = pd.read_csv(written / "table_reading.csv")
    for name, value in (
        ("Share right", score.primary.estimate),
        ("Exact binomial", score.binomial.estimate),
        ("AUC of the ratings", score.roc.estimate),
    ):
        shown_value = reading[reading["Result"].str.startswith(name)]["Value"].iloc[0]
        assert (
            pd.isna(shown_value) if value is None else shown_value == pytest.approx(value, abs=1e-9)
        )
    assert f"{score.primary.correct} of {score.primary.n}" in reading["Result"].iloc[0]
    rules = pd.read_csv(written / "table_truth_rules.csv")
    assert list(rules["Right"]) == [r.correct for r in score.rules]
    assert list(rules["P Exact"]) == pytest.approx(
        [r.binomial.p_value for r in score.rules], abs=1e-9
    )
    units = pd.read_csv(written / "table_units.csv", keep_default_na=False)
    assert list(units["Label"]) == list(gallery.rows(demonstration, dissect)["label"])


def test_cohort_adds_up(written: Path) -> None:
    rows = pd.read_csv(written / "table_cohort.csv").set_index("Characteristic")
    for name in ("Patients", "Mammograms"):
        parts = [
            int(str(rows.loc[name, c]).replace(",", ""))
            for c in ("Training", "Hold-out", "Test", "All")
        ]
        assert sum(parts[:3]) == parts[3] > 0


def hostile() -> Table:
    """A table with everything that a format may trip over."""
    return Table(
        (Column("What & why"), Column("Share", decimal, interval=True), Column("Words", long=True)),
        [
            ("=1+1", 0.5, 0.25, 0.75, r"100 % of $5_000 {a} \b | c ~ ^ #"),
            ("<b>", None, None, None, "≥ 1 – 2"),
        ],
        "A note: 50 %.",
    )


def test_text_is_safe_in_every_format(tmp_path: Path) -> None:
    tex = latex(hostile(), "A & B", "x")
    assert (
        r"100 \% of \$5\_000 \{a\} \textbackslash{}b" in tex
        and ".500 (.250 to .750)" in tex
        and "$<$b$>$" in tex
    )
    assert latex_text("a_b") == r"a\_b"
    assert "\\| c" in markdown(hostile(), "T")
    excel(hostile(), "T", tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    assert sheet["A2"].value == "=1+1" and sheet["A2"].data_type == "s" and sheet["B2"].value == 0.5


def test_missing_estimates_are_a_dash() -> None:
    assert hostile().shown()["Share (95 % CI)"].tolist() == [".500 (.250 to .750)", "–"]


def test_latex_compiles(written: Path, tmp_path: Path) -> None:
    engine = next(
        filter(None, map(shutil.which, ("pdflatex", "tectonic", "xelatex", "lualatex"))), None
    )
    if engine is None:
        pytest.skip("no TeX engine is installed here (pdflatex, tectonic, xelatex or lualatex)")
    inputs = "\n".join(
        (written / f"table_{name}.tex").read_text() + r"\clearpage" for name in TABLES
    ) + latex(hostile(), "A", "x")
    text = (
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{textcomp}\n\\usepackage{array}\n\\usepackage{booktabs}\n\\usepackage{longtable}\n"
        "\\begin{document}\n" + inputs + "\n\\end{document}\n"
    )
    (tmp_path / "all.tex").write_text(text, encoding="utf-8")
    options = [] if "tectonic" in engine else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [engine, *options, "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0 and (tmp_path / "all.pdf").stat().st_size > 1000, done.stdout[
        -2000:
    ]
    # Nothing runs off the page: words stay in their column but for a few points of the gap.
    log = (
        (tmp_path / "all.log").read_text(errors="replace")
        if (tmp_path / "all.log").exists()
        else done.stdout
    )
    assert [
        float(width)
        for width in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)
        if float(width) > 10
    ] == []
    assert not re.findall(r"Overfull \\vbox|Float too large", log)


def test_an_empty_study_says_what_is_missing(tmp_path: Path) -> None:
    done = export_tables(study_folder.init(tmp_path / "s"), [], tmp_path / "out", silent)
    missing = {e.name: e.step for e in done if e.passport is None}
    assert missing.keys() == set(TABLES) - {"checklist"} and all(missing.values())


def test_a_wrong_name_is_refused(demonstration: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table 'cohrt'"):
        export_tables(demonstration, ["cohrt"], tmp_path, silent)


def test_no_name_of_the_programs_own_is_printed(written: Path) -> None:
    for file in sorted(written.glob("*.md")):
        text = file.read_text().replace("\\", "")
        found = [
            name
            for name in (
                "any_malignant",
                "first_abnormality",
                "sign_flip",
                "exact_binomial",
                "image_explanation",
            )
            if name in text
        ]
        assert not found, (file.name, found)
    assert "any malignant" in (written / "table_protocol.md").read_text()
