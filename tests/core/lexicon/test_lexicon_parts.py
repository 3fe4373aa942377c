"""Limits of lexicon files on both sides, what is made of each entry, and labels by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.annotation import lexicon_adoption
from core.errors import UserError
from core.lexicon import birads_categories, lexicon_file
from core.lexicon.annotation_answers import (
    create_answer,
    format_label,
    format_phenomenon,
    lexicon_data,
    phenomena_in_label,
    validate_answer,
    without_association,
)
from core.lexicon.birads_categories import BIRADS
from core.lexicon.category_words import propose_categories
from core.lexicon.lexicon import Category, Field, Lexicon, Term
from core.lexicon.lexicon_file import read_lexicon

PRACTICE = [["a"], ["b"], ["c"], ["d"], ["e"]]
LETTERS = "ABDEFGIJKMNOPQSTVXY"  # without the keys of the page


def toml_value(value: Any) -> str:
    if isinstance(value, dict):
        cells = ", ".join(f"{name} = {toml_value(cell)}" for name, cell in value.items())
        return f"{{ {cells} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value)


def write(folder: Path, **entries: Any) -> Path:
    """Write a lexicon of one category with some entries replaced."""
    whole = {"name": "Own", "questions": ["What?"], "practice": PRACTICE}
    whole |= {"categories": [{"name": "sky", "key": "S"}], **entries}
    file = folder / "own.toml"
    lines = (f"{name} = {toml_value(value)}" for name, value in whole.items())
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def of_category(folder: Path, **entries: Any) -> Path:
    associations = [{"name": "good", "key": "G"}]
    return write(
        folder, associations=associations, categories=[{"name": "sky", "key": "S", **entries}]
    )


def fields(count: int, optional: bool = False, terms: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "name": f"f{optional}{number}",
            "place": "with",
            "optional": optional,
            "terms": [f"t{term}" for term in range(terms)],
        }
        for number in range(count)
    ]


def categories(count: int) -> list[dict[str, str]]:
    return [{"name": f"c{number}", "key": LETTERS[number]} for number in range(count)]


def test_every_entry_of_a_file_is_used(tmp_path: Path) -> None:
    thick = {"name": "thick", "title": "Very thick", "printed": "thick ones"}
    dense = {"name": "density", "place": "noun", "terms": ["thin", thick, {"name": "own"}]}
    light = {
        "name": "light",
        "title": "Daylight",
        "place": "after",
        "optional": True,
        "terms": ["x"],
    }
    file = write(
        tmp_path,
        questions=["What?", "Why?"],
        associations=[{"name": "good", "key": "G"}, {"name": "bad", "title": "Poor", "key": "B"}],
        categories=[
            {
                "name": "sky", "title": "Air", "key": "S", "noun": "clouds",
                "association": "optional", "words": ["sky*", "a-b c"], "fields": [dense, light],
            },
            {"name": "land", "key": "D"},
        ],
    )  # fmt: skip
    assert read_lexicon(file) == Lexicon(
        name="Own",
        questions=("What?", "Why?"),
        practice=(("a",), ("b",), ("c",), ("d",), ("e",)),
        associations=(Term("good", "Good", "G", "good"), Term("bad", "Poor", "B", "bad")),
        categories=(
            Category(
                name="sky", title="Air", key="S", noun="clouds", association="optional",
                words=r"sky\w*|a\-b\ c",
                fields=(
                    Field(
                        name="density", title="Density", place="noun",
                        terms=(
                            Term("thin", "Thin", "1", "thin"),
                            Term("thick", "Very thick", "2", "thick ones"),
                            Term("own", "Own", "3", "own"),
                        ),
                    ),
                    Field(
                        name="light", title="Daylight", place="after", optional=True,
                        terms=(Term("x", "X", "1", "x"),),
                    ),
                ),
            ),
            Category(name="land", title="Land", key="D", noun="land", association="none"),
        ),
    )  # fmt: skip


def test_largest_lexicon(tmp_path: Path) -> None:
    assert (lexicon_file.MAX_CATEGORIES, lexicon_file.MAX_ASSOCIATIONS) == (13, 3)
    verdicts = [{"name": f"v{letter}", "key": letter} for letter in "VXY"]
    whole = {"associations": verdicts, "questions": ["q"] * 3, "name": "n" * 80}
    lexicon = read_lexicon(write(tmp_path, categories=categories(13), **whole))
    assert len(lexicon.categories) == 13 and len(lexicon.associations) == 3
    every = [*fields(2, terms=9), *fields(4, optional=True)]
    widest = {"title": "t" * 24, "noun": "n" * 80, "words": ["w" * 80], "fields": every}
    (category,) = read_lexicon(of_category(tmp_path, **widest)).categories
    assert len(category.fields) == 6 and len(category.fields[0].terms) == 9


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"categories": categories(14)}, "categories: list should have at most 13"),
        ({"categories": []}, "categories: list should have at least 1"),
        (
            {"associations": [{"name": f"v{k}", "key": k} for k in "VXYT"]},
            "associations: list should have at most 3",
        ),
        ({"questions": ["q"] * 4}, "questions: list should have at most 3"),
        ({"questions": []}, "questions: list should have at least 1"),
        ({"questions": ["q" * 401]}, "questions.0: string should have at most 400"),
        ({"practice": PRACTICE[1:]}, "practice: list should have at least 5"),
        ({"practice": [*PRACTICE, ["f"]]}, "practice: list should have at most 5"),
        ({"name": "n" * 81}, "name: string should have at most 80"),
        ({"name": " "}, "name is empty"),
        ({"name": 3}, "name: input should be a valid string .it is 3.; correct it"),
        ({"associations": [{"name": "a, b", "key": "G"}]}, "association 1 .'a, b'.: the name of"),
        ({"associations": [{"name": "a; b", "key": "G"}]}, "has no comma or semicolon; take it"),
        ({"associations": [{"name": "unsure", "key": "G"}]}, "'unsure' has another meaning"),
        (
            {"associations": [{"name": "a", "key": "G"}, {"name": "A", "key": "E"}]},
            "association 2 .'A'.: the name 'A' is also that of 'a'; give each its own",
        ),
    ],
)
def test_limits_of_a_file(entries: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"own.toml.*{text}"):
        read_lexicon(write(tmp_path, **entries))


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"fields": fields(3)}, "at most 2 fields that are always shown and 4 optional ones"),
        ({"fields": fields(5, optional=True)}, "at most 2 fields that are always shown and 4 opt"),
        ({"fields": fields(1, terms=10)}, "fields.0.terms: list should have at most 9"),
        ({"fields": fields(1, terms=0)}, "fields.0.terms: list should have at least 1"),
        ({"fields": [*fields(1), *fields(1)]}, "the field 'fFalse0' occurs twice; remove one"),
        ({"title": "t" * 25}, "title: string should have at most 24"),
        ({"noun": "n" * 81}, "noun: string should have at most 80"),
        ({"name": "Own Words"}, "the name 'Own Words' has another meaning; choose another"),
        ({"name": "a;b"}, "a semicolon separates phenomena in labels; take it out of noun"),
        ({"words": ["sky", "s.y"]}, r"the word 's.y' has other characters than letters"),
        ({"key": "SS"}, "key is 'SS'; write one capital letter"),
        ({"key": "G"}, "the key 'G' is also that of 'good'"),
        ({"association": "maybe"}, "association: input should be 'required'"),
    ],
)
def test_limits_of_a_category(entries: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"category 1.*{text}"):
        read_lexicon(of_category(tmp_path, **entries))


@pytest.mark.parametrize("key", "CHULRWZ")
def test_keys_of_the_page(key: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"the key '{key}' belongs to the annotation page"):
        read_lexicon(of_category(tmp_path, key=key))


def test_position_of_an_entry() -> None:
    text = "[[categories]]\n[[ categories ]]\nx = 1\n  [[categories]]\n[[associations]]\n"
    position = lexicon_file._position
    assert position(text, "categories", 0) == ", line 1, category 1"
    assert position(text, "categories", 2) == ", line 4, category 3"
    assert position(text, "categories", 3) == ", category 4"
    assert position(text, "associations", 0) == ", line 5, association 1"
    repeated = lexicon_file._repeated
    assert repeated(["a", "b", "A", "b"]) == "A" and repeated(["a", "b"]) is repeated([]) is None


FIELD = Field(
    name="kind",
    title="Kind",
    place="noun",
    terms=(Term("first", "F", "1", "first ones"), Term("more", "M", "2", "", opens=True)),
    benign=(Term("second", "S", "1", "second ones"), Term("third", "T", "2", "third ones")),
)
CATEGORY = Category(
    name="thing",
    title="Thing",
    key="T",
    noun="things",
    association="optional",
    fields=(
        Field(name="size", title="Size", place="before", terms=(Term("big", "B", "1", "big"),)),
        FIELD,
        Field(name="rim", title="Rim", place="with", terms=(Term("r", "R", "1", "a rim"),)),
        Field(name="core", title="Core", place="with", terms=(Term("c", "C", "1", "a core"),)),
        Field(name="left", title="L", place="after", terms=(Term("l", "L", "1", "left"),)),
        Field(name="top", title="U", place="after", terms=(Term("u", "U", "1", "on top"),)),
    ),
    words="things?",
)
OWN = Lexicon(
    name="Own",
    categories=(CATEGORY, Category(name="x", title="X", key="X", noun="x", association="required")),
    associations=(Term("good", "Good", "G", "good"),),
    questions=("What?",),
    practice=(("a",),),
)


def test_terms_that_can_be_stored() -> None:
    assert FIELD.names == ("first", "second", "third")
    assert OWN.association_names == ("good",) and OWN.category("x").title == "X"
    with pytest.raises(UserError, match="'y' is not a category of the lexicon Own; .* thing, x."):
        OWN.category("y")
    assert Lexicon.from_dict(json.loads(json.dumps(OWN.to_dict()))) == OWN


def test_terms_of_the_default() -> None:
    made = birads_categories._terms("ab c", "d", printed="{} ones", titles={"d": "Other"})
    assert made == (Term("ab c", "Ab c", "1", "ab c ones"), Term("d", "Other", "2", "d ones"))
    assert birads_categories._terms("ab") == (Term("ab", "Ab", "1", "ab"),)
    with pytest.raises(UserError, match="'dragon' is not a category of the lexicon BI-RADS"):
        BIRADS.category("dragon")


def test_words_of_a_phenomenon_in_their_places() -> None:
    terms = {"top": "u", "left": "l", "core": "c", "rim": "r", "size": "big", "kind": "third"}
    whole = {"category": "thing", "terms": terms, "association": "good"}
    text = "big third ones with a rim and a core, left, on top"
    assert format_phenomenon(whole, OWN) == f"{text}, good"
    assert format_phenomenon(whole, OWN, association=False) == text
    assert format_phenomenon({"category": "thing", "terms": None}, OWN) == "things"
    opened = {"category": "thing", "terms": {"kind": "more"}, "association": None}
    assert format_phenomenon(opened, OWN) == "things"
    label = f"{text[0].upper()}{text[1:]}, good; things"
    assert format_label([whole, opened], OWN) == label
    assert format_label([whole, opened], OWN, association=False) == label.replace(", good", "")
    assert format_label([], OWN) == ""
    kept = "Own, GOODness; good "
    assert without_association(kept, ("Good",)) == "Own, GOODness;"
    stored = OWN.to_dict()["categories"][0]
    del stored["words"]
    assert lexicon_data(OWN)["categories"][0] == stored


def test_answers_in_terms_of_an_own_lexicon() -> None:
    plain = {"category": "thing", "terms": {"kind": "second"}, "association": None}
    answer = create_answer([plain], 1, OWN, " in  words ")
    assert answer == {
        "recognisable": "yes", "phenomena": [plain], "confidence": 1, "words": "in words",
        "label": "Second ones",
    }  # fmt: skip
    for confidence in (2, 3):
        assert create_answer([plain], confidence, OWN)["confidence"] == confidence
    assert create_answer([plain], 1, OWN)["words"] == ""
    for terms in ({"kind": "more"}, {"kind": "fourth"}, {"colour": "second"}):
        with pytest.raises(UserError, match="Thing has no (kind|colour) called"):
            create_answer([plain | {"terms": terms}], 1, OWN)
    with pytest.raises(UserError, match="'x' is not an association of the lexicon Own; choose g"):
        create_answer([plain | {"association": "x"}], 1, OWN)
    for raw in ([], "yes", None, {"recognisable": None}):
        with pytest.raises(UserError, match="Choose a phenomenon, nothing or unsure first"):
            validate_answer(raw, OWN)
    for count in (1, 4):
        assert len(create_answer([plain] * count, 1, OWN)["phenomena"]) == count
    unsure = {"recognisable": "unsure", "phenomena": "x", "words": None, "label": 3}
    assert validate_answer(unsure, OWN)["words"] == ""


def test_phenomena_that_a_label_states() -> None:
    plain = {"category": "thing", "terms": {"kind": "second"}, "association": "good"}
    other = {"category": "x", "terms": {}, "association": "good"}
    answers = [create_answer([plain, other], 1, OWN)]

    def stated(label: str, found: list[Any] = answers) -> list[str]:
        return [one["category"] for one in phenomena_in_label(label, found, OWN)]

    assert stated("only SECOND   ones") == ["thing"] and stated("second") == []
    assert stated("Second ones, good; x, good, at the edge") == ["thing", "x"]
    assert stated("x and second ones") == ["thing", "x"]
    edited = [answers[0] | {"label": "Blob"}]
    assert stated("a blob", edited) == ["thing", "x"] and stated("a bl", edited) == []
    assert stated("", [answers[0] | {"label": ""}]) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Thing", ("thing",)), ("two THINGS", ("thing",)), ("something", ()), ("thingsy", ()),
        ("no thing", ()), ("Without any thing", ()), ("not a thing but things", ("thing",)),
        ("neither  things", ()), ("no mass, thing", ("thing",)), ("casino thing", ("thing",)),
        ("", ()),
    ],
)  # fmt: skip
def test_proposed_words(text: str, names: tuple[str, ...]) -> None:
    assert propose_categories(text, OWN) == names


def test_proposals_are_in_the_order_of_the_text() -> None:
    assert propose_categories("nodule beside calcs", BIRADS) == ("mass", "calcification")
    assert propose_categories("calcs beside a nodule, calcs", BIRADS) == ("calcification", "mass")


def test_phenomena_that_another_lexicon_lacks() -> None:
    words = lexicon_adoption._words
    plain = {"category": "thing", "terms": {"kind": "second"}, "association": "good"}
    assert words([plain], OWN) == "Second ones, good" and words([], OWN) == ""
    assert words([plain | {"terms": None, "association": None}], OWN) == "Things"
    for change in (
        {"category": "y"}, {"association": "bad"}, {"terms": {"kind": "fourth"}},
        {"terms": {"kind": "more"}}, {"terms": {"colour": "second"}},
    ):  # fmt: skip
        assert words([plain, plain | change], OWN) is None
