"""Shared by figures, tables and the report: exports, input runs, the closed reading study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import lineage, store
from core.annotation.unit_categories import with_confirmed_categories
from core.errors import UserError
from core.lexicon.lexicon import Lexicon
from core.store import dataset_table, run_table
from core.store.labels import category_table
from core.store.labels.finished_annotators import load_finished_answers
from core.store.labels.label_sets import DEFAULT_SET
from core.store.reading import protocol_table, reading_table, stage_table
from core.store.reading.protocol_states import next_command
from evaluation.annotation import category_agreement
from evaluation.intervals import METHOD_NAMES
from evaluation.queries import unit_summaries
from evaluation.queries.provenance import (
    MISSING_INPUTS,
    MissingInput,
    ProvenanceRecord,
    closed_protocol,
)
from evaluation.reading_study import ReadingScore, workflow
from evaluation.reading_study.advice.first_stages import with_first_stages
from evaluation.reading_study.design import NO_ADVICE
from evaluation.roc import AucInterval

# Split of every performance figure and table.
REPORTED_SPLIT = "test"
_ScoredStudies = dict[tuple[Path, str, int], tuple[protocol_table.Protocol, ReadingScore]]
_scored_studies: ContextVar[_ScoredStudies | None] = ContextVar("scored_studies", default=None)


@dataclass(frozen=True)
class Export:
    """The result of exporting one figure or table.

    record: its provenance record, or None where it was skipped; then step, reason and command name
    the missing pipeline step, the cause, and the command that supplies it.
    """

    name: str
    record: ProvenanceRecord | None
    step: str = ""
    reason: str = ""
    command: str = ""


def caption_suffix(study: Path, simulated: str) -> str:
    """Return the sentences that every caption and table note must end with, where they apply.

    simulated: names of the simulated parts, "" if there are none.
    """
    weak_labels = (
        " Labels are image-level: every tissue patch carries the diagnosis of its image."
        if lineage.has_image_level_labels(study)
        else ""
    )
    truth = "".join(f" {statement}" for statement in lineage.truth_statements(study))
    mark = f" SIMULATED: {simulated}; not a result about people." if simulated else ""
    return weak_labels + truth + mark


def auc_method_sentence(areas: Iterable[AucInterval]) -> str:
    """Return the sentence that names the methods by which intervals of AUCs were computed."""
    names = dict.fromkeys(METHOD_NAMES.get(area.method, area.method) for area in areas)
    methods = ", ".join(names)
    return f"Intervals of the AUC take patients as clusters ({methods})."


def create_output_folder(path: Path) -> Path:
    """Create the folder for exports if it is missing; UserError where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(
            f"{path} cannot be a folder for exports ({error.strerror}); name another with --out."
        ) from error
    return path


def newest_run(study: Path, kind: str) -> str:
    """Return the newest run of a kind; MissingInput, with its step and command, without one."""
    with store.read(study) as con:
        run = run_table.latest_run(con, kind)
    if run is None:
        raise MissingInput(*MISSING_INPUTS[kind])
    return run


def load_closed_protocol(study: Path) -> protocol_table.Protocol:
    """Return the protocol of the newest closed reading study.

    MissingInput before a study is closed: results of an open study are unavailable. The command it
    carries is the next one in the life of the newest protocol.
    """
    with store.read(study) as con:
        closed = closed_protocol(con)
        if closed is not None:
            return closed
        newest = next(reversed(protocol_table.list_protocols(con)), None)
    if newest is None:
        command = "deepminer reading create"
    else:
        command = next_command(newest.protocol, newest.version, newest.state)
    raise MissingInput("Reading", "no reading study has been closed", command)


def load_closed_study(study: Path) -> tuple[protocol_table.Protocol, ReadingScore]:
    """Return the newest closed reading study with its score."""
    protocol = load_closed_protocol(study)
    remembered = _scored_studies.get()
    if remembered is None:
        return workflow.score_protocol(study, protocol.protocol, protocol.version)
    key = (study, protocol.protocol, protocol.version)
    if key not in remembered:
        remembered[key] = workflow.score_protocol(study, protocol.protocol, protocol.version)
    return remembered[key]


@contextmanager
def remember_scores() -> Iterator[None]:
    """Score a reading study once within the context, as the parts of one report need it.

    Not longer: scoring also checks that the key is the frozen one.
    """
    token = _scored_studies.set({})
    try:
        yield
    finally:
        _scored_studies.reset(token)


def primary_answers(study: Path) -> pd.DataFrame:
    """Return the answers of the primary arm of the closed reading study, without hidden repeats.

    Columns: code (of the reader), case_number, mammogram_id, patient_id, position, answer, seconds
    (of the whole case), malignant (the truth), right, score (of the network). Position 1 is the
    first case after the practice cases.
    """
    protocol = load_closed_protocol(study)
    design = workflow.protocol_design(protocol)
    with store.read(study) as con:
        answers = reading_table.load_reading_answers(con, protocol.protocol, protocol.version)
        cases = reading_table.load_reading_cases(con, protocol.protocol, protocol.version)
        items = reading_table.load_reading_items(con, protocol.protocol, protocol.version)
        if design.advice != NO_ADVICE:
            stages = stage_table.load_stage_answers(con, protocol.protocol, protocol.version)
            answers = with_first_stages(answers, stages)
            answers["seconds"] = answers["total_seconds"]
    table = answers[~answers["repeat"].astype(bool)].merge(cases, on="case_number")
    # Stored positions count the practice cases, which every reader sees first.
    practice = items[items["practice"].astype(bool)].groupby("code")["position"].max()
    table["position"] = table["position"] - table["code"].map(practice).fillna(0).astype(int)
    table = table[table["arm"] == design.arms[0]]
    malignant = table["truth"] == design.positive
    return table.assign(
        malignant=malignant,
        right=malignant == (table["answer"] >= design.threshold),
        score=table["network_score"],
    )


def annotator_agreement(study: Path) -> tuple[list[category_agreement.AgreementEstimate], int]:
    """Return the agreement between annotators who have finished, and their number.

    In the order of the Annotations page: each category, the first category, the overlap of
    categories, hidden repeats. Free text counts with its confirmed categories. MissingInput for
    fewer than two annotators.
    """
    dissect = newest_run(study, "dissect")
    with store.read(study) as con:
        annotations = with_confirmed_categories(
            load_finished_answers(con, dissect),
            category_table.confirmed_categories(con, dissect),
        )
        categories = [c.name for c in dataset_table.load_lexicon(con).categories]
    count = category_agreement.count_experts(annotations)
    if count < 2:
        raise MissingInput(
            "Annotation",
            f"agreement needs two annotators who have finished, and this study has {count}",
            "deepminer invite annotator",
        )
    return [
        *category_agreement.agreement_by_category(annotations, categories),
        category_agreement.first_category_agreement(annotations),
        category_agreement.category_overlap(annotations),
        *category_agreement.repeat_consistency(annotations),
    ], count


def study_lexicon(study: Path) -> Lexicon:
    """Return the lexicon of the study's labels."""
    with store.read(study) as con:
        return dataset_table.load_lexicon(con)


def labelled_units_of_networks(study: Path, label_set: str = DEFAULT_SET) -> pd.DataFrame:
    """Return the labelled units of all dissected networks; MissingInput without any.

    Columns: see `evaluation.queries.unit_summaries.units_by_network_and_category`.
    """
    units = unit_summaries.units_by_network_and_category(study, label_set)
    if not len(units):
        raise MissingInput(*MISSING_INPUTS["labels"])
    return units
