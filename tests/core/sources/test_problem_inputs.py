"""The shared inputs of misread data: each is ingested as its README expects, or refused.

The test of an input carries the name of its folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from core import settings, store
from core.errors import UserError
from core.images.polygons import fill_polygons
from core.networks import checkpoints
from core.pipeline import ingest, patches
from core.store import dataset_table, problem_table
from core.study_folder import create_study
from support.paths import SAMPLES

INPUTS = SAMPLES / "problem_inputs"
CHOSEN = settings.settings_from_preset(settings.PHANTOM_PRESET)


@pytest.fixture
def problem_inputs() -> Path:
    return INPUTS


def ingest_input(study: Path, kind: str, path: Path, **options: object) -> pd.DataFrame:
    """Ingest an input into a new study; return its mammograms with their images, by id."""
    create_study(study, CHOSEN)
    ingest.ingest(study, CHOSEN, kind, path, lambda *_: None, **options)  # type: ignore[arg-type]
    with store.read(study) as con:
        films = dataset_table.load_mammograms(con)
    films["pixels"] = [np.load(study / "images" / f"{name}.npy") for name in films["file"]]
    return films.set_index("mammogram_id")


def problem_codes(study: Path) -> list[tuple[str, str]]:
    with store.read(study) as con:
        problems = problem_table.list_problems(con)
    return sorted(zip(problems["mammogram_id"], problems["code"]))


def copy_input(folder: Path, tmp_path: Path, outline: str) -> Path:
    """Return the table of a copy of an input whose only row has another outline."""
    for file in folder.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    return write_outline(tmp_path / "t.csv", outline)


def write_outline(table: Path, outline: str) -> Path:
    """Give the only row of a table another outline; return the table."""
    header, row = table.read_text().splitlines()
    cells = ",".join(row.split(",")[:5])
    table.write_text(f'{header}\n{cells},"{outline}"\n')
    return table


def finding_mask(study: Path) -> np.ndarray:
    """Return the only finding of a study in the pixels of its working image, bool [h, w]."""
    with store.read(study) as con:
        (finding,) = dataset_table.load_findings(con).to_dict("records")
        (film,) = dataset_table.load_mammograms(con).to_dict("records")
    polygons = [np.array(polygon) for polygon in finding["outline"]]
    return fill_polygons(polygons, (film["height"], film["width"]))


def test_every_input_has_a_test(problem_inputs: Path) -> None:
    inputs = sorted(folder.name for folder in problem_inputs.iterdir() if folder.is_dir())
    assert len(inputs) >= 11
    assert [name for name in inputs if f"test_{name}" not in globals()] == []
    assert all((problem_inputs / name / "README.md").is_file() for name in inputs)


def test_outline_off_the_breast(problem_inputs: Path, tmp_path: Path) -> None:
    ingest_input(tmp_path / "S", "manifest", problem_inputs / "outline_off_the_breast/t.csv")
    expected = [("P1.LEFT_CC", "outside_breast"), ("P2.RIGHT_CC", "outside_breast")]
    assert problem_codes(tmp_path / "S") == expected
    with pytest.raises(UserError, match="findings of 2 mammograms are doubtful"):
        patches.run_patch_extraction(tmp_path / "S", CHOSEN, lambda *_: None)


def test_normalised_coordinates(problem_inputs: Path, tmp_path: Path) -> None:
    folder = problem_inputs / "normalised_coordinates"
    with pytest.raises(UserError, match=r"row 2: .*shares of the film .*\"normalised\""):
        ingest_input(tmp_path / "S", "manifest", folder / "t.csv")
    box = copy_input(folder, tmp_path, "box 0.2 0.4 0.35 0.55")
    with pytest.raises(UserError, match=r"row 2: .*shares of the film .*\"normalised\""):
        ingest_input(tmp_path / "box", "manifest", box)
    stated = copy_input(folder, tmp_path, "normalised 0.20 0.40, 0.35 0.40, 0.35 0.55, 0.20 0.55")
    (film,) = ingest_input(tmp_path / "stated", "manifest", stated).itertuples()
    height, width = film.pixels.shape
    rows, columns = np.nonzero(finding_mask(tmp_path / "stated"))
    shares = [*columns[[0, -1]], *rows[[0, -1]]] / np.array([width, width, height, height])
    assert np.allclose(shares, [0.2, 0.35, 0.4, 0.55], atol=0.01)


def test_mask_values_0_1_2(problem_inputs: Path, tmp_path: Path) -> None:
    folder = problem_inputs / "mask_values_0_1_2"
    with pytest.raises(UserError, match=r"row 2: the mask m\.png holds several classes, 1, 2"):
        ingest_input(tmp_path / "S", "manifest", folder / "t.csv")
    table = copy_input(folder, tmp_path, "m.png value 1")
    film = np.asarray(Image.open(folder / "f.png"))
    expected = np.zeros(film.shape, bool)
    expected[120:150, 40:70] = True  # where the README places class 1
    values = np.asarray(Image.open(folder / "m.png"))
    for first, second in ((1, 2), (85, 170)):
        mask = np.select([values == 1, values == 2], [first, second]).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "m.png")
        table = write_outline(table, f"m.png value {first}")
        ingest_input(tmp_path / f"S{first}", "manifest", table)
        found = finding_mask(tmp_path / f"S{first}")
        enlarged = np.asarray(Image.fromarray(expected).resize(found.shape[::-1]))
        assert (found & enlarged).sum() / (found | enlarged).sum() > 0.95


def test_pixel_padding_mono1(problem_inputs: Path, tmp_path: Path) -> None:
    table = problem_inputs / "pixel_padding_mono1/t.csv"
    films = ingest_input(tmp_path / "S", "manifest", table, image_labels=True)
    assert films["inverted"].all() and len(films) == 2
    # The narrow strip covers air only; the wide one covers a quarter of the breast.
    assert films["tissue"].tolist() == pytest.approx([0.387, 0.29], abs=0.01)
    for pixels in films["pixels"]:
        height, width = pixels.shape
        assert (pixels[:, -width // 16 :] == 0).all()
        # The breast at the chest wall is brighter than the air above it.
        breast, air = pixels[height // 3 : height // 2, : width // 5], pixels[: height // 16]
        assert breast.mean() > 90 > 10 > air.mean()


def test_idc_folder_layout(problem_inputs: Path, tmp_path: Path) -> None:
    source = problem_inputs / "idc_folder_layout" / "src"
    films = ingest_input(tmp_path / "S", "cbis-ddsm", source)
    assert films.index.tolist() == ["P_90001.LEFT_CC"]
    assert problem_codes(tmp_path / "S") == []
    assert 0 < finding_mask(tmp_path / "S").mean() < 0.1


def test_htj2k_and_jpeg_12_bit(problem_inputs: Path, tmp_path: Path) -> None:
    table = problem_inputs / "htj2k_and_jpeg_12_bit/t.csv"
    films = ingest_input(tmp_path / "S", "manifest", table, image_labels=True, skip_bad=True)
    lossless, lossy = films.loc[["P1.LEFT_CC", "P2.LEFT_CC"], "pixels"]
    # Both hold one image, once without and once with losses.
    assert np.abs(lossless.astype(int) - lossy).mean() < 1 < 10 < lossless.std()


def test_dba_16_bit_png_is_black(problem_inputs: Path, tmp_path: Path) -> None:
    source = problem_inputs / "dba_16_bit_png_is_black" / "src"
    (film,) = ingest_input(tmp_path / "S", "ddsm", source).itertuples()
    # Formula of the archive: density (log10 g - 4.80662) / -1.07553, of which 4 is black.
    density = (np.log10(1038) - 4.80662) / -1.07553
    assert np.quantile(film.pixels, 0.9) == pytest.approx((1 - density / 4) * 255, abs=2)
    assert film.tissue == pytest.approx(0.387, abs=0.01)
    with store.read(tmp_path / "S") as con:
        actions = problem_table.list_problems(con)["action"]
    assert actions.str.contains("converted to optical density").any()


def test_magnification_and_for_processing(problem_inputs: Path, tmp_path: Path) -> None:
    study = tmp_path / "S"
    table = problem_inputs / "magnification_and_for_processing/t.csv"
    ingest_input(study, "manifest", table, image_labels=True)
    expected = [
        ("P1.LEFT_CC", "implant"),
        ("P1.LEFT_CC", "magnification_view"),
        ("P1.raw", "for_processing"),
    ]
    assert problem_codes(study) == expected
    extract = patches.run_patch_extraction
    assert patch_films(study, extract(study, CHOSEN, lambda *_: None).run) == {
        "P1.LEFT_CC",
        "P1.raw",
    }
    with store.write(study) as con:
        ids = problem_table.ids_of_kind(con, "for_processing")
        problem_table.resolve_problems(con, ids, problem_table.LEFT_OUT, "a person")
    assert patch_films(study, extract(study, CHOSEN, lambda *_: None).run) == {"P1.LEFT_CC"}


def patch_films(study: Path, run: str) -> set[str]:
    with store.read(study) as con:
        return set(dataset_table.load_patches(con, run)["mammogram_id"])


def test_view_from_a_hash(problem_inputs: Path, tmp_path: Path) -> None:
    table = problem_inputs / "view_from_a_hash/t.csv"
    films = ingest_input(tmp_path / "S", "manifest", table, image_labels=True)
    assert len(films) == 3 and set(films["view"]) == {"UNKNOWN"}


def test_colour_jpeg_red_as_grey(problem_inputs: Path, tmp_path: Path) -> None:
    table = problem_inputs / "colour_jpeg_red_as_grey/t.csv"
    (film,) = ingest_input(tmp_path / "S", "manifest", table, image_labels=True).itertuples()
    assert (film.pixels[0, 0], film.pixels[0, -1]) == (60, 117)


def test_checkpoint_with_numpy_number(problem_inputs: Path, tmp_path: Path) -> None:
    folder = problem_inputs / "checkpoint_with_numpy_number"
    state = checkpoints.read_state(folder / "c.pth.tar")
    assert {name: value.tolist() for name, value in state.items()} == {"conv1.weight": [0.0]}
    # As the README writes it, with the prefixes that it names.
    content = {"model._orig_mod.conv1.weight": torch.zeros(1)}
    torch.save(
        {"state_dict": content, "epoch": 5, "best_prec1": np.float64(71.2)}, tmp_path / "c.pth.tar"
    )
    (name,) = checkpoints.read_state(tmp_path / "c.pth.tar")
    assert name.endswith("conv1.weight")
