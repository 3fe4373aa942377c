"""Import of a reading study in the published CSV form: the sheet, the answers and the key.

Every error message names file and row.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.sources.release_metadata.restricted_pickle import PICKLE_SUFFIXES, read_plain_values
from evaluation.reading_study.design import BENIGN, MALIGNANT, UNPROVEN

# Column names of the published files.
CASE, TEXTS, ANSWER = "Case #", "DeepMiner Explanation", "Cancer or Benign (C/B)?"
IMAGE, REPORT, SCORE = "Image Name", "GT Report", "DeepMiner Cancer Likelihood Prediction"
PATIENT = "Patient"
ANSWER_CODES = {"c": True, "cancer": True, "malignant": True, "b": False, "benign": False}
FOLDER_TRUTHS = {"cancer": MALIGNANT, "benign": BENIGN, "normal": BENIGN}
PATHOLOGY_TRUTHS = {
    "MALIGNANT": MALIGNANT,
    "BENIGN": BENIGN,
    "BENIGN_WITHOUT_CALLBACK": BENIGN,
    "UNPROVEN": UNPROVEN,
}
TEXT_LIST_REMEDY = "write it as ['first text', 'second text']"


@dataclass(frozen=True, kw_only=True)
class ReplayCase:
    """One answered case.

    Attributes
    ----------
    case : str
        Case number of the sheet.
    order : int
        Position in the sheet, from 1.
    texts : tuple of str
        Displayed explanation.
    answer : bool
        True for cancer.
    image, patient : str
        Image name and patient code.
    score : float
        Network score in [0, 1].
    folder, first_abnormality, any_malignant : str
        Truth by each rule: "malignant", "benign" or "unproven".
    """

    case: str
    order: int
    texts: tuple[str, ...]
    answer: bool
    image: str
    patient: str
    score: float
    folder: str
    first_abnormality: str
    any_malignant: str


@dataclass(frozen=True)
class SheetRow:
    """One row of a CSV file with its line number."""

    file: Path
    line: int
    values: dict[str, str]

    def error(self, problem: str, remedy: str) -> UserError:
        """Return an error that names file and line."""
        return UserError(f"{self.file}, line {self.line}: {problem}; {remedy}.")


def read_replay_cases(
    cases: str | Path, responses: str | Path, key: str | Path
) -> list[ReplayCase]:
    """Read the answered cases in the order of the sheet.

    The key may hold more cases than were displayed.

    Parameters
    ----------
    cases, responses, key : str or Path
        Sheet, answers and key.

    Raises
    ------
    UserError
        If a column is missing, a case is missing or occurs twice, an answer is unknown, or the
        texts of sheet and answers differ.
    """
    sheet = read_sheet(Path(cases), (CASE, TEXTS))
    answers = _rows_by_case(read_sheet(Path(responses), (CASE, ANSWER)))
    keys = _rows_by_case(read_sheet(Path(key), (CASE, IMAGE, REPORT, SCORE)))
    if not sheet:
        raise UserError(
            f"{cases}: the sheet holds no case; give the sheet that was shown to the reader."
        )
    displayed = _rows_by_case(sheet)
    extra = [row for case, row in answers.items() if case not in displayed]
    if extra:
        raise extra[0].error(
            f"case {extra[0].values[CASE]!r} is answered but not in the sheet {cases}",
            "give the sheet of these answers",
        )
    return [
        _replay_case(row, order, answers, keys, Path(responses), Path(key))
        for order, row in enumerate(displayed.values(), start=1)
    ]


def read_sheet(file: Path, columns: tuple[str, ...]) -> list[SheetRow]:
    """Read the rows of a CSV file that has these columns.

    Raises
    ------
    UserError
        If the file is missing, is not UTF-8 or well-formed CSV, or lacks a column.
    """
    try:
        # utf-8-sig also reads the byte-order mark that spreadsheet programs write.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            # strict: an unclosed quote is an error instead of a field with the rest of the file.
            reader = csv.DictReader(stream, strict=True)
            names = [name.strip() for name in reader.fieldnames or []]
            missing = [column for column in columns if column not in names]
            if missing:
                raise UserError(
                    f"{file}, line 1: the column {missing[0]!r} is missing; a file in the published"
                    f" form has {', '.join(columns)}."
                )
            reader.fieldnames = names
            # line_num counts lines of the file, of which a row with quoted line breaks has several.
            return [_sheet_row(file, reader.line_num, values) for values in reader]
    except OSError as error:
        raise UserError(
            f"{file}: the file cannot be read ({error.strerror}); give an existing CSV file."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: the file is not UTF-8 text; save it as CSV UTF-8.") from error
    except csv.Error as error:
        raise UserError(
            f"{file}: the file is not well-formed CSV ({error}); save it again as CSV UTF-8."
        ) from error


def _sheet_row(file: Path, line: int, values: dict[Any, Any]) -> SheetRow:
    # DictReader stores surplus fields under None and fills missing ones with None.
    if None in values or None in values.values():
        raise UserError(
            f"{file}, line {line}: the row has another number of fields than the first line; put"
            " texts with commas in quotes."
        )
    return SheetRow(file, line, {name: value.strip() for name, value in values.items()})


def _rows_by_case(rows: list[SheetRow]) -> dict[str, SheetRow]:
    by_case: dict[str, SheetRow] = {}
    for row in rows:
        case = row.values[CASE]
        if not case:
            raise row.error("the case has no number", "fill in its identifier")
        if case in by_case:
            raise row.error(
                f"case {case!r} occurs a second time (first on line {by_case[case].line})",
                "keep one of the two",
            )
        by_case[case] = row
    return by_case


def _replay_case(
    row: SheetRow,
    order: int,
    answers: dict[str, SheetRow],
    keys: dict[str, SheetRow],
    responses: Path,
    key: Path,
) -> ReplayCase:
    case = row.values[CASE]
    if case not in answers:
        raise row.error(
            f"case {case!r} has no answer in {responses}",
            "add its row, or take the case out of the sheet",
        )
    if case not in keys:
        raise row.error(
            f"case {case!r} is not in the key {key}", "give the key that belongs to this sheet"
        )
    answer, truth = answers[case], keys[case]
    # The answer sheet repeats the texts; a difference means that files of two studies are mixed.
    texts = _parse_texts(row)
    if TEXTS in answer.values and _parse_texts(answer) != texts:
        raise answer.error(
            f"the text of case {case!r} is not the one in the sheet {row.file} (line {row.line})",
            "use files of one study",
        )
    # Readers type the letter or the word in either case.
    code = answer.values[ANSWER].lower()
    if code not in ANSWER_CODES:
        raise answer.error(
            f"the answer to case {case!r} is {answer.values[ANSWER][:40]!r}",
            "write C for cancer or B for benign",
        )
    first_abnormality, any_malignant = _report_truths(truth)
    return ReplayCase(
        case=case,
        order=order,
        texts=texts,
        answer=ANSWER_CODES[code],
        image=truth.values[IMAGE],
        patient=patient_code(truth),
        score=_parse_score(truth),
        folder=_folder_truth(truth),
        first_abnormality=first_abnormality,
        any_malignant=any_malignant,
    )


def _parse_texts(row: SheetRow) -> tuple[str, ...]:
    """Return the displayed texts from a Python list literal, or from one plain text."""
    # The published sheets hold Python lists; sheets of one text per case are read as well.
    value = row.values[TEXTS]
    if not value.startswith("["):
        return (value,) if value else ()
    try:
        texts = ast.literal_eval(value)
    # literal_eval raises the last two for deeply nested input.
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise row.error("the explanation is not a list of texts", TEXT_LIST_REMEDY) from error
    if not all(isinstance(text, str) for text in texts):
        raise row.error("the explanation holds an element that is not a text", TEXT_LIST_REMEDY)
    return tuple(texts)


def patient_code(row: SheetRow) -> str:
    """Return the patient of an image.

    The code is read from the key's column `Patient`, or else from a DDSM image name:
    `cancer_08-A_1403_1.RIGHT_MLO.LJPEG.1.jpg` gives `A_1403`.

    Raises
    ------
    UserError
        If there is neither.
    """
    if row.values.get(PATIENT):
        return row.values[PATIENT]
    # A DDSM case such as A_1403_1 begins with its patient: institution A to D, and a number.
    match = re.search(r"(?:^|-)([A-D]_\d+)_\d+\.(?:LEFT|RIGHT)_(?:CC|MLO)\b", row.values[IMAGE])
    if not match:
        raise row.error(
            f"the image name {row.values[IMAGE][:60]!r} does not contain the patient",
            "write it like cancer_08-A_1403_1.RIGHT_MLO.LJPEG.1.jpg, or give the key a column"
            f" {PATIENT}",
        )
    return match[1]


def _folder_truth(row: SheetRow) -> str:
    for prefix, truth in FOLDER_TRUTHS.items():
        if row.values[IMAGE].startswith(prefix):
            return truth
    raise row.error(
        f"the image name {row.values[IMAGE][:60]!r} begins with none of {', '.join(FOLDER_TRUTHS)}",
        "the folder rule reads truth from it",
    )


def _report_truths(row: SheetRow) -> tuple[str, str]:
    """Return truth by the first abnormality, and by any abnormality.

    By any: malignant if one is, unproven if all are, else benign.
    """
    # DDSM reports state one PATHOLOGY per abnormality.
    pathologies = re.findall(r"PATHOLOGY[ \t]+([A-Z_]+)", row.values[REPORT])
    if not pathologies:
        raise row.error(
            f"the report of case {row.values[CASE]!r} states no PATHOLOGY",
            "give the report with its PATHOLOGY line",
        )
    unknown = [pathology for pathology in pathologies if pathology not in PATHOLOGY_TRUTHS]
    if unknown:
        raise row.error(
            f"the pathology {unknown[0]!r} is unknown", f"use one of {', '.join(PATHOLOGY_TRUTHS)}"
        )
    truths = [PATHOLOGY_TRUTHS[pathology] for pathology in pathologies]
    if MALIGNANT in truths:
        return truths[0], MALIGNANT
    return truths[0], UNPROVEN if set(truths) == {UNPROVEN} else BENIGN


def _parse_score(row: SheetRow) -> float:
    try:
        score = float(row.values[SCORE])
    except ValueError as error:
        raise row.error(
            f"the network's score {row.values[SCORE][:40]!r} is not a number",
            "write a probability between 0 and 1",
        ) from error
    if not 0 <= score <= 1:
        raise row.error(f"the network's score is {score:g}", "write a probability between 0 and 1")
    return score


def read_unit_labels(file: str | Path) -> dict[str, str]:
    """Read unit labels, {unit: label} as JSON or as published (.jbl); empty ones are left out.

    Raises
    ------
    UserError
        If the file is missing or is not such an object.
    """
    path = Path(file)
    try:
        if path.suffix.lower() in PICKLE_SUFFIXES:
            labels = read_plain_values(path)
        else:
            labels = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: the file cannot be read ({error.strerror}); give a JSON file of labels."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f'{path}: the file is not JSON ({error}); write an object like {{"unit_0003": "Dense'
            ' tissue"}.'
        ) from error
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        raise UserError(
            f'{path}: the file is not an object of unit and label; write it like {{"unit_0003":'
            ' "Dense tissue"}.'
        )
    return {str(unit): label for unit, label in labels.items() if label.strip()}
