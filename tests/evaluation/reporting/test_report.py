"""The report: self-contained, equal to the commands' numbers, honest about what is missing;
checklists that tick nothing by themselves.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pypdf import PdfReader
from typer.testing import CliRunner

from core import store, study_folder
from core.errors import UserError
from core.store import reading_table, run_table
from dashboard.cli import app
from evaluation.intervals import decimal, percent
from evaluation.reporting.report import Grid, Heading, blocks, write_report
from evaluation.reporting.tables.checklists import FOUND, GUIDELINES, MISSING, WRITE, items

PARTS = [
    "Methods",
    "Patients",
    "Classifier",
    "Units and their names",
    "Explanations",
    "Reading study",
    "Limits",
    "Reporting checklists",
    "Provenance",
]


def silent(done: int, total: int, unit: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def html(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demonstration's report."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(demonstration, out, silent)
    assert out.stat().st_size <= 5_000_000 and (out.parent / "report.html.passport.json").is_file()
    return out.read_text(encoding="utf-8")


class Addresses(HTMLParser):
    """Every address and every tag of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.unnamed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.found += [
            str(values[name]) for name in ("src", "href", "srcset", "data") if name in values
        ]
        self.unnamed += tag == "img" and not values.get("alt")


def test_html_needs_no_network(html: str) -> None:
    page = Addresses()
    page.feed(html)
    assert page.found and all(a.startswith(("data:", "#")) for a in page.found)
    assert "script" not in page.tags and "iframe" not in page.tags and not page.unnamed
    assert "@import" not in html and not re.search(r"url\((?!data:)", html)


def test_html_has_every_part_and_says_it_is_simulated(html: str) -> None:
    assert [re.sub("<.*?>", "", part) for part in re.findall(r"<h2[^>]*>.*?</h2>", html)] == PARTS
    assert "SIMULATED: images" in html and "Nothing in this report is a result about people" in html


def test_numbers_equal_the_commands(own_study: Path, html: str) -> None:
    answered = CliRunner().invoke(
        app, ["evaluate", "--study", str(own_study), "--split", "test", "--json"]
    )
    assert answered.exit_code == 0
    metrics = [
        m
        for m in json.loads(answered.stdout)["result"]["metrics"]
        if m["name"] == "auc" and m["low"] is not None
    ]
    assert metrics
    for m in metrics:
        assert f"{decimal(m['estimate'])} ({decimal(m['low'])} to {decimal(m['high'])})" in html, m
    scored = CliRunner().invoke(app, ["reading", "score", "--study", str(own_study), "--json"])
    result = json.loads(scored.stdout)["result"]
    assert result["paragraph"].split(". ")[1].replace("'", "&#x27;") in html
    primary = result["score"]["primary"]
    assert (
        f"{primary['correct']} of {primary['n']} texts" in html
        and percent(primary["correct"] / primary["n"]) in html
    )
    assert result["hash"] in html


def test_evaluate_reports_the_explanations_similarity(own_study: Path, html: str) -> None:
    answered = CliRunner().invoke(app, ["evaluate", "--study", str(own_study), "--json"])
    found = json.loads(answered.stdout)["result"]["similarity"]
    assert [(s["words"], s["measure"]) for s in found] == [
        (w, m) for w in ("top unit", "top eight") for m in ("Greedy matching", "Concept F1")
    ]
    for s in found:
        r = s["result"]
        assert (
            r["oov_reference"] is not None
            and r["oov_hypothesis"] is not None
            and r["baseline"] is not None
        )
        assert decimal(r["mean"]["estimate"]) in html


def test_pdf_has_pages_and_embedded_fonts(demonstration: Path, tmp_path: Path) -> None:
    write_report(demonstration, tmp_path / "r.pdf", silent)
    pages = PdfReader(tmp_path / "r.pdf").pages
    text = "\n".join(page.extract_text() for page in pages)
    assert len(pages) >= 5 and all(part in text for part in PARTS)
    for page in pages:
        for font in page["/Resources"].get("/Font", {}).values():
            assert (
                "/FontFile2"
                in font.get_object()["/DescendantFonts"][0]
                .get_object()["/FontDescriptor"]
                .get_object()
            )


def test_limits_repeat_every_warning_of_the_linter(demonstration: Path, html: str) -> None:
    with store.read(demonstration) as con:
        warnings = [f for f in reading_table.protocols(con)[-1].lint if f["severity"] == "warning"]
    assert warnings
    for f in warnings:
        assert f"Linter, warning, {f['field']}" in html
    assert html.count("Accepted because: simulated demonstration") == len(warnings)


def test_an_empty_study_gives_sentences_not_errors(tmp_path: Path) -> None:
    empty = study_folder.init(tmp_path / "s")
    found = blocks(empty, silent)
    assert [b.text for b in found if isinstance(b, Heading)][1:] == PARTS
    assert [b.title for b in found if isinstance(b, Grid)] == ["Reporting checklists"]
    assert {i.state for i in items(empty)} <= {FOUND, MISSING, WRITE}
    assert not [
        i
        for i in items(empty)
        if i.state == FOUND and i.evidence != "none: one network, one checkpoint"
    ]


def test_checklists_are_whole_and_only_the_record_answers(demonstration: Path) -> None:
    numbers = {name: [entry[0] for entry in entries] for name, entries in GUIDELINES.items()}
    assert [n for n in numbers["STARD 2015"] if n.isdigit()] == [
        str(n) for n in range(1, 31) if n not in (10, 12, 13, 21)
    ]
    assert numbers["CLAIM 2024"] == [str(n) for n in range(1, 45)]
    assert {re.match(r"\d+", n).group() for n in numbers["TRIPOD+AI"]} == {
        str(n) for n in range(1, 28)
    }
    assert all(len(set(n)) == len(n) for n in numbers.values())
    states = {(i.guideline, i.number): i for i in items(demonstration)}
    assert states["STARD 2015", "19"].state == FOUND and states["STARD 2015", "30"].state == WRITE
    assert states["CLAIM 2024", "33"].state == MISSING
    assert all(i.evidence for i in states.values())


def test_a_wrong_place_is_refused_in_a_sentence(demonstration: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        write_report(demonstration, tmp_path / "none" / "r.html", silent)
    result = CliRunner().invoke(
        app, ["report", "--study", str(demonstration), "--out", str(tmp_path / "r.docx")]
    )
    assert isinstance(result.exception, UserError)


def test_exports_of_the_test_split_are_logged(own_study: Path, tmp_path: Path) -> None:
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
        with store.read(own_study) as con:
            assert (
                "command line, tables" in set(run_table.events(con, "test split opened")["who"])
            ) == opens
