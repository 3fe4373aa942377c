"""The importer of EMBED on a tree that was written from its published description alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.breast_films import breast_film, write_mammogram
from support.public_layouts import box, films_by_view, read_csv, read_source, write_csv

# EMBED: README of Emory-HITI/EMBED_Open_Data (sections IV, VI, VII, VIII) and its notebooks:
# ROI_coords is "()" or "((ymin, xmin, ymax, xmax),)"; side B or empty concerns both breasts; bside
# is the side of the pathology; spot_mag is 1 or empty.
EMBED_FILES = (
    # number, side, view, FinalImageType, spot_mag, ROI_coords
    (1, "L", "CC", "2D", "", "((60, 20, 100, 60),)"),
    (2, "L", "MLO", "cview", "", "[[60, 110, 100, 140], [110, 120, 130, 145]]"),
    (3, "R", "CC", "2D", "", "()"),
    (4, "R", "MLO", "2D", "", "()"),
    (5, "L", "CC", "3D", "", "()"),
    (6, "L", "ML", "2D", "1", "()"),
)


@pytest.fixture
def embed_tree(tmp_path: Path) -> Path:
    patient, exam = "66685715", "5571517201709311"
    rows = []
    for number, side, view, kind, magnified, regions in EMBED_FILES:
        inner = f"cohort_1/{patient}/1.2.847.1/1.2.844.{number}/1.2.826.{number}.dcm"
        if kind != "3D":
            film = breast_film(number, right=side == "R")
            write_mammogram(tmp_path / "images" / inner, film)
        count = 0 if regions == "()" else regions.count("),") or regions.count("], [") + 1
        rows.append(
            {
                "empi_anon": patient,
                "acc_anon": exam,
                "anon_dicom_path": f"/mnt/NAS2/mammo/anon_dicom/{inner}",
                "FinalImageType": kind,
                "ImageLateralityFinal": side,
                "ViewPosition": view,
                "spot_mag": magnified,
                "num_roi": str(count),
                "ROI_coords": regions,
                "match_level": "[1]",
            }
        )
    write_csv(tmp_path / "tables" / "EMBED_OpenData_metadata.csv", rows)
    common = {"empi_anon": patient, "acc_anon": exam, "desc": "MG Diagnostic", "tissueden": "2.0"}
    findings = [
        {"numfind": "1", "side": "L", "asses": "M", "bside": "L", "path_severity": "0.0"},
        {"numfind": "2", "side": "R", "asses": "B", "bside": "", "path_severity": ""},
    ]
    write_csv(
        tmp_path / "tables" / "EMBED_OpenData_clinical.csv",
        [common | {"age_at_study": "57.2"} | finding for finding in findings],
    )
    return tmp_path


def test_embed(embed_tree: Path) -> None:
    patients, _ = read_source("embed", embed_tree, pathology_from_birads="1-2=BENIGN")
    (patient,) = patients.values()
    films = films_by_view(patient)
    assert patient.density == 2 and patient.age == 57
    # No tomosynthesis, which the release does not contain.
    assert len(films) == 5
    (mass,) = films["LEFT", "CC"].findings
    assert mass.pathology == "MALIGNANT" and box(mass) == [20, 60, 60, 100]
    # This list refers to the flipped image: of 150 pixels width, 110 to 140 is 10 to 40.
    flipped = films["LEFT", "MLO"].findings
    # Whether coordinates count pixels or edges is not documented: one pixel either way.
    assert [box(f) for f in flipped] == [
        pytest.approx([10, 60, 40, 100], abs=1),
        pytest.approx([5, 110, 30, 130], abs=1),
    ]
    assert {f.pathology for f in flipped} == {"MALIGNANT"}
    # Assessed benign, without a mark: a finding in an unknown place.
    assert films["RIGHT", "CC"].unlocated and films["RIGHT", "MLO"].unlocated
    assert films["LEFT", "ML"].unlocated


def test_embed_pathology_of_one_side_of_a_bilateral_row(embed_tree: Path) -> None:
    """A row without a side concerns both breasts, its pathology only the side of the biopsy."""
    table = embed_tree / "tables" / "EMBED_OpenData_clinical.csv"
    rows = read_csv(table)
    rows = [rows[0] | {"side": "", "bside": "L"}]
    write_csv(table, rows)
    metadata = embed_tree / "tables" / "EMBED_OpenData_metadata.csv"
    images = read_csv(metadata)
    images[2] |= {"ROI_coords": "((60, 100, 100, 140),)", "num_roi": "1"}
    write_csv(metadata, images)
    (patient,) = read_source("embed", embed_tree)[0].values()
    films = films_by_view(patient)
    assert [f.pathology for f in films["LEFT", "CC"].findings] == ["MALIGNANT"]
    assert [f.pathology for f in films["RIGHT", "CC"].findings] == ["UNPROVEN"]
