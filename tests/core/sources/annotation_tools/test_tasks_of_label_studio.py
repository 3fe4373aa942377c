"""Tasks of Label Studio, one by one, as marks with every field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from core.sources.annotation_tools import label_studio
from core.sources.annotation_tools.marks import Mark, MarkedImage
from core.sources.records import Problem

FILE = Path("e.json")


def region(kind: str = "rectanglelabels", **changes: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, kind: ["mass", "benign"]}
    entry = {"id": "r1", "type": kind, "value": value, "original_width": 200}
    return entry | {"original_height": 100} | changes


def task(*results: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {"id": 5, "annotations": [{"result": list(results)}], "data": {"image": "/x/a.png"}}
    return fields | changes


def studio(given: dict[str, Any]) -> MarkedImage | None:
    return label_studio._marked_image(given, FILE, {"a"})


def test_tasks_of_label_studio() -> None:
    choice = {"type": "choices", "value": {"choices": ["benign", 2]}}
    own = choice | {"id": "r1"}
    other = choice | {"id": "x"}
    image = studio(task(region(), own, other, choice, data={"img": "/x/a.png", "patient": 3}))
    assert image == MarkedImage(
        name="/x/a.png",
        marks=(
            Mark(
                label="mass benign",
                attributes=(("choice 1", "benign 2"),),
                outline=image.marks[0].outline,
                origin="e.json, task 5, mark r1",
            ),
        ),
        labels=("benign 2", "benign 2"),
        patient="3",
        size=(200, 100),
        origin="e.json, task 5",
    )
    outline = image.marks[0].outline
    assert outline is not None and outline.normalised
    corners = [[0.1, 0.2], [0.4, 0.2], [0.4, 0.6], [0.1, 0.6]]
    assert np.array(outline.polygons[0]) == pytest.approx(np.array(corners))
    nameless = studio(task({k: v for k, v in region().items() if k != "id"}, choice, id=""))
    assert nameless is not None and nameless.origin == "e.json, task"
    assert nameless.marks[0].origin == "e.json, task, mark"
    assert nameless.marks[0].attributes == () and nameless.labels == ("benign 2",)
    both = studio(task(data={"image": "a.png", "patient_id": "P", "patient": "Q"}))
    assert both is not None and (both.patient, both.size, both.marks) == ("P", None, ())


def test_annotations_that_count_in_label_studio() -> None:
    cancelled, first, second = ({"result": [region(id=name)]} for name in "cfs")
    cancelled["was_cancelled"] = True
    assert studio(task(annotations=[])) is studio(task(annotations=[cancelled])) is None
    only = studio(task(annotations=[cancelled, first]))
    assert only is not None and only.marks[0].origin.endswith("mark f")
    with pytest.raises(UserError, match="task 5: it has 2 annotations; mark one"):
        studio(task(annotations=[first, second]))
    chosen = studio(task(annotations=[first, second | {"ground_truth": True}]))
    assert chosen is not None and chosen.marks[0].origin.endswith("mark s")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=P1/a.png", "P1/a.png"),
        ("/data/upload/3/0123abcd-b.png", "b.png"),
        ("/data/upload/3/0123abcd-a.png", "a.png"),
        ("https://server/P1/a.png?x=1", "P1/a.png"),
        ("s3://bucket/P%201/a.png", "P 1/a.png"),
        ("/data/upload/P1/a.png", "/P1/a.png"),
        ("x/0123abc-b.png", "0123abc-b.png"),
    ],
)
def test_names_of_images_in_label_studio(address: str, name: str) -> None:
    found = label_studio._image_name({"img": address}, "o", {"a"})
    assert found.removeprefix("/") == name.removeprefix("/")


def test_images_that_label_studio_does_not_name() -> None:
    assert label_studio._image_name({"image": "", "dicom": "a.dcm"}, "o", set()) == "a.dcm"
    with pytest.raises(UserError, match="o: it has no image; export it again"):
        label_studio._image_name({"image": "", "url": "a.png"}, "o", set())


def test_sizes_in_label_studio() -> None:
    size = label_studio._size
    assert size([]) is size([{"original_width": 4}, {"original_height": 5}]) is None
    assert size([{}, {"original_width": 4, "original_height": "5"}]) == (4, 5)


def test_shapes_of_label_studio() -> None:
    def points(entry: dict[str, Any]) -> np.ndarray:
        outline = label_studio._mark(entry, "o", []).outline
        assert outline is not None
        return np.array(outline.polygons[0])

    turned = region()
    turned["value"]["rotation"] = 90
    # In pixels the corner is (20, 20) and the box 60 x 40; clockwise it reaches down and left.
    corners = np.array([[20, 20], [20, 80], [-20, 80], [-20, 20]]) / (200, 100)
    assert points(turned) == pytest.approx(corners)
    ellipse = region("ellipselabels")
    ellipse["value"] |= {"x": 50, "y": 40, "radiusX": 10, "radiusY": 20}
    assert points(ellipse).min(0) == pytest.approx([0.4, 0.2])
    assert points(ellipse).max(0) == pytest.approx([0.6, 0.6])
    polygon = region("polygonlabels")
    polygon["value"]["points"] = [[1, 2], [50, 2], [50, 75]]
    assert points(polygon).tolist() == [[0.01, 0.02], [0.5, 0.02], [0.5, 0.75]]
    for missing in ("original_width", "original_height"):
        for entry in (turned, ellipse):
            with pytest.raises(UserError, match="original_width and original_height are missing"):
                points(entry | {missing: None})
        assert points(region() | {missing: None})[0].tolist() == [0.1, 0.2]
    with pytest.raises(UserError, match="marks of the kind brushlabels are not read"):
        points(region("brushlabels"))
    with pytest.raises(UserError, match="the image was rotated"):
        points(region(image_rotation=90))
    assert points(region(image_rotation=360))[0].tolist() == [0.1, 0.2]


def test_options_reach_the_plans_of_label_studio(tmp_path: Path) -> None:
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "a.png").touch()
    file = tmp_path / "e.json"
    entry = region()
    entry["value"]["rectanglelabels"] = ["BIRADS 5"]
    file.write_text(json.dumps([task(entry, data={"image": "P1/a.png"}), task(annotations=[])]))
    (plan,), problems = label_studio.list_tasks(
        file, images=tmp_path, pathology_from_birads="5=MALIGNANT"
    )
    assert plan.patient == "P1" and plan.films[0].findings[0].pathology == "MALIGNANT"
    assert problems == [
        Problem("tasks", "1 tasks have no annotation", "these images are not imported")
    ]
