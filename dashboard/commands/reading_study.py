"""`deepminer reading`: the blinded study from design to score, and replay of a published one."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import UserError
from core.sessions.arms import ARMS
from dashboard.commands.common import JsonOption, StudyOption, emit_result, resolve_study

reading_app = typer.Typer(
    no_args_is_help=True,
    help=(
        "The blinded reading study: design, lint, freeze, close, score; replay of a published one."
    ),
)
ProtocolOption = Annotated[
    str | None, typer.Option("--protocol", help="name of the study; by default the newest")
]


@reading_app.command("create")
def create_command(
    study: StudyOption = Path("."),
    name: Annotated[
        str, typer.Option("--protocol", help="name of the reading study")
    ] = "Reading study",
    design: Annotated[
        str, typer.Option("--preset", help='"Recommended" or "DeepMiner 2021"')
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
    from evaluation.intervals import decimal, percent
    from evaluation.reading_study import planned_power, workflow
    from evaluation.reading_study.design import design_preset, parse_design_settings

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
    options |= parse_design_settings(settings or [])
    changes = {key: value for key, value in options.items() if value is not None}
    chosen = design_preset(design, name=name, **changes)
    created = workflow.create_protocol(path, name, chosen, getpass.getuser())
    # The primary arm is tested; texts of the other arms do not add to its power.
    primary = int((created.cases["arm"] == chosen.arms[0]).sum())
    power, sample_size = planned_power(chosen, primary)
    result = {
        "protocol": name,
        "version": created.version,
        "cases": len(created.cases),
        "primary_cases": primary,
        "flow": created.flow,
        "power": power,
        "sample_size": sample_size,
    }
    text = (
        f"{name}, version {created.version}: {len(created.cases)} cases, {primary} of them in the"
        f" primary arm. {created.flow.sentence()} Power {decimal(power.power)} for"
        f" {percent(chosen.expected_share, 0)} correct. Next: deepminer reading lint"
    )
    emit_result("reading create", path, result, as_json, text)


@reading_app.command("lint")
def lint_command(
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    reviewed: Annotated[
        str,
        typer.Option(help="conclusion of your review of the cases whose truth rules differ"),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Check whether the design reveals the truth or weakens the result."""
    from evaluation.reading_study import workflow
    from evaluation.reading_study.leakage_issues import has_errors

    path = resolve_study(study)
    version, issues = workflow.check_protocol(path, protocol, getpass.getuser(), reviewed)
    stops = has_errors(issues)
    result = {
        "protocol": version.protocol,
        "version": version.version,
        "stops": stops,
        "lint": [issue.as_dict() for issue in issues],
    }
    lines = [issue.sentence() for issue in issues]
    lines.append(
        "Errors stop this study: change the design." if stops else "Next: deepminer reading freeze"
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
    """Freeze the linted version: readers can read it, and it cannot be changed any more."""
    from evaluation.reading_study import workflow

    path, reasons = resolve_study(study), _parse_reasons(reason or [])
    version = workflow.freeze_protocol(path, protocol, getpass.getuser(), reasons)
    result = {"protocol": version.protocol, "version": version.version, "hash": version.hash}
    text = f"{version.protocol}, version {version.version}, is frozen: {version.hash}"
    emit_result("reading freeze", path, result, as_json, text)


@reading_app.command("close")
def close_command(
    study: StudyOption = Path("."), protocol: ProtocolOption = None, as_json: JsonOption = False
) -> None:
    """Close and unblind: end answering and make the results visible. Logged."""
    from evaluation.reading_study import workflow

    path = resolve_study(study)
    version = workflow.close_protocol(path, protocol, getpass.getuser())
    result = {"protocol": version.protocol, "version": version.version}
    text = (
        f"{version.protocol}, version {version.version}, is closed. Next: deepminer reading score"
    )
    emit_result("reading close", path, result, as_json, text)


@reading_app.command("score")
def score_command(
    study: StudyOption = Path("."), protocol: ProtocolOption = None, as_json: JsonOption = False
) -> None:
    """Report the results of a closed study, the prespecified primary analysis first."""
    from evaluation.reading_study import workflow
    from evaluation.reading_study.narrative import narrative

    path = resolve_study(study)
    version, score = workflow.score_protocol(path, protocol)
    paragraph = narrative(score)
    result = {
        "protocol": version.protocol,
        "version": version.version,
        "hash": version.hash,
        "score": score,
        "paragraph": paragraph,
    }
    emit_result("reading score", path, result, as_json, paragraph)


@reading_app.command("status")
def reading_status_command(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """Show state and progress of every version, without results."""
    from core import store
    from core.store import protocol_table, reading_table

    path = resolve_study(study)
    versions: list[dict[str, Any]] = []
    with store.read(path) as con:
        for version in protocol_table.list_protocols(con):
            progress = reading_table.reading_progress_by_reader(
                con, version.protocol, version.version
            )
            versions.append(
                {
                    "protocol": version.protocol,
                    "version": version.version,
                    "state": version.state,
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


@reading_app.command("bundle")
def bundle_command(
    out: Annotated[Path, typer.Option(help="new folder for the bundle")],
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a study folder for another site; `deepminer serve --study OUT` serves it there.

    It contains texts and the protocol's hash, images only where an arm shows them, and neither
    truth, scores nor names.
    """
    from evaluation.reading_study import site_bundles

    path = resolve_study(study)
    bundle = site_bundles.create_bundle(path, out.resolve(), protocol, getpass.getuser())
    text = (
        f"Bundle {bundle.id} in {out}: {bundle.cases} texts under {bundle.hash[:12]}. At the other"
        " site: deepminer serve, invite reader, then reading export-answers FILE"
    )
    emit_result("reading bundle", path, vars(bundle), as_json, text)


@reading_app.command("export-answers")
def export_answers_command(
    file: Annotated[Path, typer.Argument(help="new file, .json")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """In a bundle: write all answers into one sealed file for the original site."""
    from evaluation.reading_study import site_bundles

    path = resolve_study(study)
    counts = site_bundles.export_answers(path, file)
    readers = f"{len(counts)} reader" if len(counts) == 1 else f"{len(counts)} readers"
    text = (
        f"{file}: {sum(counts.values())} answers of {readers}. Send it to the site that made the"
        " bundle."
    )
    result = {"file": str(file), "readers": counts}
    emit_result("reading export-answers", path, result, as_json, text)


@reading_app.command("import-answers")
def import_answers_command(
    file: Annotated[Path, typer.Argument(help="file written by export-answers")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """At the original site: add the answers of a bundle, once.

    Refused if they were edited or do not match the protocol's hash.
    """
    from evaluation.reading_study import site_bundles

    path = resolve_study(study)
    imported = site_bundles.import_answers(path, file, getpass.getuser())
    lines = [f"From bundle {imported.id} for {imported.protocol}, version {imported.version}:"]
    lines += [f"{code}: {count} answers" for code, count in imported.readers.items()]
    emit_result("reading import-answers", path, vars(imported), as_json, "\n".join(lines))


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
