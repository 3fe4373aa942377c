"""`deepminer reading plan`: power over readers and cases."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UserError
from dashboard.commands.common import JsonOption, StudyOption, emit_result, resolve_study

if TYPE_CHECKING:
    from evaluation.power import StudyPower

plan_app = typer.Typer()


@plan_app.command("plan")
def plan_command(
    study: StudyOption = Path("."),
    endpoint: Annotated[
        str, typer.Option(help="proportion, auc, auc_difference or advice_change")
    ] = "auc",
    expected: Annotated[
        float | None,
        typer.Option(help="expected proportion correct, AUC, or difference or change in mean AUC"),
    ] = None,
    readers: Annotated[
        int | None, typer.Option(help="number of readers; by default a table over several", min=1)
    ] = None,
    cases: Annotated[
        int | None, typer.Option(help="number of cases; by default a table over several", min=4)
    ] = None,
    images_per_patient: Annotated[int, typer.Option(help="cases of each patient", min=1)] = 1,
    same_image: Annotated[
        float | None, typer.Option(help="correlation of two readers' answers to one image")
    ] = None,
    same_patient: Annotated[
        float | None, typer.Option(help="correlation of answers to two images of one patient")
    ] = None,
    auc: Annotated[
        float | None,
        typer.Option(
            help="expected mean AUC of both arms, or of first and final answers, for a difference"
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="significance level")] = 0.05,
    two_sided: Annotated[bool, typer.Option("--two-sided", help="test both sides")] = False,
    pilot: Annotated[
        str | None,
        typer.Option(help="closed reading study whose answers give the assumptions"),
    ] = None,
    pilot_version: Annotated[
        int | None, typer.Option(help="its version; needed where it has more than one")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan a reading study: the power for numbers of readers and cases.

    Assumptions that are not given come from the pilot study, or from published averages.
    """
    from evaluation.power import (
        DEFAULT_PATIENTS,
        DEFAULT_READERS,
        ENDPOINTS,
        PAIRED_ENDPOINTS,
        StudyPower,
        power_table,
        read_plan,
    )

    path = resolve_study(study) if pilot is not None else study
    try:
        plan = StudyPower(endpoint=endpoint, expected=0.05 if endpoint in PAIRED_ENDPOINTS else 0.6)
        if pilot is not None:
            plan = _pilot_plan(path, pilot, pilot_version, endpoint)
        plan = read_plan(
            plan,
            expected=expected,
            same_image=same_image,
            same_patient=same_patient,
            auc=auc,
            alpha=alpha,
            two_sided=two_sided,
        )
        patients = DEFAULT_PATIENTS if cases is None else (max(2, cases // images_per_patient),)
        table = power_table(
            plan,
            patients,
            DEFAULT_READERS if readers is None else (readers,),
            (images_per_patient,),
        )
    except ValueError as error:
        raise UserError(f"The study cannot be planned: {error}.") from error
    mean = f" around a mean AUC of {plan.auc:g}" if endpoint in PAIRED_ENDPOINTS else ""
    lines = [
        f"Power of the {ENDPOINTS[endpoint]}, expected {plan.expected:g}{mean}, {plan.side}, alpha"
        f" {plan.alpha:g}:"
    ]
    by_patients = table.pivot_table(index="patients", columns="readers", values="power")
    lines.append("patients  " + "  ".join(f"{r:>3} readers" for r in by_patients.columns))
    lines += [
        f"{count:>8}  " + "  ".join(f"{power:>11.2f}" for power in row)
        for count, row in zip(by_patients.index, by_patients.to_numpy(), strict=True)
    ]
    result = {"assumptions": asdict(plan), "table": table.to_dict("records")}
    emit_result("reading plan", path, result, as_json, "\n".join(lines))


def _pilot_plan(path: Path, pilot: str, version: int | None, endpoint: str) -> StudyPower:
    from evaluation.power import pilot_plan
    from evaluation.reading_study.joined_answers import join_answers
    from evaluation.reading_study.workflow.scores import load_closed_study

    closed = load_closed_study(path, pilot, version)
    joined = join_answers(closed.answers, closed.key, closed.design)
    return replace(pilot_plan(joined, endpoint, closed.design.arms), power=None)
