"""`deepminer labels`: import, export and audit of unit labels."""

from __future__ import annotations

import shlex
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
    str | None,
    typer.Option("--dissect", help="id of the dissect run, needed where the study has several"),
]


@labels_app.command("import")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON, CSV or the published .jbl; raw answers per expert, then a consensus"
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
    if imported.kept:
        lines.append(
            f"{', '.join(imported.kept)}: adjudicated or agreed in this study; that label stays in"
            ' use, and the imported one is in the label set "published".'
        )
    if imported.disputed:
        lines.append(
            f"{', '.join(imported.disputed)}: the imported answers differ from the agreed label,"
            " which is no longer used; decide on the Annotations page, Adjudication."
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
    dissect: DissectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all label sets side by side, with categories: experts, consensus, label in use."""
    from core.annotation import label_exchange

    path = resolve_study(study)
    exported = label_exchange.export_labels(path, file, dissect)
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


@labels_app.command("comments")
def comments_command(
    file: Annotated[Path, typer.Argument(help="the CSV file to write")],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write the team's comments on units and cases, with author and time (UTC), as CSV."""
    from core import store
    from core.annotation.spreadsheet_cells import csv_text
    from core.atomic_files import write_text
    from core.store.labels.comment_table import load_comments

    path = resolve_study(study)
    with store.read(path) as con:
        comments = load_comments(con)
    write_text(file, csv_text(comments))
    result = {"file": str(file), "comments": len(comments)}
    emit_result("labels comments", path, result, as_json, f"{file}: {len(comments)} comments.")


@labels_app.command("assign")
def assign_command(
    code: Annotated[str, typer.Argument(help="code of the annotator")],
    dissect: Annotated[
        list[str], typer.Option("--dissect", help="id of a dissect run; repeat it for several")
    ],
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Set which networks and layers an annotator names the units of; answers are kept."""
    from core import store
    from core.store.labels import assignment_table

    path = resolve_study(study)
    with store.write(path) as con:
        assignment_table.assign_dissections(con, code, dissect, command_actor())
        titles = assignment_table.assigned_titles(con, code)
    text = f"{code} names the units of {titles}."
    emit_result("labels assign", path, {"code": code, "dissect": dissect}, as_json, text)


@labels_app.command("assignments")
def assignments_command(study: StudyOption = Path("."), as_json: JsonOption = False) -> None:
    """List the networks and layers of the study, and who names the units of each."""
    from core import store
    from core.store import unit_table
    from core.store.labels import assignment_table

    path = resolve_study(study)
    with store.read(path) as con:
        assignments = assignment_table.load_assignments(con)
        dissections = unit_table.list_dissections(con)
    rows = [
        {
            "dissect": one.run,
            "title": one.title,
            "annotators": [code for code, runs in assignments.items() if one.run in runs],
        }
        for one in dissections
    ]
    lines = [
        f"{row['dissect']} ({row['title']}): {', '.join(row['annotators']) or 'no annotator'}"
        for row in rows
    ]
    text = "\n".join(lines) or "No network has been dissected yet."
    emit_result("labels assignments", path, rows, as_json, text)


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


@labels_app.command("machine")
def machine_command(
    images: Annotated[Path, typer.Option(help=".npz of patches: patches_run, patch_id, embedding")],
    words: Annotated[Path, typer.Option(help=".npz of a word list: word, embedding")],
    study: StudyOption = Path("."),
    dissect: DissectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name units by a vision-language model: the label set "machine", which experts never see.

    A unit gets a word only if it is nearer to the top patches than to random ones.
    """
    from core import lineage, store
    from core.class_labels import unit_name
    from core.progress import progress_bar
    from core.store.labels.machine_names import load_machine_names
    from evaluation.annotation.machine_names import machine_agreement
    from evaluation.pipeline.machine_names import run_machine_names

    path = resolve_study(study)
    with progress_bar("labels machine") as report:
        step_result = run_machine_names(path, images, words, report, dissect)
    run = lineage.ancestor_run(path, step_result.run, "dissect")
    with store.read(path) as con:
        names = load_machine_names(con, run) or {}
    agreement = machine_agreement(path, run)
    named = sum(name.named for name in names.values())
    text = f'{named} of {len(names)} selected units have a name in the label set "machine".'
    if agreement is not None:
        text += f" {agreement.sentence()}"
    result = {
        "run": step_result.run,
        "names": {unit_name(unit): vars(name) for unit, name in names.items()},
        "agreement": None if agreement is None else vars(agreement),
    }
    emit_result("labels machine", path, result, as_json, text)


@labels_app.command("embed")
def embed_command(
    model: Annotated[Path, typer.Argument(help="folder of a model, as open_clip saves it")],
    words: Annotated[Path, typer.Option(help="text file with one word or phrase a line")],
    out: Annotated[Path, typer.Option(help="folder for patches.npz and words.npz")],
    study: StudyOption = Path("."),
    dissect: DissectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute the files of `labels machine` by a local open_clip model; nothing is downloaded."""
    from core.pipeline.embedding.open_clip_embeddings import embed_study
    from core.progress import progress_bar

    path = resolve_study(study)
    with progress_bar("labels embed") as report:
        patch_file, word_file = embed_study(path, model, words, out, report, dissect)
    images, texts = shlex.quote(str(patch_file)), shlex.quote(str(word_file))
    text = f"Next: deepminer labels machine --images {images} --words {texts}"
    files = {"images": str(patch_file), "words": str(word_file)}
    emit_result("labels embed", path, files, as_json, text)


@labels_app.command("audit-start")
def audit_start_command(
    study: StudyOption = Path("."),
    patches: Annotated[
        int, typer.Option(help="patches of each kind (top, middle, random) a unit")
    ] = 6,
    seed: Annotated[int, typer.Option(help="seed of the patches and the orders")] = 1,
    dissect: DissectOption = None,
    label_set: Annotated[
        str, typer.Option(help="labels that are judged: default, machine, published, or a code")
    ] = "default",
    as_json: JsonOption = False,
) -> None:
    """Start an audit of all labels: annotators judge blindly whether patches show the label."""
    from evaluation.annotation import audit_workflow

    path = resolve_study(study)
    audit = audit_workflow.start_audit(path, patches, seed, command_actor(), dissect, label_set)
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
    outdated = audit_workflow.outdated_labels(path, audit.audit)
    table = audit_workflow.audit_result_table(audit, result, outdated)
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
    lines += list(outdated.values())
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    output = {"audit": audit, "rows": rows, "agreement": result.agreement}
    emit_result("labels audit", path, output, as_json, "\n".join(lines))
