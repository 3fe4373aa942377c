"""Places of the lines of a printed protocol: columns, order, page breaks."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from evaluation.reporting import protocol_pdf
from evaluation.reporting.protocol_pdf import LINE_HEIGHT, MARGIN, PAGE_HEIGHT, PAGE_WIDTH

TOP = PAGE_HEIGHT - MARGIN


class Pages:
    """Keeps the texts of every page as (x, y, text, size), x and y in millimetres."""

    def __init__(self) -> None:
        self.pages: list[list[tuple[float, float, str, float]]] = []
        self.writer = protocol_pdf._PageWriter(MagicMock(savefig=self._save))

    def _save(self, figure) -> None:
        texts = figure.texts
        assert all(text.get_va() == "top" and not text.get_parse_math() for text in texts)
        self.pages.append(
            [
                (
                    round(text.get_position()[0] * PAGE_WIDTH, 3),
                    round(text.get_position()[1] * PAGE_HEIGHT, 3),
                    text.get_text(),
                    text.get_fontsize(),
                )
                for text in texts
            ]
        )

    def finish(self) -> list[list[tuple[float, float, str, float]]]:
        self.writer.finish()
        return self.pages


def test_lines_stand_below_each_other() -> None:
    pages = Pages()
    pages.writer.write([(MARGIN, "Title"), (MARGIN, "of two lines")], size=18, weight="bold")
    pages.writer.write_text("word " * 30)
    [page] = pages.finish()
    step = LINE_HEIGHT * 2
    after_title = TOP - 2 * step - LINE_HEIGHT / 3
    assert page[0] == (PAGE_WIDTH / 2, MARGIN / 2, "1", 8)
    assert page[1][:3] == (MARGIN, TOP, "Title") and page[1][3] == 18
    assert page[2][:2] == (MARGIN, round(TOP - step, 3))
    assert page[3][:2] == (MARGIN, round(after_title, 3)) and page[3][3] == 9
    assert page[4][:2] == (MARGIN, round(after_title - LINE_HEIGHT, 3))
    assert f"{page[3][2]} {page[4][2]}" == ("word " * 30).strip() and len(page[3][2]) <= 110


@pytest.mark.parametrize(("name", "value"), [("name", "v " * 200), ("long name " * 10, "v")])
def test_a_row_ends_below_its_longer_column(name: str, value: str) -> None:
    pages = Pages()
    pages.writer.write_row(name, value)
    pages.writer.write_row("next", "row")
    [page] = pages.finish()
    first = [line for line in page[1:] if line[2] not in ("next", "row")]
    (next_line,) = [line for line in page if line[2] == "next"]
    (row_line,) = [line for line in page if line[2] == "row"]
    # Names and values begin at the same height, in columns of their own.
    assert {x for x, *_ in first} == {MARGIN, protocol_pdf.VALUE_X}
    assert sorted(y for _, y, *_ in first)[-2:] == [TOP, TOP]
    assert (next_line[0], row_line[0]) == (MARGIN, protocol_pdf.VALUE_X)
    lowest = min(y for _, y, *_ in first)
    assert next_line[1] == row_line[1] == round(lowest - LINE_HEIGHT * 4 / 3, 3)


def test_a_row_is_not_divided_between_pages() -> None:
    pages = Pages()
    count = int((TOP - MARGIN) // LINE_HEIGHT)
    pages.writer.write([(MARGIN, f"line {i}") for i in range(count - 3)])
    pages.writer.write_row("row", "v " * 37 * 5)
    first, second = pages.finish()
    assert [line[2] for line in first[1:]] == [f"line {i}" for i in range(count - 3)]
    assert second[0][2] == "2" and second[1][:3] == (MARGIN, TOP, "row")
    assert len(second) == 1 + 1 + 5


def test_a_row_longer_than_a_page_begins_where_it_stands() -> None:
    pages = Pages()
    pages.writer.write_row("before", "it")
    pages.writer.write_row("row", "v " * 37 * 70)
    assert [line[2] for line in pages.finish()[0][1:4]] == ["before", "it", "row"]
    lines = [line for page in pages.pages for line in page if line[0] == protocol_pdf.VALUE_X]
    assert len(lines) == 71 and len(pages.pages) == 2
    assert all(MARGIN < y <= TOP for page in pages.pages for _, y, *_ in page[1:])
