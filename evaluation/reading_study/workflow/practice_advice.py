"""Practice of a reading study with advice: what the network decided on films outside the study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core.sessions.arms import shows_texts
from core.store.reading.protocol_table import Protocol
from evaluation.reading_study.case_texts import name_own_films
from evaluation.reading_study.design import NO_ADVICE
from evaluation.reading_study.workflow.candidates import candidate_images
from evaluation.reading_study.workflow.protocols import protocol_design


def practice_candidates(study: Path, protocol: Protocol) -> pd.DataFrame | None:
    """Return the explained images or exams with the advice that belongs to each of them.

    Decision and texts are computed as for the cases of the study. The practice of a sham arm has
    the texts of its own films as well, so that no practice advice is wrong about its film.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : Protocol
        The protocol with its explain run.

    Returns
    -------
    DataFrame or None
        texts, predicted and advice_probability, indexed by mammogram_id, or by patient_id where a
        case is an exam; without images whose explanation has no text, if an arm shows texts. None
        for a study without advice.
    """
    design = protocol_design(protocol)
    if design.advice == NO_ADVICE:
        return None
    table = candidate_images(study, protocol.run, design)
    table["texts"] = pd.Series(name_own_films(table), table.index, dtype=object)
    if any(map(shows_texts, design.arms)):
        table = table[table["texts"].map(len) > 0]
    key = "patient_id" if design.case_unit == "exam" else "mammogram_id"
    return table.set_index(key)[["texts", "predicted", "advice_probability"]]
