"""Rows of public sets and of a truth table, one by one, with every field by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.sources.csv_table import CsvRow
from core.sources.dicom_folder import pseudonyms, truth_table
from core.sources.outlines.records import Outline, box_outline
from core.sources.plans.birads import BiradsCategory, BiradsMapping, parse_birads_mapping
from core.sources.plans.cells import ImageIndex
from core.sources.plans.headers import FileHeader
from core.sources.plans.records import FilmPlan, FindingPlan
from core.sources.public_sets import cmmd, embed, embed_pathology, inbreast, mini_mias, rsna, vindr
from core.sources.public_sets.unmarked import assessment_without_place
from core.sources.records import Problem

MAPPING = parse_birads_mapping("2=NORMAL,3=BENIGN,5-6=MALIGNANT")
NOTHING = BiradsMapping()


def row(line: int = 2, **cells: str) -> CsvRow:
    return CsvRow(Path("t.csv"), line, cells)


@pytest.fixture
def index(tmp_path: Path) -> ImageIndex:
    for name in ("P1/a.png", "P2/a.png", "P1_b.png", "images/S1/c.dicom", "P9/exam/d.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return ImageIndex(tmp_path)


@pytest.mark.parametrize(
    ("cancer", "biopsy", "label"),
    [("1", "1", "MALIGNANT"), ("1", "0", "MALIGNANT"), ("0", "1", "BENIGN"), ("0", "", "NORMAL")],
)
def test_labels_of_rsna(index: ImageIndex, cancer: str, biopsy: str, label: str) -> None:
    cells = {"patient_id": "P2", "image_id": "a", "laterality": "r", "view": "ml"}
    plan = rsna._film(row(5, **cells, cancer=cancer, biopsy=biopsy), index)
    assert plan == FilmPlan(
        image=index.root / "P2" / "a.png",
        laterality="RIGHT",
        view="ML",
        image_label=label,
        origin="t.csv, row 5",
    )


def test_faults_of_rsna(index: ImageIndex) -> None:
    cells = {"patient_id": "P1", "image_id": "b", "laterality": "L", "view": "CC", "cancer": "0"}
    assert rsna._film(row(**cells), index).image == index.root / "P1_b.png"
    for change, message in (
        ({"image_id": "z"}, "its image P1/z is missing"),
        ({"laterality": "B"}, "unknown laterality or view 'B', 'CC'"),
        ({"view": "X"}, "unknown laterality or view 'L', 'X'"),
        ({"cancer": ""}, "cancer is empty"),
        ({"cancer": "2"}, "cancer is '2'"),
        ({"biopsy": "2"}, "biopsy is '2'"),
    ):
        with pytest.raises(UserError, match=message):
            rsna._film(row(**(cells | change)), index)


def test_films_of_vindr(index: ImageIndex) -> None:
    image = {
        "study_id": "S1", "image_id": "c", "laterality": "L", "view_position": "MLO",
        "width": "800", "height": "1000", "breast_birads": "BI-RADS 5",
    }  # fmt: skip
    box = {
        "finding_categories": "['Mass', 'Suspicious Calcification']",
        "finding_birads": "BI-RADS 4", "xmin": "1", "ymin": "2", "xmax": "5", "ymax": "9.5",
    }  # fmt: skip
    none = row(8, finding_categories="['No Finding']")
    plan = vindr._film(row(3, **image), [none, row(4, **box)], index, MAPPING)
    assert plan == FilmPlan(
        image=index.root / "images" / "S1" / "c.dicom",
        laterality="LEFT",
        view="MLO",
        findings=(
            FindingPlan(
                pathology="UNPROVEN",
                lesion_type="MASS+CALCIFICATION",
                assessment=4,
                outline=box_outline(1, 2, 5, 9.5),
                report="Mass, Calcification, BI-RADS 4",
                origin="t.csv, row 4",
            ),
        ),
        annotated_size=(800, 1000),
        origin="t.csv, row 3",
    )
    unmarked = vindr._film(row(3, **(image | {"width": ""})), [none], index, MAPPING)
    assert unmarked.annotated_size is None
    assert [(f.pathology, f.assessment, f.outline) for f in unmarked.findings] == [
        ("MALIGNANT", 5, None)
    ]
    without = vindr._finding(row(4, **(box | {"finding_birads": ""})), MAPPING)
    assert without.assessment is None and without.report.endswith("Calcification, no assessment")
    for change, message in (
        ({"xmin": "x"}, "a coordinate of its box is not a number"),
        ({"xmax": "1"}, "encloses nothing"),
        ({"finding_categories": "Mass"}, "finding_categories is 'Mass'"),
        ({"finding_categories": "[1]"}, "finding_categories is"),
    ):
        with pytest.raises(UserError, match=message):
            vindr._finding(row(4, **(box | change)), MAPPING)


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        (BiradsCategory(1), None), (BiradsCategory(2), None), (None, ("UNPROVEN", None)),
        (BiradsCategory(0), ("UNPROVEN", 0)), (BiradsCategory(6), ("MALIGNANT", 6)),
    ],
)  # fmt: skip
def test_films_assessed_as_a_whole(category: BiradsCategory | None, expected: Any) -> None:
    found = assessment_without_place(category, MAPPING, "here")
    if expected is None:
        assert found == ()
    else:
        (finding,) = found
        assert (finding.pathology, finding.assessment) == expected
        assert finding.report == (category.text if category else "no assessment")
        assert finding.outline is None and finding.origin == "here"


def test_codes_of_embed() -> None:
    letters = {"A": 0, "n": 1, "B": 2, "P": 3, "S": 4, "M": 5, "K": 6}
    for letter, number in letters.items():
        assert embed_pathology.assessment_of_row(row(asses=letter)) == BiradsCategory(number)
    assert embed_pathology.assessment_of_row(row(asses="nan")) is None
    with pytest.raises(UserError, match="unknown assessment 'X'"):
        embed_pathology.assessment_of_row(row(asses="x"))

    def pathology(side: str = "LEFT", **cells: str) -> str:
        return embed_pathology.pathology_of_row(row(**({"asses": "M"} | cells)), side, MAPPING)

    severities = [pathology(path_severity=text) for text in ("0", "1.0", "2", "3", "4", "5", "6")]
    assert severities == [*["MALIGNANT"] * 2, *["BENIGN"] * 4, "UNPROVEN"]
    assert pathology(path_severity="") == "MALIGNANT" and pathology(asses="N") == "NORMAL"
    assert pathology(asses="S") == pathology(asses="") == "UNPROVEN"
    # A specimen of the other breast says nothing about this one.
    assert pathology(path_severity="4", bside="R") == "MALIGNANT"
    assert pathology(path_severity="4", bside="l") == "BENIGN"
    assert pathology(path_severity="4", bside="B") == "BENIGN"
    with pytest.raises(UserError, match="unknown path_severity '7'"):
        pathology(path_severity="7")


def embed_film(index: ImageIndex, clinical: list[CsvRow], **changes: str) -> tuple:
    cells = {
        "anon_dicom_path": "/mnt/x/P9/exam/d.dcm", "imagelateralityfinal": "L", "acc_anon": "E1",
        "viewposition": "CC", "roi_coords": "", "spot_mag": "",
    }  # fmt: skip
    tables = embed._Tables({"E1": clinical}, {})
    return embed._film(row(6, **(cells | changes)), tables, index, MAPPING)


def test_films_of_embed(index: ImageIndex) -> None:
    mass = row(11, side="L", asses="M", path_severity="1", massshape="R", calcfind="nan")
    calcium = row(12, side="B", asses="P", path_severity="", massshape="", calcdistri="G")
    right = row(13, side="R", asses="K", path_severity="0")
    negative = row(14, side="L", asses="N", path_severity="")
    film, problems = embed_film(index, [mass, calcium, right, negative])
    assert (film.laterality, film.view, film.may_be_mirrored) == ("LEFT", "CC", True)
    assert film.image == index.root / "P9" / "exam" / "d.dcm" and film.origin == "t.csv, row 6"
    assert problems == [] and film.findings == (
        FindingPlan(
            pathology="MALIGNANT",
            lesion_type="MASS",
            assessment=5,
            report="asses M, path_severity 1",
            origin="t.csv, row 11",
        ),
        FindingPlan(
            pathology="BENIGN",
            lesion_type="CALCIFICATION",
            assessment=3,
            report="asses P, path_severity none",
            origin="t.csv, row 12",
        ),
    )
    boxes = "[[2, 1, 8, 5], [20, 10, 80, 50]]"
    film, problems = embed_film(index, [mass, negative], roi_coords=boxes, spot_mag="1.0")
    assert [f.outline for f in film.findings] == [
        box_outline(1, 2, 5, 8),
        box_outline(10, 20, 50, 80),
    ]
    assert {f.pathology for f in film.findings} == {"MALIGNANT"}
    assert problems == [("d.dcm is a spot or magnification view", "imported")]
    film, ((cause, action),) = embed_film(index, [mass, calcium], roi_coords=boxes)
    assert {(f.pathology, f.origin) for f in film.findings} == {("UNPROVEN", "t.csv, row 6")}
    assert cause == "d.dcm: its boxes belong to findings of several pathologies"
    assert action == "its findings are UNPROVEN"
    film, ((cause, _),) = embed_film(index, [negative], roi_coords=boxes)
    assert cause == "d.dcm: it has boxes, but its exam reports no finding"
    film, ((cause, _),) = embed_film(index, [])
    assert cause == "d.dcm: its exam is not in the table" and film.findings[0].outline is None
    other = row(15, side="B", asses="M", path_severity="4", bside="R")
    film, ((cause, action),) = embed_film(index, [other])
    assert cause.startswith("d.dcm: the biopsy") and action.startswith("the pathology is not used")
    assert film.findings[0].pathology == "MALIGNANT"
    for change, message in (
        ({"anon_dicom_path": "x/y/z.dcm"}, "its image x/y/z.dcm is missing"),
        ({"imagelateralityfinal": "?"}, "unknown side"),
        ({"roi_coords": "[[1, 2, 3]]"}, "ROI_coords is"),
        ({"roi_coords": "1, 2, 3, 4"}, "ROI_coords is"),
        ({"roi_coords": "[[5, 5, 5, 9]]"}, "encloses nothing"),
    ):
        with pytest.raises(UserError, match=message):
            embed_film(index, [mass], **change)
    assert embed._boxes(row(roi_coords="[]")) == embed._boxes(row(roi_coords="nan")) == []


def test_breasts_of_cmmd() -> None:
    rows = [
        row(2, leftright="L", classification="benign"),
        row(3, leftright="R", classification="Benign"),
        row(4, leftright="L", classification="Malignant"),
    ]
    labels = cmmd._labels(rows)
    assert labels == {"LEFT": "MALIGNANT", "RIGHT": "BENIGN"} == cmmd._labels(rows[::-1])
    for change in ({"leftright": "B"}, {"leftright": "unknown"}, {"classification": "normal"}):
        with pytest.raises(UserError, match="unknown side or class"):
            cmmd._labels([row(**({"leftright": "L", "classification": "benign"} | change))])
    header = file_header(laterality="RIGHT", view="MLO")
    plan = cmmd._film(header, {"LEFT": "BENIGN"}, rows[1])
    assert plan == FilmPlan(
        image=header.path,
        laterality="RIGHT",
        view="MLO",
        image_label="UNPROVEN",
        origin="t.csv, row 3",
    )
    with pytest.raises(UserError, match="names no side in its tags"):
        cmmd._film(file_header(), labels, rows[0])
    known = {"D1": rows, "D2": rows}
    assert cmmd._patient(file_header(patient="D2"), known) == "D2"
    nested = file_header(path=Path("/x/D1/D2/s/f.dcm"), patient="other")
    assert cmmd._patient(nested, known) == "D2"
    assert cmmd._patient(file_header(path=Path("/x/s/f.dcm"), patient="Q"), known) == "Q"
    assert cmmd._patient(file_header(path=Path("/x/s/f.dcm"), patient=""), known) == "s"


def test_lines_of_mini_mias(tmp_path: Path) -> None:
    (tmp_path / "Info.txt").write_text(
        "about the films\nmdb001 G CIRC B 535 425 197\nmdb002 F NORM\n"
        " mdb003 D CALC M *NOTE 3*\nmdb003 D MISC M 1 2 3\n"
    )
    entries = mini_mias._read_entries(tmp_path / "Info.txt")
    rows = [(e.film, e.number, e.lesion, e.severity, e.circle) for e in entries]
    assert rows == [
        ("mdb001", 1, "CIRC", "B", (535, 425, 197)), ("mdb002", 2, "NORM", "", None),
        ("mdb003", 3, "CALC", "M", None), ("mdb003", 3, "MISC", "M", (1, 2, 3)),
    ]  # fmt: skip
    assert entries[2].origin == f"{tmp_path / 'Info.txt'}, row 4"
    assert mini_mias._finding(entries[0]) == FindingPlan(
        pathology="BENIGN",
        lesion_type="MASS",
        descriptors=(("margins", "CIRCUMSCRIBED"),),
        outline=Outline(circles=((535, 425, 197),), from_below=True),
        report="CIRC",
        origin=entries[0].origin,
    )
    calcium = mini_mias._finding(entries[2])
    assert (calcium.pathology, calcium.lesion_type, calcium.descriptors) == (
        *("MALIGNANT", "CALCIFICATION", ()),
    )
    assert calcium.outline is None
    words = {name: mini_mias._LESIONS[name] for name in ("SPIC", "MISC", "ARCH", "ASYM")}
    assert words == {
        "SPIC": ("MASS", "SPICULATED"), "MISC": ("MASS", "ILL_DEFINED"),
        "ARCH": ("ARCHITECTURAL_DISTORTION", ""), "ASYM": ("ASYMMETRY", ""),
    }  # fmt: skip
    for film in ("mdb001", "mdb002", "mdb003"):
        (tmp_path / f"{film}.pgm").touch()
    (first, second), problems = mini_mias.list_tasks(tmp_path)
    assert (first.patient, second.patient, problems) == ("mdb001-002", "mdb003-004", [])
    sides = [(film.laterality, film.view, len(film.findings)) for film in first.films]
    assert sides == [("RIGHT", "MLO", 1), ("LEFT", "MLO", 0)]
    assert first.films[0].annotated_size == (1024, 1024)
    assert len(second.films) == 1 and len(second.films[0].findings) == 2
    for text, message in (
        ("mdb001 G NORM B 1 2 3\n", "exactly if it is abnormal"),
        ("mdb001 G CIRC\n", "exactly if it is abnormal"),
        ("mdb001 G CIRC B 1 2\n", "is not a line of mini-MIAS"),
    ):
        (tmp_path / "Info.txt").write_text(text)
        with pytest.raises(UserError, match=message):
            mini_mias.list_tasks(tmp_path)


def test_regions_of_inbreast(tmp_path: Path) -> None:
    def region(name: str, *points: str) -> str:
        corners = "".join(f"<string>({point})</string>" for point in points)
        names = f"<key>Name</key><string>{name}</string>"
        return f"<dict>{names}<key>Point_px</key><array>{corners}</array></dict>"

    regions = [
        region("Mass ", "1, 2", "3, 4.5", "5, 1"), region("Calcification", "7, 8"),
        region("Pectoral Muscle", "0, 0", "1, 0", "0, 1"), region("Calcifications", "9, 8"),
        region("Cluster", "1, 1", "2, 1", "2, 2"), region("odd", "1, 1"), region("empty"),
    ]  # fmt: skip
    file = tmp_path / "f.xml"
    head = '<?xml version="1.0"?><plist version="1.0"><dict><key>Images</key><array><dict>'
    body = f"<key>ROIs</key><array>{''.join(regions)}</array></dict></array></dict></plist>"
    file.write_text(head + body)
    found = inbreast._findings(file, BiradsCategory(5), MAPPING)
    assert [(f.lesion_type, f.report, f.outline.polygons) for f in found if f.outline] == [
        ("MASS", "Mass, BI-RADS 5", (((1.0, 2.0), (3.0, 4.5), (5.0, 1.0)),)),
        ("CALCIFICATION", "Cluster, BI-RADS 5", (((1.0, 1.0), (2.0, 1.0), (2.0, 2.0)),)),
        ("OTHER", "odd, BI-RADS 5", (((1.0, 1.0),),)),
        ("CALCIFICATION", "Calcification, BI-RADS 5", (((7.0, 8.0),), ((9.0, 8.0),))),
    ]
    assert {(f.pathology, f.assessment, f.origin) for f in found} == {("MALIGNANT", 5, str(file))}
    assert inbreast._findings(file, None, NOTHING)[0].report == "Mass, no assessment"
    cells = {"file name": "f.0", "laterality": "R", "view": "ML", "bi-rads": "4b"}
    film = inbreast._film(row(3, **cells), Path("i.dcm"), {"f": file}, MAPPING)
    assert (film.laterality, film.view, len(film.findings)) == ("RIGHT", "MLO", 4)
    without = inbreast._film(row(3, **(cells | {"view": "CC"})), Path("i.dcm"), {}, MAPPING)
    assert [(f.assessment, f.origin) for f in without.findings] == [(4, "t.csv, row 3")]
    assert without.view == "CC" and film.origin == "t.csv, row 3"
    for change, message in (({"bi-rads": "9"}, "unknown BI-RADS category '9'"),
                            ({"view": "x"}, "unknown laterality or view"),
                            ({"laterality": ""}, "unknown laterality or view")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            inbreast._film(row(3, **(cells | change)), Path("i.dcm"), {}, MAPPING)
    file.write_text("<plist/>")
    with pytest.raises(UserError, match="is not an annotation file of INbreast"):
        inbreast._findings(file, None, MAPPING)


def file_header(**changes: Any) -> FileHeader:
    fields = {
        "path": Path("/d/f.dcm"), "patient": "Anna", "accession": "A1", "study": "S1",
        "sop_instance": "I1", "laterality": "UNKNOWN", "view": "UNKNOWN", "age": "",
    }  # fmt: skip
    return FileHeader(**(fields | changes))


@pytest.fixture
def read_truth(tmp_path: Path) -> Callable[[str], truth_table.TruthTable]:
    def read(text: str) -> truth_table.TruthTable:
        (tmp_path / "truth.csv").write_text(text)
        return truth_table.read_truth_table(tmp_path / "truth.csv")

    return read


def test_rows_of_examinations(read_truth: Callable[[str], truth_table.TruthTable]) -> None:
    table = read_truth(
        "accession_number,pathology,laterality,view,age,density,split,feature_k,odd\n"
        "A1,BENIGN,L,,,b,val,2,x\nA1,MALIGNANT,L,CC,61,,,,\nA1,UNPROVEN,UNKNOWN,MLO,,3,,,\n"
        "A2,NORMAL,,,,,,,\n"
    )
    assert table.kind == "accession" and not table.has_outlines
    (problem,) = table.problems
    assert problem.cause == "columns that are not used: 'odd'"
    rows = table.rows_of(file_header())
    assert [r.line for r in rows] == [2, 3, 4] and table.rows_of(file_header(accession="A9")) == []

    def label(laterality: str, view: str) -> str | None:
        return table.film_plan(file_header(laterality=laterality, view=view), "n").image_label

    labels = {
        ("LEFT", "CC"): "MALIGNANT", ("LEFT", "MLO"): "BENIGN", ("RIGHT", "CC"): "UNPROVEN",
        ("RIGHT", "MLO"): "UNPROVEN",
    }  # fmt: skip
    assert {key: label(*key) for key in labels} == labels
    plan = table.film_plan(file_header(laterality="LEFT", view="CC"), "film3")
    assert (plan.laterality, plan.view, plan.name, plan.findings) == ("LEFT", "CC", "film3", ())
    assert plan.image == Path("/d/f.dcm") and plan.origin.endswith("truth.csv, row 2")
    assert (table.age(rows), table.density(rows), table.split(rows)) == (61, 2, "holdout")
    assert table.features(rows) == {"k": 2.0}
    assert table.unused_rows([file_header(laterality="RIGHT", view="CC")]) == [
        *(
            Problem(f"row {n}", "no image of its examination has its side and view", "row not used")
            for n in (2, 3, 4)
        ),
        Problem("row 5", "no image of the folder belongs to it", "row not used"),
    ]
    table.check_single([file_header()], {"I1": 2})


def test_rows_of_instances(read_truth: Callable[[str], truth_table.TruthTable]) -> None:
    table = read_truth(
        "SOP_instance_UID,pathology,laterality,view,outline,lesion_type,assessment,report\n"
        "I1,MALIGNANT,R,MLO,box 1 2 5 6,mass,6,seen\nI1,BENIGN,,,,N/A,,\nI2,NORMAL,,,,,,\n"
    )
    assert table.kind == "sop_instance" and table.has_outlines
    plan = table.film_plan(file_header(laterality="LEFT", view="CC"), "n")
    assert (plan.laterality, plan.view, plan.image_label) == ("RIGHT", "MLO", None)
    assert [(f.pathology, f.lesion_type, f.assessment, f.report) for f in plan.findings] == [
        *(("MALIGNANT", "MASS", 6, "seen"), ("BENIGN", "", None, ""))
    ]
    assert [f.outline for f in plan.findings] == [box_outline(1, 2, 5, 6), None]
    assert [f.origin[-5:] for f in plan.findings] == ["row 2", "row 3"]
    normal = table.film_plan(file_header(sop_instance="I2", laterality="LEFT", view="CC"), "n")
    assert (normal.laterality, normal.view, normal.findings) == ("LEFT", "CC", ())
    with pytest.raises(UserError, match="2 files of the folder are its image"):
        table.check_single([file_header()], {"I1": 2})
    table.check_single([file_header()], {"I1": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pathology\nBENIGN\n", "but has none of them"),
        ("study,sop,pathology\nS,I,BENIGN\n", "but has sop, study"),
        ("study,pathology\n,BENIGN\n", "study is empty"),
        ("study,pathology,outline\nS,BENIGN,box 1 1 5 5\n", "an outline belongs to one image"),
        ("sop,pathology,outline\nI,NORMAL,box 1 1 5 5\n", "a NORMAL row has an outline"),
        ("sop,pathology,outline\nI,BENIGN,m.png\n", "masks are read in manifests only"),
        ("sop,pathology,view\nI,BENIGN,XX\n", "unknown view 'XX'"),
        ("sop,pathology,assessment\nI,BENIGN,7\n", "assessment is '7'"),
        ("sop,pathology,age\nI,BENIGN,121\n", "age is '121'"),
    ],
)
def test_faults_of_truth_tables(
    read_truth: Callable[[str], truth_table.TruthTable], text: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_truth(text)


def test_keys_of_pseudonyms(tmp_path: Path) -> None:
    key = pseudonyms.load_key(tmp_path / "new" / "key")
    assert len(key) == 64 and pseudonyms.load_key(tmp_path / "new" / "key") == key
    assert (tmp_path / "new" / "key").stat().st_mode & 0o777 == 0o600
    name = pseudonyms.pseudonym("Anna", key)
    assert name.startswith("P-") and len(name) == 18
    for length, works in ((31, False), (32, True)):
        (tmp_path / "key").write_text("k" * length + "\n")
        if works:
            assert pseudonyms.load_key(tmp_path / "key") == b"k" * 32
        else:
            with pytest.raises(UserError, match="holds less than 32 characters"):
                pseudonyms.load_key(tmp_path / "key")
    (tmp_path / "study").mkdir()
    pseudonyms.check_key_location(tmp_path / "study.key", tmp_path / "study")
    with pytest.raises(UserError, match="lies in the study folder"):
        pseudonyms.check_key_location(tmp_path / "study" / "a" / "key", tmp_path / "study")
