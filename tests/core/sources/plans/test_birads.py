"""BI-RADS categories become pathologies by the user's mapping only."""

from __future__ import annotations

import pytest

from core.errors import UserError
from core.sources.plans.birads import BiradsMapping, parse_birads, parse_birads_mapping


@pytest.mark.parametrize(
    ("text", "number", "letter"),
    [("4a", 4, "A"), ("4", 4, ""), ("BI-RADS 5", 5, ""), ("birads 4C", 4, "C"), ("6", 6, ""),
     ("2.0", 2, "")],
)  # fmt: skip
def test_categories(text: str, number: int, letter: str) -> None:
    category = parse_birads(text)
    assert category is not None and (category.number, category.letter) == (number, letter)


@pytest.mark.parametrize("text", ["", "7", "4d", "5a", "IV", "4-5"])
def test_other_texts(text: str) -> None:
    assert parse_birads(text) is None


def test_mapping_of_ranges() -> None:
    mapping = parse_birads_mapping("1-2=BENIGN, 4b-6 = malignant, 3=UNPROVEN")
    expected = {
        **dict.fromkeys(("1", "2"), "BENIGN"),
        **dict.fromkeys(("4b", "4c", "5", "6"), "MALIGNANT"),
        # 4 without a letter can be 4a, which the mapping does not name.
        **dict.fromkeys(("0", "3", "4", "4a"), "UNPROVEN"),
    }
    assert {text: mapping.pathology(parse_birads(text)) for text in expected} == expected
    whole = parse_birads_mapping("4=MALIGNANT")
    assert {whole.pathology(parse_birads(text)) for text in ("4", "4a", "4c")} == {"MALIGNANT"}


def test_without_a_mapping_nothing_is_proven() -> None:
    assert parse_birads_mapping(None) == BiradsMapping()
    assert BiradsMapping().pathology(parse_birads("6")) == "UNPROVEN"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("5", "CATEGORY=PATHOLOGY"),
        ("5=CANCER", "CATEGORY=PATHOLOGY"),
        ("1-2-3=BENIGN", "CATEGORY=PATHOLOGY"),
        ("7=BENIGN", "CATEGORY=PATHOLOGY"),
        ("5-3=MALIGNANT", "first category is higher"),
        ("1-4=BENIGN,4b-5=MALIGNANT", "both BENIGN and MALIGNANT"),
    ],
)
def test_invalid_mappings(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_birads_mapping(text)
