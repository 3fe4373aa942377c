"""The R script repeats the primary analysis with the same result."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.primary import primary_analysis
from evaluation.reading_study.workflow import ClosedStudy
from evaluation.reporting.answers.r_script import r_files
from evaluation.reporting.answers.rows import answer_rows
from support.requirements import needs_r

Make = Callable[..., tuple[ClosedStudy, pd.DataFrame]]
DESIGNS: list[dict[str, Any]] = [
    {"primary": "exact_binomial"},
    {"primary": "exact_binomial", "side": "two-sided", "scale": 2},
    {"primary": "sign_flip"},
    {"primary": "sign_flip", "side": "two-sided", "missing_answers": "counted_wrong"},
    {"primary": "gee"},
    {"primary": "gee", "side": "two-sided", "missing_answers": "counted_wrong"},
    {"primary": "auc"},
    {"primary": "auc", "side": "two-sided", "alpha": 0.1},
    {"primary": "auc_difference", "side": "two-sided"},
    {"primary": "auc_difference", "goal": "noninferiority", "margin": 0.1},
]


def run_script(folder: Path, rows: pd.DataFrame, closed: ClosedStudy) -> list[str]:
    """Return the lines that the script prints."""
    script, data = r_files("primary.R", "primary_data.csv", rows, closed)
    (folder / "primary.R").write_text(script)
    (folder / "primary_data.csv").write_text(data)
    run = subprocess.run(
        ["Rscript", "--vanilla", str(folder / "primary.R")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_settings_of_the_script(closed_study: Make) -> None:
    """What R reads is checked without R as well."""
    closed, revisions = closed_study(
        primary="auc", side="two-sided", missing_answers="counted_wrong"
    )
    rows = answer_rows(revisions, closed.key, closed.design)
    script, data = r_files("primary.R", "primary_data.csv", rows, closed)
    result = primary_analysis(
        join_answers(closed.answers, closed.key, closed.design), closed.key, closed.design
    )
    assert "@" not in script
    for line in (
        'data = "primary_data.csv"',
        'primary = "auc"',
        'arms = c("explanation")',
        'side = "two-sided"',
        "margin = 0.0",
        "scale = 6",
        "threshold = 4",
        'missing_answers = "counted_wrong"',
        f"estimate = {result.estimate!r}",
        f"p_value = {result.p_value!r}",
    ):
        assert f"  {line}" in script, line
    table = pd.read_csv(io.StringIO(data))
    # 44 cases of the arm for each of three readers, those without an answer with an empty cell.
    assert len(table) == 3 * 44 and table["answer"].isna().sum() == result.missing > 0
    assert set(table["arm"]) == {"explanation"} and table["patient"].notna().all()


@needs_r
@pytest.mark.parametrize("settings", DESIGNS, ids=lambda s: "-".join(map(str, s.values())))
def test_r_agrees(closed_study: Make, tmp_path: Path, settings: dict[str, Any]) -> None:
    closed, revisions = closed_study(**settings)
    rows = answer_rows(revisions, closed.key, closed.design)
    lines = run_script(tmp_path, rows, closed)
    compared = lines[lines.index("quantity,R,DeepMiner,agrees") + 1 : -1]
    assert lines[-1] == "all agree: TRUE ", lines
    wanted = ["estimate", "p_value"] + ([] if settings["primary"] == "sign_flip" else ["low"])
    assert [line.split(",")[0] for line in compared][: len(wanted)] == wanted


@needs_r
def test_r_reports_a_difference_and_a_missing_result(closed_study: Make, tmp_path: Path) -> None:
    closed, revisions = closed_study(primary="gee")
    rows = answer_rows(revisions, closed.key, closed.design)
    assert run_script(tmp_path, rows.assign(answer=7 - rows["answer"]), closed)[-1] == (
        "all agree: FALSE "
    )
    right = closed.answers.merge(closed.key[["case_number", "truth"]], on="case_number")
    answers = right.assign(answer=right["truth"].eq("malignant") * 5 + 1).drop(columns="truth")
    all_right = replace(closed, answers=answers)
    rows = answer_rows(answers, closed.key, closed.design)
    lines = run_script(tmp_path, rows, all_right)
    # All answers right: exact binomial, one answer a patient.
    assert lines[-1] == "all agree: TRUE " and "estimate,1,1,TRUE" in lines
