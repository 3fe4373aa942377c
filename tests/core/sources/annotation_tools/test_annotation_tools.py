"""Exports of annotation tools on small projects; geometry is checked against hand computation."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources.annotation_tools import coco, cvat, label_studio, yolo
from core.sources.annotation_tools.marks import label_meaning
from core.sources.annotation_tools.run_lengths import coco_mask_outline
from core.sources.plans.birads import parse_birads_mapping
from core.sources.records import Mammogram, Problem
from support.breast_films import breast_film, write_png

HEIGHT, WIDTH = 200, 150


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for k, name in enumerate(("P1/LCC", "P1/RMLO", "flat_L_CC", "other")):
        write_png(tmp_path / "films" / f"{name}.png", breast_film(k))
    return tmp_path / "films"


def read_all(
    module: ModuleType, path: Path, images: Path, **options: Any
) -> tuple[dict[str, Mammogram], list[Problem]]:
    tasks, problems = module.list_tasks(path, images=images, **options)
    patients = [module.read_patient(task) for task in tasks]
    films = {film.source_file: film for patient in patients for film in patient.mammograms}
    return films, [*problems, *(p for patient in patients for p in patient.problems)]


def bounds(film: Mammogram, number: int = 0) -> list[float]:
    points = np.concatenate(film.findings[number].outline)
    return [*points.min(0).tolist(), *points.max(0).tolist()]


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def coco_document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 1, "file_name": "P1/LCC.png", "width": WIDTH, "height": HEIGHT},
            {"id": 2, "file_name": "P1/RMLO.png", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "flat_L_CC.png", "width": 300, "height": 400},
        ],
        "categories": [
            {"id": 7, "name": "malignant mass"},
            {"id": 8, "name": "calcification"},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 7,
                "segmentation": [[20, 60, 40, 60, 40, 90], [50, 95, 70, 95, 70, 120]],
                "bbox": [20, 60, 50, 60],
            },
            {
                "id": 2,
                "image_id": 1,
                "category_id": 8,
                "segmentation": [],
                "bbox": [10, 80, 30, 25],
                "attributes": {"birads": "4b"},
            },
            {"id": 3, "image_id": 3, "category_id": 7, "bbox": [40, 160, 20, 60]},
        ],
    }


def test_coco(tmp_path: Path, images: Path) -> None:
    path = write_json(tmp_path / "coco.json", coco_document())
    films, problems = read_all(coco, path, images, pathology_from_birads="4b-5=MALIGNANT")
    film, unmarked, scaled = films["LCC.png"], films["RMLO.png"], films["flat_L_CC.png"]
    mass, calcification = film.findings
    # Two polygons of three corners: joined they would have six.
    assert [len(polygon) for polygon in mass.outline] == [3, 3]
    assert (mass.pathology, mass.lesion_type) == ("MALIGNANT", "MASS")
    assert (calcification.pathology, calcification.assessment) == ("MALIGNANT", 4)
    assert bounds(film, 1) == [10, 80, 40, 105]
    assert (film.laterality, film.view, unmarked.findings) == ("LEFT", "CC", ())
    # Annotated on an image of twice the size; (40 + .5) / 2 - .5 = 19.75.
    assert bounds(scaled) == [19.75, 79.75, 29.75, 109.75]
    causes = " ".join(p.cause for p in problems)
    assert "1 images have no mark" in causes and "the image has 150 x 200" in causes


def test_patients_of_images(tmp_path: Path, images: Path) -> None:
    document = coco_document()
    document["images"].append({"id": 4, "file_name": "other.png"})
    path = write_json(tmp_path / "coco.json", document)
    tasks, problems = coco.list_tasks(path, images=images)
    assert {task.patient: len(task.films) for task in tasks} == {"P1": 2, "flat": 1, "other": 1}
    assert any("no patient for 1 images" in p.cause for p in problems)
    for image in document["images"]:
        image["patient_id"] = "K7"
    tasks, _ = coco.list_tasks(write_json(path, document), images=images)
    assert {task.patient: len(task.films) for task in tasks} == {"K7": 4}


def test_run_lengths_of_coco() -> None:
    """The compressed text stands for the counts 6, 1, 40, 4, 5, 4, 5, 4, 21 (9 x 10 pixels)."""
    counts = [6, 1, 40, 4, 5, 4, 5, 4, 21]
    mask = np.repeat(np.arange(9) % 2 == 1, counts).reshape(10, 9).T
    plain = coco_mask_outline({"counts": counts, "size": [9, 10]})
    assert (fill_polygons(map(np.array, plain.polygons), (9, 10)) == mask).all()
    # By hand: 6, 1 and 40 as they are (40 = 01000 + 1 * 32), then differences to the last but one:
    # 4 - 1 = 3, 5 - 40 = -35, 4 - 4 = 0, 5 - 5 = 0, 4 - 4 = 0, 21 - 5 = 16.
    compressed = "61X13mN000`0"
    assert coco_mask_outline({"counts": compressed, "size": [9, 10]}) == plain
    with pytest.raises(UserError, match="cover 90 pixels, its image has 99"):
        coco_mask_outline({"counts": counts, "size": [9, 11]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segmentation": [[1, 2, 3, 4]]}, "annotation 1: a list of four numbers"),
        ({"bbox": [1, 2, 3], "segmentation": []}, "neither a segmentation nor a box"),
        ({"image_id": 99}, "annotation 1: its image or category"),
        ({"segmentation": [[0.1, 0.2, 0.3, 0.2, 0.3, 0.9]]}, "shares of the film"),
    ],
)
def test_faults_of_coco(tmp_path: Path, images: Path, change: dict[str, Any], message: str) -> None:
    document = coco_document()
    document["annotations"][0] |= change
    path = write_json(tmp_path / "coco.json", document)
    with pytest.raises(UserError, match=message):
        coco.list_tasks(path, images=images)


def test_annotations_of_coco_without_a_number_are_counted(tmp_path: Path, images: Path) -> None:
    document = coco_document()
    first = dict(document["annotations"][0])
    del first["id"]
    document["annotations"] = [first, first | {"image_id": 99}]
    path = write_json(tmp_path / "coco.json", document)
    with pytest.raises(UserError, match="annotation 2: its image or category"):
        coco.list_tasks(path, images=images)


def studio_task(name: str, *results: dict[str, Any]) -> dict[str, Any]:
    for result in results:
        result |= {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": 5, "data": {"image": name}, "annotations": [{"result": list(results)}]}


def test_label_studio(tmp_path: Path, images: Path) -> None:
    rectangle = {
        "type": "rectanglelabels",
        "value": {
            "x": 20, "y": 40, "width": 20, "height": 10, "rotation": 0,
            "rectanglelabels": ["Benign"],
        },
    }  # fmt: skip
    polygon = {
        "type": "polygonlabels",
        "value": {"points": [[10, 30], [40, 30], [40, 45]], "polygonlabels": ["mass"]},
    }
    turned = {
        "type": "rectanglelabels",
        "value": {
            "x": 40, "y": 50, "width": 20, "height": 5, "rotation": 90,
            "rectanglelabels": ["cancer"],
        },
    }  # fmt: skip
    ellipse = {
        "type": "ellipselabels",
        "value": {
            "x": 40, "y": 50, "radiusX": 20, "radiusY": 5, "rotation": 90,
            "ellipselabels": ["benign"],
        },
    }  # fmt: skip
    tasks = [
        studio_task("/data/upload/3/0123abcd-flat_L_CC.png", rectangle, polygon),
        studio_task("/data/local-files/?d=films/P1/LCC.png", turned, ellipse),
        {"id": 6, "data": {"image": "other.png"}, "annotations": []},
    ]
    films, problems = read_all(label_studio, write_json(tmp_path / "ls.json", tasks), images)
    # Percent of 150 x 200 pixels.
    assert bounds(films["flat_L_CC.png"]) == [30, 80, 60, 100]
    assert bounds(films["flat_L_CC.png"], 1) == pytest.approx([15, 60, 60, 90])
    labels = [finding.pathology for finding in films["flat_L_CC.png"].findings]
    assert labels == ["BENIGN", "UNPROVEN"]
    # 30 x 10 pixels at (60, 100), a quarter turn clockwise about that corner: 10 wide, 30 high.
    assert bounds(films["LCC.png"]) == pytest.approx([50, 100, 60, 130])
    # Radii of 30 and 10 pixels, turned: 10 and 30.
    assert bounds(films["LCC.png"], 1) == pytest.approx([50, 70, 70, 130])
    assert any("1 tasks have no annotation" in p.cause for p in problems)
    assert "other.png" not in films


def test_label_studio_with_two_annotators(tmp_path: Path, images: Path) -> None:
    task = studio_task("other.png")
    task["annotations"] *= 2
    with pytest.raises(UserError, match="task 5: it has 2 annotations"):
        label_studio.list_tasks(write_json(tmp_path / "ls.json", [task]), images=images)
    brush = studio_task("other.png", {"type": "brushlabels", "value": {"brushlabels": ["mass"]}})
    with pytest.raises(UserError, match="kind brushlabels are not read"):
        label_studio.list_tasks(write_json(tmp_path / "ls.json", [brush]), images=images)


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="P1/LCC.png" width="150" height="200">
  <box label="benign" xtl="20.5" ytl="60" xbr="40" ybr="90.5" z_order="0"></box>
  <polygon label="lesion" points="50,95;70,95;70,120">
    <attribute name="pathology">malignant</attribute></polygon>
  <ellipse label="benign" cx="60" cy="100" rx="30" ry="10" rotation="90.0"></ellipse>
  <mask label="malignant" rle="1,2,2,2,1" left="30" top="110" width="4" height="2"></mask>
</image>
<image id="1" name="other.png" width="150" height="200">
  <points label="malignant" points="60,100"></points>
</image>
</annotations>
"""


def test_cvat(tmp_path: Path, images: Path) -> None:
    (tmp_path / "annotations.xml").write_text(CVAT)
    films, _ = read_all(cvat, tmp_path / "annotations.xml", images)
    film, point = films["LCC.png"], films["other.png"]
    assert [f.pathology for f in film.findings] == ["BENIGN", "MALIGNANT", "BENIGN", "MALIGNANT"]
    assert bounds(film) == [20.5, 60, 40, 90.5] and bounds(film, 1) == [50, 95, 70, 120]
    assert bounds(film, 2) == pytest.approx([50, 70, 70, 130])
    # Row by row: .XX. / .XX. would be 1,2,2,2,1, at (30, 110).
    mask = fill_polygons(film.findings[3].outline, film.pixels.shape)
    assert np.argwhere(mask).tolist() == [[110, 31], [110, 32], [111, 31], [111, 32]]
    # A point has no area, so the finding can lie in any patch.
    assert point.unlocated and point.findings[0].pathology == "MALIGNANT"
    (tmp_path / "video.xml").write_text("<annotations><track id='0'></track></annotations>")
    with pytest.raises(UserError, match="CVAT for images"):
        cvat.list_tasks(tmp_path / "video.xml", images=images)


@pytest.mark.parametrize(
    "names",
    [
        "names: ['benign', 'malignant']\n",
        "train: x\nnames:\n  0: benign\n  1: malignant\nnc: 2\n",
        "names:\n- benign\n- malignant\n",
    ],
)
def test_yolo(tmp_path: Path, images: Path, names: str) -> None:
    (tmp_path / "data.yaml").write_text(names)
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "LCC.txt").write_text("1 0.2 0.4 0.1 0.3\n0 0.1 0.3 0.4 0.3 0.4 0.45\n")
    (labels / "RMLO.txt").touch()
    films, problems = read_all(yolo, tmp_path, images)
    assert sorted(films) == ["LCC.png", "RMLO.png"] and films["RMLO.png"].findings == ()
    # Centre (30, 80), 15 x 60 pixels.
    assert bounds(films["LCC.png"]) == pytest.approx([22.5, 50, 37.5, 110])
    assert bounds(films["LCC.png"], 1) == pytest.approx([15, 60, 60, 90])
    assert [f.pathology for f in films["LCC.png"].findings] == ["MALIGNANT", "BENIGN"]
    assert any("2 images have no label file" in p.cause for p in problems)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1 30 80 15 60", "not shares"),
        ("2 0.2 0.4 0.1 0.3", "no class 2, only 0 to 1"),
        ("1 0.2 0.4 0.1 0.3 0.9", "a prediction"),
        ("1 0.2 x 0.1 0.3", "not a row of numbers"),
        ("1 0.2 0.4 0.1", "three pairs"),
    ],
)
def test_faults_of_yolo(tmp_path: Path, images: Path, row: str, message: str) -> None:
    (tmp_path / "classes.txt").write_text("benign\nmalignant\n")
    (tmp_path / "LCC.txt").write_text(row + "\n")
    with pytest.raises(UserError, match=rf"LCC.txt, row 1: .*{message}"):
        yolo.list_tasks(tmp_path, images=images)


def test_meaning_of_labels() -> None:
    mapping = parse_birads_mapping("5=MALIGNANT")
    assert label_meaning("Benign_without_callback", {}, mapping)[0] == "BENIGN_WITHOUT_CALLBACK"
    assert label_meaning("BI-RADS 5 mass", {}, mapping)[:2] == ("MALIGNANT", "MASS")
    assert label_meaning("finding", {"pathology": "benign"}, mapping)[0] == "BENIGN"
    assert label_meaning("finding", {}, mapping)[0] == "UNPROVEN"
    with pytest.raises(UserError, match="several pathologies"):
        label_meaning("benign or malignant", {}, mapping)


@pytest.mark.parametrize("path", ["P2/LCC.png", "/data/upload/P2/LCC.png", "..\\P2\\LCC.png"])
def test_folders_of_a_path_tell_equal_names_apart(tmp_path: Path, images: Path, path: str) -> None:
    write_png(images / "P2" / "LCC.png", breast_film(7))
    document = {"images": [{"id": 1, "file_name": path}], "categories": [], "annotations": []}
    [task], _ = coco.list_tasks(write_json(tmp_path / "coco.json", document), images=images)
    assert [film.image for film in task.films] == [images / "P2" / "LCC.png"]


def test_images_that_are_absent(tmp_path: Path, images: Path) -> None:
    (images / "other.png").unlink()
    (tmp_path / "annotations.xml").write_text(CVAT)
    with pytest.raises(UserError, match=r"image other.png: the image other.png is not"):
        cvat.list_tasks(tmp_path / "annotations.xml", images=images)
    with pytest.raises(UserError, match="--images"):
        cvat.list_tasks(tmp_path / "annotations.xml")


def test_patients_with_control_characters(tmp_path: Path, images: Path) -> None:
    document = coco_document()
    document["images"][0]["patient_id"] = "K\x077"
    path = write_json(tmp_path / "coco.json", document)
    with pytest.raises(UserError, match=r"control character U\+0007"):
        coco.list_tasks(path, images=images)
    tasks, problems = coco.list_tasks(path, images=images, skip_bad=True)
    assert len(tasks) == 2 and sum(problem.skipped for problem in problems) == 1


def test_cropped_images_are_refused(tmp_path: Path, images: Path) -> None:
    document = coco_document()
    document["images"][0]["width"] = 170
    tasks, _ = coco.list_tasks(write_json(tmp_path / "coco.json", document), images=images)
    with pytest.raises(UserError, match="drawn on an image of 170 x 200 pixels, but LCC.png has"):
        coco.read_patient(next(task for task in tasks if task.patient == "P1"))


@pytest.mark.parametrize("key", ["images", "categories"])
def test_coco_files_that_were_merged_without_new_numbers(
    tmp_path: Path, images: Path, key: str
) -> None:
    """The marks of one image would be those of another one as well."""
    document = coco_document()
    document[key].append(document[key][0] | {"file_name": "other.png", "name": "benign mass"})
    path = write_json(tmp_path / "coco.json", document)
    with pytest.raises(UserError, match=rf"several {key} have the id"):
        coco.list_tasks(path, images=images)


def test_yolo_names_that_fit_several_files(tmp_path: Path, images: Path) -> None:
    root = tmp_path / "yolo"
    for folder in ("train", "val"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("malignant\nbenign\n\n")
    (root / "train" / "other.txt").write_text("0 .3 .5 .1 .1\n")
    films, _ = read_all(yolo, root, images)
    assert films["other.png"].findings[0].pathology == "MALIGNANT"
    (root / "val" / "other.txt").write_text("")
    with pytest.raises(UserError, match="have one name, so that the image of each is uncertain"):
        yolo.list_tasks(root, images=images)
    (root / "val" / "other.txt").unlink()
    write_png(images / "again" / "other.png", breast_film(8))
    with pytest.raises(UserError, match=r"other\.txt fits 2 images"):
        yolo.list_tasks(root, images=images)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "malignant\n\nbenign\n"),
        ("data.yaml", "names:\n  0: malignant\n  2: benign\n"),
    ],
)
def test_yolo_classes_with_a_gap(tmp_path: Path, images: Path, file: str, text: str) -> None:
    """The class behind the gap would be found under the number of the gap."""
    (tmp_path / file).write_text(text)
    (tmp_path / "other.txt").write_text("1 .3 .5 .1 .1\n")
    with pytest.raises(UserError, match=f"{file} names no class 1"):
        yolo.list_tasks(tmp_path, images=images)


def test_one_patient_in_two_spellings(tmp_path: Path, images: Path) -> None:
    document = coco_document()
    for image, patient in zip(document["images"], ("P1", "p1", "X")):
        image["patient_id"] = patient
    path = write_json(tmp_path / "coco.json", document)
    with pytest.raises(UserError, match=r"image P1/LCC\.png: the patients .* only in spelling"):
        coco.list_tasks(path, images=images)
    (task,), problems = coco.list_tasks(path, images=images, skip_bad=True)
    assert task.patient == "X" and sum(problem.skipped for problem in problems) == 2


@pytest.mark.parametrize("module", [coco, cvat, label_studio])
def test_large_and_empty_exports(tmp_path: Path, images: Path, module: ModuleType) -> None:
    """A file of 2 GB is refused before it is read; one of 0 bytes as what it is not."""
    export = tmp_path / "export"
    with export.open("wb") as file:
        file.truncate(2_000_000_000)
    with pytest.raises(UserError, match="has 2,000 MB, more than the 256 MB that are read"):
        module.list_tasks(export, images=images)
    export.write_bytes(b"")
    with pytest.raises(UserError, match="is not (JSON|XML)"):
        module.list_tasks(export, images=images)
