"""Display names of classes, splits, views and units.

Class codes of findings and patches are made in `core.dataset.patches`.
"""

from __future__ import annotations

CLASSES = ("normal", "benign", "malignant")
SPLITS = ("train", "holdout", "test")
SPLIT_NAMES = {"train": "train", "holdout": "hold-out", "test": "test"}


def class_names(n_classes: int) -> dict[int, str]:
    """Return the class names by stored label code, in the order of the network's outputs.

    Examples
    --------
    >>> class_names(3)
    {0: 'normal', 1: 'benign', 2: 'malignant'}
    >>> class_names(2)  # malignant against all other, as in the study of 2018
    {0: 'other', 2: 'malignant'}
    """
    # Malignant keeps code 2 with two classes, so that stored labels mean the same in every study.
    return dict(enumerate(CLASSES)) if n_classes == 3 else {0: "other", 2: "malignant"}


def view_name(laterality: str, view: str) -> str:
    """Return a view in words, without the part that is unknown.

    Examples
    --------
    >>> view_name("LEFT", "CC"), view_name("LEFT", "UNKNOWN"), view_name("UNKNOWN", "UNKNOWN")
    ('left CC', 'left', 'view unknown')
    """
    parts = [part for part in (laterality.lower(), view) if part.upper() != "UNKNOWN"]
    return " ".join(parts) or "view unknown"


def unit_name(unit: int) -> str:
    """Return the published id of a unit, which counts from 1 and is padded to four digits.

    Examples
    --------
    >>> unit_name(0)
    'unit_0001'
    """
    return f"unit_{unit + 1:04d}"


def unit_index(name: str) -> int:
    """Return the 0-based index of a unit id; the zero padding is optional.

    Raises
    ------
    ValueError
        If the text is not a unit id.

    Examples
    --------
    >>> unit_index("unit_0001"), unit_index("unit_1"), unit_index("1")
    (0, 0, 0)
    """
    digits = name.removeprefix("unit_")
    if not digits.isdigit() or int(digits) < 1:
        raise ValueError(f"{name!r} is not a unit id such as unit_0588")
    return int(digits) - 1
