"""Protocols of a reading study: create their versions, and append states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core import lineage, store
from core.errors import UserError
from core.settings import load_order_of_experts
from core.store.connection import Connection
from core.store.labels import label_sets
from core.store.labels.label_states import states_sentence
from core.store.reading import bundle_table, protocol_table, reading_table
from core.store.reading.protocol_states import DESIGN, DRAFT_STATES
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import ReadingCase
from evaluation.reading_study.case_selection import CaseFlow, choose_cases
from evaluation.reading_study.design import MALIGNANT, Design, design_from_dict
from evaluation.reading_study.workflow.candidates import candidate_images, study_design

# Keys that the store keeps beside the settings of the design and that the hash does not cover.
STORED_EXTRAS = ("flow", "reasons", "told", "practice", "practice_advice", "labels")


@dataclass(frozen=True)
class DesignedProtocol:
    """A designed version of a protocol with its sealed key and the flow of the case selection."""

    protocol: str
    version: int
    cases: pd.DataFrame
    flow: CaseFlow


def require_original_study(con: Connection) -> None:
    """Raise a UserError in a site bundle, which holds no truth."""
    if bundle_table.bundle_identity(con) is not None:
        raise UserError(
            "This is a site bundle without ground truth. Design, close and score the study in the"
            " original study folder. Write the answers of this site with"
            " `deepminer reading export-answers FILE`."
        )


def protocol_design(protocol: Protocol) -> Design:
    """Return the design of a stored protocol."""
    return design_from_dict({k: v for k, v in protocol.design.items() if k not in STORED_EXTRAS})


def append_next_state(
    con: Connection,
    protocol: Protocol,
    state: str,
    user: str,
    *,
    design: Mapping[str, Any] | None = None,
    lint: Sequence[Mapping[str, Any]] | None = None,
    hash: str | None = None,
    content: Mapping[str, str] | None = None,
) -> None:
    """Store the next state of a protocol; what is not given stays as it was."""
    protocol_table.append_protocol_state(
        con,
        protocol=protocol.protocol,
        version=protocol.version,
        state=state,
        design=protocol.design if design is None else design,
        lint=protocol.lint if lint is None else lint,
        hash=protocol.hash if hash is None else hash,
        run=protocol.run,
        simulated=protocol.simulated,
        actor=user,
        content=protocol.content if content is None else content,
    )


def create_protocol(
    study: Path,
    protocol: str,
    design: Design,
    user: str,
    *,
    explain: str | None = None,
    simulated: bool = False,
) -> DesignedProtocol:
    """Choose the cases of a design and store them as the open version of a protocol.

    Parameters
    ----------
    study : Path
        The study folder.
    protocol : str
        Name of the reading study. A version that is not frozen yet is replaced and its leakage
        check discarded; otherwise a new version is added. Versions count from 1.
    design : Design
        The design; the classes that it compares are those of the study.
    user : str
        Code of the acting person.
    explain : str, optional
        Explain run; default the latest.
    simulated : bool
        Whether the readers are simulated.

    Returns
    -------
    DesignedProtocol

    Raises
    ------
    UserError
        If the study is a site bundle, has no explain run, or has too few eligible images.
    """
    with store.read(study) as con:
        require_original_study(con)
    run = lineage.resolve_run(study, "explain", explain)
    # Outside the transaction: the selection reads many rows and must not hold the write lock.
    design = study_design(study, run, design)
    cases, flow = choose_cases(candidate_images(study, run, design), design)
    settings = design.as_dict() | {
        "flow": [list(step) for step in flow.steps],
        "labels": _label_sentence(study, run, design),
    }
    with store.write(study) as con:
        versions = [p for p in protocol_table.list_protocols(con) if p.protocol == protocol]
        unfrozen = next((p.version for p in versions if p.state in DRAFT_STATES), None)
        version = unfrozen or max((p.version for p in versions), default=0) + 1
        protocol_table.append_protocol_state(
            con,
            protocol=protocol,
            version=version,
            state=DESIGN,
            design=settings | _prevalence_instruction(cases, design),
            run=run,
            simulated=simulated,
            actor=user,
        )
        rows = [_reading_case(row) for row in cases.to_dict("records")]
        reading_table.add_reading_cases(con, protocol, version, rows)
    return DesignedProtocol(protocol, version, cases, flow)


def _label_sentence(study: Path, explain: str, design: Design) -> str:
    """Return which labels the texts consist of, and their states now, for reports."""
    dissect = lineage.ancestor_run(study, explain, "dissect")
    order = load_order_of_experts(study)
    with store.read(study) as con:
        labels = label_sets.find_label_set(con, dissect, design.label_set, order)
    if not labels:
        return label_sets.set_sentence(design.label_set)
    states = states_sentence(label.state for label in labels.values())
    return f"{label_sets.set_sentence(design.label_set)} {states}"


def frozen_label_sentence(protocol: Protocol) -> str:
    """Return the label set of a protocol and the states of its labels when it was designed.

    A protocol of an earlier version states the rule by which labels were chosen then.
    """
    recorded = protocol.design.get("labels")
    return recorded or label_sets.earlier_set_sentence(protocol_design(protocol).label_set)


def _prevalence_instruction(cases: pd.DataFrame, design: Design) -> dict[str, str]:
    """Return the sentence about prevalence for the readers' instructions, if the design has one."""
    if not design.prevalence_told:
        return {}
    percentage = 100 * float((cases["truth"] == design.positive).mean())
    return {
        "told": (
            f"Of every 100 cases, about {percentage:.0f} come from a breast with a malignant"
            " finding."
            if design.positive == MALIGNANT
            else f"Of every 100 cases, about {percentage:.0f} are {design.positive}."
        )
    }


def _reading_case(row: Mapping[str, Any]) -> ReadingCase:
    """Return a row of the sealed key as the store takes it."""
    return ReadingCase(
        number=int(row["case_number"]),
        mammogram_id=row["mammogram_id"],
        patient_id=row["patient_id"],
        arm=row["arm"],
        texts=tuple(row["texts"]),
        truth=row["truth"],
        network_score=float(row["network_score"]),
        predicted=row["predicted"],
        block=int(row["block"]),
        # pandas reads None in a column of texts as a missing value.
        advice=row["advice"] if isinstance(row.get("advice"), str) else None,
    )
