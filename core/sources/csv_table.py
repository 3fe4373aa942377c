"""Tables (CSV, XLSX): rows that know their position, errors that name file, row and remedy.

The meaning of columns belongs in the module of a source.
"""

from __future__ import annotations

import csv
import sys
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from core.errors import UserError

# Rows are held in memory, where they take several times the size of the file.
MAX_TABLE_BYTES = 256_000_000
# Byte order marks of UTF-16, without which it is not recognised.
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LINE_BREAKS_AND_TABS = str.maketrans("", "", "\r\n\t")


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row of a table.

    table: the file. line: where the row begins in the file; the header is line 1. cells: stripped
    texts by lower-case column name, which may hold control characters; `get` refuses these.
    """

    table: Path
    line: int
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """Return a cell, or "" if the table has no such column.

        UserError for control characters, which make two names look the same. Importers leave out
        the patient of such a row where they leave out those of other faults.
        """
        text = self.cells.get(column, "")
        if not text.isprintable():
            # Line breaks and tabs occur in reports and, at their ends, in paths.
            hidden = control_characters(text.translate(_LINE_BREAKS_AND_TABS))
            if hidden:
                raise self.error(
                    f"the cell of {column!r} holds the control character {hidden}", "remove it"
                )
        return text

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
    """Read a CSV or XLSX file, at most MAX_TABLE_BYTES large.

    Parameters
    ----------
    path : Path
        CSV in UTF-8, or in UTF-16 with a byte order mark, separated by commas, semicolons or tabs;
        line breaks inside quotes are allowed. Or the first sheet of an XLSX file. Empty rows are
        skipped.
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
        If the file cannot be read, is too large, lacks a column, repeats one, or has no rows.

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
    check_table_size(path)
    rows = list(stream_table(path, required))
    if not rows:
        raise UserError(f"The table {path} has no rows: add a row per image or finding.")
    return rows


def check_table_size(path: Path) -> None:
    """Raise UserError for a table that does not fit into memory; a missing file passes."""
    size = path.stat().st_size if path.is_file() else 0
    if size > MAX_TABLE_BYTES:
        raise UserError(
            f"The table {path} has {size / 1e6:,.0f} MB, more than the {MAX_TABLE_BYTES / 1e6:,.0f}"
            " MB that are read: split it into tables of some patients each, or remove columns that"
            " are not used."
        )


def stream_table(
    path: Path,
    required: Mapping[str, tuple[str, ...]],
    optional: Collection[str] | None = None,
) -> Iterator[CsvRow]:
    """Yield the rows of a table of any size, as `read_table` returns them.

    optional: columns that rows carry beside the required ones; None: all.
    """
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"The table {path} is empty (0 bytes): export or copy it again.")
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        yield from _parse_rows(path, _sheet_cells(path), required, optional)
        return
    with _open_text(path) as file:
        try:
            header = file.readline()
            file.seek(0)
            # Spreadsheet programs write semicolons where the comma is the decimal mark. Strict: a
            # quotation mark that is not closed would make the rows below it part of one cell.
            reader = csv.reader(file, delimiter=max(",;\t", key=header.count), strict=True)
            yield from _parse_rows(path, _numbered_cells(path, reader), required, optional)
        except UnicodeDecodeError:
            raise _encoding_error(path) from None


def _numbered_cells(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line on which it begins."""
    previous_line = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{path}, row {previous_line + 1}: not a CSV row ({error}); close and double its"
                " quotation marks, or save the table again as CSV."
            ) from None
        # A row with line breaks inside quotes ends below the line on which it begins.
        line, previous_line = previous_line + 1, reader.line_num  # type: ignore[attr-defined]
        yield line, cells


def _sheet_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and texts of the rows of the first sheet of an XLSX file."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except FileNotFoundError:
        raise UserError(f"The table {path} does not exist: check the path.") from None
    except Exception as error:  # openpyxl passes on the errors of zipfile and of its XML parser
        raise UserError(
            f"The table {path} is not an XLSX file ({type(error).__name__}): save it again, or as"
            " CSV in UTF-8."
        ) from None
    try:
        for line, cells in enumerate(book.worksheets[0].iter_rows(values_only=True), start=1):
            yield line, ["" if cell is None else _cell_text(cell) for cell in cells]
    finally:
        book.close()


def _cell_text(cell: object) -> str:
    """Return a cell of a sheet as text; spreadsheets store whole numbers as 4.0."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _open_text(path: Path) -> TextIO:
    """Return the opened file; UserError with the remedy for each way that opening can fail."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(_UTF16_MARKS):
            return path.open(encoding="utf-16", newline="")
        if start == b"\xd0\xcf\x11\xe0":
            raise UserError(
                f"The table {path} is an old spreadsheet (XLS): save it as XLSX or as CSV in UTF-8."
            )
        # utf-8-sig: spreadsheet programs write a byte order mark before the header.
        return path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError:
        raise UserError(f"The table {path} does not exist: check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: give the CSV file inside it.") from None
    except OSError as error:
        raise UserError(
            f"The table {path} cannot be read ({error.strerror}): check its permissions."
        ) from None


def _encoding_error(path: Path) -> UserError:
    """Return the exception for a file in no known encoding, with the first line that shows it."""
    with path.open("rb") as file:
        is_utf16 = file.read(2) in _UTF16_MARKS
        file.seek(0)
        for number, line in enumerate(() if is_utf16 else file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                # Only a suggestion: the bytes do not say which encoding they are in.
                word = line[max(error.start - 8, 0) : error.start + 8].decode("cp1252", "replace")
                return UserError(
                    f"The table {path} is not text in UTF-8 (line {number}, near"
                    f" {word.strip()!r} if it is Windows-1252): save it as a CSV file in UTF-8."
                )
    return UserError(f"The table {path} is not text in UTF-16: save it as a CSV file in UTF-8.")


def _parse_rows(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    required: Mapping[str, tuple[str, ...]],
    optional: Collection[str] | None,
) -> Iterator[CsvRow]:
    """Yield the rows below the header."""
    _, header = next(rows, (1, []))
    columns = _parse_header(path, header, required)
    carried = [optional is None or column in required or column in optional for column in columns]
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        # Most cells repeat those of other rows: one copy of each halves the memory of a table.
        texts = (sys.intern(cell.strip()) for cell in cells)
        stripped = {column: text for column, text, keep in zip(columns, texts, carried) if keep}
        row = CsvRow(path, line, stripped)
        if len(cells) != len(columns):
            raise row.error(
                f"it has {len(cells)} cells where the header has {len(columns)}",
                "put quotes around cells that hold the separator",
            )
        yield row


def control_characters(text: str) -> str:
    """Return the first control or formatting character of a text as U+..., "" without one.

    Examples
    --------
    >>> control_characters("P1"), control_characters("P1" + chr(8))
    ('', 'U+0008')
    """
    return next(
        (f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs")), ""
    )


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
