"""Facts of a DICOM header: view and laterality by code, and reasons to list an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from core.errors import UserError
from core.images.decoding import read_image
from core.images.dicom_attributes import attribute_issues
from support.dicom_writer import write_dicom as write

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def item(value: str, meaning: str = "", scheme: str = "SCT", **nested: list[Dataset]) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    for name, items in nested.items():
        setattr(code, name, items)
    return code


def listed(path: Path, laterality: str = "UNKNOWN", view: str = "UNKNOWN") -> list[str]:
    issues = attribute_issues(read_image(path).attributes, laterality, view)
    return [issue.code for issue in issues]


def test_views_of_the_code_table(tmp_path: Path) -> None:
    """pydicom's own table of the context group gives the codes."""
    table = codes.cid4014
    expected = {
        table.CranioCaudal: "CC",
        table.MedioLateralObliqueProjection: "MLO",
        table.MedioLateralProjection: "ML",
        table.LateroMedial: "LM",
        table.LateroMedialOblique: "LMO",
        table.CranioCaudalExaggeratedLaterally: "XCCL",
    }
    for code, view in expected.items():
        # The meaning is in another language and has to be ignored.
        sequence = [item(code.value, "kraniokaudal", code.scheme_designator)]
        path = write(tmp_path / "a.dcm", PIXELS, ViewCodeSequence=sequence)
        assert read_image(path).view == view


def test_words_without_a_known_code_are_no_view(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", PIXELS, ViewCodeSequence=[item("99", "cranio-caudal")])
    assert read_image(path).view == ""


@pytest.mark.parametrize(("value", "side"), [("G-A100", "RIGHT"), ("7771000", "LEFT")])
def test_laterality_of_the_anatomic_region(tmp_path: Path, value: str, side: str) -> None:
    region = item("76752008", "Breast", AnatomicRegionModifierSequence=[item(value)])
    path = write(tmp_path / "a.dcm", PIXELS, AnatomicRegionSequence=[region])
    assert read_image(path).laterality == side


def test_magnification_implant_intent_modality_and_annotation(tmp_path: Path) -> None:
    magnified = item("R-10242", scheme="SRT", ViewModifierCodeSequence=[item("399163009")])
    tags = {
        "magnification_view": {"ViewCodeSequence": [magnified]},
        "implant": {"BreastImplantPresent": "YES"},
        "for_processing": {"PresentationIntentType": "FOR PROCESSING"},
        "other_modality": {"Modality": "CR"},
        "burned_in_annotation": {"BurnedInAnnotation": "YES"},
    }
    for code, values in tags.items():
        assert listed(write(tmp_path / "a.dcm", PIXELS, **values)) == [code]
    projected = write(tmp_path / "b.dcm", PIXELS, EstimatedRadiographicMagnificationFactor="1.8")
    assert listed(projected) == ["magnification_view"]
    ordinary = write(
        tmp_path / "c.dcm",
        PIXELS,
        Modality="MG",
        BreastImplantPresent="NO",
        BurnedInAnnotation="NO",
        PresentationIntentType="FOR PRESENTATION",
        EstimatedRadiographicMagnificationFactor="1.06",
    )
    assert listed(ordinary) == []


def test_contradictions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", PIXELS, ImageLaterality="R", ViewPosition="MLO")
    assert listed(path, "LEFT", "CC") == ["side_contradiction", "view_contradiction"]
    assert listed(path, "RIGHT", "MLO") == listed(path, "UNKNOWN", "UNKNOWN") == []


def test_tomosynthesis_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.dcm",
        np.zeros((6, 4), np.uint16),
        Rows=3,
        NumberOfFrames=2,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.13.1.3",
    )
    with pytest.raises(UserError, match=r"a\.dcm is a tomosynthesis of 2 slices.*synthesised 2D"):
        read_image(path)


def test_synthesised_image_is_recorded(tmp_path: Path) -> None:
    image_type = ["DERIVED", "PRIMARY", "TOMO", "GENERATED_2D"]
    film = read_image(write(tmp_path / "a.dcm", PIXELS, ImageType=image_type))
    assert film.attributes["kind"] == "synthesised 2D"
