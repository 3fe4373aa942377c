"""Entries of annotation exports, one by one, as marks with every field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from core.errors import UserError
from core.sources.annotation_tools import coco, cvat, label_studio, marks, run_lengths, yolo
from core.sources.annotation_tools.marks import Mark, MarkedImage
from core.sources.outlines.records import Outline, box_outline
from core.sources.plans.birads import BiradsCategory, BiradsMapping, parse_birads_mapping
from core.sources.plans.cells import ImageIndex
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.records import Problem

FILE = Path("e.json")


def test_images_and_marks_of_coco() -> None:
    document = {
        "categories": [{"id": 4, "name": "mass"}, {"id": 9, "name": 7}],
        "images": [
            {"id": 1, "file_name": "a.png", "width": 80, "height": 100, "patient": 12},
            {"id": 2, "file_name": "b.png", "height": 5, "patient_id": "P", "patient": "Q"},
            {"id": 3, "file_name": "c.png"},
        ],
        "annotations": [
            {"image_id": 2, "category_id": 4, "bbox": [10, 20, 30, 5], "id": 50},
            {
                "image_id": 1, "category_id": 9, "segmentation": [[1, 2, 9, 2, 9, 8]],
                "bbox": [0, 0, 1, 1], "attributes": {"Z": 1, "Birads": "4a"},
            },
            {"image_id": 2, "category_id": 4, "segmentation": [], "bbox": [3, 4, 2, 6]},
            {
                "image_id": 2, "category_id": 4,
                "segmentation": {"counts": [5, 2, 2, 2, 5], "size": [4, 4]},
            },
        ],
    }  # fmt: skip
    first, second, third = coco._marked_images(document, FILE)
    assert first == MarkedImage(
        name="a.png",
        marks=(
            Mark(
                label="7",
                attributes=(("birads", "4a"), ("z", "1")),
                outline=Outline(polygons=(((1.0, 2.0), (9.0, 2.0), (9.0, 8.0)),)),
                origin="e.json, annotation 2",
            ),
        ),
        patient="12",
        size=(80, 100),
        origin="e.json, image a.png",
    )
    assert (second.patient, second.size) == ("P", None)
    assert [mark.origin for mark in second.marks] == [
        *("e.json, annotation 50", "e.json, annotation 3", "e.json, annotation 4"),
    ]
    assert [mark.outline for mark in second.marks[:2]] == [
        box_outline(10, 20, 40, 25),
        box_outline(3, 4, 5, 10),
    ]
    outline = second.marks[2].outline
    assert outline is not None and {len(points) for points in outline.polygons} == {4}
    assert third == MarkedImage(name="c.png", marks=(), origin="e.json, image c.png")


@pytest.mark.parametrize("box", [None, [1, 2, 3], "abcd", {}])
def test_annotations_of_coco_without_a_place(box: Any) -> None:
    with pytest.raises(UserError, match="neither a segmentation nor a box of four numbers"):
        coco._outline({"bbox": box})


def test_json_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The source is missing: give the export\."):
        coco.read_json(None, "the export")
    with pytest.raises(UserError, match=r"is not a file: give the export\."):
        coco.read_json(tmp_path, "the export")
    file = tmp_path / "e.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert coco.read_json(file, "the export") == {"a": 1}
    file.write_text("{")
    with pytest.raises(UserError, match=r"e\.json is not JSON .*: give the export\."):
        coco.read_json(file, "the export")
    file.write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not JSON"):
        coco.read_json(file, "the export")


@pytest.mark.parametrize("tool", [coco, cvat, label_studio, yolo])
def test_folder_of_the_images_is_needed(tool: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The folder of the images is missing"):
        tool.list_tasks(tmp_path / "e")
    missing = r"(?i)source is missing|is no file"
    with pytest.raises(UserError, match=missing):
        tool.list_tasks(None, images=tmp_path)


def test_exports_of_another_structure(tmp_path: Path) -> None:
    file = tmp_path / "e"
    for document in ({}, [], {"images": [], "categories": 4}):
        file.write_text(json.dumps(document))
        with pytest.raises(UserError, match=r"is not a COCO file \((Key|Type|Attribute)Error"):
            coco.list_tasks(file, images=tmp_path)
    for document in ({"a": 1}, 4, [{"data": {}}], [{"annotations": [{"result": [{}]}]}]):
        file.write_text(json.dumps(document))
        with pytest.raises(UserError, match="is not a JSON export of Label Studio"):
            label_studio.list_tasks(file, images=tmp_path)
    for text, message in (
        ("<a", "is not XML"),
        ("<video/>", 'is no "CVAT for images" export'),
        ("<annotations><track/></annotations>", 'is no "CVAT for images" export'),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            cvat.list_tasks(file, images=tmp_path)


def cvat_image(content: str, size: str = 'width="80" height="100"') -> MarkedImage:
    element = ElementTree.fromstring(f'<image name="P1/a.png" {size}>{content}</image>')
    return cvat._marked_image(element, Path("a.xml"))


def test_images_and_marks_of_cvat() -> None:
    image = cvat_image(
        '<tag label="benign"/><box label="mass" xtl="1" ytl="2" xbr="5" ybr="8">'
        '<attribute name="BIRADS"> 4a </attribute><attribute name="Note"/></box><other/>'
        '<polyline label="line" points="1,2;3,4"/><polygon points="1,2;9,2;9.5,8"/>'
    )
    origin = "a.xml, image P1/a.png"
    box, line, polygon = image.marks
    assert (image.name, image.labels, image.size) == ("P1/a.png", ("benign",), (80, 100))
    assert (image.origin, image.patient) == (origin, "")
    assert box == Mark(
        label="mass",
        attributes=(("birads", "4a"), ("note", "")),
        outline=box_outline(1, 2, 5, 8),
        origin=f"{origin}, box 1",
    )
    assert line == Mark(label="line", origin=f"{origin}, polyline 2")
    assert polygon == Mark(
        label="",
        outline=Outline(polygons=(((1.0, 2.0), (9.0, 2.0), (9.5, 8.0)),)),
        origin=f"{origin}, polygon 3",
    )
    for size in ("", 'width="80"', 'height="100"'):
        assert cvat_image("", size).size is None
    for kind in cvat._SHAPES - {"box", "polygon", "ellipse", "mask"}:
        assert cvat_image(f'<{kind} label="x"/>').marks[0].outline is None
    for content, message in (
        ('<box xtl="1" ytl="2" xbr="1" ybr="8"/>', "box 1: the box .* encloses nothing.*correct"),
        ('<box ytl="2" xbr="1" ybr="8"/>', "box 1: its coordinates cannot be read"),
        ('<polygon points="1,a;2,3"/>', "polygon 1: its coordinates cannot be read"),
    ):
        with pytest.raises(UserError, match=f"^{origin}, {message}"):
            cvat_image(content)


def test_rotated_shapes_of_cvat() -> None:
    """A box of 8 x 4 around (5, 4) turned by 90 degrees reaches 2 to the sides and 4 up."""
    box = '<box xtl="1" ytl="2" xbr="9" ybr="6" rotation="90"/>'
    (mark,) = cvat_image(box).marks
    assert mark.outline is not None
    points = np.array(mark.outline.polygons[0])
    # Clockwise on the screen: the upper left corner comes to the upper right.
    assert points == pytest.approx(np.array([[7, 0], [7, 8], [3, 8], [3, 0]]))
    ellipse = '<ellipse cx="5" cy="4" rx="4" ry="2" rotation="0"/>'
    (mark,) = cvat_image(ellipse).marks
    assert mark.outline is not None
    points = np.array(mark.outline.polygons[0])
    assert points.min(0) == pytest.approx([1, 2]) and points.max(0) == pytest.approx([9, 6])
    (mark,) = cvat_image('<mask rle="1,2,1,2" left="10" top="20.0" width="3" height="2"/>').marks
    assert mark.outline is not None
    assert np.array(mark.outline.polygons[0]).min(0).tolist() == [11, 20]


def test_counts_of_compressed_masks() -> None:
    """Groups of five bits from the lowest, 32 for "more follow"; the sign is in the last group."""
    assert run_lengths._decompress("52203") == [5, 2, 2, 2, 5]
    assert run_lengths._decompress("") == []
    # 40 = 8 + 1 x 32: the first group is 8 with "more", the second 1. 31 needs a group of 0.
    assert run_lengths._decompress(f"{chr(48 + 8 + 32)}{chr(48 + 1)}") == [40]
    assert run_lengths._decompress(f"{chr(48 + 31 + 32)}{chr(48)}") == [31]
    # -3 is 11101 with the sign in bit 16; the fourth count is the difference to the second.
    assert run_lengths._decompress(f"497{chr(48 + 29)}") == [4, 9, 7, 6]
    assert run_lengths._expand([0, 2, 1], 3).tolist() == [True, True, False]
    for counts, pixels in (([0], 0), ([1, 1], 3), ([4, -1], 3)):
        with pytest.raises(UserError, match=rf"cover {sum(counts)} pixels, its image has {pixels}"):
            run_lengths._expand(counts, pixels)


def test_files_of_yolo(tmp_path: Path) -> None:
    labels, images = tmp_path / "l", tmp_path / "i"
    for name in ("P1/a.png", "P1/b.png", "P2/c.png", "P2/d.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    labels.mkdir()
    for name, text in {
        "classes.txt": "mass\ncalc benign\n", "a.txt": "1 .5 .4 .2 .6\n\n0 .1 .1 .9 .1 .9 .8\n",
        "b.txt": "", "c.txt": "0 .5 .5 .5 .5\n", "README.roboflow.txt": "made by a program",
    }.items():  # fmt: skip
        (labels / name).write_text(text)
    (first, second), problems = yolo.list_tasks(labels, images=images)
    assert (first.patient, second.patient) == ("P1", "P2")
    assert [(f.image.name, len(f.findings)) for f in first.films] == [("a.png", 2), ("b.png", 0)]
    one, two = first.films[0].findings
    assert (one.pathology, one.lesion_type, one.origin) == (
        *("BENIGN", "CALCIFICATION"),
        f"{labels / 'a.txt'}, row 1",
    )
    assert (two.pathology, two.lesion_type, two.origin[-5:]) == ("UNPROVEN", "MASS", "row 3")
    assert problems == [
        Problem("images", "1 images have no mark", "imported as normal"),
        Problem("images", "1 images have no label file", "these images are not imported"),
    ]
    for text, message in (
        ("2 .5 .5 .1 .1", "there is no class 2, only 0 to 1"),
        ("-1 .5 .5 .1 .1", "there is no class -1"),
        ("0.5 .5 .5 .1 .1", r"there is no class 0\.5"),
        ("0 .5 .5 .1 .1 .9", "a box with a confidence"),
        ("x", "'x' is not a row of numbers"),
    ):
        (labels / "c.txt").write_text(f"\n{text}\n")
        with pytest.raises(UserError, match=rf"c\.txt, row 2: .*{message}"):
            yolo.list_tasks(labels, images=images)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("path: x\nnames: [mass, 'calc']\n", ["mass", "calc"]),
        ("names: {0: mass, 2: calc}\n", ["mass", "", "calc"]),
        ('names:\n  - mass\n  - "calc"\nnc: 2\n', ["mass", "calc"]),
        ("names:\n  1: calc\n  0: mass\n", ["mass", "calc"]),
        ("nc: 2\n", []),
        ("names: []\n", []),
    ],
)
def test_class_names_of_yolo(text: str, names: list[str]) -> None:
    assert yolo._yaml_names(text) == names


def test_places_of_class_names(tmp_path: Path) -> None:
    root = tmp_path / "labels"
    root.mkdir()
    with pytest.raises(UserError, match="names no classes: add data"):
        yolo._read_classes(root)
    (tmp_path / "classes.txt").write_text("outer\n")
    assert yolo._read_classes(root) == ["outer"]
    (root / "obj.names").write_text("\n")
    assert yolo._read_classes(root) == ["outer"]
    (root / "obj.names").write_text("a \n b\n\n")
    assert yolo._read_classes(root) == ["a", "b"]
    (root / "data.yml").write_text("nc: 1\n")
    assert yolo._read_classes(root) == ["a", "b"]
    (root / "data.yaml").write_text("names: [x]\n")
    assert yolo._read_classes(root) == ["x"]
    (root / "data.yaml").write_text("names: {0: x, 2: y}\n")
    with pytest.raises(UserError, match=r"data\.yaml names no class 1: write"):
        yolo._read_classes(root)


def test_images_of_marks(tmp_path: Path) -> None:
    for name in ("P1/a.png", "P2/a.png", "v1.2.png", "P3/x/b_RCC.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    index = ImageIndex(tmp_path)

    def film(name: str) -> FilmPlan:
        image = MarkedImage(name=name, marks=(), size=(3, 4), origin="o")
        return marks._film(image, index, BiradsMapping())

    assert film("data\\P2\\a.png").image == tmp_path / "P2" / "a.png"
    assert film("v1.2").image == film("/x/v1.2.PNG").image == tmp_path / "v1.2.png"
    assert film("b_RCC.png") == FilmPlan(
        image=tmp_path / "P3" / "x" / "b_RCC.png", laterality="RIGHT", view="CC",
        annotated_size=(3, 4), origin="o",
    )  # fmt: skip
    assert (film("v1.2").laterality, film("v1.2").view) == ("UNKNOWN", "UNKNOWN")
    for name in ("a.png", "P4/a.png", "c.png"):
        with pytest.raises(UserError, match=f"^o: the image {name} is not, or more than once, in"):
            film(name)


def test_patients_and_problems_of_marks(tmp_path: Path) -> None:
    for name in ("P1/a.png", "solo.png", "p1/c.png", "d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    mark = Mark(label="benign mass", outline=box_outline(1, 2, 5, 6), origin="m")
    given = [
        MarkedImage(name="P1/a.png", marks=(mark,), origin="i1"),
        MarkedImage(name="solo.png", marks=(), labels=("good frame",), origin="i2"),
        MarkedImage(name="d.png", marks=(), labels=("benign",), patient="Q", origin="i3"),
    ]
    plans, problems = marks.plan_patients(given, tmp_path, BiradsMapping(), skip_bad=False)
    assert [(plan.patient, len(plan.films[0].findings)) for plan in plans] == [
        *(("P1", 1), ("solo", 0), ("Q", 1)),
    ]
    assert plans[0] == PatientPlan(
        patient="P1",
        films=(
            FilmPlan(
                image=tmp_path / "P1" / "a.png", laterality="UNKNOWN", view="UNKNOWN",
                findings=(
                    FindingPlan(
                        pathology="BENIGN", lesion_type="MASS", outline=mark.outline,
                        report="benign mass", origin="m",
                    ),
                ),
                origin="i1",
            ),
        ),
    )  # fmt: skip
    assert problems == [
        Problem(
            "patients",
            "the export states no patient for 1 images",
            "each is a patient of its own, so that one patient can be in several splits",
        ),
        Problem("images", "1 images have no mark", "imported as normal"),
    ]
    spelled = [given[0], MarkedImage(name="p1/c.png", marks=(), origin="")]
    with pytest.raises(UserError, match=r"^i1: the patients 'p1' and 'P1' differ only in spelling"):
        marks.plan_patients(spelled, tmp_path, BiradsMapping(), skip_bad=False)
    plans, problems = marks.plan_patients(spelled, tmp_path, BiradsMapping(), skip_bad=True)
    assert plans == [] and [p.item for p in problems] == ["P1", "p1", "images"]
    assert problems[1].cause.startswith("p1/c.png: the patients 'P1' and 'p1' differ")


def test_words_of_labels() -> None:
    mapping = parse_birads_mapping("2=NORMAL,5=MALIGNANT")
    meaning = marks.label_meaning
    assert meaning("distortion mass", {}, mapping)[1] == "ARCHITECTURAL_DISTORTION+MASS"
    assert meaning("calcifications", {"x": "asymmetry"}, mapping)[1] == "ASYMMETRY+CALCIFICATION"
    assert meaning("bi-rads_4c", {}, mapping) == ("UNPROVEN", "", BiradsCategory(4, "C"))
    with pytest.raises(UserError, match=r"several pathologies \(BENIGN, MALIGNANT\)"):
        meaning("benign", {"truth": "cancer"}, mapping)
    with pytest.raises(UserError, match="several pathologies"):
        meaning("benign without callback", {"truth": "malignant"}, mapping)
    assert marks._finding(Mark(label="BIRADS 2"), mapping) is None
    with pytest.raises(UserError, match="^o: the label 'not benign' denies a pathology.*correct"):
        marks._finding(Mark(label="not benign", origin="o"), mapping)
