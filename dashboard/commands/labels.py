"""`deepminer labels`: unit labels from files and into files."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from core.annotation import label_exchange
from core.errors import UserError
from core.study_folder import write_text
from dashboard.commands.common import JsonOption, StudyOption, answer, studied
from evaluation.annotation import audit_workflow
from evaluation.intervals import decimal, interval_text

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Unit labels: import raw answers or a consensus, export every label set (JSON or CSV),"
        " audit how precise they are."
    ),
)


@app.command(name="import")
def import_labels(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON or CSV; raw answers per expert, then a consensus of the same units"
        ),
    ],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Add labels given elsewhere, all of them or none; each keeps where it came from."""
    path = studied(study)
    made = label_exchange.import_file(path, file, getpass.getuser())
    lines = [
        f"{code}: {made.substantive[code]} answers that name something, of {count}."
        for code, count in made.answers.items()
    ]
    if made.decided:
        lines.append(
            f"{made.decided} consensus labels, {made.traced} of them traced to raw answers."
        )
    if made.flagged:
        lines.append(
            f"Raw answers name nothing for {', '.join(made.flagged)}: these labels rest on no"
            " answer."
        )
    if made.without:
        lines.append(f"No raw answer is known for {', '.join(made.without)}.")
    lines.append(f"{made.units} distinct units carry an answer that names something.")
    answer("labels import", path, {"file": str(file), **vars(made)}, as_json, "\n".join(lines))


@app.command(name="export")
def export_labels(
    file: Annotated[Path, typer.Argument(help="new file that ends in .json or .csv")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write every label set side by side: each expert, the consensus, and the label the study uses."""
    path = studied(study)
    made = label_exchange.export_file(path, file)
    text = ", ".join(f"{name} {count}" for name, count in made["sets"].items())
    answer(
        "labels export",
        path,
        made,
        as_json,
        f"{file}: {made['rows']} rows; units named: {text or 'none'}.",
    )


@app.command(name="audit-start")
def audit_start(
    study: StudyOption = Path("."),
    patches: Annotated[
        int, typer.Option(help="patches of each kind (top, middle, random) a unit")
    ] = 6,
    seed: Annotated[int, typer.Option(help="seed of the patches and the orders")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Open an audit of all labels: annotators judge blindly whether patches show what the units are
    called.
    """
    path = studied(study)
    made = audit_workflow.start(path, patches, seed, getpass.getuser())
    answer(
        "labels audit-start",
        path,
        vars(made),
        as_json,
        f"{made.audit} is open; annotators find it behind the button Audit on their page. Results:"
        " deepminer labels audit",
    )


@app.command(name="audit-end")
def audit_end(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """End the open audit: no further answers."""
    path = studied(study)
    made = audit_workflow.end(path, getpass.getuser())
    answer("labels audit-end", path, vars(made), as_json, f"{made.audit} is ended.")


@app.command(name="audit")
def audit(
    study: StudyOption = Path("."),
    name: Annotated[
        str | None, typer.Option("--audit", help="which audit; the newest one if not given")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="new file for the table of results")] = None,
    judgements: Annotated[
        Path | None,
        typer.Option(
            help=(
                "new file for every judgement (CSV); it tells kinds and ranks, so keep it from the"
                " experts"
            )
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Precision of every label: share of top, middle-ranked and random patches that experts say
    show it.
    """
    path = studied(study)
    found, result = audit_workflow.results(path, name)
    table = audit_workflow.results_table(found, result)
    for file, frame in (
        (csv, table),
        (judgements, audit_workflow.judgements_table(path, found) if judgements else table),
    ):
        if file is None:
            continue
        if file.exists():
            raise UserError(f"{file} exists already; name a new file.")
        write_text(file, frame.to_csv(index=False))
    lines = ["SIMULATED judgements or labels." if result.simulated or found.simulated else ""]
    lines += [
        f"{s.kind}: {decimal(s.interval.estimate)}"
        f" ({interval_text(s.interval.low, s.interval.high, s.interval.level, s.interval.reason)};"
        f" {s.yes} yes, {s.no} no, {s.unsure} unsure, {s.patients} patients)"
        for s in result.pooled
    ]
    gap = result.difference_of(None)
    lines.append(
        f"top minus random: {decimal(gap.estimate)}"
        f" ({interval_text(gap.low, gap.high, gap.level, gap.reason)}, {gap.method})"
    )
    answer(
        "labels audit",
        path,
        {
            "audit": found,
            "rows": table.astype(object).where(table.notna(), None).to_dict("records"),
            "agreement": result.agreement,
        },
        as_json,
        "\n".join(filter(None, lines)),
    )
