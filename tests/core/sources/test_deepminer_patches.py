"""The published release from its folder to labelled patches: ingest, then patches --labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from core import settings, store, study_folder
from core.errors import UserError
from core.pipeline import ingest, patches
from core.sources import deepminer_patches
from core.store import dataset_table, run_table
from dashboard.cli import app

SHAPE, SIDE = (480, 320), 40  # films; working images are 160 pixels wide
CANCER, AGAIN = "cancer_11-A_1632_1.LEFT_CC.LJPEG.1", "benign_07-A_1632_1.LEFT_CC.LJPEG.1"
NORMAL, OTHER = "normal_01-C_0001_1.RIGHT_CC.LJPEG.1", "normal_01-C_0002_1.RIGHT_CC.LJPEG.1"


def quiet(*_: object) -> None:
    """Report no progress."""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Three cases; one film is filed in two volumes with different labels of one window."""
    rng = np.random.default_rng(1)
    for folder in ("ddsm_raw", "ddsm_masks/3class", "ddsm_labels/3class"):
        (tmp_path / "release" / folder).mkdir(parents=True)
    root = tmp_path / "release"
    films = {
        name: rng.integers(60, 250, SHAPE).astype(np.uint8) for name in (CANCER, NORMAL, OTHER)
    }
    for name, film in (films | {AGAIN: films[CANCER]}).items():
        film[:, :20] = 0
        Image.fromarray(film).save(root / "ddsm_raw" / f"{name}.jpg")
    mask = np.zeros(SHAPE, np.uint8)
    mask[100:160, 100:160] = 2
    Image.fromarray(mask).save(root / "ddsm_masks/3class" / f"{CANCER}.png")
    lists = {
        "train": [
            f"{CANCER}-y80_x80_h80_w80.jpg 2",
            f"{AGAIN}-y80_x80_h80_w80.jpg 0",
            f"{CANCER}-y400_x240_h80_w80.jpg 0",
        ],
        "val": [f"{NORMAL}-y41_x40_h80_w80.jpg 0"],
        "test": [f"{OTHER}-y40_x40_h80_w80.jpg 1"],
    }
    for name, lines in lists.items():
        (root / "ddsm_labels/3class" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def folder(release: Path, tmp_path: Path) -> Path:
    study, chosen = (
        tmp_path / "study",
        settings.settings_from_preset({"images": {"input_side": SIDE}}),
    )
    study_folder.create_study(study, chosen)
    ingest.ingest(study, chosen, "release", release, quiet)
    return study


def test_published_patches_by_command(folder: Path, release: Path) -> None:
    result = CliRunner().invoke(app, ["patches", "--study", str(folder), "--labels", str(release)])
    assert result.exit_code == 0, result.output
    with store.read(folder) as con:
        run = run_table.latest_run(con, "patches")
        assert run is not None and run_table.load_run(con, run)["manifest"]["labels"] == "published"
        frame = dataset_table.load_patches(con, run)
    rows = frame[["mammogram_id", "y", "x", "side", "label", "split"]]
    expected = pd.DataFrame(
        [
            (
                "A_1632_1.LEFT_CC",
                40,
                40,
                SIDE,
                2,
                "train",
            ),  # the worse of the two labels of one window
            ("A_1632_1.LEFT_CC", 200, 120, SIDE, 0, "train"),
            ("C_0001_1.RIGHT_CC", 20, 20, SIDE, 0, "holdout"),
            ("C_0002_1.RIGHT_CC", 20, 20, SIDE, 1, "test"),
        ],
        columns=rows.columns,
    )
    assert rows.values.tolist() == expected.values.tolist()
    assert (
        frame["malignant_part"].tolist() == pytest.approx([1, 0, 0, 0], abs=0.01)
        and (frame["tissue"] > 0.9).all()
    )
    own = CliRunner().invoke(app, ["patches", "--study", str(folder)])
    with store.read(folder) as con:
        assert own.exit_code == 0 and run_table.latest_run(con, "patches") != run


def test_films_that_the_release_does_not_list_have_no_patches(folder: Path, release: Path) -> None:
    lists = release / "ddsm_labels/3class"
    (lists / "val.txt").write_text((lists / "test.txt").read_text())
    (lists / "test.txt").write_text("")
    patches.run_patch_extraction(folder, settings.load_settings(folder), quiet, release)
    with store.read(folder) as con:
        run = run_table.latest_run(con, "patches")
        assert run is not None
        rows = dataset_table.load_patches(con, run)[["mammogram_id", "label"]]
    assert sorted(rows.values.tolist()) == [
        ["A_1632_1.LEFT_CC", 0],
        ["A_1632_1.LEFT_CC", 2],
        ["C_0002_1.RIGHT_CC", 1],
    ]


def test_mismatched_labels(folder: Path, release: Path) -> None:
    chosen = settings.load_settings(folder)
    lists = release / "ddsm_labels/3class/val.txt"
    lists.write_text(f"{NORMAL}-y40_x40_h160_w160.jpg 0\n")
    with pytest.raises(
        UserError,
        match="y40_x40_h160_w160 of normal_01-C_0001_1.* is not a quarter of the ingested film",
    ):
        patches.run_patch_extraction(folder, chosen, quiet, release)
    lists.write_text(f"{NORMAL}-y440_x40_h80_w80.jpg 0\n")
    with pytest.raises(UserError, match="y440_x40_h80_w80 .* is not inside the ingested film"):
        patches.run_patch_extraction(folder, chosen, quiet, release)
    for name in ("train", "val", "test"):
        (release / "ddsm_labels/3class" / f"{name}.txt").write_text(
            "normal_01-D_9999_1.RIGHT_CC.LJPEG.1-y0_x0_h80_w80.jpg 0\n"
        )
    with pytest.raises(UserError, match=r"None of the 1 films that .* labels is in the study"):
        patches.run_patch_extraction(folder, chosen, quiet, release)
    with pytest.raises(UserError, match="ddsm_raw"):
        patches.run_patch_extraction(folder, chosen, quiet, release / "ddsm_raw")


def test_films_with_other_sizes_of_pixels() -> None:
    """Of 400 x 320 raw pixels a window of 16 is left: .04 and .05 working pixels for each."""
    listed = pd.DataFrame(
        {"image": "a", "y": [100, 160], "x": [200, 75], "w": 400, "h": 320, "label": [2, 0]}
    )
    tissue = np.ones((40, 64), bool)
    found = deepminer_patches.published_patches(listed, (0.04, 0.05), tissue, [], 16)
    assert (found.y.tolist(), found.x.tolist()) == ([5, 8], [8, 3])
    assert found.label.tolist() == [2, 0] and found.tissue.tolist() == [1, 1]
    for changes in ({"w": 320}, {"h": 400}):
        with pytest.raises(UserError, match="is not a quarter of the ingested film"):
            deepminer_patches.published_patches(
                listed.assign(**changes), (0.04, 0.05), tissue, [], 16
            )


def test_films_that_the_study_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [CANCER, NORMAL, CANCER, "no film"]
    asked: list[tuple] = []

    def read(*given: object) -> pd.DataFrame:
        asked.append(given)
        return pd.DataFrame({"image": names, "y": [1, 2, 3, 4]})

    monkeypatch.setattr(deepminer_patches, "read_patch_labels", read)
    find = deepminer_patches.read_published_patches
    windows, absent = find(Path("r"), 2, {"A_1632_1.LEFT_CC", "x"})
    assert absent == 2 and asked == [(Path("r"), 2)]
    assert windows.to_numpy().tolist() == [
        [CANCER, 1, "A_1632_1.LEFT_CC"],
        [CANCER, 3, "A_1632_1.LEFT_CC"],
    ]
    with pytest.raises(UserError, match="None of the 3 films that r labels is in the study"):
        find(Path("r"), 2, set())
