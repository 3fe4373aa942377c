"""Ingestion: everything or nothing, resumable, the same on one process and two, and a sentence for
every fault.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core import settings, store
from core.errors import UserError
from core.pipeline import ingest
from core.sources import phantom
from core.store import dataset_table
from core.study_folder import init
from support.paths import ROOT

CHOSEN = settings.preset(settings.PHANTOM)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return init(tmp_path / "study", CHOSEN)


def nothing(*_: object) -> None:
    return None


def take(study: Path, patients: int = 5, **more: object) -> ingest.Ingested:
    return ingest.ingest(
        study, CHOSEN, "phantom", None, nothing, patients=patients, width=256, **more
    )  # type: ignore[arg-type]


def content(study: Path) -> tuple[dict[str, int], str | None, list[str]]:
    with store.read(study) as con:
        return (
            dataset_table.counts(con),
            dataset_table.get_meta(con, "data_hash"),
            sorted(p.name for p in (study / "images").iterdir()),
        )


def test_what_came_in_is_what_the_source_gave(study: Path) -> None:
    done = take(study)
    tasks, _ = phantom.tasks(patients=5, width=256)
    patients = [phantom.read(task) for task in tasks]
    films = {film.id: film for patient in patients for film in patient.mammograms}
    assert (done.patients, done.mammograms, done.findings) == (
        5,
        len(films),
        sum(len(f.findings) for f in films.values()),
    )
    with store.read(study) as con:
        table, findings = dataset_table.mammograms(con), dataset_table.findings(con)
    for row in table.itertuples():
        stored = np.load(study / "images" / f"{row.file}.npy")
        assert np.array_equal(
            stored, films[row.mammogram_id].pixels
        )  # 256 px is the working width: nothing to resize
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


def test_two_processes_bring_in_the_same(study: Path, tmp_path: Path) -> None:
    take(study)
    other = init(tmp_path / "other", CHOSEN)
    take(other, workers=2)
    assert content(study) == content(other)


def test_the_same_source_again_changes_nothing(study: Path) -> None:
    first = take(study)
    before = content(study)
    again = take(study)
    assert again.answered and again.patients == first.patients and content(study) == before


def test_shards_together_are_the_whole(study: Path, tmp_path: Path) -> None:
    take(study)
    other = init(tmp_path / "other", CHOSEN)
    for number in (1, 2, 3):
        take(other, shard=(number, 3))
    assert content(study)[:2] == content(other)[:2]


def test_a_killed_ingestion_goes_on_where_it_stopped(study: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "dashboard.cli",
        "ingest",
        "phantom",
        "--patients",
        "12",
        "--workers",
        "1",
        "--study",
        str(study),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    partial = study / "ingest.partial"
    deadline = time.time() + 60
    while len(list(partial.rglob("*.json"))) < 4 and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done_before = {
        p.name: p.stat().st_mtime_ns for p in partial.rglob("*.json") if p.name != "progress.json"
    }
    assert len(done_before) >= 3 and content(study)[0]["patients"] == 0
    read: list[str] = []
    original = phantom.read
    try:
        phantom.read = lambda task: read.append(task.patient) or original(task)  # type: ignore[assignment, func-returns-value]
        ingest.ingest(study, CHOSEN, "phantom", None, nothing, patients=12, width=256, seed=1)
    finally:
        phantom.read = original
    assert content(study)[0]["patients"] == 12 and len(read) == 12 - len(done_before)


def manifest(tmp_path: Path, rows: list[dict[str, str]]) -> Path:
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


def take_manifest(study: Path, path: Path, **more: object) -> ingest.Ingested:
    return ingest.ingest(study, CHOSEN, "manifest", path, nothing, image_labels=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("a.png", "1"), row("absent.png", "2")], "absent.png"),
        ([row("a.png", "1"), row("b.png", "2", "maybe")], "maybe"),
        ([row("a.png", "1"), row("broken.png", "2")], "broken.png"),
        ([row("a.png", "1"), row("copy.png", "2")], "copy"),
    ],
)
def test_a_fault_is_a_sentence_and_leaves_the_study_as_it_was(
    rows: list[dict[str, str]], words: str, study: Path, tmp_path: Path
) -> None:
    take(study, patients=2)
    before = content(study)
    path = manifest(tmp_path, rows)
    if any(r["file"] == "broken.png" for r in rows):
        (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    if any(r["file"] == "copy.png" for r in rows):
        (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.raises(UserError, match=words):
        take_manifest(study, path)
    assert content(study) == before


def test_what_was_corrected_after_a_refusal_is_read_anew(study: Path, tmp_path: Path) -> None:
    path = manifest(tmp_path, [row("a.png", "1"), row("b.png", "2"), row("broken.png", "3")])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(UserError, match="broken"):
        take_manifest(study, path)
    Image.fromarray(255 - np.asarray(Image.open(tmp_path / "b.png"))).save(tmp_path / "b.png")
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (330, 256), np.uint8)).save(
        tmp_path / "broken.png"
    )
    path = manifest(
        tmp_path, [row("a.png", "1", "malignant"), row("b.png", "2"), row("broken.png", "3")]
    )
    assert take_manifest(study, path).turned == 1
    with store.read(study) as con:
        assert dict(
            zip(*dataset_table.mammograms(con)[["patient_id", "image_label"]].to_numpy().T)
        ) == {
            "1": "MALIGNANT",
            "2": "BENIGN",
            "3": "BENIGN",
        }
    assert not (study / "ingest.partial").exists() or not list((study / "ingest.partial").iterdir())


def test_a_table_that_grew_is_another_source(study: Path, tmp_path: Path) -> None:
    take_manifest(study, manifest(tmp_path, [row("a.png", "1")]))
    path = manifest(tmp_path, [row("a.png", "1")])
    assert take_manifest(study, path).answered
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (330, 256), np.uint8)).save(
        tmp_path / "b.png"
    )
    path = manifest(tmp_path, [row("a.png", "1"), row("b.png", "2")])
    with pytest.raises(UserError, match="patient 1 is in the study already"):
        take_manifest(study, path)
    assert (
        take_manifest(study, path, skip_bad=True).patients == 1
        and content(study)[0]["patients"] == 2
    )


def test_bad_patients_are_left_out_only_when_told(study: Path, tmp_path: Path) -> None:
    path = manifest(tmp_path, [row("a.png", "1"), row("b.png", "2"), row("broken.png", "3")])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    done = take_manifest(study, path, skip_bad=True)
    assert done.patients == 2 and [p["item"] for p in done.problems if p["skipped"]] == ["3"]


def test_what_was_left_out_comes_in_once_it_is_mended(study: Path, tmp_path: Path) -> None:
    path = manifest(tmp_path, [row("a.png", "1"), row("b.png", "2"), row("broken.png", "3")])
    whole = (tmp_path / "broken.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG cut")
    take_manifest(study, path, skip_bad=True)
    before = content(study)
    assert (
        take_manifest(study, path, skip_bad=True).answered and content(study) == before
    )  # still broken
    with pytest.raises(UserError, match="broken.png"):
        take_manifest(study, path)
    (tmp_path / "broken.png").write_bytes(whole)
    assert take_manifest(study, path).patients == 1 and content(study)[0]["patients"] == 3
    assert take_manifest(study, path).answered


def test_a_process_that_is_ended_from_outside_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os, signal\n\n\ndef read(task):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tasks, _ = phantom.tasks(patients=4, width=256)
    with pytest.raises(UserError, match="fewer --workers, it goes on where it stopped"):
        list(ingest._outcomes("deadly", [(task, "") for task in tasks], tmp_path, 256, 2))


def test_films_without_tissue_are_listed_and_strips_refused(study: Path, tmp_path: Path) -> None:
    path = manifest(tmp_path, [row("a.png", "1"), row("b.png", "2")])
    Image.fromarray(np.full((330, 256), 7, np.uint8)).save(tmp_path / "b.png")
    problems = take_manifest(study, path).problems
    assert [(p["item"], p["cause"], p["skipped"]) for p in problems] == [
        ("2.b", "no breast tissue is found on it", False)
    ]
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (70, 900), np.uint8)).save(
        tmp_path / "c.png"
    )
    with pytest.raises(UserError, match="c.png. is 900 x 70 px, smaller than a patch of 225 px"):
        take_manifest(study, manifest(tmp_path, [row("c.png", "3")]))
    with pytest.raises(UserError, match="holds no patient in part 2 of 2"):
        take_manifest(study, manifest(tmp_path, [row("c.png", "3")]), shard=(2, 2))


def test_a_full_disk_leaves_the_study_as_it_was(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ingest.np, "save", full)
    with pytest.raises(OSError):
        take(study)
    monkeypatch.undo()
    assert content(study)[0]["patients"] == 0
    note = json.loads(next((study / "ingest.partial").rglob("progress.json")).read_text())
    assert note["state"] == "failed" and "free some space" in note["message"]
    assert take(study).patients == 5


def test_an_unknown_source_and_an_empty_one_are_sentences(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no source 'magic'; choose one of phantom"):
        ingest.ingest(study, CHOSEN, "magic", None, nothing)
    with pytest.raises(UserError, match="at least 1 patient"):
        take(study, patients=0)
