"""Rows and files of one staged patient, the identity of a source, and the stored ingestion."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core import settings, store
from core.errors import UserError
from core.images.tissue_segmentation import Segmentation
from core.pipeline import ingest
from core.pipeline.ingestion import problem_rows, request, source_check, staging
from core.pipeline.ingestion.request import SourceRequest
from core.settings import Settings
from core.sources.records import Finding, Mammogram, Patient, Problem
from core.store import dataset_table
from core.study_folder import create_study
from support.array_patches import no_progress

SQUARE = np.array([[20, 40], [40, 40], [40, 80], [20, 80]], float)
FINDING = Finding(
    number=3,
    pathology="BENIGN",
    lesion_type="MASS",
    descriptors={"shape": "OVAL"},
    assessment=4,
    subtlety=2,
    outline=(SQUARE, SQUARE + 2),
    nested=(SQUARE / 3,),
    report="seen",
)


def breast(height: int = 160, width: int = 128) -> np.ndarray:
    """Return a bright half on a black film, in 8 bits."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 8 : -height // 8, : width // 2] = 120
    return pixels


def film(**changes: Any) -> Mammogram:
    fields: dict[str, Any] = {
        "id": "P1.LEFT_CC", "laterality": "LEFT", "view": "CC", "pixels": breast(),
        "maximum": 255, "findings": (FINDING,), "pixel_mm": 0.3, "scanner": "LUMISYS",
        "attributes": {"magnified": "1.8"},
    }  # fmt: skip
    return Mammogram(**(fields | changes))


def test_rows_of_a_patient(tmp_path: Path) -> None:
    patient = Patient(
        id="P1",
        mammograms=(film(inverted=True, image_label="BENIGN"),),
        age=61,
        density=3,
        features={"risk": 0.5},
        published_split="test",
        stratum="benign",
        filed_as="BENIGN",
        problems=(Problem("P1", "stray file", "ignored"),),
    )
    assert staging._try_stage(lambda: patient, tmp_path, 64, "stamp") is None
    record = staging.load_record(tmp_path, "P1")
    assert record["stamp"] == "stamp" and staging._is_staged(tmp_path, "P1", "stamp")
    assert not staging._is_staged(tmp_path, "P1", "other")
    assert not staging._is_staged(tmp_path, "P2", "stamp")
    assert record["patient"] == {
        "patient_id": "P1", "age": 61, "density": 3, "features": '{"risk": 0.5}',
        "published_split": "test", "stratum": "benign", "filed_as": "BENIGN",
    }  # fmt: skip
    (row,) = record["mammograms"]
    pixel_hash = hashlib.sha256(breast().tobytes()).hexdigest()
    name = hashlib.sha256(f"P1.LEFT_CC {pixel_hash} 255 64".encode()).hexdigest()[:20]
    tissue = np.unpackbits(np.load(tmp_path / f"{name}.tissue.npy"))[: 80 * 64].reshape(80, 64)
    assert json.loads(row.pop("attributes")) == {"magnified": "1.8", "chest_wall": "left"}
    assert row == {
        "mammogram_id": "P1.LEFT_CC", "patient_id": "P1", "laterality": "LEFT", "view": "CC",
        "file": name, "width": 64, "height": 80, "source_width": 128, "source_height": 160,
        "pixel_mm": 0.3, "scanner": "LUMISYS", "image_label": "BENIGN", "inverted": True,
        "tissue": pytest.approx(tissue.mean()), "pixel_hash": pixel_hash,
        "has_concepts": False, "unlocated": False,
    }  # fmt: skip
    assert tissue[10:70, :32].mean() > 0.9 and not tissue[:, 40:].any()
    assert np.load(tmp_path / f"{name}.npy").shape == (80, 64)
    # Half the size: corners at (x + .5) / 2 - .5.
    half = [[9.75, 19.75], [19.75, 19.75], [19.75, 39.75], [9.75, 39.75]]
    (finding,) = record["findings"]
    outlines = json.loads(finding.pop("outline"))
    assert outlines == [half, [[x + 1, y + 1] for x, y in half]]
    assert json.loads(finding.pop("nested"))[0][0] == [3.08, 6.42]
    assert finding == {
        "mammogram_id": "P1.LEFT_CC", "number": 3, "pathology": "BENIGN", "lesion_type": "MASS",
        "descriptors": '{"shape": "OVAL"}', "assessment": 4, "subtlety": 2, "report": "seen",
    }  # fmt: skip
    first = {"item": "P1", "cause": "stray file", "action": "ignored", "skipped": False}
    assert record["problems"][0] == first


def test_images_that_need_not_show_a_breast(tmp_path: Path) -> None:
    whole = staging._stage_mammogram("P1", film(whole_image=True), tmp_path, 64)
    assert whole.row["tissue"] == 1.0 and whole.problems == [
        row for row in whole.problems if row["code"] not in ("no_tissue", "outside_breast")
    ]
    bits = np.arange(160 * 128, dtype=np.uint32).reshape(160, 128)
    with_concepts = staging._stage_mammogram("P1", film(concepts=bits), tmp_path, 64)
    assert with_concepts.row["has_concepts"] is True
    stored = np.load(tmp_path / f"{with_concepts.row['file']}.concepts.npy")
    # Of each pair of rows and columns the second: the centre of a pixel twice as large.
    assert np.array_equal(stored, bits[1::2, 1::2])


@pytest.mark.parametrize(
    ("shape", "width", "fits"),
    [
        ((16, 64), 64, True),
        ((15, 64), 64, False),
        ((32, 128), 64, True),
        ((31, 128), 64, False),
        ((40, 16), 64, True),
        ((40, 15), 64, False),
    ],
)
def test_a_mammogram_holds_a_patch(shape: tuple[int, int], width: int, fits: bool) -> None:
    """A patch is a quarter of the wider width: of the film or of the working image."""
    small = film(pixels=np.zeros(shape, np.uint8), source_file="a.png")
    if fits:
        staging._check_size(small, width)
    else:
        with pytest.raises(
            UserError, match=rf"P1\.LEFT_CC \(a\.png\) is {shape[1]} x {shape[0]} px"
        ):
            staging._check_size(small, width)


def codes(mammogram: Mammogram, mask: np.ndarray, doubt: str = "") -> list[tuple]:
    rows = problem_rows.mammogram_problems(mammogram, Segmentation(mask, doubt), (1.0, 1.0))
    return [(row["code"], row["finding"], row["action"]) for row in rows]


def test_problems_of_a_mammogram() -> None:
    mask = breast() > 0
    plain = film(attributes={}, findings=())
    assert codes(plain, mask) == []
    assert codes(plain, mask, "two pieces") == [("doubtful_tissue", None, "imported")]
    empty = np.zeros_like(mask)
    assert codes(plain, empty, "dark") == [("no_tissue", None, "imported without patches")]
    # A breast in the middle: no side is the chest wall.
    middle = np.roll(mask, 32, axis=1)
    assert codes(plain, middle) == [("unclear_side", None, "imported")]
    assert codes(film(attributes={}, findings=(), laterality="UNKNOWN"), middle) == []
    assert codes(film(attributes={}), mask) == []
    outside = Finding(number=2, pathology="BENIGN", outline=(SQUARE + np.array([70, 0]),))
    action = "the mammogram gives no patches until a decision is recorded"
    found = codes(film(attributes={}, findings=(FINDING, outside)), mask)
    assert {row[1:] for row in found} == {(2, action)}
    assert codes(film(attributes={}, findings=(outside,), whole_image=True), mask) == []
    without = Finding(number=1, pathology="BENIGN")
    assert codes(film(attributes={}, findings=(without,)), mask) == []


def test_rows_of_issues() -> None:
    issue = problem_rows.ImageIssue("c", "why")
    row = {"item": "m", "cause": "why", "action": "a", "skipped": False, "code": "c"}
    assert problem_rows.issue_row("m", issue, "a") == row | {"mammogram_id": "m", "finding": None}
    assert problem_rows.issue_row("m", issue, "a", 4) == row | {
        "item": "m, finding 4",
        "mammogram_id": "m",
        "finding": 4,
    }
    assert problem_rows.is_calcification("Calc") and not problem_rows.is_calcification("MASS")


def source(**changes: Any) -> SourceRequest:
    fields: dict[str, Any] = {
        "kind": "manifest", "path": Path("/data/Anna/t.csv"), "options": {"n": 3}, "shard": (1, 2),
        "input_side": 64,
    }  # fmt: skip
    return SourceRequest(**(fields | changes))


def test_identity_of_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = source().source_id()
    assert base.startswith("manifest-") and len(base) == len("manifest-") + 12
    others = [
        source(kind="coco"), source(path=None), source(options={"n": 4}), source(shard=(2, 2)),
        source(input_side=65), source(options={"n": 3, "more": 1}),
    ]  # fmt: skip
    ids = [base, source().source_id("content"), *(other.source_id() for other in others)]
    assert len(set(ids)) == 8
    same = [
        source(options={"n": 3, "x": None}),
        source(options={"n": 3, "pseudonym_key": Path("/k")}),
        source(classes=settings.Settings().class_definition.with_outputs(2)),
    ]
    assert {one.source_id() for one in same} == {base} == {source().source_id("", "")}
    # Relative paths are the same source from every folder.
    monkeypatch.chdir(tmp_path)
    relative = source(path=Path("t.csv"), options={"images": Path("films")})
    absolute = source(path=tmp_path / "t.csv", options={"images": tmp_path / "films"})
    assert relative.source_id() == absolute.source_id()
    assert (source(path=None).location, source().location) == ("", "/data/Anna/t.csv")


def test_stored_options_name_no_folder() -> None:
    options = {"images": Path("/data/Anna/films"), "n": 3, "pseudonym_key": Path("/k"), "x": None}
    assert source(options=options).stored_options() == {"images": "films", "n": 3, "x": None}
    problem = Problem("row 4", "/data/Anna/t.csv and /data/Anna/films/a.png differ.", "left out")
    cleaned = source(options=options).without_folders(problem)
    assert cleaned == Problem("row 4", "t.csv and films/a.png differ.", "left out")
    near = source(path=Path("t.csv"), options={}).without_folders(Problem("a", "t.csv. Bad.", "b"))
    assert near.cause == "t.csv. Bad."
    assert source(path=None, options={}).without_folders(problem).cause == problem.cause


def test_options_of_a_kind() -> None:
    def list_tasks(path: object, images: object = None) -> None: ...

    module: Any = SimpleNamespace(list_tasks=list_tasks)
    request.check_options(module, "coco", {"images": 1, "other_one": None})
    with pytest.raises(UserError, match="The source coco has no option --other-one; leave it out"):
        request.check_options(module, "coco", {"other_one": 0})
    free: Any = SimpleNamespace(list_tasks=lambda path, **options: None)
    request.check_options(free, "phantom", {"other_one": 0})
    assert request.domain_options(module, "coco", Settings()) == {}
    pets = Settings().with_changes("images", subject="any")
    with pytest.raises(UserError, match="The source coco describes mammograms"):
        request.domain_options(module, "coco", pets)
    own: Any = SimpleNamespace(list_tasks=lambda path, domain=None: None)
    assert request.domain_options(own, "manifest", pets) == {"domain": pets.image_domain}
    assert source(options={"domain": pets.image_domain}).shows_breasts is False
    assert source().shows_breasts is True
    with pytest.raises(UserError, match="no source 'x'; choose one of phantom, manifest"):
        request.source_module("x")


def test_entries_of_a_contact_sheet(tmp_path: Path) -> None:
    films = [{"mammogram_id": name, "file": f"f{name}"} for name in ("m1", "m2")]
    for number, name in enumerate(("m1", "m2")):
        np.save(tmp_path / f"f{name}.npy", np.full((2, 2), number, np.uint8))
    findings = [
        {"mammogram_id": "m2", "pathology": "BENIGN", "outline": "[[[1, 2], [3, 4]], [[5, 6]]]"},
        {"mammogram_id": "m1", "pathology": "MALIGNANT", "outline": "[]"},
    ]
    problems = [{"mammogram_id": "m2", "cause": "why"}, {"item": "m1", "cause": "of the source"}]
    records = [{"mammograms": films, "findings": findings}]
    first, second = source_check._record_entries(tmp_path, records, problems)
    assert (first.title, list(first.outlines), first.note) == ("m1", [], "")
    assert (second.title, second.note, second.pixels.tolist()) == ("m2", "why", [[1, 1], [1, 1]])
    assert [(p.tolist(), pathology) for p, pathology in second.outlines] == [
        ([[1, 2], [3, 4]], "BENIGN"),
        ([[5, 6]], "BENIGN"),
    ]


def test_row_of_an_ingestion_and_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = create_study(tmp_path / "study")
    chosen = Settings().with_changes("images", input_side=32)
    calls: list[tuple[int, int, str]] = []
    options = {"patients": 3, "width": 64, "sides": 1}
    add = ingest._add_records

    def fail(*_: object) -> None:
        raise UserError("The disk is gone.")

    monkeypatch.setattr(ingest, "_add_records", fail)
    with pytest.raises(UserError, match="The disk is gone"):
        ingest.ingest(study, chosen, "phantom", None, lambda *c: calls.append(c), **options)
    assert calls == [(n, 3, "patients") for n in (1, 2, 3)]
    (file,) = study.glob("ingest.partial/*/progress.json")
    progress = json.loads(file.read_text())
    keys = ("state", "message", "command", "done", "total", "unit")
    assert [progress[key] for key in keys] == [
        *("failed", "The disk is gone.", "ingest phantom", 3, 3, "patients")
    ]
    monkeypatch.setattr(ingest, "_add_records", add)
    result = ingest.ingest(study, chosen, "phantom", None, no_progress, shard=(2, 2), **options)
    assert (result.patients, result.mammograms, result.inverted_count) == (1, 2, 0)
    assert (result.replaced, result.already_ingested) == (0, False)
    assert not list(study.glob("ingest.partial/*/S*")) and result.source_id.startswith("phantom-")
    with store.read(study) as con:
        (row,) = dataset_table.load_sources(con).to_dict("records")
        assert dataset_table.get_meta(con, "data_hash") == dataset_table.content_hash(con)
        assert dataset_table.load_patients(con)["patient_id"].tolist() == ["S_0002_1"]
        findings = dataset_table.load_findings(con)
    assert result.findings == len(findings)
    assert json.loads(row.pop("options")) == options
    row.pop("made")
    assert row == {
        "source_id": result.source_id, "kind": "phantom", "location": "", "simulated": True,
        "image_labels": False, "patients": 1, "mammograms": 2, "skipped": 0,
        "truth_basis": "synthetic",
    }  # fmt: skip
    again = ingest.ingest(study, chosen, "phantom", None, no_progress, shard=(2, 2), **options)
    assert again.already_ingested and again.source_id == result.source_id
    assert (again.patients, again.mammograms, again.findings) == (1, 2, 0)
    with pytest.raises(UserError, match="phantom holds no patient in part 4 of 4; check"):
        ingest.ingest(study, chosen, "phantom", None, no_progress, shard=(4, 4), **options)


def test_ids_of_repeated_sources() -> None:
    assert ingest._unused_id("a", set()) == "a" and ingest._unused_id("a", {"b"}) == "a"
    assert ingest._unused_id("a", {"a"}) == "a-2"
    assert ingest._unused_id("a", {"a", "a-2", "a-4"}) == "a-3"
