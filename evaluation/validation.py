"""Checks of what the statistics are given: every mistake is a ValueError whose sentence says which
value is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]


def array(values: Any, name: str) -> Array:
    """Values as an array; masked ones are nan. Rows of different lengths are a ValueError."""
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name}: rows of different lengths; every row needs the same number of values"
        ) from error
    if np.ma.isMaskedArray(values):
        given = given.astype(object)
        given[np.ma.getmaskarray(values)] = np.nan
    return given


def float_array(values: Any, name: str) -> Array:
    """Numbers of any shape as float64, missing ones nan; what is no number (a word, a date, a
    complex number) is a ValueError.
    """
    given = array(values, name)
    if given.dtype.kind in "mMc":
        raise ValueError(f"{name} must be numbers, not values of type {given.dtype}")
    if given.dtype.kind == "O":
        given = np.where(pd.isna(given), np.nan, given)
    try:
        return given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers, but {_first_word(given)!r} is none") from error


def _first_word(given: Array) -> str:
    for value in given.ravel().tolist():
        try:
            float(value)
        except (TypeError, ValueError):
            return str(value)
    return str(given.ravel()[0])


def whole_number(value: Any, name: str, least: int = 0) -> int:
    """A count as int; a missing, fractional or smaller one is a ValueError."""
    try:
        number = int(value)
        good = number == value and number >= least
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise ValueError(f"{name} is {value}: whole numbers from {least} on are needed")
    return number


def binary_labels(y: Any) -> Array:
    """Labels as a bool array [n]; anything but 0/1, False/True is a ValueError."""
    values = array(y, "labels")
    if values.ndim != 1:
        raise ValueError(f"labels must be a list of 0 and 1, not an array of shape {values.shape}")
    missing = np.flatnonzero(pd.isna(values))
    if len(missing):
        raise ValueError(
            f"label {missing[0] + 1} of {len(values)} is missing: labels must be 0 or 1"
        )
    wrong = np.flatnonzero(~np.isin(values, (0, 1)))
    if len(wrong):
        raise ValueError(
            f"label {wrong[0] + 1} of {len(values)} is {str(values[wrong[0]])!r}: labels must be 0"
            " or 1"
        )
    return values.astype(bool)


def numbers(values: Any, name: str, length: int | None = None) -> Array:
    """Numbers as float64 [n]; a missing value, or another length than `length`, is a ValueError.

    Infinite values have ranks, so they pass.
    """
    given = float_array(values, name)
    if given.ndim != 1:
        raise ValueError(f"{name} must be a list of numbers, not an array of shape {given.shape}")
    if length is not None and len(given) != length:
        raise ValueError(
            f"{len(given)} values of {name} for {length} labels: each observation needs both"
        )
    wrong = np.flatnonzero(np.isnan(given))
    if len(wrong):
        raise ValueError(
            f"{name} {wrong[0] + 1} of {len(given)} is not a number: leave such observations out,"
            " and count them, before testing"
        )
    return given


def labels_and_scores(y: Any, score: Any) -> tuple[Array, Array]:
    """The pair that every ROC statistic takes: bool [n], float [n]."""
    labels = binary_labels(y)
    return labels, numbers(score, "score", len(labels))


def probabilities(y: Any, probability: Any) -> tuple[Array, Array]:
    """Labels and probabilities in [0, 1]: bool [n], float [n]."""
    labels = binary_labels(y)
    values = numbers(probability, "probability", len(labels))
    wrong = np.flatnonzero((values < 0) | (values > 1))
    if len(wrong):
        raise ValueError(
            f"probability {wrong[0] + 1} of {len(values)} is {values[wrong[0]]:g}: it must lie"
            " between 0 and 1"
        )
    return labels, values


def cluster_codes(cluster: Any, length: int) -> tuple[Array, int]:
    """Clusters (patients) of any hashable kind as codes 0..k-1 [n], and k."""
    values = _identifiers(cluster)
    if values.shape != (length,):
        found = (
            f"{len(values)} patients" if values.ndim == 1 else f"patients of shape {values.shape}"
        )
        raise ValueError(f"{found} for {length} observations: each observation needs its patient")
    codes, unique = pd.factorize(values, sort=True)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise ValueError(
            f"observation {missing[0] + 1} of {length} has no patient: each observation needs its"
            " patient"
        )
    return codes, len(unique)


def _identifiers(cluster: Any) -> Array:
    """Identifiers as they are: numpy would turn a list of words with a gap into words throughout
    ("nan"), and tuples into columns.
    """
    if not isinstance(cluster, (list, tuple)):
        return array(cluster, "patients")
    kinds = {type(value) for value in cluster}
    return (
        np.asarray(cluster)
        if kinds <= {int} or kinds <= {str}
        else np.fromiter(cluster, dtype=object, count=len(cluster))
    )


def check_level(level: float) -> float:
    """A confidence level strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"the level is {level:g}: it must lie between 0 and 1, for example 0.95")
    return level


def one_class_reason(labels: Array) -> str | None:
    """Why nothing that compares two classes can be computed from these labels; None when both are
    there.
    """
    if not len(labels):
        return "there are no observations"
    if labels.all():
        return "all observations are positive: both classes are needed"
    if not labels.any():
        return "all observations are negative: both classes are needed"
    return None
