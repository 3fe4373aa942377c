"""BI-RADS assessments, and the user's mapping of them to pathologies.

An assessment is no pathology. It becomes one only by the mapping that a command states; without a
mapping abnormal findings are UNPROVEN.

References
----------
D'Orsi CJ et al. ACR BI-RADS Atlas, 5th edition (2013): categories 0 to 6, 4 divided into 4A to 4C.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import UserError
from core.sources.records import PATHOLOGIES

_CATEGORY = re.compile(r"(?:BI-?RADS\s*)?([0-6])\s*([ABC]?)", re.IGNORECASE)
_SUBCATEGORIES = {"A": 1, "B": 2, "C": 3}
NEGATIVE = 1


@dataclass(frozen=True)
class BiradsCategory:
    """An assessment: number 0 to 6, and A, B, C or "" for the division of category 4."""

    number: int
    letter: str = ""

    @property
    def text(self) -> str:
        """The category as text, such as "BI-RADS 4A"."""
        return f"BI-RADS {self.number}{self.letter}"

    @property
    def interval(self) -> tuple[int, int]:
        """First and last step on a scale on which each category has room for its divisions."""
        if self.letter:
            step = 10 * self.number + _SUBCATEGORIES[self.letter]
            return step, step
        return 10 * self.number, 10 * self.number + max(_SUBCATEGORIES.values())


def parse_birads(text: str) -> BiradsCategory | None:
    """Return the category of a text such as "4a", "BI-RADS 4" or "6"; None for anything else.

    Examples
    --------
    >>> parse_birads("4a"), parse_birads("BI-RADS 5").number, parse_birads("seven")
    (BiradsCategory(number=4, letter='A'), 5, None)
    """
    # Tables that passed through a spreadsheet write 4 as 4.0.
    match = _CATEGORY.fullmatch(text.strip().removesuffix(".0"))
    if match is None:
        return None
    number, letter = int(match.group(1)), match.group(2).upper()
    return BiradsCategory(number, letter) if number == 4 or not letter else None


@dataclass(frozen=True)
class BiradsMapping:
    """Ranges of categories with their pathologies, as `parse_birads_mapping` returns them.

    ranges: (first step, last step, pathology) on the scale of `BiradsCategory.interval`.
    """

    ranges: tuple[tuple[int, int, str], ...] = ()

    def pathology(self, category: BiradsCategory | None) -> str:
        """Return the pathology of a category; UNPROVEN if the mapping does not contain it."""
        if category is not None:
            first, last = category.interval
            for low, high, pathology in self.ranges:
                if low <= first and last <= high:
                    return pathology
        return "UNPROVEN"


def parse_birads_mapping(text: str | None) -> BiradsMapping:
    """Return the mapping of a text such as "1-2=BENIGN,5-6=MALIGNANT".

    Parameters
    ----------
    text : str or None
        Categories or ranges of them, each with a pathology. "4" stands for 4 and 4A to 4C. None:
        no category has a pathology.

    Returns
    -------
    BiradsMapping

    Raises
    ------
    UserError
        If a part is not CATEGORY=PATHOLOGY, or a category has two pathologies.

    Examples
    --------
    >>> mapping = parse_birads_mapping("2-3=BENIGN,4c-6=MALIGNANT")
    >>> [mapping.pathology(parse_birads(text)) for text in ("3", "4a", "4c", "5", "4")]
    ['BENIGN', 'UNPROVEN', 'MALIGNANT', 'MALIGNANT', 'UNPROVEN']
    """
    ranges: list[tuple[int, int, str]] = []
    for part in (text or "").split(","):
        if part.strip():
            ranges.append(_parse_range(part.strip()))
    if text is not None and not ranges:
        raise UserError(
            'The mapping of BI-RADS is empty: write such as "1-2=BENIGN,5-6=MALIGNANT".'
        )
    for i, (low, high, pathology) in enumerate(ranges):
        for other_low, other_high, other in ranges[:i]:
            if low <= other_high and other_low <= high:
                raise UserError(
                    f"The mapping of BI-RADS {text!r} gives a category both {other} and"
                    f" {pathology}: name each category once."
                )
    return BiradsMapping(tuple(ranges))


def _parse_range(text: str) -> tuple[int, int, str]:
    categories, _, pathology = text.partition("=")
    pathology = pathology.strip().upper()
    bounds = [parse_birads(bound) for bound in categories.split("-")]
    if pathology not in PATHOLOGIES or len(bounds) > 2 or None in bounds:
        raise UserError(
            f"The mapping of BI-RADS contains {text!r}: write CATEGORY=PATHOLOGY, such as"
            f' "1-2=BENIGN,5-6=MALIGNANT", with categories 0 to 6 (4A to 4C) and one of'
            f" {', '.join(PATHOLOGIES)}."
        )
    low, high = bounds[0], bounds[-1]
    assert low is not None and high is not None
    if low.interval[0] > high.interval[1]:
        raise UserError(f"The mapping of BI-RADS contains {text!r}: the first category is higher.")
    return low.interval[0], high.interval[1], pathology
