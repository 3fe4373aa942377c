"""Importers on exports that were written from the documentation of each annotation tool alone.

Field names, units and conventions are those of the cited pages, not of the importer.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.pipeline.ingestion.request import source_module
from core.sources.records import Mammogram
from support.breast_films import breast_film, write_png

WIDTH, HEIGHT = 150, 200


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for k, name in enumerate(("P1_LEFT_CC", "P1_LEFT_MLO", "P2_RIGHT_CC", "P3_LEFT_CC")):
        film = breast_film(k, HEIGHT, WIDTH, right="RIGHT" in name)
        write_png(tmp_path / "films" / f"{name}.png", film)
    return tmp_path / "films"


def read_films(kind: str, path: Path, images: Path, **options: Any) -> dict[str, Mammogram]:
    """Return the mammograms of an export by the name of their file, without its suffix."""
    module = source_module(kind)
    tasks, _ = module.list_tasks(path, images=images, **options)
    patients = [module.read_patient(task) for task in tasks]
    return {Path(f.source_file).stem: f for patient in patients for f in patient.mammograms}


def mask_of(film: Mammogram, number: int = 0) -> np.ndarray:
    return fill_polygons(list(film.findings[number].outline), film.pixels.shape)


def box(film: Mammogram, number: int = 0) -> list[float]:
    points = np.concatenate(film.findings[number].outline)
    return [round(float(value), 3) for value in (*points.min(0), *points.max(0))]


def iou(mask: np.ndarray, other: np.ndarray) -> float:
    return float((mask & other).sum() / (mask | other).sum())


def disc(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return ((columns - x) / radius_x) ** 2 + ((rows - y) / radius_y) ** 2 <= 1


# COCO: cocodataset.org, "Data format". Coordinates in pixels from 0; masks of run lengths count
# column by column, zeros first; compressed counts are those of maskApi.c (rleToString): differences
# to the count before the last, five bits a character from "0" on, the sixth bit continues.
def column_counts(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel().astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    bounds = [0, *changes.tolist(), flat.size]
    counts = np.diff(bounds).tolist()
    return [0, *counts] if flat[0] else counts


def compressed(counts: list[int]) -> str:
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            part = value & 31
            value >>= 5
            more = value != -1 if part & 16 else value != 0
            text += chr((part | 32 if more else part) + 48)
            if not more:
                break
    return text


def test_coco(tmp_path: Path, images: Path) -> None:
    lesion = disc(50, 100, 20, 30)
    counts = column_counts(lesion)
    size = [HEIGHT, WIDTH]
    names = ("P1_LEFT_CC", "P1_LEFT_MLO", "P2_RIGHT_CC", "P3_LEFT_CC")
    annotations = [
        # One object of two polygons, as of an occluded one.
        {"segmentation": [[20, 60, 60, 60, 60, 100], [70, 110, 80, 110, 80, 130, 70, 130]]},
        {"segmentation": [], "bbox": [30.5, 70.0, 20.0, 40.0]},
        {"segmentation": {"counts": counts, "size": size}, "iscrowd": 1},
        {"segmentation": {"counts": compressed(counts), "size": size}, "iscrowd": 1},
    ]
    export = {
        "info": {"year": 2024, "version": "1.0", "description": "", "contributor": ""},
        "licenses": [{"id": 1, "name": "", "url": ""}],
        # Identifiers neither start at 0 nor follow the order of the list.
        "categories": [
            {"id": 7, "name": "malignant mass", "supercategory": "lesion"},
            {"id": 3, "name": "benign", "supercategory": "lesion"},
        ],
        "images": [
            {"id": 40 - k, "width": WIDTH, "height": HEIGHT, "file_name": f"{name}.png"}
            for k, name in enumerate(names)
        ],
        "annotations": [
            {
                "id": 100 + k,
                "image_id": 40 - min(k, 2),
                "category_id": 3 if k == 1 else 7,
                "area": 1.0,
                "bbox": [0, 0, 1, 1],
                "iscrowd": 0,
            }
            | annotation
            for k, annotation in enumerate(annotations)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(export))
    films = read_films("coco", path, images)
    first = films["P1_LEFT_CC"]
    assert first.findings[0].pathology == "MALIGNANT" and len(first.findings[0].outline) == 2
    assert box(first) == [20, 60, 80, 130]
    (boxed,) = films["P1_LEFT_MLO"].findings
    assert boxed.pathology == "BENIGN" and box(films["P1_LEFT_MLO"]) == [30.5, 70, 50.5, 110]
    coded = films["P2_RIGHT_CC"]
    assert len(coded.findings) == 2
    assert iou(mask_of(coded, 0), lesion) > 0.95 and iou(mask_of(coded, 1), lesion) > 0.95
    # An image of the list without an annotation is a normal film.
    assert films["P3_LEFT_CC"].findings == () and not films["P3_LEFT_CC"].unlocated


# Label Studio: labelstud.io/guide/export and /tags/{rectangle,polygon,ellipse,brush}labels: all
# numbers are percent of the image; x and y are the top left corner before the rotation, which turns
# clockwise about that corner; an uploaded file has a prefix of eight characters.
def label_studio_task(
    number: int, name: str, results: list[dict[str, Any]], **annotation: Any
) -> dict[str, Any]:
    common = {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "from_name": "label",
        "to_name": "image",
        "origin": "manual",
    }
    return {
        "id": number,
        "data": {"image": f"/data/upload/3/0a1b2c3d-{name}.png"},
        "annotations": [
            {
                "id": 10 + number,
                "completed_by": 1,
                "was_cancelled": False,
                "ground_truth": False,
                "result": [common | {"id": f"r{k}"} | result for k, result in enumerate(results)],
            }
            | annotation
        ],
        "predictions": [
            {
                "result": [
                    common
                    | {"type": "rectanglelabels", "id": "guess"}
                    | {"value": shape(0, 0, 90, 90, "Malignant")}
                ]
            }
        ],
    }


def shape(x: float, y: float, width: float, height: float, label: str) -> dict[str, Any]:
    return {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "rotation": 0,
        "rectanglelabels": [label],
    }


def test_label_studio(tmp_path: Path, images: Path) -> None:
    rectangle = {"type": "rectanglelabels", "value": shape(20, 30, 20, 15, "Malignant")}
    turned = {
        "type": "rectanglelabels",
        "value": shape(40, 30, 20, 10, "Benign") | {"rotation": 90},
    }
    corners = [[20.0, 30.0], [40.0, 30.0], [40.0, 60.0]]
    polygon = {
        "type": "polygonlabels",
        "value": {"points": corners, "closed": True, "polygonlabels": ["Benign"]},
    }
    ellipse = {
        "type": "ellipselabels",
        "value": {
            "x": 40,
            "y": 50,
            "radiusX": 10,
            "radiusY": 20,
            "rotation": 0,
            "ellipselabels": ["Malignant"],
        },
    }
    tasks = [
        label_studio_task(1, "P1_LEFT_CC", [rectangle, turned]),
        label_studio_task(2, "P1_LEFT_MLO", [polygon]),
        label_studio_task(3, "P2_RIGHT_CC", [ellipse]),
        # A cancelled annotation is none, and a prediction is no annotation.
        label_studio_task(4, "P3_LEFT_CC", [rectangle], was_cancelled=True),
    ]
    path = tmp_path / "project-3.json"
    path.write_text(json.dumps(tasks))
    films = read_films("label-studio", path, images)
    assert set(films) == {"P1_LEFT_CC", "P1_LEFT_MLO", "P2_RIGHT_CC"}
    first = films["P1_LEFT_CC"]
    assert [f.pathology for f in first.findings] == ["MALIGNANT", "BENIGN"]
    assert box(first, 0) == [30, 60, 60, 90]
    # Width 30, height 20 pixels; a quarter turn clockwise about (60, 60) lays it to the left.
    assert box(first, 1) == [40, 60, 60, 90]
    assert box(films["P1_LEFT_MLO"]) == [30, 60, 60, 120]
    assert iou(mask_of(films["P2_RIGHT_CC"]), disc(60, 100, 15, 40)) > 0.95


def test_label_studio_brush_is_no_normal_film(tmp_path: Path, images: Path) -> None:
    brush = {
        "type": "brushlabels",
        "value": {"format": "rle", "rle": [0, 1, 1, 2, 3], "brushlabels": ["Malignant"]},
    }
    path = tmp_path / "project.json"
    path.write_text(json.dumps([label_studio_task(1, "P1_LEFT_CC", [brush])]))
    assert is_unlocated_or_refused("label-studio", path, images)


def test_label_studio_turned_image_is_not_misread(tmp_path: Path, images: Path) -> None:
    mark = {"type": "rectanglelabels", "value": shape(20, 30, 20, 15, "Malignant")}
    task = label_studio_task(1, "P1_LEFT_CC", [mark | {"image_rotation": 90}])
    path = tmp_path / "project.json"
    path.write_text(json.dumps([task]))
    assert is_unlocated_or_refused("label-studio", path, images)


def is_unlocated_or_refused(kind: str, path: Path, images: Path) -> bool:
    """Return whether no patch of the film P1_LEFT_CC can become a normal one."""
    try:
        film = read_films(kind, path, images)["P1_LEFT_CC"]
    except UserError:
        return True
    return film.unlocated


# CVAT for images 1.1: docs.cvat.ai, "XML annotation format": pixels; points "x,y;x,y"; the mask
# counts row by row within its box, zeros first, and is the example of that page; an ellipse has cx,
# cy, rx, ry; a rotation turns clockwise about the centre of a box.
CVAT_MASK = (
    "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
)
CVAT_EXPORT = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>4</id><name>films</name><size>4</size><mode>annotation</mode>
    <flipped>False</flipped>
    <labels><label><name>lesion</name><attributes><attribute><name>pathology</name>
      <input_type>select</input_type></attribute></attributes></label></labels>
  </task></meta>
  <image id="0" name="P1_LEFT_CC.png" width="150" height="200">
    <box label="malignant" source="manual" occluded="0" xtl="20.50" ytl="60.00" xbr="60.00"
      ybr="100.00" z_order="0"></box>
    <polygon label="lesion" source="manual" occluded="0"
      points="20.00,110.00;60.00,110.00;60.00,150.00" z_order="1">
      <attribute name="pathology">benign</attribute></polygon>
    <box label="malignant" source="manual" occluded="0" xtl="20.00" ytl="60.00" xbr="60.00"
      ybr="80.00" rotation="90.0" z_order="0"></box>
  </image>
  <image id="1" name="P1_LEFT_MLO.png" width="150" height="200">
    <ellipse label="benign" source="manual" occluded="0" cx="50.00" cy="100.00" rx="20.00"
      ry="30.00" z_order="0"></ellipse>
  </image>
  <image id="2" name="P2_RIGHT_CC.png" width="150" height="200">
    <mask label="malignant" source="manual" occluded="0" rle="{CVAT_MASK}" left="70" top="88"
      width="13" height="15" z_order="0"></mask>
  </image>
  <image id="3" name="P3_LEFT_CC.png" width="150" height="200">
  </image>
</annotations>
"""


def test_cvat(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT_EXPORT)
    films = read_films("cvat", path, images)
    first = films["P1_LEFT_CC"]
    assert [f.pathology for f in first.findings] == ["MALIGNANT", "BENIGN", "MALIGNANT"]
    assert box(first, 0) == [20.5, 60, 60, 100] and box(first, 1) == [20, 110, 60, 150]
    # A quarter turn about its centre (40, 70) exchanges the sides of a box.
    assert box(first, 2) == [30, 50, 50, 90]
    assert iou(mask_of(films["P1_LEFT_MLO"]), disc(50, 100, 20, 30)) > 0.95
    mask = mask_of(films["P2_RIGHT_CC"])
    rows, columns = np.nonzero(mask)
    assert (columns.min(), rows.min()) == (70, 88)
    expected = np.zeros((15, 13), bool).ravel()
    lengths = [int(part) for part in CVAT_MASK.split(",")]
    starts = np.cumsum([0, *lengths])
    for k in range(1, len(lengths), 2):
        expected[starts[k] : starts[k + 1]] = True
    assert iou(mask[88:103, 70:83], expected.reshape(15, 13)) > 0.95
    assert films["P3_LEFT_CC"].findings == () and not films["P3_LEFT_CC"].unlocated


@pytest.mark.parametrize(
    "element",
    [
        '<tag label="malignant" source="manual"></tag>',
        '<points label="malignant" points="40.00,70.00" z_order="0"></points>',
        '<polyline label="malignant" points="20.00,60.00;60.00,90.00" z_order="0"></polyline>',
        '<skeleton label="malignant" z_order="0"><points label="1" points="40.0,70.0"/></skeleton>',
    ],
)
def test_cvat_shapes_without_an_area_are_no_normal_film(
    element: str, tmp_path: Path, images: Path
) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        f'<image id="0" name="P1_LEFT_CC.png" width="150" height="200">{element}</image>'
        "</annotations>"
    )
    assert is_unlocated_or_refused("cvat", path, images)


def test_cvat_video_export_is_refused(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        '<track id="0" label="malignant"><box frame="0" xtl="1" ytl="1" xbr="9" ybr="9"'
        ' outside="0" occluded="0" keyframe="1"></box></track></annotations>'
    )
    with pytest.raises(UserError, match="image|track|video"):
        read_films("cvat", path, images)


# YOLO: docs.ultralytics.com/datasets/detect and /segment: shares of width and height; a box is its
# centre, width and height; a polygon has at least three pairs; labels/ mirrors images/; names is a
# mapping or a list in data.yaml. An image without an object needs no label file.
@pytest.mark.parametrize(
    "names", ["names:\n  0: malignant\n  1: benign\n", "nc: 2\nnames: ['malignant', 'benign']\n"]
)
def test_yolo(names: str, tmp_path: Path) -> None:
    root = tmp_path / "films"
    for k, name in enumerate(("train/P1_LEFT_CC", "train/P1_LEFT_MLO", "val/P2_RIGHT_CC")):
        film = breast_film(k, HEIGHT, WIDTH, right="RIGHT" in name)
        write_png(root / "images" / f"{name}.png", film)
    (root / "data.yaml").write_text(f"path: films\ntrain: images/train\nval: images/val\n{names}")
    labels = {
        "train/P1_LEFT_CC": "0 0.4 0.5 0.2 0.1\n1 0.2 0.3 0.4 0.3 0.4 0.6\n",
        "train/P1_LEFT_MLO": "",
        "val/P2_RIGHT_CC": "0 0.6 0.5 0.2 0.1\n",
    }
    for name, text in labels.items():
        file = root / "labels" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    films = read_films("yolo", root, root / "images")
    first = films["P1_LEFT_CC"]
    assert [f.pathology for f in first.findings] == ["MALIGNANT", "BENIGN"]
    assert box(first, 0) == [45, 90, 75, 110] and box(first, 1) == [30, 60, 60, 120]
    assert films["P1_LEFT_MLO"].findings == () and not films["P1_LEFT_MLO"].unlocated
    assert box(films["P2_RIGHT_CC"]) == [75, 90, 105, 110]


def test_rotated_ellipse_of_label_studio(tmp_path: Path, images: Path) -> None:
    """The radii are percent of width and height; the ellipse turns about its centre."""
    value = {"x": 40, "y": 50, "radiusX": 20, "radiusY": 5, "ellipselabels": ["Malignant"]}
    mark = {"type": "ellipselabels", "value": value | {"rotation": 30}}
    path = tmp_path / "project.json"
    path.write_text(json.dumps([label_studio_task(1, "P1_LEFT_CC", [mark])]))
    film = read_films("label-studio", path, images)["P1_LEFT_CC"]
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    angle = math.radians(30)
    along = (columns - 60) * math.cos(angle) + (rows - 100) * math.sin(angle)
    across = -(columns - 60) * math.sin(angle) + (rows - 100) * math.cos(angle)
    assert iou(mask_of(film), (along / 30) ** 2 + (across / 10) ** 2 <= 1) > 0.93


def test_choices_of_label_studio(tmp_path: Path, images: Path) -> None:
    """Choices about a region share its id; choices about the image have one of their own."""
    lesion = {"type": "rectanglelabels", "id": "a", "value": shape(20, 30, 20, 15, "Lesion")}
    of_region = {"type": "choices", "id": "a", "value": {"choices": ["Malignant"]}}
    of_image = {"type": "choices", "id": "b", "value": {"choices": ["Malignant"]}}
    normal = {"type": "choices", "id": "c", "value": {"choices": ["Normal"]}}
    tasks = [
        label_studio_task(1, "P1_LEFT_CC", [lesion, of_region]),
        label_studio_task(2, "P1_LEFT_MLO", [of_image]),
        label_studio_task(3, "P2_RIGHT_CC", [normal]),
    ]
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks))
    films = read_films("label-studio", path, images)
    assert [f.pathology for f in films["P1_LEFT_CC"].findings] == ["MALIGNANT"]
    assert not films["P1_LEFT_CC"].unlocated and films["P1_LEFT_MLO"].unlocated
    assert films["P2_RIGHT_CC"].findings == () and not films["P2_RIGHT_CC"].unlocated


def test_label_studio_shapes_of_other_kinds_are_refused(tmp_path: Path, images: Path) -> None:
    mark = {"type": "vectorlabels", "value": {"vertices": [], "vectorlabels": ["Malignant"]}}
    path = tmp_path / "project.json"
    path.write_text(json.dumps([label_studio_task(1, "P1_LEFT_CC", [mark])]))
    with pytest.raises(UserError, match="vectorlabels"):
        read_films("label-studio", path, images)


def test_tags_of_cvat_that_state_no_pathology(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(
        CVAT_EXPORT.replace('z_order="0"></mask>', 'z_order="0"></mask><tag label="good_frame"/>')
    )
    film = read_films("cvat", path, images)["P2_RIGHT_CC"]
    assert len(film.findings) == 1 and not film.unlocated


def test_denied_pathology_is_refused(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT_EXPORT.replace('box label="malignant"', 'box label="not malignant"', 1))
    with pytest.raises(UserError, match="denies a pathology"):
        read_films("cvat", path, images)
