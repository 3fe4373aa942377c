"""The state of every step of a study, from source to report, for the Overview page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from core import runs, settings, store, timestamps
from core.class_labels import unit_name
from core.settings import load_order_of_experts
from core.sources.records import TRUTH_BASES, WEAK_TRUTH_BASES
from core.store import annotation_table, dataset_table, run_table, unit_table
from core.store.connection import Connection
from core.store.labels import assignment_table, label_states
from core.store.reading.protocol_states import (
    CHECKED,
    DESIGN,
    OPEN_STATES,
    RESULT_STATES,
    next_command,
)
from evaluation.intervals import count_text
from evaluation.queries import provenance
from evaluation.queries.reading_states import load_reading_states

FEW_PATIENTS = 8
MAX_LISTED_UNITS = 6
RUN_STEPS = {
    "patches": "Patches",
    "train": "Classifier",
    "evaluate": "Evaluation",
    "dissect": "Units",
    "explain": "Explanations",
}
# Page (its file name in dashboard/pages) that shows the result of a step.
PAGE_OF_STEP = {
    "source": "data",
    "patches": "data",
    "train": "performance",
    "evaluate": "performance",
    "dissect": "units",
    "explain": "explanations",
    "annotate": "annotations",
    "reading": "reading_study",
    "report": "figures",
}

# What the command of a step does.
TASK_OF_STEP = {
    "source": "Ingest images.",
    "patches": "Cut patches from the images.",
    "train": "Train a classifier.",
    "evaluate": "Evaluate the classifier.",
    "dissect": "Dissect the classifier into units.",
    "explain": "Explain the images.",
    "annotate": "Invite an expert to name the units.",
    "reading": "Design a reading study.",
    "report": "Build the figures for print.",
}
_READING_TASKS = {
    DESIGN: "Check the reading study for leakage.",
    CHECKED: "Freeze the reading study.",
}


@dataclass(frozen=True, kw_only=True)
class StepCard:
    """The state of one step.

    state: done, stale, running, interrupted, failed or missing; headline, lines: what exists; made:
    time of the result; command: what to run next; task: what the command does, as a sentence, ""
    for that of the kind; note: reason of a stale, failed or interrupted step.
    """

    kind: str
    title: str
    state: str
    headline: str
    lines: tuple[str, ...] = ()
    made: datetime | None = None
    command: str = ""
    task: str = ""
    note: str = ""

    @property
    def next_task(self) -> str:
        """What the command does, and why it is due, as one or two sentences."""
        task = self.task or TASK_OF_STEP[self.kind]
        if self.state == "stale":
            return f"{self.title} is out of date. {task}"
        if self.state in ("interrupted", "failed"):
            return f"{self.title}: {self.state}. The command continues it."
        return task

    @property
    def page(self) -> str:
        """Name of the page that shows the step's result."""
        return PAGE_OF_STEP[self.kind]


def step_cards(study: Path) -> list[StepCard]:
    """Return the cards from source to report, in the order of the pipeline.

    Beside the store they depend on `core.runs.unfinished_runs` and `provenance.export_records`.
    """
    # Newest first in the list: reversed, the newest of a kind comes last and stays.
    unfinished = {body["kind"]: body for body in reversed(runs.unfinished_runs(study))}
    current = settings.load_settings(study)
    with store.read(study) as con:
        cards = [_source_card(con)]
        stale: set[str] = set()
        for kind in RUN_STEPS:
            card = _run_card(con, kind, unfinished.get(kind), stale, current)
            # A stale step makes every later step that rests on it stale.
            if card.state == "stale":
                stale.add(kind)
            cards.append(card)
        # Annotation comes between units and explanations.
        cards.insert(5, _annotation_card(con, study))
        cards.append(_reading_card(con))
    noun = settings.load_image_noun(study)
    return [_in_words(card, noun) for card in (*cards, _report_card(study))]


def _in_words(card: StepCard, noun: str) -> StepCard:
    return replace(
        card,
        headline=settings.in_study_words(card.headline, noun),
        lines=tuple(settings.in_study_words(line, noun) for line in card.lines),
    )


def _source_card(con: Connection) -> StepCard:
    sources, counts = dataset_table.load_sources(con), dataset_table.dataset_counts(con)
    if not len(sources):
        return StepCard(
            kind="source",
            title="Source",
            state="missing",
            headline="no mammograms yet",
            command="deepminer ingest phantom",
        )
    skipped = int(sources["skipped"].sum())
    return StepCard(
        kind="source",
        title="Source",
        state="done",
        headline=count_text(counts["patients"], "patient"),
        lines=(
            count_text(counts["mammograms"], "mammogram"),
            f"{skipped} skipped" if skipped else count_text(counts["findings"], "finding"),
        ),
        made=_to_datetime(sources["made"].max()),
    )


def _run_card(
    con: Connection,
    kind: str,
    unfinished: dict[str, Any] | None,
    stale: set[str],
    current: settings.Settings,
) -> StepCard:
    run = run_table.latest_run(con, kind)
    title, command = RUN_STEPS[kind], f"deepminer {kind}"
    # A failed attempt matters only while there is no complete run of its kind.
    if unfinished and (run is None or unfinished["state"] == "running"):
        done, total = unfinished["done"], unfinished["total"]
        return StepCard(
            kind=kind,
            title=title,
            state=unfinished["state"],
            headline=f"{done:,} of {total:,} {unfinished['unit']}",
            made=timestamps.from_epoch(unfinished["seen"]),
            command=command,
            note=unfinished["message"],
        )
    if run is None:
        return StepCard(
            kind=kind, title=title, state="missing", headline="no run yet", command=command
        )
    row = run_table.load_run(con, run)
    reason = _stale_reason(con, row, stale, current)
    headline, lines = _run_facts(con, row)
    return StepCard(
        kind=kind,
        title=title,
        state="stale" if reason else "done",
        headline=headline,
        lines=lines,
        made=_to_datetime(row["made"]),
        command=command if reason else "",
        note=reason,
    )


def _stale_reason(
    con: Connection, row: dict[str, Any], stale: set[str], current: settings.Settings
) -> str:
    """Return why a run is out of date; empty if it is current."""
    if row["kind"] == "patches":
        # The parents of patches are mammograms, which are no run: their hash is compared.
        if row["manifest"]["inputs"] != dataset_table.get_meta(con, "data_hash"):
            return "images were added since"
        # The same keys as in the request of `core.pipeline.patches`. The input side is no setting
        # of the study: networks of several sides share its patches.
        requested = {
            "patches": current.patches.model_dump(),
            "splits": current.splits.model_dump(),
            "seed": current.study.seed,
        }
        if {name: row["settings"].get(name) for name in requested} != requested:
            return "study.toml changed since"
    for parent in row["parents"]:
        parent_kind = run_table.load_run(con, parent)["kind"]
        # The latest run of a kind is the one used last, also if an older one was reused.
        latest = run_table.latest_run(con, parent_kind)
        if parent_kind in stale or not run_table.is_same_patches(con, latest, parent):
            return f"{parent_kind} is newer"
    return ""


def _run_facts(con: Connection, row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the headline and the lines of a finished run."""
    kind, manifest, used = row["kind"], row["manifest"], row["settings"]
    if kind == "patches":
        overlap = f"{100 * used['patches']['min_overlap']:g} % rule"
        return f"{manifest['patches']:,} patches", (overlap, f"split seed {used['seed']}")
    if kind == "train":
        if manifest.get("imported"):
            return manifest["architecture"], ("imported", manifest["imported"]["file"])
        epochs = count_text(used["training"]["epochs"], "epoch")
        return manifest["architecture"], (epochs, f"best: epoch {manifest['best_epoch'] + 1}")
    if kind == "evaluate":
        positive = run_table.run_classes(con, row["run"]).positive
        return _evaluation_facts(run_table.load_metrics(con, row["run"], "holdout"), positive)
    if kind == "dissect":
        selected = len(unit_table.selected_unit_ids(con, row["run"]))
        dead = len(manifest["dead_units"])
        return f"{manifest['units']:,} units", (f"{selected} selected", f"{dead} dead")
    explained = unit_table.load_explanations(con, row["run"])
    classes = run_table.run_classes(con, row["run"])
    positive = (explained["predicted"] == classes.positive_code).sum()
    headline = count_text(len(explained), "mammogram")
    return headline, (f"{positive} {classes.positive}", "hold-out and test")


def _evaluation_facts(metrics: pd.DataFrame, positive: str) -> tuple[str, tuple[str, ...]]:
    rows = metrics[
        (metrics["level"] == "patch") & (metrics["class"] == positive) & (metrics["name"] == "auc")
    ]
    if not len(rows):
        return "no patches", ("hold-out", "")
    patients = count_text(int(rows["patients"].iloc[0]), "patient")
    return f"{int(rows['n'].iloc[0]):,} patches", ("hold-out", patients)


def _annotation_card(con: Connection, study: Path) -> StepCard:
    run = unit_table.current_dissection(con)
    if run is None:
        return StepCard(
            kind="annotate",
            title="Annotation",
            state="missing",
            headline="no units yet",
            command="deepminer dissect",
        )
    counts = label_states.annotation_counts(con, run, load_order_of_experts(study))
    progress = annotation_table.annotation_progress_by_expert(con, run)
    return StepCard(
        kind="annotate",
        title="Annotation",
        state="done" if counts["experts"] else "missing",
        headline=f"{counts['units_annotated']} / {counts['units_selected']} units",
        lines=(count_text(counts["experts"], "expert"),),
        made=_to_datetime(progress["last"].max()) if len(progress) else None,
        command="" if counts["experts"] else "deepminer invite annotator",
    )


def _reading_card(con: Connection) -> StepCard:
    states = load_reading_states(con)
    if not states:
        return StepCard(
            kind="reading",
            title="Reading",
            state="missing",
            headline="not designed",
            command="deepminer reading create",
        )
    first = states[0]
    finished = sum(reading.state in RESULT_STATES for reading in states)
    state = "missing"
    if first.state in OPEN_STATES:
        state = "running"
    elif first.state in RESULT_STATES:
        state = "done"
    return StepCard(
        kind="reading",
        title="Reading",
        state=state,
        headline=f"{first.done} / {first.total} answers" if first.total else "no answers yet",
        lines=(
            f"{first.state}, {count_text(first.readers, 'reader')}",
            f"{finished} other finished" if finished and first.state in OPEN_STATES else "",
        ),
        made=first.made,
        command=(
            ""
            if first.state in RESULT_STATES
            else next_command(first.protocol, first.version, first.state)
        ),
        task=_READING_TASKS.get(first.state, ""),
    )


def _report_card(study: Path) -> StepCard:
    exports = provenance.export_records(study)
    command = "deepminer figures all --out exports"
    if not exports:
        return StepCard(
            kind="report",
            title="Report",
            state="missing",
            headline="no figures yet",
            command=command,
        )
    stale = provenance.stale_exports(study, study / "exports")
    names = ", ".join(export.name for export in stale)
    return StepCard(
        kind="report",
        title="Report",
        state="stale" if stale else "done",
        headline=count_text(len(exports), "export"),
        lines=(f"{len(stale)} stale",) if stale else (),
        made=timestamps.modified_at(exports[-1]),
        command=command if stale else "",
        note=f"exports out of date: {names}" if stale else "",
    )


def next_step(cards: Sequence[StepCard]) -> StepCard | None:
    """Return the first step that needs a command; None if every step is complete or at work."""
    return next((c for c in cards if c.state not in ("done", "running") and c.command), None)


def first_command(cards: Sequence[StepCard], kind: str) -> str:
    """Return the command of the first step without a result on the way to a step of the pipeline.

    kind: one of RUN_STEPS. Annotation, reading and report are on no such way.
    """
    path = [card for card in cards if card.kind == "source" or card.kind in RUN_STEPS]
    last = next(i for i, card in enumerate(path) if card.kind == kind)
    empty = (card for card in path[:last] if card.state not in ("done", "stale", "running"))
    return next(empty, path[last]).command


def _to_datetime(value: Any) -> datetime | None:
    """Return a stored time, which pandas may give as Timestamp or NaT."""
    if value is None or pd.isna(value):
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


@dataclass(frozen=True)
class StudyWarning:
    """A weakness of a study, the name of the page that shows it, and the query of its address."""

    sentence: str
    page: str
    query: tuple[tuple[str, str], ...] = ()


def study_warnings(study: Path) -> list[StudyWarning]:
    """Return what weakens the data and units of a study."""
    with store.read(study) as con:
        warnings = []
        if dataset_table.any_image_level_source(con):
            text = "Labels are image-level; every number that rests on them is weak."
            warnings.append(StudyWarning(text, "data"))
        warnings += [
            StudyWarning(TRUTH_BASES[basis], "data")
            for basis in dataset_table.load_truth_bases(con)
            if basis in WEAK_TRUTH_BASES
        ]
        run = run_table.latest_run(con, "dissect")
        if run is not None:
            warnings += _label_warnings(con, run, load_order_of_experts(study))
            warnings += _few_patient_warnings(con, run)
            warnings += _assignment_warnings(con, run)
        opened = run_table.load_log(con, "test split opened")
    if len(opened):
        text = (
            f"The test split was opened {count_text(len(opened), 'time')}, last"
            f" {opened['made'].iloc[0]:%d %b %H:%M}."
        )
        warnings.append(StudyWarning(text, "performance"))
    return warnings


def _assignment_warnings(con: Connection, run: str) -> list[StudyWarning]:
    """Return whether annotators exist, and none names the units of the latest dissection."""
    assignments = assignment_table.load_assignments(con)
    if not assignments or any(run in assigned for assigned in assignments.values()):
        return []
    title = next(one.title for one in unit_table.list_dissections(con) if one.run == run)
    text = (
        f"No annotator names the units of {title}, the latest dissection; the Participants page"
        " assigns it."
    )
    return [StudyWarning(text, "participants")]


def _label_warnings(con: Connection, run: str, order: Sequence[str]) -> list[StudyWarning]:
    """Return where experts who have finished differ, and whether one expert named all units."""
    warnings = []
    disputed = [unit_name(unit) for unit in label_states.disputed_units(con, run)]
    if disputed:
        text = (
            f"Experts differ on {count_text(len(disputed), 'unit')}, which have no label until a"
            f" person decides (Annotations page, Adjudication): {_listed(disputed)}."
        )
        warnings.append(StudyWarning(text, "annotations", (("section", "Adjudication"),)))
    note = label_states.single_expert_note(con, run, order)
    return [*warnings, StudyWarning(note, "annotations")] if note else warnings


def _few_patient_warnings(con: Connection, run: str) -> list[StudyWarning]:
    units, selected = unit_table.load_units(con, run), unit_table.selected_unit_ids(con, run)
    few = units[units["unit"].isin(set(selected)) & (units["top_patients"] < FEW_PATIENTS)]
    if not len(few):
        return []
    names = [f"{unit_name(int(unit.unit))} ({unit.top_patients})" for unit in few.itertuples()]
    text = (
        f"The 32 top patches of {count_text(len(few), 'selected unit')} come from fewer than"
        f" {FEW_PATIENTS} patients: {_listed(names)}."
    )
    return [StudyWarning(text, "units", (("sort", "Fewest patients"),))]


def _listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - MAX_LISTED_UNITS} more" if names[MAX_LISTED_UNITS:] else ""
    return ", ".join(names[:MAX_LISTED_UNITS]) + more
