from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources import cbis_ddsm
from core.sources.records import Patient
from support.dicom_writer import write_dicom
from support.paths import SAMPLES
from support.requirements import needs_samples

FOLDER = SAMPLES / "cbis_ddsm_csv"
TABLES = [
    f"{kind}_case_description_{part}_set.csv"
    for kind in ("calc", "mass")
    for part in ("test", "train")
]
SHAPE = (60, 40)


def film(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, SHAPE).astype(np.uint16)


def square(k: int) -> np.ndarray:
    """Return the mask of finding k: ten by ten pixels."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[5 + 10 * (k % 4) : 15 + 10 * (k % 4), 8:18] = 255
    return mask


def uid(text: str) -> str:
    return "1.3.6.1.4.1.9590.100.1.2." + "".join(str(ord(letter)) for letter in text)[-36:]


def finding(
    table: str,
    patient: str,
    side: str,
    view: str,
    number: int,
    pathology: str = "BENIGN",
    **more: str,
) -> dict[str, str]:
    """Return a row as in the tables: line breaks in paths, mask and crop in their own folder."""
    part = "Test" if "test" in table else "Training"
    kind = "Mass" if table.startswith("mass") else "Calc"
    case = f"{kind}-{part}_{patient}_{side}_{view}"
    roi = f"{case}_{number}/{uid(case + 'study' + str(number))}/{uid(case + 'roi' + str(number))}"
    row = {
        "patient_id": patient,
        "breast_density" if kind == "Mass" else "breast density": "3",
        "left or right breast": side,
        "image view": view,
        "abnormality id": str(number),
        "abnormality type": "mass" if kind == "Mass" else "calcification",
    }
    row |= (
        {"mass shape": "OVAL", "mass margins": ""}
        if kind == "Mass"
        else {"calc type": "PLEOMORPHIC", "calc distribution": "N/A"}
    )
    row |= {
        "assessment": "4",
        "pathology": pathology,
        "subtlety": "0",
        "image file path": f"{case}/{uid(case)}/{uid(case + 'film')}/000000.dcm",
    }
    return (
        row
        | {
            "cropped image file path": f"{roi}/000000.dcm\n",
            "ROI mask file path": f"{roi}/000001.dcm",
        }
        | more
    )


def write_tables(root: Path, tables: dict[str, list[dict[str, str]]]) -> None:
    for name, rows in tables.items():
        with (root / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def write_images(root: Path, tables: dict[str, list[dict[str, str]]], swap: bool = False) -> None:
    """Write DICOM images, masks and crops at the tables' paths; swap: exchange the latter two."""
    for rows in tables.values():
        for k, row in enumerate(rows):
            roi, crop = row["ROI mask file path"].strip(), row["cropped image file path"].strip()
            roi, crop = (crop, roi) if swap else (roi, crop)
            files = {
                # The calcification and the mass of this patient are on one film.
                row["image file path"].strip(): (
                    film(2 if row["patient_id"] == "P_00002" else k),
                    16,
                ),
                roi: (square(k), 8),
                crop: (film(k)[:12, :9], 16),
            }
            for path, (pixels, bits) in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                write_dicom(root / path, pixels, bits)


@pytest.fixture
def tables() -> dict[str, list[dict[str, str]]]:
    """Three patients.

    One has two findings in one view, one is in a mass and a calcification table, one in train and
    test.
    """
    calc, mass = "calc_case_description_train_set.csv", "mass_case_description_test_set.csv"
    two = [
        finding(calc, "P_00001", "LEFT", "CC", 1),
        finding(calc, "P_00001", "LEFT", "CC", 2, "MALIGNANT"),
    ]
    return {
        calc: [*two, finding(calc, "P_00002", "RIGHT", "MLO", 1)],
        mass: [
            finding(mass, "P_00002", "RIGHT", "MLO", 1, "BENIGN_WITHOUT_CALLBACK", subtlety="5"),
            finding(mass, "P_00003", "RIGHT", "CC", 1),
        ],
    }


def read_all(root: Path) -> dict[str, Patient]:
    tasks, problems = cbis_ddsm.list_tasks(root)
    assert problems == []
    return {task.patient: cbis_ddsm.read_patient(task) for task in tasks}


def check_patients(patients: dict[str, Patient], atol: int = 0) -> None:
    """Check the content of the fixture, whatever the layout of the files."""
    assert list(patients) == ["P_00001", "P_00002", "P_00003"]
    (cc,), (mlo,), _ = (patient.mammograms for patient in patients.values())
    assert (
        cc.id == "P_00001.LEFT_CC"
        and [f.pathology for f in cc.findings] == ["BENIGN", "MALIGNANT"]
        and [f.number for f in cc.findings] == [1, 2]
    )
    assert [f.lesion_type for f in mlo.findings] == ["CALCIFICATION", "MASS"] and [
        f.subtlety for f in mlo.findings
    ] == [None, 5]
    assert mlo.findings[0].descriptors == {
        "type": "PLEOMORPHIC",
        "distribution": "N/A",
    } and mlo.findings[1].descriptors == {"shape": "OVAL"}
    for k, one in enumerate(cc.findings):
        mask = fill_polygons(one.outline, SHAPE)
        assert (mask != (square(k) > 0)).sum() <= atol
    assert [p.published_split for p in patients.values()] == ["train", "test", "test"] and patients[
        "P_00001"
    ].density == 3
    assert [p.cause for p in patients["P_00002"].problems] == [
        "its images are published in several splits (train, test)"
    ]


@pytest.mark.parametrize("swap", [False, True])
def test_layout_of_tables(tmp_path: Path, tables: dict, swap: bool) -> None:
    write_tables(tmp_path, tables)
    write_images(tmp_path / "CBIS-DDSM", tables, swap)
    patients = read_all(tmp_path)
    check_patients(patients)
    cc = patients["P_00001"].mammograms[0]
    assert (cc.pixels == film(1)).all() and cc.maximum == 65535, (
        "the image of the later row has the same path"
    )


def test_layout_of_downloader(tmp_path: Path, tables: dict) -> None:
    write_tables(tmp_path, tables)
    write_images(tmp_path / "full", tables)
    for path in sorted((tmp_path / "full").rglob("*.dcm")):
        case, study, series, name = path.relative_to(tmp_path / "full").parts
        folder = (
            tmp_path
            / "CBIS-DDSM"
            / case
            / f"08-30-2017-DDSM-NA-{study[-5:]}"
            / f"1.000000-images-{series[-5:]}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"1-{int(name[:6]) + 1}.dcm")
    shutil.rmtree(tmp_path / "full")
    check_patients(read_all(tmp_path))


def test_two_films_of_one_view(tmp_path: Path, tables: dict) -> None:
    """The two tables of one view name two exposures: each outline belongs to its own."""
    rows = {
        name: [row for row in tables[name] if row["patient_id"] == "P_00002"] for name in tables
    }
    for table, number in zip(rows, ("4", "5")):
        # Series of their own, as in the published tables.
        path = rows[table][0]["image file path"]
        rows[table][0]["image file path"] = path.replace("1.3.6", f"1.3.{number}")
    write_tables(tmp_path, rows)
    write_images(tmp_path, rows)
    paths = {name: tmp_path / rows[name][0]["image file path"] for name in rows}
    mass = paths["mass_case_description_test_set.csv"]
    write_dicom(mass, film(7), 16)
    first, second = read_all(tmp_path)["P_00002"].mammograms
    assert (first.id, second.id) == ("P_00002.RIGHT_MLO", "P_00002.RIGHT_MLO_2")
    assert (first.pixels == film(2)).all() and (second.pixels == film(7)).all()
    assert [f.lesion_type for f in first.findings] == ["CALCIFICATION"]
    assert [(f.number, f.lesion_type) for f in second.findings] == [(1, "MASS")]


def test_layout_of_jpeg_release(tmp_path: Path, tables: dict) -> None:
    (tmp_path / "csv").mkdir()
    write_tables(tmp_path / "csv", tables)
    number = 100
    for rows in tables.values():
        for k, row in enumerate(rows):
            files = {
                "image file path": film(k) // 256,
                "ROI mask file path": square(k),
                "cropped image file path": film(k)[:12, :9] // 256,
            }
            for column, pixels in files.items():
                folder = tmp_path / "jpeg" / row[column].strip().split("/")[-2]
                folder.mkdir(parents=True, exist_ok=True)
                number += 1
                if column == "image file path" and any(folder.iterdir()):
                    continue
                Image.fromarray(pixels.astype(np.uint8)).save(
                    folder / f"1-{number}.jpg", quality=90
                )
    (tmp_path / "csv" / "dicom_info.csv").write_text("file_path,image_path\n")
    check_patients(read_all(tmp_path), atol=12)


def test_mask_of_other_size(tmp_path: Path, tables: dict) -> None:
    write_tables(tmp_path, tables)
    write_images(tmp_path, tables)
    row = tables["mass_case_description_test_set.csv"][1]
    write_dicom(tmp_path / row["ROI mask file path"], square(1).repeat(2, 0).repeat(2, 1), 8)
    patient = read_all(tmp_path)["P_00003"]
    assert (
        fill_polygons(patient.mammograms[0].findings[0].outline, SHAPE) != (square(1) > 0)
    ).sum() <= 20
    assert "its mask is 80 x 120 pixels" in patient.problems[0].cause


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            "image file path",
            r"mass_case_description_test_set.csv, row 4: its image .* is not below",
        ),
        (
            "ROI mask file path",
            r"mass_case_description_test_set.csv, row 4: its mask .* is not below",
        ),
    ],
)
def test_missing_series_raises_or_is_skipped(
    tmp_path: Path, tables: dict, column: str, message: str
) -> None:
    write_tables(tmp_path, tables)
    write_images(tmp_path, tables)
    shutil.rmtree(
        (tmp_path / tables["mass_case_description_test_set.csv"][1][column].strip()).parent
    )
    with pytest.raises(UserError, match=message):
        cbis_ddsm.list_tasks(tmp_path)
    tasks, problems = cbis_ddsm.list_tasks(tmp_path, skip_bad=True)
    assert [task.patient for task in tasks] == ["P_00001", "P_00002"] and [
        (p.item, p.skipped) for p in problems
    ] == [("P_00003", True)]


@pytest.mark.parametrize(
    ("column", "value"), [("pathology", "FOO"), ("image view", "XCC"), ("assessment", "9")]
)
def test_invalid_cell_raises_or_is_skipped(
    tmp_path: Path, tables: dict, column: str, value: str
) -> None:
    tables["mass_case_description_test_set.csv"][1][column] = value
    write_tables(tmp_path, tables)
    write_images(tmp_path, tables)
    with pytest.raises(UserError, match=rf"mass_case_description_test_set.csv, row 4: .*{value}"):
        cbis_ddsm.list_tasks(tmp_path)
    tasks, problems = cbis_ddsm.list_tasks(tmp_path, skip_bad=True)
    assert [task.patient for task in tasks] == ["P_00001", "P_00002"] and [
        (p.item, p.skipped) for p in problems
    ] == [("P_00003", True)]


def test_series_without_mask(tmp_path: Path, tables: dict) -> None:
    write_tables(tmp_path, tables)
    write_images(tmp_path, tables)
    row = tables["mass_case_description_test_set.csv"][1]
    (tmp_path / row["ROI mask file path"]).unlink()
    task = cbis_ddsm.list_tasks(tmp_path)[0][2]
    with pytest.raises(
        UserError, match=r"row 4: none of 000000.dcm is a mask of the image \(40 x 60 pixels\)"
    ):
        cbis_ddsm.read_patient(task)


def test_folder_without_tables_or_images(tmp_path: Path, tables: dict) -> None:
    for path in (None, tmp_path / "none", tmp_path):
        with pytest.raises(UserError):
            cbis_ddsm.list_tasks(path)
    write_tables(tmp_path, tables)
    with pytest.raises(UserError, match="No patient of the tables"):
        cbis_ddsm.list_tasks(tmp_path, skip_bad=True)


@needs_samples
@pytest.mark.parametrize("name", TABLES)
def test_published_tables(name: str) -> None:
    rows = cbis_ddsm.read_case_table(FOLDER / name)
    frame = pd.read_csv(FOLDER / name)  # an independent reader
    images = {
        (row.get("patient_id"), row.get("left or right breast"), row.get("image view"))
        for row in rows
    }
    print(
        name,
        len(rows),
        "findings",
        len({row.get("patient_id") for row in rows}),
        "patients",
        len(images),
        "images",
    )
    assert len(rows) == len(frame) and {row.get("patient_id") for row in rows} == set(
        frame["patient_id"]
    )
    assert len(images) == frame["image file path"].nunique()
    assert (
        Counter(row.get("pathology") for row in rows) == frame["pathology"].value_counts().to_dict()
    )
    assert all(
        row.get(column).endswith(".dcm")
        for row in rows
        for column in ("image file path", "roi mask file path")
    )


@needs_samples
def test_published_rows_end_to_end(tmp_path: Path) -> None:
    selected: dict[str, list[dict[str, str]]] = {}
    for name, count in zip(TABLES, (3, 3, 2, 2)):
        with (FOLDER / name).open(newline="") as file:
            selected[name] = list(csv.DictReader(file))[:count]
    write_tables(tmp_path, selected)
    write_images(tmp_path, selected)
    patients = read_all(tmp_path)
    mammograms = [m for p in patients.values() for m in p.mammograms]
    assert sum(len(m.findings) for m in mammograms) == 10 and all(
        f.outline for m in mammograms for f in m.findings
    )
    rows = pd.concat([pd.DataFrame(rows) for rows in selected.values()])
    assert set(patients) == set(rows["patient_id"])
    assert (
        len(mammograms)
        == rows.groupby(["patient_id", "left or right breast", "image view"]).ngroups
    )
    assert sorted(f.pathology for m in mammograms for f in m.findings) == sorted(rows["pathology"])


def test_layout_of_the_imaging_data_commons(tmp_path: Path, tables: dict) -> None:
    """<collection>/<case>/<study>/MG_<series>/<instance>.dcm, with random names of instances."""
    write_tables(tmp_path, tables)
    write_images(tmp_path / "full", tables)
    for path in sorted((tmp_path / "full").rglob("*.dcm")):
        case, study, series, name = path.relative_to(tmp_path / "full").parts
        folder = tmp_path / "cbis_ddsm" / case / study / f"MG_{series}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"8f4c-{name[:6]}.dcm")
    shutil.rmtree(tmp_path / "full")
    check_patients(read_all(tmp_path))


def test_flat_files(tmp_path: Path, tables: dict) -> None:
    """PNG named after the case, with words for mask and crop."""
    write_tables(tmp_path, tables)
    (tmp_path / "png").mkdir()
    for rows in tables.values():
        for k, row in enumerate(rows):
            case = row["image file path"].split("/")[0]
            roi = row["ROI mask file path"].split("/")[0]
            # The calcification and the mass of this patient are on one film.
            pixels = film(2 if row["patient_id"] == "P_00002" else 0)
            Image.fromarray(pixels).save(tmp_path / "png" / f"{case}.png")
            Image.fromarray(square(k)).save(tmp_path / "png" / f"{roi}_mask.png")
            Image.fromarray(film(k)[:12, :9]).save(tmp_path / "png" / f"{roi}-crop.PNG")
    check_patients(read_all(tmp_path))
