"""Check of a source without writing, and contact sheets of a study."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import store
from core.pipeline.ingest import ingest
from core.pipeline.ingestion.source_check import check_source, draw_study_sheets
from core.settings import load_settings
from core.store import problem_table
from core.study_folder import create_study
from support.synthetic_study import draw_mammogram


def no_report(*_) -> None:
    """Progress is not looked at."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A table of three patients: one fine, one outlined in the air, one without its file."""
    generator = np.random.default_rng(1)
    rows = []
    for patient, box in (("P1", "60,150,110,200"), ("P2", "225,10,250,40"), ("P3", "1,1,2,2")):
        if patient != "P3":
            Image.fromarray(draw_mammogram(generator)).save(tmp_path / f"{patient}.png")
        x0, y0, x1, y1 = map(int, box.split(","))
        outline = f"{x0},{y0};{x1},{y0};{x1},{y1};{x0},{y1}"
        rows.append(
            {
                "patient_id": patient,
                "image": f"{patient}.png",
                "laterality": "LEFT",
                "view": "CC",
                "pathology": "MALIGNANT",
                "outline": outline,
            }
        )
    table = tmp_path / "manifest.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


@pytest.fixture
def study(tmp_path: Path) -> Path:
    create_study(tmp_path / "study")
    (tmp_path / "study" / "study.toml").write_text("[images]\ninput_side = 64\n")
    return tmp_path / "study"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_check_lists_what_an_ingestion_would_and_writes_nothing(source, study, tmp_path):
    settings, before = load_settings(study), snapshot(study)
    checked = check_source(
        study, settings, "manifest", source, no_report, sheet=tmp_path / "sheet.png"
    )
    assert snapshot(study) == before
    assert (checked.patients, checked.mammograms, checked.findings) == (2, 2, 2)
    assert checked.problems[0]["item"].startswith("P3")
    kinds = {row.get("code") for row in checked.problems}
    assert kinds & {"outside_breast", "mirrored_position"}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
    ingest(study, settings, "manifest", source, no_report, skip_bad=True)
    with store.read(study) as con:
        listed = problem_table.list_problems(con)
    assert sorted(zip(listed["item"], listed["cause"])) == sorted(
        (row["item"], row["cause"]) for row in checked.problems
    )


def test_a_check_compares_the_films_of_a_source(source, study, tmp_path):
    """A source that is doubtful as a whole is listed as an ingestion lists it."""
    generator = np.random.default_rng(2)
    rows = list(csv.DictReader(source.read_text().splitlines()))
    table = []
    for k in range(8):
        Image.fromarray(draw_mammogram(generator)).save(tmp_path / f"Q{k}.png")
        # The second row of the table has its outline in the air.
        table.append(rows[1 if k < 3 else 0] | {"patient_id": f"Q{k}", "image": f"Q{k}.png"})
    with source.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(table)
    checked = check_source(study, load_settings(study), "manifest", source, no_report)
    assert sum(row["code"] == "doubtful_source" for row in checked.problems) == 8
    ingest(study, load_settings(study), "manifest", source, no_report)
    with store.read(study) as con:
        listed = problem_table.list_problems(con)
    assert sorted(zip(listed["item"], listed["code"], listed["cause"])) == sorted(
        (row["item"], row["code"], row["cause"]) for row in checked.problems
    )


def test_a_check_sees_patients_that_are_in_the_study(source, study):
    settings = load_settings(study)
    ingest(study, settings, "manifest", source, no_report, skip_bad=True)
    # The same source again: its patients would stay as they are.
    checked = check_source(study, settings, "manifest", source, no_report)
    assert [row["cause"] for row in checked.problems if row["item"] == "P1"] == []
    other = source.rename(source.with_name("other.csv"))
    checked = check_source(study, settings, "manifest", other, no_report)
    causes = [row["cause"] for row in checked.problems if row["item"] == "P1"]
    assert causes == ["patient P1 is in the study already"]


def test_sheets_of_a_study_begin_with_the_doubtful(source, study, tmp_path):
    ingest(study, load_settings(study), "manifest", source, no_report, skip_bad=True)
    (file,) = draw_study_sheets(study, tmp_path / "study.png")
    with Image.open(file) as sheet:
        frame = np.asarray(sheet)[6, 6:176]
    # Amber: the frame of a doubtful mammogram.
    assert (frame == (255, 180, 84)).all()
