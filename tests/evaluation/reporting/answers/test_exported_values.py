"""Exported answers: every column, field, heading and record, written down for differing numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from evaluation.reading_study.design import Design
from evaluation.reading_study.workflow import ClosedStudy
from evaluation.reporting.answers import export, r_script, redcap, rows
from evaluation.reporting.answers.imrmc import imrmc_text

Make = Callable[..., tuple[ClosedStudy, pd.DataFrame]]
STUDY = Path("study")
MADE = pd.Timestamp("2026-01-02 03:04:05.678")
KEY = pd.DataFrame(
    {
        "case_number": [3, 1, 2],
        "mammogram_id": ["m9", "m5", "m9"],
        "patient_id": ["p2", "p1", "p2"],
        "arm": ["image", "image", "shuffled"],
        "truth": ["malignant", "benign", "malignant"],
        "any_malignant": ["malignant", None, "malignant"],
    }
)
DESIGN = Design(arms=("image", "shuffled"), primary="gee", scale=6)


def revisions() -> pd.DataFrame:
    columns = ["code", "position", "case_number", "repeat", "answer", "revision", "seconds"]
    table = pd.DataFrame(
        [
            ("R2", 7, 1, False, 2, 1, 1.5),
            ("R1", 9, 2, True, 5, 1, 2.5),
            ("R1", 8, 3, False, 6, 2, 3.5),
            ("R1", 8, 3, False, 4, 1, 4.5),
        ],
        columns=columns,
    )
    return table.assign(idle=[True, False, False, False], simulated=False, made=MADE)


def test_rows_of_the_answers() -> None:
    table = rows.answer_rows(revisions(), KEY, DESIGN)
    given = table.astype(object).where(table.notna(), None)
    assert list(table) == [
        *("reader", "case_number", "image", "patient", "arm", "position", "hidden_repeat"),
        *("revision", "latest", "answer", "seconds", "idle", "answered_at", "truth"),
        *(f"truth_{rule}" for rule in rows.TRUTH_RULES),
        "simulated",
    ]
    assert list(rows.ROW_COLUMNS) == list(table) and "any_malignant" in rows.TRUTH_RULES
    plain = given.drop(columns=[c for c in given if c.startswith("truth_")])
    end = [MADE, "malignant", False]
    assert plain.to_numpy().tolist() == [
        ["R1", 3, "I2", "P2", "image", 8, False, 1, False, 4, 4.5, False, *end],
        ["R1", 3, "I2", "P2", "image", 8, False, 2, True, 6, 3.5, False, *end],
        ["R1", 2, "I2", "P2", "shuffled", 9, True, 1, True, 5, 2.5, False, *end],
        ["R2", 1, "I1", "P1", "image", 7, False, 1, True, 2, 1.5, True, MADE, "benign", False],
    ]
    assert given["truth_any_malignant"].tolist() == ["malignant"] * 3 + [None]
    first = rows.first_readings(table)
    assert first["answer"].tolist() == [6, 2]
    with pytest.raises(UserError, match="Case 1 of"):
        rows.answer_rows(revisions(), KEY[KEY["case_number"] > 1], DESIGN)


def stage_rows() -> pd.DataFrame:
    return pd.DataFrame(
        [
            ("R1", 8, "first answer", "3", 10.0),
            ("R1", 8, "prediction", "2", 20.0),
            ("R1", 8, "question 1", "2", 1.0),
            ("R1", 9, "first answer", "4", 30.0),
            ("R1", 0, "closing question 1", "text", None),
            ("R2", 7, "first answer", "1", 40.0),
        ],
        columns=["code", "position", "stage", "value", "seconds"],
    )


def test_columns_of_the_stages() -> None:
    table = pd.DataFrame(
        {
            "reader": ["R1", "R1", "R2"],
            "position": [8, 9, 7],
            "seconds": [1.0, 2.0, 3.0],
            "predicted": [1, 2, 2],
        }
    )
    question = SimpleNamespace(text="Clear?", options=("no", "yes"))
    closing = SimpleNamespace(text="More?", options=())
    absent = SimpleNamespace(text="Never asked", options=("a",))
    design: Any = SimpleNamespace(questions=(question, absent), questionnaire=(closing,))
    joined = rows.with_stage_columns(table, stage_rows(), design)
    given = joined.astype(object).where(joined.notna(), None).to_dict("records")
    assert given[0] == {
        "reader": "R1",
        "position": 8,
        "seconds": 1.0,
        "network_decision": 1,
        "first_answer": "3",
        "prediction": "2",
        "question_1_text": "Clear?",
        "question_1": "2",
        "question_1_option": "yes",
        "first_answer_seconds": 10.0,
        "prediction_seconds": 20.0,
        "closing_question_1_text": "More?",
        "closing_question_1": "text",
        "total_seconds": 31.0,
    }
    names = list(joined)
    place = names.index("question_1")
    assert names[place - 1 : place + 2] == ["question_1_text", "question_1", "question_1_option"]
    assert names.index("closing_question_1_text") == names.index("closing_question_1") - 1
    assert [row["closing_question_1"] for row in given] == ["text", "text", None]
    # Without predictions the time of the first and of the final answer are added.
    stages = stage_rows()
    plain = rows.with_stage_columns(table, stages[stages["stage"] != "prediction"], design)
    assert plain["total_seconds"].tolist() == [11.0, 32.0, 43.0]
    assert "prediction_seconds" not in plain
    alone = rows.with_stage_columns(table, stages[stages["stage"] == "question 1"], design)
    assert "total_seconds" not in alone


def test_decision_of_the_network_stands_beside_answers_with_advice() -> None:
    key = KEY.assign(predicted=[2, 1, 2])
    for advice, expected in (("none", False), ("class", True)):
        design: Any = SimpleNamespace(**vars(DESIGN) | {"advice": advice})
        table = rows.answer_rows(revisions(), key, design, stage_rows())
        assert ("network_decision" in table) is expected
        assert table["first_answer"].tolist() == ["3", "3", "4", "1"]
        assert list(rows.answer_rows(revisions(), key, design)) == list(rows.ROW_COLUMNS)


def test_records_of_redcap() -> None:
    table = rows.answer_rows(revisions(), KEY, DESIGN)
    records = redcap.redcap_records(table)
    assert list(records) == ["record_id", *rows.ROW_COLUMNS, "reading_answers_complete"]
    assert records["record_id"].tolist() == ["R1-8-1", "R1-8-2", "R1-9-1", "R2-7-1"]
    assert records["answered_at"].tolist() == ["2026-01-02 03:04:05"] * 4
    assert records["latest"].tolist() == [0, 1, 1, 1]
    assert records["hidden_repeat"].tolist() == [0, 0, 1, 0]
    assert records["idle"].tolist() == [0, 0, 0, 1]
    assert set(records["reading_answers_complete"]) == {2}
    assert records["answer"].tolist() == [4, 6, 5, 2]


def test_dictionary_of_redcap() -> None:
    table = redcap.redcap_dictionary(DESIGN)
    assert list(table) == [
        *("Variable / Field Name", "Form Name", "Section Header", "Field Type", "Field Label"),
        *("Choices, Calculations, OR Slider Labels", "Field Note"),
        *("Text Validation Type OR Show Slider Number", "Text Validation Min"),
        *("Text Validation Max", "Identifier?"),
        *("Branching Logic (Show field only if...)", "Required Field?", "Custom Alignment"),
        *("Question Number (surveys only)", "Matrix Group Name", "Matrix Ranking?"),
        "Field Annotation",
    ]
    truth = "malignant, malignant | benign, benign | unproven, unproven"
    arms = "image, image | shuffled, shuffled explanation"
    whole = ("integer", "1", "")
    expected = [
        ("record_id", "text", "Reader, position and revision", "", "", "", ""),
        ("reader", "text", "Code of the reader", "", "", "", ""),
        ("case_number", "text", "Case", "", *whole),
        ("image", "text", "Pseudonym of the image", "", "", "", ""),
        ("patient", "text", "Pseudonym of the patient", "", "", "", ""),
        ("arm", "radio", "Arm of the study", arms, "", "", ""),
        ("position", "text", "Place in the order", "", *whole),
        ("hidden_repeat", "yesno", "Second reading of a case", "", "", "", ""),
        ("revision", "text", "Revision", "", *whole),
        ("latest", "yesno", "Last revision of this answer", "", "", "", ""),
        ("answer", "text", "Answer, 1 to 6; malignant from 4", "", "integer", "1", "6"),
        ("seconds", "text", "Seconds on the case", "", "number", "0", ""),
        ("idle", "yesno", "Pause while the case was shown", "", "", "", ""),
        ("answered_at", "text", "Time, UTC", "", "datetime_seconds_ymd", "", ""),
        ("truth", "radio", "Truth by the rule any_malignant", truth, "", "", ""),
        *(
            (f"truth_{rule}", "radio", f"Truth by the rule {rule}", truth, "", "", "")
            for rule in rows.TRUTH_RULES
        ),
        ("simulated", "yesno", "Answer of a simulated reader", "", "", "", ""),
    ]
    filled = [0, 3, 4, 5, 7, 8, 9]
    assert [tuple(row) for row in table.iloc[:, filled].to_numpy()] == expected
    assert set(table["Form Name"]) == {"reading_answers"}
    rest = [i for i in range(18) if i not in (*filled, 1)]
    assert set(table.iloc[:, rest].to_numpy().ravel()) == {""}
    design: Any = SimpleNamespace(**vars(DESIGN) | {"advice": "class", "threshold": 4})
    labels = redcap.redcap_dictionary(design)["Field Label"]
    assert labels[11] == "Seconds from the second look to the final answer"


def test_lines_of_imrmc() -> None:
    key = KEY.assign(truth=["malignant", "benign", "malignant"])
    table = rows.answer_rows(revisions(), key, DESIGN)
    extra = table.iloc[:1].assign(reader="R0", arm="shuffled", latest=True, answer=3)
    text = imrmc_text(pd.concat([table, extra]), "A  heading\nof two lines")
    assert text == (
        "A heading of two lines\nNR: 3\nN0: 1\nN1: 1\nNM: 2\n\nBEGIN DATA:\n-1,1,0,0\n-1,2,0,1\n"
        "R1,2,image,6\nR2,1,image,2\nR0,2,shuffled,3\n"
    )


def test_values_of_the_script() -> None:
    values = {
        "a": None,
        "b": ("x", 'y"\\'),
        "c": 0.25,
        "d": 3,
        "e": True,
        "f": 1.0,
    }
    assert r_script._assignments(values).split(",\n") == [
        *("  a = NA", '  b = c("x", "y\\"\\\\")', "  c = 0.25", "  d = 3", "  e = 1", "  f = 1.0")
    ]


@pytest.mark.parametrize("margin", [None, 0.125])
def test_settings_of_the_script(closed_study: Make, margin: float | None) -> None:
    changes: dict[str, Any] = {"primary": "auc_difference", "alpha": 0.1}
    if margin:
        changes |= {"goal": "noninferiority", "margin": margin}
    closed, _ = closed_study(**changes)
    assert r_script._settings("d.csv", closed) == {
        "data": "d.csv",
        "primary": "auc_difference",
        "arms": ("explanation", "shuffled"),
        "side": "greater",
        "goal": "noninferiority" if margin else "superiority",
        "margin": margin or 0.0,
        "alpha": 0.1,
        "scale": 6,
        "threshold": 4,
        "missing_answers": "complete_case",
        "exact_limit": r_script.EXACT_SIGN_FLIP_LIMIT,
        "unit": "patient",
    }


def test_data_of_the_script(closed_study: Make) -> None:
    """Answers of the primary arm, and one row for each of two that are missing."""
    closed, given = closed_study(primary="gee")
    table = rows.answer_rows(given, closed.key, closed.design)
    joined = r_script.join_answers(closed.answers, closed.key, closed.design)
    data = r_script._data(table, joined, closed)
    assert tuple(data) == r_script.DATA_COLUMNS
    latest = table[table["latest"] & ~table["hidden_repeat"] & (table["arm"] == "explanation")]
    answered = data[data["answer"].notna()]
    assert answered["answer"].tolist() == latest["answer"].tolist()
    assert answered["malignant"].tolist() == (latest["truth"] == "malignant").astype(int).tolist()
    missing = data[data["answer"].isna()]
    cases = closed.key[closed.key["arm"] == "explanation"]
    assert len(data) == 3 * len(cases) and set(missing["reader"]) == {"B1-R1"}
    pseudonyms = rows.with_pseudonyms(closed.key).set_index("case_number")
    for row in missing.itertuples():
        case = pseudonyms.loc[row.case_number]
        assert (row.image, row.patient) == (case["image"], case["patient"])
        assert row.malignant == int(case["truth"] == "malignant")
    # What was not read when a study stopped early is not missing.
    stopped: Any = SimpleNamespace(design=closed.design, key=closed.key, stopped_at=1)
    assert len(r_script._data(table, joined, stopped)) == len(answered)


def test_expected_results_of_the_script(
    closed_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, given = closed_study(primary="gee")
    table = rows.answer_rows(given, closed.key, closed.design)
    result = SimpleNamespace(estimate=0.5, p_value=0.25, low=0.125, high=None, comparisons=())
    asked: list[Any] = []
    monkeypatch.setattr(r_script, "_template", lambda: "@SCRIPT@|@SETTINGS@|@EXPECTED@|@SCRIPT@")
    monkeypatch.setattr(
        r_script,
        "primary_analysis",
        lambda joined, key, design, look_number: asked.append((key, design, look_number)) or result,
    )
    script, data = r_script.r_files("s.R", "d.csv", table, closed)
    first, settings, expected, last = script.split("|")
    assert (first, last) == ("s.R", "s.R") and settings.startswith('  data = "d.csv",\n  primary')
    values = "  estimate = 0.5,\n  p_value = 0.25,\n  low = 0.125,\n  high = NA"
    assert expected == values and data.startswith("reader,case_number,image,patient,arm")
    assert asked[0][0] is closed.key and asked[0][1:] == (closed.design, None)
    result.comparisons = (SimpleNamespace(p_value=0.75), SimpleNamespace(p_value=1.0))
    assert "p_value = 0.75" in r_script.r_files("s.R", "d.csv", table, closed)[0]
    advice: Any = SimpleNamespace(**vars(closed.design) | {"primary": "advice_change"})
    with pytest.raises(UserError, match="advice_change"):
        r_script.r_files("s.R", "d.csv", table, replace(closed, design=advice))


@pytest.fixture
def exported(
    closed_study: Make, monkeypatch: pytest.MonkeyPatch
) -> tuple[ClosedStudy, list[Any], pd.DataFrame]:
    """Put a closed study in the place of one in the store; return it and what is asked."""
    closed, given = closed_study(primary="gee")
    asked: list[Any] = []
    monkeypatch.setattr(
        export.workflow, "load_closed_study", lambda *names: asked.append(names) or closed
    )
    for access in ("read", "write"):
        monkeypatch.setattr(export.store, access, lambda study: nullcontext(study))
    monkeypatch.setattr(
        export.reading_table,
        "load_answer_revisions",
        lambda con, *names: given if names == ("Masses", 2) else None,
    )
    monkeypatch.setattr(
        export.run_table, "append_log", lambda con, *entry: asked.append(("log", *entry))
    )
    for name, function in {
        "simulated_parts": lambda *names: asked.append(names) or "labels",
        "hash_tables": lambda texts: "0123456789abcdef" + ",".join(texts),
        "evidence_head": lambda study: "head",
    }.items():
        monkeypatch.setattr(export.provenance, name, function)
    monkeypatch.setattr(export.runs, "software_versions", lambda: {"python": "3"})
    return closed, asked, given


@pytest.mark.parametrize("format", ["csv", "imrmc", "redcap", "r"])
def test_record_of_exported_answers(
    exported: tuple[ClosedStudy, list[Any], pd.DataFrame], tmp_path: Path, format: str
) -> None:
    closed, asked, given = exported
    out = tmp_path / "new" / "a.x"
    names = {
        "csv": ["a.x"],
        "imrmc": ["a.x"],
        "redcap": ["a.x", "a_dictionary.csv"],
        "r": ["a.x", "a_data.csv"],
    }[format]
    result = export.export_reading_answers(STUDY, out, format, "analyst", "Masses", 2)
    kind = {
        "csv": "Every revision of every answer",
        "redcap": "Every revision of every answer",
        "imrmc": "Latest answers, without hidden repeats",
        "r": "Latest answers, without hidden repeats",
    }[format]
    heading = (
        f"DeepMiner reading study 'Masses', version 2, protocol {'ab' * 32}. Truth by the rule"
        f" any_malignant. {kind}, 1 to 6. SIMULATED: labels; not a result about people."
    )
    digest = "0123456789abcdef" + ",".join(names)
    count = len(given)
    assert asked == [
        (STUDY, "Masses", 2),
        (STUDY, ("labels", "protocol"), closed.design.label_set, closed.protocol),
        (
            *("log", "analyst", "answers exported"),
            f"Masses version 2 as {format}: {count} rows, {digest[:16]}",
        ),
    ]
    record = json.loads((tmp_path / "new" / "a.provenance.json").read_text())
    expected = {
        "name": "a",
        "kind": "answers",
        "title": "Answers of Masses, version 2",
        "caption": heading,
        "counts": {
            "answers": count,
            "readers": 3,
            "cases": closed.key["case_number"].nunique(),
            "patients": 22,
        },
        "method": f"one row an answer, in the form {format}",
        "seed": closed.design.seed,
        "simulated": "labels",
        "inputs": {},
        "data_hash": digest,
        "command": f"deepminer reading answers --format {format} --protocol Masses --version 2"
        " --study STUDY --out FILE",
        "software": {"python": "3"},
        "evidence": "head",
        "files": names,
    }
    assert {name: record[name] for name in expected} == expected
    assert vars(result) == {
        "protocol": "Masses",
        "version": 2,
        "format": format,
        "rows": count,
        "files": (*(out.parent / name for name in names), out.parent / "a.provenance.json"),
    }
    text = out.read_text()
    assert {"imrmc": text.startswith(heading), "r": text.startswith(f"# {heading}\n")}.get(
        format, text.startswith(("reader,", "record_id,"))
    )
    if format == "csv":
        assert "2026-03-04 05:" in text and ".890000" in text
    # Neither of the files is replaced.
    for name in names:
        (out.parent / "a.provenance.json").unlink(missing_ok=True)
        for file in out.parent.iterdir():
            file.unlink()
        (out.parent / name).touch()
        with pytest.raises(UserError, match=f"{name} exists already"):
            export.export_reading_answers(STUDY, out, format, "analyst", "Masses", 2)
    assert export.EXPORT_FORMATS == {
        "csv": (".csv",),
        "imrmc": (".imrmc",),
        "redcap": (".csv", "_dictionary.csv"),
        "r": (".R", "_data.csv"),
    }


def test_heading_without_simulated_parts(closed_study: Make) -> None:
    closed, _ = closed_study(primary="gee")
    assert export._heading(closed, "csv", "").endswith("Every revision of every answer, 1 to 6.")
