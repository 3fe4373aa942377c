"""Explanation of a mammogram: image scores, predicted class, and the most influential units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.class_labels import ClassDefinition
from core.interpretation.influence import RANKING_DEPTH, rank_units

STORED_UNITS = 8  # units of each mammogram whose maps are stored, as in the publication
# Where units are selected by groups, the first units often show few phenomena; others follow
# further down the ranking.
STORED_UNITS_BY_GROUPS = 32


@dataclass(frozen=True)
class ImageScores:
    """Scores of one mammogram.

    normal: of the first output, None for a network of two outputs. lesions: of the other outputs,
    in their order; empty for a mammogram without tissue.

    Examples
    --------
    >>> from core.class_labels import MAMMOGRAPHY
    >>> ImageScores(0.1, (0.3, 0.6)).row(MAMMOGRAPHY)
    {'normal': 0.1, 'benign': 0.3, 'malignant': 0.6}
    """

    normal: float | None
    lesions: tuple[float, ...]

    def row(self, classes: ClassDefinition) -> dict[str, float | None]:
        """Return the score of every class that has one, by name; None without tissue."""
        if not self.lesions:
            return dict.fromkeys(classes.scored)
        values = self.lesions if self.normal is None else (self.normal, *self.lesions)
        return dict(zip(classes.scored, values, strict=True))


def compute_image_scores(probabilities: np.ndarray, tissue: np.ndarray) -> ImageScores:
    """Return the scores of a mammogram from its class probability maps.

    s_malignant = max p_malignant, s_benign = max p_benign,
    s_normal = 1 - max (p_benign + p_malignant), each over tissue positions; likewise for other
    classes of findings. Because the probabilities of a position add up to 1, s_normal is the
    smallest p_normal. It is taken from there: the sum of the others is rounded and may exceed 1.

    Parameters
    ----------
    probabilities : ndarray, float [classes, h, w]
        Class probability maps, the first of normal.
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
    >>> round(scores.normal, 2), scores.lesions
    (0.1, (0.3, 0.6))
    """
    if not tissue.any():
        return ImageScores(None, ())
    lesions = probabilities[1:, tissue]
    scores = tuple(float(value) for value in lesions.max(1))
    if len(lesions) == 1:
        return ImageScores(None, scores)
    # Not max p_normal: every mammogram has normal tissue somewhere, so that its AUC is chance.
    return ImageScores(float(probabilities[0, tissue].min()), scores)


def predicted_output(scores: ImageScores, threshold: float) -> int | None:
    """Return the network's output that a mammogram is assigned to.

    Parameters
    ----------
    scores : ImageScores
        Scores of the mammogram.
    threshold : float
        Fixed on the hold-out split, on s_normal (two outputs: on s_malignant).

    Returns
    -------
    int or None
        0 (normal) if s_normal reaches the threshold, else the output of the largest other score.
        Two outputs: 1 if s_malignant reaches the threshold, else 0. None without tissue.

    References
    ----------
    docs/reference/definitions.md, "Image and case scores".

    Examples
    --------
    >>> predicted_output(ImageScores(0.4, (0.2, 0.5)), threshold=0.5)
    2
    >>> predicted_output(ImageScores(None, (0.4,)), threshold=0.5)
    0
    """
    if not scores.lesions:
        return None
    if scores.normal is None:
        return int(scores.lesions[0] >= threshold)
    return 0 if scores.normal >= threshold else lesion_output(scores)


def lesion_output(scores: ImageScores) -> int:
    """Return the output of the largest score other than normal, of equal ones the last.

    Two outputs: 1 if s_malignant is at least .5, else 0.

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
    >>> lesion_output(ImageScores(0.9, (0.5, 0.4)))
    1
    """
    if scores.normal is None:
        return int(bool(scores.lesions) and scores.lesions[0] >= 0.5)
    return max(range(len(scores.lesions)), key=lambda i: (scores.lesions[i], i)) + 1


@dataclass(frozen=True)
class NamedUnit:
    """A unit of an explanation: its rank by influence from 1, and its label, None without one.

    state: of the label, see `core.store.labels.label_states`; "" where it is not known.
    """

    rank: int
    unit: int
    influence: float
    label: str | None
    state: str = ""


def most_influential_units(
    influence: np.ndarray, labels: dict[int, str], depth: int = STORED_UNITS
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


@dataclass(frozen=True)
class Phenomenon:
    """A label of an explanation, and its units among the most influential, in their order."""

    label: str
    units: tuple[NamedUnit, ...]

    @property
    def leading(self) -> NamedUnit:
        """The unit with the largest influence."""
        return self.units[0]

    @property
    def text(self) -> str:
        """The label, with the number of units where there are several."""
        return self.label if len(self.units) == 1 else f"{self.label} ({len(self.units)} units)"


def displayed_phenomena(units: Sequence[NamedUnit], limit: int = 5) -> list[Phenomenon]:
    """Return the labels of an explanation, each once with all units behind it.

    Parameters
    ----------
    units : sequence of NamedUnit
        Most influential units, in order. Those without a label are left out.
    limit : int
        Most labels; 5 in the publication, which printed a label once for each of its units.

    Returns
    -------
    list of Phenomenon
        In the order of the leading units.

    References
    ----------
    Wu et al. 2021 (HDSR), section 2.4. docs/reference/definitions.md, "Explanation".

    Examples
    --------
    >>> units = [NamedUnit(1, 7, 2.0, "mass"), NamedUnit(2, 3, 1.5, None)]
    >>> units.append(NamedUnit(3, 5, 1.0, "mass"))
    >>> [phenomenon.text for phenomenon in displayed_phenomena(units)]
    ['mass (2 units)']
    """
    by_label: dict[str, list[NamedUnit]] = {}
    for unit in units:
        if unit.label:
            by_label.setdefault(unit.label, []).append(unit)
    return [Phenomenon(label, tuple(group)) for label, group in by_label.items()][:limit]


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
