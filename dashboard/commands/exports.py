"""Commands that write figures, tables and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from core import store
from core.errors import UserError
from core.store import run_table
from dashboard.commands.common import JsonOption, StudyOption, answer, progress, studied
from evaluation.queries import provenance
from evaluation.reporting.figures.export import Export

OutOption = Annotated[
    Path, typer.Option("--out", help="folder to write into, made if it is missing")
]


def _said(command: str, folder: Path, out: Path, done: list[Export], as_json: bool) -> None:
    """The exports that were written, for each that was not the step that is missing, and the older
    ones in the folder that are stale by now.
    """
    written = [e for e in done if e.passport is not None]
    skipped = [e for e in done if e.passport is None]
    lines = [f"{len(written)} written to {out}: {', '.join(e.name for e in written) or 'none'}."]
    lines += [
        f"skipped {e.name}: {e.reason}" + (f" ({e.command})" if e.command else "") for e in skipped
    ]
    old = provenance.stale(folder, out.resolve())
    lines += [s.sentence() for s in old]
    result: dict[str, Any] = {
        "out": str(out),
        "written": [e.passport for e in written],
        "skipped": [
            {"name": e.name, "step": e.step, "reason": e.reason, "command": e.command}
            for e in skipped
        ],
        "stale": [{"name": s.name, "changed": s.changed, "command": s.command} for s in old],
    }
    answer(command, folder, result, as_json, "\n".join(lines))


def _log_opening(folder: Path, what: str, done: list[Export]) -> None:
    """Exports with numbers of the test split are an opening of it, counted once a command."""
    if not any(
        e.passport is not None and provenance.FROM_TEST & set(e.passport.inputs) for e in done
    ):
        return
    with store.write(folder) as con:
        evaluated = run_table.latest(con, "evaluate")
        if evaluated is not None:
            run_table.log(con, f"command line, {what}", "test split opened", evaluated)


def figures(
    names: Annotated[list[str] | None, typer.Argument(help="figures, or all")] = None,
    out: OutOption = Path("exports"),
    study: StudyOption = Path("."),
    width_mm: Annotated[
        float | None,
        typer.Option(
            "--width-mm",
            help="85 (one column) or 174 (two); each figure's own if not given",
            min=60,
            max=300,
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="of pdf, svg, eps, png, tiff, joined by commas")
    ] = "pdf,svg,eps,png,tiff",
    as_json: JsonOption = False,
) -> None:
    """Write figures for print with their data, caption and passport."""
    from evaluation.reporting.figures.export import export_figures

    folder = studied(study)
    with progress("figures") as report:
        done = export_figures(
            folder,
            names or [],
            out,
            width_mm,
            [f.strip() for f in formats.split(",") if f.strip()],
            report,
        )
    _log_opening(folder, "figures", done)
    _said("figures", folder, out, done, as_json)


def tables(
    names: Annotated[list[str] | None, typer.Argument(help="tables, or all")] = None,
    out: OutOption = Path("exports"),
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write tables as CSV, Excel, LaTeX and Markdown with their passport."""
    from evaluation.reporting.tables.export import export_tables

    folder = studied(study)
    with progress("tables") as report:
        done = export_tables(folder, names or [], out, report)
    _log_opening(folder, "tables", done)
    _said("tables", folder, out, done, as_json)


def report(
    out: Annotated[Path, typer.Option("--out", help="the report's file: .html or .pdf")] = Path(
        "report.html"
    ),
    study: StudyOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write the report: one self-contained HTML file, or a PDF of the same content."""
    from evaluation.reporting.report import write_report

    folder = studied(study)
    if out.suffix not in (".html", ".pdf"):
        raise UserError(f"--out is {out}: name a file that ends in .html or .pdf.")
    with progress("report") as step:
        made = write_report(folder, out, step)
    with store.write(folder) as con:
        evaluated = run_table.latest(con, "evaluate")
        if evaluated is not None:
            run_table.log(con, "command line, report", "test split opened", evaluated)
    answer(
        "report",
        folder,
        {"file": str(out), "bytes": out.stat().st_size, "passport": made},
        as_json,
        f"Wrote the report to {out} ({out.stat().st_size / 1e6:.1f} MB).",
    )
