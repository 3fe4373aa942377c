"""Masks joined with descriptions: by place, by pathology, and at the limit of common area."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.sources.records import Finding
from core.sources.release_metadata.finding_matches import describe_findings

SHAPE = (60, 80)


def square(left: int, top: int, side: int) -> tuple[np.ndarray, ...]:
    """Return the outline of a square whose border pixels count."""
    right, bottom = left + side - 1, top + side - 1
    return (np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float),)


def part(pathology: str, *place: int, report: str = "") -> Finding:
    return Finding(number=1, pathology=pathology, outline=square(*place), report=report)


def words(pathology: str, *place: int, **fields: Any) -> Finding:
    base = {"lesion_type": "MASS", "descriptors": {"shape": "OVAL"}, "assessment": 4, "subtlety": 3}
    outline = square(*place) if place else ()
    return Finding(number=1, pathology=pathology, outline=outline, **(base | fields))


def test_without_descriptions() -> None:
    parts = [part("BENIGN", 0, 0, 9)]
    assert describe_findings("f", parts, [], SHAPE) == (parts, [])


def test_the_largest_common_area_decides() -> None:
    parts = [part("BENIGN", 0, 0, 10), part("MALIGNANT", 40, 20, 10)]
    described = [
        words("MALIGNANT", 41, 20, 10, report="two", lesion_type="CALCIFICATION"),
        words("BENIGN_WITHOUT_CALLBACK", 0, 1, 10, report="one"),
    ]
    (first, second), problems = describe_findings("f", parts, described, SHAPE)
    assert problems == []
    assert (first.pathology, first.report, first.lesion_type) == ("BENIGN", "one", "MASS")
    assert (second.pathology, second.report, second.lesion_type) == (
        *("MALIGNANT", "two", "CALCIFICATION"),
    )
    assert np.array_equal(first.outline[0], parts[0].outline[0])
    assert (first.descriptors, first.assessment, first.subtlety) == ({"shape": "OVAL"}, 4, 3)


@pytest.mark.parametrize(("shift", "matches"), [(5, True), (6, False)])
def test_half_of_the_smaller_area_is_needed(shift: int, matches: bool) -> None:
    (found,), problems = describe_findings(
        "f", [part("BENIGN", 0, 0, 10)], [words("BENIGN", shift, 0, 10, report="r")], SHAPE
    )
    assert (found.lesion_type == "MASS") is matches and (problems == []) is matches
    if not matches:
        (problem,) = problems
        assert problem.item == "f" and found.report == "r" and found.descriptors == {}
        assert problem.cause == "1 of 1 descriptions match no single part of the mask"
        assert problem.action.startswith("their report lines are kept with the film")


def test_several_descriptions_of_one_part() -> None:
    described = [
        words("BENIGN", 0, 0, 10, report="one"),
        words("BENIGN", 0, 0, 9, report="two", lesion_type="CALCIFICATION", subtlety=5,
              descriptors={"shape": "ROUND", "type": "RIM"}),
        words("BENIGN", 1, 0, 9, report="", descriptors={"type": "RIM"}),
    ]  # fmt: skip
    (found,), problems = describe_findings("f", [part("BENIGN", 0, 0, 10)], described, SHAPE)
    assert problems == [] and found.lesion_type == "MASS+CALCIFICATION"
    assert found.descriptors == {"shape": "OVAL+ROUND", "type": "RIM"}
    assert (found.assessment, found.subtlety, found.report) == (4, None, "one two")


def test_contradiction_of_mask_and_words() -> None:
    described = [words("MALIGNANT", 0, 0, 10)]
    (found,), (problem,) = describe_findings("f", [part("BENIGN", 0, 0, 10)], described, SHAPE)
    assert found.pathology == "BENIGN" and problem.item == "f"
    assert problem.cause == "the mask says BENIGN, the description MALIGNANT"
    assert problem.action == "the mask is used"
    nothing = [words("", 0, 0, 10)]
    assert describe_findings("f", [part("BENIGN", 0, 0, 10)], nothing, SHAPE)[1] == []


def test_words_without_a_place_belong_to_the_only_part_of_their_class() -> None:
    parts = [part("BENIGN", 0, 0, 10), part("MALIGNANT", 40, 20, 10)]
    described = [words("MALIGNANT", report="m"), words("BENIGN_WITHOUT_CALLBACK", report="b")]
    found, problems = describe_findings("f", parts, described, SHAPE)
    assert [finding.report for finding in found] == ["b", "m"] and problems == []
    # Two parts or two descriptions of one class cannot be told apart.
    for own_parts, own in (
        ([*parts, part("BENIGN", 20, 40, 10)], described),
        (parts, [*described, words("BENIGN", report="c")]),
    ):
        found, (problem,) = describe_findings("f", own_parts, own, SHAPE)
        assert found[1].report == "m" and found[0].lesion_type == ""
        assert problem.cause.startswith(f"{len(own) - 1} of {len(own)} descriptions match no")
    # Words without a pathology are those of the only part.
    (only,), problems = describe_findings("f", parts[:1], [words("", report="x")], SHAPE)
    assert only.report == "x" and problems == []
    found, problems = describe_findings("f", parts, [words("", report="x")], SHAPE)
    assert len(problems) == 1 and found[0].report == "x" and found[0].descriptors == {}


def test_words_of_a_film_without_a_mask() -> None:
    for described in ([words("BENIGN", 0, 0, 10)], [words("BENIGN")]):
        found, (problem,) = describe_findings("f", [], described, SHAPE)
        assert found == [] and problem.action == "not used"


def test_large_films_are_compared_at_a_smaller_size() -> None:
    """On 3000 x 4000 pixels a square of 40 is one of 10."""
    parts = [part("BENIGN", 0, 0, 40), part("BENIGN", 2000, 0, 40)]
    described = [words("BENIGN", 2004, 4, 40, report="second")]
    found, problems = describe_findings("f", parts, described, (3000, 4000))
    assert [finding.report for finding in found] == ["", "second"] and problems == []
