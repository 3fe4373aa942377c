"""A lexicon: the categories that annotators choose from, with their fields, keys and words.

The default is that of BI-RADS (`core.lexicon.birads_categories`); a study may bring its own
(`core.lexicon.lexicon_file`). Categories are defined in `docs/reference/definitions.md`
("Annotation").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import UserError


@dataclass(frozen=True)
class Term:
    """One choice of a field.

    name: stored value. title: text of the button. key: digit that selects it. printed: its words in
    a label; they end in a noun if the field names the phenomenon. opens: the choice opens a second
    list instead of being an answer.
    """

    name: str
    title: str
    key: str
    printed: str
    opens: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """One question about a phenomenon.

    place: position of its words in the label: "before" the noun, as the "noun" itself, "with" it or
    "after" it. optional: collapsed, and never selected by a digit alone. benign: the second list
    behind the term that `opens`.
    """

    name: str
    title: str
    place: str
    terms: tuple[Term, ...]
    optional: bool = False
    benign: tuple[Term, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All terms that can be stored."""
        return tuple(t.name for t in (*self.terms, *self.benign) if not t.opens)


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of phenomenon.

    association: "required", "optional" or "none". words: regular expression of the words that name
    the category in free text; "" for none.
    """

    name: str
    title: str
    key: str
    noun: str
    association: str
    fields: tuple[Field, ...] = ()
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """The categories of a study and the texts that belong to them.

    Parameters
    ----------
    name : str
        What messages and captions call it, such as "BI-RADS".
    categories : tuple of Category
        In the order of the form and of tables.
    associations : tuple of Term
        Verdicts of an annotator about a phenomenon; empty where none is asked for.
    questions : tuple of str
        The questions of the survey, displayed above the form.
    practice : tuple of tuple of str
        Texts of the practice cases of readers.

    Examples
    --------
    >>> sky = Category(name="sky", title="Sky", key="S", noun="sky", association="none")
    >>> lexicon = Lexicon(
    ...     name="Landscapes", categories=(sky,), associations=(), questions=(), practice=()
    ... )
    >>> lexicon.category("sky").title
    'Sky'
    >>> Lexicon.from_dict(lexicon.to_dict()) == lexicon
    True
    """

    name: str
    categories: tuple[Category, ...]
    associations: tuple[Term, ...]
    questions: tuple[str, ...]
    practice: tuple[tuple[str, ...], ...]

    def category(self, name: str) -> Category:
        """Return the category of a name; UserError for an unknown name."""
        for category in self.categories:
            if category.name == name:
                return category
        raise UserError(
            f"{name!r} is not a category of the lexicon {self.name}; choose one of"
            f" {', '.join(category.name for category in self.categories)}."
        )

    @property
    def association_names(self) -> tuple[str, ...]:
        """The names of the associations."""
        return tuple(term.name for term in self.associations)

    def to_dict(self) -> dict[str, Any]:
        """Return the lexicon as JSON-compatible data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Lexicon:
        """Return the lexicon of `to_dict`."""
        return cls(
            name=stored["name"],
            categories=tuple(_category(values) for values in stored["categories"]),
            associations=_terms(stored["associations"]),
            questions=tuple(stored["questions"]),
            practice=tuple(tuple(texts) for texts in stored["practice"]),
        )


def _terms(stored: Any) -> tuple[Term, ...]:
    return tuple(Term(**values) for values in stored)


def _category(stored: Mapping[str, Any]) -> Category:
    fields = tuple(
        Field(**{**values, "terms": _terms(values["terms"]), "benign": _terms(values["benign"])})
        for values in stored["fields"]
    )
    return Category(**{**stored, "fields": fields})
