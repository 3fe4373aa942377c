"""Writing tables: CSV, Excel, LaTeX (booktabs) and Markdown, with the passport."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import UserError
from core.study_folder import write_text
from evaluation.queries import provenance
from evaluation.queries.provenance import Missing, Passport
from evaluation.reporting.figures.export import Export, caption_tail, folder
from evaluation.reporting.tables import TABLES, Table, TableKind

FORMATS = ("csv", "xlsx", "tex", "md")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "–": "--",
    "−": r"$-$",
    "≥": r"$\geq$",
    "×": r"$\times$",
    "…": r"\ldots{}",
    '"': r"\textquotedbl{}",
}
# Letters that a line of LaTeX's own article class (345 pt) holds at each size.
SIZES = (("footnotesize", 78), ("scriptsize", 88), ("tiny", 108))
# Letters after which words may be hyphenated, in the order tried; lines of body after which a table
# goes over several pages.
LONGEST_WORDS, LONG_TABLE = (14, 11, 9), 45
# Letters that the gap between two columns takes, and a little for wide letters.
GAP = 2.2


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is; a hash may be broken into lines."""
    printed = "".join(_LATEX.get(sign, sign) for sign in text)
    return re.sub(
        r"\b[0-9a-f]{12,}\b",
        lambda found: r"\allowbreak ".join(re.findall(".{1,6}", found[0])),
        printed,
    )


def markdown(table: Table, title: str) -> str:
    """A Markdown table with its title and note."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    shown = table.shown()
    lines = [
        "| " + " | ".join(cell(c) for c in shown.columns) + " |",
        "| " + " | ".join("---" for _ in shown.columns) + " |",
    ]
    lines += [
        "| " + " | ".join(cell(v) for v in row) + " |" for row in shown.itertuples(index=False)
    ]
    return f"**{title}**\n\n" + "\n".join(lines) + f"\n\n{table.note}\n"


def latex(table: Table, title: str, name: str) -> str:
    """A LaTeX table that fits the line it is put into: columns in shares of its width, broken into
    lines, in the largest type in which the words fit. Long ones go over several pages. Needs what
    its first line says.
    """
    shown = table.shown()
    size, room, shares = _fit(shown)
    numeric = [all(_is_number(v) for v in shown[c]) for c in shown.columns]
    # \hspace{0pt} lets TeX hyphenate the first word of a cell, too; names such as unit_0001 stay on
    # their line.
    spec = "".join(
        rf">{{\ragged{'left' if is_number else 'right'}{'' if all('_' in v for v in shown[c]) else chr(92) + 'hspace{0pt}'}\arraybackslash}}"
        rf"p{{\dimexpr {share:.3f}\linewidth-2\tabcolsep\relax}}"
        for c, share, is_number in zip(shown.columns, shares, numeric)
    )
    heading = " & ".join(latex_text(str(c)) for c in shown.columns) + r" \\"
    caption = rf"\caption{{{latex_text(title)}. {latex_text(table.note)}}}\label{{tab:{name}}}"
    body = [
        " & ".join(
            latex_text(v).replace(r" \%", r"~\%") if is_number else latex_text(v)
            for v, is_number in zip(row, numeric)
        )
        + r" \\"
        for row in shown.itertuples(index=False)
    ]
    heights = [
        max(-(-len(text) // max(1, int(share * room))) for text, share in zip(row, shares))
        for row in shown.itertuples(index=False)
    ]
    if sum(heights) > LONG_TABLE:
        again = heading.removesuffix(r" \\") + r"\tabularnewline"
        kind, lines = "longtable", [
            rf"\begin{{longtable}}{{@{{}}{spec}@{{}}}}", caption + r"\tabularnewline", r"\toprule", heading, r"\midrule", r"\endfirsthead", r"\toprule", again, r"\midrule",
            r"\endhead", r"\bottomrule", r"\endfoot", *body, r"\end{longtable}"]  # fmt: skip
        lines = ["{", rf"\{size}\setlength{{\tabcolsep}}{{2pt}}", *lines, "}"]
    else:
        kind, lines = "", [
            r"\begin{table}", rf"\{size}\setlength{{\tabcolsep}}{{2pt}}", caption, rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}", r"\toprule", heading, r"\midrule", *body,
            r"\bottomrule", r"\end{tabular}", r"\end{table}"]  # fmt: skip
    packages = ", ".join(
        rf"\usepackage{{{package}}}" for package in ("array", "booktabs", kind) if package
    )
    return "\n".join([rf"% needs \usepackage[T1]{{fontenc}}, {packages}", *lines, ""])


def _fit(shown: pd.DataFrame) -> tuple[str, int, list[float]]:
    """The type size in which every column can hold its longest word, the letters of a line at that
    size, and each column's share of the line: its longest word and a part of what is left by how
    long its texts are.
    """
    cells = [[str(c), *shown[c]] for c in shown.columns]
    words = np.array(
        [
            max(len(word) for text in column for word in text.replace(" %", "_%").split() or [""])
            for column in cells
        ]
    )
    wanted = np.array([np.mean(sorted(map(len, column))[-3:]) for column in cells]) + GAP
    for longest in LONGEST_WORDS:
        least = np.minimum(words, longest) + GAP
        size, room = next(
            ((size, room) for size, room in SIZES if min(wanted.sum(), 1.25 * least.sum()) <= room),
            SIZES[-1],
        )
        if least.sum() <= room:
            break
    wanted = np.maximum(wanted, least)
    left = max(0.0, room - least.sum())
    more = np.minimum(wanted - least, 60)
    widths = least + (left * more / more.sum() if more.sum() else left / len(least))
    return size, room, [float(w) for w in widths / widths.sum()]


def _is_number(text: str) -> bool:
    return (
        text.replace(",", "")
        .replace(".", "")
        .replace("%", "")
        .replace("-", "")
        .replace("–", "0")
        .replace("<", "")
        .strip()
        .isdigit()
    )


def excel(table: Table, title: str, path: Path) -> None:
    """An Excel sheet with numbers as numbers, its note beneath.

    A text that looks like a formula stays text.
    """
    frame = table.raw()
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        frame.to_excel(book, sheet_name=title[:31], index=False)
        sheet = book.sheets[title[:31]]
        sheet.freeze_panes = "B2"
        for column in sheet.columns:
            sheet.column_dimensions[column[0].column_letter].width = min(
                60, 2 + max(len(str(c.value or "")) for c in column)
            )
            for cell in column:
                if isinstance(cell.value, str):
                    cell.data_type = "s"
        sheet.cell(len(frame) + 3, 1, table.note).data_type = "s"


def export_table(study: Path, kind: TableKind, out: Path) -> Export:
    """Write one table in every format, with its passport; or say what is missing."""
    try:
        table = kind.build(study)
    except Missing as missing:
        return Export(kind.name, None, missing.step, missing.reason, missing.command)
    stem = f"table_{kind.name}"
    parts = provenance.simulated_parts(study, kind.needs)
    note = table.note + caption_tail(study, parts)
    table = Table(table.columns, table.rows, note, table.counts, table.method)
    text = table.raw().to_csv(index=False, float_format="%.10g")
    write_text(out / f"{stem}.csv", text)
    write_text(out / f"{stem}.tex", latex(table, kind.title, kind.name))
    write_text(out / f"{stem}.md", markdown(table, kind.title))
    excel(table, kind.title, out / f"{stem}.xlsx")
    passport = Passport(
        name=stem,
        kind="table",
        title=kind.title,
        caption=note,
        counts=table.counts,
        method=table.method,
        seed=provenance.seed_of(study),
        simulated=parts,
        inputs=provenance.inputs(study, kind.needs),
        data_hash=provenance.data_hash({kind.name: text}),
        command=f"deepminer tables {kind.name} --study STUDY --out DIR",
        software=provenance.software(),
        files=tuple(f"{stem}.{suffix}" for suffix in FORMATS),
    )
    passport.write(out)
    return Export(kind.name, passport)


def export_tables(
    study: Path, names: Sequence[str], out: Path, report: Callable[[int, int, str], None]
) -> list[Export]:
    """Write several tables into a folder. "all" or no name: every table.

    A wrong name is a UserError.
    """
    wanted = list(TABLES) if not names or "all" in names else list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in TABLES]
    if unknown:
        raise UserError(f"There is no table {unknown[0]!r}; the tables are {', '.join(TABLES)}.")
    folder(out)
    done = []
    for i, name in enumerate(wanted):
        done.append(export_table(study, TABLES[name], out))
        report(i + 1, len(wanted), "tables")
    return done
