"""Exams as cases: the films of one patient pooled into one candidate of a reading study."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.class_labels import ClassDefinition
from core.images.blinded_rendering import FILM_PLACES
from evaluation.case_scores import pool_cases

_SLOTS = {(film.laterality, film.view): slot for slot, film in enumerate(FILM_PLACES)}


def film_slots(laterality: Sequence[str], view: Sequence[str]) -> list[int | None]:
    """Return the place of each film in the layout of an exam; None for another view or no side.

    Examples
    --------
    >>> film_slots(["LEFT", "RIGHT", "LEFT"], ["CC", "MLO", "XCCL"])
    [1, 2, None]
    """
    return [_SLOTS.get(key) for key in zip(laterality, view, strict=True)]


def has_misplaced_films(films: pd.DataFrame) -> bool:
    """Return whether a film of one patient has no place in the layout, or none of its own.

    films: slot of each film, see `film_slots`.
    """
    return bool(films["slot"].isna().any() or films["slot"].duplicated().any())


def pool_exams(films: pd.DataFrame, ingested: pd.Series, classes: ClassDefinition) -> pd.DataFrame:
    """Return one row per patient: the film that decides, with the pooled scores of all films.

    Scores are pooled as in docs/reference/definitions.md, "Image and case scores": p_normal is the
    smallest, every other the largest of the patient's films.

    Parameters
    ----------
    films : DataFrame
        One row per explained film: mammogram_id, patient_id, split, laterality, view,
        lesion_class, p_<class> of the scored classes.
    ingested : Series
        Number of ingested films by patient_id.
    classes : ClassDefinition
        Classes of the explain run.

    Returns
    -------
    DataFrame
        mammogram_id, split and lesion_class of the film with the largest score of the positive
        class; patient_id; the pooled p_<class>; films, the names of the explained films in the
        order of the layout; fits, whether each ingested film is explained and has a place of its
        own in the layout.

    Examples
    --------
    >>> from core.class_labels import MAMMOGRAPHY
    >>> two = pd.DataFrame({
    ...     "mammogram_id": ["a", "b"], "patient_id": "p", "split": "test", "laterality": "LEFT",
    ...     "view": ["MLO", "CC"], "lesion_class": [1, 2], "p_normal": [0.5, 0.1],
    ...     "p_benign": [0.6, 0.2], "p_malignant": [0.3, 0.9],
    ... })
    >>> exam = pool_exams(two, pd.Series({"p": 2}), MAMMOGRAPHY).iloc[0]
    >>> exam["mammogram_id"], exam["films"], float(exam["p_benign"]), bool(exam["fits"])
    ('b', ('left CC', 'left MLO'), 0.6, True)
    """
    scored = [f"p_{name}" for name in classes.scored]
    as_scores = {name: f"s_{name[2:]}" for name in scored}
    pooled = pool_cases(films.rename(columns=as_scores).assign(truth=0), classes)
    pooled = pooled.rename(columns={new: old for old, new in as_scores.items()})
    # Of equal scores the first film in the order of the ids decides.
    deciding = films.sort_values(
        [f"p_{classes.positive}", "mammogram_id"], ascending=[False, True]
    ).drop_duplicates("patient_id")
    layout = films.assign(slot=film_slots(films["laterality"], films["view"]))
    names, fits = {}, {}
    for patient, rows in layout.groupby("patient_id"):
        slots = sorted(int(slot) for slot in rows["slot"].dropna())
        names[patient] = tuple(FILM_PLACES[slot].name for slot in slots)
        fits[patient] = not has_misplaced_films(rows) and len(rows) == ingested[patient]
    exams = deciding[["mammogram_id", "patient_id", "split", "lesion_class"]].merge(
        pooled[["patient_id", *scored]], on="patient_id"
    )
    return exams.assign(
        films=exams["patient_id"].map(names), fits=exams["patient_id"].map(fits)
    ).sort_values("mammogram_id", ignore_index=True)


def pool_influences(influences: pd.DataFrame, films: pd.DataFrame) -> pd.DataFrame:
    """Return the influence of each unit on each exam: its largest on any film, with that film.

    The influence of a unit is the maximum of its map over a whole mammogram times its weight, so
    that of an exam is the largest over the films. A unit that is among the first k of an exam is
    among the first k of the film that it responds to most; the first 64 units of an exam are
    therefore exact where 64 units of each film are given.

    Parameters
    ----------
    influences : DataFrame
        mammogram_id, patient_id, class, rank, unit, influence of each film.
    films : DataFrame
        mammogram_id, laterality and view of each film.

    Returns
    -------
    DataFrame
        patient_id, class, unit, influence and film (its name), the most influential units first.

    Examples
    --------
    >>> given = pd.DataFrame({
    ...     "mammogram_id": ["a", "b", "b"], "patient_id": "p", "class": 2, "rank": [1, 1, 2],
    ...     "unit": [7, 3, 7], "influence": [4.0, 2.0, 1.0],
    ... })
    >>> two = pd.DataFrame(
    ...     {"mammogram_id": ["a", "b"], "laterality": "LEFT", "view": ["CC", "MLO"]}
    ... )
    >>> pool_influences(given, two)[["unit", "influence", "film"]].values.tolist()
    [[7, 4.0, 'left CC'], [3, 2.0, 'left MLO']]
    """
    slots = pd.Series(
        film_slots(films["laterality"], films["view"]), index=films["mammogram_id"], dtype=object
    )
    slot = influences["mammogram_id"].map(slots.dropna())
    placed = influences.assign(slot=slot)[slot.notna()]
    # Ties go to the film that comes first in the layout, then to the rank on it.
    pooled = placed.sort_values(
        ["patient_id", "class", "influence", "slot", "rank"],
        ascending=[True, True, False, True, True],
    ).drop_duplicates(["patient_id", "class", "unit"])
    names = pooled["slot"].map(lambda at: FILM_PLACES[int(at)].name)
    columns = ["patient_id", "class", "unit", "influence"]
    return pooled[columns].assign(film=names).reset_index(drop=True)
