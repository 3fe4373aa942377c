"""Practice cases and pictures of the cases of a reading study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store
from core.images import blinded_rendering
from core.sessions.arms import shows_images, shows_texts
from core.sessions.reading_session import PRACTICE_TEXTS
from core.store import dataset_table, run_table, unit_table
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import CasePicture

PRACTICE_CASES_PER_ARM = 2
# Second seed of the practice cases, so that they are independent of the case selection.
_PRACTICE_STREAM = 17


def case_pictures(
    study: Path, protocol: Protocol, cases: pd.DataFrame
) -> tuple[list[list[str]], list[CasePicture]]:
    """Return the practice texts and the images of the cases of the image arms.

    Practice consists of the usual texts if an arm displays texts, then of two mammograms for each
    image arm. These come from patients outside the study. Practice case i has the number -i.

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
    pictures : list of CasePicture
    """
    arms = [arm for arm in protocol.design["arms"] if shows_images(arm)]
    if not arms:
        return [list(texts) for texts in PRACTICE_TEXTS], []
    with store.read(study) as con:
        explained = unit_table.load_explanations(con, protocol.run).set_index("mammogram_id")
        classes = run_table.run_classes(con, protocol.run)
        tissue = dataset_table.load_mammograms(con).set_index("mammogram_id")["tissue"]
    # Images that do not show a breast are tissue everywhere.
    explained["whole"] = tissue.reindex(explained.index) == 1
    output = classes.codes.index(classes.positive_code)
    # The last output is not stated, as in the sources of earlier versions.
    output = -1 if output == len(classes.codes) - 1 else output
    pictures = [
        _picture(
            row["case_number"], row["arm"], explained.loc[row["mammogram_id"]], protocol.run, output
        )
        for row in cases.to_dict("records")
        if row["arm"] in arms
    ]
    has_texts = any(map(shows_texts, protocol.design["arms"]))
    practice = [list(texts) for texts in PRACTICE_TEXTS] if has_texts else []
    # A practice image of a study patient would make the reader familiar with a case.
    others = explained[~explained["patient_id"].isin(cases["patient_id"])]
    generator = np.random.default_rng([int(protocol.design["seed"]), _PRACTICE_STREAM])
    practice_arms = [arm for arm in arms for _ in range(PRACTICE_CASES_PER_ARM)]
    drawn = zip(generator.permutation(len(others)), practice_arms)
    for position, (index, arm) in enumerate(drawn):
        texts = PRACTICE_TEXTS[position % len(PRACTICE_TEXTS)] if shows_texts(arm) else ()
        practice.append(list(texts))
        # Case numbers count from 1, so a negative number cannot collide with one.
        pictures.append(_picture(-len(practice), arm, others.iloc[index], protocol.run, output))
    # A small study may have no patient left for practice; one text keeps the practice page usable.
    return practice or [list(PRACTICE_TEXTS[0])], pictures


def _picture(number: int, arm: str, explanation: Any, run: str, output: int) -> CasePicture:
    """Return the image of one case: a map of the class of this output, or a mammogram."""
    if arm == "class_map":
        kind = blinded_rendering.CLASS_MAP
        source = blinded_rendering.class_map_source(
            run, explanation["file"], explanation["film"], output, bool(explanation["whole"])
        )
    else:
        kind = blinded_rendering.MAMMOGRAM
        source = blinded_rendering.mammogram_source(explanation["film"], bool(explanation["whole"]))
    return CasePicture(int(number), kind, source)
