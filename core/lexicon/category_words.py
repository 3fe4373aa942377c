"""Categories proposed from the words of a free-text label, for a person to confirm.

Published labels are free text ("Masses with calcifications"). A proposal is not an answer: it is
counted as proposed until a person has confirmed or corrected it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from core.lexicon.lexicon import Lexicon

_NEGATION = re.compile(r"\b(?:no|not|without|neither|nor)(?: an?| any)?\s+$", re.IGNORECASE)


@lru_cache(maxsize=256)
def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)


def propose_categories(text: str, lexicon: Lexicon) -> tuple[str, ...]:
    """Return the categories that the words of a label name, in the order of the text.

    Parameters
    ----------
    text : str
        A free-text label.
    lexicon : Lexicon
        The lexicon of the study.

    Returns
    -------
    tuple of str
        Names of categories of the lexicon, each once; empty if no word is known. A word after "no",
        "not" or "without" does not count.

    Examples
    --------
    >>> from core.lexicon.birads_categories import BIRADS
    >>> propose_categories("Calcification, Mass", BIRADS)
    ('calcification', 'mass')
    >>> propose_categories("Calcified vessels", BIRADS)
    ('calcification',)
    >>> propose_categories("Edge of the mass, without calcifications", BIRADS)
    ('mass',)
    """
    first: dict[str, int] = {}
    for category in lexicon.categories:
        if not category.words:
            continue
        for match in _pattern(category.words).finditer(text):
            if not _NEGATION.search(text[: match.start()]):
                first[category.name] = match.start()
                break
    return tuple(sorted(first, key=lambda name: first[name]))
