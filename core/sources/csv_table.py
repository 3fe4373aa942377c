"""Reading CSV tables that people wrote: every complaint names the file, the row and what to do."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError


@dataclass(frozen=True)
class Row:
    """One row. line: where it begins in the file, the header being line 1; cells: stripped, by
    lower-case column name.
    """

    table: Path
    line: int
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """The cell, "" where the table has no such column."""
        return self.cells.get(column, "")

    def wrong(self, fault: str, remedy: str) -> UserError:
        """The exception that tells a fault of this row."""
        return UserError(f"{self.table}, row {self.line}: {' '.join(fault.split())}; {remedy}.")

    def number(self, column: str, low: float, high: float) -> int | None:
        """A whole number of the row within [low, high], None if the cell is empty."""
        text = self.get(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or value != int(value):
            raise self.wrong(
                f"{column} is {text!r}",
                f"write a whole number from {low:g} to {high:g} or leave the cell empty",
            )
        return int(value)


def read_table(path: Path, needed: dict[str, tuple[str, ...]]) -> list[Row]:
    """Rows of a CSV file in UTF-8, separated by commas or semicolons; line breaks inside quotes are
    allowed, empty rows are passed over. needed: column -> further names it may have (rows get the
    first); UserError if one is missing, or if the table cannot be read or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"The table {path} does not exist: check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: give the CSV file inside it.") from None
    except UnicodeDecodeError:
        raise UserError(
            f"The table {path} is not text in UTF-8: save it as a CSV file in UTF-8."
        ) from None
    except OSError as error:
        raise UserError(
            f"The table {path} cannot be read ({error.strerror}): check its permissions."
        ) from None
    header = text.split("\n", 1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=";" if header.count(";") > header.count(",") else ",",
    )
    try:
        rows = list(_rows(path, reader, needed))
    except csv.Error as error:
        raise UserError(
            f"{path}, row {reader.line_num}: not a CSV row ({error}); save the table anew as CSV."
        ) from None
    if not rows:
        raise UserError(f"The table {path} has no rows: add a row per image or finding.")
    return rows


def _rows(
    path: Path, reader: Iterator[list[str]], needed: dict[str, tuple[str, ...]]
) -> Iterator[Row]:
    """Rows beneath the header."""
    columns = [" ".join(name.lower().split()) for name in next(reader, [])]
    header = ", ".join(columns) or "nothing"
    for column, others in needed.items():
        found = [name for name in (column, *others) if name in columns]
        if not found:
            names = " or ".join(repr(name) for name in (column, *others))
            raise UserError(
                f"The table {path} has no column {names}: its header holds {header}; add the"
                " column."
            )
        columns[columns.index(found[0])] = column
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice:
        raise UserError(f"The table {path} has two columns {twice!r}: take one of them out.")
    before = reader.line_num  # type: ignore[attr-defined]
    for cells in reader:
        line, before = before + 1, reader.line_num  # type: ignore[attr-defined]
        if not any(cell.strip() for cell in cells):
            continue
        row = Row(path, line, dict(zip(columns, (cell.strip() for cell in cells))))
        if len(cells) != len(columns):
            raise row.wrong(
                f"it has {len(cells)} cells where the header has {len(columns)}",
                "put quotes around cells that hold the separator",
            )
        yield row
