"""Explanation of a mammogram: image scores, predicted class, and the most influential units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.interpretation.influence import RANKING_DEPTH, rank_units


@dataclass(frozen=True)
class ImageScores:
    """Scores of one mammogram.

    A mammogram without tissue has no scores; two-class networks have the malignant score only.
    """

    normal: float | None
    benign: float | None
    malignant: float | None


def compute_image_scores(probabilities: np.ndarray, tissue: np.ndarray) -> ImageScores:
    """Return the scores of a mammogram from its class probability maps.

    s_malignant = max p_malignant, s_benign = max p_benign,
    s_normal = 1 - max (p_benign + p_malignant), each over tissue positions.

    Parameters
    ----------
    probabilities : ndarray, float [classes, h, w]
        Class probability maps of three or two classes.
    tissue : ndarray, bool [h, w]
        Tissue positions of the maps.

    Returns
    -------
    ImageScores

    References
    ----------
    docs/reference/definitions.md, "Image and case scores".

    Examples
    --------
    >>> import numpy as np
    >>> probabilities = np.array([[[0.7, 0.1]], [[0.2, 0.3]], [[0.1, 0.6]]])
    >>> scores = compute_image_scores(probabilities, np.array([[True, True]]))
    >>> round(scores.normal, 2), scores.benign, scores.malignant
    (0.1, 0.3, 0.6)
    """
    if not tissue.any():
        return ImageScores(None, None, None)
    inside = probabilities[:, tissue]
    # Malignant is the last output with two classes and with three.
    malignant = float(inside[-1].max())
    if len(inside) == 2:
        return ImageScores(None, None, malignant)
    # Not max p_normal: every mammogram has normal tissue somewhere, so that its AUC is chance.
    return ImageScores(
        1.0 - float((inside[1] + inside[2]).max()), float(inside[1].max()), malignant
    )


def predicted_class(scores: ImageScores, threshold: float) -> int | None:
    """Return the predicted class of a mammogram.

    Parameters
    ----------
    scores : ImageScores
        Scores of the mammogram.
    threshold : float
        Fixed on the hold-out split, on s_normal (three classes) or s_malignant (two classes).

    Returns
    -------
    int or None
        0 (normal) if s_normal reaches the threshold, else 1 (benign) or 2 (malignant), whichever
        score is larger. Two classes: 2 if s_malignant reaches the threshold, else 0. None without
        tissue.

    References
    ----------
    docs/reference/definitions.md, "Image and case scores".

    Examples
    --------
    >>> predicted_class(ImageScores(0.4, 0.2, 0.5), threshold=0.5)
    2
    >>> predicted_class(ImageScores(None, None, 0.4), threshold=0.5)
    0
    """
    if scores.malignant is None:
        return None
    # Two classes: the threshold then refers to s_malignant.
    if scores.normal is None or scores.benign is None:
        return 2 if scores.malignant >= threshold else 0
    return 0 if scores.normal >= threshold else lesion_class(scores)


def lesion_class(scores: ImageScores) -> int:
    """Return the larger of benign (1) and malignant (2), ties malignant.

    This is the predicted class of a reading study, where every case has a finding. Two-class
    networks: 2 if s_malignant is at least .5, else 0.

    Parameters
    ----------
    scores : ImageScores
        Scores of the mammogram.

    Returns
    -------
    int

    References
    ----------
    docs/reference/definitions.md, "Image and case scores".

    Examples
    --------
    >>> lesion_class(ImageScores(0.9, 0.5, 0.4))
    1
    """
    if scores.benign is None:
        return 2 if (scores.malignant or 0) >= 0.5 else 0
    return 2 if (scores.malignant or 0) >= scores.benign else 1


@dataclass(frozen=True)
class NamedUnit:
    """A unit of an explanation: its rank by influence from 1, and its label, None without one."""

    rank: int
    unit: int
    influence: float
    label: str | None


def most_influential_units(
    influence: np.ndarray, labels: dict[int, str], depth: int = 8
) -> list[NamedUnit]:
    """Return the units with the largest influence on a class, with their labels.

    Parameters
    ----------
    influence : ndarray, float [units]
        Influence of every unit on the class of the explanation.
    labels : dict of int to str
        Label of each labelled unit.
    depth : int
        Number of units; 8 in the publication.

    Returns
    -------
    list of NamedUnit
        Largest influence first.

    References
    ----------
    Wu et al. 2021 (HDSR), section 2.4. docs/reference/definitions.md, "Explanation".

    Examples
    --------
    >>> import numpy as np
    >>> units = most_influential_units(np.array([0.5, 3.0, 1.0]), {1: "spiculated mass"}, depth=2)
    >>> [(unit.rank, unit.unit, unit.label) for unit in units]
    [(1, 1, 'spiculated mass'), (2, 2, None)]
    """
    return [
        NamedUnit(rank, int(unit), float(influence[unit]), labels.get(int(unit)))
        for rank, unit in enumerate(rank_units(influence, depth), start=1)
    ]


def displayed_units(units: list[NamedUnit], limit: int = 5) -> list[NamedUnit]:
    """Return the labelled units of an explanation, at most `limit`.

    Parameters
    ----------
    units : list of NamedUnit
        Most influential units, in order.
    limit : int
        5 in the publication.

    Returns
    -------
    list of NamedUnit

    References
    ----------
    Wu et al. 2021 (HDSR), section 2.4. docs/reference/definitions.md, "Explanation".

    Examples
    --------
    >>> units = [NamedUnit(1, 7, 2.0, None), NamedUnit(2, 3, 1.5, "calcifications")]
    >>> [unit.label for unit in displayed_units(units)]
    ['calcifications']
    """
    return [unit for unit in units if unit.label][:limit]


def reading_texts(
    order: list[int], labels: dict[int, str], number: int = 3, depth: int = RANKING_DEPTH
) -> list[str]:
    """Return the texts that a reading study shows for a mammogram.

    Parameters
    ----------
    order : list of int
        Units in order of influence.
    labels : dict of int to str
        Label of each labelled unit.
    number : int
        Number of texts; 3 in the publication.
    depth : int
        Units searched.

    Returns
    -------
    list of str
        Labels of the most influential labelled units.

    References
    ----------
    Wu et al. 2021 (HDSR). docs/reference/definitions.md, "Explanation".

    Examples
    --------
    >>> reading_texts([4, 2, 9], {2: "spiculated mass", 9: "vessel"}, number=1)
    ['spiculated mass']
    """
    # The depth counts all units, the number only those with a label.
    return [labels[unit] for unit in order[:depth] if unit in labels][:number]
