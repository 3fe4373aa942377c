"""Working images one by one: what stays open, which copies are made, where patches are cut."""

from __future__ import annotations

import io
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.images import working_images
from core.images.working_images import (
    PatchReader,
    WorkingImages,
    load_tissue,
    move_working_images,
    remove_working_images,
    write_source_film,
)

SHAPE = (45, 64)


def pixels(number: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(number).integers(1, 256, shape, dtype=np.uint8)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of four images; the tissue of each ends at row 30 and column 41."""
    folder = tmp_path / "images"
    folder.mkdir()
    tissue = np.zeros(SHAPE, bool)
    tissue[:30, :41] = True
    for number, name in enumerate("abcd"):
        np.save(folder / f"{name}.npy", pixels(number))
        np.save(folder / f"{name}.tissue.npy", np.packbits(tissue))
    return tmp_path


def test_the_image_used_longest_ago_is_closed(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    parsed: list[int] = []
    read = working_images._read_layout
    monkeypatch.setattr(
        working_images, "_read_layout", lambda stream: parsed.append(1) or read(stream)
    )
    images = WorkingImages(study)
    first = images["a"]
    assert images["b"] is images["b"] and images["a"] is first
    for name, kept in (("c", ["a", "c"]), ("b", ["c", "b"]), ("a", ["b", "a"])):
        assert np.array_equal(images[name], pixels("abcd".index(name)))
        assert list(images._open) == kept
    # Each header is parsed once, whether its image is open or not.
    assert len(parsed) == 3


@pytest.mark.parametrize(
    ("allowed", "limit"),
    [(3, 1), (4, 1), (8, 2), (1024, 256), (16384, 4096), (99999, 4096),
     (resource.RLIM_INFINITY, 4096)],
)  # fmt: skip
def test_share_of_the_open_files(allowed: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, 7))
    assert working_images._open_images_limit() == limit


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_versions_of_array_files(study: Path, version: tuple[int, int]) -> None:
    with (study / "images" / "a.npy").open("wb") as stream:
        np.lib.format.write_array(stream, pixels(9), version)
    assert np.array_equal(WorkingImages(study)["a"], pixels(9))


def test_tissue_concepts_and_sizes(study: Path) -> None:
    images = WorkingImages(study, None, 8)
    concepts = np.arange(45 * 64, dtype=np.uint32).reshape(SHAPE)
    np.save(study / "images" / "a.concepts.npy", concepts)
    assert images["a"].shape == (22, 32) and images.ingested_shape("a") == SHAPE
    assert np.array_equal(images.concepts("a"), concepts)
    tissue = images.tissue("a")
    assert tissue.dtype == bool and tissue.sum() == 30 * 41 and tissue[:30, :41].all()
    np.save(study / "images" / "odd.tissue.npy", np.packbits(np.eye(3, 5, dtype=bool)))
    found = load_tissue(study / "images", "odd", (3, 5))
    assert np.array_equal(found, np.eye(3, 5, dtype=bool))


@pytest.mark.parametrize("channels", [1, 3])
def test_copies_that_are_black_outside_the_breast(study: Path, channels: int) -> None:
    original = pixels(5) if channels == 1 else pixels(5, (*SHAPE, 3))
    np.save(study / "images" / "a.npy", original)
    images = WorkingImages(study, {"a": 2.0}, 16)
    # All pixels within two of the tissue: beside its corner a quarter of a circle.
    inside = np.zeros(SHAPE, bool)
    inside[:32, :41] = inside[:30, :43] = inside[30, 41] = True
    expected = np.where(inside if channels == 1 else inside[..., None], original, 0)
    assert np.array_equal(images["a"], expected) and images["a"].dtype == np.uint8
    # Of the network's side already: no copy of another size.
    copies = {path.relative_to(study / "images").as_posix() for path in
              (study / "images").rglob("a-*")}  # fmt: skip
    assert copies == {"breast_only/a-2.00.npy"}
    assert WorkingImages(study, {"a": 2.0}, 8)["a"].shape[:2] == (22, 32)
    assert (study / "images" / "resized" / "a-2.00-32.npy").is_file()
    # A copy is used as it is.
    np.save(study / "images" / "breast_only" / "a-2.00.npy", original // 2)
    np.save(study / "images" / "resized" / "a-2.00-32.npy", original[:9])
    assert np.array_equal(WorkingImages(study, {"a": 2.0})["a"], original // 2)
    assert np.array_equal(WorkingImages(study, {"a": 2.0}, 8)["a"], original[:9])


def test_resized_copies(study: Path) -> None:
    found = WorkingImages(study, None, 8)["b"]
    # 64 columns become 32, 45 rows 22: area averages.
    fine = pixels(1).astype(float).repeat(22, 0).reshape(22, 45, 32, 2).mean((1, 3))
    assert np.abs(found - fine).max() <= 0.51
    assert [p.name for p in (study / "images" / "resized").iterdir()] == ["b-32.npy"]


def test_patches_of_a_table(study: Path) -> None:
    table = pd.DataFrame({"file": ["c", "a", "c"], "y": [3, 29, 0], "x": [5, 48, 2], "side": 16})
    reader = PatchReader(WorkingImages(study), table)
    assert len(reader) == 3 and reader.side == 16
    batch = reader.batch(np.array([2, 0, 1]))
    assert batch.shape == (3, 1, 16, 16) and batch.dtype == np.uint8
    assert np.array_equal(batch[0, 0], pixels(2)[0:16, 2:18])
    assert np.array_equal(batch[1, 0], pixels(2)[3:19, 5:21])
    assert np.array_equal(batch[2, 0], pixels(0)[29:45, 48:64])
    empty = PatchReader(WorkingImages(study), table[:0])
    assert (len(empty), empty.side) == (0, 0)
    assert empty.batch(np.zeros(0, int)).shape == (0, 1, 0, 0)
    assert PatchReader(WorkingImages(study, None, 8), table[:0]).side == 8


def test_patches_of_a_resized_image_end_with_it(study: Path) -> None:
    """45 rows become 22: the lowest window, 15 to 22, is moved up by one row."""
    images = WorkingImages(study, None, 8)
    table = pd.DataFrame({"file": "a", "y": [29, 30], "x": [48, 11], "side": 16})
    batch = PatchReader(images, table).batch(np.arange(2))
    assert np.array_equal(batch[0, 0], images["a"][14:22, 24:32])
    # Origins are rounded, of halves to the even number: 5.5 becomes 6.
    assert np.array_equal(batch[1, 0], images["a"][14:22, 6:14])


def test_patches_in_colour(study: Path) -> None:
    colour = pixels(7, (*SHAPE, 3))
    np.save(study / "images" / "a.npy", colour)
    table = pd.DataFrame({"file": ["a"], "y": [4], "x": [9], "side": 16})
    batch = PatchReader(WorkingImages(study), table).batch(np.array([0]))
    assert np.array_equal(batch[0], colour[4:20, 9:25].transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(130, 9), (130, 9, 3)])
def test_source_films_byte_by_byte(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """In strips of 64 rows; 255 / 510 of each value, at most 255."""
    values = np.random.default_rng(1).integers(0, 700, shape).astype(np.uint16)
    write_source_film(tmp_path / "a.jpg", values, 510, 8)
    expected = np.minimum(np.rint(values / 2), 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(expected).save(buffer, "JPEG", quality=85)
    assert (tmp_path / "a.jpg").read_bytes() == buffer.getvalue()


@pytest.mark.parametrize(
    ("shape", "width", "is_written"),
    [((9, 8), 8, False), ((9, 8), 7, True), ((65500, 2), 1, True), ((65501, 2), 1, False),
     ((2, 65501), 1, False)],
)  # fmt: skip
def test_source_films_that_are_written(
    tmp_path: Path, shape: tuple[int, int], width: int, is_written: bool
) -> None:
    write_source_film(tmp_path / "a.jpg", np.zeros(shape, np.uint8), 255, width)
    assert (tmp_path / "a.jpg").exists() == is_written


def test_files_of_a_mammogram_move_together(study: Path, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    suffixes = (".npy", ".tissue.npy", ".concepts.npy", ".source.jpg")
    for suffix in suffixes:
        (staged / f"x{suffix}").write_text(f"x{suffix}")
    (staged / "y.npy").write_text("y")
    (staged / "y.tissue.npy").write_text("y")
    table = pd.DataFrame({"file": ["x", "y"], "has_concepts": [True, False]})
    move_working_images(staged, study, table)
    assert not list(staged.iterdir())
    for suffix in suffixes:
        assert (study / "images" / f"x{suffix}").read_text() == f"x{suffix}"
    # Everything is in its place already.
    move_working_images(staged, study, table)
    (study / "images" / "x.concepts.npy").unlink()
    with pytest.raises(FileNotFoundError):
        move_working_images(staged, study, table)


def test_removal_of_nothing(study: Path) -> None:
    before = sorted((study / "images").iterdir())
    remove_working_images(study, [])
    remove_working_images(study / "absent", [])
    assert sorted((study / "images").iterdir()) == before
