"""The demonstration: a phantom study with every step and, unless people are to do it, simulated
experts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core import settings, store, study_folder
from core.annotation import simulated_experts
from core.errors import UserError
from core.images.working_images import Films
from core.pipeline import dissect, explain, ingest, patches, phantom_concepts, train
from core.settings import Settings
from core.store import (
    annotation_table,
    audit_table,
    dataset_table,
    participant_table,
    reading_table,
    run_table,
    unit_table,
)
from dashboard.commands.common import progress
from evaluation.annotation import audit_workflow
from evaluation.pipeline import ablate, coverage, descriptor_association, evaluate
from evaluation.reading_study import order_of, preset, workflow

PATIENTS, QUICK_PATIENTS = 200, 80
READING, READER = "Simulated demonstration", "SIM-reader"
OPEN = "Open demonstration"
AUDITED = 6
EXPERTS = (("SIM-careful", True), ("SIM-sloppy", False))


def settings_for(quick: bool) -> Settings:
    """Settings of the demonstration: the phantom's, smaller when quick."""
    chosen = settings.preset(settings.PHANTOM).changed("study", name="Phantom demonstration")
    if quick:
        chosen = chosen.changed("training", epochs=10, units=64)
    return chosen


def build(folder: Path, *, quick: bool, experts: bool) -> Path:
    """Make the study, or finish one that was begun; a finished one is answered from what is there."""
    chosen = settings_for(quick)
    if (folder / settings.SETTINGS_NAME).exists():
        study_folder.require(folder)
        if settings.load(folder).study.name != chosen.study.name:
            raise UserError(
                f"{folder} is a study of your own; name another folder for the demonstration."
            )
        chosen = settings.load(folder)
    else:
        study_folder.init(folder, chosen)
    with progress("mammograms") as report:
        ingest.ingest(
            folder,
            chosen,
            "phantom",
            None,
            report,
            workers=2,
            patients=QUICK_PATIENTS if quick else PATIENTS,
            seed=chosen.study.seed,
            width=4 * chosen.images.input_side,
            contrast=1.3 if quick else 1.0,
        )
    for title, step in (("patches", patches), ("train", train)):
        with progress(title) as report:
            step.make(folder, chosen, report)
    with progress("evaluate") as report:
        evaluate.make(folder, report)
    with progress("dissect") as report:
        dissected = dissect.make(folder, chosen, report).run
        coverage.make(folder, report, dissected)
        descriptor_association.make(folder, report, dissected)
        phantom_concepts.make(folder, report, dissected)
    with progress("explain") as report:
        explain.make(folder, chosen, report)
    if experts:
        simulate_annotations(folder, dissected)
        simulate_audit(folder)
    with progress("ablate") as report:
        ablate.make(folder, report, dissected)
    if experts:
        open_reading(folder)
        simulate_reading(folder)
    return folder


def simulate_annotations(folder: Path, dissected: str) -> None:
    """Two simulated experts answer on every selected unit, once."""
    with store.read(folder) as con:
        shares = phantom_concepts.from_table(
            unit_table.concepts(con, _concepts_run(con, dissected))
        )
        selected = annotation_table.selected_units(con, dissected)
        done = {
            (row.code, int(row.unit))
            for row in annotation_table.answers(con, dissected).itertuples()
        }
        codes = set(participant_table.people(con)["code"])
    with store.write(folder) as con:
        for number, (code, careful) in enumerate(EXPERTS):
            if code not in codes:
                participant_table.add(con, code, "annotator", simulated=True)
            for unit in selected:
                if (code, unit) in done:
                    continue
                rng = np.random.default_rng([number, unit])
                said = simulated_experts.answer(shares.get(unit, []), rng, careful=careful)
                annotation_table.append(
                    con,
                    run=dissected,
                    unit=unit,
                    code=code,
                    answer=said,
                    seconds=float(np.round(rng.gamma(9, 2.6), 1)),
                    annotation_id=f"{dissected}-{code}-{unit}",
                    simulated=True,
                )


def _concepts_run(con: store.connection.duckdb.DuckDBPyConnection, dissected: str) -> str:
    run = run_table.latest(con, "concepts", dissected)
    if run is None:
        raise UserError(
            "The simulated experts need a phantom study; leave annotation to people here."
        )
    return run


def simulate_audit(folder: Path) -> None:
    """The two simulated experts judge blindly whether patches show what the units are called; the
    audit is then ended.
    """
    if audit_workflow.newest(folder) is not None:
        return
    made = audit_workflow.start(folder, AUDITED, 1, READER)
    with store.read(folder) as con:
        items = audit_table.items(con, made.audit)
        rows = dataset_table.patches_by_id(
            con,
            annotation_table.patches_run(con, made.run) or "",
            sorted({i.patch_id for i in items}),
        )
    masks, films = {}, Films(folder)
    for row in rows.itertuples():
        masks[row.patch_id] = np.asarray(
            films.concepts(row.file)[row.y : row.y + row.side, row.x : row.x + row.side]
        )
    with store.write(folder) as con:
        for number, (code, _) in enumerate(EXPERTS):
            rng = np.random.default_rng([55, number])
            for item in items:
                said = simulated_experts.judgement(item.label, masks[item.patch_id], rng)
                audit_table.append_answer(
                    con,
                    made.audit,
                    code,
                    item.item,
                    1,
                    said,
                    float(np.round(rng.gamma(5, 0.8), 1)),
                    simulated=True,
                )
    audit_workflow.end(folder, READER)


def open_reading(folder: Path) -> None:
    """A frozen reading study that nobody has read, so that an invited person has something to read.

    The first seed whose design passes the linter is taken.
    """
    with store.read(folder) as con:
        if any(
            p.protocol == OPEN and p.state not in ("design", "lint")
            for p in reading_table.protocols(con)
        ):
            return
    for seed in range(2, 12):
        workflow.create(
            folder, OPEN, preset("Recommended", name=OPEN, repeats=4, seed=seed), "demo"
        )
        _, findings = workflow.run_lint(folder, OPEN, "demo")
        if not workflow.stops(findings):
            workflow.freeze(
                folder,
                OPEN,
                "demo",
                {f.field: "demonstration" for f in findings if f.severity == "warning"},
            )
            return
    raise UserError(
        f"No design of {OPEN!r} passes the linter; run `deepminer reading create` with a design of"
        " your own."
    )


def simulate_reading(folder: Path) -> None:
    """A simulated reader takes a small reading study, which is then closed."""
    with store.read(folder) as con:
        if any(p.protocol == READING for p in reading_table.protocols(con)):
            return
    design = preset("Recommended", name=READING, readers=1, repeats=4, seed=1)
    workflow.create(folder, READING, design, READER, simulated=True)
    _, findings = workflow.run_lint(folder, READING, READER)
    frozen = workflow.freeze(
        folder,
        READING,
        READER,
        {f.field: "simulated demonstration" for f in findings if f.severity == "warning"},
    )
    with store.write(folder) as con:
        participant_table.add(con, READER, "reader", simulated=True)
        cases = reading_table.cases(con, frozen.protocol, frozen.version)
        order = order_of(cases, design, READER)
        reading_table.assign(
            con,
            frozen.protocol,
            frozen.version,
            READER,
            [reading_table.Item(number, repeat=again) for number, again in order],
        )
        texts = dict(zip(cases["case_number"], cases["texts"]))
        for position, (number, _) in enumerate(order, start=1):
            rng = np.random.default_rng([99, position])
            reading_table.append_answer(
                con,
                protocol=frozen,
                code=READER,
                position=position,
                revision=1,
                answer=simulated_experts.reading(texts[number], design.scale, rng),
                seconds=float(np.round(rng.gamma(6, 1.4), 1)),
                simulated=True,
            )
    workflow.close(folder, READING, READER)
