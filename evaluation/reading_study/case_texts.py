"""Texts of the cases of a reading study: labels of units, and the films that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.errors import UserError
from core.images.blinded_rendering import FILM_PLACES
from core.lexicon.annotation_answers import without_association
from core.lexicon.birads_categories import BIRADS
from evaluation.reading_study.design import Design


def explanation_texts(
    units: Sequence[int],
    labels: Mapping[int, str],
    design: Design,
    associations: Sequence[str] = BIRADS.association_names,
) -> tuple[str, ...]:
    """Return the texts of a case: the labels of its most influential labelled units.

    Parameters
    ----------
    units : sequence of int
        0-based unit indices, the most influential first.
    labels : mapping
        Unit index to label.
    design : Design
        Limits the number of texts and the depth of the search, and decides whether repeated labels
        are merged and words for malignancy removed.
    associations : sequence of str
        The words for malignancy, as the lexicon of the study names them.

    Returns
    -------
    tuple of str
        At most `design.texts` labels; empty if no unit within the depth is labelled.

    Examples
    --------
    >>> labels = {3: "Mass, suspicious", 5: "Dense tissue", 9: "Dense tissue"}
    >>> explanation_texts([1, 3, 5, 9], labels, Design(texts=2))
    ('Mass', 'Dense tissue')
    """
    return tuple(text for _, text in explaining_units(units, labels, design, associations))


def explaining_units(
    units: Sequence[int],
    labels: Mapping[int, str],
    design: Design,
    associations: Sequence[str] = BIRADS.association_names,
) -> list[tuple[int, str]]:
    """Return the units behind the texts of a case, each with its text; see `explanation_texts`."""
    chosen: list[tuple[int, str]] = []
    for unit in units[: design.depth]:
        label = labels.get(int(unit), "").strip()
        text = label if design.association_words else without_association(label, associations)
        is_repeated = design.merge_duplicates and text in (earlier for _, earlier in chosen)
        # A label that consists of words for malignancy only is empty without them.
        if text and not is_repeated:
            chosen.append((int(unit), text))
        if len(chosen) == design.texts:
            break
    return chosen


def shuffled_texts(
    table: pd.DataFrame, donors: pd.DataFrame, generator: np.random.Generator
) -> list[tuple[str, ...]]:
    """Assign to each case the texts of an image of another patient.

    The control arm shows the same kind of texts without information about the case. Donors are
    drawn without replacement until none of another patient is left; then all are available again.

    Parameters
    ----------
    table : DataFrame
        Cases that receive texts, with patient_id.
    donors : DataFrame
        Images with patient_id and texts.
    generator : numpy.random.Generator
        Source of the order of the donors.

    Returns
    -------
    list of tuple of str
        Texts in the order of `table`.

    Raises
    ------
    UserError
        If all images are of one patient.
    """
    order = list(generator.permutation(len(donors)))
    patients, texts = donors["patient_id"].to_numpy(), donors["texts"].tolist()
    assigned = []
    for patient in table["patient_id"]:
        # Another image of the same patient can have the same findings and thus the same texts.
        position = _first_other_patient(order, patients, patient)
        if position is None:
            order = list(generator.permutation(len(donors)))
            position = _first_other_patient(order, patients, patient)
        if position is None:
            raise UserError(
                "All cases are of one patient; an arm with shuffled explanations needs at least"
                " two."
            )
        # Without replacement the control arm repeats each text about as often as the first arm.
        assigned.append(tuple(texts[order.pop(position)]))
    return assigned


def _first_other_patient(order: list[int], patients: np.ndarray, patient: str) -> int | None:
    """Return the position of the first donor of another patient, or None."""
    return next((k for k, donor in enumerate(order) if patients[donor] != patient), None)


def name_own_films(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the texts of cases; those of an exam name the film, such as Mass (left CC).

    table: texts and, for exams, text_films.
    """
    if "films" not in table.columns:
        return [tuple(texts) for texts in table["texts"]]
    pairs = zip(table["texts"], table["text_films"], strict=True)
    return [_with_films(texts, films) for texts, films in pairs]


def name_drawn_films(
    table: pd.DataFrame, texts: Sequence[Sequence[str]], generator: np.random.Generator
) -> list[tuple[str, ...]]:
    """Return texts that are not of the cases themselves with films of the cases, drawn at random.

    The film that another exam names may be missing in the case, which would show that the text is
    of another exam; the case's own would inform about the case. table: for exams with films.
    """
    if "films" not in table.columns:
        return [tuple(row) for row in texts]
    return [
        _with_films(row, [str(name) for name in generator.choice(films, len(row))])
        for row, films in zip(texts, table["films"], strict=True)
    ]


def _with_films(texts: Sequence[str], films: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{text} ({film})" for text, film in zip(texts, films, strict=True))


def label_texts(cases: pd.DataFrame, design: Design) -> list[tuple[str, ...]]:
    """Return the labels in the texts of cases: texts of exams without the film that they name."""
    if design.case_unit != "exam":
        return [tuple(texts) for texts in cases["texts"]]
    endings = tuple(f" ({film.name})" for film in FILM_PLACES)
    return [
        tuple(
            next(text.removesuffix(ending) for ending in endings if text.endswith(ending))
            for text in texts
        )
        for texts in cases["texts"]
    ]
