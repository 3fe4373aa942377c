"""CSV tables: rows that know their position, and errors that name file, row and remedy.

The meaning of columns belongs in the module of a source.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError


@dataclass(frozen=True)
class CsvRow:
    """One row of a table.

    table: the file. line: where the row begins in the file; the header is line 1. cells: stripped
    texts by lower-case column name.
    """

    table: Path
    line: int
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """Return a cell, or "" if the table has no such column."""
        return self.cells.get(column, "")

    def error(self, fault: str, remedy: str) -> UserError:
        """Return the exception that reports a fault of this row."""
        return UserError(f"{self.table}, row {self.line}: {' '.join(fault.split())}; {remedy}.")

    @contextmanager
    def error_context(self) -> Iterator[None]:
        """Prefix the message of a UserError raised inside with the table and the row."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{self.table}, row {self.line}: {error}") from error

    def whole_number(self, column: str, low: float, high: float) -> int | None:
        """Return a cell as a whole number within [low, high], None if it is empty.

        UserError for any other text.
        """
        text = self.get(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        # Comparisons with NaN are false, so text that is not a number fails here too.
        if not low <= value <= high or value != int(value):
            raise self.error(
                f"{column} is {text!r}",
                f"write a whole number from {low:g} to {high:g} or leave the cell empty",
            )
        return int(value)


def read_table(path: Path, required: Mapping[str, tuple[str, ...]]) -> list[CsvRow]:
    """Read a CSV file in UTF-8, separated by commas or semicolons.

    Line breaks inside quotes are allowed; empty rows are skipped.

    Parameters
    ----------
    path : Path
        The CSV file.
    required : mapping of str to tuple of str
        Required columns, each with the alternative names it may have in the file. Rows carry the
        first name.

    Returns
    -------
    list of CsvRow
        At least one row.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a column, repeats one, or has no rows.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "table.csv"
    >>> _ = path.write_text("file;patient\\na.png;P1\\n")
    >>> [row] = read_table(path, {"image": ("file",), "patient": ()})
    >>> row.line, row.cells
    (2, {'image': 'a.png', 'patient': 'P1'})
    >>> folder.cleanup()
    """
    text = _read_text(path)
    header = text.split("\n", 1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        # Spreadsheet programs write semicolons where the comma is the decimal mark.
        delimiter=";" if header.count(";") > header.count(",") else ",",
    )
    try:
        rows = list(_parse_rows(path, reader, required))
    except csv.Error as error:
        raise UserError(
            f"{path}, row {reader.line_num}: not a CSV row ({error}); save the table again as CSV."
        ) from None
    if not rows:
        raise UserError(f"The table {path} has no rows: add a row per image or finding.")
    return rows


def _read_text(path: Path) -> str:
    """Return the text of the file; UserError with the remedy for each way that reading can fail."""
    try:
        # utf-8-sig: spreadsheet programs write a byte order mark before the header.
        return path.read_text(encoding="utf-8-sig")
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


def _parse_rows(
    path: Path, reader: Iterator[list[str]], required: Mapping[str, tuple[str, ...]]
) -> Iterator[CsvRow]:
    """Yield the rows below the header."""
    columns = _parse_header(path, next(reader, []), required)
    previous_line = reader.line_num  # type: ignore[attr-defined]
    for cells in reader:
        # A row with line breaks inside quotes ends below the line on which it begins.
        line, previous_line = previous_line + 1, reader.line_num  # type: ignore[attr-defined]
        if not any(cell.strip() for cell in cells):
            continue
        row = CsvRow(path, line, dict(zip(columns, (cell.strip() for cell in cells))))
        if len(cells) != len(columns):
            raise row.error(
                f"it has {len(cells)} cells where the header has {len(columns)}",
                "put quotes around cells that hold the separator",
            )
        yield row


def _parse_header(
    path: Path, cells: list[str], required: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return the column names, with each alternative name replaced by the required one."""
    columns = [" ".join(name.lower().split()) for name in cells]
    header = ", ".join(columns) or "nothing"
    for column, alternatives in required.items():
        present = [name for name in (column, *alternatives) if name in columns]
        if not present:
            names = " or ".join(repr(name) for name in (column, *alternatives))
            raise UserError(
                f"The table {path} has no column {names}: its header holds {header}; add the"
                " column."
            )
        columns[columns.index(present[0])] = column
    repeated = next((name for name in columns if name and columns.count(name) > 1), None)
    if repeated:
        raise UserError(f"The table {path} has two columns {repeated!r}: remove one of them.")
    return columns
