"""Simulated annotations, label audit and reading study of the demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core import store
from core.annotation import simulated_experts
from core.errors import UserError
from core.images.working_images import WorkingImages
from core.pipeline import phantom_concepts
from core.store import (
    annotation_table,
    audit_table,
    dataset_table,
    participant_table,
    run_table,
    unit_table,
)
from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import DRAFT_STATES
from evaluation.annotation import audit_workflow
from evaluation.reading_study import design_preset, reader_order, workflow
from evaluation.reading_study.leakage_issues import LeakageIssue, has_errors

SIMULATED_STUDY, SIMULATED_READER = "Simulated demonstration", "SIM-reader"
OPEN_STUDY = "Open demonstration"
AUDITED_PATCHES = 6  # per kind and unit
SIMULATED_EXPERTS = (("SIM-careful", True), ("SIM-sloppy", False))  # code, careful
# Seed 1 belongs to the simulated study.
OPEN_STUDY_SEEDS = range(2, 12)


def simulate_annotations(study: Path, dissect: str) -> None:
    """Add the answers of two simulated experts to every selected unit that lacks them."""
    with store.read(study) as con:
        shares = phantom_concepts.concept_shares_by_unit(
            unit_table.load_concepts(con, _concepts_run(con, dissect))
        )
        selected = unit_table.selected_unit_ids(con, dissect)
        annotations = annotation_table.load_annotations(con, dissect)
        answered = {(row.code, int(row.unit)) for row in annotations.itertuples()}
        codes = set(participant_table.load_participants(con)["code"])
    with store.write(study) as con:
        for number, (code, careful) in enumerate(SIMULATED_EXPERTS):
            if code not in codes:
                participant_table.add_participant(
                    con, code, "annotator", simulated=True, dissection=dissect
                )
            for unit in selected:
                if (code, unit) in answered:
                    continue
                # One stream per expert and unit: an answer does not depend on earlier ones.
                rng = np.random.default_rng([number, unit])
                answer = simulated_experts.simulate_annotation(
                    shares.get(unit, []), rng, careful=careful
                )
                annotation_table.append_annotation(
                    con,
                    run=dissect,
                    unit=unit,
                    code=code,
                    answer=answer,
                    # Right-skewed, as times of reading are; the mean is 23 seconds.
                    seconds=float(np.round(rng.gamma(9, 2.6), 1)),
                    annotation_id=f"{dissect}-{code}-{unit}",
                    simulated=True,
                )


def _concepts_run(con: Connection, dissect: str) -> str:
    run = run_table.latest_run(con, "concepts", dissect)
    if run is None:
        raise UserError(
            "Simulated experts need a phantom study; invite annotators to this study instead."
        )
    return run


def simulate_audit(study: Path) -> None:
    """Add a label audit that both simulated experts have answered, and end it."""
    if audit_workflow.latest_audit(study) is not None:
        return
    audit = audit_workflow.start_audit(study, AUDITED_PATCHES, 1, SIMULATED_READER)
    with store.read(study) as con:
        items = audit_table.load_audit_items(con, audit.audit)
        patches = dataset_table.load_patches_by_id(
            con,
            run_table.ancestor(con, audit.run, "patches"),
            sorted({item.patch_id for item in items}),
        )
    images = WorkingImages(study)
    # Copies: a view would keep one file open for each patch.
    masks = {
        patch.patch_id: np.array(
            images.concepts(patch.file)[
                patch.y : patch.y + patch.side, patch.x : patch.x + patch.side
            ]
        )
        for patch in patches.itertuples()
    }
    with store.write(study) as con:
        for number, (code, _) in enumerate(SIMULATED_EXPERTS):
            # The first number separates these streams from those of annotations and readings.
            rng = np.random.default_rng([55, number])
            for item in items:
                judgement = simulated_experts.simulate_audit_judgement(
                    item.label, masks[item.patch_id], rng
                )
                audit_table.append_audit_answer(
                    con,
                    audit.audit,
                    code,
                    item.item,
                    1,
                    judgement,
                    float(np.round(rng.gamma(5, 0.8), 1)),
                    simulated=True,
                )
    audit_workflow.end_audit(study, SIMULATED_READER)


def freeze_open_study(study: Path) -> None:
    """Freeze a reading study without answers, so that an invited reader finds cases to read.

    The first seed whose design passes the leakage check is used.
    """
    with store.read(study) as con:
        protocols = protocol_table.list_protocols(con)
    # A draft was left by an interrupted build and is made again.
    if any(p.protocol == OPEN_STUDY and p.state not in DRAFT_STATES for p in protocols):
        return
    # A clean design can fail the check by chance.
    for seed in OPEN_STUDY_SEEDS:
        design = design_preset("Recommended", name=OPEN_STUDY, repeats=4, seed=seed)
        workflow.create_protocol(study, OPEN_STUDY, design, "demo")
        _, issues = workflow.check_protocol(study, OPEN_STUDY, "demo")
        if not has_errors(issues):
            reasons = _accept_warnings(issues, "demonstration")
            workflow.freeze_protocol(study, OPEN_STUDY, "demo", reasons)
            return
    raise UserError(
        f"No design of {OPEN_STUDY!r} passes the leakage check; run `deepminer reading create` with"
        " another design."
    )


def _accept_warnings(issues: Sequence[LeakageIssue], reason: str) -> dict[str, str]:
    return {issue.field: reason for issue in issues if issue.severity == "warning"}


def simulate_reading(study: Path) -> None:
    """Add a small reading study with a simulated reader, and close it."""
    with store.read(study) as con:
        protocols = protocol_table.list_protocols(con)
    if any(p.protocol == SIMULATED_STUDY for p in protocols):
        return
    design = design_preset("Recommended", name=SIMULATED_STUDY, readers=1, repeats=4, seed=1)
    workflow.create_protocol(study, SIMULATED_STUDY, design, SIMULATED_READER, simulated=True)
    _, issues = workflow.check_protocol(study, SIMULATED_STUDY, SIMULATED_READER)
    reasons = _accept_warnings(issues, "simulated demonstration")
    frozen = workflow.freeze_protocol(study, SIMULATED_STUDY, SIMULATED_READER, reasons)
    with store.write(study) as con:
        participant_table.add_participant(con, SIMULATED_READER, "reader", simulated=True)
        cases = reading_table.load_reading_cases(con, frozen.protocol, frozen.version)
        order = reader_order(cases, design, SIMULATED_READER)
        reading_table.assign_reading_order(
            con,
            frozen.protocol,
            frozen.version,
            SIMULATED_READER,
            [reading_table.ReadingItem(number, repeat=repeat) for number, repeat in order],
        )
        texts = dict(zip(cases["case_number"], cases["texts"]))
        for position, (number, _) in enumerate(order, start=1):
            rng = np.random.default_rng([99, position])
            reading_table.append_reading_answer(
                con,
                protocol=frozen,
                code=SIMULATED_READER,
                position=position,
                revision=1,
                answer=simulated_experts.simulate_reader_score(texts[number], design.scale, rng),
                seconds=float(np.round(rng.gamma(6, 1.4), 1)),
                simulated=True,
            )
    workflow.close_protocol(study, SIMULATED_STUDY, SIMULATED_READER, confirm=SIMULATED_STUDY)
