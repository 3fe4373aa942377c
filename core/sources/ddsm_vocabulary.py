"""Words of DDSM: descriptive words as terms of the BI-RADS lexicon, and pathologies of a case.

The lexicon belongs in `core.lexicon.birads_categories`. DDSM uses the words of an earlier edition.
The pathology of a case is that of its findings, or of the folder under which the archive files it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.sources.records import PATHOLOGIES, Finding

_FOLDER_PATHOLOGIES = {
    "cancer": "MALIGNANT",
    "benign_without_callback": "BENIGN_WITHOUT_CALLBACK",
    "bwc": "BENIGN_WITHOUT_CALLBACK",
    "benign": "BENIGN",
    "normal": "NORMAL",
}


@dataclass(frozen=True)
class MappedTerm:
    """A term of the lexicon: category, field and term; field and term "" for the category alone.

    doubtful: the two words differ in meaning.
    """

    category: str
    field: str
    term: str
    doubtful: bool = False


DDSM_TERMS: dict[tuple[str, str], MappedTerm] = {
    ("shape", "ROUND"): MappedTerm("mass", "shape", "round"),
    ("shape", "OVAL"): MappedTerm("mass", "shape", "oval"),
    ("shape", "IRREGULAR"): MappedTerm("mass", "shape", "irregular"),
    # BI-RADS 5 counts lobulated masses as oval.
    ("shape", "LOBULATED"): MappedTerm("mass", "shape", "oval", doubtful=True),
    ("shape", "ARCHITECTURAL_DISTORTION"): MappedTerm("distortion", "", ""),
    ("shape", "LYMPH_NODE"): MappedTerm("other", "structure", "lymph node"),
    ("shape", "TUBULAR"): MappedTerm("other", "structure", "dilated duct", doubtful=True),
    ("shape", "ASYMMETRIC_BREAST_TISSUE"): MappedTerm(
        "asymmetry", "extent", "global", doubtful=True
    ),
    ("shape", "FOCAL_ASYMMETRIC_DENSITY"): MappedTerm("asymmetry", "extent", "focal"),
    ("margins", "CIRCUMSCRIBED"): MappedTerm("mass", "margin", "circumscribed"),
    ("margins", "OBSCURED"): MappedTerm("mass", "margin", "obscured"),
    ("margins", "MICROLOBULATED"): MappedTerm("mass", "margin", "microlobulated"),
    ("margins", "SPICULATED"): MappedTerm("mass", "margin", "spiculated"),
    ("margins", "ILL_DEFINED"): MappedTerm("mass", "margin", "indistinct"),
    ("type", "AMORPHOUS"): MappedTerm("calcification", "type", "amorphous"),
    # BI-RADS 5 splits pleomorphic into fine pleomorphic and coarse heterogeneous.
    ("type", "PLEOMORPHIC"): MappedTerm("calcification", "type", "fine pleomorphic", doubtful=True),
    ("type", "FINE_LINEAR_BRANCHING"): MappedTerm(
        "calcification", "type", "fine linear or branching"
    ),
    ("type", "PUNCTATE"): MappedTerm("calcification", "type", "round"),
    ("type", "ROUND_AND_REGULAR"): MappedTerm("calcification", "type", "round"),
    ("type", "LUCENT_CENTER"): MappedTerm("calcification", "type", "rim"),
    ("type", "LUCENT_CENTERED"): MappedTerm("calcification", "type", "rim"),
    ("type", "EGGSHELL"): MappedTerm("calcification", "type", "rim"),
    ("type", "SKIN"): MappedTerm("calcification", "type", "skin"),
    ("type", "VASCULAR"): MappedTerm("calcification", "type", "vascular"),
    ("type", "COARSE"): MappedTerm("calcification", "type", "coarse (popcorn)"),
    ("type", "LARGE_RODLIKE"): MappedTerm("calcification", "type", "large rod-like"),
    ("type", "DYSTROPHIC"): MappedTerm("calcification", "type", "dystrophic"),
    ("type", "MILK_OF_CALCIUM"): MappedTerm("calcification", "type", "milk of calcium"),
    ("type", "SUTURE"): MappedTerm("calcification", "type", "suture"),
    ("distribution", "CLUSTERED"): MappedTerm("calcification", "distribution", "grouped"),
    ("distribution", "DIFFUSELY_SCATTERED"): MappedTerm("calcification", "distribution", "diffuse"),
    ("distribution", "LINEAR"): MappedTerm("calcification", "distribution", "linear"),
    ("distribution", "SEGMENTAL"): MappedTerm("calcification", "distribution", "segmental"),
    ("distribution", "REGIONAL"): MappedTerm("calcification", "distribution", "regional"),
}


def map_ddsm_words(keyword: str, value: str) -> tuple[tuple[MappedTerm, ...], tuple[str, ...]]:
    """Return the lexicon terms of a DDSM descriptor, and its words without a term.

    Parameters
    ----------
    keyword : str
        "shape", "margins", "type" or "distribution".
    value : str
        Words joined by "-"; "N/A" is ignored.

    Examples
    --------
    >>> mapped, unmapped = map_ddsm_words("margins", "ILL_DEFINED-FUZZY")
    >>> [(term.category, term.field, term.term) for term in mapped], unmapped
    ([('mass', 'margin', 'indistinct')], ('FUZZY',))
    """
    words = [word for word in value.upper().split("-") if word not in ("", "N/A")]
    keys = [(keyword.lower(), word) for word in words]
    mapped = tuple(DDSM_TERMS[key] for key in keys if key in DDSM_TERMS)
    return mapped, tuple(word for keyword, word in keys if (keyword, word) not in DDSM_TERMS)


def folder_pathology(ics: Path, root: Path) -> str | None:
    """Return the pathology under whose folder a case is filed, None if no folder name gives one.

    Only folders at or below root count, such as cancers/cancer_01/case0001.
    """
    # A folder above the root that happens to be named normal has no meaning.
    depth = len(ics.relative_to(root).parts)
    for parent in [*ics.parents][:depth]:
        # The archive names its folders in the plural and with a volume: cancers/cancer_01.
        name = re.sub(r"s?(_\d+)?$", "", parent.name.lower().replace("-", "_"))
        if name in _FOLDER_PATHOLOGIES:
            return _FOLDER_PATHOLOGIES[name]
    return None


def truth_by_rule(findings: Sequence[Finding], filed_as: str | None) -> dict[str, str]:
    """Return the truth of a mammogram or case by three rules.

    Parameters
    ----------
    findings : sequence of Finding
        All findings of the mammogram or case.
    filed_as : str or None
        Pathology under whose folder the case is filed.

    Returns
    -------
    dict of str to str
        `folder`: filed_as, or UNKNOWN. `first_abnormality`: pathology of the finding with the
        lowest number. `any_malignant`: the worst pathology, in which UNPROVEN ranks last. Without
        findings the last two are NORMAL.

    Examples
    --------
    >>> findings = [Finding(number=1, pathology="BENIGN"), Finding(number=2, pathology="MALIGNANT")]
    >>> truth_by_rule(findings, None)
    {'folder': 'UNKNOWN', 'first_abnormality': 'BENIGN', 'any_malignant': 'MALIGNANT'}
    """
    first = min(findings, key=lambda finding: finding.number).pathology if findings else "NORMAL"
    pathologies = [finding.pathology for finding in findings]
    # PATHOLOGIES is ordered from the worst.
    worst = min(pathologies, key=PATHOLOGIES.index, default="NORMAL")
    return {"folder": filed_as or "UNKNOWN", "first_abnormality": first, "any_malignant": worst}
