"""Writing tables: CSV, Excel, LaTeX (booktabs) and Markdown, with the passport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from core.errors import UserError
from core.study import write_text
from evaluation import passport as passports
from evaluation.figures.export import Export, caption_tail, folder
from evaluation.passport import Missing, Passport
from evaluation.tables import TABLES, Table, TableKind

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
# Text width of a page in landscape, in centimetres, that long columns share.
ROOM_CM = 14.0


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def markdown(table: Table, title: str) -> str:
    """A Markdown table with its title and note."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    shown = table.shown()
    lines = ["| " + " | ".join(cell(c) for c in shown.columns) + " |", "| " + " | ".join("---" for _ in shown.columns) + " |"]
    lines += ["| " + " | ".join(cell(v) for v in row) + " |" for row in shown.itertuples(index=False)]
    return f"**{title}**\n\n" + "\n".join(lines) + f"\n\n{table.note}\n"


def latex(table: Table, title: str, name: str) -> str:
    """A LaTeX table (needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}); long columns are broken into lines."""
    shown = table.shown()
    long = [c.long for c in table.columns]
    wide = ROOM_CM / max(1, sum(long))
    numeric = [all(_is_number(v) for v in shown[c]) for c in shown.columns]
    spec = "".join(f"p{{{wide:.1f}cm}}" if is_long else "r" if is_number else "l" for is_long, is_number in zip(long, numeric))
    body = [" & ".join(latex_text(v) for v in row) + r" \\" for row in shown.itertuples(index=False)]
    return "\n".join(
        [
            r"% needs \usepackage[T1]{fontenc} and \usepackage{booktabs}",
            r"\begin{table}",
            r"\footnotesize",
            rf"\caption{{{latex_text(title)}. {latex_text(table.note)}}}",
            rf"\label{{tab:{name}}}",
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            " & ".join(latex_text(str(c)) for c in shown.columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("%", "").replace("-", "").replace("–", "0").replace("<", "").strip().isdigit()


def excel(table: Table, title: str, path: Path) -> None:
    """An Excel sheet with numbers as numbers, its note beneath. A text that looks like a formula stays text."""
    frame = table.raw()
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        frame.to_excel(book, sheet_name=title[:31], index=False)
        sheet = book.sheets[title[:31]]
        sheet.freeze_panes = "B2"
        for column in sheet.columns:
            sheet.column_dimensions[column[0].column_letter].width = min(60, 2 + max(len(str(c.value or "")) for c in column))
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
    parts = passports.simulated_parts(study, kind.needs)
    note = table.note + caption_tail(study, parts)
    table = Table(table.columns, table.rows, note, table.counts, table.method)
    text = table.raw().to_csv(index=False, float_format="%.10g")
    write_text(out / f"{stem}.csv", text)
    write_text(out / f"{stem}.tex", latex(table, kind.title, kind.name))
    write_text(out / f"{stem}.md", markdown(table, kind.title))
    excel(table, kind.title, out / f"{stem}.xlsx")
    passport = Passport(
        stem,
        "table",
        kind.title,
        note,
        table.counts,
        table.method,
        passports.seed_of(study),
        parts,
        passports.inputs(study, kind.needs),
        passports.data_hash({kind.name: text}),
        f"deepminer tables {kind.name} --study STUDY --out DIR",
        passports.software(),
        tuple(f"{stem}.{suffix}" for suffix in FORMATS),
    )
    passport.write(out)
    return Export(kind.name, passport)


def export_tables(study: Path, names: Sequence[str], out: Path, report: Callable[[int, int, str], None]) -> list[Export]:
    """Write several tables into a folder. "all" or no name: every table. A wrong name is a UserError."""
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
