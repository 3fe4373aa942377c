"""Lexicons of studies: valid files, faults with their position, and what a lexicon decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from core.lexicon.annotation_answers import create_answer, validate_answer
from core.lexicon.birads_categories import BIRADS
from core.lexicon.category_words import propose_categories
from core.lexicon.lexicon import Lexicon
from core.lexicon.lexicon_file import read_lexicon

HEAD = """\
name = "Photographs"
questions = ["Do these images show recognizable phenomena?", "Please describe each."]
practice = [["Leaves"], ["Sky"], ["Dense leaves", "Sky"], ["Sky"], ["Leaves"]]
"""
LEXICON = (
    HEAD
    + """
[[associations]]
name = "typical of buildings"
title = "Building"
key = "B"

[[associations]]
name = "typical of plants"
title = "Plant"
key = "P"

[[categories]]
name = "foliage"
key = "F"
noun = "leaves"
association = "required"
words = ["leaf", "leaves", "green*"]
fields = [
    { name = "density", place = "before", terms = ["dense", "sparse"] },
    { name = "light", place = "after", optional = true, terms = [
        { name = "back", title = "From behind", printed = "lit from behind" }, "front",
    ] },
]

[[categories]]
name = "sky"
key = "S"
"""
)


def write(folder: Path, text: str) -> Path:
    file = folder / "lexicon.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def lexicon(tmp_path: Path) -> Lexicon:
    return read_lexicon(write(tmp_path, LEXICON))


def test_labels_have_the_words_of_the_lexicon(lexicon: Lexicon) -> None:
    phenomena = [
        {
            "category": "foliage",
            "terms": {"density": "dense", "light": "back"},
            "association": "typical of plants",
        },
        {"category": "sky", "terms": {}, "association": None},
    ]
    answer = create_answer(phenomena, 2, lexicon)
    assert answer["label"] == "Dense leaves, lit from behind, typical of plants; sky"
    assert [field.title for field in lexicon.categories[0].fields] == ["Density", "Light"]
    assert [term.key for term in lexicon.categories[0].fields[0].terms] == ["1", "2"]
    assert Lexicon.from_dict(lexicon.to_dict()) == lexicon


def test_answers_of_another_lexicon_are_refused(lexicon: Lexicon) -> None:
    mass = {"category": "mass", "terms": {"margin": "spiculated"}, "association": "suspicious"}
    answer = create_answer([mass], 2, BIRADS)
    with pytest.raises(UserError, match="'mass' is not a category of the lexicon Photographs"):
        validate_answer(answer, lexicon)
    leaves = {"category": "foliage", "association": "suspicious"}
    with pytest.raises(UserError, match="'suspicious' is not an association .* Photographs"):
        create_answer([leaves], 2, lexicon)
    with pytest.raises(UserError, match="Foliage needs an association: typical of buildings or"):
        create_answer([{"category": "foliage"}], 2, lexicon)


def test_words_propose_categories(lexicon: Lexicon) -> None:
    # Sky has no words: it is chosen, never proposed.
    assert propose_categories("Sky behind greenish leaves", lexicon) == ("foliage",)
    assert propose_categories("mass, no leaf", lexicon) == ()


CATEGORY = '[[categories]]\nname = "sky"\nkey = "S"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            LEXICON.replace('key = "S"', 'key = "F"'),
            r"line 28, category 2 \('sky'\): the key 'F' is also that of 'foliage'; give each",
        ),
        (
            LEXICON.replace('key = "S"', 'key = "P"'),
            "the key 'P' is also that of 'typical of plants'",
        ),
        (LEXICON.replace('key = "S"', 'key = "U"'), "the key 'U' belongs to the annotation page"),
        (
            LEXICON.replace('key = "S"', 'key = "s"'),
            "line 28, category 2: key is 's'; write one capital",
        ),
        (LEXICON.replace('"sky"', '"Foliage"'), "the name 'Foliage' is also that of 'foliage'"),
        (
            LEXICON.replace('name = "sky"', 'name = "sky"\ntitle = "Foliage"'),
            "the title 'Foliage' is also that of 'foliage'",
        ),
        (LEXICON.replace('name = "sky"', 'name = "nothing"'), "'nothing' has another meaning"),
        (LEXICON.replace('noun = "leaves"', 'noun = " "'), "category 1: noun is empty; write"),
        (LEXICON.replace('noun = "leaves"', 'noun = "a; b"'), "a semicolon separates phenomena"),
        (LEXICON.replace('"sparse"', '"Dense"'), "term of 'density' 'Dense' occurs twice"),
        (LEXICON.replace('name = "light"', 'name = "density"'), "field 'density' occurs twice"),
        (LEXICON.replace('"green*"', '"gr(een"'), r"the word 'gr\(een' has other characters"),
        (HEAD + CATEGORY + 'association = "required"\n', "but the file has no associations"),
        (HEAD + CATEGORY + "colour = 1\n", "category 1: colour: there is no such entry"),
        (HEAD + CATEGORY.replace('key = "S"\n', ""), "category 1: key is missing"),
        (HEAD, "categories is missing; add it"),
        (HEAD.replace('["Sky"], ', "", 1) + CATEGORY, "practice: list should have at least 5"),
        (HEAD.replace('"Please describe each."', '""') + CATEGORY, "questions.1 is empty"),
        ("name = 1 2\n", "is not valid TOML .*line 1"),
    ],
)
def test_faulty_lexicons(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"lexicon.toml.*{sentence}"):
        read_lexicon(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read .*; correct annotation.lexicon"):
        read_lexicon(tmp_path / "lexicon.toml")
    (tmp_path / "lexicon.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not text in UTF-8"):
        read_lexicon(tmp_path / "lexicon.toml")


def test_keys_of_the_default_are_free() -> None:
    from core.lexicon.lexicon_file import RESERVED_KEYS

    keys = [one.key for one in (*BIRADS.categories, *BIRADS.associations)]
    assert not set(keys) & set(RESERVED_KEYS) and len(set(keys)) == len(keys)
