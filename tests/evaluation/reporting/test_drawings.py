"""Drawings in millimetres: the patient flow and the framework."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyArrowPatch

from core.class_labels import MAMMOGRAPHY
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.figures import diagrams, patient_flow, style
from support.drawn_axes import drawn_texts, empty_axes, rounded

STUDY = Path("study")


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(owner, name, function)


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seven patients of two sources; the reading study has two arms and a missing answer."""
    found = SimpleNamespace(
        closed=SimpleNamespace(
            protocol="P",
            version=2,
            design={"flow": [["test split", 9, 5], ["drawn", 4, 3]], "arms": ["a", "b"]},
        )
    )
    tables = {
        "sources": pd.DataFrame({"skipped": [1, 2], "patients": [3, 4], "kind": ["ddsm", "x"]}),
        "splits": pd.DataFrame(
            {"patient_id": list("abcde"), "split": ["train"] * 2 + ["holdout"] + ["test"] * 2}
        ),
        "mammograms": pd.DataFrame({"patient_id": list("aabcddefg"), "mammogram_id": range(9)}),
        "patch_counts": pd.DataFrame(
            [("train", 0, 1200), ("train", 2, 3), ("test", 1, 7)],
            columns=["split", "label", "patches"],
        ),
    }
    for name, table in tables.items():
        monkeypatch.setattr(
            patient_flow.dataset_table,
            f"load_{name}",
            lambda con, *given, table=table: table if given in ((), ("patches-1",)) else None,
        )
    cases = pd.DataFrame(
        {
            "case_number": [1, 2, 3, 4, 5],
            "arm": list("aaaab"),
            "patient_id": list("ppqrs"),
            "mammogram_id": ["m1", "m2", "m3", "m4", "m5"],
        }
    )
    answers = pd.DataFrame(
        {
            "code": ["R1", "R1", "R2", "R1", "R1", "R3"],
            "case_number": [1, 2, 1, 3, 1, 5],
            "repeat": [False, False, False, False, True, False],
        }
    )
    for name, table in (("cases", cases), ("answers", answers)):
        monkeypatch.setattr(
            patient_flow.reading_table,
            f"load_reading_{name}",
            lambda con, *given, table=table: table if given == ("P", 2) else None,
        )
    replace(
        monkeypatch,
        patient_flow,
        newest_run=lambda study, kind: f"{kind}-1",
        closed_protocol=lambda con: found.closed,
        run_class_names=lambda study, run: dict(enumerate(MAMMOGRAPHY.names)),
    )
    monkeypatch.setattr(patient_flow.store, "read", lambda study: nullcontext(study))
    return found


FLOW_ROWS = [
    ("in the source", 10, None, "ddsm, x"),
    ("excluded: unreadable file", 3, None, "listed as problems"),
    ("in the study", 7, 9, ""),
    ("train", 2, 3, "1,200 normal; 0 benign; 3 malignant"),
    ("holdout", 1, 1, "0 normal; 0 benign; 0 malignant"),
    ("test", 2, 3, "0 normal; 7 benign; 0 malignant"),
    ("reading: test split", 5, 9, ""),
    ("reading: drawn", 3, 4, ""),
    ("reading: analysed", 2, 3, "4 answers of 2 readers; 4 answers missing"),
]


def rows_of(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    plain = table.astype(object).where(table.notna(), None)
    return [tuple(row) for row in plain.itertuples(index=False)]


def test_table_of_the_flow(flow: SimpleNamespace) -> None:
    table = patient_flow.patient_flow_table(STUDY)
    assert list(table) == ["step", "patients", "mammograms", "note"]
    assert rows_of(table) == FLOW_ROWS
    flow.closed.design.pop("flow")
    assert rows_of(patient_flow.patient_flow_table(STUDY)) == [*FLOW_ROWS[:6], FLOW_ROWS[8]]
    flow.closed = None
    assert rows_of(patient_flow.patient_flow_table(STUDY)) == FLOW_ROWS[:6]


def test_figure_of_the_flow(flow: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts: list[Any] = []

    class Layout(patient_flow._Layout):
        def __init__(self, width: float) -> None:
            super().__init__(width)
            layouts.append(self)

        def add_step(self, title: str, lines: list[str], exclusions: list[str]) -> None:
            self.__dict__.setdefault("steps", []).append((title, lines, exclusions))
            super().add_step(title, lines, exclusions)

    monkeypatch.setattr(patient_flow, "_Layout", Layout)
    result = patient_flow.plot_patient_flow(STUDY, 174)
    caption = (
        "Flow of patients: 7 patients with 9 mammograms, split by patient, with the patches of each"
        " class{reading}. Boxes on the right: exclusions with their reasons."
    )
    assert result.caption == caption.format(reading=", and the cases of the reading study")
    assert result.counts == {"patients": 7, "mammograms": 9}
    assert result.method == "All images of a patient are in one split."
    assert rows_of(result.data["flow"]) == FLOW_ROWS
    [layout] = layouts
    assert layout.steps == [
        ("10 patients", ["source: ddsm, x"], ["3 patients: unreadable file"]),
        ("7 patients", ["9 mammograms"], []),
        ("Eligible: test split", ["9 mammograms", "5 patients"], ["5: drawn"]),
        ("Cases selected", ["4 mammograms", "3 patients"], ["4 answers missing"]),
        ("Analysed", ["3 mammograms", "2 patients", "4 answers of 2 readers"], []),
    ]
    assert (layout._splits, layout._splits_after) == (
        [
            (
                title,
                [sizes, people, "patches:", *note.split("; ")],
            )
            for title, sizes, people, note in (
                ("Training", "3 mammograms", "2 patients", FLOW_ROWS[3][3]),
                ("Hold-out", "1 mammogram", "1 patient", FLOW_ROWS[4][3]),
                ("Test", "3 mammograms", "2 patients", FLOW_ROWS[5][3]),
            )
        ],
        2,
    )
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([174, layout.height])
    flow.closed = None
    result = patient_flow.plot_patient_flow(STUDY, 85)
    assert result.caption == caption.format(reading="")
    assert [step[0] for step in layouts[-1].steps] == ["10 patients", "7 patients"]


def test_exclusions_and_missing_answers() -> None:
    names = (
        *("test split", "malignant or benign finding", "truth rules agree", "odd step"),
        *("an annotated unit explains it", "chosen, as many of each class", "analysed"),
    )
    images = (4000, 2500, 2500, 2499, 2497, 2490, 5)
    reading = pd.DataFrame({"step": [f"reading: {n}" for n in names], "mammograms": images})
    assert patient_flow._exclusion_lines(reading) == [
        "1,500: without malignant or benign finding",
        "1: odd step",
        "2: no annotated unit explains it",
        "7: not drawn (equal classes, images of a patient)",
    ]
    two = reading.iloc[1:].assign(mammograms=[5, 3, 3, 3, 3, 3])
    assert patient_flow._exclusion_lines(two) == ["2: truth rules differ"]
    for note, lines in (
        ("x; 0 answers missing", []),
        ("x; 10 answers missing", ["10 answers missing"]),
    ):
        assert patient_flow._missing_lines(pd.Series({"note": note})) == lines


def boxes_and_arrows(ax: Any) -> tuple[list[Any], list[Any]]:
    boxes = [
        tuple(rounded(p.get_path().get_extents().bounds))
        for p in ax.patches
        if not isinstance(p, FancyArrowPatch)
    ]
    arrows = [
        tuple(rounded((*p._posA_posB[0], *p._posA_posB[1])))
        for p in ax.patches
        if isinstance(p, FancyArrowPatch)
    ]
    return boxes, arrows


def close_to(values: Any) -> Any:
    return [pytest.approx(v, abs=0.02) for v in values]


@pytest.mark.parametrize("more", [True, False])
def test_places_of_the_boxes(more: bool) -> None:
    """A column of 60 mm, exclusions beside it, three splits below the second step."""
    width, line, gap, top = 174.0, 3.3, 7.0, style.MARK_HEIGHT + 2
    layout = patient_flow._Layout(width)
    layout.add_step("A", ["one"], [])
    layout.add_step("B", ["one", "two"], ["w " * 40])
    splits = [("T", ["1"]), ("H", ["1", "2", "3"]), ("S", [])]
    layout.add_splits(splits)
    if more:
        layout.add_step("C", [], [])
    side = width - 60 - 6 - 5
    # 80 mm hold 82 characters; the 79 of the exclusion stand on one line.
    assert int(side / 1.25) == 82
    heights = [3 + 2 * line, 3 + 3 * line, *([3 + line] if more else [])]
    split_height = 4 + 4 * line
    total = sum(h + gap for h in heights) + split_height + top + 3
    assert layout.height == pytest.approx(total)
    _, ax = diagrams.create_canvas(width, layout.height)
    layout.draw(ax)
    boxes, arrows = boxes_and_arrows(ax)
    y = total - top
    first, second = (y, y - heights[0] - gap)
    below = second - heights[1] - gap
    left = 3 + 60 + 5
    part = (width - 6) / 3
    expected = [
        (3, first - heights[0], 60, heights[0]),
        (3, second - heights[1], 60, heights[1]),
        (left, second - heights[1], side, heights[1]),
        *((3 + part * k + 1, below - split_height, part - 2, split_height) for k in range(3)),
    ]
    drawn = [
        (33, first - heights[0], 33, second),
        (left - 5, second - heights[1] / 2, left, second - heights[1] / 2),
        *((33, below + gap, 3 + part * (k + 0.5), below) for k in range(3)),
    ]
    if more:
        last = below - split_height - gap
        expected.append((3, last - heights[2], 60, heights[2]))
        drawn.append((3 + part * 2.5, below - split_height, 33 + 18, last))
    assert boxes == close_to(expected) and arrows == close_to(drawn)
    bold = [t.get_text() for t in ax.texts if t.get_fontweight() == "bold"]
    assert bold == ["A", "B", "Excluded", "T", "H", "S", *(["C"] if more else [])]
    [excluded] = [t for t in ax.texts if t.get_text() == "Excluded"]
    assert excluded.get_ha() == "left" and excluded.get_position()[0] == pytest.approx(left + 1.5)
    # In a narrow figure the column takes less than half.
    assert patient_flow._Layout(85)._column == pytest.approx(39.1)
    long = patient_flow._Layout(width)
    long.add_step("A", ["one"], ["w " * 40 + "www", "v"])
    assert (
        long._steps[0][2] == [("w " * 40 + "www")[:79], "www", "v"] or len(long._steps[0][2]) == 3
    )
    assert long._steps[0][3] == pytest.approx(3 + line * 4)


def status(**changes: Any) -> dict[str, Any]:
    values = {
        "mammograms": 1234,
        "patients": 567,
        "patches": {"normal": 4000, "benign": 300, "malignant": 21},
        "coverage": [1],
        "annotations": {"units_selected": 36, "experts": 1},
        "reading": {"cases": 40},
        "runs": [
            {"kind": "train", "architecture": "vgg16"},
            {"kind": "evaluate", "architecture": "x"},
            {"kind": "train", "architecture": "resnet18"},
        ],
    }
    return values | changes


def test_steps_of_the_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [status()]
    replace(
        monkeypatch,
        diagrams,
        study_status=lambda study: states[-1],
        _count_named=lambda study, label_set: 12 if label_set == "own" else 13,
    )
    assert diagrams.framework_steps(STUDY, "own") == [
        ("Mammograms", "1,234 images\n567 patients"),
        ("Patches", "4,321 patches\n3 classes"),
        ("Classifier", "resnet18"),
        ("Units", "top patches,\ninfluence; 36\nselected"),
        ("Annotation", "12 named by\n1 expert"),
        ("Explanation", "class map and\nnamed units"),
        ("Reading study", "40 cases,\nblinded"),
    ]
    states.append(status(patches={}, coverage=None, annotations=None, reading=None, runs=None))
    texts = [text for _, text in diagrams.framework_steps(STUDY)]
    assert texts[1:] == [*["not yet"] * 4, "class map and\nnamed units", "not yet"]
    states.append(status(coverage=None))
    assert [t for _, t in diagrams.framework_steps(STUDY)][3:5] == [
        "not yet",
        "13 named by\n1 expert",
    ]
    states.append(status(mammograms=0))
    with pytest.raises(MissingInput) as error:
        diagrams.framework_steps(STUDY)
    assert error.value.reason == diagrams.MISSING_INPUTS["data"][1]


def test_named_units_of_the_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = ["dissect-1"]
    monkeypatch.setattr(diagrams.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(diagrams, "load_order_of_experts", lambda study: ("A",))
    monkeypatch.setattr(diagrams.unit_table, "current_dissection", lambda con: runs[-1])
    monkeypatch.setattr(diagrams.unit_table, "selected_unit_ids", lambda con, run: [1, 2, 3])
    monkeypatch.setattr(
        diagrams.label_sets,
        "load_label_set",
        lambda con, *given: {2: 0, 3: 0, 9: 0} if given == ("dissect-1", "own", ("A",)) else {},
    )
    assert diagrams._count_named(STUDY, "own") == 2 and diagrams._count_named(STUDY, "x") == 0
    runs.append(None)  # type: ignore[arg-type]
    assert diagrams._count_named(STUDY, "own") == 0


@pytest.mark.parametrize(("width", "per_row"), [(174.0, 4), (120.0, 4), (119.0, 2)])
def test_places_of_the_framework(
    monkeypatch: pytest.MonkeyPatch, width: float, per_row: int
) -> None:
    steps = [(f"T{i}", f"a\nb{i}") for i in range(7)]
    sets: list[str] = []
    replace(
        monkeypatch,
        diagrams,
        framework_steps=lambda study, label_set: sets.append(label_set) or steps,
        _shown_content=lambda study: " and see it",
    )
    monkeypatch.setattr(diagrams.label_sets, "set_sentence", lambda name: f"Set {name}.")
    result = diagrams.plot_framework(STUDY, width, "own")
    assert result.caption == (
        "Framework. A classifier is trained on patches; experts name its most influential units;"
        " readers judge cases without knowing the truth and see it. Set own."
    )
    assert (sets, result.counts) == (["own"], {})
    assert result.method == "Numbers are those at the time of the export."
    assert result.data["steps"].to_dict("list") == {
        "step": [t for t, _ in steps],
        "content": [f"a b{i}" for i in range(7)],
    }
    rows = {4: 2, 2: 4}[per_row]
    w = (width - 8) / per_row - 7
    height = rows * 18 + (rows - 1) * 9 + 12
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([width, height])
    places = []
    for i in range(7):
        row, column = divmod(i, per_row)
        # Every second row runs from right to left.
        if row % 2:
            column = per_row - 1 - column
        places.append((4 + (w + 7) * (column + 0.5), height - 17 - 27 * row))
    boxes, arrows = boxes_and_arrows(result.figure.axes[0])
    assert boxes == close_to((x - w / 2, y - 9, w, 18) for x, y in places)
    expected = []
    for (x0, y0), (x1, y1) in pairwise(places):
        if y0 == y1:
            shift = w / 2 if x1 > x0 else -w / 2
            expected.append((x0 + shift, y0, x1 - shift, y1))
        else:
            expected.append((x0, y0 - 9, x1, y1 + 9))
    assert arrows == close_to(expected)
    default = diagrams.plot_framework(STUDY, width)
    assert sets[-1] == diagrams.DEFAULT_SET and f"Set {diagrams.DEFAULT_SET}." in default.caption


def test_what_the_closed_study_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = [None]
    monkeypatch.setattr(diagrams.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(diagrams, "closed_protocol", lambda con: closed[-1])
    design = SimpleNamespace(arms=("shuffled", "image"))
    monkeypatch.setattr(diagrams.workflow, "protocol_design", lambda protocol: design)
    assert diagrams._shown_content(STUDY) == ""
    closed.append("protocol")
    assert diagrams._shown_content(STUDY) == " and see the labels of another case"
    with pytest.raises(MissingInput) as error:
        diagrams.plot_annotation_screen(STUDY, 85)
    assert error.value.reason == diagrams.MISSING_INPUTS["screenshot"][1]


def test_an_arrow_and_an_empty_box() -> None:
    ax = empty_axes()
    diagrams.draw_arrow(ax, (1, 2), (3, 4))
    [arrow] = ax.patches
    assert (arrow.shrinkA, arrow.shrinkB, arrow.get_mutation_scale()) == (0, 0, 6)
    ax = empty_axes()
    diagrams.draw_box(ax, 5, 6, 4, 2, "T", "")
    assert drawn_texts(ax) == [(5, 6, "T")]
    figure, ax = diagrams.create_canvas(100, 50)
    assert ax.get_position().bounds == (0, 0, 1, 1) and not ax.axison
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 100), (0, 50))
    # Neither sizes nor places are fitted to the texts.
    assert not isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)
