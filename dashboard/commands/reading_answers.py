"""`deepminer reading`: answers of site bundles, and answers of closed studies as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.common import (
    JsonOption,
    StudyOption,
    command_actor,
    emit_result,
    resolve_study,
)
from dashboard.commands.reading_study import ProtocolOption, VersionOption

answers_app = typer.Typer()


@answers_app.command("bundle")
def bundle_command(
    out: Annotated[Path, typer.Option(help="new folder for the bundle")],
    study: StudyOption = Path("."),
    protocol: Annotated[
        str | None, typer.Option(help="name of the study; by default the only open one")
    ] = None,
    version: VersionOption = None,
    readers: Annotated[
        int | None,
        typer.Option(help="readers at the other site; by default those of the design", min=1),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a study folder for another site; `deepminer serve --study OUT` serves it there.

    It contains texts, the readers' orders and the protocol's hash, images only where an arm shows
    them, and neither truth, scores nor names. The key that decrypts its answers stays here, in the
    folder keys.
    """
    from evaluation.reading_study import site_bundles

    path = resolve_study(study)
    bundle = site_bundles.create_bundle(
        path, out.resolve(), protocol, command_actor(), version=version, readers=readers
    )
    text = (
        f"Bundle {bundle.id} in {out}: {bundle.cases} cases under {bundle.hash[:12]} for"
        f" {', '.join(bundle.readers)}. At the other site: deepminer serve, invite reader, then"
        " reading export-answers FILE"
    )
    emit_result("reading bundle", path, vars(bundle), as_json, text)


@answers_app.command("export-answers")
def export_answers_command(
    file: Annotated[Path, typer.Argument(help="new file, .json")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """In a bundle: write all answers into one file, signed and encrypted to the original site."""
    from evaluation.reading_study import site_bundles

    path = resolve_study(study)
    counts = site_bundles.export_answers(path, file, command_actor())
    readers = f"{len(counts)} reader" if len(counts) == 1 else f"{len(counts)} readers"
    text = (
        f"{file}: {sum(counts.values())} answers of {readers}. Send it to the site that made the"
        " bundle."
    )
    result = {"file": str(file), "readers": counts}
    emit_result("reading export-answers", path, result, as_json, text)


@answers_app.command("import-answers")
def import_answers_command(
    file: Annotated[Path, typer.Argument(help="file written by export-answers")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """At the original site: add the answers of a bundle, all or none.

    Refused if the file was edited or contains anything that the bundle cannot have produced. A
    later file of the same bundle adds what is new.
    """
    from evaluation.reading_study import site_bundles

    path = resolve_study(study)
    imported = site_bundles.import_answers(path, file, command_actor())
    lines = [f"From bundle {imported.id} for {imported.protocol}, version {imported.version}:"]
    lines += [f"{code}: {count} answers" for code, count in imported.readers.items()]
    if not imported.added:
        lines = [
            f"Everything in {file} was imported from bundle {imported.id} before; nothing changed."
        ]
    emit_result("reading import-answers", path, vars(imported), as_json, "\n".join(lines))


@answers_app.command("answers")
def answers_command(
    out: Annotated[Path, typer.Option(help="new file; further files get its name with an ending")],
    format: Annotated[str, typer.Option(help="csv, imrmc, redcap or r")] = "csv",
    study: StudyOption = Path("."),
    protocol: ProtocolOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the answers of a closed study for other programs. Logged.

    csv: one row an answer. imrmc: input of the FDA's iMRMC. redcap: records and data dictionary. r:
    a script that repeats the primary analysis, with its data.
    """
    from evaluation.reporting.answers import export_reading_answers

    path = resolve_study(study)
    exported = export_reading_answers(
        path, out.resolve(), format, command_actor(), protocol, version
    )
    names = ", ".join(file.name for file in exported.files)
    text = (
        f"{exported.rows} answers of {exported.protocol}, version {exported.version}, in"
        f" {out.parent}: {names}"
    )
    emit_result("reading answers", path, vars(exported), as_json, text)
