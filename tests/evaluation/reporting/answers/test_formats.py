"""Rows, iMRMC input and REDCap records, read back by parsers that follow their documentation."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from core.errors import UserError
from evaluation.reading_study.workflow import ClosedStudy
from evaluation.reporting.answers import (
    answer_rows,
    imrmc_text,
    redcap_dictionary,
    redcap_records,
)
from evaluation.reporting.answers.export import _texts

Make = Callable[..., tuple[ClosedStudy, pd.DataFrame]]


def read_imrmc(text: str) -> tuple[dict[str, int], dict[str, int], dict[tuple[str, ...], float]]:
    """Read an iMRMC input file as its manual describes it (section 4.1.1).

    Returns the counts of the heading, the truth of each case, and the score by reader, case and
    modality.
    """
    head, _, data = text.partition("BEGIN DATA:\n")
    counts = {
        name: int(number)
        for name, number in re.findall(r"^(N0|N1|NR|NM):\s*(\d+)\s*$", head, re.MULTILINE)
    }
    truth: dict[str, int] = {}
    scores: dict[tuple[str, ...], float] = {}
    for line in data.splitlines():
        reader, case, modality, score = (part.strip() for part in line.split(","))
        if reader == "-1":
            assert case not in truth, "the truth of a case is defined once"
            truth[case] = int(score)
        else:
            assert (reader, case, modality) not in scores, "one score a reader, case and modality"
            scores[reader, case, modality] = float(score)
    return counts, truth, scores


def test_rows_hold_every_revision(closed_study: Make) -> None:
    closed, revisions = closed_study()
    rows = answer_rows(revisions, closed.key, closed.design)
    assert len(rows) == len(revisions) and rows["latest"].sum() == len(closed.answers)
    key = closed.key.set_index("case_number")
    for row, given in zip(
        rows.to_dict("records"),
        revisions.sort_values(["code", "position", "revision"]).to_dict("records"),
    ):
        case = key.loc[row["case_number"]]
        assert (row["reader"], row["position"], row["revision"], row["answer"]) == (
            given["code"],
            given["position"],
            given["revision"],
            given["answer"],
        )
        assert (row["truth"], row["arm"]) == (case["truth"], case["arm"])
        assert row["truth_any_malignant"] == case["any_malignant"]
        assert row["truth_first_abnormality"] == case["first_abnormality"]
        assert pd.isna(row["truth_folder"])
    last = rows[rows["position"] == 9]
    assert last["revision"].tolist() == [1, 2] * 3 and last["latest"].tolist() == [False, True] * 3


def test_pseudonyms_reveal_no_id_and_keep_the_structure(closed_study: Make) -> None:
    closed, revisions = closed_study()
    rows = answer_rows(revisions, closed.key, closed.design)
    text = rows.to_csv()
    assert not any(
        name in text for name in [*closed.key["mammogram_id"], *closed.key["patient_id"]]
    )
    joined = rows.merge(closed.key, on="case_number")
    for pseudonym, name in (("image", "mammogram_id"), ("patient", "patient_id")):
        pairs = joined[[pseudonym, name]].drop_duplicates()
        assert pairs[pseudonym].is_unique and pairs[name].is_unique
    # The order of the numbers is that of the random case numbers.
    first = joined.groupby("patient")["case_number"].min()
    ordered = first.loc[sorted(first.index, key=lambda name: int(name[1:]))]
    assert ordered.is_monotonic_increasing


def test_imrmc_file_is_read_back(closed_study: Make) -> None:
    closed, revisions = closed_study()
    text = imrmc_text(answer_rows(revisions, closed.key, closed.design), "Study\nNR: 99")
    counts, truth, scores = read_imrmc(text)
    latest = closed.answers[~closed.answers["repeat"].astype(bool)].merge(
        closed.key, on="case_number"
    )
    classes = closed.key.drop_duplicates("mammogram_id")["truth"].value_counts()
    assert counts == {"NR": 3, "NM": 2, "N0": classes["benign"], "N1": classes["malignant"]}
    assert sum(truth.values()) == counts["N1"] and len(truth) == 44
    assert len(scores) == len(latest)
    # Every score is that of the study, and cases of two arms are the same image.
    by_hand: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row in latest.to_dict("records"):
        by_hand[row["code"], row["arm"]].append((row["truth"] == "malignant", row["answer"]))
    read: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for (reader, case, modality), score in scores.items():
        read[reader, modality].append((truth[case], score))
    assert {k: sorted(v) for k, v in read.items()} == {k: sorted(v) for k, v in by_hand.items()}
    shared = {case for _, case, modality in scores if modality == "shuffled"}
    assert len(shared) == 30 and shared <= {c for _, c, m in scores if m == "explanation"}


def test_imrmc_needs_both_classes(closed_study: Make) -> None:
    closed, revisions = closed_study()
    malignant = closed.key[closed.key["truth"] == "malignant"]
    answers = revisions[revisions["case_number"].isin(malignant["case_number"])]
    with pytest.raises(UserError, match="one class only"):
        imrmc_text(answer_rows(answers, closed.key, closed.design), "Study")


def test_answer_outside_the_key_is_refused(closed_study: Make) -> None:
    closed, revisions = closed_study()
    with pytest.raises(UserError, match="Case 1 .* is answered but not in the key"):
        answer_rows(revisions, closed.key[closed.key["case_number"] > 1], closed.design)


def test_redcap_records_fit_their_dictionary(closed_study: Make) -> None:
    """The rules of REDCap's data import: identifier first, known fields, allowed raw values."""
    closed, revisions = closed_study()
    rows = answer_rows(revisions, closed.key, closed.design)
    records = list(csv.DictReader(io.StringIO(redcap_records(rows).to_csv(index=False))))
    fields = list(csv.DictReader(io.StringIO(redcap_dictionary(closed.design).to_csv(index=False))))
    assert len(fields[0]) == 18 and next(iter(fields[0])) == "Variable / Field Name"
    names = [field["Variable / Field Name"] for field in fields]
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name) for name in names)
    assert names[0] == "record_id" and fields[0]["Field Type"] == "text"
    assert list(records[0]) == [*names, "reading_answers_complete"]
    ids = [record["record_id"] for record in records]
    assert len(set(ids)) == len(ids) == len(revisions)
    for field in fields:
        values = {record[field["Variable / Field Name"]] for record in records} - {""}
        kind = field["Field Type"]
        validation = field["Text Validation Type OR Show Slider Number"]
        if kind == "radio":
            choices = field["Choices, Calculations, OR Slider Labels"].split(" | ")
            assert values <= {choice.split(", ")[0] for choice in choices}, field
        elif kind == "yesno":
            assert values <= {"0", "1"}, field
        elif validation == "integer":
            assert all(int(value) >= 1 for value in values), field
        elif validation == "number":
            assert all(float(value) >= 0 for value in values), field
        elif validation == "datetime_seconds_ymd":
            pattern = r"2026-03-04 \d\d:\d\d:\d\d"
            assert all(re.fullmatch(pattern, value) for value in values), field
    answered = [int(record["answer"]) for record in records]
    assert answered == rows["answer"].tolist()


@pytest.mark.parametrize("format", ["csv", "redcap", "r"])
def test_no_cell_starts_a_formula(closed_study: Make, format: str) -> None:
    formula = '=HYPERLINK("http://evil.example","R1")'
    closed, revisions = closed_study()
    codes = {"code": {"R1": formula}}
    closed = replace(
        closed,
        answers=closed.answers.replace(codes),
        first_answers=closed.first_answers.replace(codes),
    )
    rows = answer_rows(revisions.replace(codes), closed.key, closed.design)
    texts = _texts(("a.R", "a.csv"), format, rows, closed, "Study")
    table = texts[1] if format == "r" else texts[0]
    cells = [cell for row in csv.reader(io.StringIO(table, newline="")) for cell in row]
    assert f"'{formula}" in cells and formula not in cells
