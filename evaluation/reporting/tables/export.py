"""Export of tables: CSV, Excel, LaTeX (booktabs) and Markdown, with the provenance record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from core.annotation.spreadsheet_cells import (
    csv_text,
    remove_control_characters,
    starts_formula,
)
from core.atomic_files import write_text
from core.progress import ProgressCallback
from core.settings import in_study_words, load_image_noun
from evaluation.queries import provenance
from evaluation.queries.provenance import MissingInput, ProvenanceRecord
from evaluation.reporting.base import Export, caption_suffix, create_output_folder
from evaluation.reporting.tables import TABLES, Table, TableColumn, TableSpec, select_tables

TABLE_FORMATS = ("csv", "xlsx", "tex", "md")
# LaTeX type sizes: the first in which a table of at most so many columns is set.
TYPE_SIZES = ((6, "footnotesize"), (9, "scriptsize"), (11, "tiny"), (99, "scriptsize"))
# A table of more columns is set on landscape pages.
MAX_PORTRAIT_COLUMNS = 11
# A table of more rows is set over several pages; a shorter one floats.
MAX_FLOAT_ROWS = 20
# Signs that pandas leaves as they are and pdfLaTeX cannot print.
_SIGNS = str.maketrans({"−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$"})
EXCEL_SHEET_NAME = 31  # letters that Excel allows in the name of a sheet


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints literally."""
    # pandas escapes the cells of a table only, so the text becomes a table of one cell.
    styler = pd.DataFrame([[_one_line(text)]]).style.format(escape="latex").hide(axis="index")
    lines = styler.hide(axis="columns").to_latex().split("\n")
    return lines[1].removesuffix(r" \\").translate(_SIGNS)


def escape_markdown(text: str) -> str:
    """Return text that GitHub's Markdown prints literally, on one line: no markup, no link."""
    signs = r"[\\`*\[\]|~]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])"
    escaped = re.sub(signs, r"\\\g<0>", _one_line(text))
    # Tags, character references and addresses, which become links by themselves.
    escaped = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", re.sub(r"&(?=#|[A-Za-z])", "&amp;", escaped))
    escaped = re.sub(r"(?i)(?<=www)\.", "&#46;", escaped.replace("://", "&#58;//"))
    return escaped.replace("@", "&#64;")


def _one_line(text: str) -> str:
    """Return a text without control characters and line breaks, which would end a cell."""
    return " ".join(remove_control_characters(text).split())


def to_markdown(table: Table, title: str) -> str:
    """Return a Markdown table with its title and note."""
    frame = table.printed_frame().map(escape_markdown)
    # Numbers are formatted already: without `disable_numparse` they would be parsed and aligned.
    text = frame.to_markdown(index=False, tablefmt="github", disable_numparse=True)
    return f"**{escape_markdown(title)}**\n\n{text}\n\n{escape_markdown(table.note)}\n"


def to_latex(table: Table, title: str, name: str) -> str:
    """Return a LaTeX table as wide as the line, whose text columns TeX fits and breaks.

    A table of more than `MAX_FLOAT_ROWS` rows runs over several pages, one of more than
    `MAX_PORTRAIT_COLUMNS` columns over landscape pages. The first line names the packages that a
    document needs.
    """
    frame = table.printed_frame().map(_one_line)
    types = "".join(_column_type(c, frame[c.printed_heading]) for c in table.columns)
    frame.columns = pd.Index([_latex_heading(column) for column in table.columns])
    wide = len(table.columns) > MAX_PORTRAIT_COLUMNS
    long = wide or len(frame) > MAX_FLOAT_ROWS
    text = (
        frame.style.hide(axis="index")
        .format(_latex_cell, escape="latex")
        .to_latex(
            column_format=f"@{{}}{types}@{{}}",
            hrules=True,
            caption=f"{escape_latex(title)}. {escape_latex(table.note)}",
            label=f"tab:{name}",
            environment="longtable" if long else None,
        )
    )
    size = next(size for columns, size in TYPE_SIZES if len(table.columns) <= columns)
    setup = rf"\{size}\setlength{{\tabcolsep}}{{2pt}}" + "\n"
    # pandas writes tabular and longtable only; tabularx and xltabular take the width as well.
    for plain, fitted in (("longtable", "xltabular"), ("tabular", "tabularx")):
        text = text.replace(rf"\begin{{{plain}}}", rf"\begin{{{fitted}}}{{\linewidth}}")
        text = text.replace(rf"\end{{{plain}}}", rf"\end{{{fitted}}}")
    if wide:
        text = "\\begin{landscape}\n" + setup + text + "\\end{landscape}\n"
    elif long:
        text = "{" + setup + text + "}\n"
    else:
        text = text.replace("\\begin{table}\n", "\\begin{table}\n" + setup)
    packages = ["booktabs", "xltabular", *(["pdflscape"] if wide else [])]
    needs = ", ".join(rf"\usepackage{{{package}}}" for package in packages)
    return rf"% needs \usepackage[T1]{{fontenc}}, {needs}" + "\n" + text


def _column_type(column: TableColumn, cells: pd.Series) -> str:
    """Return X for text that TeX may break, else a column as wide as its contents."""
    if column.wrap:
        # \hspace{0pt} allows TeX to hyphenate the first word of a cell.
        return r">{\raggedright\arraybackslash\hspace{0pt}}X"
    return "r" if cells.str.fullmatch(r"[\d.,–<> %-]*").all() else "l"


def _latex_heading(column: TableColumn) -> str:
    """Return the heading; in a column that is not broken, one word a line."""
    if column.wrap:
        return escape_latex(column.printed_heading)
    lines = [escape_latex(word) for word in re.split(r"\s+|(?<=-)", column.heading)]
    if column.interval:
        lines.append(escape_latex("(95 % CI)").replace(" ", "~"))
    return r"\shortstack[l]{" + r"\\".join(lines) + "}"


def _latex_cell(escaped: str) -> str:
    """Return an escaped cell whose hashes may be broken and whose per cent signs may not."""
    breakable = re.sub(
        r"\b[0-9a-f]{12,}\b",
        lambda match: r"\allowbreak ".join(re.findall(".{1,6}", match[0])),
        escaped.translate(_SIGNS),
    )
    return breakable.replace(r" \%", r"~\%")


def write_excel(table: Table, title: str, path: Path) -> None:
    """Write an Excel sheet with numbers as numbers, and the note below.

    Text that looks like a formula remains text.
    """
    frame = table.raw_frame().map(
        lambda value: remove_control_characters(value) if isinstance(value, str) else value
    )
    name = title[:EXCEL_SHEET_NAME]
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        frame.to_excel(book, sheet_name=name, index=False)
        sheet = book.sheets[name]
        sheet.freeze_panes = "B2"
        for column in sheet.columns:
            longest = max(len(str(cell.value or "")) for cell in column)
            sheet.column_dimensions[column[0].column_letter].width = min(60, 2 + longest)
            for cell in column:
                # openpyxl takes any text that begins with "=" for a formula.
                if isinstance(cell.value, str):
                    cell.data_type = "s"
                    # Otherwise it would become a formula once the cell is edited.
                    cell.quotePrefix = starts_formula(cell.value)
        sheet.cell(len(frame) + 3, 1, table.note).data_type = "s"


def build_table(study: Path, spec: TableSpec) -> Table:
    """Return a table in the words of the study; MissingInput where an input does not exist."""
    table, noun = spec.build(study), load_image_noun(study)
    columns = tuple(
        replace(column, heading=in_study_words(column.heading, noun)) for column in table.columns
    )
    return replace(table, columns=columns, note=in_study_words(table.note, noun))


def export_table(study: Path, spec: TableSpec, out: Path) -> Export:
    """Write one table in every format, with its provenance record.

    A missing input gives an Export without a record.
    """
    try:
        table = build_table(study, spec)
    except MissingInput as missing:
        return Export(spec.name, None, missing.step, missing.reason, missing.command)
    stem = f"table_{spec.name}"
    simulated = provenance.simulated_parts(study, spec.needs)
    table = replace(table, note=table.note + caption_suffix(study, simulated))
    csv = csv_text(table.raw_frame(), float_format="%.10g")
    write_text(out / f"{stem}.csv", csv)
    write_text(out / f"{stem}.tex", to_latex(table, spec.title, spec.name))
    write_text(out / f"{stem}.md", to_markdown(table, spec.title))
    write_excel(table, spec.title, out / f"{stem}.xlsx")
    record = ProvenanceRecord(
        name=stem,
        kind="table",
        title=spec.title,
        caption=table.note,
        counts=table.counts,
        method=table.method,
        seed=provenance.study_seed(study),
        simulated=simulated,
        inputs=provenance.current_inputs(study, spec.needs),
        data_hash=provenance.hash_tables({spec.name: csv}),
        command=f"deepminer tables {spec.name} --study STUDY --out DIR",
        software=provenance.export_software(),
        evidence=provenance.evidence_head(study),
        files=tuple(f"{stem}.{suffix}" for suffix in TABLE_FORMATS),
    )
    record.write(out)
    return Export(spec.name, record)


def export_tables(
    study: Path, names: Sequence[str], out: Path, report: ProgressCallback
) -> list[Export]:
    """Write several tables into a folder, which is created if it is missing.

    No name or "all": every table. An unknown name is a UserError.
    """
    selected = select_tables(names)
    create_output_folder(out)
    exports = []
    for i, name in enumerate(selected):
        exports.append(export_table(study, TABLES[name], out))
        report(i + 1, len(selected), "tables")
    return exports
