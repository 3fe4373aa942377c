"""Conventions that several archives share: BI-RADS words, views, pathologies and published splits.

File formats of a single archive belong in the module of its source.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from core.class_labels import SPLITS
from core.images.decoding import DecodedImage
from core.sources.csv_table import CsvRow
from core.sources.records import PATHOLOGIES, Finding, Mammogram, Problem

UNKNOWN = "UNKNOWN"
_KEYWORDS = {"SHAPE", "MARGINS", "TYPE", "DISTRIBUTION"}
_LATERALITY = {"L": "LEFT", "R": "RIGHT", "LEFT": "LEFT", "RIGHT": "RIGHT", UNKNOWN: UNKNOWN}
# Standard views, and additional ones that screening sets contain (ACR abbreviations).
VIEWS = ("CC", "MLO", "ML", "LM", "LMO", "AT", "XCCL", "XCCM", "FB", "SIO")
_VIEW = {view: view for view in (*VIEWS, UNKNOWN)}
# Words of file names. A bare "cc" also occurs in hexadecimal hashes, so no hexadecimal digit may
# stand beside a word that such a hash can contain; longer words have letters that it cannot.
_NAME_WORDS = re.compile(
    r"(?<![A-Z])(?:(LEFT|RIGHT|L|R)[-_. ]?(CC|MLO)|(LEFT|RIGHT|MLO))(?![A-Z])"
    r"|(?<![A-Z0-9])(CC|L|R)(?![A-Z0-9])"
)


def parse_lesion_type(text: str) -> tuple[str, dict[str, str]]:
    """Return lesion type and descriptors of a LESION_TYPE line of DDSM.

    Parameters
    ----------
    text : str
        The line, with or without its keyword LESION_TYPE.

    Returns
    -------
    lesion_type : str
        MASS, CALCIFICATION, OTHER, or "" for an empty line.
    descriptors : dict of str to str
        Lower-case keyword to value. Several values stay joined by "-" as the archive writes them.
        Words that follow no keyword are collected under "other".

    Examples
    --------
    >>> parse_lesion_type("LESION_TYPE MASS SHAPE OVAL MARGINS CIRCUMSCRIBED")
    ('MASS', {'shape': 'OVAL', 'margins': 'CIRCUMSCRIBED'})
    """
    words = text.split()
    if words and words[0] == "LESION_TYPE":
        words = words[1:]
    if not words:
        return "", {}
    descriptors: dict[str, list[str]] = {}
    keyword = "other"
    for word in words[1:]:
        if word.upper() in _KEYWORDS:
            keyword = word.lower()
            descriptors.setdefault(keyword, [])
        else:
            descriptors.setdefault(keyword, []).append(word.upper())
    lesion_type = words[0].upper()
    return lesion_type, {name: " ".join(values) for name, values in descriptors.items() if values}


def parse_laterality(text: str) -> str | None:
    """Return LEFT, RIGHT or UNKNOWN for a text such as "l" or "Right"; None for anything else."""
    return _LATERALITY.get(text.strip().upper())


def parse_view(text: str) -> str | None:
    """Return one of VIEWS or UNKNOWN for a text such as "cc"; None for anything else."""
    return _VIEW.get(text.strip().upper())


def view_from_file_name(name: str) -> tuple[str, str]:
    """Return laterality and view that a file name contains.

    Either is UNKNOWN if the name contains none or contradicts itself. Letters of a hash are no
    view.

    Examples
    --------
    >>> view_from_file_name("Mass-Training_P_00001_LEFT_CC")
    ('LEFT', 'CC')
    >>> view_from_file_name("p12-LCC.png")
    ('LEFT', 'CC')
    >>> view_from_file_name("left_or_right_cc.png")
    ('UNKNOWN', 'CC')
    >>> view_from_file_name("scan-3cc8e7.png")
    ('UNKNOWN', 'UNKNOWN')
    """
    words = [
        part for match in _NAME_WORDS.finditer(name.upper()) for part in match.groups() if part
    ]
    sides = {_LATERALITY[word] for word in words if word in _LATERALITY}
    views = {_VIEW[word] for word in words if word in _VIEW}
    return sides.pop() if len(sides) == 1 else UNKNOWN, views.pop() if len(views) == 1 else UNKNOWN


def normalize_pathology(text: str) -> str:
    """Return a pathology in the spelling of PATHOLOGIES, if it is one of them.

    Examples
    --------
    >>> normalize_pathology("benign without callback")
    'BENIGN_WITHOUT_CALLBACK'
    """
    return text.upper().replace(" ", "_")


def row_pathology(row: CsvRow, allowed: Sequence[str] = PATHOLOGIES) -> str:
    """Return the pathology of a row, one of those allowed; UserError for an unknown one."""
    pathology = normalize_pathology(row.get("pathology"))
    if pathology not in allowed:
        raise row.error(
            f"unknown pathology {row.get('pathology')!r}", f"use one of {', '.join(allowed)}"
        )
    return pathology


def resolve_published_split(
    patient: str, published: Iterable[str | None]
) -> tuple[str | None, list[Problem]]:
    """Return the one split of a patient whose images are published in several.

    It is the last of train, hold-out and test: the published test images stay test images, and no
    image of the patient is used for training.

    Examples
    --------
    >>> resolve_published_split("P_00002", ["train", None, "test"])[0]
    'test'
    """
    # SPLITS runs from train to test, so the last name keeps the patient out of training.
    names = sorted({name for name in published if name}, key=SPLITS.index)
    if len(names) < 2:
        return (names[0] if names else None), []
    return names[-1], [
        Problem(
            patient,
            f"its images are published in several splits ({', '.join(names)})",
            f"all are in {names[-1]}",
        )
    ]


def mammogram_from_image(
    image: DecodedImage,
    *,
    id: str,
    laterality: str,
    view: str,
    findings: Iterable[Finding],
    source_file: str,
    image_label: str | None = None,
    unlocated: bool = False,
    whole_image: bool = False,
) -> Mammogram:
    """Return the mammogram record of a decoded image file and its findings."""
    return Mammogram(
        id=id,
        laterality=laterality,
        view=view,
        pixels=image.pixels,
        maximum=image.maximum,
        findings=tuple(findings),
        pixel_mm=image.pixel_mm,
        scanner=image.scanner,
        image_label=image_label,
        inverted=image.inverted,
        file_hash=image.file_hash,
        source_file=source_file,
        unlocated=unlocated,
        attributes=image.attributes,
        whole_image=whole_image,
    )


def similar_names(patients: Iterable[str]) -> dict[str, str]:
    """Return each patient whose name is that of another in a different spelling, with the other.

    Capitals, kinds of spaces and digits, leading zeros of numbers and ".0" do not count.

    Examples
    --------
    >>> similar_names(["P1", "p1", "007", "7.0", "P7"])
    {'p1': 'P1', 'P1': 'p1', '7.0': '007', '007': '7.0'}
    """
    first: dict[str, str] = {}
    similar: dict[str, str] = {}
    for patient in patients:
        key = " ".join(unicodedata.normalize("NFKC", patient).casefold().split())
        number = re.fullmatch(r"0*(\d+)(\.0+)?", key)
        other = first.setdefault(number[1] if number else key, patient)
        if other != patient:
            similar[patient] = other
            similar.setdefault(other, patient)
    return similar
