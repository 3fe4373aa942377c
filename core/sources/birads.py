"""The BI-RADS words of DDSM's overlay files, which other sources use too."""

from __future__ import annotations

LESION_TYPES = ("MASS", "CALCIFICATION", "OTHER")
KEYWORDS = ("SHAPE", "MARGINS", "TYPE", "DISTRIBUTION")


def read_lesion_words(text: str) -> tuple[str, dict[str, str]]:
    """Lesion type and descriptors of the words of one LESION_TYPE line, such as "MASS SHAPE OVAL
    MARGINS CIRCUMSCRIBED" -> ("MASS", {"shape": "OVAL", "margins": "CIRCUMSCRIBED"}). Several
    values stay joined by "-" as the archive writes them. Keywords are lower-cased; words that
    follow no keyword (after OTHER, or typing errors) are kept under "other".
    """
    words = text.split()
    if words and words[0] == "LESION_TYPE":
        words = words[1:]
    if not words:
        return "", {}
    kind, rest = words[0].upper(), words[1:]
    descriptors: dict[str, list[str]] = {}
    keyword = "other"
    for word in rest:
        if word.upper() in KEYWORDS:
            keyword = word.lower()
            descriptors.setdefault(keyword, [])
        else:
            descriptors.setdefault(keyword, []).append(word.upper())
    return kind, {name: " ".join(values) for name, values in descriptors.items() if values}
