"""Sentences of the report and of exported answers, from what the queries would return."""

from __future__ import annotations

import io
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from evaluation.queries.provenance import RECORD_SUFFIX, MissingInput
from evaluation.reading_study import Design, design_preset
from evaluation.reading_study.design import Question
from evaluation.reporting import report_text
from evaluation.reporting.answers import export
from evaluation.reporting.answers.rows import (
    first_readings,
    with_pseudonyms,
    with_stage_columns,
)

STUDY = Path("study")


@pytest.fixture(autouse=True)
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_text.store, "read", lambda study: nullcontext(study))


def area(estimate: float, positives: int, negatives: int) -> Any:
    return SimpleNamespace(
        estimate=estimate,
        low=estimate - 0.1,
        high=estimate + 0.05,
        level=0.9,
        reason="r",
        positives=positives,
        negatives=negatives,
    )


def test_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate: list[str | None] = ["evaluate-1"]
    results = [
        SimpleNamespace(name="benign", auc=area(0.6, 3, 4)),
        SimpleNamespace(name="malignant", auc=area(0.812, 1, 1234)),
    ]
    score = object()
    monkeypatch.setattr(report_text, "load_closed_study", lambda study: ("closed", score))
    monkeypatch.setattr(report_text, "verdict", lambda given: f"verdict {given is score}")
    monkeypatch.setattr(report_text, "primary_sentences", lambda given: ["One.", "Two."])
    monkeypatch.setattr(
        report_text.run_table, "latest_run", lambda con, kind: {"evaluate": evaluate[0]}[kind]
    )
    monkeypatch.setattr(
        report_text.run_table,
        "run_classes",
        lambda con, run: {"evaluate-1": SimpleNamespace(positive="malignant")}[run],
    )
    monkeypatch.setattr(
        report_text.performance,
        "load_class_results",
        lambda *named: {(STUDY, "evaluate-1", "test", "image"): results}[named],
    )
    auc = (
        "The classifier's AUC for malignant on the mammograms of the test split is .812 (90 % CI"
        " .712 to .862; r; 1 malignant mammogram and 1,234 others)."
    )
    assert report_text.summary_sentences(STUDY) == ["verdict True", "One. Two.", auc]
    evaluate[0] = None
    none = "No classifier has been evaluated."
    assert report_text.summary_sentences(STUDY) == ["verdict True", "One. Two.", none]
    for error in (MissingInput("no study is closed.", "deepminer x"), UserError("it is open")):

        def missing(study: Path, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(report_text, "load_closed_study", missing)
        first, second = report_text.summary_sentences(STUDY)
        assert first.startswith("There is no result of a reading study: ")
        assert str(error).rstrip(".") in first and first.endswith(".") and ".." not in first
        assert second == none


def test_limitations(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings, problems = [], pd.DataFrame({"item": [], "cause": []})
    protocols: list[Any] = [None]
    monkeypatch.setattr(report_text.study_overview, "study_warnings", lambda study: warnings)
    monkeypatch.setattr(report_text, "closed_protocol", lambda con: protocols[0])
    tables = [problems]
    monkeypatch.setattr(report_text.dataset_table, "load_problems", lambda con: tables[0])
    assert report_text.limitation_sentences(STUDY) == [
        "The leakage checks found no issues. Absence of findings does not prove absence of leakage."
    ]
    warnings.append(SimpleNamespace(sentence="Weak labels."))
    assert report_text.limitation_sentences(STUDY) == ["Weak labels."]
    tables[0] = pd.DataFrame({"item": ["a.dcm", "b.dcm"], "cause": ["no pixels", "twice"]})
    issues = [
        {"severity": "note", "field": "order", "finding": "fine"},
        {"severity": "warning", "field": "images", "finding": "grey"},
        {"severity": "warning", "field": "arms", "finding": "shared"},
        {"severity": "error", "field": "images", "finding": "leak"},
    ]
    design = {"readers": 1, "reasons": {"images": "it is small"}}
    protocols[0] = SimpleNamespace(lint=issues, design=design)
    sentences = [
        "Weak labels.",
        "Ingestion listed 2 problems, for example: a.dcm: no pixels.",
        "Leakage checks, warning, images: grey. Accepted because: it is small.",
        "Leakage checks, warning, arms: shared.",
        "Leakage checks, error, images: leak.",
        "One reader: the result does not generalise to readers.",
    ]
    assert report_text.limitation_sentences(STUDY) == sentences
    protocols[0].design = {"readers": 2}
    sentences[2] = "Leakage checks, warning, images: grey."
    assert report_text.limitation_sentences(STUDY) == sentences[:-1]


def test_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = report_text.provenance.RUN_KINDS
    inputs = dict.fromkeys(kinds, "") | {kinds[0]: "a-1", kinds[2]: "c-3"}
    inputs |= {"data": "0123456789abcdefghi", "protocol": "p v2"}
    asked = []
    monkeypatch.setattr(
        report_text.provenance, "current_inputs", lambda *named: asked.append(named) or inputs
    )
    monkeypatch.setattr(report_text.provenance, "export_software", lambda: {"x": "1", "y": "2"})
    first, versions, how = report_text.provenance_sentences(STUDY)
    assert asked == [(STUDY, ("data", *kinds, "protocol"))]
    assert first == "Data 0123456789abcdef; runs a-1, c-3; protocol p v2."
    assert versions == "Versions: x 1, y 2."
    assert how == (
        "This report was written by: deepminer report --study STUDY --out FILE. Figures and tables"
        " alone: deepminer figures all, deepminer tables all."
    )
    inputs |= dict.fromkeys(inputs, "")
    assert report_text.provenance_sentences(STUDY)[0] == "Data none; runs none; protocol none."


def closed(**settings: Any) -> Any:
    protocol = SimpleNamespace(protocol="Masses", version=3, hash="h" * 8)
    return SimpleNamespace(protocol=protocol, design=Design(**settings), key="key", stages="s")


@pytest.mark.parametrize(
    ("format", "answers"),
    [
        ("csv", "Every revision of every answer"),
        ("redcap", "Every revision of every answer"),
        ("imrmc", "Latest answers, without hidden repeats"),
        ("r", "Latest answers, without hidden repeats"),
    ],
)
def test_heading_of_exported_answers(format: str, answers: str) -> None:
    study = closed(scale=2)
    text = (
        "DeepMiner reading study 'Masses', version 3, protocol hhhhhhhh. Truth by the rule"
        f" {study.design.truth_rule}. {answers}, 1 to 2."
    )
    assert export._heading(study, format, "") == text
    marked = export._heading(study, format, "labels, protocol")
    assert marked == f"{text} SIMULATED: labels, protocol; not a result about people."


def test_texts_of_each_format(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, study = pd.DataFrame({"a": [1], "b": [2.5]}), closed()
    monkeypatch.setattr(export, "imrmc_text", lambda rows, heading: f"imrmc {len(rows)} {heading}")
    monkeypatch.setattr(export, "redcap_records", lambda rows: rows[["a"]])
    monkeypatch.setattr(
        export, "redcap_dictionary", lambda design: pd.DataFrame({"d": [design is study.design]})
    )
    monkeypatch.setattr(
        export, "r_files", lambda script, data, rows, closed: (f"{script}\n", f"{data} {len(rows)}")
    )

    def texts(format: str) -> tuple[str, ...]:
        return export._texts(["one", "two"], format, rows, study, "heading")

    assert texts("imrmc") == ("imrmc 1 heading",)
    assert [text.split() for text in texts("redcap")] == [["a", "1"], ["d", "True"]]
    assert texts("r") == ("# heading\none\n", "two 1")
    (table,) = texts("csv")
    assert table.split() == ["a,b", "1,2.5"]
    with pytest.raises(UserError, match="'x' is not a format of answers; choose one of csv, imrmc"):
        export._endings("x")
    endings = {name: export._endings(name) for name in ("csv", "imrmc", "redcap", "r")}
    assert endings == {
        "csv": (".csv",),
        "imrmc": (".imrmc",),
        "redcap": (".csv", "_dictionary.csv"),
        "r": (".R", "_data.csv"),
    }


def test_archive_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    record: Any = SimpleNamespace(text=lambda: "the record")

    def files(*named: Any) -> Any:
        asked.append(named)
        return export.AnswerFiles({name: f"text of {name}" for name in named[1]}, record, None)

    monkeypatch.setattr(export, "export_files", files)
    content = export.answers_archive(STUDY, "stem", "redcap", "T1", "Masses", 3)
    names = ["stem.csv", "stem_dictionary.csv"]
    assert asked == [(STUDY, names, "redcap", "T1", "Masses", 3)]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {name: archive.read(name).decode() for name in archive.namelist()}
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert found == {name: f"text of {name}" for name in names} | {
        f"stem{RECORD_SUFFIX}": "the record"
    }


def test_files_are_written_beside_their_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, asked = tmp_path / "new" / "answers.csv", []
    record: Any = SimpleNamespace(
        write=lambda folder: (folder / f"answers{RECORD_SUFFIX}").write_text("record"),
        counts={"answers": 17},
    )

    def files(*named: Any) -> Any:
        asked.append(named)
        texts = {name: f"text of {name}" for name in named[1]}
        return export.AnswerFiles(texts, record, closed().protocol)

    monkeypatch.setattr(export, "export_files", files)
    found = export.export_reading_answers(STUDY, out, "redcap", "T1", "Masses", 3)
    names = ("answers.csv", "answers_dictionary.csv")
    assert asked == [(STUDY, names, "redcap", "T1", "Masses", 3)]
    paths = tuple(out.parent / name for name in (*names, f"answers{RECORD_SUFFIX}"))
    assert found == export.ExportedAnswers(
        protocol="Masses", version=3, format="redcap", rows=17, files=paths
    )
    assert [path.read_text() for path in paths[:2]] == [f"text of {name}" for name in names]
    # Any file of the export that exists prevents it, before the study is opened.
    for path in paths:
        for other in paths:
            other.unlink(missing_ok=True)
        path.write_text("older")
        with pytest.raises(UserError, match=f"{path.name} exists already; name a new file"):
            export.export_reading_answers(STUDY, out, "redcap", "T1")
        assert path.read_text() == "older"
    assert len(asked) == 1


def test_columns_of_the_stages() -> None:
    design = design_preset(
        "Reading with advice",
        questions=(
            Question(text="Sure?", options=("no", "yes")),
            Question(text="Why", kind="text"),
        ),
        questionnaire=(Question(text="Use it?", kind="choice", options=("yes", "no")),),
    )
    rows = pd.DataFrame(
        {
            "reader": ["R1", "R1", "R2"],
            "position": [1, 2, 1],
            "seconds": [10.0, 20.0, 30.0],
            "predicted": ["benign", "malignant", "benign"],
        }
    )
    stages = pd.DataFrame(
        [
            ("R1", 1, "first answer", "3", 1.0),
            ("R1", 1, "prediction", "2", 0.5),
            ("R1", 2, "first answer", "5", 2.0),
            ("R1", 2, "question 1", "2", None),
            ("R2", 1, "first answer", "6", 4.0),
            ("R2", 1, "prediction", "1", 0.25),
            ("R2", 1, "question 2", "because", None),
            ("R1", 0, "closing question 1", "2", None),
        ],
        columns=["code", "position", "stage", "value", "seconds"],
    )
    found = with_stage_columns(rows, stages, design)
    assert found["network_decision"].tolist() == ["benign", "malignant", "benign"]
    assert found["first_answer"].tolist() == ["3", "5", "6"]
    assert found["prediction"].fillna("").tolist() == ["2", "", "1"]
    assert found["first_answer_seconds"].tolist() == [1, 2, 4]
    assert found["prediction_seconds"].fillna(0).tolist() == [0.5, 0, 0.25]
    assert found["total_seconds"].fillna(0).tolist() == [11.5, 0, 34.25]
    names = list(found.columns)
    place = names.index("question_1")
    assert names[place - 1 : place + 2] == ["question_1_text", "question_1", "question_1_option"]
    assert found["question_1_option"].fillna("").tolist() == ["", "yes", ""]
    assert set(found["question_1_text"]) == {"Sure?"} and "question_2_option" not in names
    assert set(found["question_2_text"]) == {"Why"}
    assert found["closing_question_1_option"].fillna("").tolist() == ["no", "no", ""]
    assert set(found["closing_question_1_text"]) == {"Use it?"}
    plain = with_stage_columns(rows, stages[stages["stage"] == "first answer"], design)
    assert plain["total_seconds"].tolist() == [11, 22, 34] and "prediction" not in plain.columns
    asked = stages[stages["stage"].str.startswith("question")]
    assert "total_seconds" not in with_stage_columns(rows, asked, design).columns


def test_pseudonyms_and_first_readings() -> None:
    key = pd.DataFrame(
        {
            "case_number": [3, 1, 2],
            "mammogram_id": ["m1", "m7", "m1"],
            "patient_id": ["p2", "p9", "p2"],
        }
    )
    found = with_pseudonyms(key)
    assert found["case_number"].tolist() == [1, 2, 3]
    assert found["image"].tolist() == ["I1", "I2", "I2"]
    assert found["patient"].tolist() == ["P1", "P2", "P2"]
    rows = pd.DataFrame(
        {
            "n": [1, 2, 3, 4],
            "latest": [True, True, False, False],
            "hidden_repeat": [False, True, False, True],
        }
    )
    assert first_readings(rows)["n"].tolist() == [1]
