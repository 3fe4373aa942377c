"""The report: self-contained, with the numbers of the commands; its checklists."""

from __future__ import annotations

import json
import re
import sys
import types
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import ImageFile
from pypdf import PdfReader
from typer.testing import CliRunner

from core import store, study_folder
from core.errors import UserError
from core.store import run_table
from core.store.reading import protocol_table
from dashboard.cli import app
from evaluation.intervals import decimal, percent
from evaluation.reporting import report
from evaluation.reporting.blocks import Block, FigureBlock, Heading, TableBlock
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import render_figure
from evaluation.reporting.html_writer import print_widths, render_html
from evaluation.reporting.pdf_writer import require_weasyprint, vector_uri
from evaluation.reporting.report import build_blocks, write_report
from evaluation.reporting.tables.base import Table, TableColumn
from evaluation.reporting.tables.checklists import (
    FOUND,
    MISSING,
    WRITE,
    checklist_items,
)
from evaluation.reporting.tables.guidelines import GUIDELINES

pytestmark = pytest.mark.slow

PARTS = [
    "Summary",
    "Methods",
    "Patients",
    "Classifier",
    "Units and their names",
    "Explanations",
    "Reading study",
    "Limitations",
    "Reporting checklists",
    "Provenance",
]


def silent(done: int, total: int, unit: str) -> None:
    """Ignore progress."""


@pytest.fixture(scope="module")
def blocks(demonstration: Path) -> list[Block]:
    """The parts of the demonstration's report, which are made once."""
    return build_blocks(demonstration, silent)


def write_blocks(study: Path, blocks: list[Block], out: Path) -> None:
    """Write the report of a study, whose parts are these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "build_blocks", lambda *_: blocks)
        write_report(study, out, silent)


@pytest.fixture(scope="module")
def html(demonstration: Path, blocks: list[Block], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the report of the demonstration."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_blocks(demonstration, blocks, out)
    assert (
        out.stat().st_size <= 5_000_000 and (out.parent / "report.html.provenance.json").is_file()
    )
    return out.read_text(encoding="utf-8")


class Addresses(HTMLParser):
    """Collects every address and every tag of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.unnamed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.addresses += [
            str(values[name]) for name in ("src", "href", "srcset", "data") if name in values
        ]
        self.unnamed += tag == "img" and not values.get("alt")


def test_html_is_self_contained(html: str) -> None:
    page = Addresses()
    page.feed(html)
    assert page.addresses and all(a.startswith(("data:", "#")) for a in page.addresses)
    assert "script" not in page.tags and "iframe" not in page.tags and not page.unnamed
    assert "@import" not in html and not re.search(r"url\((?!data:)", html)


def test_html_parts_and_simulated_mark(html: str) -> None:
    assert [re.sub("<.*?>", "", part) for part in re.findall(r"<h2[^>]*>.*?</h2>", html)] == PARTS
    assert "SIMULATED: images" in html and "Nothing in this report is a result about people" in html


def test_numbers_match_commands(own_study: Path, html: str) -> None:
    evaluated = CliRunner().invoke(
        app, ["evaluate", "--study", str(own_study), "--split", "test", "--json"]
    )
    assert evaluated.exit_code == 0
    metrics = [
        m
        for m in json.loads(evaluated.stdout)["result"]["metrics"]
        if m["name"] == "auc" and m["low"] is not None
    ]
    assert metrics
    for m in metrics:
        assert f"{decimal(m['estimate'])} ({decimal(m['low'])} to {decimal(m['high'])})" in html, m
    scored = CliRunner().invoke(app, ["reading", "score", "--study", str(own_study), "--json"])
    result = json.loads(scored.stdout)["result"]
    assert result["paragraph"].split(". ")[1] in unescape(html)
    primary = result["score"]["primary"]
    assert (
        f"{primary['correct']} of {primary['n']} texts" in html
        and percent(primary["correct"] / primary["n"]) in html
    )
    assert result["hash"] in html


def test_similarity_matches_evaluate(own_study: Path, html: str) -> None:
    evaluated = CliRunner().invoke(app, ["evaluate", "--study", str(own_study), "--json"])
    similarities = json.loads(evaluated.stdout)["result"]["similarity"]
    assert [(s["words"], s["measure"]) for s in similarities] == [
        (w, m) for w in ("top unit", "top eight") for m in ("Greedy matching", "Concept F1")
    ]
    for s in similarities:
        r = s["result"]
        assert (
            r["oov_reference"] is not None
            and r["oov_hypothesis"] is not None
            and r["baseline"] is not None
        )
        assert decimal(r["mean"]["estimate"]) in html


def test_pdf_parts_and_embedded_fonts(
    demonstration: Path, blocks: list[Block], tmp_path: Path
) -> None:
    try:
        require_weasyprint()
    except UserError as error:
        pytest.skip(str(error))
    # Two figures stand for all: WeasyPrint needs a second for the vectors of each.
    figures = [block for block in blocks if isinstance(block, FigureBlock)]
    write_blocks(
        demonstration, [block for block in blocks if block not in figures[2:]], tmp_path / "r.pdf"
    )
    pages = PdfReader(tmp_path / "r.pdf").pages
    text = "\n".join(page.extract_text() for page in pages)
    assert len(pages) >= 5 and all(part in text for part in PARTS)
    assert [
        page.extract_text().rstrip().endswith(f"{i} / {len(pages)}")
        for i, page in enumerate(pages, start=1)
    ] == [True] * len(pages)
    for page in pages:
        # A4; pages with a wide table lie on their side.
        sides = sorted((float(page.mediabox.width), float(page.mediabox.height)))
        assert [side / 72 * 25.4 for side in sides] == pytest.approx([210, 297], abs=0.5)
        for font in page["/Resources"].get("/Font", {}).values():
            descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor.get_object())


def test_print_widths_fit_the_longest_texts() -> None:
    """Texts on one line keep their place, and of long texts the longest has most."""
    headings = ["Item", "State", "Text", "Evidence"]
    rows = [["12", "evidence found", "w" * 64, "k " * 128], ["3", "missing", "", ""]]
    widths = print_widths(headings, rows, [False, False, True, True])
    # Of 125 characters: 4 and 14 with 3 of space around each; 101 are left for 8 + 16 parts.
    assert widths == pytest.approx([5.6, 13.6, 26.93, 53.87])
    # Texts that need more than the line still get a share each, and 100 % is all there is.
    crowded = print_widths(headings, [["i" * 90, "s" * 60, "t" * 64, "e" * 256]], [False] * 4)
    assert sum(crowded) == pytest.approx(100, abs=0.05) and min(crowded) > 0
    assert print_widths(["n", "k"], [], [False, True]) == [50, 50]


@pytest.mark.parametrize(("count", "is_across"), [(8, False), (9, True)])
def test_tables_print_with_their_widths(count: int, is_across: bool) -> None:
    columns = tuple(TableColumn(f"Column{i}", wrap=i == 1) for i in range(count))
    table = Table(columns, [tuple("x" * 40 for _ in columns)], "Note.")
    page = render_html([Heading("Report"), TableBlock("Table", table)])
    widths = [float(width) for width in re.findall(r'<col style="--print-width:(.+?)%">', page)]
    assert len(widths) == count and sum(widths) == pytest.approx(100, abs=0.1)
    assert ('<div class="wide across"' in page) == is_across
    print_style = page.split("@media print", 1)[1]
    assert "table-layout:fixed" in print_style and "col{width:var(--print-width)}" in print_style


def test_pdf_figures_are_vectors_without_mammograms(demonstration: Path) -> None:
    for name, media_type in (("calibration", "image/svg+xml"), ("units", "image/jpeg")):
        result, _ = render_figure(demonstration, FIGURES[name], FIGURES[name].width)
        assert vector_uri(result).startswith(f"data:{media_type};base64,")


def test_pdf_without_weasyprint(
    demonstration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    out = tmp_path / "r.pdf"
    arguments = ["report", "--study", str(demonstration), "--out", str(out)]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, UserError) and not out.exists()
    assert 'pip install "deepminer[pdf]"' in str(error) and "--out report.html" in str(error)


def test_limitations_list_leakage_warnings(demonstration: Path, html: str) -> None:
    with store.read(demonstration) as con:
        warnings = [
            f for f in protocol_table.list_protocols(con)[-1].lint if f["severity"] == "warning"
        ]
    assert warnings
    for f in warnings:
        assert f"Leakage checks, warning, {f['field']}" in html
    assert html.count("Accepted because: simulated demonstration") == len(warnings)


def test_empty_study(tmp_path: Path) -> None:
    empty = study_folder.create_study(tmp_path / "s")
    blocks = build_blocks(empty, silent)
    assert [b.text for b in blocks if isinstance(b, Heading)][1:] == PARTS
    assert [b.title for b in blocks if isinstance(b, TableBlock)] == ["Reporting checklists"]
    assert {i.state for i in checklist_items(empty)} <= {FOUND, MISSING, WRITE}
    assert not [i for i in checklist_items(empty) if i.state == FOUND]


def test_checklists_are_complete(demonstration: Path) -> None:
    numbers = {name: [entry[0] for entry in entries] for name, entries in GUIDELINES.items()}
    assert [n for n in numbers["STARD 2015"] if n.isdigit()] == [
        str(n) for n in range(1, 31) if n not in (10, 12, 13, 21)
    ]
    assert numbers["CLAIM 2024"] == [str(n) for n in range(1, 45)]
    assert {re.match(r"\d+", n).group() for n in numbers["TRIPOD+AI"]} == {
        str(n) for n in range(1, 28)
    }
    # 17 items about AI in 28 parts, and ten generic ones.
    of_ai = [n for n in numbers["DECIDE-AI"] if n[0].isdigit()]
    assert len(of_ai) == 28
    assert {re.match(r"\d+", n).group() for n in of_ai} == {str(n) for n in range(1, 18)}
    generic = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]
    assert [n for n in numbers["DECIDE-AI"] if n not in of_ai] == generic
    assert all(len(set(n)) == len(n) for n in numbers.values())
    states = {(i.guideline, i.number): i for i in checklist_items(demonstration)}
    assert states["STARD 2015", "19"].state == FOUND and states["STARD 2015", "30"].state == WRITE
    assert states["CLAIM 2024", "33"].state == MISSING
    assert all(i.evidence for i in states.values())


def test_wrong_file_names(demonstration: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        write_report(demonstration, tmp_path / "none" / "r.html", silent)
    result = CliRunner().invoke(
        app, ["report", "--study", str(demonstration), "--out", str(tmp_path / "r.docx")]
    )
    assert isinstance(result.exception, UserError)


def test_test_split_opening_is_logged(own_study: Path, tmp_path: Path) -> None:
    for name, opens in (
        ("coverage", False),
        ("classifiers", True),
    ):  # coverage is measured on hold-out
        result = CliRunner().invoke(
            app, ["tables", name, "--study", str(own_study), "--out", str(tmp_path), "--json"]
        )
        body = json.loads(result.stdout)
        assert body["command"] == "tables" and [p["name"] for p in body["result"]["written"]] == [
            f"table_{name}"
        ]
        (record,) = body["result"]["written"]
        with store.read(own_study) as con:
            exported = run_table.load_log(con, "export")["detail"][0]
        assert exported == f"table_{name} {record['data_hash'][:16]}"
        assert re.fullmatch(r"Evidence record \d+, SHA-256 [0-9a-f]{64}", record["evidence"])
        with store.read(own_study) as con:
            assert (
                any(
                    who.endswith(", command tables")
                    for who in run_table.load_log(con, "test split opened")["who"]
                )
            ) == opens


def test_weasyprint_does_not_change_how_damaged_images_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A truncated mammogram must stay an error after a PDF was written in the same process."""
    # As WeasyPrint sets it when it is first imported.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setitem(sys.modules, "weasyprint", types.ModuleType("weasyprint"))
    require_weasyprint()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
