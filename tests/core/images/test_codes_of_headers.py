"""Codes and issues of DICOM headers, each by the value of its code."""

from __future__ import annotations

from typing import Any

import pydicom
import pytest

from core.errors import UserError
from core.images.dicom_attributes import (
    BURNED_IN,
    INTENT,
    MAGNIFIED,
    MODALITY,
    attribute_issues,
    check_frames,
    read_attributes,
)


def header(**values: Any) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def codes(*values: str, name: str = "CodeValue") -> pydicom.Sequence:
    return pydicom.Sequence([header(**{name: value}) for value in values])


# SNOMED CT (DICOM PS3.16, CID 4014) and the retired SNOMED-RT codes.
VIEWS = {
    "399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO",
    "399260004": "ML", "R-10224": "ML", "399352003": "LM", "R-10228": "LM",
    "399099002": "LMO", "R-10230": "LMO", "399192008": "XCCL", "R-1024A": "XCCL",
}  # fmt: skip
SIDES = {
    "7771000": "LEFT", "G-A101": "LEFT", "80248007": "LEFT", "T-04030": "LEFT",
    "24028007": "RIGHT", "G-A100": "RIGHT", "73056007": "RIGHT", "T-04020": "RIGHT",
}  # fmt: skip


@pytest.mark.parametrize(("code", "view"), VIEWS.items())
def test_codes_of_views(code: str, view: str) -> None:
    assert read_attributes(header(ViewCodeSequence=codes("x", code)))["view"] == view
    long = header(ViewCodeSequence=codes(code, name="LongCodeValue"))
    assert read_attributes(long)["view"] == view


def test_positions_come_before_codes() -> None:
    sequence = codes("399368009")
    for position, view in (("CC", "CC"), ("ML", "MLO"), ("ODD", "MLO")):
        found = read_attributes(header(ViewPosition=position, ViewCodeSequence=sequence))
        assert found["view"] == view
    assert read_attributes(header(ViewPosition="LM")) == {"view": "LM"}
    assert read_attributes(header(ViewPosition="ODD")) == {}


@pytest.mark.parametrize(("code", "side"), SIDES.items())
def test_codes_of_sides(code: str, side: str) -> None:
    region = header(CodeValue="other", AnatomicRegionModifierSequence=codes(code))
    for name in ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence"):
        found = read_attributes(header(**{name: pydicom.Sequence([region])}))
        assert found == {"laterality": side}
    assert read_attributes(header(AnatomicRegionSequence=codes(code)))["laterality"] == side
    assert read_attributes(header(ImageLaterality="R", Laterality="L"))["laterality"] == "RIGHT"
    assert read_attributes(header(ImageLaterality="B", AnatomicRegionSequence=codes(code))) == {
        "laterality": side
    }


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"ViewCodeSequence": codes("399055006", "R-102D6")}, "magnification and spot compression"),
        ({"ViewCodeSequence": codes("399163009", "R-102D6")}, "magnification"),
        ({"ViewCodeSequence": codes("R-102D7")}, "spot compression"),
        ({"EstimatedRadiographicMagnificationFactor": 1.3}, "magnification 1.3"),
        ({"EstimatedRadiographicMagnificationFactor": 1.29}, None),
    ],
)
def test_parts_of_a_breast(values: dict[str, Any], text: str | None) -> None:
    assert read_attributes(header(**values)).get(MAGNIFIED) == text


def test_nested_modifiers_and_implants() -> None:
    view = header(CodeValue="399162004", ViewModifierCodeSequence=codes("399209000"))
    found = read_attributes(header(ViewCodeSequence=pydicom.Sequence([view])))
    assert found == {"view": "CC", "implant": "displaced"}
    assert read_attributes(header(ViewCodeSequence=codes("R-102D5")))["implant"] == "displaced"
    assert read_attributes(header(BreastImplantPresent="YES")) == {"implant": "present"}
    assert read_attributes(header(BreastImplantPresent="NO")) == {}


def test_names_of_attributes() -> None:
    """The names by which attributes are stored."""
    found = read_attributes(
        header(
            ImageLaterality="L", ViewPosition="CC", PresentationIntentType="FOR PROCESSING",
            Modality="MG", EstimatedRadiographicMagnificationFactor=1.8,
            BreastImplantPresent="YES", BurnedInAnnotation="NO", ImageType=["A", "TOMO_2D"],
        )
    )  # fmt: skip
    assert found == {
        "laterality": "LEFT",
        "view": "CC",
        "presentation_intent": "FOR PROCESSING",
        "modality": "MG",
        "magnification": "magnification 1.8",
        "implant": "present",
        "burned_in_annotation": "NO",
        "kind": "synthesised 2D",
    }
    both = header(
        AnatomicRegionSequence=codes("G-A100"), PrimaryAnatomicStructureSequence=codes("G-A101")
    )
    assert read_attributes(both) == {"laterality": "RIGHT"}


def test_further_attributes() -> None:
    found = read_attributes(
        header(PresentationIntentType="FOR PROCESSING", Modality="MG", BurnedInAnnotation="YES")
    )
    assert found == {
        INTENT: "FOR PROCESSING", MODALITY: "MG", BURNED_IN: "YES",
    }  # fmt: skip
    # C-VIEW is no valid code string, so that pydicom would warn: the values alone.
    kinds = [read_attributes({"ImageType": ["DERIVED", kind]}) for kind in (  # type: ignore[arg-type]
        "GENERATED_2D", "TOMO_2D", "C-VIEW", "INTELLIGENT 2D", "PRIMARY")]  # fmt: skip
    assert [len(kind) for kind in kinds] == [1, 1, 1, 1, 0]
    assert set(kinds[0].values()) == {"synthesised 2D"}


def test_issues_of_attributes() -> None:
    attributes = {
        "laterality": "LEFT", "view": "CC", INTENT: "FOR PROCESSING", MAGNIFIED: "spot",
        "implant": "present", MODALITY: "CR", BURNED_IN: "YES",
    }  # fmt: skip
    found = attribute_issues(attributes, "RIGHT", "MLO")
    assert [(issue.code, issue.cause) for issue in found] == [
        ("side_contradiction", "the source says RIGHT, the file's header LEFT"),
        ("view_contradiction", "the source says MLO, the file's header CC"),
        ("for_processing",
         "the file is FOR PROCESSING: raw detector counts, not an image for viewing"),
        ("magnification_view", "the file shows a part of the breast (spot)"),
        ("implant", "the breast has an implant (present)"),
        ("other_modality", "the file's modality is CR, not MG"),
        ("burned_in_annotation",
         "the file declares burned-in annotation, which may identify the patient"),
    ]  # fmt: skip
    harmless = {
        "laterality": "LEFT", "view": "CC", INTENT: "FOR PRESENTATION", MODALITY: "MG",
        BURNED_IN: "NO",
    }  # fmt: skip
    for side, view in (("LEFT", "CC"), ("UNKNOWN", "UNKNOWN")):
        assert attribute_issues(harmless, side, view) == []
    assert attribute_issues({}, "LEFT", "CC") == []


def test_files_of_several_frames() -> None:
    check_frames(header(), "f")
    check_frames(header(NumberOfFrames=1), "f")
    with pytest.raises(UserError, match="The DICOM file f holds 2 frames"):
        check_frames(header(NumberOfFrames=2), "f")
    for uid in ("1.2.840.10008.5.1.4.1.1.13.1.3", "1.2.840.10008.5.1.4.1.1.13.1.4"):
        with pytest.raises(UserError, match="f is a tomosynthesis of 40 slices"):
            check_frames(header(NumberOfFrames=40, SOPClassUID=uid), "f")
