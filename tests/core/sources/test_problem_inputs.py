"""The shared inputs of misread data: each is read as its README expects, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources import cbis_ddsm, ddsm, manifest
from support.paths import SAMPLES

INPUTS = SAMPLES / "problem_inputs"


@pytest.fixture
def problem_inputs() -> Path:
    return INPUTS


def with_outline(folder: Path, tmp_path: Path, outline: str) -> Path:
    """Return a copy of an input whose only row has another outline."""
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    header, row = (tmp_path / "t.csv").read_text().splitlines()
    cells = row.split(",")[:5]
    (tmp_path / "t.csv").write_text(f'{header}\n{",".join(cells)},"{outline}"\n')
    return tmp_path / "t.csv"


def test_normalised_coordinates(problem_inputs: Path, tmp_path: Path) -> None:
    folder = problem_inputs / "normalised_coordinates"
    with pytest.raises(UserError, match=r"row 2: .*shares of the film .*\"normalised\""):
        manifest.list_tasks(folder / "t.csv")
    stated = "normalised 0.20 0.40, 0.35 0.40, 0.35 0.55, 0.20 0.55"
    (task,), _ = manifest.list_tasks(with_outline(folder, tmp_path, stated))
    (film,) = manifest.read_patient(task).mammograms
    height, width = film.pixels.shape
    low, high = film.findings[0].outline[0].min(0), film.findings[0].outline[0].max(0)
    assert np.allclose(
        [*low, *high], np.array([0.2, 0.4, 0.35, 0.55]) * [width, height, width, height]
    )


def test_mask_of_classes(problem_inputs: Path, tmp_path: Path) -> None:
    folder = problem_inputs / "mask_values_0_1_2"
    (task,), _ = manifest.list_tasks(folder / "t.csv")
    with pytest.raises(UserError, match="row 2: the mask m.png holds several classes, 1, 2"):
        manifest.read_patient(task)
    (task,), _ = manifest.list_tasks(with_outline(folder, tmp_path, "m.png value 1"))
    (film,) = manifest.read_patient(task).mammograms
    # The first class: x 40 to 69, y 120 to 149.
    mask = np.zeros(film.pixels.shape, bool)
    mask[120:150, 40:70] = True
    assert (fill_polygons(film.findings[0].outline, film.pixels.shape) == mask).all()


def test_views_of_hashes(problem_inputs: Path) -> None:
    tasks, _ = manifest.list_tasks(problem_inputs / "view_from_a_hash" / "t.csv", image_labels=True)
    films = [film for task in tasks for film in manifest.read_patient(task).mammograms]
    assert len(films) == 3 and {film.view for film in films} == {"UNKNOWN"}


def test_layout_of_the_imaging_data_commons(problem_inputs: Path) -> None:
    (task,), _ = cbis_ddsm.list_tasks(problem_inputs / "idc_folder_layout" / "src")
    (film,) = cbis_ddsm.read_patient(task).mammograms
    assert film.id == "P_90001.LEFT_CC" and len(film.findings) == 1


def test_films_of_transmitted_light(problem_inputs: Path) -> None:
    (task,), _ = ddsm.list_tasks(problem_inputs / "dba_16_bit_png_is_black" / "src")
    patient = ddsm.read_patient(task)
    (film,) = patient.mammograms
    # Formula of the archive: density (log10 g - 4.80662) / -1.07553, of which 4 is black.
    raw = 1038
    density = (np.log10(raw) - 4.80662) / -1.07553
    assert np.quantile(film.pixels, 0.9) == pytest.approx((1 - density / 4) * 65535, rel=0.01)
    assert any("optical density" in problem.action for problem in patient.problems)
