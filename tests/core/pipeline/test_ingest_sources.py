"""Ingestion of tables and sets: everything or nothing, options of sources, basis of the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import lineage, settings, store
from core.errors import UserError
from core.pipeline.ingest import IngestionResult, ingest
from core.store import dataset_table
from core.study_folder import create_study
from support.breast_films import breast_film, write_mammogram, write_png

CHOSEN = settings.settings_from_preset(settings.PHANTOM_PRESET)
PATIENTS, ROWS = 10, 1000


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return create_study(tmp_path / "study", CHOSEN)


def quiet(*_: object) -> None:
    return None


def run_ingestion(study: Path, kind: str, path: Path, **options: Any) -> IngestionResult:
    return ingest(study, CHOSEN, kind, path, quiet, **options)


def stored_counts(study: Path) -> dict[str, int]:
    with store.read(study) as con:
        return dataset_table.dataset_counts(con)


@pytest.fixture
def large_table(tmp_path: Path) -> Path:
    """Return a table of 10,000 rows, of which row 7,326 names an unknown pathology."""
    for patient in range(PATIENTS):
        write_png(tmp_path / f"{patient}.png", breast_film(patient, 128, 96))
    rows = [
        f"{k // ROWS}.png,P{k // ROWS},L,CC,{'NORMEL' if k == 7324 else 'NORMAL'},text {k}\n"
        for k in range(PATIENTS * ROWS)
    ]
    path = tmp_path / "table.csv"
    path.write_text("image,patient,laterality,view,pathology,report\n" + "".join(rows))
    return path


def test_one_wrong_row_of_ten_thousand(study: Path, large_table: Path) -> None:
    with pytest.raises(UserError, match="row 7326: unknown pathology 'NORMEL'"):
        run_ingestion(study, "manifest", large_table)
    assert set(stored_counts(study).values()) == {0}
    result = run_ingestion(study, "manifest", large_table, skip_bad=True)
    assert (result.patients, stored_counts(study)["patients"]) == (PATIENTS - 1, PATIENTS - 1)
    skipped = [problem for problem in result.problems if problem["skipped"]]
    assert [problem["item"] for problem in skipped] == ["P7"] and "7326" in skipped[0]["cause"]


def test_options_of_another_source_are_refused(study: Path, tmp_path: Path) -> None:
    for kind, option in (
        ("ddsm", {"image_labels": True}),
        ("rsna", {"pathology_from_birads": "5=MALIGNANT"}),
        ("manifest", {"truth": tmp_path / "t.csv"}),
    ):
        name = next(iter(option)).replace("_", "-")
        with pytest.raises(UserError, match=f"source {kind} has no option --{name}"):
            run_ingestion(study, kind, tmp_path, **option)


def dicom_export(root: Path) -> Path:
    for k, patient in enumerate(("MRN 7", "MRN 8")):
        write_mammogram(
            root / "secret-name" / f"{k}.dcm",
            breast_film(k),
            PatientID=patient,
            AccessionNumber=f"A{k}",
            SOPInstanceUID=f"1.2.{k}",
            ImageLaterality="L",
            ViewPosition="CC",
        )
    (root / "truth.csv").write_text("accession,pathology\nA0,MALIGNANT\nA1,NORMAL\n")
    return root / "secret-name"


def test_truth_table_of_dicom_files(study: Path, tmp_path: Path) -> None:
    folder, truth = dicom_export(tmp_path), tmp_path / "truth.csv"
    options = {"truth": truth, "pseudonym_key": tmp_path / "secret.key"}
    result = run_ingestion(study, "dicom", folder, **options)
    assert (result.patients, result.mammograms) == (2, 2)
    with store.read(study) as con:
        sources = dataset_table.load_sources(con)
        tables = [dataset_table.load_patients(con), dataset_table.load_mammograms(con), sources]
    text = " ".join(table.to_csv() for table in tables)
    assert not any(word in text for word in ("MRN", str(tmp_path), "A0", "1.2.0"))
    assert sources["image_labels"].all() and list(sources["truth_basis"]) == ["table"]
    # Without a change nothing is added; a corrected truth table replaces the patient.
    assert run_ingestion(study, "dicom", folder, **options).already_ingested
    truth.write_text(truth.read_text().replace("NORMAL", "BENIGN"))
    corrected = run_ingestion(study, "dicom", folder, **options)
    assert (corrected.patients, corrected.replaced) == (1, 1)
    with store.read(study) as con:
        labels = dataset_table.load_mammograms(con)["image_label"]
    assert sorted(labels) == ["BENIGN", "MALIGNANT"]


def test_problems_name_no_folder_of_an_option(study: Path, tmp_path: Path) -> None:
    folder, truth = dicom_export(tmp_path), tmp_path / "name of a person" / "truth.csv"
    truth.parent.mkdir()
    truth.write_text("accession,pathology\nA0,MALIGNANT\nA1,NORMAL\nA2,NORMAL\n")
    # An image without a patient is left out, with the row of the table.
    write_mammogram(
        folder / "2.dcm", breast_film(2), PatientID="", AccessionNumber="A2", SOPInstanceUID="1.2.2"
    )
    result = run_ingestion(
        study, "dicom", folder, truth=truth, pseudonym_key=tmp_path / "k.key", skip_bad=True
    )
    causes = [problem["cause"] for problem in result.problems]
    assert any(cause.startswith("truth.csv, row 4: ") for cause in causes)
    assert not any(str(tmp_path) in cause or "person" in cause for cause in causes)


def test_results_state_that_truth_is_no_biopsy(study: Path, tmp_path: Path) -> None:
    (tmp_path / "vindr").mkdir()
    (tmp_path / "vindr" / "breast-level_annotations.csv").write_text(
        "study_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,split"
        "\ns1,i1,L,CC,200,150,BI-RADS 5,DENSITY B,training\n"
    )
    (tmp_path / "vindr" / "finding_annotations.csv").write_text(
        "image_id,study_id,finding_categories,finding_birads,xmin,ymin,xmax,ymax\n"
        "i1,s1,['Mass'],BI-RADS 5,20,60,45,90\n"
    )
    write_mammogram(tmp_path / "vindr" / "images" / "s1" / "i1.dicom", breast_film(1))
    assert lineage.truth_statements(study) == []
    mapping = {"pathology_from_birads": "4-5=MALIGNANT"}
    run_ingestion(study, "vindr", tmp_path / "vindr", **mapping)
    assert lineage.truth_statements(study) == ["Truth from BI-RADS assessment, not biopsy."]
    with store.read(study) as con:
        assert list(dataset_table.load_findings(con)["pathology"]) == ["MALIGNANT"]
