"""`deepminer labels`: unit labels from files and into files."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from core.steps import labels as step
from dashboard.commands.common import JsonOption, StudyOption, answer, studied

app = typer.Typer(no_args_is_help=True, help="Unit labels: import raw answers or a consensus, export every label set (JSON or CSV).")


@app.command(name="import")
def import_labels(
    file: Annotated[Path, typer.Argument(help="JSON or CSV; raw answers per expert, then a consensus of the same units")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Add labels given elsewhere, all of them or none; each keeps where it came from."""
    path = studied(study)
    made = step.import_file(path, file, getpass.getuser())
    lines = [f"{code}: {made.substantive[code]} answers that name something, of {count}." for code, count in made.answers.items()]
    if made.decided:
        lines.append(f"{made.decided} consensus labels, {made.traced} of them traced to raw answers.")
    if made.flagged:
        lines.append(f"Raw answers name nothing for {', '.join(made.flagged)}: these labels rest on no answer.")
    if made.without:
        lines.append(f"No raw answer is known for {', '.join(made.without)}.")
    lines.append(f"{made.units} distinct units carry an answer that names something.")
    answer("labels import", path, {"file": str(file), **vars(made)}, as_json, "\n".join(lines))


@app.command(name="export")
def export_labels(
    file: Annotated[Path, typer.Argument(help="new file that ends in .json or .csv")], study: StudyOption = Path("."), as_json: JsonOption = False
) -> None:
    """Write every label set side by side: each expert, the consensus, and the label the study uses."""
    path = studied(study)
    made = step.export_file(path, file)
    text = ", ".join(f"{name} {count}" for name, count in made["sets"].items())
    answer("labels export", path, made, as_json, f"{file}: {made['rows']} rows; units named: {text or 'none'}.")
