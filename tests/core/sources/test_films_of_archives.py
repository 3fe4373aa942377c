"""Films of DDSM, of the published release and of a table, with decoded images in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.class_labels import ImageDomain
from core.errors import UserError
from core.images.decoding import DecodedImage
from core.sources import ddsm, ddsm_metadata, deepminer_release, manifest, manifest_cells
from core.sources.csv_table import CsvRow
from core.sources.ddsm_metadata import DdsmCase, FilmLine, Overlay
from core.sources.deepminer_release import ReleaseImage
from core.sources.dicom_folder import pseudonyms, truth_table
from core.sources.records import Finding, Problem

SQUARE = np.array([[2, 2], [6, 2], [6, 8], [2, 8]], float)
INNER = np.array([[3, 3], [5, 3], [5, 5]], float)


def line(**changes: Any) -> FilmLine:
    fields: dict[str, Any] = {
        "view": "LEFT_CC", "lines": 20, "pixels_per_line": 10, "bits": 12, "resolution": 50.0,
        "overlay": True,
    }  # fmt: skip
    return FilmLine(**(fields | changes))


def case(**changes: Any) -> DdsmCase:
    fields: dict[str, Any] = {
        "id": "B_3013_1", "institution": "B", "age": 50, "density": 2, "digitizer": "OTHER",
        "films": (line(),),
    }  # fmt: skip
    return DdsmCase(**(fields | changes))


@pytest.mark.parametrize(
    ("bits", "brightest", "maximum"),
    [(12, 4095, 4095), (12, 4096, 65535), (13, 100, 65535), (8, 100, 4095)],
)
def test_white_of_a_film_without_a_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, brightest: int, maximum: int
) -> None:
    file = tmp_path / "f.LJPEG"
    file.write_bytes(b"coded")
    grey = np.array([[1, brightest]], np.uint16)
    asked: list[Any] = []
    monkeypatch.setattr(ddsm.ljpeg, "decode", lambda *given: asked.append(given) or grey)
    film = ddsm._read_ljpeg_film(case(), line(bits=bits), file)
    assert film.maximum == maximum and film.pixels is grey and asked == [(b"coded", 20, 10)]
    assert film.file_hash == hashlib.sha256(b"coded").hexdigest()
    scanner = "no optical density formula for scanner 'OTHER' of institution B"
    assert film.warnings == ((scanner, "grey levels used unchanged"),)
    known = ddsm._read_ljpeg_film(case(digitizer="LUMISYS"), line(bits=bits), file)
    # By the formula of LUMISYS, whose range begins at 61: a density of nearly 4, nearly black.
    darkest = round((1 - (61 - 4096.99) / -1009.01 / 4) * 65535)
    assert known.maximum == 65535 and known.warnings == ()
    assert known.pixels[0, 0] == darkest == 1


@pytest.mark.parametrize(
    ("bits", "brightest", "decoded_maximum", "maximum"),
    [
        (12, 4095, 65535, 4095), (12, 4096, 65535, 65535), (9, 511, 65535, 511),
        (8, 200, 65535, 65535), (12, 200, 255, 255),
    ],
)  # fmt: skip
def test_white_of_converted_films(
    monkeypatch: pytest.MonkeyPatch, bits: int, brightest: int, decoded_maximum: int, maximum: int
) -> None:
    pixels = np.zeros((20, 10), np.uint16)
    pixels[0, 0] = brightest
    image = DecodedImage(pixels=pixels, maximum=decoded_maximum, file_hash="h")
    monkeypatch.setattr(ddsm, "read_image", lambda path: image)
    film = ddsm._read_converted_film(case(), line(bits=bits), Path("f.png"))
    assert (film.maximum, film.file_hash) == (maximum, "h")
    action = "grey levels used unchanged, not as optical density"
    assert film.warnings == (("converted film (.png)", action),)


def test_ends_of_the_density_formulas() -> None:
    """Grey levels beyond the fitted range count as its ends."""
    for institution, digitizer, low, high in (
        *(("A", "DBA", 4, 64064), ("A", "HOWTEK", 0, 4006), ("D", "HOWTEK", 0, 4003)),
        *(("B", "LUMISYS", 61, 4097), ("C", "LUMISYS", 61, 4097)),
    ):
        levels = np.array([max(low - 1, 0), low, low + 1, high - 1, high, high + 1])
        density = ddsm.optical_density(levels, institution, digitizer)
        assert density is not None and density[4] == density[5] and density[3] > density[4]
        assert density[1] > density[2] and density[0] == density[1]
    assert ddsm.optical_density(np.array([5]), "B", "HOWTEK") is None
    assert ddsm.optical_density(np.array([5]), "D", "LUMISYS") is None


def test_findings_on_a_smaller_film() -> None:
    finding = Finding(number=3, pathology="BENIGN", outline=(SQUARE,), nested=(INNER,))
    overlay = Overlay((finding,), (Problem("o", "p", "q"),))
    (same,), problems = ddsm._fit_findings(line(), overlay, "n", (1, 1))
    assert np.array_equal(same.outline[0], SQUARE) and problems == [Problem("o", "p", "q")]
    (half,), _ = ddsm._fit_findings(line(), overlay, "n", (0.5, 0.25))
    # Corners at (x + .5) f - .5.
    expected = (SQUARE + 0.5) * (0.5, 0.25) - 0.5
    assert half.outline[0] == pytest.approx(expected) and half.number == 3
    assert half.nested[0] == pytest.approx((INNER + 0.5) * (0.5, 0.25) - 0.5)
    assert ddsm._fit_findings(line(), None, "n", (1, 1)) == ([], [])
    far = Overlay((Finding(number=3, pathology="BENIGN", outline=(SQUARE + 100,)),))
    _, (problem,) = ddsm._fit_findings(line(), far, "n", (1, 1))
    assert problem.item == "n, abnormality 3"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("overlay", [None, Overlay(())])
def test_films_with_and_without_an_overlay(
    monkeypatch: pytest.MonkeyPatch, announced: bool, overlay: Overlay | None
) -> None:
    film = ddsm._Film(
        pixels=np.zeros((10, 5), np.uint8),
        maximum=255,
        file_hash="h",
        warnings=(("cause", "action"),),
    )
    monkeypatch.setattr(ddsm, "_film_file", lambda *given: Path("x.png"))
    monkeypatch.setattr(ddsm, "_read_converted_film", lambda *given: film)
    found, problems = ddsm._read_mammogram(case(), line(overlay=announced), Path("c.ics"), overlay)
    expected = [Problem("B_3013_1.LEFT_CC", "cause", "action")]
    if announced and overlay is None:
        cause = "the .ics file announces an overlay that is missing"
        action = "no findings and no patch labels for this film"
        expected.append(Problem("B_3013_1.LEFT_CC", cause, action))
    if overlay is not None and not announced:
        cause = "an overlay that the .ics file does not announce"
        expected.append(Problem("B_3013_1.LEFT_CC", cause, "overlay used"))
    assert problems == expected
    assert found.unlocated is (announced and overlay is None)
    assert (found.id, found.laterality, found.view) == ("B_3013_1.LEFT_CC", "LEFT", "CC")
    # Half the pixels, each of 2 x 50 micrometres.
    assert (found.pixel_mm, found.scanner, found.maximum) == (0.1, "B OTHER", 255)
    assert (found.file_hash, found.source_file) == ("h", "x.png")


def test_lines_of_an_abnormality() -> None:
    block = [
        "LESION_TYPE MASS SHAPE OVAL", "LESION_TYPE CALCIFICATION SHAPE ROUND", "ASSESSMENT 0",
        "SUBTLETY 6 of 5", "PATHOLOGY benign", "TOTAL_OUTLINES 3", "BOUNDARY",
        "11 21 2 2 4 4 6 6 0 0 #",
        "CORE 12 22 9 #", "OTHER words",
    ]  # fmt: skip
    parts = ddsm_metadata._Abnormality.from_lines(block)
    assert parts.chains == [("BOUNDARY", "11 21 2 2 4 4 6 6 0 0 #"), ("CORE", "12 22 9 #")]
    assert parts.values == {
        "ASSESSMENT": "0", "SUBTLETY": "6 of 5", "PATHOLOGY": "benign", "TOTAL_OUTLINES": "3",
        "OTHER": "words",
    }  # fmt: skip
    assert parts.descriptors == {"shape": "OVAL+ROUND"} and parts.report == block[:5]
    finding, problems = ddsm_metadata._parse_finding(2, block, "f")
    assert (finding.number, finding.lesion_type) == (2, "MASS+CALCIFICATION")
    assert (finding.assessment, finding.subtlety, finding.pathology) == (0, None, "BENIGN")
    assert len(finding.outline) == 1 and finding.nested == ()
    assert finding.report == " ".join(block[:5])
    item = "f, abnormality 2"
    assert [(p.item, p.cause.partition(":")[0], p.action) for p in problems] == [
        (item, "CORE", "outline left out"),
        (item, "TOTAL_OUTLINES is 3, but 2 are given", "the given ones are used"),
        (item, "SUBTLETY is '6 of 5', beyond 0 to 5", "treated as unknown"),
    ]
    five = [text.replace("6 of 5", "5") for text in block]
    assert ddsm_metadata._parse_finding(2, five, "f")[0].subtlety == 5
    bare, problems = ddsm_metadata._parse_finding(1, ["PATHOLOGY BENIGN"], "f")
    assert (bare.assessment, bare.lesion_type, bare.outline) == (None, "", ())
    cause, action = "no outline", "the finding is kept without an outline"
    assert problems == [Problem("f, abnormality 1", cause, action)]


def release_image(name: str, **changes: Any) -> ReleaseImage:
    fields: dict[str, Any] = {"mask": None, "split": "train"}
    return ReleaseImage(name, Path(f"{name}.jpg"), **(fields | changes))


CANCER = release_image("cancer_11-C_1632_1.RIGHT_MLO.LJPEG.1")
CALLBACK = release_image("benign_without_callback_02-C_1632_1.RIGHT_MLO.LJPEG.1")
NORMAL = release_image("normal_01-C_1632_1.RIGHT_MLO.LJPEG.1")


@pytest.mark.parametrize(
    ("image", "values", "classes", "causes"),
    [
        (CANCER, [0, 1, 2], [(1, "BENIGN"), (2, "MALIGNANT")], []),
        (CALLBACK, [0, 1], [(1, "BENIGN_WITHOUT_CALLBACK")], []),
        (CANCER, [0], [], []),
        (
            CANCER, [0, 3, 9], [(3, "BENIGN"), (9, "MALIGNANT")],
            [
                ("mask values [3, 9] instead of 1 and 2",
                 "the lower is interpreted as benign, the higher as malignant"),
            ],
        ),
        (
            CALLBACK, [0, 255], [(255, "BENIGN_WITHOUT_CALLBACK")],
            [
                ("mask value 255 instead of 1 or 2",
                 "interpreted as BENIGN_WITHOUT_CALLBACK from the volume of the film"),
            ],
        ),
        (
            NORMAL, [7], [(7, "UNPROVEN")],
            [("mask value 7 instead of 1 or 2",
              "interpreted as NORMAL from the volume of the film")],
        ),
    ],
)  # fmt: skip
def test_classes_of_a_mask(
    image: ReleaseImage, values: list[int], classes: list, causes: list
) -> None:
    problems: list[Problem] = []
    assert deepminer_release._mask_classes(image, np.array([values]), problems) == classes
    assert problems == [Problem(image.name, cause, action) for cause, action in causes]
    with pytest.raises(UserError, match="holds 3 values where 1"):
        deepminer_release._mask_classes(image, np.array([[1, 2, 3]]), [])


def test_film_of_the_release() -> None:
    film = DecodedImage(pixels=np.ones((4, 3), np.uint8), maximum=255, file_hash="h")
    found = deepminer_release._mammogram("C_1632_1.RIGHT_MLO", CANCER, film, [CANCER], [])
    # The letter of the institution is what the release keeps of the scanner.
    assert (found.scanner, found.laterality, found.view) == ("C", "RIGHT", "MLO")
    assert (found.id, found.findings, found.source_file) == (
        *("C_1632_1.RIGHT_MLO", ()),
        "cancer_11-C_1632_1.RIGHT_MLO.LJPEG.1.jpg",
    )


def test_files_that_are_no_films(tmp_path: Path) -> None:
    (tmp_path / "ddsm_raw").mkdir()
    for name in ("other", CANCER.name):
        (tmp_path / "ddsm_raw" / f"{name}.jpg").touch()
    (tmp_path / "ddsm_raw_image_lists").mkdir()
    lists = tmp_path / "ddsm_raw_image_lists"
    for name, text in (("train", f"a/b/{CANCER.name}.jpg x"), ("val", "absent.jpg"), ("test", "")):
        (lists / f"{name}.txt").write_text(text)
    fault = f"1 of 2 listed films are not in {tmp_path / 'ddsm_raw'}, the first is absent.jpg"
    with pytest.raises(UserError, match="complete the download"):
        deepminer_release.list_tasks(tmp_path)
    (task,), problems = deepminer_release.list_tasks(tmp_path, skip_bad=True)
    assert problems == [
        Problem("other.jpg", "not a file name of the release", "ignored", skipped=True),
        Problem("ddsm_raw", fault, "left out", skipped=True),
    ]
    assert [(image.name, image.split) for image in task.images] == [(CANCER.name, "train")]


def row(number: int = 2, table: Path = Path("t.csv"), **cells: str) -> CsvRow:
    return CsvRow(table, number, {"image": "a.png", "pathology": "BENIGN"} | cells)


@pytest.mark.parametrize(
    ("subject", "inversion", "is_inverted"),
    [
        ("breast", "automatic", True), ("breast", "never", False), ("any", "automatic", False),
        ("any", "never", False),
    ],
)  # fmt: skip
def test_which_images_are_inverted(
    monkeypatch: pytest.MonkeyPatch, subject: str, inversion: str, is_inverted: bool
) -> None:
    image = DecodedImage(pixels=np.ones((4, 3), np.uint8), maximum=255, file_hash="h")
    monkeypatch.setattr(manifest, "read_image", lambda path, colour: image)
    inverted: list[Any] = []
    monkeypatch.setattr(
        manifest, "ensure_positive_polarity", lambda given: inverted.append(given) or given
    )
    domain = ImageDomain(subject=subject, inversion=inversion)
    task = manifest.ManifestTask("P", (), image_labels=True, domain=domain)
    film, _ = manifest._read_mammogram(task, Path("a.png"), [row()], set())
    assert bool(inverted) is is_inverted and film.whole_image is (subject == "any")
    assert film.image_label == "BENIGN"


@pytest.mark.parametrize(("column", "low", "high"), [("assessment", 0, 6), ("subtlety", 1, 5)])
def test_scales_of_a_finding(column: str, low: int, high: int) -> None:
    image = DecodedImage(pixels=np.ones((40, 30), np.uint8), maximum=255, file_hash="h")

    def read(text: str) -> Any:
        cells = {"outline": "box 2 2 9 9", column: text}
        return getattr(manifest._finding(4, row(**cells), image, ImageDomain())[0], column)

    assert (read(str(low)), read(str(high)), read("")) == (low, high, None)
    for text in (str(low - 1), str(high + 1)):
        with pytest.raises(UserError, match=f"{column} is '{text}'"):
            read(text)


def test_files_that_cells_name(tmp_path: Path) -> None:
    given = row(table=tmp_path / "t.csv")
    (tmp_path / "a").mkdir()
    for name in ("a/m.png", "x\\y.png"):
        (tmp_path / name).touch()
    path = manifest_cells._cell_path
    assert path(given, "a\\m.png") == path(given, "a/m.png") == tmp_path / "a" / "m.png"
    # A file whose very name has the separator counts.
    assert path(given, "x\\y.png") == tmp_path / "x\\y.png"
    assert path(given, "n\\o.png") == tmp_path / "n" / "o.png"
    assert not manifest_cells.is_file(tmp_path / ("x" * 5000))


def test_truth_table_assessments_and_keys(tmp_path: Path) -> None:
    for text, fits in (("0", True), ("6", True), ("7", False), ("-1", False)):
        cells = {"pathology": "BENIGN", "assessment": text}
        given = CsvRow(Path("t.csv"), 2, cells)
        if fits:
            truth_table._check_row(given, truth_table.STUDY)
            assert truth_table._finding(given).assessment == int(text)
        else:
            with pytest.raises(UserError, match=f"assessment is '{text}'"):
                truth_table._check_row(given, truth_table.STUDY)
    header: Any = SimpleNamespace(sop_instance="I", study="S", accession="A")
    for kind, key in (("sop_instance", "I"), ("study", "S"), ("accession", "A")):
        table = truth_table.TruthTable(kind, {"I": [], "S": [], "A": []}, False, [])
        assert table.keys_of(header) == [key]
    default = pseudonyms.DEFAULT_KEY_FILE.relative_to(Path.home())
    assert default.parts == (".config", "deepminer", "pseudonym.key")
    key = pseudonyms.load_key(tmp_path / "a" / "b" / "key")
    assert len(key) == 64
    with pytest.raises(UserError, match="cannot be read or created"):
        pseudonyms.load_key(tmp_path / "a")
