"""Selection of units by their influence, and coverage of the slots they take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.intervals import not_estimable, percent
from evaluation.validation import Array, float_array


@dataclass(frozen=True, kw_only=True)
class ClassCoverage:
    """Coverage of one class.

    Attributes
    ----------
    selected : tuple of int
        Selected units (0-based), most frequent first.
    counts : tuple of int
        How often each selected unit is among an image's top units.
    coverage : float or None
        Share of all slots that the selected units take; a slot is one of an image's top units.
    chance : float
        Share that as many arbitrary units would take.
    images, slots : int
        Numbers of images and slots.
    reason : str or None
        Why there is no coverage.
    """

    selected: tuple[int, ...]
    counts: tuple[int, ...]
    coverage: float | None
    chance: float
    images: int
    slots: int
    reason: str | None = None

    @property
    def coverage_percent(self) -> float | None:
        """Return the coverage in percent, as printed in the paper."""
        return None if self.coverage is None else 100 * self.coverage


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Coverage of every class.

    Attributes
    ----------
    per_class : tuple of ClassCoverage
    union : tuple of int
        Units (0-based, ascending) that are selected for any class.
    top, select : int
        Top units per image, and selected units per class.
    method, unit : str
        Caveat of the sentence, and unit of analysis.
    """

    per_class: tuple[ClassCoverage, ...]
    union: tuple[int, ...]
    top: int
    select: int
    method: str = "measured on the images that chose the units: optimistic"
    unit: str = "image"

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        shares = " / ".join(
            percent(part.coverage, 2) if part.coverage is not None else not_estimable(part.reason)
            for part in self.per_class
        )
        return (
            f"The {self.select} units most often among the {self.top} most influential take"
            f" {shares} of the slots of each class ({len(self.union)} distinct units;"
            f" {self.method})."
        )


def top_influential_units(max_activations: Any, class_weights: Any, top: int = 8) -> Array:
    """Rank the units of each image by their influence on each class.

    Parameters
    ----------
    max_activations : array_like of float, shape (images, units)
        Largest activation of each unit over the whole image.
    class_weights : array_like of float, shape (classes, units)
        Weight of each unit in the last linear layer.
    top : int
        Number of units to return per image.

    Returns
    -------
    ndarray of int, shape (classes, images, top)
        Most influential unit first; ties go to the lowest index.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or there are fewer than `top` units.

    Notes
    -----
    Influence = largest activation x weight; signed, without bias.

    Examples
    --------
    >>> top_influential_units([[1.0, 5.0, 2.0]], [[1.0, 1.0, 4.0]], top=2).tolist()
    [[[2, 1]]]
    """
    activations = float_array(max_activations, "activations")
    weights = float_array(class_weights, "weights")
    if activations.ndim != 2 or weights.ndim != 2 or activations.shape[1] != weights.shape[1]:
        raise ValueError(
            f"activations of shape {activations.shape} and weights of shape {weights.shape}:"
            " [image, unit] and [class, unit] are needed"
        )
    if not (np.isfinite(activations).all() and np.isfinite(weights).all()):
        raise ValueError("an activation or a weight is not a finite number: dissect this run again")
    if not len(weights):
        raise ValueError("there are no classes: a row of weights for each is needed")
    if not 1 <= top <= activations.shape[1]:
        raise ValueError(f"the {top} top units of {activations.shape[1]} do not exist")
    # A stable sort defines the order of ties, such as units that are 0 after ReLU.
    return np.stack(
        [np.argsort(-(activations * row), axis=1, kind="stable")[:, :top] for row in weights]
    )


def top_unit_arrays(influences: pd.DataFrame) -> tuple[list[int], Array, Array]:
    """Return a table of top influences as arrays.

    Parameters
    ----------
    influences : DataFrame
        Columns class, mammogram_id, patient_id, rank, unit; the same number of ranks for every
        class and mammogram.

    Returns
    -------
    codes : list of int
        Class codes, ascending.
    tops : ndarray of int, shape (classes, images, top)
        Top units of each image, most influential first.
    patients : ndarray, shape (images,)
        Patient of each image.

    Examples
    --------
    >>> table = pd.DataFrame({"class": [2, 2], "mammogram_id": [7, 7], "patient_id": ["A", "A"],
    ...                       "rank": [2, 1], "unit": [30, 40]})
    >>> codes, tops, patients = top_unit_arrays(table)
    >>> codes, tops.tolist(), patients.tolist()
    ([2], [[[40, 30]]], ['A'])
    """
    codes = sorted(int(code) for code in influences["class"].unique())
    # Sorted by image within class, so that every class has its images in the same order.
    ordered = influences.sort_values(["class", "mammogram_id", "rank"])
    images = ordered["mammogram_id"].nunique()
    # [class, image, rank]; the reshape relies on that order and on complete ranks.
    tops = ordered["unit"].to_numpy().reshape(len(codes), images, -1)
    first = ordered[ordered["class"] == codes[0]].drop_duplicates("mammogram_id")
    return codes, tops, first["patient_id"].to_numpy()


def count_units(tops: Array, units: int) -> Array:
    """Count how often each unit is among the top units.

    Parameters
    ----------
    tops : ndarray of int, shape (classes, images, top)
    units : int
        Number of units of the layer.

    Returns
    -------
    ndarray of int, shape (classes, units)

    Examples
    --------
    >>> count_units(np.array([[[2, 1], [2, 0]]]), 4).tolist()
    [[1, 1, 2, 0]]
    """
    return np.stack([np.bincount(part.ravel(), minlength=units) for part in tops])


def select_units(counts: Array, select: int = 20) -> Array:
    """Select the most frequent units of one class.

    Parameters
    ----------
    counts : ndarray of int, shape (units,)
    select : int
        Largest number of units.

    Returns
    -------
    ndarray of int
        Most frequent first; ties go to the lowest index. Units that never occur are not selected.

    Examples
    --------
    >>> select_units(np.array([1, 1, 2, 0]), 2)
    array([2, 0])
    """
    # Stable: ties go to the lowest index, as in the published code.
    order = np.argsort(-counts, kind="stable")[:select]
    # Units that never occur all tie at 0, so their order carries nothing.
    return order[counts[order] > 0]


def unit_coverage(
    max_activations: Any, class_weights: Any, top: int = 8, select: int = 20
) -> Coverage:
    """Compute the coverage of each class.

    Parameters
    ----------
    max_activations, class_weights, top
        As in `top_influential_units`.
    select : int
        Number of units selected per class.

    Returns
    -------
    Coverage

    Raises
    ------
    ValueError
        As in `top_influential_units`, or if `select` is below 1.

    Notes
    -----
    Coverage = (slots taken by the `select` most frequent units) / (top x images). Units are
    selected on the images on which coverage is measured, which makes it optimistic: report
    `split_half_coverage` as well.

    Checked against: `generate_unit_rankings.py` of the published DeepMiner code (exact counts).

    References
    ----------
    Wu J et al. DeepMiner: discovering interpretable representations for mammogram classification
    and explanation. Harv Data Sci Rev 2021;3(4) (published: 59.27 %, 69.77 % and 75.82 %).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> coverage = unit_coverage(rng.random((50, 100)), rng.normal(size=(2, 100)))
    >>> round(coverage.per_class[0].coverage, 3), len(coverage.union)
    (0.998, 40)
    """
    tops = top_influential_units(max_activations, class_weights, top)
    return coverage_from_top_units(tops, np.shape(max_activations)[1], select)


def coverage_from_top_units(tops: Array, units: int, select: int = 20) -> Coverage:
    """Compute `unit_coverage` from the top units themselves.

    Parameters
    ----------
    tops : ndarray of int, shape (classes, images, top)
    units : int
        Number of units of the layer.
    select : int
        Number of units selected per class.

    Returns
    -------
    Coverage

    Examples
    --------
    >>> coverage_from_top_units(np.array([[[2, 1], [2, 0]]]), 4, select=1).per_class[0].coverage
    0.5
    """
    if select < 1:
        raise ValueError(f"{select} selected units: at least 1 is needed")
    images, top = tops.shape[1:]
    parts = []
    for counts in count_units(tops, units):
        selected = select_units(counts, select)
        parts.append(
            ClassCoverage(
                selected=tuple(int(unit) for unit in selected),
                counts=tuple(int(count) for count in counts[selected]),
                # A slot is one of the `top` ranks of one image.
                coverage=float(counts[selected].sum() / (top * images)) if images else None,
                # Arbitrary units take, on average, the share of slots that they have of the layer.
                chance=min(1.0, select / units),
                images=images,
                slots=top * images,
                reason=None if images else "there are no images",
            )
        )
    union = sorted({unit for part in parts for unit in part.selected})
    return Coverage(per_class=tuple(parts), union=tuple(union), top=top, select=select)


def share_of_slots(tops: Array, units: Iterable[int]) -> float | None:
    """Return the share of one class's slots [image, top] that units take; None without images.

    >>> share_of_slots(np.array([[2, 1], [2, 0]]), [1, 2])
    0.75
    """
    # np.isin takes a set as a single object, hence the list.
    return float(np.isin(tops, list(units)).mean()) if tops.size else None


def labelled_coverage(
    tops: Array, selected: Iterable[int], labelled: Iterable[int]
) -> float | None:
    """Return the share of one class's slots taken by selected units that carry an annotation.

    Parameters
    ----------
    tops : ndarray of int, shape (images, top)
    selected, labelled : iterable of int
        Selected units, and units with an annotation.

    Examples
    --------
    >>> labelled_coverage(np.array([[2, 1], [2, 0]]), selected=[1, 2], labelled=[2, 3])
    0.5
    """
    return share_of_slots(tops, set(selected) & set(labelled))


def coverage_curve(tops: Array, units: int, up_to: int) -> Array:
    """Return the coverage per class when 1, 2, ..., `up_to` units are selected.

    Parameters
    ----------
    tops : ndarray of int, shape (classes, images, top)
    units : int
        Number of units of the layer.
    up_to : int
        Largest number of selected units.

    Returns
    -------
    ndarray of float64, shape (classes, up_to)

    Examples
    --------
    >>> coverage_curve(np.array([[[2, 1], [2, 0]]]), units=4, up_to=3).tolist()
    [[0.5, 0.75, 1.0]]
    """
    # Descending, since the first k selected units are the k most frequent.
    counts = -np.sort(-count_units(tops, units), axis=1)[:, :up_to]
    return np.cumsum(counts, axis=1) / (tops.shape[1] * tops.shape[2])
