"""What a phantom's pixels can show, and how an expert would say it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag


class Concept(IntFlag):
    """Bits of Mammogram.concepts: six benign looks, four malignant ones, then anatomy and film."""

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


@dataclass(frozen=True)
class ConceptWords:
    """A concept in the terms of the annotation form. label: the text to be printed; category: mass,
    calcification, architectural distortion, asymmetry, associated feature, composition, normal
    tissue or other; descriptors: field -> choice of that form; association: "benign", "uncertain",
    "suspicious", or "" where the form asks for none.
    """

    label: str
    category: str
    descriptors: tuple[tuple[str, str], ...] = ()
    association: str = ""


CONCEPT_WORDS: dict[Concept, ConceptWords] = {
    Concept.CIRCUMSCRIBED_MASS: ConceptWords(
        "Circumscribed mass", "mass", (("margin", "circumscribed"), ("shape", "oval")), "benign"
    ),
    Concept.LOBULAR_MASS: ConceptWords(
        "Lobulated mass", "mass", (("margin", "obscured"), ("shape", "oval")), "benign"
    ),
    Concept.LYMPH_NODE: ConceptWords(
        "Lymph node", "other", (("structure", "lymph node"),), "benign"
    ),
    Concept.VASCULAR_CALCIFICATION: ConceptWords(
        "Vascular calcifications", "calcification", (("type", "vascular"),), "benign"
    ),
    Concept.COARSE_CALCIFICATION: ConceptWords(
        "Coarse calcifications", "calcification", (("type", "coarse (popcorn)"),), "benign"
    ),
    Concept.ROUND_CALCIFICATION: ConceptWords(
        "Round calcifications",
        "calcification",
        (("type", "round"), ("distribution", "regional")),
        "benign",
    ),
    Concept.SPICULATED_MASS: ConceptWords(
        "Spiculated mass", "mass", (("margin", "spiculated"), ("shape", "irregular")), "suspicious"
    ),
    Concept.PLEOMORPHIC_CLUSTER: ConceptWords(
        "Pleomorphic calcifications",
        "calcification",
        (("type", "fine pleomorphic"), ("distribution", "grouped")),
        "suspicious",
    ),
    Concept.FINE_LINEAR_CLUSTER: ConceptWords(
        "Fine linear branching calcifications",
        "calcification",
        (("type", "fine linear or branching"), ("distribution", "linear")),
        "suspicious",
    ),
    Concept.ARCHITECTURAL_DISTORTION: ConceptWords(
        "Architectural distortion", "distortion", (), "suspicious"
    ),
    Concept.PECTORAL_MUSCLE: ConceptWords(
        "Pectoral muscle", "other", (("structure", "pectoral muscle"),), "benign"
    ),
    Concept.NIPPLE: ConceptWords("Nipple", "other", (("structure", "nipple"),), "benign"),
    Concept.SKIN_LINE: ConceptWords(
        "Edge of the breast", "other", (("structure", "edge or fold"),), "benign"
    ),
    Concept.DENSE_TISSUE: ConceptWords(
        "Dense tissue", "composition", (("density", "heterogeneously dense"),), "benign"
    ),
    Concept.FATTY_TISSUE: ConceptWords(
        "Fatty tissue", "composition", (("density", "almost entirely fatty"),), "benign"
    ),
    Concept.VESSEL: ConceptWords(
        "Blood vessel", "other", (("structure", "uncalcified vessel"),), "benign"
    ),
    Concept.VIEW_LABEL: ConceptWords(
        "View label", "other", (("structure", "marker or artefact"),), "benign"
    ),
}
FINDING_CONCEPTS = tuple(Concept)[:10]
