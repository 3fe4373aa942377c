"""Images and outlines of planned patients, and headers of DICOM files, with images in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from core.errors import UserError
from core.images.decoding import DecodedImage
from core.sources.outlines.records import box_outline
from core.sources.plans import headers, reading
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.records import Finding, Problem
from support.breast_films import breast_film

BOX = box_outline(20, 80, 60, 120)


def decoded(pixels: np.ndarray, **fields: Any) -> DecodedImage:
    return DecodedImage(pixels=pixels, maximum=4095, file_hash="h", **fields)


def film_plan(**changes: Any) -> FilmPlan:
    fields: dict[str, Any] = {"image": Path("f/a.png"), "laterality": "UNKNOWN", "view": "UNKNOWN"}
    return FilmPlan(**(fields | changes))


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fields of the image that every file holds; a test may change them."""
    fields: dict[str, Any] = {}
    monkeypatch.setattr(reading, "read_image", lambda path: decoded(breast_film(1), **fields))
    return fields


@pytest.mark.parametrize(
    ("of_plan", "of_file", "stated", "name"),
    [
        (("UNKNOWN", "UNKNOWN"), ("LEFT", "CC"), ("LEFT", "CC"), "P.LEFT_CC"),
        (("RIGHT", "MLO"), ("LEFT", "CC"), ("RIGHT", "MLO"), "P.RIGHT_MLO"),
        (("RIGHT", "UNKNOWN"), ("LEFT", ""), ("RIGHT", "UNKNOWN"), "P.a"),
        (("UNKNOWN", "MLO"), ("", "CC"), ("UNKNOWN", "MLO"), "P.a"),
    ],
)
def test_side_and_view_of_plan_and_file(
    image: dict[str, Any], of_plan: tuple, of_file: tuple, stated: tuple, name: str
) -> None:
    image.update(laterality=of_file[0], view=of_file[1])
    film, problems = reading._read_film(
        "P", film_plan(laterality=of_plan[0], view=of_plan[1]), set()
    )
    assert (film.laterality, film.view) == stated and film.id == name and problems == []


def test_fields_of_a_planned_patient(image: dict[str, Any]) -> None:
    marked = FindingPlan(
        pathology="BENIGN", lesion_type="MASS", descriptors=(("shape", "OVAL"),), assessment=3,
        outline=BOX, report="seen",
    )  # fmt: skip
    missing = FindingPlan(pathology="MALIGNANT")
    first = film_plan(laterality="LEFT", view="CC", findings=(marked, missing))
    second = film_plan(laterality="LEFT", view="CC", name="b", image_label="BENIGN")
    third = film_plan(image=Path("a.png"), laterality="LEFT", view="CC", findings=(marked,))
    plan = PatientPlan(
        patient="P", films=(first, second, third), age=61, density=2, features=(("risk", 0.5),),
        published_split="test", problems=(Problem("P", "why", "what"),),
    )  # fmt: skip
    assert reading.plan_files(plan) == [Path("a.png"), Path("f/a.png")]
    patient = reading.read_planned_patient(plan)
    assert (patient.id, patient.age, patient.density) == ("P", 61, 2)
    assert (patient.features, patient.published_split) == ({"risk": 0.5}, "test")
    films = patient.mammograms
    assert [film.id for film in films] == ["P.LEFT_CC", "P.b", "P.a"]
    assert [film.source_file for film in films] == ["a.png", "b", "a.png"]
    assert [film.unlocated for film in films] == [True, False, False]
    assert [film.image_label for film in films] == [None, "BENIGN", None]
    one, two = films[0].findings
    assert one == Finding(
        number=1, pathology="BENIGN", lesion_type="MASS", descriptors={"shape": "OVAL"},
        assessment=3, outline=one.outline, report="seen",
    )  # fmt: skip
    assert one.outline[0].tolist() == [[20, 80], [60, 80], [60, 120], [20, 120]]
    assert two == Finding(number=2, pathology="MALIGNANT", outline=())
    assert patient.problems == (
        Problem("P", "why", "what"),
        Problem(
            *("P.LEFT_CC", "the source reports a finding without an outline"),
            "no patch labels for this film",
        ),
    )


def test_origin_in_messages() -> None:
    for origin, message in (("", "^cut$"), ("t.csv, row 3", "^t.csv, row 3: cut$")):
        with pytest.raises(UserError, match=message), reading._origin_context(origin):
            raise UserError("cut")


def place(plan: FindingPlan, **changes: Any) -> tuple[list, list]:
    image = decoded(breast_film(1, height=400, width=400))
    polygons, warnings = reading._place_outline(plan, film_plan(**changes), image)
    return [points.tolist() for points in polygons], warnings


def test_outlines_drawn_at_another_size() -> None:
    """The aspect ratio may differ by 1 %; corners are moved as (x + .5) 2 - .5."""
    plan = FindingPlan(pathology="BENIGN", outline=box_outline(10, 20, 30, 60))
    same = [[[10, 20], [30, 20], [30, 60], [10, 60]]]
    assert place(plan) == (same, []) and place(plan, annotated_size=(400, 400)) == (same, [])
    polygons, warnings = place(plan, annotated_size=(200, 200))
    assert polygons == [[[20.5, 40.5], [60.5, 40.5], [60.5, 120.5], [20.5, 120.5]]]
    cause = "drawn on 200 x 200 pixels, the image has 400 x 400"
    assert warnings == [(cause, "outline scaled to the image")]
    for size in ((400, 403), (400, 397)):
        assert len(place(plan, annotated_size=size)[1]) == 1
    for size in ((400, 405), (400, 395), (395, 400)):
        drawn = rf"row 2: the outlines were drawn on an image of {size[0]} x {size[1]} pixels, but"
        with pytest.raises(UserError, match=rf"{drawn} a\.png has 400 x 400"):
            place(plan, annotated_size=size, origin="row 2")
    assert place(FindingPlan(pathology="BENIGN")) == ([], [])
    outside = FindingPlan(pathology="BENIGN", outline=box_outline(0, 0, 409, 9), origin="row 7")
    with pytest.raises(UserError, match=r"^row 7: the outline .*; correct it or leave the finding"):
        place(outside, origin="row 2")


def test_mirrored_outlines() -> None:
    """The breast of the film lies at the left: columns up to about 280."""
    left, right = box_outline(40, 180, 120, 220), box_outline(320, 180, 360, 220)
    plan = FindingPlan(pathology="BENIGN", outline=right)
    polygons, warnings = place(plan, may_be_mirrored=True)
    assert polygons == [[[79, 180], [39, 180], [39, 220], [79, 220]]]
    cause = "the outline lies outside the breast, its mirror image inside"
    assert warnings == [(cause, "outline mirrored")]
    assert place(plan)[1] == [] and place(plan)[0][0][0] == [320, 180]
    inside = FindingPlan(pathology="BENIGN", outline=left)
    assert place(inside, may_be_mirrored=True) == place(inside)
    # In the air before and afterwards.
    corner = FindingPlan(pathology="BENIGN", outline=box_outline(360, 4, 396, 24))
    assert place(corner, may_be_mirrored=True) == place(corner)


def test_headers_without_a_preamble(tmp_path: Path) -> None:
    dataset = pydicom.Dataset()
    dataset.Rows, dataset.Columns, dataset.PatientID = 4, 5, " P1 "
    dataset.AccessionNumber, dataset.StudyInstanceUID, dataset.SOPInstanceUID = "A", "1.2", "1.3"
    dataset.PatientAge, dataset.ImageLaterality, dataset.ViewPosition = "061Y", "R", "MLO"
    path = tmp_path / "bare.dcm"
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    assert headers._read_header(path) == headers.FileHeader(
        path=path, patient="P1", accession="A", study="1.2", sop_instance="1.3",
        laterality="RIGHT", view="MLO", age="061Y",
    )  # fmt: skip
    del dataset.ImageLaterality, dataset.ViewPosition, dataset.PatientAge
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    bare = headers._read_header(path)
    assert bare is not None and (bare.laterality, bare.view, bare.age) == (
        *("UNKNOWN", "UNKNOWN"),
        "",
    )
    for name in ("Rows", "Columns"):
        part = dataset.copy()
        delattr(part, name)
        part.save_as(path, implicit_vr=True, little_endian=True)
        assert headers._read_header(path) is None
