"""`deepminer withdraw`: take a patient or a participant out of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import UserError
from dashboard.commands.common import (
    JsonOption,
    StudyOption,
    command_actor,
    emit_result,
    resolve_study,
)

withdraw_app = typer.Typer()


@withdraw_app.command("withdraw")
def withdraw_command(
    kind: Annotated[str, typer.Argument(help="patient or participant")],
    code: Annotated[str, typer.Argument(help="pseudonym of the patient, or participant's code")],
    study: StudyOption = Path("."),
    confirm: Annotated[
        str | None, typer.Option(help="the code again; asked for on a terminal")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a patient's data, or a participant's answers, and say what had rested on them.

    This cannot be undone, except by restoring a backup.
    """
    from core import store
    from core.images.working_images import remove_working_images
    from core.store import withdrawal

    path = resolve_study(study)
    removals = {
        "patient": withdrawal.withdraw_patient,
        "participant": withdrawal.withdraw_participant,
    }
    if kind not in removals:
        raise UserError(f"{kind!r} cannot be withdrawn; name a patient or a participant.")
    if confirm is None and typer.get_text_stream("stdin").isatty():
        confirm = typer.prompt(f"Type {code} to remove this {kind} for good")
    if confirm != code:
        raise UserError(
            f"Nothing was withdrawn; repeat the command with --confirm {code} to remove this"
            f" {kind}."
        )
    with store.write(path) as con:
        done = removals[kind](con, code, command_actor())
    # After the transaction: a row without its file would be a fault, a file without its row is not.
    remove_working_images(path, done.files)
    rows = ", ".join(f"{count} {table}" for table, count in done.removed.items()) or "no row"
    text = f"The {kind} {code} was withdrawn: {rows}."
    if done.runs:
        text += (
            f" Out of date, because they were made with these data: {', '.join(done.runs)}. Repeat"
            " them and delete their folders."
        )
    if done.studies:
        text += f" Reading studies concerned: {'; '.join(done.studies)}."
    emit_result("withdraw", path, vars(done), as_json, text)
