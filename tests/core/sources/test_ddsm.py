from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources import ddsm
from core.sources.ddsm_metadata import DDSM_VIEWS, parse_overlay, read_ics
from core.sources.ddsm_outlines import parse_chain_code
from core.sources.records import Finding
from support.ddsm_cases import LINES, PIXELS, SQUARE, create_cases, grey, make_case, mass, overlay
from support.paths import SAMPLES
from support.requirements import needs_samples


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    create_cases(tmp_path)
    return tmp_path


def test_read_archive_layout(tree: Path) -> None:
    tasks, problems = ddsm.list_tasks(tree)
    assert [task.patient for task in tasks] == ["B_3013_1", "C_0200_1"] and problems == []
    one, two = (ddsm.read_patient(task) for task in tasks)
    assert [m.id for m in one.mammograms] == [f"B_3013_1.{view}" for view in DDSM_VIEWS]
    assert (one.age, one.density, one.filed_as, two.filed_as) == (42, 3, "MALIGNANT", "BENIGN")
    cc, mlo, *right = one.mammograms
    assert [f.pathology for f in cc.findings] == ["BENIGN", "UNPROVEN"] and [
        f.pathology for f in mlo.findings
    ] == ["MALIGNANT"]
    assert not any(m.findings or m.unlocated for m in right)
    benign, unproven = cc.findings
    assert (
        benign.descriptors
        == {
            "shape": "IRREGULAR-ARCHITECTURAL_DISTORTION",
            "margins": "SPICULATED",
        }
        and benign.lesion_type == "MASS"
    )
    assert (benign.assessment, benign.subtlety, len(benign.outline), len(benign.nested)) == (
        5,
        4,
        1,
        1,
    )
    assert (
        unproven.lesion_type == "CALCIFICATION+MASS"
        and unproven.descriptors["type"] == "PLEOMORPHIC"
        and unproven.nested == ()
    )
    mask = fill_polygons(benign.outline, (LINES, PIXELS))
    assert mask.sum() == 100 and mask[20:30, 10:20].all()
    assert (
        unproven.outline[0].max(0).tolist() == [PIXELS - 1, 12] and (unproven.outline[0] >= 0).all()
    )
    message = [f"{p.item}: {p.cause}" for p in one.problems]
    assert len(message) == 4, message
    stray = "stray file B_3013_1.LEFT_CC"
    for part in (
        f"{stray}.OVERLAY~",
        f"{stray}.LJPEG.1",
        "TOTAL_OUTLINES is 3, but 2",
        "abnormality 2: a chain leaves",
    ):
        assert any(part in text for text in message), part
    assert not any(m.findings for m in two.mammograms) and all(m.unlocated for m in two.mammograms)
    causes = [p.cause for p in two.problems]
    assert (
        len(causes) == 2
        and "overlay that is missing" in causes[0]
        and "without any overlay" in causes[1]
    )


def test_paths_as_text(tree: Path) -> None:
    folder = tree / "cases" / "cancers" / "cancer_01" / "case3013"
    ics, over = next(folder.glob("*.ics")), next(folder.glob("*LEFT_CC.OVERLAY"))
    assert (
        ddsm.read_ics(str(ics)) == ddsm.read_ics(ics)
        and len(ddsm.read_overlay(str(over))) == len(ddsm.read_overlay(over)) == 2
    )


def test_brightness_is_linear_in_optical_density(tree: Path) -> None:
    film = ddsm.read_patient(ddsm.list_tasks(tree)[0][0]).mammograms[0]
    assert (
        film.pixels.shape == (LINES, PIXELS)
        and film.pixels.dtype == np.uint16
        and film.maximum == 65535
    )
    density = ddsm.optical_density(grey(0), "B", "LUMISYS")
    assert density is not None
    np.testing.assert_allclose(film.pixels, (1 - density / 4) * 65535, atol=0.51)
    assert (film.pixel_mm, film.scanner, film.source_file) == (
        0.05,
        "B LUMISYS",
        "B_3013_1.LEFT_CC.LJPEG",
    ) and len(film.file_hash) == 64


@pytest.mark.parametrize(
    ("institution", "digitizer", "grey_level", "density"),
    [
        ("A", "DBA", 64064, 0.0),
        ("A", "DBA", 0, 3.9094),
        ("A", "DBA", 6400, 0.93018),
        ("A", "HOWTEK", 2000, 1.89764),
        ("A", "HOWTEK", 65535, 0.00060),
        ("D", "HOWTEK", 2000, 1.98492),
        ("D", "HOWTEK", 4090, 0.00084),
        ("B", "LUMISYS", 61, 4.0000),
        ("C", "LUMISYS", 4097, 0.0),
        ("C", "LUMISYS", 2000, 2.07825),
    ],
)
def test_optical_density_formulas(
    institution: str, digitizer: str, grey_level: int, density: float
) -> None:
    got = ddsm.optical_density(np.array([grey_level]), institution, digitizer)
    assert got is not None and got[0] == pytest.approx(density, abs=2e-4)
    levels = ddsm.optical_density(np.arange(65536), institution, digitizer)
    assert levels is not None and (np.diff(levels) <= 0).all(), (
        "a brighter level has a lower density"
    )


def test_scanner_without_formula(tmp_path: Path) -> None:
    make_case(tmp_path / "case1", "D-0001-1", {}, digitizer="LUMISYS")
    patient = ddsm.read_patient(ddsm.list_tasks(tmp_path)[0][0])
    assert ddsm.optical_density(np.zeros(1), "D", "LUMISYS") is None
    assert (
        (patient.mammograms[0].pixels == grey(0)).all()
        and patient.mammograms[0].maximum == 4095
        and patient.filed_as is None
    )
    assert len(patient.problems) == 4 and "no optical density formula" in patient.problems[0].cause


def test_converted_films(tree: Path) -> None:
    folder = tree / "cases" / "cancers" / "cancer_01" / "case3013"
    for view, suffix, size in (
        ("LEFT_CC", "png", (20, 30)),
        ("LEFT_MLO", "LJPEG.1.jpg", (40, 60)),
        ("RIGHT_CC", "tif", (40, 60)),
    ):
        (folder / f"B_3013_1.{view}.LJPEG").unlink()
        Image.fromarray((grey(0) // 16).astype(np.uint8)).resize(size).save(
            folder / f"B_3013_1.{view}.{suffix}"
        )
    patient = ddsm.read_patient(ddsm.list_tasks(tree)[0][0])
    half, full, plain, _ = patient.mammograms
    assert (
        half.pixels.shape == (30, 20)
        and half.pixel_mm == pytest.approx(0.1)
        and full.pixels.shape == (60, 40) == plain.pixels.shape
    )
    mask = fill_polygons(half.findings[0].outline, half.pixels.shape)
    ys, xs = np.nonzero(mask)
    assert (ys.mean(), xs.mean()) == pytest.approx(
        (12.25, 7.25), abs=0.5
    ) and 20 <= mask.sum() <= 36
    assert fill_polygons(full.findings[0].outline, full.pixels.shape).sum() == 100
    assert sum("converted" in p.cause for p in patient.problems) == 4
    Image.new("L", (30, 30)).save(folder / "B_3013_1.LEFT_CC.png")
    with pytest.raises(UserError, match="cropped or rotated"):
        ddsm.read_patient(ddsm.list_tasks(tree)[0][0])


def test_scales_out_of_range() -> None:
    words = (
        mass("BENIGN")
        .replace("ASSESSMENT 5", "ASSESSMENT 99999999999999999999")
        .replace("SUBTLETY 4", "SUBTLETY 7")
    )
    (finding,), problems = (
        (parsed := parse_overlay(overlay(words).splitlines(), "x.OVERLAY")).findings,
        parsed.problems,
    )
    assert (finding.assessment, finding.subtlety) == (None, None)
    assert [p.cause for p in problems] == [
        "ASSESSMENT is '99999999999999999999', beyond 0 to 5",
        "SUBTLETY is '7', beyond 0 to 5",
    ]


def test_truth_by_rule() -> None:
    findings = tuple(
        Finding(number=number, pathology=pathology)
        for number, pathology in enumerate(("BENIGN", "MALIGNANT", "UNPROVEN"), start=1)
    )
    assert ddsm.truth_by_rule(findings, "MALIGNANT") == {
        "folder": "MALIGNANT",
        "first_abnormality": "BENIGN",
        "any_malignant": "MALIGNANT",
    }
    assert ddsm.truth_by_rule(findings[2:], "BENIGN") == {
        "folder": "BENIGN",
        "first_abnormality": "UNPROVEN",
        "any_malignant": "UNPROVEN",
    }
    assert ddsm.truth_by_rule((), None) == {
        "folder": "UNKNOWN",
        "first_abnormality": "NORMAL",
        "any_malignant": "NORMAL",
    }


@needs_samples
def test_published_outline_matches_mask() -> None:
    (finding,) = ddsm.read_overlay(
        SAMPLES / "ddsm" / "B_3013_1.RIGHT_MLO.OVERLAY.abnormality1_only"
    )
    assert (
        finding.pathology,
        finding.assessment,
        finding.subtlety,
        finding.descriptors["margins"],
    ) == ("MALIGNANT", 5, 5, "SPICULATED")
    with Image.open(SAMPLES / "ddsm" / "masks" / "B_3013_1.RIGHT_MLO_MALIGNANT0.mask.png") as image:
        mask = np.asarray(image) > 0
    filled = ddsm.fill_outline(finding.outline[0], mask.shape)
    assert (filled & mask).sum() / (filled | mask).sum() >= 0.999


@needs_samples
def test_archive_sample(tmp_path: Path) -> None:
    folder = SAMPLES / "ddsm_ljpeg"
    patient = ddsm.read_patient(ddsm.list_tasks(folder)[0][0])
    truth = np.load(folder / "truth_800x600_uint16.npy")
    density = ddsm.optical_density(truth, "C", "LUMISYS")
    assert [m.id for m in patient.mammograms] == [
        "C_9999_1.LEFT_CC",
        "C_9999_1.LEFT_MLO",
    ] and density is not None
    for film in patient.mammograms:
        np.testing.assert_allclose(film.pixels, (1 - density / 4) * 65535, atol=0.51)


@needs_samples
def test_published_ics_headers(tmp_path: Path) -> None:
    quoted = SAMPLES / "ddsm" / "ics_examples.txt"
    cases = []
    for k, text in enumerate(quoted.read_text().split("ics_version")[1:]):
        (tmp_path / f"{k}.ics").write_text(
            "ics_version"
            + "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        )
        cases.append(read_ics(tmp_path / f"{k}.ics"))
    assert [(c.id, c.institution, c.age, c.density, c.digitizer) for c in cases] == [
        ("B_3024_1", "B", 42, 4, "LUMISYS"),
        ("C_0234_1", "C", 40, 2, "LUMISYS"),
        ("B_9018_1", "B", None, None, "LUMISYS"),
    ]
    films = [(film.lines, film.pixels_per_line, film.overlay) for film in cases[1].films]
    assert films == [
        (4736, 2240, False),
        (4760, 2680, False),
        (4760, 2512, True),
        (4688, 2608, True),
    ]


@pytest.mark.parametrize(
    ("text", "points", "fault"),
    [
        ("5 5 2 4 6 0 #", 5, ""),
        ("5 5 2 2 4 4 6 6 0 0 2 2 4 4 #", 9, "4 steps past its start"),
        ("5 5 2 2 2 2 #", 5, "ends 4 pixels from its start"),
        ("5 5 2 4 6 0", 5, "no end mark"),
        ("5 5 2 4 9 6 #", 3, "'9', which is not a step"),
        ("5 #", 0, "no steps"),
        ("5 99999999999999999999 2 4 #", 0, "'99999999999999999999', which is not a step"),
    ],
)
def test_parse_chain_code(text: str, points: int, fault: str) -> None:
    got, message = parse_chain_code(text)
    assert len(got) == points and (fault in message if fault else message == "")
    if points:
        assert got[0].tolist() == [4, 4], "the archive counts from 1"


def break_case(tree: Path, action: str) -> None:
    """Introduce a fault into the first case of the tree."""
    folder = tree / "cases" / "cancers" / "cancer_01" / "case3013"
    ics, film, cc = (
        folder / "B-3013-1.ics",
        folder / "B_3013_1.LEFT_CC.LJPEG",
        folder / "B_3013_1.LEFT_CC.OVERLAY",
    )
    if action == "missing film":
        film.unlink()
    elif action == "overlay of no film":
        ics.write_text(
            "\n".join(
                line for line in ics.read_text().splitlines() if not line.startswith("LEFT_CC")
            )
        )
    elif action == "wrong lines":
        ics.write_text(ics.read_text().replace(f"LEFT_CC LINES {LINES}", "LEFT_CC LINES 61"))
    elif action == "no lines":
        ics.write_text(ics.read_text().replace(f"LEFT_CC LINES {LINES}", "LEFT_CC LINES x"))
    elif action == "truncated":
        film.write_bytes(film.read_bytes()[:-200])
    elif action == "pathology":
        cc.write_text(cc.read_text().replace("UNPROVEN", "UNKNOWN"))
    elif action == "no overlay":
        cc.write_text("nothing")
    elif action == "no name":
        ics.write_text(ics.read_text().replace("filename", "file"))
    elif action == "twice":
        shutil.copytree(folder, folder.parent / "case3014")
    elif action == "line twice":
        ics.write_text(
            ics.read_text()
            + f"LEFT_CC LINES {LINES} PIXELS_PER_LINE {LINES} BITS_PER_PIXEL 12 RESOLUTION 50"
            " OVERLAY\n"
        )


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            "missing film",
            (
                "LEFT_CC that .*B-3013-1.ics lists is missing .though B_3013_1.LEFT_CC.OVERLAY is"
                " there"
            ),
        ),
        ("overlay of no film", "B_3013_1.LEFT_CC.OVERLAY belongs to no film"),
        ("wrong lines", "B_3013_1.LEFT_CC.LJPEG.* LINES 61"),
        ("no lines", "B-3013-1.ics, line 11: LINES"),
        ("truncated", "B_3013_1.LEFT_CC.LJPEG.* cut off"),
        ("pathology", "B_3013_1.LEFT_CC.OVERLAY, abnormality 2: unknown pathology 'UNKNOWN'"),
        (
            "no overlay",
            "B_3013_1.LEFT_CC.OVERLAY is not a valid overlay of DDSM: the line TOTAL_ABNORMALITIES"
            " is missing",
        ),
        (
            "no name",
            "B-3013-1.ics is not a valid .ics file of DDSM: the line `filename` is missing",
        ),
        ("twice", "Case B_3013_1 occurs twice"),
        ("line twice", r"B-3013-1.ics, line \d+: LEFT_CC is listed a second time"),
    ],
)
def test_invalid_cases_raise_or_are_skipped(tree: Path, action: str, message: str) -> None:
    break_case(tree, action)
    with pytest.raises(UserError, match=message) as caught:
        for task in ddsm.list_tasks(tree)[0]:
            ddsm.read_patient(task)
    assert "\n" not in str(caught.value)
    tasks, problems = ddsm.list_tasks(tree, skip_bad=True)
    if action not in ("wrong lines", "truncated"):  # detected only when pixels are read
        assert (
            len(problems) == 1
            and problems[0].skipped
            and "C_0200_1" in [task.patient for task in tasks]
        )


def test_folder_without_cases(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none", tmp_path):
        with pytest.raises(UserError):
            ddsm.list_tasks(path)


def test_converted_films_of_transmitted_light(tmp_path: Path) -> None:
    """16-bit films of a DBA scanner: raw ones are mapped by the formula, mapped ones are not."""
    folder = tmp_path / "cancers" / "cancer_01" / "case9001"
    folder.mkdir(parents=True)
    (folder / "A-9001-1.ics").write_text(
        "filename A-9001-1\nPATIENT_AGE 55\nDENSITY 2\nDIGITIZER DBA 21\nSEQUENCE\n"
        "LEFT_CC LINES 60 PIXELS_PER_LINE 40 BITS_PER_PIXEL 16 RESOLUTION 42 NON_OVERLAY\n"
    )
    raw = np.full((60, 40), 30, np.uint16)
    raw[20:50, :25] = 640
    mapped = np.full((60, 40), 4000, np.uint16)
    mapped[20:50, :25] = 44000
    for pixels in (raw, mapped):
        Image.fromarray(pixels).save(folder / "A_9001_1.LEFT_CC.png")
        (task,), _ = ddsm.list_tasks(tmp_path)
        (mammogram,) = ddsm.read_patient(task).mammograms
        assert mammogram.maximum == 65535
        if pixels is mapped:
            assert (mammogram.pixels == mapped).all()
            continue
        # Densities by hand: (log10 640 - 4.80662) / -1.07553 = 1.8600, and 3.0957 for 30.
        expected = np.where(raw == 640, 1 - 1.8600 / 4, 1 - 3.0957 / 4) * 65535
        assert np.allclose(mammogram.pixels, expected, atol=4)


def test_one_finding_without_outline_makes_a_film_unlocated(tmp_path: Path) -> None:
    without = mass("MALIGNANT").replace(SQUARE, "11 21 #")
    overlays = {
        "LEFT_CC": overlay(mass("BENIGN"), without),
        "LEFT_MLO": overlay(mass("BENIGN")),
        "RIGHT_CC": overlay(without),
    }
    make_case(tmp_path / "cancers" / "cancer_01" / "case0300", "B-0300-1", overlays)
    patient = ddsm.read_patient(ddsm.list_tasks(tmp_path)[0][0])
    films = {m.id.split(".")[1]: m for m in patient.mammograms}
    assert [len(f.outline) for f in films["LEFT_CC"].findings] == [1, 0]
    assert {view: film.unlocated for view, film in films.items()} == {
        "LEFT_CC": True,
        "LEFT_MLO": False,
        "RIGHT_CC": True,
        "RIGHT_MLO": False,
    }


@pytest.mark.parametrize(
    ("brightest", "bits", "maximum"),
    [
        (900, 12, 4095),
        # The depth of the .ics file comes before a guess from the brightest pixel.
        (1500, 14, 16383),
        (900, 10, 1023),
        # A film that is brighter than the .ics file allows.
        (1500, 10, 4095),
        (9000, 12, 16383),
    ],
)
def test_white_of_a_converted_film(tmp_path: Path, brightest: int, bits: int, maximum: int) -> None:
    ics = make_case(tmp_path / "benigns" / "benign_01" / "case0301", "C-0301-1", {})
    ics.write_text(ics.read_text().replace("BITS_PER_PIXEL 12", f"BITS_PER_PIXEL {bits}"))
    pixels = (grey(0) / grey(0).max() * brightest).astype(np.uint16)
    film = ics.parent / "C_0301_1.LEFT_CC.LJPEG"
    film.unlink()
    Image.fromarray(pixels).save(film.with_suffix(".png"))
    patient = ddsm.read_patient(ddsm.list_tasks(tmp_path)[0][0])
    (converted,) = (m for m in patient.mammograms if m.id.endswith("LEFT_CC"))
    assert converted.maximum == maximum and converted.pixels.max() == brightest
