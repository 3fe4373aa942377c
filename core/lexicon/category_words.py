"""Categories proposed from the words of a free-text label, for a person to confirm.

Published labels are free text ("Masses with calcifications"). A proposal is not an answer: it is
counted as proposed until a person has confirmed or corrected it.
"""

from __future__ import annotations

import re

from core.lexicon.birads_categories import CATEGORIES

# Words of each category, in the spellings of radiological free text, common misspellings included.
# The published labels are the sample that these patterns were written for.
_WORDS: dict[str, str] = {
    "mass": r"mass(?:es)?|nodul\w*|spiculat\w*",
    "calcification": r"\w*cal(?:c|ci|i)?fi(?:c|e)\w*|(?:micro|macro)?-?calcs?|eggshell",
    "distortion": r"(?:architectural )?distortions?",
    "asymmetry": r"asymmetr\w*",
    "associated": (
        r"(?:skin|nipple) retractions?|(?:skin|trabecular) thickening|adenopathy|lymphadenopathy"
    ),
    "composition": (
        r"dense (?:breasts?|tissue)|fatty (?:breasts?|tissue)|(?:heterogeneously|extremely) dense"
        r"|breast density|scattered density"
    ),
    "normal": r"(?:normal|breast|healthy) (?:\w+ )?tissue",
    "other": (
        r"lymph nodes?|dilated ducts?|skin lesions?|(?:blood )?vessels?|pectoral\w*|chest walls?"
        r"|inframammary|nipples?|(?:breast|skin) edges?|edges? of (?:the )?breasts?|folds?"
        r"|interfaces?|artefacts?|artifacts?|markers?"
    ),
}
_PATTERNS = {name: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for name, words in _WORDS.items()}
_NEGATION = re.compile(r"\b(?:no|not|without|neither|nor)(?: an?| any)?\s+$", re.IGNORECASE)
_CALCIFIED_VESSEL = re.compile(r"\bcalcified (?:blood )?vessels?\b", re.IGNORECASE)


def propose_categories(text: str) -> tuple[str, ...]:
    """Return the categories that the words of a label name, in the order of the text.

    Parameters
    ----------
    text : str
        A free-text label.

    Returns
    -------
    tuple of str
        Names of `core.lexicon.birads_categories.CATEGORIES`, each once; empty if no word is known.
        A word after "no", "not" or "without" does not count.

    Examples
    --------
    >>> propose_categories("Calcification, Mass")
    ('calcification', 'mass')
    >>> propose_categories("Calcified vessels")
    ('calcification',)
    >>> propose_categories("Edge of the mass, without calcifications")
    ('mass',)
    """
    # A calcified vessel is a type of calcification; an uncalcified one is another structure.
    text = _CALCIFIED_VESSEL.sub("calcifications", text)
    first: dict[str, int] = {}
    for name, pattern in _PATTERNS.items():
        for match in pattern.finditer(text):
            if not _NEGATION.search(text[: match.start()]):
                first[name] = match.start()
                break
    return tuple(sorted(first, key=lambda name: first[name]))


def category_title(name: str) -> str:
    """Return the title of a category.

    Examples
    --------
    >>> category_title("associated")
    'Associated'
    """
    return next(category.title for category in CATEGORIES if category.name == name)
