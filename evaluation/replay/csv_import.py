"""Reads somebody else's reading study in the published CSV form: the sheet, the answers, the key.

Every mistake names file and row.
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

CASE, TEXTS, ANSWER = "Case #", "DeepMiner Explanation", "Cancer or Benign (C/B)?"
IMAGE, REPORT, SCORE = "Image Name", "GT Report", "DeepMiner Cancer Likelihood Prediction"
PATIENT = "Patient"
ANSWERS = {"c": True, "cancer": True, "malignant": True, "b": False, "benign": False}
MALIGNANT, BENIGN, UNPROVEN = "malignant", "benign", "unproven"
FOLDERS = {"cancer": MALIGNANT, "benign": BENIGN, "normal": BENIGN}
PATHOLOGIES = {
    "MALIGNANT": MALIGNANT,
    "BENIGN": BENIGN,
    "BENIGN_WITHOUT_CALLBACK": BENIGN,
    "UNPROVEN": UNPROVEN,
}


@dataclass(frozen=True, kw_only=True)
class ReplayCase:
    """One answered case.

    `answer` is True for cancer; the three truths are malignant, benign or unproven.
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
class Row:
    """One line of a CSV file with its number in the file."""

    file: Path
    line: int
    values: dict[str, str]

    def mistake(self, words: str, remedy: str) -> UserError:
        """An error that says where."""
        return UserError(f"{self.file}, line {self.line}: {words}; {remedy}.")


def read_cases(cases: str | Path, responses: str | Path, key: str | Path) -> list[ReplayCase]:
    """The answered cases in the order of the sheet.

    The key may hold more cases than were shown; a case that is missing or occurs twice, a missing
    column, an unknown answer, or texts that differ between sheet and answers is a UserError.
    """
    sheet = read_rows(Path(cases), (CASE, TEXTS))
    answered = _by_case(read_rows(Path(responses), (CASE, ANSWER)))
    keyed = _by_case(read_rows(Path(key), (CASE, IMAGE, REPORT, SCORE)))
    if not sheet:
        raise UserError(
            f"{cases}: the sheet holds no case; give the sheet that was shown to the reader."
        )
    shown = _by_case(sheet)
    extra = [row for case, row in answered.items() if case not in shown]
    if extra:
        raise extra[0].mistake(
            f"case {extra[0].values[CASE]!r} is answered but not in the sheet {cases}",
            "give the sheet of these answers",
        )
    return [
        _case(row, order, answered, keyed, Path(responses), Path(key))
        for order, row in enumerate(shown.values(), start=1)
    ]


def read_rows(file: Path, columns: tuple[str, ...]) -> list[Row]:
    """The rows of a CSV file that has these columns."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            names = [name.strip() for name in reader.fieldnames or []]
            missing = [column for column in columns if column not in names]
            if missing:
                raise UserError(
                    f"{file}, line 1: the column {missing[0]!r} is missing; a file in the published"
                    f" form has {', '.join(columns)}."
                )
            reader.fieldnames = names
            return [_row(file, reader.line_num, values) for values in reader]
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


def _row(file: Path, line: int, values: dict[Any, Any]) -> Row:
    if None in values or None in values.values():
        raise UserError(
            f"{file}, line {line}: the row has another number of fields than the first line; put"
            " texts with commas in quotes."
        )
    return Row(file, line, {name: value.strip() for name, value in values.items()})


def _by_case(rows: list[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        case = row.values[CASE]
        if not case:
            raise row.mistake("the case has no number", "fill in its identifier")
        if case in found:
            raise row.mistake(
                f"case {case!r} occurs a second time (first on line {found[case].line})",
                "keep one of the two",
            )
        found[case] = row
    return found


def _case(
    row: Row,
    order: int,
    answered: dict[str, Row],
    keyed: dict[str, Row],
    responses: Path,
    key: Path,
) -> ReplayCase:
    case = row.values[CASE]
    if case not in answered:
        raise row.mistake(
            f"case {case!r} has no answer in {responses}",
            "add its row, or take the case out of the sheet",
        )
    if case not in keyed:
        raise row.mistake(
            f"case {case!r} is not in the key {key}", "give the key that belongs to this sheet"
        )
    answer, truth = answered[case], keyed[case]
    texts = _texts(row)
    if TEXTS in answer.values and _texts(answer) != texts:
        raise answer.mistake(
            f"the text of case {case!r} is not the one in the sheet {row.file} (line {row.line})",
            "use files of one study",
        )
    word = answer.values[ANSWER].lower()
    if word not in ANSWERS:
        raise answer.mistake(
            f"the answer to case {case!r} is {answer.values[ANSWER][:40]!r}",
            "write C for cancer or B for benign",
        )
    image = truth.values[IMAGE]
    first, any_malignant = _pathology(truth)
    return ReplayCase(
        case=case,
        order=order,
        texts=texts,
        answer=ANSWERS[word],
        image=image,
        patient=patient_of(truth),
        score=_score(truth),
        folder=_folder(truth),
        first_abnormality=first,
        any_malignant=any_malignant,
    )


def _texts(row: Row) -> tuple[str, ...]:
    """The shown texts: a list as Python writes it, or one plain text."""
    value = row.values[TEXTS]
    if not value.startswith("["):
        return (value,) if value else ()
    try:
        texts = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise row.mistake(
            "the explanation is not a list of texts", "write it as ['first text', 'second text']"
        ) from error
    if not all(isinstance(text, str) for text in texts):
        raise row.mistake(
            "the explanation holds something that is not a text",
            "write it as ['first text', 'second text']",
        )
    return tuple(texts)


def patient_of(row: Row) -> str:
    """The patient of an image: the key's column `Patient` where it has one, else from a name as
    DDSM gives, `cancer_08-A_1403_1.RIGHT_MLO.LJPEG.1.jpg`: `A_1403`.
    """
    if row.values.get(PATIENT):
        return row.values[PATIENT]
    found = re.search(r"(?:^|-)([A-D]_\d+)_\d+\.(?:LEFT|RIGHT)_(?:CC|MLO)\b", row.values[IMAGE])
    if not found:
        raise row.mistake(
            f"the image name {row.values[IMAGE][:60]!r} does not tell the patient",
            "write it like cancer_08-A_1403_1.RIGHT_MLO.LJPEG.1.jpg, or give the key a column"
            f" {PATIENT}",
        )
    return found[1]


def _folder(row: Row) -> str:
    for prefix, truth in FOLDERS.items():
        if row.values[IMAGE].startswith(prefix):
            return truth
    raise row.mistake(
        f"the image name {row.values[IMAGE][:60]!r} begins with none of {', '.join(FOLDERS)}",
        "the folder rule reads truth from it",
    )


def _pathology(row: Row) -> tuple[str, str]:
    """Truth by the first abnormality and by any: malignant if one is, unproven if nothing else is
    known, else benign.
    """
    words = re.findall(r"PATHOLOGY[ \t]+([A-Z_]+)", row.values[REPORT])
    if not words:
        raise row.mistake(
            f"the report of case {row.values[CASE]!r} states no PATHOLOGY",
            "give the report with its PATHOLOGY line",
        )
    unknown = [word for word in words if word not in PATHOLOGIES]
    if unknown:
        raise row.mistake(
            f"the pathology {unknown[0]!r} is unknown", f"use one of {', '.join(PATHOLOGIES)}"
        )
    found = [PATHOLOGIES[word] for word in words]
    whole = MALIGNANT if MALIGNANT in found else UNPROVEN if set(found) == {UNPROVEN} else BENIGN
    return found[0], whole


def _score(row: Row) -> float:
    try:
        score = float(row.values[SCORE])
    except ValueError as error:
        raise row.mistake(
            f"the network's score {row.values[SCORE][:40]!r} is not a number",
            "write a probability between 0 and 1",
        ) from error
    if not 0 <= score <= 1:
        raise row.mistake(
            f"the network's score is {score:g}", "write a probability between 0 and 1"
        )
    return score


def read_labels(file: str | Path) -> dict[str, str]:
    """Unit labels from a JSON object {unit: label}."""
    path = Path(file)
    try:
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
