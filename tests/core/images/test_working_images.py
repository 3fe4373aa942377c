"""Working images: open files, damaged files, and files that move and end with a mammogram."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.errors import UserError
from core.images.decoding import working_image
from core.images.working_images import (
    PatchReader,
    WorkingImages,
    move_working_images,
    remove_working_images,
    write_source_film,
)
from support.paths import ROOT

FILMS, OPEN_FILES = 90, 60
SHAPE, SIDE = (48, 64), 16

# Arguments: the study. Every image is read twice in two forms, under a limit of open files.
READ_ALL = f"""
import resource, sys
import numpy as np
import pandas as pd
resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES}, {OPEN_FILES}))
from pathlib import Path
from core.images.working_images import PatchReader, WorkingImages
names = [f"f{{number}}" for number in range({FILMS})]
table = pd.DataFrame({{"file": names * 2, "y": 5, "x": 7, "side": {SIDE}}})
order = np.random.default_rng(0).permutation(len(table))
for margins, side in ((None, None), (dict.fromkeys(names, 0.0), 8)):
    images = WorkingImages(Path(sys.argv[1]), margins, side)
    print(*PatchReader(images, table).batch(order)[np.argsort(order), 0, 0, 0])
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of images of one grey level each, the last column without tissue."""
    (tmp_path / "images").mkdir()
    tissue = np.ones(SHAPE, bool)
    tissue[:, -1] = False
    for number in range(FILMS):
        np.save(tmp_path / "images" / f"f{number}.npy", np.full(SHAPE, number, np.uint8))
        np.save(tmp_path / "images" / f"f{number}.tissue.npy", np.packbits(tissue))
    return tmp_path


def test_more_images_than_a_process_may_open(study: Path) -> None:
    command = [sys.executable, "-c", READ_ALL, str(study)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    expected = " ".join(map(str, [*range(FILMS), *range(FILMS)]))
    assert done.stdout.splitlines() == [expected, expected]
    # Masked images and resized ones were made as copies of their own.
    assert len(list((study / "images" / "breast_only").iterdir())) == FILMS
    assert len(list((study / "images" / "resized").iterdir())) == FILMS


def test_images_of_a_finished_step_are_closed(study: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    images = WorkingImages(study)
    read = [int(images[f"f{number}"][0, 0]) for number in range(20)]
    assert read == list(range(20))
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 20
    del images
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_image_in_use_outlives_its_place_in_the_cache(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    images = WorkingImages(study)
    first = images["f7"]
    assert [images[f"f{number}"].max() for number in range(30)] == list(range(30))
    assert (first == 7).all() and (images["f7"] == 7).all()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_damaged_image_is_named(study: Path, content: bytes | None) -> None:
    path = study / "images" / "f3.npy"
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(UserError, match=r"f3\.npy is missing or damaged"):
        WorkingImages(study)["f3"]
    path.unlink()
    with pytest.raises(UserError, match=r"f3\.npy is missing or damaged"):
        WorkingImages(study)["f3"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_array_order_of_a_file_is_kept(study: Path, order: str) -> None:
    pixels = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint8).reshape(SHAPE)
    np.save(study / "images" / "f0.npy", np.array(pixels, order=order))  # type: ignore[call-overload]
    assert (WorkingImages(study)["f0"] == pixels).all()


def test_windows_keep_their_place_in_resized_images(study: Path) -> None:
    """Patches of 16 pixels read by a network for 8: half of every origin, rounded to even."""
    np.save(study / "images" / "f0.npy", np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) // 13)
    table = pd.DataFrame({"file": "f0", "y": [20, 31, 32], "x": [30, 5, 48], "side": 16})
    whole, half = WorkingImages(study), WorkingImages(study, None, 8)
    resized = half["f0"]
    assert resized.shape == (24, 32)
    reader = PatchReader(half, table)
    assert reader.side == 8
    for patch, (y, x) in zip(reader.batch(np.arange(3)), ((10, 15), (16, 2), (16, 24))):
        assert np.array_equal(patch[0], resized[y : y + 8, x : x + 8])
    same = PatchReader(whole, table)
    assert same.side == 16
    for patch, (y, x) in zip(same.batch(np.arange(3)), zip(table["y"], table["x"])):
        assert np.array_equal(patch[0], whole["f0"][y : y + 16, x : x + 16])


def test_staged_files_move_once(study: Path, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    for name in ("g1", "g10"):
        for suffix in (".npy", ".tissue.npy", ".concepts.npy"):
            (staged / f"{name}{suffix}").write_text(name)
    table = pd.DataFrame({"file": ["g1"], "has_concepts": [False]})
    move_working_images(staged, study, table)
    left = {"g1.concepts.npy", "g10.npy", "g10.tissue.npy", "g10.concepts.npy"}
    assert {path.name for path in staged.iterdir()} == left
    # As after a command that was interrupted before its rows were stored.
    move_working_images(staged, study, table.assign(has_concepts=True))
    assert (study / "images" / "g1.concepts.npy").read_text() == "g1"
    with pytest.raises(FileNotFoundError):
        move_working_images(staged, study, table.assign(file="g2"))


def test_removal_takes_every_copy_and_no_other_image(study: Path) -> None:
    images = study / "images"
    for folder, name in (
        ("breast_only", "f1-3.00.npy"),
        ("breast_only", "f10-3.00.npy"),
        ("resized", "f1-3.00-32.npy"),
        ("resized", "f1-32.npy.77.partial"),
        ("", "f1.source.jpg"),
        ("", "f10.source.jpg"),
    ):
        (images / folder).mkdir(exist_ok=True)
        (images / folder / name).touch()
    before = {path.name for path in images.rglob("*")}
    remove_working_images(study, ["f1"])
    assert before - {path.name for path in images.rglob("*")} == {
        "f1.npy",
        "f1.tissue.npy",
        "f1-3.00.npy",
        "f1-3.00-32.npy",
        "f1-32.npy.77.partial",
        "f1.source.jpg",
    }


@pytest.mark.parametrize("shape", [(60, 40), (60, 40, 3)])
def test_source_films_have_the_grey_values_of_the_working_image(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """Values above white are white, as in `working_image`; no metadata."""
    ramp = np.broadcast_to(np.linspace(0, 5000, 60).reshape(60, *[1] * (len(shape) - 1)), shape)
    pixels = ramp.astype(np.uint16)
    path = tmp_path / "film.source.jpg"
    write_source_film(path, pixels, 4095, 39)
    expected, _ = working_image(pixels, 4095, 40)
    with Image.open(path) as image:
        assert image.size == (40, 60) and not image.getexif() and "comment" not in image.info
        assert np.abs(np.asarray(image, float) - expected).max() < 8


def test_no_source_film_where_the_working_image_shows_every_pixel(tmp_path: Path) -> None:
    write_source_film(tmp_path / "film.source.jpg", np.zeros((60, 40), np.uint8), 255, 40)
    assert not list(tmp_path.iterdir())
