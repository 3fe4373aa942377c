"""Limits of cells: words, ranges and dimensions on both sides, for all sources that share them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.sources import conventions, csv_table, manifest_cells
from core.sources.csv_table import CsvRow, read_table, stream_table
from core.sources.outlines.records import (
    Outline,
    box_outline,
    check_units,
    circle_points,
    place_on_film,
    polygon_points,
)
from core.sources.plans import birads, cells, reading
from core.sources.plans.records import PatientPlan


def row(line: int = 2, table: str = "t.csv", **values: str) -> CsvRow:
    return CsvRow(Path(table), line, values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LESION_TYPE MASS SHAPE OVAL", ("MASS", {"shape": "OVAL"})),
        ("lesion", ("LESION", {})),
        ("", ("", {})),
        ("LESION_TYPE", ("", {})),
        ("mass skin fold shape oval", ("MASS", {"other": "SKIN FOLD", "shape": "OVAL"})),
        ("MASS SHAPE MARGINS ill_defined", ("MASS", {"margins": "ILL_DEFINED"})),
        (
            "CALCIFICATION TYPE ROUND AND REGULAR DISTRIBUTION LINEAR",
            ("CALCIFICATION", {"type": "ROUND AND REGULAR", "distribution": "LINEAR"}),
        ),
    ],
)
def test_lesion_types(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert conventions.parse_lesion_type(text) == expected


def test_sides_pathologies_and_splits() -> None:
    assert [conventions.parse_laterality(t) for t in (" l", "R ", "left", "RIGHT", "unknown")] == [
        *("LEFT", "RIGHT", "LEFT", "RIGHT", "UNKNOWN")
    ]
    assert conventions.parse_laterality("B") is None and conventions.parse_view("") is None
    assert conventions.row_pathology(row(pathology="benign without callback")) == (
        "BENIGN_WITHOUT_CALLBACK"
    )
    with pytest.raises(UserError, match=r"t\.csv, row 2: unknown pathology 'cyst'; use one of CAT"):
        conventions.row_pathology(row(pathology="cyst"), ("CAT", "DOG"))
    split = conventions.resolve_published_split
    assert split("P", [None, ""]) == (None, []) and split("P", ["train", "train"]) == ("train", [])
    name, (problem,) = split("P", ["test", "train", "holdout"])
    assert (name, problem.item, problem.action) == ("test", "P", "all are in test")
    assert problem.cause.endswith("several splits (train, holdout, test)") and not problem.skipped
    assert split("P", ["holdout", None, "train"])[0] == "holdout"


@pytest.mark.parametrize(
    ("text", "number"), [("", None), ("1", 1), ("5", 5), ("3.0", 3), ("1e0", 1)]
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert row(n=text).whole_number("n", 1, 5) == number


@pytest.mark.parametrize("text", ["0", "6", "2.5", "x", "nan", "inf", "0.99"])
def test_numbers_out_of_range(text: str) -> None:
    with pytest.raises(UserError, match=r"t\.csv, row 7: n is .* a whole number from 1 to 5 or"):
        row(7, n=text).whole_number("n", 1, 5)


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("File ;  Patient  ID;Note\n\n a.png ;P1;\n;;\n'b;P2; x \n")
    required = {"image": ("path", "file"), "patient id": ()}
    rows = read_table(path, required)
    assert [(r.line, r.cells) for r in rows] == [
        (3, {"image": "a.png", "patient id": "P1", "note": ""}),
        (5, {"image": "'b", "patient id": "P2", "note": "x"}),
    ]
    assert [list(r.cells) for r in stream_table(path, required, ())] == [
        ["image", "patient id"]
    ] * 2
    path.write_text('a\tb, c\td\n"1\n2"\t3\t\n4\t5\t6\n')
    assert [(r.line, r.cells) for r in read_table(path, {})] == [
        (2, {"a": "1\n2", "b, c": "3", "d": ""}),
        (4, {"a": "4", "b, c": "5", "d": "6"}),
    ]
    for content, message in (
        ("a,b\n", "has no rows"),
        ("a,b\n1\n", "row 2: it has 1 cells where the header has 2"),
        ("a,a\n1,2\n", "two columns 'a'"),
        ("a,b\n1,2\n", None),
        ('a,b\n1,2\n"3,4\n', r"row 3: not a CSV row"),
    ):
        path.write_text(content)
        if message is None:
            with pytest.raises(
                UserError, match="no column 'image' or 'path': its header holds a, b"
            ):
                read_table(path, {"image": ("path",)})
            continue
        with pytest.raises(UserError, match=message):
            read_table(path, {})
    assert [csv_table._cell_text(cell) for cell in (4.0, 4.5, 7, "x")] == ["4", "4.5", "7", "x"]


def test_largest_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    monkeypatch.setattr(csv_table, "MAX_TABLE_BYTES", 4)
    csv_table.check_table_size(path)
    csv_table.check_table_size(tmp_path / "none.csv")
    monkeypatch.setattr(csv_table, "MAX_TABLE_BYTES", 3)
    with pytest.raises(UserError, match="more than the 0 MB"):
        csv_table.check_table_size(path)


@pytest.mark.parametrize("name", ["", "NaN", "none", "Unknown", "-", "?", "#REF!", "n/a", "null"])
def test_no_patients(name: str) -> None:
    with pytest.raises(UserError, match="the patient is missing"):
        manifest_cells.patient_id(row(patient=name))


def test_cells_of_a_manifest() -> None:
    assert manifest_cells.patient_id(row(patient="Mu\u0308ller")) == "M\u00fcller"
    for number in ("1.2E+5", "3e+9", "1,5E+7"):
        with pytest.raises(UserError, match="a spreadsheet has shortened"):
            manifest_cells.patient_id(row(patient=number))
    assert manifest_cells.patient_id(row(patient="12E5")) == "12E5"
    assert [manifest_cells.stated_text(row(a=t), "a") for t in ("N/A", "NULL", "none")] == [
        *("", "", "none")
    ]
    density = manifest_cells.breast_density
    assert [density(row(density=t)) for t in ("A", "b", "c", "D", "1", "4", "")] == [
        *(1, 2, 3, 4, 1, 4, None)
    ]
    for text in ("0", "5"):
        with pytest.raises(UserError, match="density"):
            density(row(density=text))
    split = manifest_cells.published_split
    words = ("Train", "holdout", "VAL", "validation", "test")
    assert [split([row(split=t)]) for t in words] == [
        *("train", "holdout", "holdout", "holdout", "test")
    ]
    assert split([row(split=""), row()]) is None
    assert split([row(split="val"), row(split=""), row(split="holdout")]) == "holdout"
    with pytest.raises(UserError, match="row 9: patient P is in several splits"):
        split([row(3, split="val", patient="P"), row(9, split="test", patient="P")])
    with pytest.raises(UserError, match="row 3: unknown split 'dev'"):
        split([row(3, split="dev")])


def test_features_of_a_patient() -> None:
    rows = [
        row(3, feature_a="", feature_b="N/A", feature_c="x", feature_d="", other="7"),
        row(4, feature_a="2.5", feature_b="low", feature_c="y", feature_d="nan", other="8"),
        row(5, feature_a="3", feature_b="high", feature_c="z", feature_d="", other="9"),
    ]
    assert manifest_cells.patient_features(rows) == {"a": 2.5, "b": "low", "c": "x"}
    rows[1].cells["feature_a"] = "-inf"
    with pytest.raises(UserError, match="row 4: feature_a is '-inf'"):
        manifest_cells.patient_features(rows)
    (problem,) = manifest_cells.unused_columns(rows[0], ("feature_c",))
    assert problem.item == "t.csv" and problem.cause == "columns that are not used: 'other'"
    assert manifest_cells.unused_columns(row(a="1"), ("a",)) == []
    contradicting = manifest_cells.contradicting_values
    assert contradicting([row(age="0", density="a"), row(age="", density="1")]) == []
    two = [
        row(age="50", density="2", feature_k="u"),
        row(age="51", density="b", feature_k="N/A"),
        row(age="50", density="3", feature_k="v"),
    ]
    assert contradicting(two) == [
        "its rows have several values of age: 50, 51",
        "its rows have several values of density: 2, 3",
        "its rows have several values of feature_k: u, v",
    ]
    assert contradicting([row(age="120"), row(age="")]) == []
    with pytest.raises(UserError, match="0 to 120"):
        contradicting([row(age="121")])


def test_rows_of_one_image() -> None:
    base = {"image": "a.png", "pathology": "BENIGN", "outline": "box 1 1 9 9", "view": "CC"}
    check = manifest_cells.check_images
    second = base | {"outline": "box 2 2 8 8", "pathology": "MALIGNANT"}
    check([row(2, **base), row(3, **second), row(4, **(base | {"image": "b.png", "view": "MLO"}))])
    check([row(2, **base), row(3, **(base | {"view": "", "pathology": "benign"}))])
    for change, message in (
        ({"view": "MLO"}, r"row 3: the view of a\.png is MLO, but CC in row 2"),
        ({"outline": ""}, r"row 3: it outlines nothing in a\.png, where row 2 outlines"),
        ({"pathology": "MALIGNANT"}, "row 3: it outlines the finding of row 2, but its pathology"),
    ):
        with pytest.raises(UserError, match=message):
            check([row(2, **base), row(3, **(base | change))])
    with pytest.raises(UserError, match="the laterality of .* is R, but left in row 2"):
        check([row(2, **base, laterality="left"), row(3, **second, laterality="R")])
    check([row(2, **base, laterality="left"), row(3, **second, laterality="L")])


def test_density_age_and_missing_cells_of_public_sets() -> None:
    assert [cells.parse_density(t) for t in ("a", "DENSITY B", "3.0", "d", "4", "5", "e")] == [
        *(1, 2, 3, 4, 4, None, None)
    ]
    assert [cells.parse_age(t) for t in ("001Y", " 57.9", "120", "121", "0", "y")] == [
        *(1, 57, 120, None, None, None)
    ]
    assert all(map(cells.is_missing, ("", " NaN ", "None", "N/A", "na", "removed")))
    assert not cells.is_missing("0")


def test_tables_and_images_in_folders(tmp_path: Path) -> None:
    for name in ("a/b/T.csv", "a/t.csv", "x/other.csv", "p/1/im.png", "p/2/im.PNG", "p/2/solo.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "p" / "2" / "note.txt").touch()
    assert cells.find_table(tmp_path, ["t.csv"]) == tmp_path / "a" / "t.csv"
    # The first name counts before the nearest file.
    assert cells.find_table(tmp_path / "a", ["none.csv", "T.CSV"]).name == "t.csv"
    assert cells.find_table(tmp_path, ["OTHER.csv", "t.csv"]) == tmp_path / "x" / "other.csv"
    with pytest.raises(UserError, match=r"has no table q\.csv or r\.csv"):
        cells.find_table(tmp_path, ["q.csv", "r.csv"])
    index = cells.ImageIndex(tmp_path)
    assert sorted(index.files()) == ["im", "solo"]
    assert index.find("solo") == index.find("nowhere", "solo") == tmp_path / "p" / "2" / "solo.tif"
    assert index.find("im") is None and index.find("3", "im") is None and index.find("note") is None
    assert index.find("2", "im") == index.find("p", "2", "im") == tmp_path / "p" / "2" / "im.PNG"
    for path, message in ((None, "source is missing: give the folder that holds films"),):
        with pytest.raises(UserError, match=message):
            cells.require_folder(path, "films")
    with pytest.raises(UserError, match=r"t\.csv is not a folder"):
        cells.require_folder(tmp_path / "a" / "t.csv", "films")
    assert cells.require_folder(tmp_path, "films") == tmp_path


def test_categories_of_birads() -> None:
    parse = birads.parse_birads
    four = birads.BiradsCategory(4, "B")
    assert parse("bi-rads 4b") == parse("4 B") == four and four.text == "BI-RADS 4B"
    assert parse("6.0") == birads.BiradsCategory(6) and parse("0").number == 0
    assert [parse(t) for t in ("7", "3a", "4d", "", "44")] == [None] * 5
    steps = [birads.BiradsCategory(4, letter).interval for letter in ("A", "B", "C", "")]
    assert steps == [(41, 41), (42, 42), (43, 43), (40, 43)]
    assert birads.BiradsCategory(5).interval == (50, 53)
    mapping = birads.parse_birads_mapping(" 1 - 3 = benign , 4b=MALIGNANT,4C-5=malignant")
    names = [mapping.pathology(parse(t)) for t in ("0", "1", "3", "4", "4a", "4b", "4c", "5", "6")]
    assert names == [
        *("UNPROVEN", "BENIGN", "BENIGN", "UNPROVEN", "UNPROVEN"),
        *("MALIGNANT", "MALIGNANT", "MALIGNANT", "UNPROVEN"),
    ]
    assert mapping.pathology(None) == birads.BiradsMapping().pathology(four) == "UNPROVEN"
    assert birads.parse_birads_mapping(None).ranges == ()
    assert birads.parse_birads_mapping("4a-4a=BENIGN,4b-4c=MALIGNANT").ranges == (
        *((41, 41, "BENIGN"), (42, 43, "MALIGNANT")),
    )
    for text, message in (
        (" ", "is empty"),
        ("2-3=BENIGN,3-5=MALIGNANT", "both BENIGN and MALIGNANT"),
        ("4=BENIGN,4c=MALIGNANT", "both BENIGN and MALIGNANT"),
        ("5-4=BENIGN", "the first category is higher"),
        ("1-2-3=BENIGN", "write CATEGORY=PATHOLOGY"),
        ("1=CYST", "write CATEGORY=PATHOLOGY"),
        ("7=BENIGN", "write CATEGORY=PATHOLOGY"),
        ("4", "write CATEGORY=PATHOLOGY"),
    ):
        with pytest.raises(UserError, match=message):
            birads.parse_birads_mapping(text)


def test_ids_of_films() -> None:
    ids = reading.unique_film_id
    assert ids("P", "LEFT", "CC", "a", set()) == "P.LEFT_CC"
    assert ids("P", "UNKNOWN", "CC", "a", set()) == ids("P", "LEFT", "UNKNOWN", "a", set()) == "P.a"
    used = {"P.LEFT_CC", "P.a", "P.a_2"}
    assert ids("P", "LEFT", "CC", "a", used) == "P.a_3"


def test_plans_with_faults(tmp_path: Path) -> None:
    def fail() -> PatientPlan:
        raise UserError("row 4: no side")

    plan = PatientPlan(patient="Q", films=())
    builders = [("P", fail), ("Q", lambda: plan), ("R\u200b", lambda: plan)]
    plans, problems = reading.keep_valid_plans(builders, skip_bad=True)
    assert plans == [plan]
    assert [(p.item, p.action, p.skipped) for p in problems] == [
        ("P", "patient left out", True),
        ("R\u200b", "patient left out", True),
    ]
    assert problems[0].cause == "row 4: no side" and "U+200B" in problems[1].cause
    with pytest.raises(UserError, match="row 4: no side"):
        reading.keep_valid_plans(builders, skip_bad=False)


def test_outlines_enclose_something() -> None:
    assert (
        box_outline(0, 1, 2, 3, normalised=True).normalised
        and not box_outline(0, 1, 2, 3).normalised
    )
    for box in ((1, 1, 1, 2), (1, 1, 2, 1), (2, 1, 1, 2), (1, 2, 2, 1), (1, 1, np.nan, 2)):
        with pytest.raises(UserError, match="encloses nothing"):
            box_outline(*box)
    assert polygon_points([0, 0, 4, 0, 4, 3, 0, 3])[2] == (4.0, 3.0)
    for numbers in ([0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, 0, 1, 1, 2]):
        with pytest.raises(UserError, match="at least three pairs"):
            polygon_points(numbers)
    with pytest.raises(UserError, match="lie on one line"):
        polygon_points([0, 0, 1, 1, 2, 2])


def test_units_of_coordinates() -> None:
    check_units(box_outline(0, 0, 2, 1))
    check_units(box_outline(0, 0, 2, 1, normalised=True))
    check_units(Outline(circles=((0.5, 0.5, 2.0),)))
    for outline in (box_outline(0, 0, 1.99, 1), Outline(circles=((0.5, 0.5, 0.2),))):
        with pytest.raises(UserError, match="look like shares"):
            check_units(outline)
    with pytest.raises(UserError, match=r"a coordinate is 2\.01"):
        check_units(box_outline(0, 0, 2.01, 1, normalised=True))


def test_outlines_on_a_film() -> None:
    """On a film of 100 x 50 pixels 2 % are 2 pixels of the width and 1 of the height."""
    place = place_on_film
    polygons, warnings = place(box_outline(0.1, 0.2, 0.5, 1.0, normalised=True), (50, 100))
    assert polygons[0].tolist() == [[10, 10], [50, 10], [50, 50], [10, 50]] and warnings == []
    polygons, _ = place(Outline(polygons=(((1, 2), (9, 2), (9, 5)),), from_below=True), (50, 100))
    assert polygons[0].tolist() == [[1, 48], [9, 48], [9, 45]]
    polygons, warnings = place(box_outline(-2, -1, 102, 51), (50, 100))
    assert polygons[0].tolist() == [[0, 0], [100, 0], [100, 50], [0, 50]]
    cause = "the outline leaves the film (100 x 50 pixels) by up to 2 pixels"
    assert warnings == [(cause, "outline clipped to the film")]
    for box in ((-2.1, 0, 9, 9), (0, -1.1, 9, 9), (0, 0, 102.1, 9), (0, 0, 9, 51.1)):
        with pytest.raises(UserError, match="leaves its film"):
            place(box_outline(*box), (50, 100))
    with pytest.raises(UserError, match=r"\(x 0 to inf, y 0 to 9\)"):
        place(box_outline(0, 0, np.inf, 9), (50, 100))
    polygons, warnings = place(
        Outline(circles=((0.5, 0.5, 0.1),), normalised=True, notes=("a hole was filled",)),
        (50, 100),
    )
    assert warnings == [("a hole was filled", "outline used")] and polygons[0].shape == (64, 2)
    assert polygons[0].mean(0) == pytest.approx([50, 25])
    assert np.hypot(*(polygons[0] - (50, 25)).T) == pytest.approx(np.full(64, 10.0))
    points = circle_points((3, 4, 2))
    assert points[0] == pytest.approx([5, 4]) and points[16] == pytest.approx([3, 6])
