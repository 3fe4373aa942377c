"""Commands that export figures, tables, the report, and those of the papers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UserError
from core.progress import progress_bar
from dashboard.commands.common import (
    JsonOption,
    StudyOption,
    command_actor,
    emit_result,
    resolve_study,
)

if TYPE_CHECKING:
    from evaluation.reporting.base import Export
    from evaluation.reproduction import Comparison, Reproduction

# Imports of the package evaluation are inside the functions: pandas and matplotlib take a second,
# which every other command would pay as well.
export_app = typer.Typer()
OutOption = Annotated[
    Path, typer.Option("--out", help="folder for the files; created if it is missing")
]


def _emit_exports(
    command: str, study: Path, out: Path, exports: list[Export], as_json: bool
) -> None:
    """Print what was written and skipped, and which exports in the folder are stale."""
    from evaluation.queries import provenance

    written = [e for e in exports if e.record is not None]
    skipped = [e for e in exports if e.record is None]
    stale = provenance.stale_exports(study, out.resolve())
    lines = [f"{len(written)} written to {out}: {', '.join(e.name for e in written) or 'none'}."]
    lines += [
        f"skipped {e.name}: {e.reason}" + (f" ({e.command})" if e.command else "") for e in skipped
    ]
    lines += [s.sentence() for s in stale]
    result: dict[str, Any] = {
        "out": str(out),
        "written": [e.record for e in written],
        "skipped": [
            {"name": e.name, "step": e.step, "reason": e.reason, "command": e.command}
            for e in skipped
        ],
        "stale": [{"name": s.name, "changed": s.changed, "command": s.command} for s in stale],
    }
    emit_result(command, study, result, as_json, "\n".join(lines))


def _log_test_split_opening(study: Path, command: str) -> None:
    """Log that a command exported numbers of the test split; each command counts once."""
    from core import store
    from core.store import run_table

    with store.write(study) as con:
        evaluate_run = run_table.latest_run(con, "evaluate")
        if evaluate_run is not None:
            run_table.append_log(con, command_actor(command), "test split opened", evaluate_run)


def _log_exports(study: Path, command: str, exports: list[Export]) -> None:
    from evaluation.queries import provenance

    provenance.log_exports(study, command_actor(command), [e.record for e in exports])


def _opens_test_split(exports: list[Export]) -> bool:
    from evaluation.queries import provenance

    return any(
        e.record is not None and provenance.TEST_SPLIT_INPUTS & set(e.record.inputs)
        for e in exports
    )


@export_app.command("figures")
def export_figures_command(
    names: Annotated[list[str] | None, typer.Argument(help="figures, or all")] = None,
    out: OutOption = Path("exports"),
    study: StudyOption = Path("."),
    width_mm: Annotated[
        float | None,
        typer.Option(
            "--width-mm",
            help="85 (one column) or 174 (two columns); default: the width of each figure",
            min=60,
            max=300,
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="of pdf, svg, eps, png, tiff, joined by commas")
    ] = "pdf,svg,eps,png,tiff",
    label_set: Annotated[
        str | None,
        typer.Option(
            help=(
                "labels in the figures that show or count them: default, consensus, published, or"
                " an expert's code; ablation shows those of its run"
            )
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write figures for print with their data, caption and provenance record."""
    from evaluation.reporting.figures.export import export_figures

    folder = resolve_study(study)
    suffixes = [suffix.strip() for suffix in formats.split(",") if suffix.strip()]
    with progress_bar("figures") as report:
        exports = export_figures(
            folder,
            names or [],
            out,
            width_mm,
            suffixes,
            report,
            label_set,
            processes=os.cpu_count() or 1,
        )
    if _opens_test_split(exports):
        _log_test_split_opening(folder, "figures")
    _log_exports(folder, "figures", exports)
    _emit_exports("figures", folder, out, exports, as_json)


@export_app.command("tables")
def export_tables_command(
    names: Annotated[list[str] | None, typer.Argument(help="tables, or all")] = None,
    out: OutOption = Path("exports"),
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write tables as CSV, Excel, LaTeX and Markdown with their provenance record."""
    from evaluation.reporting.tables.export import export_tables

    folder = resolve_study(study)
    with progress_bar("tables") as report:
        exports = export_tables(folder, names or [], out, report)
    if _opens_test_split(exports):
        _log_test_split_opening(folder, "tables")
    _log_exports(folder, "tables", exports)
    _emit_exports("tables", folder, out, exports, as_json)


@export_app.command("report")
def write_report_command(
    out: Annotated[Path, typer.Option("--out", help="file of the report: .html or .pdf")] = Path(
        "report.html"
    ),
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write the report: one self-contained HTML file, or a PDF with the same content.

    A PDF needs the packages of the optional extra called pdf.
    """
    from evaluation.queries import provenance
    from evaluation.reporting.report import write_report

    folder = resolve_study(study)
    if out.suffix not in (".html", ".pdf"):
        raise UserError(f"--out is {out}: name a file that ends in .html or .pdf.")
    with progress_bar("report") as progress:
        record = write_report(folder, out, progress)
    _log_test_split_opening(folder, "report")
    provenance.log_exports(folder, command_actor("report"), [record])
    size = out.stat().st_size
    emit_result(
        "report",
        folder,
        {"file": str(out), "bytes": size, "provenance": record},
        as_json,
        f"Wrote the report to {out} ({size / 1e6:.1f} MB).",
    )


@export_app.command("reproduce")
def reproduce_command(
    release: Annotated[
        Path, typer.Argument(help="folder with the published files, or a part of them")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="folder for results and studies; created if missing")
    ] = Path("reproduction"),
    formats: Annotated[
        str, typer.Option("--format", help="of pdf, svg, eps, png, tiff, joined by commas")
    ] = "pdf,svg,eps,png,tiff",
    workers: Annotated[int, typer.Option(help="processes that read films", min=1)] = 2,
    as_json: JsonOption = False,
) -> None:
    """Reproduce the papers: figures, tables, and every published value beside the computed one.

    A repeated command continues. What is missing of the published files is listed.
    """
    from evaluation.reproduction import reproduce_papers

    names = tuple(name.strip() for name in formats.split(",") if name.strip())
    actor = command_actor()
    reproduction = reproduce_papers(
        release, out.resolve(), actor, progress_bar, formats=names, workers=workers
    )
    _log_reproduction(reproduction)
    computed = [c for c in reproduction.comparisons if c.computed is not None]
    equal = [c for c in computed if not c.reason()]
    text = (
        f"{len(computed)} of {len(reproduction.comparisons)} published values computed,"
        f" {len(equal)} of them as printed; {len(reproduction.gaps)} parts of the material are"
        f" missing or unused. {out / 'reproduction.md'} lists values, reasons and missing parts."
    )
    result = {
        "out": str(out),
        "values": [_comparison_json(c) for c in reproduction.comparisons],
        "missing": [vars(gap) for gap in reproduction.gaps],
        "studies": [str(study.folder) for study in reproduction.studies],
        "exports": [
            export.record.name for _, export in reproduction.exports if export.record is not None
        ],
    }
    emit_result("reproduce", None, result, as_json, text)


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    published, computed = comparison.published, comparison.computed
    return {
        "key": published.key,
        "source": published.source,
        "published": published.value,
        "computed": None if computed is None else computed.value,
        "origin": None if computed is None else computed.origin,
        "reason": comparison.reason(),
    }


def _log_reproduction(reproduction: Reproduction) -> None:
    """Log in each study what was exported, and that results of the test split were opened."""
    from core import store
    from core.store import run_table
    from evaluation.queries import provenance

    actor = command_actor("reproduce")
    for study in reproduction.studies:
        records = [e.record for folder, e in reproduction.exports if folder == study.folder]
        provenance.log_exports(study.folder, actor, records)
        if study.networks:
            with store.write(study.folder) as con:
                evaluated = study.networks[-1].evaluate
                run_table.append_log(con, actor, "test split opened", evaluated)
