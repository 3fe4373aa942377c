"""Commands about a study as a whole: status, doctor, backup, restore, serve, invite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from core.class_labels import ClassDefinition
from core.errors import UserError
from dashboard.commands.common import JsonOption, StudyOption, emit_result, resolve_study

study_app = typer.Typer()


@study_app.command("status")
def status_command(
    folder: Annotated[
        Path | None, typer.Argument(help="the study folder, instead of --study")
    ] = None,
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Show the state of the study: data, runs, coverage, annotations, reading."""
    from core import lineage, runs, store
    from core.store import run_table
    from evaluation.queries.provenance import stale_exports
    from evaluation.queries.study_status import study_status

    path = resolve_study(folder or study)
    result = study_status(path)
    with store.read(path) as con:
        patches_run = run_table.latest_run(con, "patches")
    classes = lineage.run_classes(path, patches_run) if patches_run else None
    lines = [
        f"{name}: {_status_text(value, classes)}"
        for name, value in result.items()
        if name != "runs"
    ]
    lines += [
        _run_text(row, lineage.run_classes(path, row["id"]) if row["kind"] == "evaluate" else None)
        for row in result["runs"] or []
    ]
    if lineage.has_image_level_labels(path):
        lines.append("Labels are image-level, and so are all results derived from them.")
    truth = lineage.truth_statements(path)
    lines += truth
    lines += [
        f"{row['state']}: {row['run']} ({row['done']} of {row['total']} {row['unit']})"
        f" {row['message']}"
        for row in runs.unfinished_runs(path)
    ]
    lines += [export.sentence() for export in stale_exports(path, path / "exports")]
    emit_result("status", path, result | {"truth": truth}, as_json, "\n".join(lines))


def _run_text(row: dict[str, Any], classes: ClassDefinition | None) -> str:
    """Return the line of a run; classes: of an evaluate run, None for others.

    Every run has the AUC of its classifier; the text states it once, at the evaluation.
    """
    from evaluation.intervals import decimal

    auc = None if classes is None else (row["auc"] or {}).get(classes.positive)
    if classes is None or auc is None:
        return f"run {row['id']}"
    return f"run {row['id']}: patch AUC {classes.positive}, test, {decimal(auc)}"


def _status_text(value: Any, classes: ClassDefinition | None) -> str:
    """Return a value of the status as text, with the class names of the study.

    A network of two outputs has no value for the other classes, which are left out.
    """
    from evaluation.intervals import decimal

    if value is None:
        return "none yet"
    if not isinstance(value, dict):
        return f"{value:,}"
    outputs = {} if classes is None else classes.outputs
    codes = {} if classes is None else {name: code for code, name in enumerate(classes.names)}
    numbers = {
        outputs[codes[name]] if name in codes else name.replace("_", " "): number
        for name, number in value.items()
        if codes.get(name, 0) in outputs or name not in codes
    }
    return ", ".join(
        f"{name} {f'{number:,}' if isinstance(number, int) else decimal(number)}"
        if number is not None
        else f"{name} –"
        for name, number in numbers.items()
    )


@study_app.command("doctor")
def doctor_command(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """Check the machine, the versions and the study's integrity; exit 1 if a check fails."""
    from core.study_checks import check_study

    path = resolve_study(study)
    checks = check_study(path)
    text = "\n".join(
        f"{'ok   ' if check.good else 'WRONG'} {check.check}: {check.finding}" for check in checks
    )
    emit_result("doctor", path, {"checks": checks}, as_json, text)
    for check in checks:
        if not check.good:
            raise UserError(f"The study needs attention: {check.check}: {check.finding}.")


@study_app.command("backup")
def backup_command(
    file: Annotated[Path, typer.Argument(help="new file for the copy of the store")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Copy the store (data, tables of the runs, all answers) into one file.

    The keys of site bundles, where the study has any, are copied into the folder FILE.keys. They
    are secrets: only their owner can read them.
    """
    from core import store
    from core.store.key_files import keys_beside

    path = resolve_study(study)
    keys = store.create_backup(path, file)
    result = {"file": str(file), "bytes": file.stat().st_size, "keys": keys}
    text = f"Copied the store of {path} to {file}."
    if keys:
        text += f" The keys of its site bundles are in {keys_beside(file)}; keep both together."
    emit_result("backup", path, result, as_json, text)


@study_app.command("restore")
def restore_command(
    file: Annotated[Path, typer.Argument(help="a file written by `deepminer backup`")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Replace the store by a backup and report what is lost; the replaced store is kept.

    Keys that the study lacks are taken from the folder FILE.keys. Stop the server first.
    """
    from core import store

    path = study.resolve()
    restored = store.restore_backup(path, file)
    until = f", the last of {restored.last:%Y-%m-%d %H:%M:%S} UTC" if restored.last else ""
    if restored.lost_answers is None:
        lost = "The replaced store cannot be opened, so answers after that are lost"
    else:
        lost = (
            f"The replaced store contained {restored.lost_annotations} more annotations and"
            f" {restored.lost_answers} more answers"
        )
        if restored.lost_records:
            lost += (
                f", and {restored.lost_records} records of its evidence are lost with it"
                " (`deepminer verify` lists them)"
            )
    text = (
        f"{restored.annotations} annotations and {restored.answers} answers are restored{until}."
        f" {lost}; it is kept as {restored.kept.name}."
    )
    if restored.keys:
        text += f" Keys of site bundles that were missing are here again: {restored.keys}."
    emit_result("restore", path, {**vars(restored), "kept": restored.kept.name}, as_json, text)


@study_app.command("serve")
def serve_command(
    study: StudyOption = Path("."),
    port: Annotated[int, typer.Option(help="port", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
) -> None:
    """Serve the study in the browser and print the team's link."""
    from core import settings
    from core.annotation.lexicon_adoption import adopt_lexicon
    from dashboard import application
    from evaluation.reading_study import site_bundles

    path = resolve_study(study)
    settings.load_settings(path)  # a mistake in study.toml must not wait for the first page
    site_bundles.check_bundle(path)
    adopt_lexicon(path)
    application.serve_study(path, host, port, announce=lambda line: print(line, flush=True))


@study_app.command("invite")
def invite_command(
    role: Annotated[str, typer.Argument(help="team, annotator or reader")],
    study: StudyOption = Path("."),
    name: Annotated[
        str | None,
        typer.Option("--name", help="the participant's code, such as R1 (no names of persons)"),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="address of the server as browsers use it, instead of that of `serve` here"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Invite a participant and print the link, which cannot be printed again.

    An annotator names the units of the current network and layer; `deepminer labels assign` changes
    that.
    """
    from core import store
    from core.store import participant_table
    from core.store.labels import assignment_table
    from core.store.reading import bundle_table
    from dashboard.server import links

    path = resolve_study(study)
    token = participant_table.new_invitation_token()
    with store.write(path) as con:
        # The store keeps a hash only, so that a copy of it opens no session.
        code = name or participant_table.next_free_code(con, role)
        if role == "reader":
            bundle_table.check_reader_seat(con, code)
        participant_table.invite_participant(con, code, role, participant_table.hash_token(token))
        titles = assignment_table.assigned_titles(con, code)
    link = links.invitation_link(base or links.server_address(path), token)
    result = {"code": code, "role": role, "link": link}
    summary = f"{code} ({role})" + (f", names the units of {titles}" if titles else "")
    emit_result("invite", path, result, as_json, f"{summary}; the link is shown only once: {link}")
    if base is None and not links.is_served(path):
        typer.echo(
            f"No server runs for this study. The link is for {links.DEFAULT_ADDRESS}, the address"
            " of `deepminer serve`; for another port or host, name the address with --base.",
            err=True,
        )
