from __future__ import annotations

from core.lexicon.birads_categories import get_category
from core.sources.ddsm_vocabulary import DDSM_TERMS, map_ddsm_words


def test_terms_belong_to_the_lexicon() -> None:
    for mapped in DDSM_TERMS.values():
        category = get_category(mapped.category)
        if mapped.field:
            field = next(field for field in category.fields if field.name == mapped.field)
            assert mapped.term in field.names


def test_mapped_and_unmapped_words() -> None:
    mapped, unmapped = map_ddsm_words("margins", "ILL_DEFINED-SPICULATED-FUZZY-N/A")
    assert [term.term for term in mapped] == ["indistinct", "spiculated"]
    assert unmapped == ("FUZZY",)


def test_doubtful_terms_are_marked() -> None:
    assert map_ddsm_words("type", "PLEOMORPHIC")[0][0].doubtful
    assert not map_ddsm_words("type", "PUNCTATE")[0][0].doubtful
