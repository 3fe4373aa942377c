"""Cells, sentences and drawings of reports that are easily exchanged, against texts by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pytest
from matplotlib.patches import FancyArrowPatch

from evaluation.intervals import decimal
from evaluation.reporting import report
from evaluation.reporting.figures import FIGURES, diagrams, explanations
from evaluation.reporting.methods_text import _augmentation_sentence, patch_sentences
from evaluation.reporting.tables import TABLES
from evaluation.reporting.tables.base import Table, TableColumn
from evaluation.reporting.tables.export import write_excel
from evaluation.reporting.tables.reading_study import _sensitivity_analyses
from evaluation.reproduction.exports import _cell
from support import synthetic_study


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.5, 0.25, 0.75), ".500 (.250 to .750)"),
        ((0.5, None, 0.75), ".500"),
        ((0.5, 0.25, None), ".500"),
        ((0.5, float("nan"), 0.75), ".500"),
        ((0.5,), ".500"),
    ],
)
def test_cell_of_an_interval(values: tuple[Any, ...], text: str) -> None:
    assert TableColumn("Share", decimal, interval=True).printed_cell(values) == text


def test_columns_of_numbers_and_of_print() -> None:
    table = Table(
        (TableColumn("Class"), TableColumn("AUC", decimal, interval=True), TableColumn("n")),
        [("benign", 0.8, 0.7, 0.9, 12)],
        "note",
    )
    assert table.raw_frame().iloc[0].to_dict() == {
        "Class": "benign",
        "AUC": 0.8,
        "AUC 95 % low": 0.7,
        "AUC 95 % high": 0.9,
        "n": 12,
    }
    assert table.printed_frame().iloc[0].to_dict() == {
        "Class": "benign",
        "AUC (95 % CI)": ".800 (.700 to .900)",
        "n": "12",
    }


def test_columns_of_a_sheet_are_as_wide_as_their_longest_cell(tmp_path: Path) -> None:
    columns = (TableColumn("A"), TableColumn("A long heading"), TableColumn("B"))
    table = Table(columns, [("a longer cell", "x", "y" * 90), ("b", "", "z")], "note")
    write_excel(table, "Title", tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx")["Title"]
    widths = [sheet.column_dimensions[letter].width for letter in "ABC"]
    assert widths == [2 + len("a longer cell"), 2 + len("A long heading"), 60]
    assert sheet.freeze_panes == "B2" and sheet.cell(5, 1).value == "note"
    assert sheet.cell(2, 3).value == "y" * 90


def score(primary: str, endpoint: str) -> Any:
    """Return a score whose P values all differ."""
    return SimpleNamespace(
        primary=SimpleNamespace(endpoint=endpoint),
        design=SimpleNamespace(primary=primary),
        clusters=SimpleNamespace(
            sign_flip_p_greater=0.011,
            sign_flip_p_two_sided=0.022,
            gee_p_values=(0.033, 0.044),
            clusters=41,
            icc=0.31,
            design_effect=1.7,
            clustering_text=lambda: "",
        ),
        binomial=SimpleNamespace(p_value=0.055, critical_count=57, answers_to_flip=3),
        binomial_two_sided=SimpleNamespace(p_value=0.066),
        permutation_p_greater=0.077,
        missing_analyses=[
            SimpleNamespace(missing_rule="counted_wrong", estimate=0.62, p_value=0.088, missing=2)
        ],
    )


def test_sensitivity_analyses_have_their_own_p_values() -> None:
    rows = _sensitivity_analyses(score("gee", "proportion"))
    assert [(row[0], row[1], row[4]) for row in rows[1:]] == [
        (
            "Sensitivity analysis: patient sign-flip",
            None,
            "P = .011, one-sided; P = .022, two-sided",
        ),
        (
            "Sensitivity analysis: exact binomial, assumes independence",
            None,
            "P = .055, one-sided; P = .066, two-sided",
        ),
        ("Sensitivity analysis: exchange of truth between patients", None, "P = .077, one-sided"),
        ("Patients", 41, ""),
        (
            "Intraclass correlation",
            0.31,
            "similarity of the answers to one patient, by analysis of variance",
        ),
        (
            "Design effect",
            1.7,
            "variance between patients divided by that of independent answers",
        ),
        ("Critical count of the exact test", 57, ""),
        ("Answers that would change its conclusion", 3, ""),
    ]
    assert rows[0][1] == 0.62 and rows[0][4] == "P = .088, 2 missing answers"
    # The prespecified test stands above; of another endpoint all tests are listed.
    names = [row[0] for row in _sensitivity_analyses(score("sign_flip", "proportion"))]
    assert "Sensitivity analysis: GEE" in names and not any("sign-flip" in n for n in names)
    other = _sensitivity_analyses(score("auc", "auc"))
    texts = {row[0].split(": ")[1]: row[4] for row in other[1:5]}
    assert texts["GEE"] == "P = .033, one-sided; P = .044, two-sided"
    assert all(row[0].startswith("Proportion correct against .5: ") for row in other[1:5])


def test_order_of_the_report() -> None:
    assert report.RESULTS == (
        ("Patients", ("flow",), ("cohort",)),
        (
            "Classifier",
            ("roc", "calibration", "decision", "subgroups"),
            ("classifiers", "operating_points", "architectures"),
        ),
        (
            "Units and their names",
            ("units", "categories", "coverage", "agreement", "ablation"),
            ("categories", "coverage", "agreement"),
        ),
        ("Explanations", ("explanations",), ("similarity",)),
        ("Reading study", ("reading", "time_order"), ("reading", "truth_rules", "examples")),
    )
    figures = [name for _, names, _ in report.RESULTS for name in names]
    tables = [name for _, _, names in report.RESULTS for name in names]
    assert set(figures) <= set(FIGURES) and set(tables) <= set(TABLES)


def test_sentences_about_augmentation() -> None:
    flips, turn = "random flips and quarter turns", "random rotations of up to 7.5 degrees"
    for augment, rotation, text in (
        (True, 7.5, f"Patches were augmented by {flips} and by {turn}."),
        (True, 0.0, f"Patches were augmented by {flips}."),
        (False, 7.5, f"Patches were augmented by {turn}."),
        (False, 0.0, "Patches were not augmented."),
    ):
        assert _augmentation_sentence({"augment": augment, "rotation": rotation}) == text


def test_origin_of_patches_is_stated() -> None:
    patches = {"min_tissue": 0.5, "min_overlap": 0.3, "rule": "or", "ambiguous": "keep"}
    own = {"settings": {"patches": patches}, "manifest": {"classes": 3}}
    published = own | {"manifest": {"classes": 3, "labels": "published"}}
    assert "of the published list" in patch_sentences(published, False)
    text = patch_sentences(own, False)
    assert "where tissue covered at least 50 %" in text and "published list" not in text
    assert "30 %" in text and "left out" not in text
    dropped = own | {"settings": {"patches": patches | {"ambiguous": "drop"}}}
    assert "without reaching this overlap were left out" in patch_sentences(dropped, False)
    assert patch_sentences(own, True).endswith("(image-level labels).")


@pytest.mark.parametrize(("left", "x", "align"), [(False, 40, "center"), (True, 31.5, "left")])
def test_text_of_a_box(left: bool, x: float, align: str) -> None:
    figure, ax = diagrams.create_canvas(100, 80)
    options = {"left": True} if left else {}
    diagrams.draw_box(ax, 40, 30, 20, 10, "Title", "one\ntwo", **options)
    [box] = ax.patches
    extent = box.get_path().get_extents().bounds
    assert extent == pytest.approx((30, 25, 20, 10), abs=0.01)
    lines = [(t.get_text(), t.get_position(), t.get_ha()) for t in ax.texts]
    step = diagrams.LINE_HEIGHT
    assert lines == [
        ("Title", (x, 30 + step), align),
        ("one", (x, pytest.approx(30)), align),
        ("two", (x, pytest.approx(30 - step)), align),
    ]
    assert figure.get_size_inches() * 25.4 == pytest.approx([100, 80])


@pytest.mark.parametrize(("width", "rows"), [(174.0, 2), (85.0, 4)])
def test_every_step_of_the_framework_leads_to_the_next(
    width: float, rows: int, tmp_path: Path
) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    result = diagrams.plot_framework(study, width)
    [ax] = result.figure.axes
    steps = result.data["steps"]["step"].tolist()
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    boxes = [patch for patch in ax.patches if not isinstance(patch, FancyArrowPatch)]
    assert len(boxes) == len(steps) and len(arrows) == len(steps) - 1
    centres = [box.get_path().get_extents() for box in boxes]
    for arrow, first, second in zip(arrows, centres, centres[1:]):
        (x0, y0), (x1, y1) = arrow._posA_posB
        # From an edge of a box to the facing edge of the next one.
        assert first.x0 - 0.01 <= x0 <= first.x1 + 0.01 and first.y0 - 0.01 <= y0 <= first.y1 + 0.01
        assert (
            second.x0 - 0.01 <= x1 <= second.x1 + 0.01
            and second.y0 - 0.01 <= y1 <= second.y1 + 0.01
        )
        assert (y0 == y1 and abs(x1 - x0) > 1) or (y0 - y1 > 1 and abs(x0 - x1) < 0.01)
    assert len({round(c.y0) for c in centres}) == rows
    assert [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"] == steps


def test_images_of_explanations_fit_the_page() -> None:
    """As high as a page allows, at most twice their width, and never below a minimum."""
    findings = {"report": ["SPICULATED_MASS", ""]}
    case = SimpleNamespace(findings=findings, phenomena=lambda _limit: [])
    one = explanations._fit_to_page([case], 174.0, 5)  # type: ignore[list-item]
    column = explanations._column_width(174.0, 7)
    assert len(one.labels) == 1 and one.image == min(explanations._IMAGE_MM, 2 * column)
    narrow = explanations._fit_to_page([case], 60.0, 5)  # type: ignore[list-item]
    assert narrow.image == max(explanations._MIN_IMAGE_MM, 2 * explanations._column_width(60.0, 7))
    many = explanations._fit_to_page([case] * 30, 174.0, 5)  # type: ignore[list-item]
    assert 1 < len(many.labels) < 30 and many.image >= explanations._MIN_IMAGE_MM
    assert explanations._report_lines(case, 174.0) == ["Report: spiculated mass"]  # type: ignore[arg-type]
    empty = SimpleNamespace(findings={"report": [""]})
    assert explanations._report_lines(empty, 174.0) == ["Report: none"]  # type: ignore[arg-type]


def test_cell_of_a_markdown_table() -> None:
    assert _cell("a | b\n  c") == "a \\| b c"
