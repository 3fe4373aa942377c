"""Published splits, where a patient occurs in several parts of them."""

from __future__ import annotations

from collections.abc import Iterable

from core.sources.records import Problem

ORDER = ("train", "holdout", "test")


def one_split(patient: str, given: Iterable[str | None]) -> tuple[str | None, list[Problem]]:
    """The one split of a patient whose images are published in several: the last of train, hold-out
    and test, so that the published test images stay test images and none of the patient's is
    trained on.
    """
    names = sorted({name for name in given if name}, key=ORDER.index)
    if len(names) < 2:
        return (names[0] if names else None), []
    return names[-1], [
        Problem(
            patient,
            f"its images are published in several splits ({', '.join(names)})",
            f"all are in {names[-1]}",
        )
    ]
