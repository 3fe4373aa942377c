"""Confirmation of categories in free text by a person, for the commands and the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import lineage, store
from core.annotation.unit_categories import CategorizedText, free_texts
from core.class_labels import unit_name
from core.errors import UserError
from core.store.connection import Connection
from core.store.labels import category_table


def list_texts(study: Path, dissect: str | None = None) -> list[dict[str, Any]]:
    """Return the labels in free text of a dissection, which is named where there are several.

    Each with unit (its name), text, sets (experts' codes or "consensus"), categories, and state.
    """
    run = lineage.choose_dissection(study, dissect)
    with store.read(study) as con:
        return [_row(text) for text in free_texts(con, run)]


def _row(text: CategorizedText) -> dict[str, Any]:
    return {
        "unit": unit_name(text.unit),
        "text": text.text,
        "sets": list(text.sets),
        "categories": list(text.categories.names),
        "state": text.categories.state,
    }


def confirm_text(
    study: Path,
    unit: str,
    categories: Sequence[str] | None,
    label_set: str | None,
    decided_by: str,
    dissect: str | None = None,
) -> dict[str, Any]:
    """Confirm the categories of one text; None: those that are proposed.

    Raises
    ------
    UserError
        If the unit has no such text or several, or its words propose no category.
    """
    run = lineage.choose_dissection(study, dissect)
    with store.write(study) as con:
        text = _find_text(con, run, unit, label_set)
        names = text.categories.names if categories is None else categories
        if not names:
            raise UserError(
                f"No category is proposed for {unit} ({text.text[:60]!r}): name it with"
                " --categories."
            )
        category_table.confirm_categories(con, run, text.unit, text.text, names, decided_by)
        return _row(_find_text(con, run, unit, label_set))


def undo_text(
    study: Path, unit: str, label_set: str | None, decided_by: str, dissect: str | None = None
) -> dict[str, Any]:
    """Undo the confirmation of one text; UserError if it is not confirmed."""
    run = lineage.choose_dissection(study, dissect)
    with store.write(study) as con:
        text = _find_text(con, run, unit, label_set)
        category_table.withdraw_confirmation(con, run, text.unit, text.text, decided_by)
        return _row(_find_text(con, run, unit, label_set))


def _find_text(con: Connection, run: str, unit: str, label_set: str | None) -> CategorizedText:
    """Return the only free text of a unit, or that of a set."""
    texts = [
        text
        for text in free_texts(con, run)
        if unit_name(text.unit) == unit and (label_set is None or label_set in text.sets)
    ]
    if len(texts) == 1:
        return texts[0]
    if not texts:
        of_set = f" in the set {label_set!r}" if label_set else ""
        raise UserError(
            f"{unit} has no label in free text{of_set}; `deepminer labels categories` lists them."
        )
    sets = ", ".join(name for text in texts for name in text.sets)
    raise UserError(f"{unit} has {len(texts)} different texts ({sets}); choose one with --set.")
