"""Each importer on a small tree in the layout that its docstring describes."""

from __future__ import annotations

import plistlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openpyxl
import pytest

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources.public_sets import cmmd, embed, inbreast, mini_mias, rsna, vindr
from core.sources.records import Mammogram, Patient
from support.breast_films import breast_film, write_mammogram, write_png


def read_all(module: ModuleType, root: Path, **options: Any) -> dict[str, Patient]:
    tasks, _ = module.list_tasks(root, **options)
    return {task.patient: module.read_patient(task) for task in tasks}


def box_of(film: Mammogram, number: int = 0) -> list[float]:
    points = np.concatenate(film.findings[number].outline)
    return [*points.min(0).tolist(), *points.max(0).tolist()]


VINDR_IMAGES = (
    "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density"
    ",split\n"
    "s1,r,i1,L,CC,200,150,BI-RADS 4,DENSITY C,training\n"
    "s1,r,i2,R,MLO,200,150,BI-RADS 1,DENSITY C,training\n"
    "s2,r,i3,L,CC,200,150,BI-RADS 2,DENSITY A,test\n"
)
VINDR_BOXES = (
    "image_id,study_id,finding_categories,finding_birads,xmin,ymin,xmax,ymax\n"
    "i1,s1,\"['Mass', 'Skin Retraction']\",BI-RADS 4,-0.6,60,45.5,90\n"
    "i1,s1,['Suspicious Calcification'],BI-RADS 3,30,100,40,120\n"
    "i2,s1,['No Finding'],,,,,\n"
    "i3,s2,['No Finding'],,,,,\n"
)


@pytest.fixture
def vindr_root(tmp_path: Path) -> Path:
    (tmp_path / "breast-level_annotations.csv").write_text(VINDR_IMAGES)
    (tmp_path / "finding_annotations.csv").write_text(VINDR_BOXES)
    for k, (study, image) in enumerate((("s1", "i1"), ("s1", "i2"), ("s2", "i3"))):
        write_mammogram(tmp_path / "images" / study / f"{image}.dicom", breast_film(k))
    return tmp_path


def test_vindr(vindr_root: Path) -> None:
    patients = read_all(vindr, vindr_root, pathology_from_birads="4-5=MALIGNANT")
    first, second = patients["s1"], patients["s2"]
    assert (first.density, first.published_split, second.published_split) == (3, "train", "test")
    film, negative = first.mammograms
    assert (film.id, negative.id) == ("s1.LEFT_CC", "s1.RIGHT_MLO")
    assert [(f.pathology, f.lesion_type, f.assessment) for f in film.findings] == [
        ("MALIGNANT", "MASS+SKIN_RETRACTION", 4),
        ("UNPROVEN", "CALCIFICATION", 3),
    ]
    assert box_of(film) == [0, 60, 45.5, 90] and box_of(film, 1) == [30, 100, 40, 120]
    assert ["clipped" in p.action for p in first.problems] == [True]
    assert not negative.findings and not negative.unlocated
    # Benign findings are not marked in this set, so the film has no known normal tissue.
    (benign,) = second.mammograms
    assert benign.unlocated and benign.findings[0].pathology == "UNPROVEN"


def test_vindr_pathology_needs_the_mapping(vindr_root: Path) -> None:
    films = [film for p in read_all(vindr, vindr_root).values() for film in p.mammograms]
    assert {finding.pathology for film in films for finding in film.findings} == {"UNPROVEN"}
    assert vindr.TRUTH_BASIS == "birads"


def test_missing_image(vindr_root: Path) -> None:
    (vindr_root / "images" / "s1" / "i2.dicom").unlink()
    with pytest.raises(
        UserError, match=r"annotations.csv, row 3: its image s1/i2.dicom is missing"
    ):
        vindr.list_tasks(vindr_root)
    tasks, problems = vindr.list_tasks(vindr_root, skip_bad=True)
    assert [task.patient for task in tasks] == ["s2"]
    assert [(p.item, p.skipped) for p in problems] == [("s1", True)]


@pytest.fixture
def inbreast_root(tmp_path: Path) -> Path:
    rows = (
        "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads\n"
        "removed;removed;R;CC;201001;20586908;3;4c\n"
        "removed;removed;R;MLO;201001;20586934;3;1\n"
        "removed;removed;L;CC;201001;22614236;1;6\n"
        "removed;removed;L;MLO;201001;22614267;1;2\n"
    )
    (tmp_path / "INbreast.csv").write_text(rows)
    names = (
        "20586908_6c613a14b80a8591_MG_R_CC_ANON",
        "20586934_6c613a14b80a8591_MG_R_ML_ANON",
        "22614236_8d0b9620c53c0268_MG_L_CC_ANON",
        "22614267_8d0b9620c53c0268_MG_L_ML_ANON",
    )
    for k, name in enumerate(names):
        write_mammogram(tmp_path / "AllDICOMs" / f"{name}.dcm", breast_film(k))
    regions = {
        "20586908": [
            ("Mass", ["(20.5, 70.0)", "(40.0, 70.0)", "(40.0, 95.5)"]),
            ("Calcification", ["(50.2, 110.4)"]),
            ("Calcification", ["(52.0, 115.0)"]),
            ("Pectoral Muscle", ["(0, 0)", "(9, 0)", "(0, 9)"]),
        ],
        "22614236": [("Assymetry", ["(10, 80)", "(60, 80)", "(60, 99)"])],
    }
    (tmp_path / "AllXML").mkdir()
    for name, rois in regions.items():
        images = [
            {
                "ImageIndex": 0,
                "NumberOfROIs": len(rois),
                "ROIs": [
                    {"Name": n, "NumberOfPoints": len(points), "Point_px": points}
                    for n, points in rois
                ],
            }
        ]
        with (tmp_path / "AllXML" / f"{name}.xml").open("wb") as file:
            plistlib.dump({"Images": images}, file)
    return tmp_path


def test_inbreast(inbreast_root: Path) -> None:
    patients = read_all(inbreast, inbreast_root, pathology_from_birads="2-3=BENIGN,4b-6=MALIGNANT")
    assert sorted(patients) == ["6c613a14b80a8591", "8d0b9620c53c0268"]
    right, left = patients["6c613a14b80a8591"], patients["8d0b9620c53c0268"]
    assert (right.density, left.density, right.age) == (3, 1, None)
    film, negative = right.mammograms
    assert (film.view, negative.view, negative.findings) == ("CC", "MLO", ())
    mass, calcifications = film.findings
    assert (mass.pathology, mass.lesion_type, mass.assessment) == ("MALIGNANT", "MASS", 4)
    assert "BI-RADS 4C" in mass.report and box_of(film) == [20.5, 70, 40, 95.5]
    # Two single points, which are two pixels.
    assert fill_polygons(calcifications.outline, film.pixels.shape).sum() == 2
    asymmetry, unmarked = left.mammograms
    assert (asymmetry.findings[0].lesion_type, asymmetry.findings[0].assessment) == ("ASYMMETRY", 6)
    assert unmarked.unlocated and unmarked.findings[0].pathology == "BENIGN"


def test_rsna(tmp_path: Path) -> None:
    header = (
        "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,"
        "density,machine_id,difficult_negative_case\n"
    )
    views = ("CC", "MLO", "ML", "LM", "LMO", "AT")
    rows = [f"1,10006,{k},L,{view},61,0,0,0,,0,B,29,False" for k, view in enumerate(views)]
    rows += ["1,10011,90,R,CC,55.0,1,1,1,0,0,,21,False", "1,10011,91,L,CC,55.0,0,1,0,0,0,,21,False"]
    (tmp_path / "train.csv").write_text(header + "\n".join(rows) + "\n")
    for k in range(len(views)):
        write_mammogram(tmp_path / "train_images" / "10006" / f"{k}.dcm", breast_film(k))
    write_png(tmp_path / "train_images" / "10011_90.png", breast_film(90))
    write_png(tmp_path / "train_images" / "10011" / "91.png", breast_film(91))
    patients = read_all(rsna, tmp_path)
    first, second = patients["10006"], patients["10011"]
    assert tuple(film.view for film in first.mammograms) == views
    assert {film.image_label for film in first.mammograms} == {"NORMAL"}
    assert (first.age, first.density, second.age, second.density) == (61, 2, 55, None)
    assert [(film.laterality, film.image_label) for film in second.mammograms] == [
        ("RIGHT", "MALIGNANT"),
        ("LEFT", "BENIGN"),
    ]


INFO = """This file lists the films in the MIAS database
mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb002 G CALC M 100 900 20
mdb003 D NORM
mdb004 D NORM
mdb059 F CIRC B
mdb060 F NORM
mdb216 D CALC M *NOTE 3*
"""


def test_mini_mias(tmp_path: Path) -> None:
    (tmp_path / "Info.txt").write_text(INFO)
    for number in (1, 2, 3, 4, 59, 60, 216):
        film = breast_film(number, 1024, 1024, right=bool(number % 2))
        write_png(tmp_path / f"mdb{number:03d}.png", film)
    patients = read_all(mini_mias, tmp_path)
    assert sorted(patients) == ["mdb001-002", "mdb003-004", "mdb059-060", "mdb215-216"]
    right, left = patients["mdb001-002"].mammograms
    assert (right.laterality, left.laterality, right.view) == ("RIGHT", "LEFT", "MLO")
    # Centre (535, 425 from below): row 1024 - 425 = 599.
    assert box_of(right) == pytest.approx([535 - 197, 599 - 197, 535 + 197, 599 + 197])
    assert [f.pathology for f in left.findings] == ["BENIGN", "MALIGNANT"]
    assert box_of(left, 1) == pytest.approx([80, 104, 120, 144])
    assert not any(film.findings for film in patients["mdb003-004"].mammograms)
    film, normal = patients["mdb059-060"].mammograms
    assert film.unlocated and film.findings[0].outline == () and not normal.unlocated
    (distributed,) = patients["mdb215-216"].mammograms
    assert distributed.unlocated and distributed.findings[0].pathology == "MALIGNANT"


def test_mini_mias_with_an_unreadable_line(tmp_path: Path) -> None:
    (tmp_path / "Info.txt").write_text("mdb001 G CIRC B 535 425\n")
    with pytest.raises(UserError, match="Info.txt, row 1: .* is not a line of mini-MIAS"):
        mini_mias.list_tasks(tmp_path)


def test_cmmd(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (
        ("ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype"),
        ("D1-0001", "R", 44, 2, "calcification", "Benign", None),
        ("D2-0247", "L", 63, 4, "mass", "Malignant", "Luminal A"),
        ("D2-0247", "L", 63, 4, "calcification", "Benign", "Luminal A"),
    ):
        book.active.append(row)
    book.save(tmp_path / "CMMD_clinicaldata_revision.xlsx")
    for patient, number, side, view in (
        ("D1-0001", 1, "R", "CC"),
        ("D1-0001", 2, "R", "MLO"),
        ("D2-0247", 1, "L", "CC"),
        ("D2-0247", 2, "R", "CC"),
    ):
        path = tmp_path / "CMMD" / patient / "07-18-2010-NA" / "1.000000-NA" / f"1-{number}.dcm"
        film = breast_film(number + len(patient + view), right=side == "R")
        tags = {"PatientID": patient, "ImageLaterality": side, "ViewPosition": view}
        write_mammogram(path, film, **tags)
    patients = read_all(cmmd, tmp_path)
    first, second = patients["D1-0001"], patients["D2-0247"]
    assert [(f.id, f.image_label) for f in first.mammograms] == [
        ("D1-0001.RIGHT_CC", "BENIGN"),
        ("D1-0001.RIGHT_MLO", "BENIGN"),
    ]
    # The worst row of a breast counts, and a breast without a row is not known to be normal.
    assert [(f.laterality, f.image_label) for f in second.mammograms] == [
        ("LEFT", "MALIGNANT"),
        ("RIGHT", "UNPROVEN"),
    ]
    assert (first.age, second.age) == (44, 63)


@pytest.fixture
def embed_root(tmp_path: Path) -> Path:
    """One film each: boxes on a right breast, boxes of the flipped film, none, two pathologies."""
    tables = tmp_path / "tables"
    tables.mkdir()
    base = "/mnt/NAS2/mammo/anon_dicom/cohort_1"
    (tables / "EMBED_OpenData_metadata.csv").write_text(
        "empi_anon,acc_anon,anon_dicom_path,FinalImageType,ImageLateralityFinal,ViewPosition,"
        "spot_mag,num_roi,ROI_coords\n"
        f'1,11,{base}/1/11/a.dcm,2D,R,CC,,1,"[[80, 110, 100, 140]]"\n'
        f'1,11,{base}/1/11/b.dcm,cview,R,MLO,,1,"((80, 5, 100, 45),)"\n'
        f"1,11,{base}/1/11/c.dcm,2D,L,CC,,0,[]\n"
        f'2,22,{base}/2/22/d.dcm,2D,L,CC,1.0,1,"[[80, 5, 100, 45]]"\n'
        f"2,22,{base}/2/22/e.dcm,3D,L,CC,,0,[]\n"
        f"3,33,{base}/3/33/absent.dcm,2D,L,CC,,0,[]\n"
    )
    (tables / "EMBED_OpenData_clinical.csv").write_text(
        "empi_anon,acc_anon,side,asses,path_severity,tissueden,massshape,calcfind\n"
        "1,11,R,S,1.0,3.0,S,\n1,11,L,N,,3.0,,\n"
        "2,22,L,S,4.0,2,,A\n2,22,,S,0,2,,\n"
    )
    films = {"a": True, "b": True, "c": False, "d": False}
    for k, (name, right) in enumerate(films.items()):
        patient, exam = ("2", "22") if name == "d" else ("1", "11")
        path = tmp_path / "images" / "cohort_1" / patient / exam / f"{name}.dcm"
        write_mammogram(path, breast_film(k, right=right))
    return tmp_path


def test_embed(embed_root: Path) -> None:
    tasks, problems = embed.list_tasks(embed_root)
    assert [task.patient for task in tasks] == ["1", "2"]
    assert sorted(p.cause.split(" ")[0] for p in problems) == ["1", "no"]
    first, second = (embed.read_patient(task) for task in tasks)
    given, flipped, negative = first.mammograms
    # The table gives rows first: rows 80 to 100, columns 110 to 140.
    assert box_of(given) == [110, 80, 140, 100]
    assert (given.findings[0].pathology, given.findings[0].lesion_type) == ("MALIGNANT", "MASS")
    assert given.findings[0].assessment == 4
    # On the flipped image the box lies in the air; mirrored, columns 149 - 45 to 149 - 5.
    assert box_of(flipped) == [104, 80, 144, 100]
    assert [p.action for p in first.problems] == ["outline mirrored"]
    assert not negative.findings and not negative.unlocated
    (film,) = second.mammograms
    assert [f.pathology for f in film.findings] == ["UNPROVEN"]
    assert {"several pathologies", "magnification view"} == {
        word
        for p in second.problems
        for word in ("several pathologies", "magnification view")
        if word in p.cause
    }


def test_embed_boxes_of_other_shapes_are_refused(embed_root: Path) -> None:
    table = embed_root / "tables" / "EMBED_OpenData_metadata.csv"
    table.write_text(table.read_text().replace("[[80, 110, 100, 140]]", "[[80, 110, 100]]"))
    with pytest.raises(UserError, match=r"metadata.csv, row 2: ROI_coords is .*ymin, xmin"):
        embed.list_tasks(embed_root)
