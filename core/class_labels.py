"""Names that people see: units, classes, splits."""

from __future__ import annotations

CLASSES = ("normal", "benign", "malignant")
SPLITS = ("train", "holdout", "test")
SPLIT_NAMES = {"train": "train", "holdout": "hold-out", "test": "test"}  # as people read them


def view_name(laterality: str, view: str) -> str:
    """`left CC`; of a film whose side or view is unknown what is known of it, else `view unknown`."""
    return (
        " ".join(part for part in (laterality.lower(), view) if part.upper() != "UNKNOWN")
        or "view unknown"
    )


def unit_name(unit: int) -> str:
    """`unit_0001` for index 0: published ids are 1-based and zero-padded to four digits; every
    look-up in this product uses the index.
    """
    return f"unit_{unit + 1:04d}"


def unit_index(name: str) -> int:
    """0-based index from `unit_0001`, `unit_1` or `1`: the padding carries nothing, so it can never
    make a look-up fail.
    """
    digits = name.removeprefix("unit_")
    if not digits.isdigit() or int(digits) < 1:
        raise ValueError(f"{name!r} is not a unit id such as unit_0588")
    return int(digits) - 1


def label_name(code: int, classes: int = 3) -> str:
    """Name of a stored patch label:

    0 normal, 1 benign, 2 malignant; with two classes 0 is all other.
    """
    return "other" if classes == 2 and code == 0 else CLASSES[code]


def class_names(classes: int) -> tuple[str, ...]:
    """Names of the network's outputs: three classes, or SPIE's two (malignant against all other)."""
    return CLASSES if classes == 3 else ("other", "malignant")
