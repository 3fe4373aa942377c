"""Inputs that figures and tables share, and the printed protocol, against values by hand."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from PIL import ImageFile

from evaluation.queries.provenance import MissingInput
from evaluation.reporting import base, pdf_writer, protocol_pdf
from evaluation.roc import AucInterval

STUDY = Path("study")


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(owner, name, function)


@pytest.mark.parametrize("advice", ["none", "class"])
def test_answers_of_the_primary_arm(monkeypatch: pytest.MonkeyPatch, advice: str) -> None:
    """Without hidden repeats and other arms; positions begin after the practice of each reader."""
    design = SimpleNamespace(
        advice=advice, arms=("image", "shuffled"), positive="malignant", threshold=4
    )
    answers = pd.DataFrame(
        [
            ("R1", 3, 1, False, 4, 5.0),
            ("R1", 4, 2, False, 4, 6.0),
            ("R1", 5, 1, True, 2, 7.0),
            ("R1", 6, 3, False, 6, 8.0),
            ("R2", 5, 2, False, 3, 9.0),
            ("R3", 1, 1, False, 3, 10.0),
        ],
        columns=["code", "position", "case_number", "repeat", "answer", "seconds"],
    )
    tables = {
        "answers": answers,
        "cases": pd.DataFrame(
            {
                "case_number": [1, 2, 3],
                "mammogram_id": ["m1", "m2", "m3"],
                "patient_id": ["p1", "p2", "p3"],
                "arm": ["image", "image", "shuffled"],
                "truth": ["malignant", "benign", "malignant"],
                "network_score": [0.25, 0.5, 0.75],
            }
        ),
        "items": pd.DataFrame(
            {
                "code": ["R1", "R1", "R1", "R2", "R2"],
                "position": [1, 2, 3, 3, 4],
                "practice": [True, True, False, True, False],
            }
        ),
    }
    for name, table in tables.items():
        monkeypatch.setattr(
            base.reading_table,
            f"load_reading_{name}",
            lambda con, *given, table=table: table if given == ("P", 2) else None,
        )
    monkeypatch.setattr(base.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(base.workflow, "protocol_design", lambda protocol: design)
    monkeypatch.setattr(
        base.stage_table, "load_stage_answers", lambda con, *given: 100 if given == ("P", 2) else 0
    )
    protocol = SimpleNamespace(protocol="P", version=2)
    replace(
        monkeypatch,
        base,
        load_closed_protocol=lambda study: protocol,
        with_first_stages=lambda given, stages: given.assign(
            total_seconds=given["seconds"] + stages
        ),
    )
    more = 0 if advice == "none" else 100
    columns = ["code", "case_number", "mammogram_id", "patient_id", "position", "answer", "seconds"]
    columns += ["malignant", "right", "score"]
    table = base.primary_answers(STUDY)[columns]
    assert table.to_numpy().tolist() == [
        ["R1", 1, "m1", "p1", 1, 4, 5.0 + more, True, True, 0.25],
        ["R1", 2, "m2", "p2", 2, 4, 6.0 + more, False, False, 0.5],
        ["R2", 2, "m2", "p2", 2, 3, 9.0 + more, False, True, 0.5],
        ["R3", 1, "m1", "p1", 1, 3, 10.0 + more, True, False, 0.25],
    ]


def test_agreement_between_annotators(monkeypatch: pytest.MonkeyPatch) -> None:
    lexicon = SimpleNamespace(categories=[SimpleNamespace(name="mass"), SimpleNamespace(name="x")])
    count = [2]
    monkeypatch.setattr(base.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(base.category_table, "confirmed_categories", lambda con, run: f"c {run}")
    monkeypatch.setattr(base.dataset_table, "load_lexicon", lambda con: lexicon)
    replace(
        monkeypatch,
        base,
        newest_run=lambda study, kind: f"{kind}-1",
        load_finished_answers=lambda con, run: f"answers {run}",
        with_confirmed_categories=lambda *given: given,
    )
    replace(
        monkeypatch,
        base.category_agreement,
        count_experts=lambda given: count[-1],
        agreement_by_category=lambda given, names: [("each", given, names)],
        first_category_agreement=lambda given: "first",
        category_overlap=lambda given: "overlap",
        repeat_consistency=lambda given: ["r1", "r2"],
    )
    assert base.annotator_agreement(STUDY) == (
        [
            ("each", ("answers dissect-1", "c dissect-1"), ["mass", "x"]),
            *("first", "overlap", "r1", "r2"),
        ],
        2,
    )
    assert base.study_lexicon(STUDY) is lexicon
    count.append(1)
    with pytest.raises(MissingInput, match="this study has 1") as error:
        base.annotator_agreement(STUDY)
    assert (error.value.step, error.value.command) == ("Annotation", "deepminer invite annotator")


def test_units_of_all_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [pd.DataFrame({"a": [1]})]
    asked: list[Any] = []
    monkeypatch.setattr(
        base.unit_summaries,
        "units_by_network_and_category",
        lambda *given: asked.append(given) or tables[-1],
    )
    assert base.labelled_units_of_networks(STUDY, "own") is tables[0]
    tables.append(tables[0].iloc[:0])
    with pytest.raises(MissingInput) as error:
        base.labelled_units_of_networks(STUDY)
    assert error.value.reason == base.MISSING_INPUTS["labels"][1]
    assert asked == [(STUDY, "own"), (STUDY, base.DEFAULT_SET)]


def test_methods_of_the_auc() -> None:
    def area(method: str) -> AucInterval:
        return SimpleNamespace(method=method)  # type: ignore[return-value]

    known, name = next(iter(base.METHOD_NAMES.items()))
    assert base.auc_method_sentence(map(area, ["x", known, "x"])) == (
        f"Intervals of the AUC take patients as clusters (x, {name})."
    )


@pytest.mark.parametrize("simulated", [True, False])
def test_texts_of_a_printed_protocol(monkeypatch: pytest.MonkeyPatch, simulated: bool) -> None:
    """Title, hash, evidence and table in their order; the file states its title and no date."""
    written: list[Any] = []
    made: list[Any] = []

    class Writer:
        def __init__(self, pdf: Any) -> None:
            made.append(pdf)

        def write(self, lines: Any, size: float, weight: str) -> None:
            written.append((lines, size, weight))

        def write_text(self, text: str, weight: str = "normal") -> None:
            written.append((text, weight))

        def write_row(self, name: str, value: str) -> None:
            written.append((name, value, "row"))

        def finish(self) -> None:
            written.append("end")

    @contextmanager
    def pages(file: Any, metadata: Any) -> Any:
        made.append(metadata)
        file.write(b"pdf")
        yield "pages"

    table = SimpleNamespace(rows=[("state", "frozen"), ("version", 2)], note="Note.")
    replace(
        monkeypatch,
        protocol_pdf,
        _PageWriter=Writer,
        PdfPages=pages,
        frozen_protocol_table=lambda protocol: table,
    )
    long = "word " * 14 + "end"
    protocol: Any = SimpleNamespace(protocol=long, version=3, hash="abc")
    assert protocol_pdf.protocol_pdf(protocol, simulated, "Evidence record 5") == b"pdf"
    title = f"Protocol: {long}, version 3"
    metadata = {"Title": title, "Creator": "DeepMiner", "CreationDate": None}
    assert made == [metadata, "pages"]
    # At 16 points a line holds 60 characters: eleven words beside "Protocol:".
    first = f"Protocol: {'word ' * 10}".strip()
    lines = [(18, first), (18, f"{'word ' * 4}end, version 3")]
    notice = (protocol_pdf.SIMULATED_NOTICE, "bold")
    assert written == [
        (lines, 16, "bold"),
        *([notice] if simulated else []),
        ("SHA-256 abc", "bold"),
        (protocol_pdf.EXPLANATION, "normal"),
        ("Evidence record 5.", "bold"),
        (protocol_pdf.EVIDENCE_EXPLANATION, "normal"),
        *(("state", "frozen", "row"), ("version", "2", "row"), ("Note.", "normal"), "end"),
    ]
    protocol.hash = ""
    with pytest.raises(ValueError, match="only a frozen protocol"):
        protocol_pdf.protocol_pdf(protocol, simulated, "x")
    sizes = protocol_pdf.PAGE_WIDTH, protocol_pdf.PAGE_HEIGHT, protocol_pdf.MARGIN
    assert sizes == (210, 297, 18) and (protocol_pdf.VALUE_X, protocol_pdf.LINE_HEIGHT) == (66, 4.4)
    assert (protocol_pdf.NAME_CHARACTERS, protocol_pdf.VALUE_CHARACTERS) == (24, 74)


def test_pdf_of_a_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The HTML with vector graphics and whole decimals goes to WeasyPrint."""
    written: list[Any] = []

    class HTML:
        def __init__(self, string: str) -> None:
            self.string = string

        def write_pdf(self, out: Path) -> None:
            written.append((self.string, out))

    monkeypatch.setitem(sys.modules, "weasyprint", SimpleNamespace(HTML=HTML))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(
        pdf_writer,
        "render_html",
        lambda blocks, uri: f"<p>.5 {blocks} {uri is pdf_writer.vector_uri}</p>",
    )
    pdf_writer.write_pdf(["block"], tmp_path / "r.pdf")  # type: ignore[list-item]
    text = "<p><span class=\"unbroken\">.5</span> ['block'] True</p>"
    assert written == [(text, tmp_path / "r.pdf")]
    # WeasyPrint lets Pillow read damaged images; that is undone.
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
