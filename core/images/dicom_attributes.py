"""Facts of a DICOM header that change the meaning of an image: view, kind, and reasons to list it.

Pixels belong in `core.images.dicom`. Attributes are a dict of str to str; a key is absent where the
header does not say it. Tags that identify a patient are not read.

References
----------
DICOM PS3.3 C.8.11.7 (mammography image); PS3.16 context groups 4014 (view) and 4015 (view
modifiers), which give each view its SNOMED CT code and its earlier SNOMED-RT code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pydicom

from core.errors import UserError
from core.images.finding_checks import ImageIssue

# Keys of the attributes.
LATERALITY, VIEW = "laterality", "view"
INTENT, MODALITY, MAGNIFIED = "presentation_intent", "modality", "magnification"
IMPLANT, BURNED_IN, KIND = "implant", "burned_in_annotation", "kind"

# Codes of listed issues.
FOR_PROCESSING = "for_processing"
MAGNIFICATION_VIEW = "magnification_view"
IMPLANT_PRESENT = "implant"
OTHER_MODALITY = "other_modality"
BURNED_IN_ANNOTATION = "burned_in_annotation"
SIDE_CONTRADICTION = "side_contradiction"
VIEW_CONTRADICTION = "view_contradiction"

# Code value -> view: SNOMED CT and SNOMED-RT codes of the context groups above.
_VIEW_OF_CODE = {
    "399162004": "CC",
    "R-10242": "CC",
    "399368009": "MLO",
    "R-10226": "MLO",
    "399260004": "ML",
    "R-10224": "ML",
    "399352003": "LM",
    "R-10228": "LM",
    "399099002": "LMO",
    "R-10230": "LMO",
    "399192008": "XCCL",
    "R-1024A": "XCCL",
}
# Left and right (context group 244), left and right breast (anatomic regions).
_LATERALITY_OF_CODE = {
    "7771000": "LEFT",
    "G-A101": "LEFT",
    "80248007": "LEFT",
    "T-04030": "LEFT",
    "24028007": "RIGHT",
    "G-A100": "RIGHT",
    "73056007": "RIGHT",
    "T-04020": "RIGHT",
}
_PARTIAL_VIEW_CODES = {
    "399163009": "magnification",
    "R-102D6": "magnification",
    "399055006": "spot compression",
    "R-102D7": "spot compression",
}
_IMPLANT_DISPLACED_CODES = {"399209000", "R-102D5"}
_TOMOSYNTHESIS_CLASSES = {"1.2.840.10008.5.1.4.1.1.13.1.3", "1.2.840.10008.5.1.4.1.1.13.1.4"}
# A contact view is projected with a factor of little more than 1.
_LEAST_MAGNIFICATION = 1.3


def read_attributes(header: pydicom.Dataset) -> dict[str, str]:
    """Return the attributes of a header; those that it does not give are absent."""
    attributes = {
        LATERALITY: _laterality(header),
        VIEW: _view(header),
        INTENT: _text(header, "PresentationIntentType"),
        MODALITY: _text(header, "Modality"),
        MAGNIFIED: _magnification(header),
        IMPLANT: _implant(header),
        BURNED_IN: _text(header, "BurnedInAnnotation"),
        KIND: _kind(header),
    }
    return {name: value for name, value in attributes.items() if value}


def check_frames(header: pydicom.Dataset, path: Any) -> None:
    """Raise UserError for a file with several frames, with the remedy for tomosynthesis."""
    frames = int(header.get("NumberOfFrames") or 1)
    if frames <= 1:
        return
    if str(header.get("SOPClassUID", "")) in _TOMOSYNTHESIS_CLASSES:
        raise UserError(
            f"The DICOM file {path} is a tomosynthesis of {frames} slices: give the synthesised 2D"
            " image of the same view instead."
        )
    raise UserError(f"The DICOM file {path} holds {frames} frames: give one image per file.")


def attribute_issues(attributes: Mapping[str, str], laterality: str, view: str) -> list[ImageIssue]:
    """Return what of an image's attributes has to be listed.

    Parameters
    ----------
    attributes : dict of str to str
        As returned by `read_attributes`.
    laterality, view : str
        What the source says about the image; "UNKNOWN" contradicts nothing.

    Returns
    -------
    list of ImageIssue

    Examples
    --------
    >>> [issue.code for issue in attribute_issues({"laterality": "RIGHT"}, "LEFT", "CC")]
    ['side_contradiction']
    """
    return list(_issues(attributes, laterality, view))


def _issues(attributes: Mapping[str, str], laterality: str, view: str) -> Iterator[ImageIssue]:
    for key, given, code in (
        (LATERALITY, laterality, SIDE_CONTRADICTION),
        (VIEW, view, VIEW_CONTRADICTION),
    ):
        stored = attributes.get(key)
        if stored and given != "UNKNOWN" and stored != given:
            yield ImageIssue(code, f"the source says {given}, the file's header {stored}")
    if attributes.get(INTENT) == "FOR PROCESSING":
        cause = "the file is FOR PROCESSING: raw detector counts, not an image for viewing"
        yield ImageIssue(FOR_PROCESSING, cause)
    if MAGNIFIED in attributes:
        cause = f"the file shows a part of the breast ({attributes[MAGNIFIED]})"
        yield ImageIssue(MAGNIFICATION_VIEW, cause)
    if IMPLANT in attributes:
        yield ImageIssue(IMPLANT_PRESENT, f"the breast has an implant ({attributes[IMPLANT]})")
    if attributes.get(MODALITY, "MG") != "MG":
        cause = f"the file's modality is {attributes[MODALITY]}, not MG"
        yield ImageIssue(OTHER_MODALITY, cause)
    if attributes.get(BURNED_IN) == "YES":
        cause = "the file declares burned-in annotation, which may identify the patient"
        yield ImageIssue(BURNED_IN_ANNOTATION, cause)


def _text(header: pydicom.Dataset, name: str) -> str:
    return str(header.get(name) or "").strip().upper()


def _codes(header: pydicom.Dataset, name: str) -> Iterator[pydicom.Dataset]:
    """Yield the items of a code sequence, nested view modifiers included."""
    for item in header.get(name) or ():
        yield item
        yield from item.get("ViewModifierCodeSequence") or ()


def _code_value(item: pydicom.Dataset) -> str:
    return str(item.get("CodeValue") or item.get("LongCodeValue") or "").strip()


def _laterality(header: pydicom.Dataset) -> str:
    text = _text(header, "ImageLaterality") or _text(header, "Laterality")
    if text in ("L", "R"):
        return {"L": "LEFT", "R": "RIGHT"}[text]
    # Enhanced files code the side as that of the anatomic region.
    for name in ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence"):
        for region in header.get(name) or ():
            items = [region, *(region.get("AnatomicRegionModifierSequence") or ())]
            for item in items:
                if _code_value(item) in _LATERALITY_OF_CODE:
                    return _LATERALITY_OF_CODE[_code_value(item)]
    return ""


def _view(header: pydicom.Dataset) -> str:
    text = _text(header, "ViewPosition")
    if text in ("CC", "MLO"):
        return text
    # Codes and not their meanings, which are written in any language.
    for item in header.get("ViewCodeSequence") or ():
        if _code_value(item) in _VIEW_OF_CODE:
            return _VIEW_OF_CODE[_code_value(item)]
    return text if text in set(_VIEW_OF_CODE.values()) else ""


def _magnification(header: pydicom.Dataset) -> str:
    codes = [_code_value(item) for item in _codes(header, "ViewCodeSequence")]
    names = [_PARTIAL_VIEW_CODES[code] for code in codes if code in _PARTIAL_VIEW_CODES]
    if names:
        return " and ".join(sorted(set(names)))
    try:
        factor = float(header.get("EstimatedRadiographicMagnificationFactor") or 1)
    except (TypeError, ValueError):
        return ""
    return f"magnification {factor:g}" if factor >= _LEAST_MAGNIFICATION else ""


def _implant(header: pydicom.Dataset) -> str:
    codes = {_code_value(item) for item in _codes(header, "ViewCodeSequence")}
    if codes & _IMPLANT_DISPLACED_CODES:
        return "displaced"
    return "present" if _text(header, "BreastImplantPresent") == "YES" else ""


def _kind(header: pydicom.Dataset) -> str:
    """Return "synthesised 2D" for an image that was computed from a tomosynthesis."""
    image_type = {str(value).upper() for value in header.get("ImageType") or ()}
    is_synthetic = bool(image_type & {"GENERATED_2D", "TOMO_2D", "C-VIEW", "INTELLIGENT 2D"})
    return "synthesised 2D" if is_synthetic else ""
