"""Nothing outside the breast: masked images in training and later steps, and the share outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import settings, store
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation.localization import cell_coverage, response_outside
from core.pipeline import dissect, ingest, inputs, patches, train
from core.store import dataset_table, run_table, unit_table
from core.study_folder import create_study

CHOSEN = settings.settings_from_preset(
    settings.PHANTOM_PRESET
    | {
        "training": {"units": 8, "epochs": 1, "draws": 32, "batch": 8},
        "dissection": {"select": 2},
    }
)
KEPT = CHOSEN.with_changes("images", outside_breast="keep")


def quiet(*_: object) -> None:
    return None


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = create_study(tmp_path_factory.mktemp("breast") / "study", CHOSEN)
    ingest.ingest(path, CHOSEN, "phantom", None, quiet, patients=10, width=256)
    patches.run_patch_extraction(path, CHOSEN, quiet)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Return a folder with one working image: a breast of 40 px, a label far from it."""
    (tmp_path / "images").mkdir()
    image = np.full((80, 100), 3, np.uint8)
    image[20:60, :40], image[5:10, 80:95] = 120, 250
    tissue = np.zeros((80, 100), bool)
    tissue[20:60, :40] = True
    np.save(tmp_path / "images" / "a.npy", image)
    np.save(tmp_path / "images" / "a.tissue.npy", np.packbits(tissue))
    return tmp_path


def test_pixels_outside_are_black_and_files_unchanged(film: Path) -> None:
    before = (film / "images" / "a.npy").read_bytes()
    masked = np.asarray(WorkingImages(film, {"a": 5.0})["a"])
    # By hand: a pixel d away from the breast is kept for d <= 5.
    expected = np.zeros((80, 100), np.uint8)
    y, x = np.mgrid[:80, :100]
    distance = np.hypot(np.maximum(20 - y, y - 59).clip(0), (x - 39).clip(0))
    original = np.load(film / "images" / "a.npy")
    expected[distance <= 5] = original[distance <= 5]
    assert (masked == expected).all()
    assert (film / "images" / "a.npy").read_bytes() == before
    assert (WorkingImages(film)["a"] == original).all()
    table = pd.DataFrame({"file": ["a"], "y": [0], "x": [76], "side": [20]})
    assert not PatchReader(WorkingImages(film, {"a": 5.0}), table).batch(np.array([0])).any()
    # Another margin is another copy; no partial file is left behind.
    WorkingImages(film, {"a": 9.0})["a"]
    copies = sorted(path.name for path in (film / "images" / "breast_only").iterdir())
    assert copies == ["a-5.00.npy", "a-9.00.npy"]


def test_margins_in_mm_and_pixels(study: Path) -> None:
    with store.write(study) as con:
        con.execute("UPDATE mammograms SET pixel_mm = NULL WHERE laterality = 'LEFT'")
        con.execute("UPDATE mammograms SET pixel_mm = 0.5 WHERE laterality = 'RIGHT'")
        table = dataset_table.load_mammograms(con).set_index("file")
    margins = inputs.load_breast_margins(study, {"margin": 6.0, "unit": "mm"})
    for file, margin in margins.items():
        # 0.5 mm a pixel: 12 pixels. Unknown: the image counts as 240 mm wide, 256 px.
        expected = 12.0 if table.loc[file, "laterality"] == "RIGHT" else 6 * 256 / 240
        assert margin == pytest.approx(expected)
    assert set(inputs.load_breast_margins(study, {"margin": 7, "unit": "pixels"}).values()) == {7.0}


def test_steps_read_what_the_training_read(study: Path) -> None:
    masked = train.run_training(study, CHOSEN, quiet).run
    kept = train.run_training(study, KEPT, quiet).run
    with store.read(study) as con:
        runs = {name: run_table.load_run(con, name)["settings"] for name in (masked, kept)}
        file = dataset_table.load_mammograms(con)["file"].iloc[0]
    assert runs[masked]["outside_breast"] == {"margin": 3.0, "unit": "mm"}
    # Runs from before the setting keep their names.
    assert "outside_breast" not in runs[kept]
    original = np.asarray(WorkingImages(study)[file])
    assert (np.asarray(inputs.open_training_images(study, kept)[file]) == original).all()
    changed = np.asarray(inputs.open_training_images(study, masked)[file])
    outside = changed != original
    assert outside.any() and not changed[outside].any()
    tissue = WorkingImages(study).tissue(file)
    assert not outside[tissue].any()


def test_share_outside_is_stored_with_each_unit(study: Path) -> None:
    train_run = train.run_training(study, CHOSEN, quiet).run
    run = dissect.run_dissection(study, CHOSEN, quiet, train_run).run
    with store.read(study) as con:
        units = unit_table.load_units(con, run)
    living = units[~units["dead"]]
    assert len(living) and living["outside"].between(0, 1).all()


def test_share_outside_of_units_by_hand(film: Path) -> None:
    # Patches of 40 px at the skin line: the breast covers the left half, and nothing.
    patches_of_units = pd.DataFrame(
        {"file": ["a"] * 4, "y": [20, 20, 20, 20], "x": [20, 60, 60, 20], "side": 40}
    )
    left, right = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    maps = np.array([[3 * left, right], [np.zeros((2, 2)), 4 * left + right]])
    shares = dissect.responses_outside(maps, patches_of_units, WorkingImages(film), {"a": 0.0})
    # Unit 0: 6 inside, 2 outside. Unit 1: 8 inside, 2 outside.
    assert shares == [2 / 8, 2 / 10]


def test_response_outside_by_hand() -> None:
    inside = cell_coverage(np.repeat([[True, True, False, False]], 4, 0), (2, 2))
    assert inside.tolist() == [[1, 0], [1, 0]]
    maps = np.array([[[1.0, 2.0], [0.0, 1.0]], [[4.0, -8.0], [0.0, 0.0]]])
    assert response_outside(maps, inside) == 3 / 8
    assert response_outside(-np.abs(maps), inside) is None
