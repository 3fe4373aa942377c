"""Ingestion: atomic, resumable, independent of the number of workers, with clear errors."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from core import settings, store
from core.errors import UserError
from core.images.working_images import WorkingImages
from core.pipeline import ingest
from core.pipeline.ingestion import staging
from core.sources import phantom
from core.sources.phantom.concepts import Concept
from core.sources.records import Patient
from core.store import dataset_table
from core.study_folder import create_study
from support.paths import ROOT
from support.study_templates import copy_template

CHOSEN = settings.settings_from_preset(settings.PHANTOM_PRESET)
PATIENTS = 4  # fewer would not be read by worker processes
# `deepminer ingest`, killed when a reader begins with a patient.
KILLED_INGESTION = """
import os, signal, sys
from core.sources import phantom
from dashboard.cli import main

def read(task, original=phantom.read_patient):
    if task.patient == killing:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(task)

phantom.read_patient, killing = read, sys.argv.pop(1)
main()
"""


def build_empty_study(path: Path) -> None:
    create_study(path, CHOSEN)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return copy_template(build_empty_study, tmp_path / "study")


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ingest.IngestionResult]:
    """A study with phantoms, and what its ingestion returned. Do not write to it."""
    path = copy_template(build_empty_study, tmp_path_factory.mktemp("ingested") / "study")
    return path, ingest_phantom(path)


@pytest.fixture
def filled(ingested: tuple[Path, ingest.IngestionResult], tmp_path: Path) -> Path:
    """A copy of the study with phantoms."""
    return Path(shutil.copytree(ingested[0], tmp_path / "filled"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one patient whose films are wider than the working images."""
    path = copy_template(build_empty_study, tmp_path_factory.mktemp("wide") / "study")
    ingest.ingest(path, CHOSEN, "phantom", None, quiet, patients=1, width=512)
    return path


def quiet(*_: object) -> None:
    return None


def ingest_phantom(study: Path, patients: int = PATIENTS, **more: object) -> ingest.IngestionResult:
    return ingest.ingest(
        study, CHOSEN, "phantom", None, quiet, patients=patients, width=256, **more
    )  # type: ignore[arg-type]


def test_concepts_have_the_size_of_the_working_image(wide: Path) -> None:
    """Phantoms that are wider or narrower than a working image keep concepts and pixels in line."""
    images = WorkingImages(wide)
    with store.read(wide) as con:
        films = dataset_table.load_mammograms(con)
    for film in films.itertuples():
        concepts = images.concepts(film.file)
        assert concepts.shape == images[film.file].shape == (film.height, 256)
        muscle = (concepts & Concept.PECTORAL_MUSCLE) > 0
        skin = (concepts & Concept.SKIN_LINE) > 0
        # The skin line lies on the border of the breast.
        tissue = images.tissue(film.file)
        edge = ndimage.binary_dilation(tissue, iterations=6) & ~ndimage.binary_erosion(
            tissue, iterations=6
        )
        assert edge[skin].mean() > 0.7
        assert not muscle.any() or tissue[muscle].mean() > 0.9


def test_wide_films_are_kept_at_source_resolution(wide: Path) -> None:
    """The working image is what the network sees; the film of the source is for people."""
    tasks, _ = phantom.list_tasks(patients=1, width=512)
    films = {film.id: film.pixels for film in phantom.read_patient(tasks[0]).mammograms}
    with store.read(wide) as con:
        table = dataset_table.load_mammograms(con)
    assert len(table) == len(films)
    for row in table.itertuples():
        with Image.open(wide / "images" / f"{row.file}.source.jpg") as image:
            assert image.size == (row.source_width, row.source_height)
            assert np.abs(np.asarray(image, float) - films[row.mammogram_id]).mean() < 2


def content(study: Path) -> tuple[dict[str, int], str | None, list[str]]:
    with store.read(study) as con:
        return (
            dataset_table.dataset_counts(con),
            dataset_table.get_meta(con, "data_hash"),
            sorted(p.name for p in (study / "images").iterdir()),
        )


def test_stored_data_equal_source(ingested: tuple[Path, ingest.IngestionResult]) -> None:
    study, result = ingested
    tasks, _ = phantom.list_tasks(patients=PATIENTS, width=256)
    patients = [phantom.read_patient(task) for task in tasks]
    films = {film.id: film for patient in patients for film in patient.mammograms}
    assert (result.patients, result.mammograms, result.findings) == (
        PATIENTS,
        len(films),
        sum(len(f.findings) for f in films.values()),
    )
    with store.read(study) as con:
        table, findings = dataset_table.load_mammograms(con), dataset_table.load_findings(con)
    for row in table.itertuples():
        stored = np.load(study / "images" / f"{row.file}.npy")
        assert np.array_equal(
            stored, films[row.mammogram_id].pixels
        )  # 256 pixels is the working width, so nothing is resized
        tissue = np.unpackbits(
            np.load(study / "images" / f"{row.file}.tissue.npy"), count=stored.size
        )
        assert tissue.mean() == pytest.approx(row.tissue)
    for row in findings.itertuples():
        source = next(f for f in films[row.mammogram_id].findings if f.number == row.number)
        assert (
            np.allclose(row.outline[0], source.outline[0], atol=0.01)
            and row.descriptors == source.descriptors
        )


def test_two_workers(study: Path, ingested: tuple[Path, ingest.IngestionResult]) -> None:
    ingest_phantom(study, workers=2)
    assert content(study) == content(ingested[0])


def test_repeated_source(filled: Path, ingested: tuple[Path, ingest.IngestionResult]) -> None:
    before = content(filled)
    again = ingest_phantom(filled)
    assert again.already_ingested and again.patients == ingested[1].patients
    assert content(filled) == before


def test_shards(study: Path, ingested: tuple[Path, ingest.IngestionResult]) -> None:
    for number in (1, 2, 3):
        ingest_phantom(study, shard=(number, 3))
    assert content(study)[:2] == content(ingested[0])[:2]


def test_killed_ingestion_resumes(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two patients are read ahead: when the reader begins with the sixth, three are staged.
    patients, killing = 7, "S_0006_1"
    options = ["--patients", str(patients), "--workers", "1", "--study", str(study)]
    command = [sys.executable, "-c", KILLED_INGESTION, killing, "ingest", "phantom", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    partial = study / "ingest.partial"
    done_before = [p for p in partial.rglob("*.json") if p.name != "progress.json"]
    assert len(done_before) >= 3 and content(study)[0]["patients"] == 0
    read: list[str] = []
    original = phantom.read_patient

    def recording_read(task: phantom.PhantomTask) -> Patient:
        read.append(task.patient)
        return original(task)

    monkeypatch.setattr(phantom, "read_patient", recording_read)
    ingest_phantom(study, patients, seed=1)
    assert content(study)[0]["patients"] == patients and len(read) == patients - len(done_before)


def write_manifest(tmp_path: Path, rows: list[dict[str, str]]) -> Path:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:330, :256]
    for row in rows:
        path = tmp_path / row["file"]
        if not path.exists() and "absent" not in row["file"]:
            breast = 120 * ((x / 180) ** 2 + ((y - 165) / 140) ** 2 < 1) + rng.integers(
                0, 12, x.shape
            )
            Image.fromarray(breast.astype(np.uint8)).save(path)
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    return tmp_path / "m.csv"


def row(name: str, patient: str, pathology: str = "benign") -> dict[str, str]:
    return {"file": name, "patient_id": patient, "pathology": pathology}


def ingest_manifest(study: Path, path: Path, **more: object) -> ingest.IngestionResult:
    options = {"image_labels": True, **more}
    return ingest.ingest(study, CHOSEN, "manifest", path, quiet, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a.png", "1"), row("absent.png", "2")], "absent.png"),
        ([row("a.png", "1"), row("b.png", "2", "maybe")], "maybe"),
        ([row("a.png", "1"), row("broken.png", "2")], "broken.png"),
        ([row("a.png", "1"), row("copy.png", "2")], "row 3: the image copy.png belongs"),
        ([row("a.png", "1"), row("other.png", "2")], "2.other has the same pixels as 1.a of"),
    ],
)
def test_fault_leaves_study_unchanged(
    rows: list[dict[str, str]], message: str, filled: Path, tmp_path: Path
) -> None:
    before = content(filled)
    path = write_manifest(tmp_path, rows)
    if any(r["file"] == "broken.png" for r in rows):
        (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    if any(r["file"] == "copy.png" for r in rows):
        (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    if any(r["file"] == "other.png" for r in rows):
        # The same pixels in another encoding.
        Image.open(tmp_path / "a.png").save(tmp_path / "other.png", compress_level=0)
    with pytest.raises(UserError, match=message):
        ingest_manifest(filled, path)
    assert content(filled) == before


def test_corrected_source_is_read_again(study: Path, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [row("a.png", "1"), row("b.png", "2"), row("broken.png", "3")])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(UserError, match="broken"):
        ingest_manifest(study, path)
    Image.fromarray(255 - np.asarray(Image.open(tmp_path / "b.png"))).save(tmp_path / "b.png")
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (330, 256), np.uint8)).save(
        tmp_path / "broken.png"
    )
    path = write_manifest(
        tmp_path, [row("a.png", "1", "malignant"), row("b.png", "2"), row("broken.png", "3")]
    )
    assert ingest_manifest(study, path).inverted_count == 1
    with store.read(study) as con:
        assert dict(
            zip(*dataset_table.load_mammograms(con)[["patient_id", "image_label"]].to_numpy().T)
        ) == {
            "1": "MALIGNANT",
            "2": "BENIGN",
            "3": "BENIGN",
        }
    assert not (study / "ingest.partial").exists() or not list((study / "ingest.partial").iterdir())


def test_extended_table_adds_its_new_patients(study: Path, tmp_path: Path) -> None:
    ingest_manifest(study, write_manifest(tmp_path, [row("a.png", "1")]))
    path = write_manifest(tmp_path, [row("a.png", "1")])
    assert ingest_manifest(study, path).already_ingested
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (330, 256), np.uint8)).save(
        tmp_path / "b.png"
    )
    path = write_manifest(tmp_path, [row("a.png", "1"), row("b.png", "2")])
    extended = ingest_manifest(study, path)
    assert (extended.patients, extended.replaced) == (1, 0)
    assert content(study)[0]["patients"] == 2
    # The same patients from elsewhere are another source.
    other = (tmp_path / "m.csv").rename(tmp_path / "other.csv")
    with pytest.raises(UserError, match="patient 1 is in the study already"):
        ingest_manifest(study, other)
    with pytest.raises(UserError, match="No patient could be imported"):
        ingest_manifest(study, other, skip_bad=True)


def test_skip_bad(study: Path, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [row("a.png", "1"), row("b.png", "2"), row("broken.png", "3")])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    result = ingest_manifest(study, path, skip_bad=True)
    assert result.patients == 2 and [p["item"] for p in result.problems if p["skipped"]] == ["3"]


def test_problems_of_a_table_in_the_current_folder(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is removed from a cause, and nothing else of its text."""
    write_manifest(tmp_path, [row("a.png", "1"), row("broken.png", "3")])
    (tmp_path / "broken.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    result = ingest_manifest(study, Path("m.csv"), skip_bad=True)
    assert [p["cause"] for p in result.problems if p["skipped"]] == [
        "m.csv, row 3: The image broken.png is empty (0 bytes): copy it again or leave the row out."
    ]


def test_skipped_patient_is_added_after_correction(study: Path, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [row("a.png", "1"), row("b.png", "2"), row("broken.png", "3")])
    whole = (tmp_path / "broken.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    ingest_manifest(study, path, skip_bad=True)
    before = content(study)
    assert (
        ingest_manifest(study, path, skip_bad=True).already_ingested and content(study) == before
    )  # the file is still damaged
    with pytest.raises(UserError, match="broken.png"):
        ingest_manifest(study, path)
    (tmp_path / "broken.png").write_bytes(whole)
    assert ingest_manifest(study, path).patients == 1 and content(study)[0]["patients"] == 3
    assert ingest_manifest(study, path).already_ingested


def test_killed_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "killer.py").write_text(
        "import os, signal\n\n\ndef read_patient(task):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tasks, _ = phantom.list_tasks(patients=4, width=256)
    with pytest.raises(UserError, match="fewer --workers; finished patients are kept"):
        list(staging.staging_outcomes("killer", [(task, "") for task in tasks], tmp_path, 256, 2))


def test_images_without_tissue_and_narrow_images(study: Path, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [row("a.png", "1"), row("b.png", "2")])
    Image.fromarray(np.full((330, 256), 7, np.uint8)).save(tmp_path / "b.png")
    problems = ingest_manifest(study, path).problems
    assert [(p["item"], p["cause"], p["skipped"]) for p in problems] == [
        ("2.b", "no breast tissue was detected", False)
    ]
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (70, 900), np.uint8)).save(
        tmp_path / "c.png"
    )
    with pytest.raises(UserError, match="c.png. is 900 x 70 px, smaller than a patch of 225 px"):
        ingest_manifest(study, write_manifest(tmp_path, [row("c.png", "3")]))
    with pytest.raises(UserError, match="holds no patient in part 2 of 2"):
        ingest_manifest(study, write_manifest(tmp_path, [row("c.png", "3")]), shard=(2, 2))


def test_full_disk(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError):
        ingest_phantom(study, patients=1)
    monkeypatch.undo()
    assert content(study)[0]["patients"] == 0
    progress = json.loads(next((study / "ingest.partial").rglob("progress.json")).read_text())
    assert progress["state"] == "failed" and "free some space" in progress["message"]
    assert ingest_phantom(study, patients=1).patients == 1


def test_unknown_and_empty_sources(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no source 'magic'; choose one of phantom"):
        ingest.ingest(study, CHOSEN, "magic", None, quiet)
    with pytest.raises(UserError, match="at least 1 patient"):
        ingest_phantom(study, patients=0)
