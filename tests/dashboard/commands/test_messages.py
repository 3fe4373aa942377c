"""Numbers in the terminal have the form of those on the pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from core import study_folder
from dashboard.cli import app
from dashboard.commands import pipeline
from support.breast_films import breast_film


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.8, 0.91, "image malignant: AUC .862 (.800 to .910)"),
        (float("nan"), float("nan"), "image malignant: AUC .862"),
    ],
)
def test_an_area_has_no_leading_zero(low: float, high: float, text: str) -> None:
    assert (
        pipeline._auc_text(
            {"level": "image", "class": "malignant", "estimate": 0.8617, "low": low, "high": high}
        )
        == text
    )


@pytest.mark.parametrize(("subject", "images"), [("breast", "2 mammograms"), ("any", "2 images")])
def test_ingestion_is_summed_up_in_the_words_of_the_study(
    tmp_path: Path, subject: str, images: str
) -> None:
    write_settings(tmp_path, subject)
    done = CliRunner().invoke(
        app, ["ingest", "manifest", str(tmp_path / "t.csv"), "--study", str(tmp_path / "study")]
    )
    assert f"Added 1 patient and {images} (" in done.output
    assert "the study contains 1 patient." in done.output


def write_settings(folder: Path, subject: str) -> None:
    """Write a study of a subject, and a table of two images of one patient beside it."""
    study_folder.create_study(folder / "study")
    (folder / "study" / "study.toml").write_text(f'[images]\nsubject = "{subject}"\n')
    rows = ["image,patient,pathology,laterality,view"]
    for seed in (1, 2):
        Image.fromarray(breast_film(seed, 300, 312)).save(folder / f"{seed}.png")
        rows.append(f"{seed}.png,P1,NORMAL,LEFT,CC")
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
