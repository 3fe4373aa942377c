"""Lexicons of studies, read from TOML files that `annotation.lexicon` in study.toml names.

The form of the file is described in `docs/reference/lexicon.md`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.errors import UserError
from core.lexicon import lexicon
from core.lexicon.lexicon import Category, Lexicon, Term

# Keys of the annotation page: confidence, highlight, unsure, and the viewer's window, level, zoom
# and reset.
RESERVED_KEYS = "CHULRWZ"
RESERVED_NAMES = ("nothing", "unsure", "own words")
PRACTICE_CASES = 5
# What the form shows on a screen of 1280 x 640.
MAX_CATEGORIES, MAX_ASSOCIATIONS, MAX_OPEN_FIELDS, MAX_OPTIONAL_FIELDS = 13, 3, 2, 4
MAX_TERMS = 9  # a digit each

_Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=24)]
_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
_Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]
_Key = Annotated[str, StringConstraints(pattern="^[A-Z]$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _TermEntry(_Entry):
    name: _Words
    title: _Title | None = None
    printed: _Words | None = None


class _AssociationEntry(_Entry):
    name: _Title
    title: _Title | None = None
    key: _Key


class _FieldEntry(_Entry):
    name: _Title
    title: _Title | None = None
    place: Literal["before", "noun", "with", "after"]
    optional: bool = False
    terms: list[_Words | _TermEntry] = Field(min_length=1, max_length=MAX_TERMS)


class _CategoryEntry(_Entry):
    name: _Title
    title: _Title | None = None
    key: _Key
    noun: _Words | None = None
    association: Literal["required", "optional", "none"] = "none"
    words: list[_Words] = []
    fields: list[_FieldEntry] = []


class _LexiconEntry(_Entry):
    name: _Words
    questions: list[_Sentence] = Field(min_length=1, max_length=3)
    practice: list[list[_Words]] = Field(min_length=PRACTICE_CASES, max_length=PRACTICE_CASES)
    associations: list[_AssociationEntry] = Field([], max_length=MAX_ASSOCIATIONS)
    categories: list[_CategoryEntry] = Field(min_length=1, max_length=MAX_CATEGORIES)


def read_lexicon(file: Path) -> Lexicon:
    """Return the lexicon of a TOML file.

    Parameters
    ----------
    file : Path
        A file of the form of `docs/reference/lexicon.md`.

    Returns
    -------
    Lexicon

    Raises
    ------
    UserError
        If the file cannot be read or is not valid: two equal keys, a repeated name or title, an
        empty text. The message names the file, the line and the entry.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = Path(folder.name) / "lexicon.toml"
    >>> _ = file.write_text('''
    ... name = "Landscapes"
    ... questions = ["What do these images show?"]
    ... practice = [["Sky"], ["Sky"], ["Sea"], ["Sea"], ["Sky"]]
    ... [[categories]]
    ... name = "sky"
    ... key = "S"
    ... words = ["sky", "cloud*"]
    ... ''')
    >>> [category.title for category in read_lexicon(file).categories]
    ['Sky']
    >>> folder.cleanup()
    """
    try:
        # utf-8-sig: editors on Windows write a byte order mark, which TOML does not allow.
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{file}: the lexicon cannot be read ({error.strerror}); correct annotation.lexicon in"
            " study.toml, or put the file there."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8; save it as UTF-8.") from error
    try:
        entry = _LexiconEntry.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML ({error}); correct the line.") from error
    except ValidationError as error:
        raise UserError(f"{file}{_first_error(error, text)}") from error
    fault = _fault(entry, text)
    if fault:
        raise UserError(f"{file}{fault}")
    return _lexicon(entry)


def _first_error(error: ValidationError, text: str) -> str:
    """Return where the first error lies, what it is, and what to do."""
    first = error.errors()[0]
    location = list(first["loc"])
    position = ""
    if location[0] in ("categories", "associations") and len(location) > 1:
        position = _position(text, str(location[0]), int(location[1]))
        location = location[2:]
    # pydantic also names the alternatives of a type that did not match.
    names = ".".join(str(part) for part in location if not str(part).startswith(("_", "constr")))
    if first["type"] == "extra_forbidden":
        return f"{position}: {names}: there is no such entry; correct its name or remove it."
    if first["type"] == "missing":
        return f"{position}: {names} is missing; add it."
    if first["type"] == "string_too_short":
        return f"{position}: {names} is empty; write its words or remove it."
    if first["type"] == "string_pattern_mismatch":
        return f"{position}: {names} is {first.get('input')!r}; write one capital letter."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{position}: {names}: {message} (it is {first.get('input')!r}); correct it."


def _position(text: str, table: str, index: int) -> str:
    """Return the line and the number of an entry of a table, as part of a message."""
    heading = re.compile(rf"^\s*\[\[\s*{table}\s*\]\]")
    lines = [i for i, line in enumerate(text.splitlines(), start=1) if heading.match(line)]
    # Tables may also be written in one line, without a heading of their own.
    line = f", line {lines[index]}" if index < len(lines) else ""
    return f"{line}, {'category' if table == 'categories' else 'association'} {index + 1}"


def _fault(entry: _LexiconEntry, text: str) -> str | None:
    """Return the first contradiction between entries with its position and remedy, or None."""
    seen: dict[tuple[str, str], str] = {}
    for index, association in enumerate(entry.associations):
        fault = _common_fault("associations", association, seen) or _association_fault(association)
        if fault:
            return f"{_position(text, 'associations', index)} ({association.name!r}): {fault}."
    for index, category in enumerate(entry.categories):
        fault = _common_fault("categories", category, seen) or _category_fault(category, entry)
        if fault:
            return f"{_position(text, 'categories', index)} ({category.name!r}): {fault}."
    return None


def _common_fault(
    table: str, one: _CategoryEntry | _AssociationEntry, seen: dict[tuple[str, str], str]
) -> str | None:
    """Return what is wrong with the key, name and title of an entry, or None.

    seen: the name of the entry that has each key, name and title; it is extended.
    """
    if one.key in RESERVED_KEYS:
        return (
            f"the key {one.key!r} belongs to the annotation page; choose another letter than"
            f" {', '.join(RESERVED_KEYS)}"
        )
    if one.name.lower() in RESERVED_NAMES:
        return f"the name {one.name!r} has another meaning; choose another"
    # Keys are shared by both tables; names and titles belong to one.
    values = {"key": one.key, f"name in {table}": one.name, f"title in {table}": _title(one)}
    for kind, value in values.items():
        if (kind, value.lower()) in seen:
            earlier = seen[kind, value.lower()]
            return f"the {kind.split()[0]} {value!r} is also that of {earlier!r}; give each its own"
        seen[kind, value.lower()] = one.name
    return None


def _association_fault(one: _AssociationEntry) -> str | None:
    if "," in one.name or ";" in one.name:
        return "the name of an association has no comma or semicolon; take it out"
    return None


def _category_fault(one: _CategoryEntry, entry: _LexiconEntry) -> str | None:
    """Return what is wrong within a category and what to do, or None."""
    if one.association != "none" and not entry.associations:
        return f'association is "{one.association}", but the file has no associations; add some'
    printed = [one.noun or one.name, *(t.printed for f in one.fields for t in _field_terms(f))]
    if any(";" in words for words in printed):
        return "a semicolon separates phenomena in labels; take it out of noun and printed"
    names = [field.name for field in one.fields]
    for kind, values in (
        ("field", names),
        *(
            (f"term of {field.name!r}", [t.name for t in _field_terms(field)])
            for field in one.fields
        ),
    ):
        repeated = _repeated(values)
        if repeated:
            return f"the {kind} {repeated!r} occurs twice; remove one"
    optional = sum(field.optional for field in one.fields)
    if len(one.fields) - optional > MAX_OPEN_FIELDS or optional > MAX_OPTIONAL_FIELDS:
        return (
            f"a category has at most {MAX_OPEN_FIELDS} fields that are always shown and"
            f" {MAX_OPTIONAL_FIELDS} optional ones; make some optional or remove them"
        )
    faulty = next((word for word in one.words if not re.fullmatch(r"[\w *'/-]+", word)), None)
    if faulty:
        return (
            f"the word {faulty!r} has other characters than letters, digits, spaces, - and * (any"
            " letters); correct it"
        )
    return None


def _repeated(values: Sequence[str]) -> str | None:
    lowered = [value.lower() for value in values]
    return next((v for i, v in enumerate(values) if lowered[i] in lowered[:i]), None)


def _title(entry: _TermEntry | _CategoryEntry | _AssociationEntry | _FieldEntry) -> str:
    return entry.title or entry.name[:1].upper() + entry.name[1:]


def _field_terms(field: _FieldEntry) -> tuple[Term, ...]:
    """Return the terms of a field with the digits 1, 2, ... as keys."""
    entries = [_TermEntry(name=term) if isinstance(term, str) else term for term in field.terms]
    return tuple(
        Term(term.name, _title(term), str(key), term.printed or term.name)
        for key, term in enumerate(entries, start=1)
    )


def _word_pattern(words: Iterable[str]) -> str:
    """Return the regular expression of words in which * stands for any letters."""
    return "|".join(re.escape(word).replace(r"\*", r"\w*") for word in words)


def _lexicon(entry: _LexiconEntry) -> Lexicon:
    """Return a valid entry as a lexicon."""
    categories = tuple(
        Category(
            name=one.name,
            title=_title(one),
            key=one.key,
            noun=one.noun or one.name,
            association=one.association,
            fields=tuple(
                lexicon.Field(
                    name=field.name,
                    title=_title(field),
                    place=field.place,
                    terms=_field_terms(field),
                    optional=field.optional,
                )
                for field in one.fields
            ),
            words=_word_pattern(one.words),
        )
        for one in entry.categories
    )
    return Lexicon(
        name=entry.name,
        categories=categories,
        associations=tuple(
            Term(one.name, _title(one), one.key, one.name) for one in entry.associations
        ),
        questions=tuple(entry.questions),
        practice=tuple(tuple(texts) for texts in entry.practice),
    )
