"""The lexicon that study.toml names, copied into the store of the study.

The form of the file belongs in `core.lexicon.lexicon_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.errors import UserError
from core.lexicon.annotation_answers import format_label
from core.lexicon.birads_categories import BIRADS
from core.lexicon.lexicon import Lexicon
from core.lexicon.lexicon_file import read_lexicon
from core.settings import load_settings
from core.store import annotation_table, dataset_table
from core.store.connection import Connection
from core.store.labels import category_table


def named_lexicon(study: Path) -> Lexicon:
    """Return the lexicon that study.toml names; UserError if its file is not valid."""
    name = load_settings(study).annotation.lexicon
    # An absolute path replaces the folder.
    return read_lexicon(study / name) if name else BIRADS


def adopt_lexicon(study: Path) -> Lexicon:
    """Store the lexicon that study.toml names, where it is another one, and return it.

    Raises
    ------
    UserError
        If its file is not valid, or answers of the study would read otherwise in it. Nothing is
        stored then.
    """
    named = named_lexicon(study)
    with store.read(study) as con:
        if dataset_table.load_lexicon(con) == named:
            return named
    with store.write(study) as con:
        stored = dataset_table.load_lexicon(con)
        fault = _lost_answer(con, stored, named)
        if fault:
            raise UserError(
                f"The lexicon {named.name} that study.toml names does not fit the answers of the"
                f" study: {fault}. Restore its words, or start another study. Titles, keys and"
                " additional categories and terms may change at any time."
            )
        dataset_table.save_lexicon(con, named)
    return named


def _lost_answer(con: Connection, stored: Lexicon, named: Lexicon) -> str | None:
    """Return an answer that reads otherwise in the named lexicon, in words; None for none."""
    for answer in annotation_table.load_annotations(con, versions=True)["answer"]:
        if _words(answer["phenomena"], stored) != _words(answer["phenomena"], named):
            return f"{answer['label']!r} was answered in other words"
    lost = category_table.used_categories(con) - {category.name for category in named.categories}
    return f"the category {min(lost)!r} was confirmed for a label" if lost else None


def _words(phenomena: list[dict[str, Any]], lexicon: Lexicon) -> str | None:
    """Return phenomena in the words of a lexicon; None where it lacks a category or a term."""
    categories = {category.name: category for category in lexicon.categories}
    for phenomenon in phenomena:
        category = categories.get(phenomenon["category"])
        association = phenomenon.get("association")
        if category is None or (association and association not in lexicon.association_names):
            return None
        fields = {field.name: field.names for field in category.fields}
        for field, term in (phenomenon.get("terms") or {}).items():
            if term not in fields.get(field, ()):
                return None
    return format_label(phenomena, lexicon)
