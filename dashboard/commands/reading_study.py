"""`deepminer reading`: the blinded study from design to score, and replay of a published one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import UserError
from core.sessions.arms import ARMS
from dashboard.commands.common import (
    CommandGroup,
    JsonOption,
    StudyOption,
    command_actor,
    emit_result,
    resolve_study,
)
from dashboard.commands.verify import (
    DepositOption,
    check_deposit_file,
    deposit_study_evidence,
)

reading_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help=(
        "The blinded reading study: design, lint, freeze, close, score; replay of a published one."
    ),
)
ProtocolOption = Annotated[
    str | None,
    typer.Option("--protocol", help="name of the study; by default the one that changed last"),
]
VersionOption = Annotated[
    int | None,
    typer.Option("--version", help="version of the study; needed where it has more than one"),
]


@reading_app.command("create")
def create_command(
    study: StudyOption = Path("."),
    name: Annotated[
        str, typer.Option("--protocol", help="name of the reading study")
    ] = "Reading study",
    design: Annotated[
        str,
        typer.Option("--preset", help='"Recommended", "DeepMiner 2021" or "Reading with advice"'),
    ] = "Recommended",
    readers: Annotated[int | None, typer.Option(help="planned readers")] = None,
    cases_per_class: Annotated[
        int | None, typer.Option(help="cases of each class; by default as many as available")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, holdout or test")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of cases and orders")] = None,
    arms: Annotated[
        str | None,
        typer.Option(help=f"arms separated by commas, the primary one first: {', '.join(ARMS)}"),
    ] = None,
    truth_rule: Annotated[
        str | None,
        typer.Option(
            help="folder, first_abnormality or any_malignant; by default that of the preset"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help=(
                "any other setting of the design as NAME=VALUE, such as side=two-sided; may be"
                " repeated"
            ),
        ),
    ] = None,
    tell_prevalence: Annotated[
        bool, typer.Option("--tell-prevalence", help="inform readers of the malignant share")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Design a version: select cases and their texts. It can be changed until it is frozen."""
    from core.store.reading.protocol_states import DESIGN, next_command
    from evaluation.intervals import count_text, decimal
    from evaluation.reading_study import design_power, planned_power, workflow
    from evaluation.reading_study.design import (
        design_preset,
        least_patients,
        parse_design_settings,
        power_assumption,
    )

    path = resolve_study(study)
    options: dict[str, Any] = {
        "readers": readers,
        "cases_per_class": cases_per_class,
        "split": split,
        "seed": seed,
        "truth_rule": truth_rule,
        "prevalence_told": tell_prevalence or None,
        "arms": None if arms is None else tuple(arm.strip() for arm in arms.split(",")),
    }
    # None is an option that was not given, but a value of a setting.
    changes = {key: value for key, value in options.items() if value is not None}
    changes |= parse_design_settings(settings or [])
    chosen = design_preset(design, name=name, **changes)
    created = workflow.create_protocol(path, name, chosen, command_actor())
    # The primary arm is tested; texts of the other arms do not add to its power.
    primary = int((created.cases["arm"] == chosen.arms[0]).sum())
    patients = created.cases.loc[created.cases["arm"] == chosen.arms[0], "patient_id"].nunique()
    has_power = patients >= least_patients(chosen)
    plan = design_power(chosen, patients, primary) if has_power else None
    power = None if plan is None else plan.power
    sample_size = planned_power(chosen, primary)[1]
    result = {
        "protocol": name,
        "version": created.version,
        "cases": len(created.cases),
        "primary_cases": primary,
        "flow": created.flow,
        "power": power,
        "sample_size": sample_size,
    }
    planned = (
        f"No power can be computed for {count_text(patients, 'patient')} of the primary arm; it"
        f" needs at least {least_patients(chosen)}."
        if plan is None
        else f"Power {decimal(power, 2)} of the {plan.side} test for {power_assumption(chosen)}."
    )
    text = (
        f"{name}, version {created.version}: {count_text(len(created.cases), 'case')}, {primary} of"
        f" them in the primary arm. {created.flow.sentence()} {planned} Next:"
        f" {next_command(name, created.version, DESIGN)}"
    )
    emit_result("reading create", path, result, as_json, text)


@reading_app.command("lint")
def lint_command(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    version: VersionOption = None,
    reviewed: Annotated[
        str,
        typer.Option(help="conclusion of your review of the cases whose truth rules differ"),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Check whether the design reveals the truth or weakens the result."""
    from core.store.reading.protocol_states import next_command
    from evaluation.reading_study import workflow
    from evaluation.reading_study.leakage_issues import has_errors

    path = resolve_study(study)
    checked, issues = workflow.check_protocol(
        path, protocol, command_actor(), reviewed, version=version
    )
    stops = has_errors(issues)
    result = {
        "protocol": checked.protocol,
        "version": checked.version,
        "stops": stops,
        "lint": [issue.as_dict() for issue in issues],
    }
    lines = [issue.sentence() for issue in issues]
    lines.append(
        "Errors stop this study: change the design."
        if stops
        else f"Next: {next_command(checked.protocol, checked.version, checked.state)}"
    )
    emit_result("reading lint", path, result, as_json, "\n".join(lines))


def _parse_reasons(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if any(not separator for _, separator, _ in pairs):
        raise UserError(
            "--reason takes FIELD=why, such as --reason 'texts=one label dominates by design'."
        )
    fields = [field.strip() for field, _, _ in pairs]
    repeated = next((field for field in fields if fields.count(field) > 1), None)
    if repeated is not None:
        raise UserError(
            f"--reason is given twice for {repeated}; write one reason for all its warnings, or"
            " freeze on the Reading study page, which asks for each."
        )
    return {field.strip(): reason.strip() for field, _, reason in pairs}


@reading_app.command("freeze")
def freeze_command(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    version: VersionOption = None,
    deposit: DepositOption = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            help=(
                "FIELD=why the warnings about this field are accepted; every field with a warning"
                " needs one"
            )
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze the checked version: readers can read it, and it cannot be changed any more."""
    from evaluation.reading_study import workflow

    path, reasons = resolve_study(study), _parse_reasons(reason or [])
    check_deposit_file(deposit)
    frozen = workflow.freeze_protocol(path, protocol, command_actor(), reasons, version=version)
    result = {
        "protocol": frozen.protocol,
        "version": frozen.version,
        "hash": frozen.hash,
        "content_hash": frozen.content_hash,
    }
    text = (
        f"{frozen.protocol}, version {frozen.version}, is frozen. Protocol hash (design and sealed"
        f" key): {frozen.hash}\nContent hash (also what readers see, and the reasons):"
        f" {frozen.content_hash}"
    )
    emit_result("reading freeze", path, result, as_json, text)
    deposit_study_evidence(path, deposit)


@reading_app.command("look")
def look_command(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    version: VersionOption = None,
    confirm: Annotated[
        str | None,
        typer.Option(help="the study's name, to confirm; asked for where it is not given"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take the next planned interim look: tells whether the study stops, and no estimate. Logged.

    If the look crosses its boundary, the study is closed.
    """
    from core import store
    from core.store.reading.protocol_states import next_command
    from evaluation.intervals import decimal, percent
    from evaluation.reading_study import workflow

    path = resolve_study(study)
    if confirm is None:
        with store.read(path) as con:
            current = workflow.find_protocol(con, protocol, version)
        confirm = _ask_for_name(
            f"An interim look at {current.protocol}, version {current.version}, spends a part of"
            " alpha and can close the study",
            current.protocol,
        )
    seen, decided = workflow.take_interim_look(
        path, protocol, command_actor(), confirm=confirm, version=version
    )
    result = {
        "protocol": seen.protocol,
        "version": seen.version,
        "look": decided.number,
        "information": decided.information,
        "boundary": decided.boundary,
        "stop": decided.stops,
    }
    text = (
        f"{seen.protocol}, version {seen.version}: look {decided.number} at"
        f" {percent(decided.information)} of the planned answers, boundary P"
        f" {decimal(decided.boundary, 4)}: {'stop' if decided.stops else 'continue'}."
    )
    if decided.stops:
        text += (
            f" The study is closed. Next: {next_command(seen.protocol, seen.version, seen.state)}"
        )
    emit_result("reading look", path, result, as_json, text)


@reading_app.command("close")
def close_command(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    version: VersionOption = None,
    deposit: DepositOption = None,
    confirm: Annotated[
        str | None,
        typer.Option(help="the study's name, to confirm; asked for where it is not given"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Close and unblind: end answering and open the results, for good. Logged.

    Missing answers are named before.
    """
    from core import store
    from core.store.reading.protocol_states import OPEN_STATES, next_command
    from evaluation.reading_study import workflow

    path = resolve_study(study)
    check_deposit_file(deposit)
    with store.read(path) as con:
        current = workflow.find_protocol(con, protocol, version)
        warning = (
            workflow.unanswered_sentence(con, current.protocol, current.version)
            if current.state in OPEN_STATES
            else ""
        )
    if warning:
        typer.echo(f"Warning: {warning}", err=True)
    if confirm is None:
        confirm = _ask_for_name(
            f"Closing {current.protocol}, version {current.version}, opens its results for good",
            current.protocol,
        )
    closed = workflow.close_protocol(
        path, protocol, command_actor(), confirm=confirm, version=version
    )
    result = {"protocol": closed.protocol, "version": closed.version, "warning": warning}
    text = (
        f"{closed.protocol}, version {closed.version}, is closed. Next:"
        f" {next_command(closed.protocol, closed.version, closed.state)}"
    )
    emit_result("reading close", path, result, as_json, text)
    deposit_study_evidence(path, deposit)


def _on_terminal() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty()


def _ask_for_name(consequence: str, name: str) -> str:
    """Ask for the study's name on the terminal; UserError without one."""
    if not _on_terminal():
        raise UserError(f"{consequence}; confirm it with --confirm {name!r}.")
    return typer.prompt(f"{consequence}. Type the study's name", err=True)


@reading_app.command("score")
def score_command(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report the results of a closed study, the prespecified primary analysis first."""
    from evaluation.queries.provenance import evidence_head
    from evaluation.reading_study import workflow
    from evaluation.reading_study.narrative import narrative

    path = resolve_study(study)
    scored, score = workflow.score_protocol(path, protocol, version, command_actor())
    paragraph = narrative(score)
    result = {
        "protocol": scored.protocol,
        "version": scored.version,
        "hash": scored.hash,
        "score": score,
        "paragraph": paragraph,
        "evidence": evidence_head(path),
    }
    workflow.log_lookup(path, scored, command_actor())
    emit_result("reading score", path, result, as_json, paragraph)


@reading_app.command("status")
def reading_status_command(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """Show state and progress of every version, without results."""
    from core import store
    from core.store.reading import protocol_table, reading_table

    path = resolve_study(study)
    versions: list[dict[str, Any]] = []
    with store.read(path) as con:
        for current in protocol_table.list_protocols(con):
            progress = reading_table.reading_progress_by_reader(
                con, current.protocol, current.version
            )
            versions.append(
                {
                    "protocol": current.protocol,
                    "version": current.version,
                    "state": current.state,
                    "readers": progress.to_dict("records"),
                }
            )
    lines = [
        f"{version['protocol']}, version {version['version']}: {version['state']},"
        f" {sum(reader['done'] for reader in version['readers'])} answers"
        for version in versions
    ]
    text = "\n".join(lines) or "No reading study yet."
    emit_result("reading status", path, {"protocols": versions}, as_json, text)


@reading_app.command("replay")
def replay_command(
    cases: Annotated[Path, typer.Option(help="CSV shown to the reader: Case #, explanation")],
    responses: Annotated[Path, typer.Option(help="CSV with the reader's answers")],
    key: Annotated[
        Path, typer.Option(help="CSV with image names, reports, network scores and diagnosis")
    ],
    labels: Annotated[Path | None, typer.Option(help="JSON of the unit labels")] = None,
    as_json: JsonOption = False,
) -> None:
    """Lint and score another group's reading study in the published CSV form."""
    from evaluation.replay import replay_study

    result = replay_study(cases, responses, key, labels)
    emit_result("reading replay", None, result.as_dict(), as_json, "\n".join(result.sentences()))
