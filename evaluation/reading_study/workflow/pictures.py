"""Practice cases and pictures of the cases of a reading study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

from core import store
from core.images import blinded_rendering
from core.images.blinded_rendering import FILM_PLACES
from core.sessions.arms import shows_advice_map, shows_images, shows_texts
from core.store import dataset_table, run_table, unit_table
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import CasePicture
from evaluation.reading_study.advice.advice_cases import stated_advice
from evaluation.reading_study.workflow.exams import film_slots, has_misplaced_films
from evaluation.reading_study.workflow.practice_advice import practice_candidates
from evaluation.reading_study.workflow.protocols import protocol_design

PRACTICE_CASES_PER_ARM = 2
# Second seed of the practice cases, so that they are independent of the case selection.
_PRACTICE_STREAM = 17


def case_pictures(
    study: Path, protocol: Protocol, cases: pd.DataFrame
) -> tuple[list[list[str]], list[str | None] | None, list[CasePicture]]:
    """Return the practice cases, and the images of the cases of the image arms.

    Practice consists of the usual texts if an arm displays texts, then of two mammograms or exams
    for each image arm. These come from patients outside the study. Practice case i has the number
    -i. Each film of an exam, and each class map of advice, is an image of its own. In a study with
    advice, practice consists of mammograms or exams alone, with the advice on them.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : Protocol
        The protocol with its explain run.
    cases : DataFrame
        The sealed key.

    Returns
    -------
    practice : list of list of str
        Texts of each practice case.
    advice : list of str or None, or None
        What the advice of each practice case states; None in an arm without advice, and in place of
        the list for a study without advice.
    pictures : list of CasePicture
    """
    arms = [arm for arm in protocol.design["arms"] if shows_images(arm)]
    if not arms:
        return [list(texts) for texts in usual_practice(study)], None, []
    is_exam = protocol.design.get("case_unit") == "exam"
    explained, output = _explained_films(study, protocol.run, is_exam)
    # The films of each case, by the id that stands for it in the sealed key.
    key = "patient_id" if is_exam else "mammogram_id"
    films = dict(iter(explained.groupby(key)))
    pictures = [
        picture
        for row in cases.to_dict("records")
        if row["arm"] in arms
        for picture in _pictures(
            row["case_number"], row["arm"], films[row[key]], protocol.run, output
        )
    ]
    # A practice image of a study patient would make the reader familiar with a case.
    others = explained[~explained["patient_id"].isin(cases["patient_id"])]
    names = list(others[key].unique())
    if is_exam:
        names = [name for name in names if not has_misplaced_films(films[name])]
    advised = practice_candidates(study, protocol)
    if advised is not None:
        names = [name for name in names if name in advised.index]
    generator = np.random.default_rng([int(protocol.design["seed"]), _PRACTICE_STREAM])
    practice_arms = [arm for arm in arms for _ in range(PRACTICE_CASES_PER_ARM)]
    drawn = [
        (arm, names[index]) for arm, index in zip(practice_arms, generator.permutation(len(names)))
    ]
    usual = [list(texts) for texts in usual_practice(study)]
    advice = None
    if advised is None:
        has_texts = any(map(shows_texts, protocol.design["arms"]))
        practice = usual if has_texts else []
        practice = practice + _usual_texts(
            usual, [(arm, films[name]) for arm, name in drawn], is_exam
        )
    else:
        rows = advised.loc[[name for _, name in drawn]].assign(arm=[arm for arm, _ in drawn])
        practice = [list(row.texts) if shows_texts(row.arm) else [] for row in rows.itertuples()]
        advice = stated_advice(rows, protocol_design(protocol))
    # Case numbers count from 1, so a negative number cannot collide with one.
    for number, (arm, name) in enumerate(drawn, start=len(practice) - len(drawn) + 1):
        pictures += _pictures(-number, arm, films[name], protocol.run, output)
    if not practice:
        # A small study may have no patient left for practice; one text keeps the page usable.
        return [usual[0]], None if advised is None else [None], pictures
    return practice, advice, pictures


def _usual_texts(
    usual: Sequence[Sequence[str]], shown: Sequence[tuple[str, pd.DataFrame]], is_exam: bool
) -> list[list[str]]:
    """Return texts of practice images in turn, without a network behind them.

    shown: arm and films of each practice case.
    """
    texts: list[list[str]] = []
    for (arm, films), in_turn in zip(shown, cycle(usual)):
        if not shows_texts(arm):
            texts.append([])
        elif is_exam:
            texts.append(_with_film_names(in_turn, films))
        else:
            texts.append(list(in_turn))
    return texts


def _explained_films(study: Path, run: str, is_exam: bool) -> tuple[pd.DataFrame, int]:
    """Return the films of an explain run, and the network's output of the positive class.

    The table has the columns of `unit_table.load_explanations`, whole (the image does not show a
    breast) and slot (the place in an exam, missing without one; 0 outside exams).
    """
    with store.read(study) as con:
        explained = unit_table.load_explanations(con, run)
        classes = run_table.run_classes(con, run)
        tissue = dataset_table.load_mammograms(con).set_index("mammogram_id")["tissue"]
    # Images that do not show a breast are tissue everywhere.
    explained["whole"] = explained["mammogram_id"].map(tissue) == 1
    explained["slot"] = film_slots(explained["laterality"], explained["view"]) if is_exam else 0
    output = classes.codes.index(classes.positive_code)
    # The last output is not stated, as in the sources of earlier versions.
    return explained, -1 if output == len(classes.codes) - 1 else output


def _with_film_names(texts: Sequence[str], films: pd.DataFrame) -> list[str]:
    """Return texts of a practice exam that name its films in turn."""
    names = cycle(FILM_PLACES[int(slot)].name for slot in sorted(films["slot"]))
    return [f"{text} ({name})" for text, name in zip(texts, names)]


def usual_practice(study: Path) -> tuple[tuple[str, ...], ...]:
    """Return the texts of the practice cases, of the study's lexicon."""
    with store.read(study) as con:
        return dataset_table.load_lexicon(con).practice


def _pictures(
    number: int, arm: str, films: pd.DataFrame, run: str, output: int
) -> list[CasePicture]:
    """Return the images of one case: its films, or maps of the class of this output, and advice."""
    pictures = []
    # Columns, since pandas needs ten milliseconds for the rows of each case.
    columns = (films[name] for name in ("slot", "whole", "film", "file"))
    for slot, is_whole, film, file in zip(*columns):
        mammogram = CasePicture(
            int(number),
            blinded_rendering.MAMMOGRAM,
            blinded_rendering.mammogram_source(film, bool(is_whole)),
            int(slot),
        )
        class_map = CasePicture(
            int(number),
            blinded_rendering.CLASS_MAP,
            blinded_rendering.class_map_source(run, file, film, output, bool(is_whole)),
            int(slot),
        )
        pictures.append(class_map if arm == "class_map" else mammogram)
        if shows_advice_map(arm):
            pictures.append(replace(class_map, slot=int(slot) + len(FILM_PLACES)))
    return sorted(pictures, key=lambda picture: picture.slot)
