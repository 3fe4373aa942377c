"""Parts of the report by themselves: their order, their sentences and their records."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from core.errors import UserError
from evaluation.queries.provenance import MissingInput
from evaluation.reporting import base, html_writer, pdf_writer, report, report_text
from evaluation.reporting.blocks import FigureBlock, Heading, Paragraph, TableBlock
from evaluation.reporting.figures.base import FigureResult
from evaluation.reporting.tables.base import Table, TableColumn
from support.score_parts import bounds

STUDY = Path("study")


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(owner, name, function)


def test_order_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One figure and table of each part; texts are in the words of the study."""
    reports: list[Any] = []
    parts = (
        ("Patients", ("f1",), ("t1",)),
        ("Units and their names", (), ("t2", "t3")),
        ("Explanations", ("f2",), ()),
        ("Reading study", (), ("t4",)),
    )

    def named(kind: str) -> Any:
        return lambda study, *names: [Paragraph(" ".join((kind, *names)))]

    replace(
        monkeypatch,
        report,
        RESULTS=parts,
        _warnings=named("warnings"),
        summary_sentences=lambda study: ["mammogram 1", "summary 2"],
        methods_sentences=lambda study: ["methods"],
        limitation_sentences=lambda study: ["limits"],
        provenance_sentences=lambda study: ["origin"],
        _figure_blocks=named("figure"),
        _table_blocks=named("table"),
        _reading_study_paragraphs=named("reading"),
        _efficiency_paragraph=named("efficiency"),
        _sufficiency_paragraph=named("sufficiency"),
        _stability_paragraph=named("stability"),
        _question_blocks=named("questions"),
    )
    settings = SimpleNamespace(study=SimpleNamespace(name="Mammogram study"))
    monkeypatch.setattr(report.settings, "load_settings", lambda study: settings)
    monkeypatch.setattr(report.settings, "load_image_noun", lambda study: "image")
    blocks = report.build_blocks(STUDY, lambda *step: reports.append(step))
    texts = [f"# {b.text}" if isinstance(b, Heading) else b.text for b in blocks]  # type: ignore[union-attr]
    assert texts == [
        *("# Mammogram study", "warnings", "# Summary", "image 1", "summary 2"),
        *("# Methods", "figure framework", "methods"),
        *("# Patients", "figure f1", "table t1"),
        *("# Units and their names", "efficiency", "table t2", "table t3"),
        *("# Explanations", "sufficiency", "stability", "figure f2"),
        *("# Reading study", "reading", "table t4", "questions"),
        *("# Limitations", "limits", "# Reporting checklists", "table checklist"),
        *("# Provenance", "origin", "table protocol"),
    ]
    assert reports == [(k, 6, "parts") for k in range(1, 7)]


@pytest.mark.parametrize("weak", [True, False])
def test_warnings_before_the_results(monkeypatch: pytest.MonkeyPatch, weak: bool) -> None:
    asked: list[Any] = []
    parts = ["images"]
    monkeypatch.setattr(
        report.provenance, "simulated_parts", lambda *given: asked.append(given) or parts[-1]
    )
    monkeypatch.setattr(report.lineage, "has_image_level_labels", lambda study: weak)
    monkeypatch.setattr(report.lineage, "truth_statements", lambda study: ["By report."])
    mark = Paragraph(
        "SIMULATED: images. Nothing in this report is a result about people.", strong=True
    )
    labels = Paragraph(
        "Labels are image-level: every tissue patch carries the diagnosis of its mammogram. All"
        " numbers are based on these weak labels.",
        strong=True,
    )
    tail = [*([labels] if weak else []), Paragraph("By report.", strong=True)]
    assert report._warnings(STUDY) == [mark, *tail]
    assert asked == [(STUDY, ("data", "labels", "annotations", "protocol"))]
    parts.append("")
    assert report._warnings(STUDY) == tail
    suffix = base.caption_suffix(STUDY, "labels")
    text = " Labels are image-level: every tissue patch carries the diagnosis of its image."
    mark_text = " SIMULATED: labels; not a result about people."
    assert suffix == f"{text if weak else ''} By report.{mark_text}"
    assert base.caption_suffix(STUDY, "") == f"{text if weak else ''} By report."


def missing(*_: Any, **__: Any) -> Any:
    raise MissingInput("Step", "it is gone", "deepminer x")


def test_figures_and_tables_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(title="T", width=85)
    result = SimpleNamespace(caption="Caption.")
    replace(
        monkeypatch,
        report,
        FIGURES={"f": spec},
        TABLES={"t": spec, "questions": spec},
        render_figure=lambda *given: (result, given),
        caption_suffix=lambda study, simulated: f" {simulated == (STUDY, spec, 85)}",
        build_table=lambda *given: given,
    )
    assert report._figure_blocks(STUDY, "f") == [FigureBlock("T", result, "Caption. True")]  # type: ignore[arg-type]
    assert report._table_blocks(STUDY, "t") == [TableBlock("T", (STUDY, spec))]  # type: ignore[arg-type]
    assert report._question_blocks(STUDY) == [TableBlock("T", (STUDY, spec))]  # type: ignore[arg-type]
    replace(monkeypatch, report, render_figure=missing, build_table=missing)
    tail = "is not available: it is gone. Next command: deepminer x."
    assert report._figure_blocks(STUDY, "f") == [Paragraph(f'Figure "T" {tail}')]
    assert report._table_blocks(STUDY, "t") == [Paragraph(f'Table "T" {tail}')]
    assert report._question_blocks(STUDY) == []
    bare = report._missing_paragraph("X", MissingInput("S", "none"))
    assert bare == Paragraph("X is not available: none.")


def test_paragraphs_about_units(monkeypatch: pytest.MonkeyPatch) -> None:
    efficiency = SimpleNamespace(answers=3, sentence=lambda: "Time.")
    groups = [SimpleNamespace(sentences=lambda: ["G1.", "G2."])]
    found = {"efficiency": efficiency, "sufficiency": None, "stability": None}
    replace(
        monkeypatch,
        report,
        newest_run=lambda study, kind: f"{kind}-1",
        annotation_efficiency=lambda *given: (
            found["efficiency"] if given == (STUDY, "dissect-1") else None
        ),
        measure_groups=lambda *given: groups[-1] if given == (STUDY, "dissect-1") else None,
        load_sufficiency=lambda *given: found["sufficiency"],
        load_stability=lambda *given: found["stability"],
    )
    assert report._efficiency_paragraph(STUDY) == [Paragraph(t) for t in ("Time.", "G1.", "G2.")]
    groups.append(None)  # type: ignore[arg-type]
    assert report._efficiency_paragraph(STUDY) == [Paragraph("Time.")]
    efficiency.answers = 0
    assert report._efficiency_paragraph(STUDY) == []
    found["efficiency"] = None  # type: ignore[assignment]
    assert report._efficiency_paragraph(STUDY) == []
    absent = "Sufficiency of the named units is not available. Next command: deepminer sufficiency."
    assert report._sufficiency_paragraph(STUDY) == [Paragraph(absent)]
    assert report._stability_paragraph(STUDY) == []
    result = SimpleNamespace(sentence=lambda: "Result.")
    found.update(sufficiency=result, stability=result)  # type: ignore[call-overload]
    assert report._sufficiency_paragraph(STUDY) == [Paragraph("Result.")]
    assert report._stability_paragraph(STUDY) == [Paragraph("Result.")]
    monkeypatch.setattr(report, "newest_run", missing)
    for paragraph in ("_efficiency", "_sufficiency", "_stability"):
        assert getattr(report, f"{paragraph}_paragraph")(STUDY) == []


def test_paragraphs_of_the_reading_study(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = SimpleNamespace(protocol="Masses", version=2, hash="abc")
    replace(
        monkeypatch,
        report,
        load_closed_study=lambda study: (protocol, "score"),
        narrative_paragraphs=lambda score: [f"A {score}.", "B."],
    )
    assert report._reading_study_paragraphs(STUDY) == [
        Paragraph("Masses, version 2, protocol abc."),
        Paragraph("A score."),
        Paragraph("B."),
    ]

    def altered(study: Path) -> Any:
        raise UserError("The key was altered.")

    monkeypatch.setattr(report, "load_closed_study", altered)
    text = "No result: The key was altered."
    assert report._reading_study_paragraphs(STUDY) == [Paragraph(text)]
    monkeypatch.setattr(report, "load_closed_study", missing)
    assert report._reading_study_paragraphs(STUDY) == [Paragraph("No result: it is gone.")]


def test_record_of_a_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = Table((TableColumn("A"),), [(1 / 3,)], "note")
    blocks = [Heading("Report"), TableBlock("T", table), Paragraph("p")]
    asked, written = [], []
    replace(
        monkeypatch,
        report,
        build_blocks=lambda *given: asked.append(given) or blocks,
        render_html=lambda given: f"html of {len(given)}",
        write_pdf=lambda *given: written.append(given),
        require_weasyprint=lambda: written.append("required"),
    )
    replace(
        monkeypatch,
        report.provenance,
        study_seed=lambda study: 7,
        simulated_parts=lambda study, names: ",".join(names),
        current_inputs=lambda study, names: dict.fromkeys(names, "v"),
        hash_tables=lambda tables: json.dumps(tables),
        export_software=lambda: {"python": "3"},
        evidence_head=lambda study: "head",
    )
    inputs = (
        *("data", "patches", "train", "evaluate", "dissect", "coverage", "concepts", "explain"),
        *("ablate", "sufficiency", "labels", "annotations", "picks", "protocol"),
    )
    record = report.write_report(STUDY, tmp_path / "r.html", len)  # type: ignore[arg-type]
    assert asked == [(STUDY, len)] and written == []
    assert (tmp_path / "r.html").read_text() == "html of 3"
    assert vars(record) == {
        "name": "r.html",
        "kind": "report",
        "title": "Report",
        "caption": "",
        "counts": {},
        "method": "",
        "seed": 7,
        "simulated": ",".join(inputs),
        "inputs": dict.fromkeys(inputs, "v"),
        "data_hash": json.dumps({"T": "A\n0.3333333333\n"}),
        "command": "deepminer report --study STUDY --out r.html",
        "software": {"python": "3"},
        "evidence": "head",
        "files": ("r.html",),
        "width_mm": None,
    } | {
        name: vars(record)[name]
        for name in vars(record).keys() - {"name", "kind"}
        if name == "made"
    }
    assert (tmp_path / "r.html.provenance.json").is_file()
    report.write_report(STUDY, tmp_path / "r.pdf", len)  # type: ignore[arg-type]
    assert written == ["required", (blocks, tmp_path / "r.pdf")]


def test_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    module, run = report_text, ["evaluate-1"]
    results = [
        SimpleNamespace(
            name=name, auc=SimpleNamespace(**vars(bounds(k)) | {"positives": 1, "negatives": 20})
        )
        for name, k in (("benign", 11), ("malignant", 12))
    ]
    replace(
        monkeypatch,
        module,
        load_closed_study=lambda study: ("protocol", "score"),
        verdict=lambda score: f"Verdict of {score}.",
        primary_sentences=lambda score: ["First.", "Second."],
    )
    monkeypatch.setattr(module.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(module.run_table, "latest_run", lambda con, kind: run[-1])
    monkeypatch.setattr(
        module.run_table, "run_classes", lambda con, run: SimpleNamespace(positive="malignant")
    )
    monkeypatch.setattr(
        module.performance,
        "load_class_results",
        lambda *given: results if given == (STUDY, "evaluate-1", "test", "image") else [],
    )
    reading = ["Verdict of score.", "First. Second."]
    assert module.summary_sentences(STUDY) == [
        *reading,
        "The classifier's AUC for malignant on the mammograms of the test split is .125 (95 % CI"
        " .121 to .129; 1 malignant mammogram and 20 others).",
    ]
    run.append(None)  # type: ignore[arg-type]
    assert module.summary_sentences(STUDY) == [*reading, "No classifier has been evaluated."]
    monkeypatch.setattr(module, "load_closed_study", missing)
    assert module.summary_sentences(STUDY) == [
        "There is no result of a reading study: it is gone.",
        "No classifier has been evaluated.",
    ]


def test_limitations(monkeypatch: pytest.MonkeyPatch) -> None:
    module = report_text
    problems = [pd.DataFrame({"item": ["p1", "p2"], "cause": ["torn", "gone"]})]
    issues = [
        {"severity": "warning", "field": "texts", "finding": "few"},
        {"severity": "note", "field": "n", "finding": "hidden"},
        {"severity": "error", "field": "e", "finding": "many"},
        {"severity": "warning", "field": "open", "finding": "odd"},
    ]
    design = {"readers": 1, "reasons": {"texts": "by design"}}
    closed: list[Any] = [SimpleNamespace(lint=issues, design=design)]
    warnings = [[SimpleNamespace(sentence="W1."), SimpleNamespace(sentence="W2.")]]
    monkeypatch.setattr(module.study_overview, "study_warnings", lambda study: warnings[-1])
    monkeypatch.setattr(module.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(module, "closed_protocol", lambda con: closed[-1])
    monkeypatch.setattr(module.dataset_table, "load_problems", lambda con: problems[-1])
    listed = "Ingestion listed 2 problems, for example: p1: torn."
    leaks = [
        "Leakage checks, warning, texts: few. Accepted because: by design.",
        "Leakage checks, error, e: many.",
        "Leakage checks, warning, open: odd.",
    ]
    one = "One reader: the result does not generalise to readers."
    assert module.limitation_sentences(STUDY) == ["W1.", "W2.", listed, *leaks, one]
    design["readers"] = 2
    problems.append(problems[0].iloc[:0])
    assert module.limitation_sentences(STUDY) == ["W1.", "W2.", *leaks]
    closed.append(None)
    assert module.limitation_sentences(STUDY) == ["W1.", "W2."]
    warnings.append([])
    assert module.limitation_sentences(STUDY) == [
        "The leakage checks found no issues. Absence of findings does not prove absence of leakage."
    ]


def test_origin_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    module = report_text
    inputs = dict.fromkeys(("data", *module.provenance.RUN_KINDS, "protocol"), "")
    found = inputs | {"data": "0123456789abcdefghi", "train": "t-1", "patches": "p-1"}
    answers = [found | {"protocol": "h"}]
    replace(
        monkeypatch,
        module.provenance,
        current_inputs=lambda study, names: answers[-1] if list(names) == list(inputs) else {},
        export_software=lambda: {"python": "3", "numpy": "2"},
    )
    tail = [
        "Versions: python 3, numpy 2.",
        "This report was written by: deepminer report --study STUDY --out FILE. Figures and tables"
        " alone: deepminer figures all, deepminer tables all.",
    ]
    text = "Data 0123456789abcdef; runs p-1, t-1; protocol h."
    assert module.provenance_sentences(STUDY) == [text, *tail]
    answers.append(inputs)
    none = "Data none; runs none; protocol none."
    assert module.provenance_sentences(STUDY) == [none, *tail]


def figure_result(kind: str = "line") -> FigureResult:
    figure = Figure(figsize=(2, 1))
    return FigureResult(figure=figure, data={}, caption="", counts={}, method="", kind=kind)


def test_contents_of_the_html(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (TableColumn("A", wrap=True), TableColumn("B"))
    table = Table(columns, [("x", 1234), ("y", None)], "Note.")
    content = html_writer._block_content
    result = figure_result()
    assert content(Heading("Über A/1"), str) == {
        "kind": "heading",
        "text": "Über A/1",
        "anchor": "über-a-1",
    }
    assert content(Paragraph("p", strong=True), str) == {
        "kind": "paragraph",
        "text": "p",
        "strong": True,
    }
    assert Paragraph("p").strong is False
    shown = content(FigureBlock("T", result, "C."), lambda given: f"uri {given is result}")
    assert shown == {
        "kind": "figure",
        "title": "T",
        "caption": "C.",
        "image_uri": "uri True",
        "width_mm": 51,
    }
    assert content(TableBlock("T", table), str) == {
        "kind": "table",
        "title": "T",
        "headings": ["A", "B"],
        "rows": [["x", "1,234"], ["y", "–"]],
        "cell_classes": ["wrap", "fixed"],
        "is_across": False,
        "print_widths": html_writer.print_widths(
            ["A", "B"], [["x", "1,234"], ["y", "–"]], [True, False]
        ),
        "note": "Note.",
    }
    with pytest.raises(TypeError):
        content("text", str)  # type: ignore[arg-type]
    asked: list[Any] = []
    monkeypatch.setattr(html_writer, "figure_data_uri", lambda *given: asked.append(given) or "u")
    page = html_writer.render_html(
        [Heading("Title"), Heading("Part 1"), FigureBlock("F", result, "C."), Heading("Part 2")]
    )
    assert asked == [(result.figure, "line", 170)] and 'src="u"' in page
    assert re.findall(r"<h1[^>]*>(.*?)</h1>", page) == ["Title"]
    assert [re.sub("<.*?>", "", t) for t in re.findall(r"<h2[^>]*>.*?</h2>", page)] == [
        "Part 1",
        "Part 2",
    ]
    assert 'href="#part-1"' in page and 'href="#title"' not in page and page.endswith("\n")


@pytest.mark.parametrize(
    ("length", "columns", "widths"),
    [
        # 24 characters stand on one line, with 3 for the space; 25 share what is left.
        (24, 1, [100 * 4 / 31, 100 * 27 / 31]),
        (25, 1, [100 * 4 / 125, 100 * 121 / 125]),
        # Nine columns are printed across, over 200 characters.
        (25, 8, [*[100 * 4 / 200] * 8, 100 * (200 - 32) / 200]),
        (25, 7, [*[100 * 4 / 125] * 7, 100 * (125 - 28) / 125]),
    ],
)
def test_widths_in_print(length: int, columns: int, widths: list[float]) -> None:
    row = [*["1"] * columns, "w" * length]
    wraps = [*[False] * columns, True]
    headings = ["n"] * (columns + 1)
    assert html_writer.print_widths(headings, [row], wraps) == pytest.approx(widths, abs=0.01)
    # Unbroken texts that fill the line leave a long one the width of a short text.
    crowded = [*["u" * 20] * 7, "w" * length]
    found = html_writer.print_widths(["n"] * 8, [crowded], [*[False] * 7, True])
    last = 27 if length == 24 else 24
    assert found[-1] == pytest.approx(100 * last / (7 * 23 + last), abs=0.01)
    assert html_writer.print_widths(["", "k"], [], [False, False]) == [42.86, 57.14]


def test_pictures_of_the_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_writer, "raster_uri", lambda result: f"raster {result.kind}")
    monkeypatch.setattr(pdf_writer, "render_svg", lambda figure: b"<svg/>")
    assert pdf_writer.vector_uri(figure_result("image")) == "raster image"
    for kind in ("line", "mixed"):
        uri = pdf_writer.vector_uri(figure_result(kind))
        assert uri == "data:image/svg+xml;base64,PHN2Zy8+"
    text = "a1.5 .05 x.5 −.2 (.5) -.25 v.2<style>.5</style>"
    assert pdf_writer.keep_decimals(text) == (
        'a1.5 <span class="unbroken">.05</span> x.5 <span class="unbroken">−.2</span>'
        ' (<span class="unbroken">.5</span>) <span class="unbroken">-.25</span> v.2'
        "<style>.5</style>"
    )
