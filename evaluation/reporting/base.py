"""Shared by figures, tables and the report: exports, input runs, the closed reading study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import lineage, store
from core.errors import UserError
from core.store import annotation_table, protocol_table, reading_table, run_table
from evaluation.annotation import category_agreement
from evaluation.queries.provenance import (
    MISSING_INPUTS,
    MissingInput,
    ProvenanceRecord,
    closed_protocol,
)
from evaluation.reading_study import ReadingScore, workflow

# Split of every performance figure and table.
REPORTED_SPLIT = "test"


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
        " Labels are image-level: every tissue patch carries the diagnosis of its mammogram."
        if lineage.has_image_level_labels(study)
        else ""
    )
    mark = f" SIMULATED: {simulated}; not a result about people." if simulated else ""
    return weak_labels + mark


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
        newest = next(reversed(protocol_table.list_protocols(con)), None)
    if closed is not None:
        return closed
    if newest is None:
        command = "deepminer reading create"
    else:
        command = f"deepminer reading {'close' if newest.state == 'frozen' else 'freeze'}"
    raise MissingInput("Reading", "no reading study has been closed", command)


def load_closed_study(study: Path) -> tuple[protocol_table.Protocol, ReadingScore]:
    """Return the newest closed reading study with its score."""
    protocol = load_closed_protocol(study)
    return workflow.score_protocol(study, protocol.protocol)


def primary_answers(study: Path) -> pd.DataFrame:
    """Return the answers of the primary arm of the closed reading study, without hidden repeats.

    Columns: code (of the reader), case_number, mammogram_id, patient_id, position, answer, seconds,
    malignant (the truth), right, score (of the network). Position 1 is the first case after the
    practice cases.
    """
    protocol = load_closed_protocol(study)
    design = workflow.protocol_design(protocol)
    with store.read(study) as con:
        answers = reading_table.load_reading_answers(con, protocol.protocol, protocol.version)
        cases = reading_table.load_reading_cases(con, protocol.protocol, protocol.version)
        items = reading_table.load_reading_items(con, protocol.protocol, protocol.version)
    table = answers[~answers["repeat"].astype(bool)].merge(cases, on="case_number")
    # Stored positions count the practice cases, which every reader sees first.
    practice = items[items["practice"].astype(bool)].groupby("code")["position"].max()
    table["position"] = table["position"] - table["code"].map(practice).fillna(0).astype(int)
    table = table[table["arm"] == design.arms[0]]
    malignant = table["truth"] == "malignant"
    return table.assign(
        malignant=malignant,
        right=malignant == (table["answer"] >= design.threshold),
        score=table["network_score"],
    )


def annotator_agreement(study: Path) -> tuple[list[category_agreement.AgreementEstimate], int]:
    """Return the agreement between annotators, and the number of annotators.

    In the order of the Annotations page: each category, the first category, the overlap of
    categories, hidden repeats. MissingInput for fewer than two annotators.
    """
    dissect = newest_run(study, "dissect")
    with store.read(study) as con:
        annotations = annotation_table.load_annotations(con, dissect)
    count = category_agreement.count_experts(annotations)
    if count < 2:
        raise MissingInput(
            "Annotation",
            f"agreement needs at least two annotators, and this study has {count}",
            "deepminer invite annotator",
        )
    return [
        *category_agreement.agreement_by_category(annotations),
        category_agreement.first_category_agreement(annotations),
        category_agreement.category_overlap(annotations),
        *category_agreement.repeat_consistency(annotations),
    ], count
