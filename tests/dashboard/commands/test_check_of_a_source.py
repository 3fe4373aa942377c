"""`deepminer ingest ... --check` reads and lists, and writes nothing anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from core.study_folder import create_study
from dashboard.cli import app
from support.breast_films import breast_film, write_mammogram, write_png


def manifest_arguments(root: Path) -> list[str]:
    write_png(root / "a.png", breast_film(1))
    (root / "table.csv").write_text(
        "image,patient,laterality,view,pathology,outline\n"
        'a.png,P1,LEFT,CC,MALIGNANT,"box 1 1 9 9"\n'
    )
    return ["manifest", str(root / "table.csv")]


def dicom_arguments(root: Path) -> list[str]:
    write_mammogram(
        root / "films" / "1.dcm",
        breast_film(1),
        AccessionNumber="A1",
        ImageLaterality="L",
        ViewPosition="CC",
    )
    (root / "truth.csv").write_text("accession,pathology\nA1,MALIGNANT\n")
    table, key = root / "truth.csv", root / "keys" / "pseudonym.key"
    options = ["--truth", str(table), "--pseudonym-key", str(key)]
    return ["dicom", str(root / "films"), *options]


def rsna_arguments(root: Path) -> list[str]:
    write_mammogram(root / "train_images" / "1" / "11.dcm", breast_film(1))
    (root / "train.csv").write_text("patient_id,image_id,laterality,view,cancer\n1,11,L,CC,1\n")
    return ["rsna", str(root)]


def mias_arguments(root: Path) -> list[str]:
    film = Image.fromarray((breast_film(1) >> 4).astype("uint8")).resize((1024, 1024))
    film.save(root / "mdb001.pgm")
    (root / "Info.txt").write_text("mdb001 G CIRC B 535 425 197\n")
    return ["mini-mias", str(root)]


def coco_arguments(root: Path) -> list[str]:
    write_png(root / "films" / "P1_LEFT_CC.png", breast_film(1))
    export = {
        "images": [{"id": 1, "file_name": "P1_LEFT_CC.png", "width": 150, "height": 200}],
        "categories": [{"id": 1, "name": "malignant"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 60, 40, 40]}],
    }
    (root / "coco.json").write_text(json.dumps(export))
    return ["coco", str(root / "coco.json"), "--images", str(root / "films")]


def phantom_arguments(root: Path) -> list[str]:
    return ["phantom", "--patients", "1"]


def small_study(folder: Path) -> Path:
    """Return a study with small images: their content is of no interest here."""
    study = create_study(folder / "study")
    (study / "study.toml").write_text("[images]\ninput_side = 32\n")
    return study


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return the bytes of every file, and every folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        phantom_arguments,
        manifest_arguments,
        dicom_arguments,
        rsna_arguments,
        mias_arguments,
        coco_arguments,
    ],
)
def test_a_check_writes_nothing(arguments: Callable[[Path], list[str]], tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    study = small_study(tmp_path)
    command = ["ingest", *arguments(tmp_path / "source"), "--study", str(study), "--check"]
    command += ["--workers", "1"]
    before = contents(tmp_path)
    result = CliRunner().invoke(app, command)
    assert result.exit_code in (0, 1), result.output
    assert "1 patients, " in result.output and "Nothing was written" in result.output
    assert contents(tmp_path) == before


def test_a_check_of_a_study_with_data_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    study = small_study(tmp_path)
    ingestion = ["ingest", *manifest_arguments(tmp_path / "source"), "--study", str(study)]
    assert CliRunner().invoke(app, ingestion).exit_code == 0
    before = contents(tmp_path)
    result = CliRunner().invoke(app, [*ingestion, "--check"])
    assert "Nothing was written" in result.output
    assert contents(tmp_path) == before
