"""Validation of the arguments of the statistics.

Every invalid argument raises a ValueError that names the argument, the position and the value.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import PlainSerializer, PlainValidator

# The annotations let pydantic store results with arrays as JSON.
Array = Annotated[
    np.ndarray[Any, np.dtype[Any]],
    PlainValidator(np.asarray),
    PlainSerializer(np.ndarray.tolist),
]


def as_array(values: Any, name: str) -> Array:
    """Return values as an array; masked entries become nan.

    Raises
    ------
    ValueError
        If rows have different lengths.

    Examples
    --------
    >>> as_array([1, 2], "scores")
    array([1, 2])
    """
    try:
        # numpy raises on ragged rows since 1.24; before, it returned an object array.
        converted = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name}: rows of different lengths; every row needs the same number of values"
        ) from error
    # np.asarray drops the mask and would return the hidden values.
    if np.ma.isMaskedArray(values):
        converted = converted.astype(object)
        converted[np.ma.getmaskarray(values)] = np.nan
    return converted


def float_array(values: Any, name: str) -> Array:
    """Return numbers of any shape as float64; missing entries (None, NaN, pd.NA) become nan.

    Raises
    ------
    ValueError
        If an entry is not a real number (text, a date, a complex number).

    Examples
    --------
    >>> float_array([1, None], "scores")
    array([ 1., nan])
    """
    converted = as_array(values, name)
    if converted.dtype.kind in "mMc":
        raise ValueError(f"{name} must be numeric, not values of type {converted.dtype}")
    if converted.dtype.kind == "O":
        # None, nan, NaT and pd.NA alike; np.isnan fails on objects.
        converted = np.where(pd.isna(converted), np.nan, converted)
    try:
        return converted.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numeric; found {_first_non_number(converted)!r}"
        ) from error


def _first_non_number(values: Array) -> str:
    for value in values.ravel().tolist():
        try:
            float(value)
        except (TypeError, ValueError):
            return str(value)
    return str(values.ravel()[0])


def whole_number(value: Any, name: str, least: int = 0) -> int:
    """Return a count as int.

    Raises
    ------
    ValueError
        If the value is missing, fractional, infinite or smaller than `least`.

    Examples
    --------
    >>> whole_number(3.0, "trials")
    3
    """
    try:
        # int() truncates: the comparison below rejects fractions.
        number = int(value)
        valid = number == value and number >= least
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ValueError(f"{name} is {value}: expected a whole number of at least {least}")
    return number


def binary_labels(y: Any) -> Array:
    """Return labels as a bool array of shape (n,).

    Raises
    ------
    ValueError
        If a label is missing or is not 0, 1, False or True.

    Examples
    --------
    >>> binary_labels([0, 1, 1])
    array([False,  True,  True])
    """
    values = as_array(y, "labels")
    if values.ndim != 1:
        raise ValueError(f"labels must be a list of 0 and 1, not an array of shape {values.shape}")
    missing = np.flatnonzero(pd.isna(values))
    if len(missing):
        raise ValueError(
            f"label {missing[0] + 1} of {len(values)} is missing: labels must be 0 or 1"
        )
    # True and False equal 1 and 0 and pass.
    wrong = np.flatnonzero(~np.isin(values, (0, 1)))
    if len(wrong):
        raise ValueError(
            f"label {wrong[0] + 1} of {len(values)} is {str(values[wrong[0]])!r}: labels must be 0"
            " or 1"
        )
    return values.astype(bool)


def float_vector(values: Any, name: str, length: int | None = None) -> Array:
    """Return numbers without gaps as float64 of shape (n,); infinite values are allowed.

    Raises
    ------
    ValueError
        If a value is missing, or if `length` is given and differs.

    Examples
    --------
    >>> float_vector([1, float("inf")], "score")
    array([ 1., inf])
    """
    vector = float_array(values, name)
    if vector.ndim != 1:
        raise ValueError(f"{name} must be a list of numbers, not an array of shape {vector.shape}")
    if length is not None and len(vector) != length:
        raise ValueError(
            f"{len(vector)} values of {name} for {length} labels: each observation needs both"
        )
    wrong = np.flatnonzero(np.isnan(vector))
    if len(wrong):
        raise ValueError(
            f"{name} {wrong[0] + 1} of {len(vector)} is not a number: exclude such observations,"
            " and report their number, before testing"
        )
    return vector


def labels_and_scores(y: Any, score: Any) -> tuple[Array, Array]:
    """Return labels (bool) and scores (float64) of a ROC analysis, both of shape (n,)."""
    labels = binary_labels(y)
    return labels, float_vector(score, "score", len(labels))


def labels_and_probabilities(y: Any, probability: Any) -> tuple[Array, Array]:
    """Return labels (bool) and probabilities in [0, 1] (float64), both of shape (n,).

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1].
    """
    labels = binary_labels(y)
    values = float_vector(probability, "probability", len(labels))
    wrong = np.flatnonzero((values < 0) | (values > 1))
    if len(wrong):
        raise ValueError(
            f"probability {wrong[0] + 1} of {len(values)} is {values[wrong[0]]:g}: it must lie"
            " between 0 and 1"
        )
    return labels, values


def cluster_codes(cluster: Any, length: int) -> tuple[Array, int]:
    """Return cluster (patient) identifiers as integer codes, and the number of clusters.

    Parameters
    ----------
    cluster : sequence of hashable, shape (length,)
        Identifier of each observation's cluster: numbers, text, tuples, or a mixture.
    length : int
        Number of observations.

    Returns
    -------
    codes : ndarray of int, shape (length,)
        Codes 0 to k - 1, in the order of the sorted identifiers.
    k : int
        Number of clusters.

    Raises
    ------
    ValueError
        If an identifier is missing, or if there is not one per observation.

    Examples
    --------
    >>> cluster_codes(["B", "A", "B"], 3)
    (array([1, 0, 1]), 2)
    """
    values = _identifiers(cluster)
    if values.shape != (length,):
        given = (
            f"{len(values)} patients" if values.ndim == 1 else f"patients of shape {values.shape}"
        )
        raise ValueError(f"{given} for {length} observations: each observation needs its patient")
    # Sorted, so that codes and random draws do not depend on the order of the rows.
    codes, unique = pd.factorize(values, sort=True)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise ValueError(
            f"observation {missing[0] + 1} of {length} has no patient: each observation needs its"
            " patient"
        )
    return codes, len(unique)


def _identifiers(cluster: Any) -> Array:
    """Return identifiers unchanged, as a one-dimensional array."""
    if not isinstance(cluster, (list, tuple)):
        return as_array(cluster, "patients")
    # np.asarray would turn a gap in a list of text into the text "nan", and tuples into columns.
    kinds = {type(value) for value in cluster}
    return (
        np.asarray(cluster)
        if kinds <= {int} or kinds <= {str}
        else np.fromiter(cluster, dtype=object, count=len(cluster))
    )


def check_level(level: float) -> float:
    """Return a confidence level that lies strictly between 0 and 1, or raise ValueError.

    >>> check_level(0.95)
    0.95
    """
    if not 0 < level < 1:
        raise ValueError(f"the level is {level:g}: it must lie between 0 and 1, for example 0.95")
    return level


def one_class_reason(labels: Array) -> str | None:
    """Return why two classes cannot be compared; None where both are present.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)

    Examples
    --------
    >>> one_class_reason(np.array([True, True]))
    'all observations are positive: both classes are needed'
    """
    if not len(labels):
        return "there are no observations"
    if labels.all():
        return "all observations are positive: both classes are needed"
    if not labels.any():
        return "all observations are negative: both classes are needed"
    return None
