"""Explanation of a mammogram: class probability maps, the decision, and the units behind it
(DEFINITIONS "Explanation", "Image and case scores").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.class_labels import CLASSES
from core.interpretation.influence import DEPTH, ranked


@dataclass(frozen=True)
class ImageScores:
    """normal, benign:

    None for two-class networks and for films without tissue everything is None.
    """

    normal: float | None
    benign: float | None
    malignant: float | None


def image_scores(probabilities: np.ndarray, tissue: np.ndarray) -> ImageScores:
    """Scores from probability maps [classes, h, w] over tissue positions bool [h, w]: s_malignant =
    max p_malignant, s_benign = max p_benign, s_normal = 1 - max (p_benign + p_malignant). All None
    where there is no tissue.
    """
    if not tissue.any():
        return ImageScores(None, None, None)
    inside = probabilities[:, tissue]
    malignant = float(inside[-1].max())
    if len(inside) == 2:
        return ImageScores(None, None, malignant)
    return ImageScores(
        1.0 - float((inside[1] + inside[2]).max()), float(inside[1].max()), malignant
    )


def predicted_class(scores: ImageScores, threshold: float) -> int | None:
    """0 normal, 1 benign, 2 malignant: normal if s_normal reaches the threshold fixed on hold-out,
    else the larger of the other two. Two-class networks: 2 if s_malignant reaches the threshold,
    else 0. None without tissue.
    """
    if scores.malignant is None:
        return None
    if scores.normal is None or scores.benign is None:
        return 2 if scores.malignant >= threshold else 0
    return 0 if scores.normal >= threshold else lesion_class(scores)


def lesion_class(scores: ImageScores) -> int:
    """The larger of benign and malignant: the decision in the reading study, where every case has a
    finding.
    """
    if scores.benign is None:
        return 2 if (scores.malignant or 0) >= 0.5 else 0
    return 2 if (scores.malignant or 0) >= scores.benign else 1


@dataclass(frozen=True)
class NamedUnit:
    """A unit of an explanation. rank: from 1 in the influence order; label:

    None if nobody named it.
    """

    rank: int
    unit: int
    influence: float
    label: str | None


def top_units(influence: np.ndarray, labels: dict[int, str], depth: int = 8) -> list[NamedUnit]:
    """The `depth` units with the largest influence float [units], with their labels."""
    return [
        NamedUnit(rank, int(u), float(influence[u]), labels.get(int(u)))
        for rank, u in enumerate(ranked(influence, depth), start=1)
    ]


def printed(units: list[NamedUnit], most: int = 5) -> list[NamedUnit]:
    """The annotated ones among the top units, at most `most` (HDSR 2021, section 2.4)."""
    return [unit for unit in units if unit.label][:most]


def texts(
    order: list[int], labels: dict[int, str], number: int = 3, depth: int = DEPTH
) -> list[str]:
    """Reading-study text: annotations of the `number` most influential annotated units among the
    first `depth` of the influence order.
    """
    return [labels[unit] for unit in order[:depth] if unit in labels][:number]


def class_index(name: str) -> int:
    """0, 1, 2 for normal, benign, malignant."""
    return CLASSES.index(name)
