"""Words about cases and findings come to the films of the release."""

from __future__ import annotations

import ast
import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.sources import deepminer_release
from core.sources.records import Mammogram, Patient
from core.sources.release_metadata import film_descriptions
from core.sources.release_metadata.keywords import find_words
from support.paths import REFERENCE
from support.requirements import needs_publication

SHAPE = (60, 40)
FILM = "benign_07-A_1632_1.LEFT_CC.LJPEG.1"
ICS = """ics_version 1.0
filename A-1632-1
PATIENT_AGE {age}
DENSITY 3
DIGITIZER HOWTEK
LEFT_CC LINES 60 PIXELS_PER_LINE 40 BITS_PER_PIXEL 12 RESOLUTION 43.5 OVERLAY
"""


def chain(x: int, y: int, side: int) -> str:
    """Return the chain code of a square; chain codes count pixels from 1."""
    steps = ["2"] * side + ["4"] * side + ["6"] * side + ["0"] * side
    return f"{x + 1} {y + 1} {' '.join(steps)} #"


def overlay(*findings: tuple[str, str, str]) -> str:
    """Return an overlay file of findings (lesion type line, pathology, chain code)."""
    blocks = [
        f"ABNORMALITY {k}\nLESION_TYPE {lesion}\nASSESSMENT {2 + k}\nSUBTLETY 4\n"
        f"PATHOLOGY {pathology}\nTOTAL_OUTLINES 1\nBOUNDARY\n{code}\n"
        for k, (lesion, pathology, code) in enumerate(findings, start=1)
    ]
    return f"TOTAL_ABNORMALITIES {len(findings)}\n" + "".join(blocks)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One film with a benign finding at (10, 10) and a malignant one at (20, 40)."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:19, 10:19], mask[40:49, 20:29] = 1, 2
    for folder in ("ddsm_raw", "ddsm_masks/3class"):
        (tmp_path / folder).mkdir(parents=True)
    film = np.random.default_rng(1).integers(0, 255, SHAPE).astype(np.uint8)
    Image.fromarray(film).save(tmp_path / "ddsm_raw" / f"{FILM}.jpg")
    Image.fromarray(mask).save(tmp_path / "ddsm_masks/3class" / f"{FILM}.png")
    return tmp_path


def read(root: Path) -> tuple[Patient, Mammogram]:
    [task], _ = deepminer_release.list_tasks(root)
    patient = deepminer_release.read_patient(task)
    return patient, patient.mammograms[0]


def words_of(film: Mammogram) -> list[tuple[Any, ...]]:
    return [(f.pathology, f.descriptors, f.assessment, f.subtlety) for f in film.findings]


EXPECTED = [
    ("BENIGN", {"type": "AMORPHOUS", "distribution": "CLUSTERED"}, 3, 4),
    ("MALIGNANT", {"shape": "OVAL", "margins": "SPICULATED"}, 4, 4),
]
CALCIFICATION = "CALCIFICATION TYPE AMORPHOUS DISTRIBUTION CLUSTERED"
MASS = "MASS SHAPE OVAL MARGINS SPICULATED"


def test_overlay_and_ics_files(root: Path) -> None:
    plain = read(root)[1].findings
    assert [finding.report for finding in plain] == ["", ""]
    folder = root / "archive" / "benigns" / "benign_07" / "case1632"
    folder.mkdir(parents=True)
    file = folder / "A_1632_1.LEFT_CC.OVERLAY"
    file.write_text(
        overlay((CALCIFICATION, "BENIGN", chain(10, 10, 8)), (MASS, "MALIGNANT", chain(20, 40, 8)))
    )
    (folder / "A-1632-1.ics").write_text(ICS.format(age=61))
    patient, film = read(root)
    assert (patient.age, patient.density) == (61, 3)
    assert words_of(film) == EXPECTED and patient.problems[1:] == ()
    assert film.findings[1].report == (
        f"LESION_TYPE {MASS} ASSESSMENT 4 SUBTLETY 4 PATHOLOGY MALIGNANT"
    )
    # Outlines and pathologies stay those of the mask.
    for ours, theirs in zip(film.findings, plain):
        assert ours.pathology == theirs.pathology and all(
            np.array_equal(a, b) for a, b in zip(ours.outline, theirs.outline)
        )
    [task], _ = deepminer_release.list_tasks(root)
    assert {file, folder / "A-1632-1.ics"} <= set(deepminer_release.task_files(task))
    # Two overlays of one film with different content, neither in the folder of the film's volume.
    for name in ("one", "two"):
        (root / name).mkdir()
        (root / name / file.name).write_text(file.read_text() + name)
    assert words_of(read(root)[1]) == EXPECTED
    file.unlink()
    with pytest.raises(UserError, match="describe the same film differently"):
        read(root)


def test_location_decides_where_the_order_differs(root: Path) -> None:
    (root / "overlays").mkdir()
    file = root / "overlays" / "A_1632_1.LEFT_CC.OVERLAY"
    file.write_text(
        overlay(
            (MASS, "MALIGNANT", chain(20, 40, 8)),
            (CALCIFICATION, "MALIGNANT", chain(10, 10, 8)),
            ("MASS SHAPE ROUND MARGINS N/A", "BENIGN", chain(1, 50, 4)),
        )
    )
    patient, film = read(root)
    first, second = film.findings
    assert first.descriptors["type"] == "AMORPHOUS" and second.descriptors["shape"] == "OVAL"
    causes = [problem.cause for problem in patient.problems]
    assert any("the mask says BENIGN, the description MALIGNANT" in cause for cause in causes)
    # A description of another place keeps its text with the film, and gives no descriptor.
    assert any("1 of 3 descriptions match no single part" in cause for cause in causes)
    assert "ROUND" in first.report and "shape" not in first.descriptors


@pytest.mark.parametrize("form", ["films", "cases", "list", "overlay"])
def test_meta_data(root: Path, form: str) -> None:
    findings = [
        {"LESION_TYPE": CALCIFICATION, "ASSESSMENT": 3, "SUBTLETY": 4, "PATHOLOGY": "BENIGN"},
        {
            "lesion_type": "MASS",
            "shape": "OVAL",
            "margins": "SPICULATED",
            "assessment": np.int64(4),
            "subtlety": 4.0,
            "pathology": "malignant",
        },
    ]
    case = {"age": 61, "density": 3}
    text = overlay((CALCIFICATION, "BENIGN", ""), (MASS, "MALIGNANT", ""))
    content: Any = {
        "films": {FILM: {**case, "abnormalities": findings}},
        "cases": {"A-1632-1": {**case, "LEFT_CC": {"findings": dict(enumerate(findings))}}},
        "list": [{"image": f"{FILM}.jpg", **case, "lesions": np.array(findings, object)}],
        "overlay": {"A_1632_1": {**case, "A_1632_1.LEFT_CC.OVERLAY": text}},
    }[form]
    joblib.dump(content, root / "ddsm_meta_data.joblib", compress=3)
    patient, film = read(root)
    assert (patient.age, patient.density) == (61, 3) and words_of(film) == EXPECTED
    assert film.findings[1].report.endswith("ASSESSMENT 4 SUBTLETY 4 PATHOLOGY MALIGNANT")


def published_lines(*findings: tuple[int, str, str]) -> list[list[str]]:
    """Return abnormalities as the published file lists them; core outlines follow as own parts."""
    blocks = [
        [
            f"ABNORMALITY {k} ",
            f"LESION_TYPE {lesion}",
            f"ASSESSMENT {assessment} ",
            "SUBTLETY 4 ",
            f"PATHOLOGY {pathology}",
            "TOTAL_OUTLINES 2 ",
            "BOUNDARY",
        ]
        for k, (assessment, lesion, pathology) in enumerate(findings, start=1)
    ]
    return [*blocks, ["\tCORE"]]


@pytest.mark.parametrize("folder", ["", "deepminer/data", "../deepminer/data"])
def test_published_form_and_place(root: Path, folder: str) -> None:
    # The films lie in `data` of the published repository, the words in `deepminer/data`.
    data = root / "data"
    data.mkdir()
    for name in ("ddsm_raw", "ddsm_masks"):
        (root / name).rename(data / name)
    lines = published_lines((3, CALCIFICATION, "BENIGN"), (4, MASS, "MALIGNANT"))
    other = published_lines((5, MASS, "MALIGNANT"))
    content = {
        "meta": {
            f"benigns/{FILM}.jpg": lines,
            # The same film in another volume, and a film that is not at hand.
            f"cancers/cancer_03-{FILM.partition('-')[2]}.jpg": lines,
            "cancers/cancer_01-B_3084_1.RIGHT_CC.LJPEG.1.jpg": other,
        }
    }
    (data / folder).mkdir(parents=True, exist_ok=True)
    joblib.dump(content, data / folder / "ddsm_meta_data.jbl")
    patient, film = read(data)
    assert words_of(film) == EXPECTED and patient.problems[1:] == ()
    assert film.findings[0].report == (
        f"LESION_TYPE {CALCIFICATION} ASSESSMENT 3 SUBTLETY 4 PATHOLOGY BENIGN"
    )
    joblib.dump(content, data / "ddsm_meta_data")
    if folder:
        with pytest.raises(UserError, match="describe the same films; keep one of them"):
            read(data)


def test_equal_abnormalities_of_one_film_count_each() -> None:
    lines = published_lines((4, MASS, "MALIGNANT"), (4, MASS, "MALIGNANT"))
    words = find_words({"meta": {FILM: lines, f"benigns/{FILM}.jpg": lines}}, "")
    assert [finding.number for finding in words.findings["A_1632_1.LEFT_CC"]] == [1, 2]


@needs_publication
def test_every_published_report_is_read() -> None:
    key = REFERENCE / "published_study" / "explanations-benchmark-answer-key.csv"
    with key.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    reports = {f"films/{row['Image Name']}": ast.literal_eval(row["GT Report"]) for row in rows}
    words = find_words({"meta": reports}, key.name)
    assert len(rows) == 416 and len(words.findings) >= 400
    for name, lines in reports.items():
        match = re.search(r"-(\w_\d+_\d+\.\w+)\.LJPEG", name)
        assert match is not None
        stated = [line for block in lines for line in block if line.startswith("PATHOLOGY")]
        found = words.findings[match[1]]
        assert {f"PATHOLOGY {finding.pathology}" for finding in found} >= {
            line.strip() for line in stated
        }
        assert all(finding.assessment is not None and finding.report for finding in found)


def test_descriptions_that_cannot_be_told_apart(root: Path) -> None:
    findings = [{"LESION_TYPE": MASS, "PATHOLOGY": "MALIGNANT"}] * 2
    joblib.dump({FILM: findings}, root / "ddsm_meta_data")
    patient, film = read(root)
    assert all(not finding.descriptors for finding in film.findings)
    # The film keeps its text, once for each description.
    assert " ".join(f.report for f in film.findings).count("SPICULATED") == 2
    assert any("2 of 2 descriptions" in problem.cause for problem in patient.problems)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"version": 3}, "names no film of DDSM .* holds 'version'"),
        ([1, 2], "a value of the type list"),
        ({FILM: {"ASSESSMENT": 9}}, "the assessment is '9'"),
        ({FILM: {"PATHOLOGY": "ODD"}}, "unknown pathology 'ODD'"),
        ({"A_1632_1": {"PATHOLOGY": "BENIGN"}}, "belongs to no film"),
        ({FILM: {"AGE": 50}, "A_1632_1": {"AGE": 51}}, "two ages, 50 and 51"),
    ],
)
def test_faults_of_meta_data(root: Path, content: Any, message: str) -> None:
    joblib.dump(content, root / "ddsm_meta_data.pkl")
    with pytest.raises(UserError, match=message):
        read(root)


def test_contradicting_age(root: Path) -> None:
    joblib.dump({"A_1632_1": {"AGE": 50}}, root / "ddsm_meta_data")
    (root / "A-1632-1.ics").write_text(ICS.format(age=61))
    with pytest.raises(UserError, match="gives the age 50, A-1632-1.ics gives 61"):
        read(root)


@pytest.mark.parametrize(
    ("field", "lowest", "highest"),
    [("AGE", 1, 120), ("DENSITY", 1, 4), ("ASSESSMENT", 0, 5), ("SUBTLETY", 1, 5)],
)
def test_ranges_of_numbers(field: str, lowest: int, highest: int) -> None:
    def value(number: float) -> int | None:
        words = find_words({FILM: {"PATHOLOGY": "BENIGN", field: number}}, "file")
        case, [finding] = "A_1632_1", words.findings["A_1632_1.LEFT_CC"]
        if field in ("AGE", "DENSITY"):
            return (words.ages if field == "AGE" else words.densities).get(case)
        return getattr(finding, field.lower())

    assert value(lowest) == lowest and value(highest) == highest
    assert value(0) == (0 if field == "ASSESSMENT" else None)
    for wrong in (-1, highest + 1, highest - 0.5):
        with pytest.raises(UserError, match=f"the {field.lower()} is '{wrong}'.*to {highest}"):
            value(wrong)


def test_words_of_a_finding() -> None:
    [finding] = find_words({FILM: {"subtlety": 0, "assessment": 0}}, "").findings[
        "A_1632_1.LEFT_CC"
    ]
    assert replace(finding, report="").assessment == 0 and finding.subtlety is None


def test_text_files_beside_the_films(tmp_path: Path) -> None:
    """Folders of images are not searched: they hold ten thousands of files."""
    for name in ("a.OVERLAY", "b.ics", "c.txt", "x/y/d.Ics", "x/e.png", "ddsm_raw/f.overlay"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "x" / "g.overlay").mkdir()
    (tmp_path / "h.ics").mkdir()
    found = {file.name for file in film_descriptions._text_files(tmp_path)}
    assert found == {"a.OVERLAY", "b.ics", "d.Ics"}
