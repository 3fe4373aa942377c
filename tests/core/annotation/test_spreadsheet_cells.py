"""Texts of people in CSV: no cell starts a formula, numbers stay numbers, texts come back."""

from __future__ import annotations

import csv
import io

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from core.annotation.label_files import read_label_file, write_label_file
from core.annotation.spreadsheet_cells import csv_text, neutral_text, restored_text
from core.lexicon.birads_categories import BIRADS

# OWASP, CSV Injection: the signs at which spreadsheet programs begin a formula.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
STARTS = st.sampled_from(
    [
        "=",
        "+",
        "-",
        "@",
        "\t",
        "\r",
        "\n",
        " ",
        "'",
        "＝",
        "=HYPERLINK(",
        "@SUM(",
        '"',
        ",",
        ";",
        "",
    ]
)
NASTY = st.builds("{}{}{}".format, STARTS, STARTS, st.text(max_size=12))


def visible(text: str) -> str:
    """Return the text that must survive: without control characters, lines ended by line feeds."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(sign for sign in lines if sign in "\t\n" or 32 <= ord(sign) != 127)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NASTY, st.floats(-9, 9), st.integers(-9, 9)), min_size=1, max_size=4))
def test_no_cell_starts_a_formula(rows: list[tuple[str, float, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["text", "share", "count"])
    read = list(csv.reader(io.StringIO(csv_text(frame), newline="")))
    assert read[0] == ["text", "share", "count"]
    assert len(read) == len(rows) + 1
    for (text, share, count), cells in zip(rows, read[1:], strict=True):
        assert not cells[0].startswith(FORMULA_SIGNS)
        assert not cells[0].lstrip().startswith(FORMULA_SIGNS)
        assert (float(cells[1]), int(cells[2])) == (share, count)
        assert restored_text(cells[0]) == visible(text)


@settings(max_examples=200, deadline=None)
@given(NASTY)
def test_texts_are_restored_exactly(text: str) -> None:
    assert restored_text(neutral_text(text)) == visible(text)


def test_what_needs_no_change_stays() -> None:
    frame = pd.DataFrame({"label": ["Mass, +/- spiculated", None], "n": [-3, 4]})
    assert csv_text(frame) == 'label,n\n"Mass, +/- spiculated",-3\n,4\n'
    twice = pd.DataFrame([["=1", "=2"]], columns=["a", "a"])
    assert csv_text(twice) == "a,a\n'=1,'=2\n"


def test_label_files_carry_the_label_and_no_formula(tmp_path) -> None:
    label = '=HYPERLINK("http://evil.example","Mass")'
    row = dict.fromkeys(("recognisable", "phenomena", "confidence", "words", "reason"), "")
    file = tmp_path / "labels.csv"
    write_label_file(file, [row | {"unit": "unit_0003", "set": "R1", "label": label}], {})
    (cells,) = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
    assert cells["label"] == f"'{label}"
    (entry,) = read_label_file(file, BIRADS)
    assert entry.text == label
