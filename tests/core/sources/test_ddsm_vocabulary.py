from __future__ import annotations

from core.lexicon.birads_categories import BIRADS
from core.sources.ddsm_vocabulary import DDSM_TERMS, map_ddsm_words


def test_terms_belong_to_the_lexicon() -> None:
    for mapped in DDSM_TERMS.values():
        category = BIRADS.category(mapped.category)
        if mapped.field:
            field = next(field for field in category.fields if field.name == mapped.field)
            assert mapped.term in field.names


def test_terms_have_the_words_of_the_archive_or_a_stated_synonym() -> None:
    synonyms = {
        "LOBULATED": "oval",
        "TUBULAR": "dilated duct",
        "ASYMMETRIC_BREAST_TISSUE": "global",
        "FOCAL_ASYMMETRIC_DENSITY": "focal",
        "ILL_DEFINED": "indistinct",
        "PUNCTATE": "round",
        "ROUND_AND_REGULAR": "round",
        "LUCENT_CENTER": "rim",
        "LUCENT_CENTERED": "rim",
        "EGGSHELL": "rim",
        "CLUSTERED": "grouped",
        "DIFFUSELY_SCATTERED": "diffuse",
    }
    for (keyword, word), mapped in DDSM_TERMS.items():
        if word in synonyms:
            assert mapped.term == synonyms[word]
            continue
        term = mapped.term or mapped.category
        assert word.lower().split("_")[-1][:7] in term.replace("-", ""), (keyword, word)


def test_mapped_and_unmapped_words() -> None:
    mapped, unmapped = map_ddsm_words("margins", "ILL_DEFINED-SPICULATED-FUZZY-N/A")
    assert [term.term for term in mapped] == ["indistinct", "spiculated"]
    assert unmapped == ("FUZZY",)


def test_doubtful_terms_are_marked() -> None:
    assert map_ddsm_words("type", "PLEOMORPHIC")[0][0].doubtful
    assert not map_ddsm_words("type", "PUNCTATE")[0][0].doubtful
