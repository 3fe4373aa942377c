"""Answers and labels: what is checked, what is printed, which DDSM words are known."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import lexicon
from core.errors import UserError


def phenomena():
    def build(kind: lexicon.Category):
        terms = st.fixed_dictionaries(
            {}, optional={f.name: st.sampled_from(f.names) for f in kind.fields}
        )
        verdict = (
            st.none()
            if kind.association == "none"
            else st.sampled_from(["benign", "uncertain", "suspicious"])
        )
        return st.fixed_dictionaries(
            {"category": st.just(kind.name), "terms": terms, "association": verdict}
        )

    return st.sampled_from(lexicon.CATEGORIES).flatmap(build)


def test_examples_of_the_pages() -> None:
    spiculated = {
        "category": "mass",
        "terms": {"margin": "spiculated"},
        "association": "suspicious",
    }
    assert lexicon.label([spiculated]) == "Mass with spiculated margin, suspicious"
    assert lexicon.make_answer([{"category": "normal"}], 2)["label"] == "Normal tissue"
    assert (
        lexicon.label(
            [
                spiculated,
                {
                    "category": "calcification",
                    "terms": {"type": "vascular", "distribution": "grouped"},
                    "association": "benign",
                },
            ]
        )
        == "Mass with spiculated margin, suspicious; vascular calcifications, grouped distribution,"
        " benign"
    )


@given(st.lists(phenomena(), min_size=1, max_size=4), st.sampled_from(lexicon.CONFIDENCE))
def test_every_choice_makes_an_answer_that_survives_storage(
    chosen: list[dict], confidence: int
) -> None:
    answer = lexicon.make_answer(chosen, confidence)
    assert lexicon.check(json.loads(json.dumps(answer))) == answer
    assert lexicon.substantive(answer)
    bare = lexicon.without_association(answer["label"])
    assert bare == lexicon.label(chosen, association=False)


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (None, "phenomenon"),
        ({"recognisable": "maybe"}, "phenomenon"),
        ({"recognisable": "yes", "phenomena": []}, "1 to 4"),
        (
            {"recognisable": "yes", "phenomena": [{"category": "mass"}], "confidence": 3},
            "association",
        ),
        (
            {
                "recognisable": "yes",
                "phenomena": [
                    {"category": "mass", "terms": {"margin": "fluffy"}, "association": "benign"}
                ],
                "confidence": 3,
            },
            "fluffy",
        ),
        ({"recognisable": "yes", "phenomena": [{"category": "dragon"}], "confidence": 3}, "dragon"),
        ({"recognisable": "yes", "phenomena": [{"category": "normal"}]}, "confidence"),
        (
            {"recognisable": "yes", "phenomena": [{"category": "normal"}], "confidence": True},
            "confidence",
        ),
        (
            {"recognisable": "yes", "phenomena": [{"category": "normal"}] * 5, "confidence": 1},
            "1 to 4",
        ),
        ({"recognisable": "nothing", "words": "x" * 10_000_000}, "shorten"),
        ({"recognisable": "yes", "phenomena": ["mass"], "confidence": 1}, "object"),
    ],
)
def test_incomplete_answers_are_refused_in_a_sentence(raw, word: str) -> None:
    with pytest.raises(UserError, match=word):
        lexicon.check(raw)


def test_nothing_is_an_answer_and_no_label() -> None:
    for kind in ("nothing", "unsure"):
        answer = lexicon.check(lexicon.empty_answer(kind))
        assert not lexicon.substantive(answer) and answer["label"] == ""


def test_keys_are_unambiguous() -> None:
    keys = (
        [c.key for c in lexicon.CATEGORIES]
        + [t.key for t in lexicon.ASSOCIATIONS]
        + ["U", "H", "0", "+"]
    )
    assert len(set(keys)) == len(keys)
    for kind in lexicon.CATEGORIES:
        for field in kind.fields:
            for terms in (field.terms, field.benign):
                assert [t.key for t in terms] == [str(i) for i in range(1, len(terms) + 1)]


def test_ddsm_words_land_in_the_lexicon() -> None:
    for mapped in lexicon._DDSM.values():
        kind = lexicon.category(mapped.category)
        if mapped.field:
            assert mapped.term in next(f for f in kind.fields if f.name == mapped.field).names
    mapped, unmapped = lexicon.from_ddsm("margins", "ILL_DEFINED-SPICULATED-FUZZY-N/A")
    assert [m.term for m in mapped] == ["indistinct", "spiculated"] and unmapped == ("FUZZY",)
    assert (
        lexicon.from_ddsm("type", "PLEOMORPHIC")[0][0].doubtful
        and not lexicon.from_ddsm("type", "PUNCTATE")[0][0].doubtful
    )
    assert lexicon.unmapped_words([{"shape": "STAR"}, {"shape": "STAR-OVAL"}]) == {"shape: STAR": 2}
