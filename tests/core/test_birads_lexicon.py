"""Answers and labels: what is checked, what is printed, which DDSM words are known."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import birads_lexicon
from core.errors import UserError


def phenomena():
    def build(kind: birads_lexicon.Category):
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

    return st.sampled_from(birads_lexicon.CATEGORIES).flatmap(build)


def test_examples_of_the_pages() -> None:
    spiculated = {
        "category": "mass",
        "terms": {"margin": "spiculated"},
        "association": "suspicious",
    }
    assert birads_lexicon.label([spiculated]) == "Mass with spiculated margin, suspicious"
    assert birads_lexicon.make_answer([{"category": "normal"}], 2)["label"] == "Normal tissue"
    assert (
        birads_lexicon.label(
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


@given(st.lists(phenomena(), min_size=1, max_size=4), st.sampled_from(birads_lexicon.CONFIDENCE))
def test_every_choice_makes_an_answer_that_survives_storage(
    chosen: list[dict], confidence: int
) -> None:
    answer = birads_lexicon.make_answer(chosen, confidence)
    assert birads_lexicon.check(json.loads(json.dumps(answer))) == answer
    assert birads_lexicon.substantive(answer)
    bare = birads_lexicon.without_association(answer["label"])
    assert bare == birads_lexicon.label(chosen, association=False)


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
        birads_lexicon.check(raw)


def test_nothing_is_an_answer_and_no_label() -> None:
    for kind in ("nothing", "unsure"):
        answer = birads_lexicon.check(birads_lexicon.empty_answer(kind))
        assert not birads_lexicon.substantive(answer) and answer["label"] == ""


def test_keys_are_unambiguous() -> None:
    keys = (
        [c.key for c in birads_lexicon.CATEGORIES]
        + [t.key for t in birads_lexicon.ASSOCIATIONS]
        + ["U", "H", "0", "+"]
    )
    assert len(set(keys)) == len(keys)
    for kind in birads_lexicon.CATEGORIES:
        for field in kind.fields:
            for terms in (field.terms, field.benign):
                assert [t.key for t in terms] == [str(i) for i in range(1, len(terms) + 1)]


def test_ddsm_words_land_in_the_lexicon() -> None:
    for mapped in birads_lexicon._DDSM.values():
        kind = birads_lexicon.category(mapped.category)
        if mapped.field:
            assert mapped.term in next(f for f in kind.fields if f.name == mapped.field).names
    mapped, unmapped = birads_lexicon.from_ddsm("margins", "ILL_DEFINED-SPICULATED-FUZZY-N/A")
    assert [m.term for m in mapped] == ["indistinct", "spiculated"] and unmapped == ("FUZZY",)
    assert (
        birads_lexicon.from_ddsm("type", "PLEOMORPHIC")[0][0].doubtful
        and not birads_lexicon.from_ddsm("type", "PUNCTATE")[0][0].doubtful
    )
    assert birads_lexicon.unmapped_words([{"shape": "STAR"}, {"shape": "STAR-OVAL"}]) == {
        "shape: STAR": 2
    }
