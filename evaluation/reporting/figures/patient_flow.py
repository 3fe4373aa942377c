"""Flow of patients from the source to the analysed answers, in the form of STARD and CONSORT."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from textwrap import wrap

import pandas as pd
from matplotlib.axes import Axes

from core import store
from core.class_labels import SPLITS
from core.lineage import run_class_names
from core.store import dataset_table
from core.store.reading import reading_table
from core.store.reading.protocol_table import Protocol
from evaluation.intervals import count_text
from evaluation.queries.provenance import closed_protocol
from evaluation.reporting.base import newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult
from evaluation.reporting.figures.diagrams import LINE_HEIGHT, create_canvas, draw_arrow, draw_box

SPLIT_TITLES = {"train": "Training", "holdout": "Hold-out", "test": "Test"}
# Prefix of the steps of the reading study in the table of the patient flow.
_READING = "reading: "
# What a case lacks that a step of the case selection leaves out, by the name of the step.
_EXCLUSIONS = {
    "malignant or benign finding": "without malignant or benign finding",
    "truth rules agree": "truth rules differ",
    "an annotated unit explains it": "no annotated unit explains it",
    "chosen, as many of each class": "not drawn (equal classes, images of a patient)",
}
_GAP = 7.0
_MARGIN = 3.0
# Above the first box, for the mark of simulated data.
_TOP = style.MARK_HEIGHT + 2.0


def patient_flow_table(study: Path) -> pd.DataFrame:
    """Return the flow of patients in order: step, patients, mammograms, note."""
    patches = newest_run(study, "patches")
    with store.read(study) as con:
        sources = dataset_table.load_sources(con)
        splits = dataset_table.load_splits(con, patches)
        mammograms = dataset_table.load_mammograms(con)
        counts = dataset_table.load_patch_counts(con, patches)
        closed = closed_protocol(con)
    mammograms = mammograms.merge(splits, on="patient_id", how="left")
    skipped = int(sources["skipped"].sum())
    rows = [
        _flow_row(
            "in the source",
            int(sources["patients"].sum()) + skipped,
            None,
            ", ".join(sources["kind"]),
        ),
        _flow_row("excluded: unreadable file", skipped, None, "listed as problems"),
        _flow_row("in the study", mammograms["patient_id"].nunique(), len(mammograms), ""),
    ]
    names = run_class_names(study, patches)
    for split in SPLITS:
        in_split = mammograms[mammograms["split"] == split]
        by_class = counts[counts["split"] == split].set_index("label")["patches"]
        note = "; ".join(f"{int(by_class.get(code, 0)):,} {name}" for code, name in names.items())
        rows.append(_flow_row(split, in_split["patient_id"].nunique(), len(in_split), note))
    for step, images, patients in closed.design.get("flow", []) if closed else []:
        rows.append(_flow_row(f"{_READING}{step}", patients, images, ""))
    if closed:
        rows += _answer_rows(study, closed)
    return pd.DataFrame(rows).astype({"patients": "Int64", "mammograms": "Int64"})


def _flow_row(step: str, patients: int, mammograms: int | None, note: str) -> dict[str, object]:
    return {"step": step, "patients": patients, "mammograms": mammograms, "note": note}


def _answer_rows(study: Path, closed: Protocol) -> list[dict[str, object]]:
    """Return the answers of the primary arm that were given, and those that are missing."""
    with store.read(study) as con:
        cases = reading_table.load_reading_cases(con, closed.protocol, closed.version)
        answers = reading_table.load_reading_answers(con, closed.protocol, closed.version)
    arm = closed.design["arms"][0]
    primary = cases[cases["arm"] == arm]
    given = answers[
        ~answers["repeat"].astype(bool) & answers["case_number"].isin(primary["case_number"])
    ]
    readers = given["code"].nunique()
    missing = readers * len(primary) - len(given)
    note = f"{count_text(len(given), 'answer')} of {count_text(readers, 'reader')}"
    answered = primary[primary["case_number"].isin(given["case_number"])]
    return [
        _flow_row(
            f"{_READING}analysed",
            answered["patient_id"].nunique(),
            answered["mammogram_id"].nunique(),
            f"{note}; {count_text(missing, 'answer')} missing",
        )
    ]


def plot_patient_flow(study: Path, width: float) -> FigureResult:
    """Draw the flow of patients with the exclusions at every step."""
    table = patient_flow_table(study)
    reading = table[table["step"].str.startswith(_READING)]
    source, excluded, included = (table.iloc[i] for i in range(3))
    layout = _Layout(width)
    unread = [f"{count_text(excluded['patients'], 'patient')}: unreadable file"]
    layout.add_step(
        count_text(source["patients"], "patient"),
        [f"source: {source['note']}"],
        unread if excluded["patients"] else [],
    )
    layout.add_step(
        count_text(included["patients"], "patient"),
        [count_text(included["mammograms"], "mammogram")],
        [],
    )
    layout.add_splits([_split_lines(table, split) for split in SPLITS])
    if len(reading):
        first, chosen, analysed = reading.iloc[0], reading.iloc[-2], reading.iloc[-1]
        layout.add_step("Eligible: test split", _size_lines(first), _exclusion_lines(reading))
        layout.add_step("Cases selected", _size_lines(chosen), _missing_lines(analysed))
        layout.add_step("Analysed", [*_size_lines(analysed), analysed["note"].split("; ")[0]], [])
    figure, ax = create_canvas(width, layout.height)
    layout.draw(ax)
    patients = int(included["patients"])
    caption = (
        f"Flow of patients: {count_text(patients, 'patient')} with"
        f" {count_text(int(included['mammograms']), 'mammogram')}, split by patient, with the"
        " patches of each class"
        + (", and the cases of the reading study" if len(reading) else "")
        + ". Boxes on the right: exclusions with their reasons."
    )
    return FigureResult(
        figure=figure,
        data={"flow": table},
        caption=caption,
        counts={"patients": patients, "mammograms": int(included["mammograms"])},
        method="All images of a patient are in one split.",
    )


def _split_lines(table: pd.DataFrame, split: str) -> tuple[str, list[str]]:
    row = table[table["step"] == split].iloc[0]
    return SPLIT_TITLES[split], [*_size_lines(row), "patches:", *row["note"].split("; ")]


def _size_lines(row: pd.Series) -> list[str]:
    return [count_text(row["mammograms"], "mammogram"), count_text(row["patients"], "patient")]


def _exclusion_lines(reading: pd.DataFrame) -> list[str]:
    """Return how many mammograms each step of the case selection left out, and why."""
    steps = reading.iloc[:-1].to_dict("records")
    lines = []
    for before, after in pairwise(steps):
        lost = before["mammograms"] - after["mammograms"]
        step = after["step"].removeprefix(_READING)
        if lost:
            lines.append(f"{lost:,}: {_EXCLUSIONS.get(step, step)}")
    return lines


def _missing_lines(analysed: pd.Series) -> list[str]:
    missing = analysed["note"].split("; ")[1]
    return [] if missing.startswith("0 ") else [missing]


class _Layout:
    """Boxes from the top of the drawing downwards, with exclusions to the right of the column."""

    def __init__(self, width: float) -> None:
        self._width = width
        # Without exclusions at their side the steps still stand in the column of the others.
        self._column = min(60.0, 0.46 * width)
        self._steps: list[tuple[str, list[str], list[str], float]] = []
        self._splits: list[tuple[str, list[str]]] = []
        self._splits_after = 0

    @property
    def _side(self) -> float:
        """Width of the boxes of exclusions, in mm."""
        return self._width - self._column - 2 * _MARGIN - 5

    def add_step(self, title: str, lines: list[str], exclusions: list[str]) -> None:
        """Add a step with the reasons and numbers of what is left out after it."""
        # A line of 7 points holds about one character a 1.25 mm.
        wrapped = [part for line in exclusions for part in wrap(line, int(self._side / 1.25))]
        height = 3 + LINE_HEIGHT * (1 + max(len(lines), len(wrapped) if wrapped else 0))
        self._steps.append((title, lines, wrapped, height))

    def add_splits(self, splits: list[tuple[str, list[str]]]) -> None:
        """Add the boxes of the splits below the steps so far."""
        self._splits, self._splits_after = splits, len(self._steps)

    @property
    def _split_height(self) -> float:
        return 4 + LINE_HEIGHT * (1 + max(len(lines) for _, lines in self._splits))

    @property
    def height(self) -> float:
        """Height of the whole drawing in mm."""
        steps = sum(height + _GAP for *_, height in self._steps)
        return steps + self._split_height + _TOP + _MARGIN

    def draw(self, ax: Axes) -> None:
        """Draw all boxes and arrows."""
        x, y = _MARGIN + self._column / 2, self.height - _TOP
        for i, (title, lines, exclusions, height) in enumerate(self._steps):
            if i == self._splits_after:
                y = self._draw_splits(ax, x, y)
            draw_box(ax, x, y - height / 2, self._column, height, title, "\n".join(lines))
            if exclusions:
                left = _MARGIN + self._column + 5
                draw_arrow(ax, (left - 5, y - height / 2), (left, y - height / 2))
                centre = left + self._side / 2
                text = "\n".join(exclusions)
                draw_box(ax, centre, y - height / 2, self._side, height, "Excluded", text, True)
            if i + 1 < len(self._steps) and i + 1 != self._splits_after:
                draw_arrow(ax, (x, y - height), (x, y - height - _GAP))
            y -= height + _GAP
        if self._splits_after == len(self._steps):
            self._draw_splits(ax, x, y)

    def _draw_splits(self, ax: Axes, x: float, y: float) -> float:
        """Draw the splits below the step that ends at y + gap; return the top of the next step."""
        width, height = (self._width - 2 * _MARGIN) / 3, self._split_height
        for i, (title, lines) in enumerate(self._splits):
            centre = _MARGIN + width * (i + 0.5)
            draw_arrow(ax, (x, y + _GAP), (centre, y))
            draw_box(ax, centre, y - height / 2, width - 2, height, title, "\n".join(lines))
        if self._splits_after < len(self._steps):
            test = _MARGIN + width * 2.5
            draw_arrow(ax, (test, y - height), (x + 0.3 * self._column, y - height - _GAP))
        return y - height - _GAP
