"""`deepminer problems`: what is doubtful about the data, and decisions about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import UserError
from dashboard.commands.common import (
    JsonOption,
    StudyOption,
    command_actor,
    emit_result,
    resolve_study,
)

problems_app = typer.Typer()


@problems_app.command("problems")
def problems_command(
    study: StudyOption = Path("."),
    kind: Annotated[
        str | None, typer.Option(help="only problems of this kind, such as outside_breast")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="id of a problem, or a kind for all its open ones: the data are right; repeatable"
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            help="id or kind of problems: their mammograms give no patches and, unless the problem"
            " is that of a finding, are used in no step; repeatable"
        ),
    ] = None,
    reopen: Annotated[
        list[str] | None,
        typer.Option(help="id of a problem whose decision is taken back; may be repeated"),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="PNG file: mammograms with outlines, doubtful ones first")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file of the list")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what ingestion and patch extraction found doubtful, and record decisions about it.

    A mammogram with an open problem of a finding gives no patches.
    """
    from core import store
    from core.annotation.spreadsheet_cells import csv_text
    from core.atomic_files import write_text
    from core.pipeline.ingestion.source_check import draw_study_sheets
    from core.store import problem_table

    path = resolve_study(study)
    for file, ending in ((sheet, ".png"), (out, ".csv")):
        if file is not None and file.suffix.lower() != ending:
            raise UserError(f"{file} must end with {ending}.")
    if accept or leave_out or reopen:
        # In one transaction: an unknown id changes nothing.
        with store.write(path) as con:
            for names, resolution in (
                (accept, problem_table.ACCEPTED),
                (leave_out, problem_table.LEFT_OUT),
                (reopen, None),
            ):
                ids = [i for name in names or () for i in problem_table.ids_of_kind(con, name)]
                problem_table.resolve_problems(con, ids, resolution, command_actor())
    with store.read(path) as con:
        table = problem_table.list_problems(con, code=kind)
    rows = problem_rows(table)
    if out is not None:
        write_text(out, csv_text(table))
    text = "\n".join(_problem_line(row) for row in rows) or "No problem is listed."
    if sheet is not None:
        files = draw_study_sheets(path, sheet)
        text += f"\n{len(files)} contact sheet{'s' if len(files) > 1 else ''}: {files[0]}"
    emit_result("problems", path, rows, as_json, text)


def problem_rows(table: Any) -> list[dict[str, Any]]:
    """Return listed problems for JSON: id, item, cause, action, source, kind and decision."""
    return [
        {
            "id": row.problem_id,
            "item": row.item,
            "cause": row.cause,
            "action": row.action,
            "source": row.source_id,
            "kind": row.code,
            "decision": row.resolution if isinstance(row.resolution, str) else None,
        }
        for row in table.itertuples()
    ]


def _problem_line(row: dict[str, Any]) -> str:
    decision = f" [{row['decision'].replace('_', ' ')}]" if row["decision"] else ""
    return f"{row['id']}  {row['item']}: {row['cause']} ({row['action']}){decision}"
