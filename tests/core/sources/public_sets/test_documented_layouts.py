"""Importers on trees that were written from the published description of each set alone.

Column names, values and spelling variants are those of the cited descriptions, not of the importer;
`test_importers.py` covers what an importer promises beyond that.
"""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from pydicom.dataset import Dataset

from support.breast_films import breast_film, write_mammogram
from support.public_layouts import box, films_by_view, read_source, write_csv

MAPPING = "1-3=BENIGN,4-6=MALIGNANT"


def view_code(value: str) -> Dataset:
    """Return a View Code Sequence item of SNOMED CT, as newer files carry instead of words."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "view"
    return item


# VinDr-Mammo 1.0.0, "Data Description" of physionet.org/content/vindr-mammo; boxes are floats,
# secondary signs often have no BI-RADS of their own.
VINDR_IMAGES = (
    # image, side, view, BI-RADS of the breast
    ("f1a2", "L", "CC", "BI-RADS 5"),
    ("f3b4", "L", "MLO", "BI-RADS 5"),
    ("f5c6", "R", "CC", "BI-RADS 1"),
    ("f7d8", "R", "MLO", "BI-RADS 2"),
)
VINDR_FINDINGS = (
    # image, categories, BI-RADS, xmin, ymin, xmax, ymax
    ("f1a2", "['Mass']", "BI-RADS 5", "20.5", "60.25", "60.5", "100.75"),
    ("f1a2", "['Suspicious Calcification', 'Mass']", "BI-RADS 4", "-0.6", "90.0", "30.0", "120.0"),
    ("f3b4", "['Skin Thickening']", "", "5.0", "80.0", "20.0", "140.0"),
    ("f5c6", "['No Finding']", "", "", "", "", ""),
    ("f7d8", "['No Finding']", "", "", "", "", ""),
)


@pytest.fixture
def vindr_tree(tmp_path: Path) -> Path:
    study = "b8d273e8601f348d3664778dae0e7e0b"
    facts = {}
    for image, side, view, birads in VINDR_IMAGES:
        facts[image] = {
            "study_id": study,
            "series_id": "d931832a0815df082c085b6e09d20aac",
            "image_id": image,
            "laterality": side,
            "view_position": view,
            "height": "200",
            "width": "150",
            "breast_birads": birads,
            "breast_density": "DENSITY C",
        }
        file = tmp_path / "images" / study / f"{image}.dicom"
        write_mammogram(file, breast_film(ord(image[1]), right=side == "R"))
    write_csv(
        tmp_path / "breast-level_annotations.csv",
        [row | {"split": "training"} for row in facts.values()],
    )
    marks = [
        facts[image]
        | {"finding_categories": categories, "finding_birads": birads}
        | dict(zip(("xmin", "ymin", "xmax", "ymax"), coordinates))
        | {"split": "training"}
        for image, categories, birads, *coordinates in VINDR_FINDINGS
    ]
    write_csv(tmp_path / "finding_annotations.csv", marks)
    write_csv(
        tmp_path / "metadata.csv",
        [{"SOP Instance UID": "f1a2", "Patient's Age": "053Y", "Manufacturer": "SIEMENS"}],
    )
    return tmp_path


def test_vindr_mammo(vindr_tree: Path) -> None:
    patients, _ = read_source("vindr", vindr_tree, pathology_from_birads=MAPPING)
    (patient,) = patients.values()
    films = films_by_view(patient)
    assert patient.density == 3 and patient.published_split == "train"
    mass, both = films["LEFT", "CC"].findings
    assert (mass.pathology, mass.lesion_type, mass.assessment) == ("MALIGNANT", "MASS", 5)
    assert box(mass) == [20.5, 60.25, 60.5, 100.75]
    # A box that leaves the film by .6 pixels is clipped.
    assert both.assessment == 4 and box(both) == [0.0, 90.0, 30.0, 120.0]
    assert set(both.lesion_type.split("+")) == {"CALCIFICATION", "MASS"}
    # A sign without an assessment of its own has no pathology, whatever that of the breast is.
    (sign,) = films["LEFT", "MLO"].findings
    assert (sign.pathology, sign.assessment) == ("UNPROVEN", None)
    assert films["RIGHT", "CC"].findings == () and not films["RIGHT", "CC"].unlocated
    assert films["RIGHT", "MLO"].unlocated


# INbreast: Moreira et al. 2012; INbreast.csv with semicolons; OsiriX property lists. View "MLO" is
# "ML" in names of files. ROI names of the release include "Calcifications", "Cluster",
# "Espiculated Region", "Assymetry" and "Unnamed".
INBREAST_ROWS = (
    # file, patient of the file name, side, view, BI-RADS
    ("20586908", "6c613a14b80a8591", "R", "CC", "4b"),
    ("20586960", "6c613a14b80a8591", "R", "MLO", "4b"),
    ("20586934", "6c613a14b80a8591", "L", "CC", "1"),
    ("22580192", "1e5c3af078f74b05", "L", "MLO", "6"),
    ("22580367", "5530d5782fc89dd7", "L", "CC", "4a"),
)
INBREAST_ROIS: dict[str, list[tuple[str, list[tuple[float, float]]]]] = {
    "20586908": [
        ("Mass", [(20.5, 60.0), (60.0, 60.0), (60.0, 100.0), (20.5, 100.0)]),
        ("Calcification", [(30.0, 120.0)]),
        ("Calcifications", [(40.0, 130.0)]),
    ],
    "20586960": [
        ("Espiculated Region", [(10.0, 70.0), (50.0, 70.0), (50.0, 110.0)]),
        ("Pectoral Muscle", [(0.0, 0.0), (40.0, 0.0), (0.0, 60.0)]),
    ],
    "22580192": [("Assymetry", [(10.0, 70.0), (50.0, 70.0), (50.0, 110.0)])],
    "22580367": [
        ("Cluster", [(30.0, 60.0), (60.0, 60.0), (60.0, 90.0), (30.0, 90.0)]),
        ("Distortion", [(10.0, 100.0), (40.0, 100.0), (40.0, 130.0)]),
        ("Unnamed", [(20.0, 80.0)]),
    ],
}


def region(index: int, name: str, points: list[tuple[float, float]]) -> dict[str, Any]:
    """Return one region as OsiriX exports it."""
    center = np.mean(points, axis=0)
    return {
        "Area": 1.5,
        "Center": f"({center[0]:.6f}, {center[1]:.6f}, 0.000000)",
        "Dev": 100.0,
        "IndexInImage": index,
        "Max": 2000.0,
        "Mean": 1500.0,
        "Min": 900.0,
        "Name": name,
        "NumberOfPoints": len(points),
        "Point_mm": [f"({x * 0.07:.6f}, {y * 0.07:.6f}, 0.000000)" for x, y in points],
        "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in points],
        "Total": 1.0,
        "Type": 15 if len(points) > 1 else 19,
    }


@pytest.fixture
def inbreast_tree(tmp_path: Path) -> Path:
    root = tmp_path / "INbreast Release 1.0"
    rows = []
    for file, patient, side, view, birads in INBREAST_ROWS:
        short = {"CC": "CC", "MLO": "ML"}[view]
        name = f"{file}_{patient}_MG_{side}_{short}_ANON.dcm"
        film = breast_film(int(file) % 1000, right=side == "R")
        write_mammogram(root / "AllDICOMs" / name, film, ImageLaterality=side)
        rows.append(
            {
                "Patient ID": "removed",
                "Patient age": "removed",
                "Laterality": side,
                "View": view,
                "Acquisition date": "201001",
                "File Name": file,
                "ACR": "2",
                "Bi-Rads": birads,
            }
        )
    write_csv(root / "INbreast.csv", rows, delimiter=";")
    (root / "AllXML").mkdir()
    for file, regions in INBREAST_ROIS.items():
        image = {
            "ImageIndex": 0,
            "NumberOfROIs": len(regions),
            "ROIs": [region(k, name, points) for k, (name, points) in enumerate(regions)],
        }
        with (root / "AllXML" / f"{file}.xml").open("wb") as opened:
            plistlib.dump({"Images": [image]}, opened)
    (root / "MedicalReports").mkdir()
    (root / "README.txt").write_text("INbreast\n")
    return root


def test_inbreast(inbreast_tree: Path) -> None:
    patients, _ = read_source(
        "inbreast", inbreast_tree, pathology_from_birads="1-3=BENIGN,4a=BENIGN,4b-6=MALIGNANT"
    )
    assert len(patients) == 3
    by_film = {
        film.source_file[:8]: film for patient in patients.values() for film in patient.mammograms
    }
    assert set(by_film) == {row[0] for row in INBREAST_ROWS}
    first = by_film["20586908"]
    assert (first.laterality, first.view) == ("RIGHT", "CC")
    types = {finding.lesion_type: finding for finding in first.findings}
    # Calcifications of one point each are one finding of the film.
    assert set(types) == {"MASS", "CALCIFICATION"} and len(first.findings) == 2
    assert {f.pathology for f in first.findings} == {"MALIGNANT"}
    assert box(types["MASS"]) == [20.5, 60.0, 60.0, 100.0]
    left, top, right, bottom = box(types["CALCIFICATION"])
    assert left <= 30 < 40 <= right and top <= 120 < 130 <= bottom
    assert right - left < 40 and bottom - top < 40
    # The pectoral muscle is no finding.
    second = by_film["20586960"]
    assert second.view == "MLO" and [box(f) for f in second.findings] == [[10, 70, 50, 110]]
    assert by_film["20586934"].findings == () and not by_film["20586934"].unlocated
    assert [f.assessment for f in by_film["22580192"].findings] == [6]
    assert [f.pathology for f in by_film["22580192"].findings] == ["MALIGNANT"]
    # 4a is a category of its own.
    third = by_film["22580367"].findings
    assert {f.pathology for f in third} == {"BENIGN"} and {f.assessment for f in third} == {4}
    assert sum("CALCIFICATION" in f.lesion_type for f in third) >= 1
    distortion = next(f for f in third if "DISTORTION" in f.lesion_type)
    assert box(distortion) == [10, 100, 40, 130]


# RSNA Screening Mammography Breast Cancer Detection: "Data Fields" of the AI-Challenge-Data wiki.
# Site 2 gives no BIRADS and no density. Several files of one view occur.
RSNA_ROWS = (
    # patient, image, side, view, cancer, biopsy, BIRADS, density
    ("10006", "462822612", "L", "CC", "0", "0", "", ""),
    ("10006", "1459541791", "L", "MLO", "0", "0", "", ""),
    ("10006", "1864590858", "R", "MLO", "0", "1", "", ""),
    ("10006", "1874946579", "R", "CC", "0", "1", "", ""),
    ("10130", "388811999", "L", "CC", "1", "1", "0", "C"),
    ("10130", "613462606", "L", "MLO", "1", "1", "0", "C"),
    ("10130", "1360338805", "L", "MLO", "1", "1", "0", "C"),
    ("10130", "1672636630", "R", "AT", "0", "0", "1", "C"),
)


@pytest.fixture
def rsna_tree(tmp_path: Path) -> Path:
    rows = []
    for patient, image, side, view, cancer, biopsy, birads, density in RSNA_ROWS:
        film = breast_film(int(image) % 997, right=side == "R")
        write_mammogram(tmp_path / "train_images" / patient / f"{image}.dcm", film)
        rows.append(
            {
                "site_id": "2" if patient == "10006" else "1",
                "patient_id": patient,
                "image_id": image,
                "laterality": side,
                "view": view,
                "age": "61.0",
                "cancer": cancer,
                "biopsy": biopsy,
                "invasive": cancer,
                "BIRADS": birads,
                "implant": "0",
                "density": density,
                "machine_id": "29",
                "difficult_negative_case": "False",
            }
        )
    write_csv(tmp_path / "train.csv", rows)
    hidden = ("cancer", "biopsy", "invasive", "BIRADS", "density", "difficult_negative_case")
    test_row = {key: value for key, value in rows[0].items() if key not in hidden}
    write_csv(tmp_path / "test.csv", [test_row | {"patient_id": "10008", "image_id": "736471439"}])
    return tmp_path


def test_rsna(rsna_tree: Path) -> None:
    patients, _ = read_source("rsna", rsna_tree)
    assert set(patients) == {"10006", "10130"}
    benign, malignant = patients["10006"], patients["10130"]
    assert benign.age == malignant.age == 61
    assert (benign.density, malignant.density) == (None, 3)
    labels = {(f.laterality, f.view): f.image_label for f in benign.mammograms}
    assert labels == {
        ("LEFT", "CC"): "NORMAL",
        ("LEFT", "MLO"): "NORMAL",
        ("RIGHT", "MLO"): "BENIGN",
        ("RIGHT", "CC"): "BENIGN",
    }
    labels_of = sorted((f.laterality, f.view, f.image_label) for f in malignant.mammograms)
    # Two files of one view are two mammograms.
    assert labels_of == [
        ("LEFT", "CC", "MALIGNANT"),
        ("LEFT", "MLO", "MALIGNANT"),
        ("LEFT", "MLO", "MALIGNANT"),
        ("RIGHT", "AT", "NORMAL"),
    ]
    assert len({film.id for film in malignant.mammograms}) == 4


# mini-MIAS: README of all-mias.tar: seven columns; odd numbers are right, even ones left films of
# one patient; y counts from the lower edge; films with scattered calcifications have a note instead
# of coordinates, others none. Lines end with a blank.
MIAS_LINES = (
    "REFNUM BG CLASS SEVERITY X Y RADIUS ",
    "mdb001 G CIRC B 535 425 197 ",
    "mdb002 G CIRC B 522 280 69 ",
    "mdb003 D NORM ",
    "mdb004 D NORM ",
    "mdb005 F CIRC B 477 133 30 ",
    "mdb005 F CIRC B 500 168 26 ",
    "mdb006 F NORM ",
    "mdb059 F CIRC B",
    "mdb216 D CALC M *NOTE 3*",
)


@pytest.fixture
def mias_tree(tmp_path: Path) -> Path:
    (tmp_path / "Info.txt").write_text("\n".join(MIAS_LINES) + "\n")
    names = sorted({line.split()[0] for line in MIAS_LINES[1:]})
    y, x = np.mgrid[:1024, :1024]
    for k, name in enumerate(names):
        film = np.where(np.hypot(x - 400 - k, y - 512) < 350, 150, 0).astype(np.uint8)
        (tmp_path / f"{name}.pgm").write_bytes(b"P5\n1024 1024\n255\n" + film.tobytes())
    (tmp_path / "README").write_text("MIAS MiniMammographic Database\n")
    return tmp_path


def test_mini_mias(mias_tree: Path) -> None:
    patients, _ = read_source("mini-mias", mias_tree)
    films = {
        film.source_file[:6]: film for patient in patients.values() for film in patient.mammograms
    }
    assert len(patients) == 5 and len(films) == 8
    assert {name: film.laterality for name, film in films.items() if name < "mdb005"} == {
        "mdb001": "RIGHT",
        "mdb002": "LEFT",
        "mdb003": "RIGHT",
        "mdb004": "LEFT",
    }
    assert {film.view for film in films.values()} == {"MLO"}
    (mass,) = films["mdb001"].findings
    # Centre (535, 425) from the lower edge is row 1024 - 425 = 599.
    assert mass.pathology == "BENIGN"
    assert box(mass) == pytest.approx([338, 402, 732, 796], abs=1.01)
    assert [round(box(f)[3]) for f in films["mdb005"].findings] == [921, 882]
    # Abnormal films without a position: nothing of them may count as normal.
    for name in ("mdb059", "mdb216"):
        assert films[name].unlocated or films[name].findings
        assert all(not finding.outline for finding in films[name].findings)
    assert films["mdb216"].unlocated and films["mdb059"].unlocated
    assert films["mdb003"].findings == () and not films["mdb003"].unlocated


# CMMD: TCIA, CMMD_clinicaldata_revision.xlsx; files of the NBIA Data Retriever; side and view in
# ImageLaterality and ViewCodeSequence. Sequence numbers repeat, words vary in case.
CMMD_ROWS = (
    # ID1, LeftRight, Age, number, abnormality, classification, subtype
    ("D1-0001", "R", 44, 2, "calcification", "Benign", None),
    ("D1-0002", "L", 40, 2, "calcification", "Benign", None),
    ("D1-0002", "L", 40, 2, "mass", "Malignant", None),
    ("D2-0001", "L", 64, 2, "Calcification", "Malignant", "Luminal B"),
)


@pytest.fixture
def cmmd_tree(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    header = ["ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype"]
    for line in (header, *CMMD_ROWS):
        book.active.append(line)
    book.save(tmp_path / "CMMD_clinicaldata_revision.xlsx")
    for patient, sides in (("D1-0001", "RL"), ("D1-0002", "L"), ("D2-0001", "L")):
        folder = tmp_path / "CMMD" / patient / "07-18-2010-NA-NA-79377" / "1.000000-NA-70244"
        views = [(side, code) for side in sides for code in ("399162004", "399368009")]
        for number, (side, code) in enumerate(views, start=1):
            film = breast_film(number + ord(patient[6]), right=side == "R")
            write_mammogram(
                folder / f"1-{number}.dcm",
                film,
                PatientID=patient,
                ImageLaterality=side,
                ViewCodeSequence=[view_code(code)],
                SOPInstanceUID=f"1.2.{ord(patient[1])}.{ord(patient[6])}.{number}",
            )
    write_csv(tmp_path / "metadata.csv", [{"Series UID": "1.2", "Subject ID": "D1-0001"}])
    return tmp_path


def test_cmmd(cmmd_tree: Path) -> None:
    patients, _ = read_source("cmmd", cmmd_tree)
    assert set(patients) == {"D1-0001", "D1-0002", "D2-0001"}
    films = films_by_view(patients["D1-0001"])
    assert set(films) == {(s, v) for s in ("LEFT", "RIGHT") for v in ("CC", "MLO")}
    assert films["RIGHT", "CC"].image_label == films["RIGHT", "MLO"].image_label == "BENIGN"
    # The table says nothing of the other breast.
    assert films["LEFT", "CC"].image_label == "UNPROVEN"
    # Of two rows of one breast the worse one counts.
    assert {f.image_label for f in patients["D1-0002"].mammograms} == {"MALIGNANT"}
    assert {f.image_label for f in patients["D2-0001"].mammograms} == {"MALIGNANT"}
    assert patients["D2-0001"].age == 64
