"""Validation of answers and formatting of labels."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.lexicon import annotation_answers
from core.lexicon.birads_categories import ASSOCIATIONS, BIRADS, CATEGORIES
from core.lexicon.lexicon import Category


def phenomena():
    def build(category: Category):
        terms = st.fixed_dictionaries(
            {}, optional={f.name: st.sampled_from(f.names) for f in category.fields}
        )
        association = (
            st.none()
            if category.association == "none"
            else st.sampled_from(["benign", "uncertain", "suspicious"])
        )
        return st.fixed_dictionaries(
            {"category": st.just(category.name), "terms": terms, "association": association}
        )

    return st.sampled_from(CATEGORIES).flatmap(build)


def test_format_label() -> None:
    spiculated = {
        "category": "mass",
        "terms": {"margin": "spiculated"},
        "association": "suspicious",
    }
    assert (
        annotation_answers.format_label([spiculated], BIRADS)
        == "Mass with spiculated margin, suspicious"
    )
    assert (
        annotation_answers.create_answer([{"category": "normal"}], 2, BIRADS)["label"]
        == "Normal tissue"
    )
    assert (
        annotation_answers.format_label(
            [
                spiculated,
                {
                    "category": "calcification",
                    "terms": {"type": "vascular", "distribution": "grouped"},
                    "association": "benign",
                },
            ],
            BIRADS,
        )
        == "Mass with spiculated margin, suspicious; vascular calcifications, grouped distribution,"
        " benign"
    )


@given(
    st.lists(phenomena(), min_size=1, max_size=4), st.sampled_from(annotation_answers.CONFIDENCE)
)
def test_answer_survives_storage(phenomena: list[dict], confidence: int) -> None:
    answer = annotation_answers.create_answer(phenomena, confidence, BIRADS)
    assert annotation_answers.validate_answer(json.loads(json.dumps(answer)), BIRADS) == answer
    assert annotation_answers.is_substantive(answer)
    bare = annotation_answers.without_association(answer["label"], BIRADS.association_names)
    assert bare == annotation_answers.format_label(phenomena, BIRADS, association=False)


@pytest.mark.parametrize(
    ("raw", "message"),
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
def test_incomplete_answers(raw, message: str) -> None:
    with pytest.raises(UserError, match=message):
        annotation_answers.validate_answer(raw, BIRADS)


def test_longest_text() -> None:
    answer = {"recognisable": "nothing", "words": "x" * 2000}
    assert annotation_answers.validate_answer(answer, BIRADS)["words"] == "x" * 2000
    with pytest.raises(UserError, match="2001 characters; shorten it to 2000"):
        annotation_answers.validate_answer(answer | {"words": "x" * 2001}, BIRADS)


@pytest.mark.parametrize("kind", ["nothing", "unsure"])
def test_answer_that_names_nothing_has_no_label(kind: str) -> None:
    """Whatever a page sends with it."""
    sent = {
        "recognisable": kind,
        "phenomena": [{"category": "normal"}],
        "label": "Mass",
        "words": "a  blur",
        "confidence": 2,
    }
    assert annotation_answers.validate_answer(sent, BIRADS) == {
        "recognisable": kind,
        "phenomena": [],
        "confidence": 2,
        "words": "a blur",
        "label": "",
    }


def test_empty_answers() -> None:
    for kind in ("nothing", "unsure"):
        answer = annotation_answers.validate_answer(annotation_answers.empty_answer(kind), BIRADS)
        assert not annotation_answers.is_substantive(answer) and answer["label"] == ""


def test_keys_are_unique() -> None:
    keys = [c.key for c in CATEGORIES] + [t.key for t in ASSOCIATIONS] + ["U", "H", "0", "+"]
    assert len(set(keys)) == len(keys)
    for category in CATEGORIES:
        for field in category.fields:
            for terms in (field.terms, field.benign):
                assert [t.key for t in terms] == [str(i) for i in range(1, len(terms) + 1)]
