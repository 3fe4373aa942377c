"""Advice of the practice cases of a reading study: the network's decision on their images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from core import store
from core.images.blinded_rendering import FILM_PLACES
from core.store import run_table, unit_table
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import CasePicture
from evaluation.reading_study.advice.advice_cases import stated_advice
from evaluation.reading_study.design import NO_ADVICE
from evaluation.reading_study.workflow.candidates import decision_columns
from evaluation.reading_study.workflow.pictures import PRACTICE_CASES_PER_ARM
from evaluation.reading_study.workflow.protocols import protocol_design


def practice_advice(
    study: Path, protocol: Protocol, pictures: Sequence[CasePicture]
) -> list[str | None] | None:
    """Return what the advice of each practice case states; None for a study without advice.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : Protocol
        The protocol with its explain run.
    pictures : sequence of CasePicture
        Of all cases; those of practice have negative case numbers.

    Returns
    -------
    list of str or None, or None
        One entry a practice case, None for one without advice. An exam has the decision on the film
        with the largest probability.
    """
    design = protocol_design(protocol)
    if design.advice == NO_ADVICE:
        return None
    films: dict[int, list[str]] = {}
    for picture in pictures:
        if picture.case_number < 0 and picture.slot < len(FILM_PLACES):
            films.setdefault(-picture.case_number, []).append(json.loads(picture.source)["film"])
    with store.read(study) as con:
        explained = unit_table.load_explanations(con, protocol.run)
        classes = run_table.run_classes(con, protocol.run)
    arms = [arm for arm in design.arms for _ in range(PRACTICE_CASES_PER_ARM)]
    deciding = [
        explained[explained["film"].isin(films[number])]
        .sort_values(f"p_{design.positive}")
        .iloc[[-1]]
        .assign(arm=arms[number - 1])
        for number in sorted(films)
    ]
    if not deciding:
        # A small study may have no patient left for practice; its one practice case has no image.
        return [None]
    rows = pd.concat(deciding, ignore_index=True)
    return stated_advice(rows.assign(**decision_columns(rows, classes, design)), design)
