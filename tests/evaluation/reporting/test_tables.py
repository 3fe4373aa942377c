"""Tables: the same numbers in four formats, escaped text, LaTeX that compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from pypdf import PdfReader

from core import store, study_folder
from core.errors import UserError
from core.store import run_table
from evaluation.intervals import decimal
from evaluation.queries import performance
from evaluation.queries.observations import LEVELS, load_observations
from evaluation.queries.units import selected_units
from evaluation.reporting.base import load_closed_study
from evaluation.reporting.tables import TABLES, Table, TableColumn
from evaluation.reporting.tables.export import (
    TABLE_FORMATS,
    escape_latex,
    export_tables,
    to_latex,
    to_markdown,
    write_excel,
)
from evaluation.roc import auc_interval
from evaluation.roc.partial_area import partial_auc
from evaluation.roc.resampled_curves import partial_auc_interval, specificity_interval

WRITTEN = [name for name in TABLES if name != "questions"]


def silent(done: int, total: int, unit: str) -> None:
    """Ignore progress."""


@pytest.fixture(scope="module")
def written(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export every table of the demonstration."""
    out = tmp_path_factory.mktemp("tables")
    exports = export_tables(demonstration, ["all"], out, silent)
    # The reading study of the demonstration asks its readers no question.
    assert {e.name for e in exports if e.record is None} == set(TABLES) - set(WRITTEN)
    return out


@pytest.mark.parametrize("name", WRITTEN)
def test_formats_have_same_rows(written: Path, name: str) -> None:
    assert all(
        (written / f"table_{name}.{suffix}").is_file()
        for suffix in (*TABLE_FORMATS, "provenance.json")
    )
    rows = pd.read_csv(written / f"table_{name}.csv", dtype=str, keep_default_na=False)
    sheet = openpyxl.load_workbook(written / f"table_{name}.xlsx").active
    assert [c.value for c in sheet[1]] == list(rows.columns)
    assert sheet.max_row == len(rows) + 3 and "SIMULATED" in sheet.cell(len(rows) + 3, 1).value
    body = (written / f"table_{name}.md").read_text().split("\n")
    assert sum(line.startswith("| ") for line in body) == len(rows) + 1
    tex = (written / f"table_{name}.tex").read_text()
    assert all(rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    # A table over several pages has its headings twice: on the first page, and on the others.
    headings = tex.count(r"\toprule")
    lines = [line for line in tex.split("\n") if " & " in line and line.endswith(r" \\")]
    assert len(lines) == len(rows) + headings


def test_numbers_match_results(demonstration: Path, written: Path) -> None:
    with store.read(demonstration) as con:
        run, dissect = run_table.latest_run(con, "evaluate"), run_table.latest_run(con, "dissect")
    table = pd.read_csv(written / "table_classifiers.csv")
    printed = (written / "table_classifiers.md").read_text()
    for level in LEVELS:
        for r in performance.load_class_results(demonstration, run, "test", level):
            row = table[(table["Level"] == level) & (table["Class"] == r.name)].iloc[0]
            assert row["AUC"] == pytest.approx(r.auc.estimate, abs=1e-9)
            assert (
                f"{decimal(r.auc.estimate)} ({decimal(r.auc.low)} to {decimal(r.auc.high)})"
                in printed
                or r.auc.low is None
            )
    score = load_closed_study(demonstration)[1]
    reading = pd.read_csv(written / "table_reading.csv")
    endpoints = {"proportion": "proportion correct", "auc": "AUC of the ratings"}
    others = {
        "proportion": ("AUC of the ratings", score.roc),
        "auc": ("Proportion correct", score.proportion),
    }
    other, quantity = others[score.primary.endpoint]
    for name, value in (
        (f"Primary: {endpoints[score.primary.endpoint]}", score.primary.estimate),
        (other, quantity.estimate),
        ("Specificity", score.table.specificity.estimate),
    ):
        printed_value = reading[reading["Result"].str.startswith(name)]["Value"].iloc[0]
        assert (
            pd.isna(printed_value)
            if value is None
            else printed_value == pytest.approx(value, abs=1e-9)
        )
    assert f"{score.primary.correct} of {score.primary.n}" in "".join(reading["Result"].iloc[:2])
    rules = pd.read_csv(written / "table_truth_rules.csv")
    assert list(rules["Correct"]) == [r.correct for r in score.rules]
    assert list(rules["P Exact"]) == pytest.approx(
        [r.binomial.p_value for r in score.rules], abs=1e-9
    )
    units = pd.read_csv(written / "table_units.csv", keep_default_na=False)
    assert list(units["Label"]) == list(selected_units(demonstration, dissect)["label"])


def test_cohort_sums(written: Path) -> None:
    rows = pd.read_csv(written / "table_cohort.csv").set_index("Characteristic")
    for name in ("Patients", "Mammograms"):
        parts = [
            int(str(rows.loc[name, c]).replace(",", ""))
            for c in ("Training", "Hold-out", "Test", "All")
        ]
        assert sum(parts[:3]) == parts[3] > 0


def special_signs() -> Table:
    """Return a table with every sign that has a meaning in one of the formats."""
    return Table(
        (
            TableColumn("What & why"),
            TableColumn("Share", decimal, interval=True),
            TableColumn("Words", wrap=True),
        ),
        [
            ("=1+1", 0.5, 0.25, 0.75, r"100 % of $5_000 {a} \b | c ~ ^ #"),
            ("<b>", None, None, None, "≥ 1 – 2"),
        ],
        "A note: 50 %.",
    )


def test_special_signs_are_escaped(tmp_path: Path) -> None:
    tex = to_latex(special_signs(), "A & B", "x")
    assert (
        r"100~\% of \$5\_000 \{a\} \textbackslash b" in tex
        and r"$\geq$ 1 – 2" in tex
        and ".500 (.250 to .750)" in tex
        and "<b> & " in tex
        and r"\caption{A \& B. A note: 50 \%.}" in tex
    )
    assert escape_latex("a_b") == r"a\_b"
    assert "\\| c" in to_markdown(special_signs(), "T")
    write_excel(special_signs(), "T", tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    assert sheet["A2"].value == "=1+1" and sheet["A2"].data_type == "s" and sheet["B2"].value == 0.5


def test_missing_estimate_is_dash() -> None:
    assert special_signs().printed_frame()["Share (95 % CI)"].tolist() == [
        ".500 (.250 to .750)",
        "–",
    ]


def test_latex_compiles(written: Path, tmp_path: Path) -> None:
    engine = next(
        filter(None, map(shutil.which, ("pdflatex", "tectonic", "xelatex", "lualatex"))), None
    )
    if engine is None:
        pytest.skip("no TeX engine is installed here (pdflatex, tectonic, xelatex or lualatex)")
    inputs = "\n".join(
        (written / f"table_{name}.tex").read_text() + r"\clearpage" for name in WRITTEN
    ) + to_latex(special_signs(), "A", "x")
    packages = r"\usepackage[T1]{fontenc}\usepackage{lmodern,booktabs,xltabular,pdflscape}"
    text = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "all.tex").write_text(text, encoding="utf-8")
    options = [] if "tectonic" in engine else ["-interaction=nonstopmode", "-halt-on-error"]
    # xltabular needs a second run for the widths of its columns.
    for _ in range(2):
        finished = subprocess.run(
            [engine, *options, "all.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout[-2000:]
    text = "".join(page.extract_text() for page in PdfReader(tmp_path / "all.pdf").pages)
    assert "<b>" in text and "$5_000 {a}" in text
    # Nothing runs off the page; a long word may extend a few points into the gap.
    log = (
        (tmp_path / "all.log").read_text(errors="replace")
        if (tmp_path / "all.log").exists()
        else finished.stdout
    )
    assert [
        float(width)
        for width in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)
        if float(width) > 10
    ] == []
    assert not re.findall(r"Overfull \\vbox|Float too large", log)


def test_missing_inputs_name_their_step(tmp_path: Path) -> None:
    exports = export_tables(study_folder.create_study(tmp_path / "s"), [], tmp_path / "out", silent)
    missing = {e.name: e.step for e in exports if e.record is None}
    assert missing.keys() == set(TABLES) - {"checklist"} and all(missing.values())


def test_unknown_name(demonstration: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table 'cohrt'"):
        export_tables(demonstration, ["cohrt"], tmp_path, silent)


def test_no_identifiers_in_print(written: Path) -> None:
    for file in sorted(written.glob("*.md")):
        text = file.read_text().replace("\\", "")
        identifiers = [
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
        assert not identifiers, (file.name, identifiers)
    assert "any malignant" in (written / "table_protocol.md").read_text()


def test_every_column_of_the_classifiers(demonstration: Path, written: Path) -> None:
    """Each column of numbers is computed here anew from the observations."""
    with store.read(demonstration) as con:
        run = run_table.latest_run(con, "evaluate")
    table = pd.read_csv(written / "table_classifiers.csv")
    printed = (written / "table_classifiers.md").read_text()
    for level in LEVELS:
        observations = load_observations(demonstration, run, "test", level)
        for name in observations.classes:
            truth, score = observations.against_rest(name)
            patient, resamples = observations.patient, performance.CURVE_RESAMPLES
            part = partial_auc(truth, score)
            area = partial_auc_interval(truth, score, patient, resamples=resamples)
            specificity = specificity_interval(truth, score, patient, resamples=resamples)
            auc = auc_interval(truth, score, patient)
            expected = {
                "n": len(truth),
                "Patients": len(set(patient)),
                "AUC": auc.estimate,
                "AUC 95 % low": auc.low,
                "AUC 95 % high": auc.high,
                "pAUC raw": part.raw,
                "pAUC raw 95 % low": area.low,
                "pAUC raw 95 % high": area.high,
                "pAUC / 0.2": part.raw / 0.2,
                "pAUC McClish": part.mcclish,
                "DeepMiner 2021 formula": part.deepminer_2021,
                "Specificity at .8": specificity.estimate,
                "Specificity at .8 95 % low": specificity.low,
                "Specificity at .8 95 % high": specificity.high,
            }
            row = table[(table["Level"] == level) & (table["Class"] == name)].iloc[0]
            assert list(row.index) == ["Level", "Class", *expected, "Remark"]
            for column, value in expected.items():
                assert pd.isna(row[column]) == (value is None), column
                assert value is None or row[column] == pytest.approx(value, abs=1e-9), column
            for interval in (area, specificity):
                if interval.low is not None:
                    bounds = f"({decimal(interval.low)} to {decimal(interval.high)})"
                    assert f"{decimal(interval.estimate)} {bounds}" in printed
