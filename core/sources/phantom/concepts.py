"""Concepts that phantom pixels can show, and their description in terms of the annotation form.

Drawing belongs in `findings` and `anatomy`; the lexicon in `core.lexicon.birads_categories`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag


class Concept(IntFlag):
    """Bits of `Mammogram.concepts`: six benign and four malignant findings, anatomy, markers."""

    # Stored masks hold these values, so they must not be renumbered.
    CIRCUMSCRIBED_MASS = 1
    LOBULAR_MASS = 2
    LYMPH_NODE = 4
    VASCULAR_CALCIFICATION = 8
    COARSE_CALCIFICATION = 16
    ROUND_CALCIFICATION = 32
    SPICULATED_MASS = 64
    PLEOMORPHIC_CLUSTER = 128
    FINE_LINEAR_CLUSTER = 256
    ARCHITECTURAL_DISTORTION = 512
    PECTORAL_MUSCLE = 1024
    NIPPLE = 2048
    SKIN_LINE = 4096
    DENSE_TISSUE = 8192
    FATTY_TISSUE = 16384
    VESSEL = 32768
    VIEW_LABEL = 65536
    SKIN_MARKER = 131072


@dataclass(frozen=True)
class ConceptDescription:
    """A concept in terms of the annotation form.

    label: text for display. category: name of a category of the lexicon. descriptors: (field, term)
    pairs of that category. association: "benign", "uncertain", "suspicious", or "" if the form has
    none.
    """

    label: str
    category: str
    descriptors: tuple[tuple[str, str], ...] = ()
    association: str = ""


CONCEPT_DESCRIPTIONS: dict[Concept, ConceptDescription] = {
    Concept.CIRCUMSCRIBED_MASS: ConceptDescription(
        "Circumscribed mass", "mass", (("margin", "circumscribed"), ("shape", "oval")), "benign"
    ),
    Concept.LOBULAR_MASS: ConceptDescription(
        "Lobulated mass", "mass", (("margin", "obscured"), ("shape", "oval")), "benign"
    ),
    Concept.LYMPH_NODE: ConceptDescription(
        "Lymph node", "other", (("structure", "lymph node"),), "benign"
    ),
    Concept.VASCULAR_CALCIFICATION: ConceptDescription(
        "Vascular calcifications", "calcification", (("type", "vascular"),), "benign"
    ),
    Concept.COARSE_CALCIFICATION: ConceptDescription(
        "Coarse calcifications", "calcification", (("type", "coarse (popcorn)"),), "benign"
    ),
    Concept.ROUND_CALCIFICATION: ConceptDescription(
        "Round calcifications",
        "calcification",
        (("type", "round"), ("distribution", "regional")),
        "benign",
    ),
    Concept.SPICULATED_MASS: ConceptDescription(
        "Spiculated mass", "mass", (("margin", "spiculated"), ("shape", "irregular")), "suspicious"
    ),
    Concept.PLEOMORPHIC_CLUSTER: ConceptDescription(
        "Pleomorphic calcifications",
        "calcification",
        (("type", "fine pleomorphic"), ("distribution", "grouped")),
        "suspicious",
    ),
    Concept.FINE_LINEAR_CLUSTER: ConceptDescription(
        "Fine linear branching calcifications",
        "calcification",
        (("type", "fine linear or branching"), ("distribution", "linear")),
        "suspicious",
    ),
    Concept.ARCHITECTURAL_DISTORTION: ConceptDescription(
        "Architectural distortion", "distortion", (), "suspicious"
    ),
    Concept.PECTORAL_MUSCLE: ConceptDescription(
        "Pectoral muscle", "other", (("structure", "pectoral muscle"),), "benign"
    ),
    Concept.NIPPLE: ConceptDescription("Nipple", "other", (("structure", "nipple"),), "benign"),
    Concept.SKIN_LINE: ConceptDescription(
        "Edge of the breast", "other", (("structure", "edge or fold"),), "benign"
    ),
    Concept.DENSE_TISSUE: ConceptDescription(
        "Dense tissue", "composition", (("density", "heterogeneously dense"),), "benign"
    ),
    Concept.FATTY_TISSUE: ConceptDescription(
        "Fatty tissue", "composition", (("density", "almost entirely fatty"),), "benign"
    ),
    Concept.VESSEL: ConceptDescription(
        "Blood vessel", "other", (("structure", "uncalcified vessel"),), "benign"
    ),
    Concept.VIEW_LABEL: ConceptDescription(
        "View label", "other", (("structure", "marker or artefact"),), "benign"
    ),
    Concept.SKIN_MARKER: ConceptDescription(
        "Skin marker", "other", (("structure", "marker or artefact"),), "benign"
    ),
}
# Tissue of any density without a finding.
NORMAL_TISSUE = ConceptDescription("Normal tissue", "normal")
FINDING_CONCEPTS = tuple(Concept)[:10]
