from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources import deepminer_release
from support.paths import REFERENCE
from support.requirements import needs_publication

FOLDER = REFERENCE / "published_splits"

SHAPE = (60, 40)
MASK = np.zeros(SHAPE, np.uint8)
MASK[10:20, 10:20], MASK[30:35, 5:10], MASK[40:50, 20:30] = 1, 1, 2


def film(seed: int) -> np.ndarray:
    return np.full(SHAPE, 40 + 10 * seed, np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cases in three volumes.

    Case A_1632_1 is filed under cancer and, with the same film, under benign.
    """
    names = [
        "cancer_11-A_1632_1.LEFT_CC",
        "benign_07-A_1632_1.LEFT_CC",
        "benign_07-A_1632_1.LEFT_MLO",
        "normal_01-C_0001_1.RIGHT_CC",
    ]
    names = [f"{name}.LJPEG.1" for name in names]
    for folder in (
        "ddsm_raw",
        "ddsm_masks/3class/cancers",
        "ddsm_masks/3class/benigns",
        "ddsm_raw_image_lists",
    ):
        (tmp_path / "data" / folder).mkdir(parents=True)
    data = tmp_path / "data"
    for name, seed in zip(names, (1, 1, 2, 3)):
        Image.fromarray(film(seed)).save(data / "ddsm_raw" / f"{name}.jpg")
    Image.fromarray(MASK).save(data / "ddsm_masks/3class/cancers" / f"{names[0]}.png")
    Image.fromarray((MASK == 2).astype(np.uint8)).save(
        data / "ddsm_masks/3class/benigns" / f"{names[1]}.png"
    )
    Image.fromarray((MASK == 2).astype(np.uint8) * 255).save(
        data / "ddsm_masks/3class/benigns" / f"{names[2]}.png"
    )
    for name, rows in {"train": names[:1], "test": names[1:3], "val": names[3:]}.items():
        (data / "ddsm_raw_image_lists" / f"{name}.txt").write_text(
            "".join(f"{row}.jpg\n" for row in rows)
        )
    return tmp_path


def test_read_patients(root: Path) -> None:
    tasks, problems = deepminer_release.list_tasks(root)
    assert [task.patient for task in tasks] == ["A_1632_1", "C_0001_1"] and problems == []
    one, two = (deepminer_release.read_patient(task) for task in tasks)
    cc, mlo = one.mammograms
    assert (cc.id, mlo.id, cc.laterality, cc.view) == (
        "A_1632_1.LEFT_CC",
        "A_1632_1.LEFT_MLO",
        "LEFT",
        "CC",
    )
    assert [f.pathology for f in cc.findings] == ["BENIGN", "BENIGN", "BENIGN", "MALIGNANT"] and [
        f.number for f in cc.findings
    ] == [1, 2, 3, 4]
    union = fill_polygons([p for f in cc.findings[1:3] for p in f.outline], SHAPE)
    assert (union == (MASK == 1)).all() and (
        fill_polygons(cc.findings[3].outline, SHAPE) == (MASK == 2)
    ).all()
    assert [f.pathology for f in mlo.findings] == ["BENIGN"]
    assert (one.published_split, two.published_split, one.filed_as, two.filed_as) == (
        "test",
        "holdout",
        "MALIGNANT",
        "NORMAL",
    )
    causes = " ".join(p.cause for p in one.problems)
    assert (
        len(one.problems) == 3
        and "the same film" in causes
        and "mask value 255" in causes
        and "several splits" in causes
    )
    assert two.mammograms[0].findings == () and two.problems == ()


def test_different_films_of_one_name(root: Path) -> None:
    Image.fromarray(film(5)).save(root / "data/ddsm_raw/benign_07-A_1632_1.LEFT_CC.LJPEG.1.jpg")
    patient = deepminer_release.read_patient(deepminer_release.list_tasks(root)[0][0])
    assert len({m.id for m in patient.mammograms}) == 3
    assert {m.id: len(m.findings) for m in patient.mammograms} == {
        "A_1632_1.LEFT_CC": 1,
        "cancer_11-A_1632_1.LEFT_CC": 3,
        "A_1632_1.LEFT_MLO": 1,
    }


def test_split_and_labels_of_patch_lists(root: Path) -> None:
    data = root / "data"
    for file in (data / "ddsm_raw_image_lists").iterdir():
        file.unlink()
    (data / "ddsm_labels" / "3class").mkdir(parents=True)
    cancer, normal = "cancer_11-A_1632_1.LEFT_CC.LJPEG.1", "normal_01-C_0001_1.RIGHT_CC.LJPEG.1"
    rows = {
        "train": f"{cancer}-y0_x10_h20_w20.jpg 2\n",
        "val": "",
        "test": f"x/{normal}-y5_x0_h20_w20.png 0\n",
    }
    for name, text in rows.items():
        (data / "ddsm_labels" / "3class" / f"{name}.txt").write_text(text)
    one, two = (
        deepminer_release.read_patient(task) for task in deepminer_release.list_tasks(data)[0]
    )
    assert (one.published_split, two.published_split) == ("train", "test")
    splits = deepminer_release._published_splits(data)
    (data / "ddsm_labels" / "2class").mkdir()
    (data / "ddsm_labels" / "2class" / "train.txt").write_text("no patch.jpg 1\n")
    assert deepminer_release._published_splits(data) == splits and len(splits) == 2
    shutil.rmtree(data / "ddsm_labels" / "2class")
    assert sum("no list" in p.cause for p in one.problems) == 2
    labels = deepminer_release.read_patch_labels(data)
    assert labels.values.tolist() == [
        [cancer, 0, 10, 20, 20, 2, "train"],
        [normal, 5, 0, 20, 20, 0, "test"],
    ]
    (data / "ddsm_labels" / "3class" / "val.txt").write_text("\nnonsense 1\n")
    with pytest.raises(UserError, match=r"val.txt, line 2"):
        deepminer_release.read_patch_labels(data)
    with pytest.raises(UserError, match="2class"):
        deepminer_release.read_patch_labels(data, 2)


def test_incomplete_image_lists_give_no_split(tmp_path: Path) -> None:
    """The patch lists count then, of which rows that name no patch are left out."""
    for folder in ("ddsm_raw_image_lists", "ddsm_labels/2class"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("train", "val"):
        (tmp_path / "ddsm_raw_image_lists" / f"{name}.txt").write_text("a.jpg\n")
    patch = "b.RIGHT_CC-y5_x0_h20_w20.jpg 0\n"
    (tmp_path / "ddsm_labels" / "2class" / "val.txt").write_text(f"no patch.jpg 1\n{patch}")
    image = deepminer_release._PATCH_NAME.match(patch.split()[0])
    assert image is not None
    assert deepminer_release._published_splits(tmp_path) == {image["image"]: "holdout"}
    for name, image_name in (("train", "a"), ("val", "c"), ("test", "x/d")):
        file = tmp_path / "ddsm_raw_image_lists" / f"{name}.txt"
        file.write_text(f"{image_name}.jpg\n\n")
    complete = {"a": "train", "c": "holdout", "d": "test"}
    assert deepminer_release._published_splits(tmp_path) == complete


def test_binary_lists(root: Path) -> None:
    for folder in ("ddsm_raw_image_lists", "ddsm_labels/3class"):
        (root / "data" / folder).mkdir(parents=True, exist_ok=True)
        for name in deepminer_release.SPLIT_OF_LIST:
            (root / "data" / folder / f"{name}.txt").write_bytes(b"\x86\xff\xfe")
    with pytest.raises(UserError, match=r"ddsm_raw_image_lists.train.txt is not text"):
        deepminer_release.list_tasks(root / "data")
    with pytest.raises(UserError, match=r"3class.train.txt is not text"):
        deepminer_release.read_patch_labels(root / "data")


def test_invalid_input(root: Path, tmp_path: Path) -> None:
    data = root / "data"
    for path in (None, tmp_path / "none", data / "ddsm_raw"):
        with pytest.raises(UserError, match="ddsm_raw"):
            deepminer_release.list_tasks(path)
    (data / "ddsm_raw" / "other.jpg").write_bytes(b"")
    (data / "ddsm_raw" / "normal_01-C_0001_1.RIGHT_CC.LJPEG.1.jpg").unlink()
    with pytest.raises(
        UserError, match=r"1 of 4 listed films .* normal_01-C_0001_1.RIGHT_CC.LJPEG.1.jpg"
    ):
        deepminer_release.list_tasks(data)
    tasks, problems = deepminer_release.list_tasks(data, skip_bad=True)
    assert len(tasks) == 1 and [p.item for p in problems] == ["other.jpg", "ddsm_raw"]
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(
        data / "ddsm_masks/3class/benigns/benign_07-A_1632_1.LEFT_MLO.LJPEG.1.png"
    )
    with pytest.raises(UserError, match="40 x 40 pixels, its film 40 x 60"):
        deepminer_release.read_patient(tasks[0])


@needs_publication
def test_published_lists() -> None:
    cases: dict[str, set[str]] = {}
    for part in ("train", "val", "test"):
        for line in (FOLDER / f"{part}.txt").read_text().split():
            match = deepminer_release.IMAGE_NAME.match(line)
            assert match, line
            cases.setdefault(match["case"], set()).add(part)
    assert Counter(len(parts) for parts in cases.values()) == {1: 2582, 2: 5}
