"""Annotation efficiency: expert time against the labelled coverage that it reached.

HDSR 2021, section 2.4, compares 30 s for each of 60 units with one minute for each of 10,000
images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core import store
from core.lexicon import annotation_answers
from core.lineage import run_class_names
from core.settings import load_order_of_experts
from core.store import annotation_table, run_table, unit_table
from core.store.labels import label_states
from evaluation.coverage import labelled_coverage, top_unit_arrays
from evaluation.intervals import count_text, decimal, percent

# Minutes that the paper states for naming units, and for describing every image.
PUBLISHED_UNIT_MINUTES = 60 * 30 / 60
PUBLISHED_IMAGE_MINUTES = 10_000 * 1.0


@dataclass(frozen=True, kw_only=True)
class AnnotationEfficiency:
    """Expert time on the units of a dissect run, and the labelled coverage reached.

    Parameters
    ----------
    minutes : float or None
        Time of all answers and revisions, repeats included and practice excluded; None if no time
        was recorded.
    answers, timed : int
        All of these answers, and those with a recorded time. Imported answers have none.
    units : int
        Labelled units.
    median_seconds : float or None
        Median time of an answer.
    coverage : dict of str to float or None
        Labelled coverage by class name.
    curve : DataFrame
        One row per answer that named a labelled unit for the first time, in order of time: minutes
        spent until then, units, and the labelled coverage of each class.
    images : int
        Hold-out mammograms on which coverage is counted.
    simulated : bool
        Whether an answer comes from a simulated expert.
    """

    minutes: float | None
    answers: int
    timed: int
    units: int
    median_seconds: float | None
    coverage: dict[str, float | None]
    curve: pd.DataFrame
    images: int
    simulated: bool

    def sentence(self) -> str:
        """Return the sentence of reports and pages, beside the published figures."""
        mark = "SIMULATED answers. " if self.simulated else ""
        spent = (
            f"{decimal(self.minutes, 1)} min ({count_text(self.timed, 'timed answer')} of"
            f" {self.answers}, median {decimal(self.median_seconds, 1)} s)"
            if self.minutes is not None
            else f"not recorded ({count_text(self.answers, 'answer')})"
        )
        reached = ", ".join(
            f"{name} {percent(share)}" for name, share in reversed(self.coverage.items())
        )
        hours = decimal(self.images / 60, 1)
        return (
            f"{mark}Expert time: {spent}. Labelled units: {self.units}, with a labelled coverage of"
            f" {reached}. For comparison, HDSR 2021 states {PUBLISHED_UNIT_MINUTES:.0f} min for 60"
            f" units at 30 s, against {int(PUBLISHED_IMAGE_MINUTES / 60)} h for 10,000 images at"
            f" one minute each; at that rate the {self.images:,} mammograms here would take"
            f" {hours} h."
        )


def annotation_efficiency(study: Path, dissect: str) -> AnnotationEfficiency | None:
    """Return the expert time and the labelled coverage of a dissect run.

    None where the run has no influences of hold-out mammograms, on which coverage is counted.
    """
    with store.read(study) as con:
        run = run_table.load_run(con, dissect)
        top = run["settings"]["dissection"]["top"]
        influences = unit_table.load_top_influences(con, dissect, top)
        selected = unit_table.load_selected_units(con, dissect)
        labels = label_states.unit_labels(con, dissect, load_order_of_experts(study))
        answers = annotation_table.load_annotations(con, dissect, versions=True)
    if influences.empty:
        return None
    answers = answers[~answers["practice"].astype(bool)].sort_values("made", kind="stable")
    # The answer of a group is one answer: its copies on the other units took no time.
    is_copy = answers["answer"].map(annotation_table.is_group_answer).astype(bool)
    given, timed = answers[~is_copy], answers["seconds"].dropna()
    codes, tops, _ = top_unit_arrays(influences)
    names = run_class_names(study, dissect)
    chosen = {code: set(selected[selected["class"] == code]["unit"].astype(int)) for code in codes}

    def coverage(units: set[int]) -> dict[str, float | None]:
        """Return the labelled coverage of each class if these units carry a label."""
        return {
            names[code]: labelled_coverage(tops[i], chosen[code], units)
            for i, code in enumerate(codes)
        }

    rows = []
    named: set[int] = set()
    minutes = np.cumsum(answers["seconds"].fillna(0).to_numpy(float)) / 60
    for spent, row in zip(minutes, answers.itertuples()):
        unit = int(row.unit)
        # Coverage rises at the first answer that names a unit which has a label now.
        is_new = (
            unit in labels and unit not in named and annotation_answers.is_substantive(row.answer)
        )
        is_timed = not pd.isna(row.seconds) or annotation_table.is_group_answer(row.answer)
        if is_new and is_timed:
            named.add(unit)
            rows.append({"minutes": float(spent), "units": len(named), **coverage(named)})
    return AnnotationEfficiency(
        minutes=float(timed.sum()) / 60 if len(timed) else None,
        answers=len(given),
        timed=len(timed),
        units=len(labels),
        median_seconds=float(timed.median()) if len(timed) else None,
        coverage=coverage(set(labels)),
        curve=pd.DataFrame(rows, columns=["minutes", "units", *(names[code] for code in codes)]),
        images=int(tops.shape[1]),
        simulated=bool(given["simulated"].any()),
    )
