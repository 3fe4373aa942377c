"""Whole tables of public sets as plans, without reading an image; every field by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core.errors import UserError
from core.sources.outlines.records import box_outline
from core.sources.plans.headers import FileHeader
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.public_sets import cmmd, embed, embed_pathology, inbreast, rsna, vindr
from core.sources.records import Problem


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("module", "tables", "columns"),
    [
        (cmmd, ("_COLUMNS",), "id1 leftright classification"),
        (rsna, ("_COLUMNS",), "patient_id image_id laterality view cancer"),
        (inbreast, ("_COLUMNS",), "file_name laterality view bi-rads"),
        (
            vindr,
            ("_IMAGE_COLUMNS", "_FINDING_COLUMNS"),
            "study_id image_id laterality view_position height width breast_birads breast_density"
            " split study_id image_id finding_categories finding_birads xmin ymin xmax ymax",
        ),
        (
            embed,
            ("_CLINICAL_COLUMNS", "_IMAGE_COLUMNS", "_CLINICAL_OPTIONAL", "_IMAGE_OPTIONAL"),
            "empi_anon acc_anon side asses path_severity empi_anon acc_anon anon_dicom_path"
            " finalimagetype imagelateralityfinal viewposition roi_coords bside tissueden"
            " age_at_study massshape calcfind calcdistri spot_mag",
        ),
    ],
)
def test_columns_of_the_tables(module: ModuleType, tables: tuple[str, ...], columns: str) -> None:
    """As the sets document them; the first missing one is named."""
    found = [name.replace(" ", "_") for table in tables for name in getattr(module, table)]
    assert found == columns.split()
    alternatives = {
        name: other
        for table in tables
        if isinstance(getattr(module, table), dict)
        for name, other in getattr(module, table).items()
        if other
    }
    expected: dict[ModuleType, dict[str, tuple[str, ...]]] = {
        inbreast: {"bi-rads": ("birads", "bi-rads score")},
        embed: {"roi_coords": ("dcm_roi_coords",)},
    }
    assert alternatives == expected.get(module, {})


def test_names_of_the_tables() -> None:
    """The workbook as published counts before a table that was saved from it."""
    tables = [*cmmd._TABLES, *embed._CLINICAL, *embed._METADATA]
    assert tables == [
        *("CMMD_clinicaldata_revision.xlsx", "CMMD_clinicaldata_revision.csv"),
        *("EMBED_OpenData_clinical.csv", "EMBED_OpenData_clinical_reduced.csv"),
        *("EMBED_OpenData_metadata.csv", "EMBED_OpenData_metadata_reduced.csv"),
    ]
    severities = [(code, word[0]) for code, word in embed_pathology._SEVERITIES.items()]
    assert severities == list(zip("0123456", "MMBBBBU"))


def test_patients_of_rsna(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "train.csv": (
                "patient_id,image_id,laterality,view,cancer,biopsy,age,density\n"
                "P2,a,L,CC,1,1,,\nP1,c,L,MLO,0,1,0,\nP2,b,R,AT,0,0,61,B\nP2,a,L,CC,0,0,62,C\n"
            ),
            **dict.fromkeys(("train_images/P2/a.dcm", "train_images/P2/b.dcm", "P1_c.png"), ""),
        },
    )
    origin = f"{root / 'train.csv'}, row"

    def film(file: str, side: str, view: str, label: str, line: int) -> FilmPlan:
        return FilmPlan(
            image=root / file, laterality=side, view=view, image_label=label,
            origin=f"{origin} {line}",
        )  # fmt: skip

    plans, problems = rsna.list_tasks(root)
    assert problems == [] and plans == [
        PatientPlan(
            patient="P2",
            films=(
                film("train_images/P2/a.dcm", "LEFT", "CC", "MALIGNANT", 2),
                film("train_images/P2/b.dcm", "RIGHT", "AT", "NORMAL", 4),
                film("train_images/P2/a.dcm", "LEFT", "CC", "NORMAL", 5),
            ),
            age=61,
            density=2,
        ),
        PatientPlan(patient="P1", films=(film("P1_c.png", "LEFT", "MLO", "BENIGN", 3),)),
    ]
    (root / "P1_c.png").unlink()
    with pytest.raises(UserError, match="row 3: its image P1/c is missing"):
        rsna.list_tasks(root)
    plans, (problem,) = rsna.list_tasks(root, skip_bad=True)
    assert [plan.patient for plan in plans] == ["P2"]
    assert (problem.item, problem.action, problem.skipped) == ("P1", "patient left out", True)


def test_patients_of_inbreast(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "INbreast.csv": (
                "File Name;Laterality;View;BI-RADS score;ACR;Patient age\n"
                "11.0;R;CC;1;;removed\n12;L;MLO;2;3;057Y\n13;L;ML;4b;2;58\n14;L;CC;0;;\n"
            ),
            **dict.fromkeys(
                (
                    *("AllDICOMs/11_q_MG_R_CC_ANON.dcm", "AllDICOMs/12_q_MG_L_ML_ANON.dcm"),
                    "AllDICOMs/13.dcm",
                ),
                "",
            ),
        },
    )
    with pytest.raises(UserError, match=r"row 5: its image AllDICOMs/14_\*\.dcm is missing"):
        inbreast.list_tasks(root)
    plans, problems = inbreast.list_tasks(
        root, skip_bad=True, pathology_from_birads="2=NORMAL,4=BENIGN"
    )
    (problem,) = problems
    assert (problem.item, problem.skipped) == ("14", True)
    assert [(plan.patient, plan.age, plan.density) for plan in plans] == [
        *(("q", 57, 3), ("13", 58, 2)),
    ]
    films = [film for plan in plans for film in plan.films]
    assert [(film.laterality, film.view, film.image.name) for film in films] == [
        ("RIGHT", "CC", "11_q_MG_R_CC_ANON.dcm"),
        ("LEFT", "MLO", "12_q_MG_L_ML_ANON.dcm"),
        ("LEFT", "MLO", "13.dcm"),
    ]
    assert [len(film.findings) for film in films] == [0, 0, 1]
    (finding,) = films[2].findings
    assert (finding.pathology, finding.assessment, finding.report) == ("BENIGN", 4, "BI-RADS 4B")


def test_examinations_of_vindr(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "breast-level_annotations.csv": (
                "study_id,image_id,laterality,view_position,height,width,breast_birads,"
                "breast_density,split\n"
                "S2,c,L,CC,1000,800,BI-RADS 5,,Training\nS1,a,R,MLO,900,,BI-RADS 1,DENSITY A,test\n"
                "S2,d,L,MLO,,700,BI-RADS 5,DENSITY D,training\n"
            ),
            "finding_annotations.csv": (
                "study_id,image_id,finding_categories,finding_birads,xmin,ymin,xmax,ymax\n"
                "S2,c,['Mass'],BI-RADS 5,1,2,5,9.5\nS2,c,['No Finding'],,,,,\n"
                "S2,d,\"['Asymmetry', 'Skin Thickening']\",,3,4,6,8\n"
            ),
            **dict.fromkeys(("images/S2/c.dicom", "images/S2/d.dicom", "images/S1/a.dicom"), ""),
        },
    )
    plans, problems = vindr.list_tasks(root, pathology_from_birads="5=MALIGNANT")
    assert problems == []
    assert [(p.patient, p.age, p.density, p.published_split) for p in plans] == [
        ("S2", None, 4, "train"),
        ("S1", None, 1, "test"),
    ]
    first, second, third = (*plans[0].films, *plans[1].films)
    table, boxes = root / "breast-level_annotations.csv", root / "finding_annotations.csv"
    assert first == FilmPlan(
        image=root / "images/S2/c.dicom",
        laterality="LEFT",
        view="CC",
        findings=(
            FindingPlan(
                pathology="MALIGNANT",
                lesion_type="MASS",
                assessment=5,
                outline=box_outline(1, 2, 5, 9.5),
                report="Mass, BI-RADS 5",
                origin=f"{boxes}, row 2",
            ),
        ),
        annotated_size=(800, 1000),
        origin=f"{table}, row 2",
    )
    assert [(f.pathology, f.lesion_type, f.report) for f in second.findings] == [
        ("UNPROVEN", "ASYMMETRY+SKIN_THICKENING", "Asymmetry, Skin Thickening, no assessment")
    ]
    assert second.annotated_size is None and third.annotated_size is None
    assert (third.laterality, third.view, third.findings) == ("RIGHT", "MLO", ())
    cells = (root / "breast-level_annotations.csv").read_text()
    for old, new in ((",R,MLO,", ",B,MLO,"), (",R,MLO,", ",R,XX,")):
        table.write_text(cells.replace(old, new))
        with pytest.raises(UserError, match="row 3: unknown laterality or view"):
            vindr.list_tasks(root)


def test_patients_of_cmmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(
        tmp_path,
        {
            "CMMD_clinicaldata_revision.csv": (
                "ID1,LeftRight,Age,number,abnormality,classification\n"
                "D2,L,,2,mass,Benign\nD2,R,49,2,mass,Malignant\nD1,L,50,2,mass,Benign\n"
            ),
            **dict.fromkeys(("a.dcm", "b.dcm", "c.dcm"), ""),
        },
    )

    def header(name: str, patient: str, side: str = "LEFT") -> FileHeader:
        return FileHeader(
            path=root / name, patient=patient, accession="", study="", sop_instance="",
            laterality=side, view="CC", age="",
        )  # fmt: skip

    found: list[Any] = [
        [header("b.dcm", "D2", "RIGHT"), header("a.dcm", "D2"), header("c.dcm", "X")],
        [root / "sub" / "empty.dcm"],
    ]
    monkeypatch.setattr(cmmd, "read_headers", lambda folder: found if folder == root else None)
    table = root / "CMMD_clinicaldata_revision.csv"
    with pytest.raises(UserError, match="row 4: no image of D1 is there"):
        cmmd.list_tasks(root)
    (plan,), problems = cmmd.list_tasks(root, skip_bad=True)
    assert (plan.patient, plan.age, plan.density) == ("D2", 49, None)
    assert [(f.image.name, f.image_label, f.view) for f in plan.films] == [
        ("a.dcm", "BENIGN", "CC"),
        ("b.dcm", "MALIGNANT", "CC"),
    ]
    assert {f.origin for f in plan.films} == {f"{table}, row 2"}
    assert problems[:2] == [
        Problem("X", f"not in {table.name}", "not imported", skipped=True),
        Problem("sub/empty.dcm", "it holds no readable image", "not imported"),
    ]
    assert [(p.item, p.skipped) for p in problems[2:]] == [("D1", True)]


def test_patients_of_embed(tmp_path: Path) -> None:
    files = {
        "EMBED_OpenData_clinical.csv": (
            "empi_anon,acc_anon,side,asses,path_severity,bside,tissueden,age_at_study\n"
            "7,E1,L,N,,,,\n7,E1,L,M,1,,2,61.5\n8,E2,R,B,4,,3,70\n9,E9,L,B,,,1,40\n"
        ),
        "EMBED_OpenData_metadata.csv": (
            "empi_anon,acc_anon,anon_dicom_path,FinalImageType,ImageLateralityFinal,ViewPosition,"
            "ROI_coords,spot_mag\n"
            "7,E1,/mnt/7/x/a.dcm,2D,L,CC,,\n7,E1,/mnt/7/x/t.dcm,3D,L,CC,,\n"
            "8,E2,/mnt/8/x/b.dcm,C-View,R,,,1.0\n"
        ),
        "images/7/x/a.dcm": "",
        "images/8/x/b.dcm": "",
    }
    root = write(tmp_path, files)
    plans, problems = embed.list_tasks(root)
    kinds = Problem(
        *("EMBED_OpenData_metadata.csv", "1 rows are no 2D image (tomosynthesis, screen saves)"),
        "not imported",
    )
    assert problems == [kinds]
    assert [(p.patient, p.age, p.density) for p in plans] == [("7", 61, 2), ("8", 70, 3)]
    (first,), (second,) = (plan.films for plan in plans)
    assert [(f.pathology, f.assessment) for f in first.findings] == [("MALIGNANT", 5)]
    assert (second.laterality, second.view, len(second.findings)) == ("RIGHT", "UNKNOWN", 1)
    assert plans[0].problems == () and plans[1].problems == (
        Problem("8", "b.dcm is a spot or magnification view", "imported"),
    )
    (root / "images/8/x/b.dcm").unlink()
    plans, problems = embed.list_tasks(root)
    absent = "no image of 1 patients of the table is there"
    assert [plan.patient for plan in plans] == ["7"] and problems == [
        *(kinds, Problem(kinds.item, absent, "these patients are not imported")),
    ]
