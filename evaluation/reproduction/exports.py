"""Files of a reproduction: figures, tables, the replayed reading study, and the comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from core.annotation.spreadsheet_cells import csv_text
from core.atomic_files import write_text
from evaluation.intervals import decimal
from evaluation.replay import ReplayResult
from evaluation.replay.csv_import import read_replay_cases
from evaluation.reporting.base import Export, create_output_folder
from evaluation.reporting.figures.export import export_figures
from evaluation.reporting.tables.export import export_tables
from evaluation.reproduction.comparison import Comparison
from evaluation.reproduction.material import Gap, Material
from evaluation.reproduction.published import HDSR_CLASSES, SPIE_CLASSES
from evaluation.reproduction.studies import ProgressDisplay, RebuiltStudy

# Figures 3 (units, by category) and 4 and 5 (explanations) of HDSR 2021, with ROC and coverage;
# Figure 4 of SPIE 2018 (units, and categories over all networks).
FIGURES = {
    HDSR_CLASSES: ("units", "categories", "explanations", "roc", "coverage"),
    SPIE_CLASSES: ("units", "categories", "roc"),
}
# SPIE 2018, Table 1 is `architectures`.
TABLES = {
    HDSR_CLASSES: ("cohort", "classifiers", "units", "categories", "coverage", "similarity"),
    SPIE_CLASSES: ("cohort", "architectures", "classifiers", "units", "categories", "coverage"),
}
_EXAMPLES = 3  # cases in Table 1 of HDSR 2021


def export_study(
    study: RebuiltStudy, out: Path, formats: Sequence[str], progress: ProgressDisplay
) -> tuple[list[Export], list[Gap]]:
    """Write the papers' figures and tables of one study; return them and what was skipped."""
    if not study.networks:
        return [], []
    with progress(f"{study.classes} classes: figures") as report:
        exports = export_figures(study.folder, FIGURES[study.classes], out, None, formats, report)
    with progress(f"{study.classes} classes: tables") as report:
        exports += export_tables(study.folder, TABLES[study.classes], out, report)
    skipped = [
        Gap(f"{study.classes} classes: {export.name}", f"not drawn: {export.reason}")
        for export in exports
        if export.record is None
    ]
    return exports, skipped


def write_replay(material: Material, replay: ReplayResult, out: Path) -> None:
    """Write the replayed reading study: its analysis, its first cases, and the numbers as JSON."""
    create_output_folder(out)
    cases = read_replay_cases(*(material.sheets[key] for key in ("cases", "responses", "key")))
    lines = ["# The published reading study, analysed again", ""]
    lines += [f"- {sentence}" for sentence in replay.sentences()]
    lines += ["", f"## The first {_EXAMPLES} cases (the form of HDSR 2021, Table 1)", ""]
    lines += [
        "| case | texts | truth by folder | answer | network score |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(case.case)} | {_cell('; '.join(case.texts))} | {case.folder}"
        f" | {'malignant' if case.answer else 'benign'} | {decimal(case.score)} |"
        for case in cases[:_EXAMPLES]
    ]
    write_text(out / "reading_replay.md", "\n".join(lines) + "\n")
    content = json.dumps(replay.as_dict(), indent=1, ensure_ascii=False)
    write_text(out / "reading_replay.json", content)


def write_comparison(comparisons: Sequence[Comparison], gaps: Sequence[Gap], out: Path) -> None:
    """Write reproduction.csv and reproduction.md: values, reasons, and missing material."""
    create_output_folder(out)
    write_text(out / "reproduction.csv", csv_text(comparison_table(comparisons)))
    lines = [
        "# Published values and those computed from the material",
        "",
        "| source | quantity | published | computed | reason of a difference |",
        "|---|---|---|---|---|",
    ]
    for comparison in comparisons:
        published = comparison.published
        ours = None if comparison.computed is None else comparison.computed.value
        lines.append(
            f"| {published.source} | {published.quantity}"
            f" | {decimal(published.value, published.digits)}"
            f" | {decimal(ours, published.digits)} | {_cell(comparison.reason())} |"
        )
    lines += ["", "## Missing or unused material", ""]
    lines += [f"- {gap.part}: {gap.effect}" for gap in gaps] or ["Nothing is missing."]
    write_text(out / "reproduction.md", "\n".join(lines) + "\n")


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return one row per published value.

    Columns: source, quantity, published, computed, origin (run or file), reason.
    """
    return pd.DataFrame(
        [
            {
                "source": c.published.source,
                "quantity": c.published.quantity,
                "published": c.published.value,
                "computed": None if c.computed is None else c.computed.value,
                "origin": "" if c.computed is None else c.computed.origin,
                "reason": c.reason(),
            }
            for c in comparisons
        ]
    )


def _cell(text: str) -> str:
    """Return a text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
