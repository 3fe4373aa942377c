"""`deepminer labels`: import, export and audit of unit labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import UserError
from dashboard.commands.common import (
    CommandGroup,
    JsonOption,
    StudyOption,
    command_actor,
    emit_result,
    resolve_study,
)

labels_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help=(
        "Unit labels: import raw answers or a consensus, export every label set (JSON or CSV),"
        " audit their precision."
    ),
)

DissectOption = Annotated[
    str | None, typer.Option("--dissect", help="id of the dissect run; by default the newest")
]


@labels_app.command("import")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON or CSV; raw answers per expert, then a consensus of the same units"
        ),
    ],
    study: StudyOption = Path("."),
    dissect: DissectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import labels with their source; if one is invalid, none is added."""
    from core.annotation import label_exchange

    path = resolve_study(study)
    imported = label_exchange.import_labels(path, file, command_actor(), dissect)
    lines = [
        f"{code}: {imported.substantive[code]} of {count} answers name a finding."
        for code, count in imported.answers.items()
    ]
    if imported.decided:
        lines.append(
            f"{imported.decided} consensus labels, {imported.traced} of them traced to raw answers."
        )
    if imported.flagged:
        lines.append(
            f"Raw answers name no finding for {', '.join(imported.flagged)}: no answer supports"
            " these labels."
        )
    if imported.without:
        lines.append(f"No raw answers are stored for {', '.join(imported.without)}.")
    lines.append(f"{imported.units} distinct units have an answer that names a finding.")
    if imported.proposed:
        lines.append(
            f"The categories of {imported.proposed} texts are proposed from their words; confirm"
            " them on the Annotations page or with `deepminer labels confirm`."
        )
    result = {"file": str(file), **vars(imported)}
    emit_result("labels import", path, result, as_json, "\n".join(lines))


@labels_app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help="new file that ends in .json or .csv")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write all label sets side by side: each expert, the consensus and the label in use."""
    from core.annotation import label_exchange

    path = resolve_study(study)
    exported = label_exchange.export_labels(path, file)
    counts = ", ".join(f"{name} {count}" for name, count in exported["sets"].items())
    text = f"{file}: {exported['rows']} rows; labelled units: {counts or 'none'}."
    emit_result("labels export", path, exported, as_json, text)


@labels_app.command("categories")
def categories_command(
    study: StudyOption = Path("."), dissect: DissectOption = None, as_json: JsonOption = False
) -> None:
    """List the labels in free text with their BI-RADS categories, proposed or confirmed."""
    from core.annotation import category_confirmation

    path = resolve_study(study)
    texts = category_confirmation.list_texts(path, dissect)
    lines = [
        f"{text['unit']} ({', '.join(text['sets'])}): {', '.join(text['categories']) or 'none'},"
        f" {text['state']}: {text['text']}"
        for text in texts
    ]
    emit_result("labels categories", path, texts, as_json, "\n".join(lines) or "No free text.")


_UNIT_HELP = "unit name, such as unit_0588"
_SET_HELP = "expert's code or consensus, where a unit has several texts"


@labels_app.command("confirm")
def confirm_command(
    unit: Annotated[str, typer.Argument(help=_UNIT_HELP)],
    categories: Annotated[
        str | None,
        typer.Option(help="categories joined by commas; by default those that are proposed"),
    ] = None,
    label_set: Annotated[str | None, typer.Option("--set", help=_SET_HELP)] = None,
    study: StudyOption = Path("."),
    dissect: DissectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm or correct the BI-RADS categories of one label in free text."""
    from core.annotation import category_confirmation

    path = resolve_study(study)
    names = None if categories is None else [name.strip() for name in categories.split(",")]
    text = category_confirmation.confirm_text(
        path, unit, names, label_set, command_actor(), dissect
    )
    message = f"{text['unit']}: {', '.join(text['categories'])}, confirmed for: {text['text']}"
    emit_result("labels confirm", path, text, as_json, message)


@labels_app.command("undo")
def undo_command(
    unit: Annotated[str, typer.Argument(help=_UNIT_HELP)],
    label_set: Annotated[str | None, typer.Option("--set", help=_SET_HELP)] = None,
    study: StudyOption = Path("."),
    dissect: DissectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo the confirmation of a label's categories: they are proposed again."""
    from core.annotation import category_confirmation

    path = resolve_study(study)
    text = category_confirmation.undo_text(path, unit, label_set, command_actor(), dissect)
    message = f"{text['unit']}: {', '.join(text['categories']) or 'none'}, {text['state']}."
    emit_result("labels undo", path, text, as_json, message)


@labels_app.command("audit-start")
def audit_start_command(
    study: StudyOption = Path("."),
    patches: Annotated[
        int, typer.Option(help="patches of each kind (top, middle, random) a unit")
    ] = 6,
    seed: Annotated[int, typer.Option(help="seed of the patches and the orders")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Start an audit of all labels: annotators judge blindly whether patches show the label."""
    from evaluation.annotation import audit_workflow

    path = resolve_study(study)
    audit = audit_workflow.start_audit(path, patches, seed, command_actor())
    text = (
        f"{audit.audit} is open; annotators reach it with the button Audit on their page. Results:"
        " deepminer labels audit"
    )
    emit_result("labels audit-start", path, vars(audit), as_json, text)


@labels_app.command("audit-end")
def audit_end_command(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """End the open audit; no further answers are accepted."""
    from evaluation.annotation import audit_workflow

    path = resolve_study(study)
    audit = audit_workflow.end_audit(path, command_actor())
    emit_result("labels audit-end", path, vars(audit), as_json, f"{audit.audit} is ended.")


@labels_app.command("audit")
def audit_command(
    study: StudyOption = Path("."),
    name: Annotated[
        str | None, typer.Option("--audit", help="name of the audit; by default the newest")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="new file for the table of results")] = None,
    judgements: Annotated[
        Path | None,
        typer.Option(
            help=(
                "new file for every judgement (CSV); it contains kinds and ranks, which the experts"
                " must not see"
            )
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Report label precision: the share of top, middle and random patches that show the label."""
    from core.annotation.spreadsheet_cells import csv_text
    from core.atomic_files import write_text
    from evaluation.annotation import audit_workflow
    from evaluation.intervals import decimal, interval_text

    def bounds(interval: Any) -> str:
        """Return the bounds of an interval with their level, or why they are not estimable."""
        return interval_text(interval.low, interval.high, interval.level, interval.reason)

    path = resolve_study(study)
    audit, result = audit_workflow.load_audit_result(path, name)
    table = audit_workflow.audit_result_table(audit, result)
    # Existing files are never replaced: a table may have been published.
    exports = {}
    if csv is not None:
        exports[csv] = table
    if judgements is not None:
        exports[judgements] = audit_workflow.load_judgement_versions(path, audit)
    for file, frame in exports.items():
        if file.exists():
            raise UserError(f"{file} exists already; name a new file.")
        write_text(file, csv_text(frame))
    lines = ["SIMULATED judgements or labels."] if result.simulated or audit.simulated else []
    lines += [
        f"{share.kind}: {decimal(share.interval.estimate)}"
        f" ({bounds(share.interval)}; {share.yes} yes, {share.no} no, {share.unsure} unsure,"
        f" {share.patients} patients)"
        for share in result.pooled
    ]
    gap = result.difference_of(None)
    lines.append(f"top minus random: {decimal(gap.estimate)} ({bounds(gap)}, {gap.method})")
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    output = {"audit": audit, "rows": rows, "agreement": result.agreement}
    emit_result("labels audit", path, output, as_json, "\n".join(lines))
