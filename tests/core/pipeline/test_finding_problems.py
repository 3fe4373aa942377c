"""Findings that cannot be right are listed, and keep their films from giving patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core import settings, store
from core.errors import UserError
from core.pipeline import ingest, patches
from core.pipeline.ingestion.source_check import check_source
from core.pipeline.inputs import load_mammogram_table
from core.store import dataset_table, problem_table, run_table
from core.study_folder import create_study
from support.dicom_writer import write_dicom
from support.study_templates import copy_template

CHOSEN = settings.settings_from_preset(settings.PHANTOM_PRESET)
HEIGHT, WIDTH = 300, 256


def build_empty_study(path: Path) -> None:
    create_study(path, CHOSEN)


def quiet(*_: object) -> None:
    return None


def draw_film(seed: int) -> np.ndarray:
    """Return a breast at the left edge, 130 px deep, on black."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = np.random.default_rng(seed).normal(110, 12, (HEIGHT, WIDTH))
    breast = (x / 130) ** 2 + ((y - 150) / 110) ** 2 < 1
    return np.where(breast, texture, 2).clip(0, 255).astype(np.uint8)


def build_study(tmp_path: Path, outlines: list[str]) -> Path:
    """Return a study with one malignant finding on each of several films, a film a patient."""
    lines = ["image,patient,laterality,view,pathology,outline"]
    for k, outline in enumerate(outlines):
        Image.fromarray(draw_film(k)).save(tmp_path / f"{k}.png")
        lines.append(f'{k}.png,P{k},LEFT,CC,MALIGNANT,"{outline}"')
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    study = copy_template(build_empty_study, tmp_path / "study")
    ingest.ingest(study, CHOSEN, "manifest", tmp_path / "table.csv", quiet)
    return study


def extract(study: Path, changed: settings.Settings = CHOSEN) -> tuple[str, dict, pd.DataFrame]:
    """Return the patches run, its counts of dropped films, and its patches by film and label."""
    run = patches.run_patch_extraction(study, changed, quiet).run
    with store.read(study) as con:
        table = dataset_table.load_patches(con, run)
        dropped = run_table.load_run(con, run)["manifest"]["dropped"]
    return run, dropped, table.groupby("mammogram_id")["label"].max()


def decide(study: Path, code: str, resolution: str | None) -> None:
    with store.write(study) as con:
        for name in problem_table.list_problems(con, code=code)["problem_id"]:
            problem_table.resolve_problems(con, [name], resolution, "team")


def codes(study: Path) -> list[tuple[str, str]]:
    with store.read(study) as con:
        listed = problem_table.list_problems(con, open_only=True)
    return list(zip(listed["mammogram_id"], listed["code"]))


def test_undecided_films_give_no_patches(tmp_path: Path) -> None:
    study = build_study(tmp_path, ["box 30 120 80 170", "box 190 120 240 170"])
    assert codes(study) == [("P1.LEFT_CC", "outside_breast")]
    first, dropped, worst = extract(study)
    assert worst.to_dict() == {"P0.LEFT_CC": 2} and dropped["undecided_films"] == 1
    assert extract(study)[0] == first, "the same run answers again"
    decide(study, "outside_breast", problem_table.LEFT_OUT)
    assert extract(study)[2].to_dict() == {"P0.LEFT_CC": 2}
    # The outline was accepted: the film gives patches, normal ones.
    decide(study, "outside_breast", problem_table.ACCEPTED)
    second, dropped, worst = extract(study)
    assert worst.to_dict() == {"P0.LEFT_CC": 2, "P1.LEFT_CC": 0}
    assert dropped["undecided_films"] == 0 and second != first


def test_a_film_that_is_left_out_gives_no_patches(tmp_path: Path) -> None:
    """Also where its doubtful outline would count in patches."""
    study = build_study(tmp_path, ["box 30 120 80 170", "box 0 0 256 300"])
    assert codes(study) == [("P1.LEFT_CC", "whole_film")]
    decide(study, "whole_film", problem_table.LEFT_OUT)
    assert extract(study)[2].to_dict() == {"P0.LEFT_CC": 2}
    decide(study, "whole_film", problem_table.ACCEPTED)
    assert extract(study)[2].to_dict() == {"P0.LEFT_CC": 2, "P1.LEFT_CC": 2}


def test_finding_that_reaches_no_patch(tmp_path: Path) -> None:
    # At the rim of the breast no window with this much tissue holds the finding.
    study = build_study(tmp_path, ["box 30 120 80 170", "box 94 84 108 100"])
    assert codes(study) == []
    strict = CHOSEN.with_changes("patches", min_tissue=0.95)
    _, dropped, worst = extract(study, strict)
    assert codes(study) == [("P1.LEFT_CC", "reaches_no_patch")]
    assert worst.to_dict() == {"P0.LEFT_CC": 2} and dropped["undecided_films"] == 1
    # With the usual share of tissue it reaches one, and the problem leaves the list.
    _, dropped, worst = extract(study)
    assert worst.to_dict() == {"P0.LEFT_CC": 2, "P1.LEFT_CC": 2} and codes(study) == []


def test_a_source_called_right_still_has_its_outlines_checked(tmp_path: Path) -> None:
    rim, air = "box 94 84 108 100", "box 190 120 240 170"
    study = build_study(tmp_path, ["box 30 120 80 170", rim, air, air, air])
    assert ("P1.LEFT_CC", "doubtful_source") in codes(study)
    decide(study, "doubtful_source", problem_table.ACCEPTED)
    extract(study, CHOSEN.with_changes("patches", min_tissue=0.95))
    assert ("P1.LEFT_CC", "reaches_no_patch") in codes(study)


def test_outline_in_other_units_by_its_size(tmp_path: Path) -> None:
    """A single one that lies in the breast as it is; a large one that is right is not listed."""
    enlarged, large = "box 25 175 75 225", "box 20 60 80 120"
    study = build_study(tmp_path, ["box 10 70 30 90", "box 40 150 62 172"] * 10 + [enlarged, large])
    assert codes(study) == [("P20.LEFT_CC", "unusual_size")]
    check = check_source(study, CHOSEN, "manifest", tmp_path / "table.csv", quiet)
    assert [problem["code"] for problem in check.problems] == ["unusual_size"]
    assert "P20.LEFT_CC" not in extract(study)[2].index
    decide(study, "unusual_size", problem_table.ACCEPTED)
    assert "P20.LEFT_CC" in extract(study)[2].index


def test_nothing_remains(tmp_path: Path) -> None:
    study = build_study(tmp_path, ["box 190 120 240 170"])
    with pytest.raises(UserError, match="findings of 1 mammograms are doubtful"):
        extract(study)


def test_contradictions_and_doubtful_tissue_are_listed(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", draw_film(0), 8, ImageLaterality="R", ViewPosition="MLO")
    Image.fromarray(np.random.default_rng(0).integers(90, 160, (300, 256)).astype(np.uint8)).save(
        tmp_path / "b.png"
    )
    (tmp_path / "table.csv").write_text(
        "image,patient,laterality,view,pathology\na.dcm,P0,LEFT,CC,NORMAL\n"
        "b.png,P1,LEFT,CC,NORMAL\n"
    )
    study = copy_template(build_empty_study, tmp_path / "study")
    ingest.ingest(study, CHOSEN, "manifest", tmp_path / "table.csv", quiet)
    assert codes(study) == [
        ("P0.LEFT_CC", "side_contradiction"),
        ("P0.LEFT_CC", "view_contradiction"),
        ("P1.LEFT_CC", "doubtful_tissue"),
    ]
    # Listed, but used: nothing of it makes a patch's label wrong.
    assert set(extract(study)[2].index) == {"P0.LEFT_CC", "P1.LEFT_CC"}


def test_magnification_views_can_be_left_out(tmp_path: Path) -> None:
    factor = {"EstimatedRadiographicMagnificationFactor": "1.8"}
    write_dicom(tmp_path / "a.dcm", draw_film(0), 8, **factor)
    write_dicom(tmp_path / "b.dcm", draw_film(1), 8)
    (tmp_path / "table.csv").write_text(
        "image,patient,laterality,view,pathology\na.dcm,P0,LEFT,CC,NORMAL\n"
        "b.dcm,P0,LEFT,MLO,NORMAL\n"
    )
    study = copy_template(build_empty_study, tmp_path / "study")
    ingest.ingest(study, CHOSEN, "manifest", tmp_path / "table.csv", quiet)
    assert codes(study) == [("P0.LEFT_CC", "magnification_view")]
    splits = ["train", "holdout", "test"]
    kept, _, worst = extract(study)
    assert len(worst) == 2 and len(load_mammogram_table(study, kept, splits)) == 2
    left_out, dropped, worst = extract(
        study, CHOSEN.with_changes("images", magnification_views="leave_out")
    )
    assert list(worst.index) == ["P0.LEFT_MLO"] and dropped["magnification_views"] == 1
    remaining = load_mammogram_table(study, left_out, splits)
    assert remaining["mammogram_id"].tolist() == ["P0.LEFT_MLO"]


def test_a_mammogram_left_out_for_itself_is_used_in_no_step(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", draw_film(0), 8, PresentationIntentType="FOR PROCESSING")
    write_dicom(tmp_path / "b.dcm", draw_film(1), 8)
    (tmp_path / "table.csv").write_text(
        "image,patient,laterality,view,pathology\na.dcm,P0,LEFT,CC,NORMAL\n"
        "b.dcm,P0,LEFT,MLO,NORMAL\nc.dcm,P1,LEFT,CC,NORMAL\n"
    )
    study = copy_template(build_empty_study, tmp_path / "study")
    table = tmp_path / "table.csv"
    ingest.ingest(study, CHOSEN, "manifest", table, quiet, skip_bad=True)
    first, _, worst = extract(study)
    assert len(worst) == 2
    decide(study, "for_processing", problem_table.LEFT_OUT)
    second, dropped, worst = extract(study)
    assert list(worst.index) == ["P0.LEFT_MLO"] and dropped["left_out"] == 1 and second != first
    remaining = load_mammogram_table(study, second, ["train", "holdout", "test"])
    assert remaining["mammogram_id"].tolist() == ["P0.LEFT_MLO"]
    decide(study, "for_processing", None)
    assert extract(study)[0] == first
    # What concerns no mammogram of the study cannot be left out.
    with pytest.raises(UserError, match=r"\(P1\) concerns no mammogram of the study"):
        decide(study, "source", problem_table.LEFT_OUT)
    decide(study, "source", problem_table.ACCEPTED)
