"""The default lexicon, term by term, against the lists of the ACR BI-RADS Atlas (5th edition)."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import UserError
from core.lexicon import annotation_answers
from core.lexicon.annotation_answers import (
    format_phenomenon,
    free_answer,
    is_substantive,
    lexicon_data,
    phenomena_in_label,
    validate_answer,
    without_association,
)
from core.lexicon.birads_categories import BIRADS

# Category: key, title, noun, association, and its fields: title, place, optional, terms in print.
EXPECTED: dict[str, tuple] = {
    "mass": ("M", "Mass", "mass", "required", {
        "margin": ("Mass margin", "with", False, [
            "circumscribed margin", "obscured margin", "microlobulated margin",
            "indistinct margin", "spiculated margin"]),
        "shape": ("Shape", "before", True, ["oval", "round", "irregular"]),
        "density": ("Density", "before", True, [
            "high density", "equal density", "low density", "fat-containing density"]),
        "part": ("Part", "after", True, ["whole of the mass shown", "edge of the mass shown"]),
    }),
    "calcification": ("K", "Calcification", "calcifications", "required", {
        "type": ("Type", "noun", False, [
            "amorphous calcifications", "coarse heterogeneous calcifications",
            "fine pleomorphic calcifications", "fine linear or branching calcifications", ""]),
        "distribution": ("Distribution", "after", False, [
            "diffuse distribution", "regional distribution", "grouped distribution",
            "linear distribution", "segmental distribution"]),
    }),
    "distortion": ("D", "Distortion", "architectural distortion", "required", {}),
    "asymmetry": ("A", "Asymmetry", "asymmetry", "required", {
        "extent": ("Asymmetry", "noun", False, [
            "asymmetry in one view", "focal asymmetry", "global asymmetry"]),
    }),
    "associated": ("F", "Associated", "associated feature", "required", {
        "feature": ("Feature", "noun", False, [
            "skin or nipple retraction", "skin or trabecular thickening",
            "axillary adenopathy"]),
    }),
    "composition": ("G", "Composition", "breast composition", "optional", {
        "density": ("Composition", "noun", False, [
            "almost entirely fatty tissue", "scattered tissue", "heterogeneously dense tissue",
            "extremely dense tissue"]),
    }),
    "normal": ("N", "Normal tissue", "normal tissue", "none", {}),
    "other": ("O", "Other", "other structure", "optional", {
        "structure": ("Other", "noun", False, [
            "lymph node", "dilated duct", "skin lesion", "uncalcified vessel", "pectoral muscle",
            "nipple", "edge or fold", "marker or artefact"]),
    }),
}  # fmt: skip
BENIGN_TYPES = [
    "skin", "vascular", "coarse (popcorn)", "large rod-like", "round", "rim", "dystrophic",
    "milk of calcium", "suture",
]  # fmt: skip
TITLES = {
    "coarse heterogeneous": "Coarse heterog.", "fine pleomorphic": "Fine pleomorphic",
    "fine linear or branching": "Fine linear", "coarse (popcorn)": "Coarse",
    "milk of calcium": "Milk of calcium", "fat-containing": "Fat",
    "skin or nipple retraction": "Retraction", "skin or trabecular thickening": "Thickening",
    "axillary adenopathy": "Adenopathy", "almost entirely fatty": "Fatty",
    "heterogeneously dense": "Heterog. dense", "extremely dense": "Extremely dense",
    "uncalcified vessel": "Vessel", "marker or artefact": "Marker, artefact",
    "pectoral muscle": "Pectoral", "benign": "Benign types", "one view": "One view",
}  # fmt: skip


def test_every_category_and_term() -> None:
    assert [category.name for category in BIRADS.categories] == list(EXPECTED)
    for category in BIRADS.categories:
        key, title, noun, association, fields = EXPECTED[category.name]
        assert (category.key, category.title, category.noun) == (key, title, noun)
        assert category.association == association and list(fields) == [
            field.name for field in category.fields
        ]
        for field in category.fields:
            stated = (field.title, field.place, field.optional)
            assert stated == fields[field.name][:3], field.name
            assert [term.printed for term in field.terms] == fields[field.name][3]
            assert [term.key for term in field.terms] == [
                str(number) for number in range(1, len(field.terms) + 1)
            ]
            for term in (*field.terms, *field.benign):
                expected = TITLES.get(term.name, term.name[0].upper() + term.name[1:])
                assert term.title == expected
                assert term.opens is (term.name == "benign")
                assert not term.printed or term.name.split(" view")[0] in term.printed
    kinds = BIRADS.category("calcification").fields[0]
    assert [term.name for term in kinds.benign] == BENIGN_TYPES
    assert [term.key for term in kinds.benign] == [*"123456789"]
    assert {t.printed for t in kinds.benign} == {f"{name} calcifications" for name in BENIGN_TYPES}
    assert [(t.name, t.title, t.key, t.printed) for t in BIRADS.associations] == [
        ("benign", "Benign", "B", "benign"),
        ("uncertain", "Uncertain", "I", "uncertain"),
        ("suspicious", "Suspicious", "S", "suspicious"),
    ]


def test_lexicon_for_the_page() -> None:
    data = lexicon_data(BIRADS)
    assert list(data) == ["questions", "most", "categories", "associations"] and data["most"] == 4
    assert data["questions"] == BIRADS.questions
    assert [c["name"] for c in data["categories"]] == list(EXPECTED)
    assert not any("words" in c for c in data["categories"])
    assert data["categories"][0]["fields"][0]["terms"][4]["printed"] == "spiculated margin"
    assert [t["key"] for t in data["associations"]] == ["B", "I", "S"]


@pytest.mark.parametrize(
    ("category", "terms", "association", "text"),
    [
        (
            "mass",
            {"margin": "obscured", "shape": "oval", "density": "high", "part": "edge"},
            "uncertain",
            "oval high density mass with obscured margin, edge of the mass shown, uncertain",
        ),
        ("calcification", {"type": "benign"}, None, "calcifications"),
        (
            "calcification",
            {"type": "rim", "distribution": "linear"},
            "benign",
            "rim calcifications, linear distribution, benign",
        ),
        ("other", {"structure": "nipple"}, None, "nipple"),
        ("normal", {}, None, "normal tissue"),
    ],
)
def test_phenomena_in_words(
    category: str, terms: dict[str, str], association: str | None, text: str
) -> None:
    phenomenon = {"category": category, "terms": terms, "association": association}
    assert format_phenomenon(phenomenon, BIRADS) == text
    plain = text.removesuffix(f", {association}")
    assert format_phenomenon(phenomenon, BIRADS, association=False) == plain


def raw(**changes: Any) -> dict[str, Any]:
    phenomenon = {"category": "mass", "terms": {"margin": "round"}, "association": "benign"}
    phenomenon["terms"] = {"margin": "obscured"}
    base = {"recognisable": "yes", "phenomena": [phenomenon], "confidence": 2}
    return base | {"words": " a  b ", "label": ""} | changes


def test_stored_form_of_answers() -> None:
    mass = {"category": "mass", "terms": {"margin": "obscured"}, "association": "benign"}
    assert validate_answer(raw(), BIRADS) == {
        "recognisable": "yes", "phenomena": [mass], "confidence": 2, "words": "a b",
        "label": "Mass with obscured margin, benign",
    }  # fmt: skip
    assert validate_answer(raw(label=" My  own "), BIRADS)["label"] == "My own"
    nothing = validate_answer(raw(recognisable="unsure", label="x", confidence=None), BIRADS)
    assert nothing == {
        "recognisable": "unsure", "phenomena": [], "confidence": None, "words": "a b", "label": "",
    }  # fmt: skip
    assert validate_answer(raw(recognisable="nothing", confidence=3), BIRADS)["confidence"] == 3
    four = validate_answer(raw(phenomena=[mass] * 4), BIRADS)
    assert len(four["phenomena"]) == 4
    normal = {"category": "normal", "terms": None, "association": "benign"}
    stored = validate_answer(raw(phenomena=[normal]), BIRADS)["phenomena"]
    assert stored == [{"category": "normal", "terms": {}, "association": None}]
    free = {"category": "other", "association": ""}
    assert validate_answer(raw(phenomena=[free]), BIRADS)["phenomena"][0]["association"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recognisable": "maybe"}, "Choose a phenomenon, nothing or unsure first"),
        ({"phenomena": []}, "1 to 4 phenomena; this one has 0"),
        ({"phenomena": [{"category": "normal"}] * 5}, "1 to 4 phenomena; this one has 5"),
        ({"phenomena": ["mass"]}, "is not an object"),
        ({"confidence": 0}, "Choose a confidence"),
        ({"confidence": 4}, "Choose a confidence"),
        ({"confidence": True}, "Choose a confidence"),
        ({"confidence": None}, "Choose a confidence"),
        ({"recognisable": "nothing", "confidence": 5}, "Choose a confidence"),
        ({"phenomena": [{"category": "mass"}]}, "Mass needs an association: benign or uncertain"),
        (
            {"phenomena": [{"category": "mass", "association": "odd"}]},
            "'odd' is not an association of the lexicon BI-RADS; choose benign or uncertain or sus",
        ),
        (
            {"phenomena": [{"category": "mass", "association": "benign", "terms": {"x": "y"}}]},
            "Mass has no x called 'y' in the lexicon BI-RADS",
        ),
        ({"label": "x" * 2001}, "The printed label has 2001 characters; shorten it to 2000"),
        ({"words": "x" * 2001}, "The free text has 2001 characters"),
    ],
)
def test_faulty_answers(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        validate_answer(raw(**changes), BIRADS)


def test_texts_of_answers() -> None:
    assert free_answer(" Halo  x ") == {
        "recognisable": "yes", "phenomena": [], "confidence": None, "words": " Halo  x ",
        "label": "Halo x",
    }  # fmt: skip
    assert free_answer("Halo", "said")["words"] == "said"
    assert [is_substantive({"recognisable": r, "label": t}) for r, t in (
        ("yes", "x"), ("yes", " "), ("nothing", "x"), ("unsure", "x"))] == [
        *(True, False, False, False)
    ]  # fmt: skip
    names = BIRADS.association_names
    assert without_association("A, b; c, Benign ; d,suspicious", names) == "A, b; c; d"
    stored = validate_answer(raw(label="Own words"), BIRADS)
    for label, count in (("own  WORDS too", 1), ("Mass with obscured margin", 1), ("Mass", 0)):
        assert len(phenomena_in_label(label, [stored], BIRADS)) == count
    assert annotation_answers.empty_answer() == {
        "recognisable": "nothing", "phenomena": [], "confidence": None, "words": "", "label": "",
    }  # fmt: skip
