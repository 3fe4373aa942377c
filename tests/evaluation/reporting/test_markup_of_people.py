"""Texts of people in exports: no live markup in Markdown, LaTeX, HTML; no formula in Excel."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import openpyxl
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evaluation.reporting.blocks import Heading, Paragraph, TableBlock
from evaluation.reporting.html_writer import render_html
from evaluation.reporting.tables import Table, TableColumn
from evaluation.reporting.tables.export import (
    escape_latex,
    escape_markdown,
    to_latex,
    to_markdown,
    write_excel,
)

PIECES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table>",
    "[link](http://evil.example)",
    "![image](http://evil.example/x.png)",
    "https://evil.example",
    "www.evil.example",
    "a@evil.example",
    "**bold**",
    "_it_",
    "`code`",
    "~~gone~~",
    "|",
    "&lt;",
    "&#60;b>",
    "\\",
    "\\input{x}",
    "$x^2$",
    "%",
    "# ",
    "{",
    "}",
    "\n\n",
    "\x0b",
    "=1+1",
    "Mass ≥ 1",
    "< .001",
)
NASTY = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=5).map("".join)
# What escaped LaTeX may contain of special signs: escaped signs and commands of pandas and ours.
LATEX_ESCAPES = re.compile(
    r"\\[&%$#_{}]|\\textbackslash ?|\\textasciitilde ?|\\textasciicircum ?"
    r"|\\space ?|\\textless|\\textgreater|\$-\$|\$\\(geq|leq|rightarrow)\$"
)


@settings(max_examples=200, deadline=None)
@given(NASTY)
def test_markdown_is_text(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    (cell,) = [t for t in parser.parseInline(escape_markdown(text)) if t.type == "inline"]
    kinds = {child.type for child in cell.children or []}
    assert kinds <= {"text", "text_special"}
    shown = "".join(child.content for child in cell.children or [])
    assert shown == " ".join(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", text).split())
    # GitHub makes links of addresses by themselves.
    assert not re.search(r"://|www\.|\S@\S", escape_markdown(text), re.I)


@settings(max_examples=100, deadline=None)
@given(NASTY, NASTY)
def test_markdown_tables_keep_their_cells(first: str, second: str) -> None:
    table = Table((TableColumn("A"), TableColumn("B")), [(first, second)], "Note.")
    tokens = MarkdownIt("commonmark").enable("table").parse(to_markdown(table, "Title"))
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 2
    assert kinds.count("table_open") == 1
    assert not {"html_block", "heading_open", "fence", "hr"} & set(kinds)


@settings(max_examples=200, deadline=None)
@given(NASTY)
def test_latex_is_text(text: str) -> None:
    escaped = escape_latex(text)
    assert not set(LATEX_ESCAPES.sub("", escaped)) & set("\\{}$&#^_%~\n")


def test_cells_of_a_latex_table_are_text() -> None:
    table = Table((TableColumn("Label"),), [(r"\input{x} & $x$ 5%",)], "Note.")
    text = to_latex(table, "X", "x")
    assert r"\textbackslash input\{x\} \& \$x\$ 5\%" in text


class _Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(text: str) -> _Tags:
    table = Table((TableColumn("Label"),), [(text,)], "Note.")
    page = _Tags()
    page.feed(render_html([Heading("T"), Paragraph(text), TableBlock("Labels", table)]))
    return page


@settings(max_examples=30, deadline=None)
@given(NASTY)
def test_html_is_text(text: str) -> None:
    assert page_of(text).tags == page_of("plain").tags


def test_excel_cells_are_text(tmp_path: Path) -> None:
    texts = ['=HYPERLINK("http://evil.example")', "@SUM(1)", "+1", "-1", "\tx", "plain", "a\x01b"]
    table = Table((TableColumn("Label"), TableColumn("n")), [(t, 1) for t in texts], "=note")
    write_excel(table, "T", tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    cells = [row[0] for row in sheet.iter_rows(min_row=2, max_row=8)]
    assert [cell.value for cell in cells] == [*texts[:6], "ab"]
    assert all(cell.data_type == "s" for cell in cells)
    # With the prefix a cell stays text when somebody edits it.
    assert [bool(cell.quotePrefix) for cell in cells] == [True] * 5 + [False] * 2
    assert sheet["B2"].value == 1
