"""Rules of single sources at their limits: marks, masks, overlays, published windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.images.decoding import DecodedImage
from core.images.polygons import fill_polygons
from core.sources import cbis_ddsm, ddsm, ddsm_metadata, deepminer_patches
from core.sources.annotation_tools import marks, run_lengths, yolo
from core.sources.annotation_tools.marks import Mark, MarkedImage, label_meaning
from core.sources.csv_table import CsvRow
from core.sources.ddsm_outlines import clip_to_image, parse_chain_code
from core.sources.ddsm_vocabulary import DDSM_TERMS, MappedTerm, folder_pathology
from core.sources.outlines.records import box_outline
from core.sources.plans.birads import BiradsCategory, BiradsMapping, parse_birads_mapping
from core.sources.records import Finding
from support.breast_films import breast_film, write_png

NO_MAPPING = BiradsMapping()
FIVE = parse_birads_mapping("1=NORMAL,5=MALIGNANT")


@pytest.mark.parametrize(
    ("label", "attributes", "meaning"),
    [
        ("cancer", {}, ("MALIGNANT", "", None)),
        ("Benign-Calcifications", {}, ("BENIGN", "CALCIFICATION", None)),
        ("calc", {"truth": "unproven"}, ("UNPROVEN", "CALCIFICATION", None)),
        ("asymmetry distortion", {}, ("UNPROVEN", "ARCHITECTURAL_DISTORTION+ASYMMETRY", None)),
        ("normal", {}, ("NORMAL", "", None)),
        ("benign without callback", {}, ("BENIGN_WITHOUT_CALLBACK", "", None)),
        ("mass", {"birads": "5"}, ("MALIGNANT", "MASS", BiradsCategory(5))),
        ("mass", {"bi-rads": "4b"}, ("UNPROVEN", "MASS", BiradsCategory(4, "B"))),
        ("mass", {"grade": "5"}, ("UNPROVEN", "MASS", None)),
        # The label comes before the attribute, a stated pathology before the mapping.
        ("birads_5", {"birads": "2"}, ("MALIGNANT", "", BiradsCategory(5))),
        ("benign BIRADS: 5", {}, ("BENIGN", "", BiradsCategory(5))),
    ],
)
def test_meanings_of_labels(label: str, attributes: dict[str, str], meaning: tuple) -> None:
    assert label_meaning(label, attributes, FIVE) == meaning


@pytest.mark.parametrize("label", ["not malignant", "no cancer", "non-benign", "without cancer"])
def test_denied_pathologies(label: str) -> None:
    with pytest.raises(UserError, match="denies a pathology"):
        label_meaning(label, {}, NO_MAPPING)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("P7/LCC.png", "P7"), ("a\\P7\\x.png", "P7"), ("train/P7_LCC.png", "P7"),
        ("Images/P-7 R.MLO.2.png", "P-7"), ("x.png", ""), ("labels/x.png", ""),
        ("P7_left_cc_a.png", "P7"), ("LCC.png", ""),
    ],
)  # fmt: skip
def test_patients_of_paths(name: str, patient: str) -> None:
    assert marks._patient_of_path(name) == patient


def test_findings_of_a_marked_image(tmp_path: Path) -> None:
    write_png(tmp_path / "P1" / "R_CC.png", breast_film(1))
    outline = box_outline(1, 2, 30, 40)
    image = MarkedImage(
        name="P1/R_CC.png",
        marks=(
            Mark(label="mass benign", attributes=(("birads", "3"),), outline=outline, origin="m1"),
            Mark(label="lesion birads 1", outline=outline, origin="m2"),
        ),
        labels=("benign", "cancer", "BI-RADS 1", "BI-RADS 4", "good frame"),
        size=(150, 200),
        origin="file, image 7",
    )
    plans, problems = marks.plan_patients([image], tmp_path, FIVE, skip_bad=False)
    (plan,) = plans
    (film,) = plan.films
    assert (plan.patient, film.laterality, film.view) == ("P1", "RIGHT", "CC")
    assert (film.annotated_size, film.origin, problems) == ((150, 200), "file, image 7", [])
    # The second mark is mapped to normal; "benign" is marked; 4 has no pathology.
    rows = [(f.pathology, f.lesion_type, f.assessment, f.outline) for f in film.findings]
    assert rows == [
        ("BENIGN", "MASS", 3, outline), ("MALIGNANT", "", None, None), ("UNPROVEN", "", 4, None),
    ]  # fmt: skip
    assert [f.report for f in film.findings] == [*("mass benign, birads 3", "cancer", "BI-RADS 4")]
    assert [f.origin for f in film.findings] == [
        *("m1", "file, image 7, label 'cancer'", "file, image 7, label 'BI-RADS 4'")
    ]
    tissue = MarkedImage(name="P1/R_CC.png", marks=(Mark(label="normal", origin="m3"),))
    with pytest.raises(UserError, match="m3: the label 'normal' marks normal tissue"):
        marks.plan_patients([tissue], tmp_path, FIVE, skip_bad=False)


def test_options_of_annotation_tools(tmp_path: Path) -> None:
    assert marks.parse_options(tmp_path, "5=MALIGNANT")[0] == tmp_path
    assert marks.parse_options(tmp_path, None)[1] == NO_MAPPING
    with pytest.raises(UserError, match="The folder of the images is missing"):
        marks.parse_options(None, None)
    with pytest.raises(UserError, match="none is not a folder"):
        marks.parse_options(tmp_path / "none", None)


def test_masks_as_run_lengths() -> None:
    outline = run_lengths.cvat_mask_outline([1, 2, 1, 2], 10, 20, 3, 2)
    points = {point for polygon in outline.polygons for point in polygon}
    # Row by row: .XX and .XX at column 10 and row 20.
    assert points == {(11.0, 20.0), (12.0, 20.0), (11.0, 21.0), (12.0, 21.0)}
    for value, message in (
        ({"counts": [4]}, "no size"),
        ({"counts": [4], "size": [2]}, "no size"),
        ({"counts": None, "size": [2, 2]}, "no counts"),
        ({"counts": [4], "size": [2, 2]}, "marks no pixel"),
        ({"counts": [5, -1], "size": [2, 2]}, "cover 4 pixels, its image has 4"),
        ({"counts": "P", "size": [2, 2]}, "cut off"),
        ({"counts": "\x7f", "size": [2, 2]}, "unknown character"),
    ):
        with pytest.raises(UserError, match=message):
            run_lengths.coco_mask_outline(value)


def test_rows_of_yolo() -> None:
    box = yolo._outline([0.5, 0.4, 0.2, 0.6])
    assert box.normalised and np.array(box.polygons[0]) == pytest.approx(
        np.array([[0.4, 0.1], [0.6, 0.1], [0.6, 0.7], [0.4, 0.7]])
    )
    assert yolo._outline([-0.1, 0, 1.1, 0, 1.1, 1]).polygons == (((-0.1, 0), (1.1, 0), (1.1, 1)),)
    for numbers in ([-0.11, 0, 1, 0, 1, 1], [0, 0, 1.11, 0, 1, 1]):
        with pytest.raises(UserError, match="not shares of the image"):
            yolo._outline(numbers)


def decoded(pixels: np.ndarray, maximum: int = 255) -> DecodedImage:
    return DecodedImage(pixels=pixels, maximum=maximum, file_hash="")


@pytest.mark.parametrize(
    ("shape", "only_file", "is_mask"),
    [
        ((200, 100), False, True),
        ((203, 100), False, True),
        ((205, 100), False, False),
        ((197, 100), False, True),
        ((195, 100), False, False),
        ((100, 50), False, True),
        ((99, 50), False, False),
        ((98, 49), False, False),
        ((98, 49), True, True),
    ],
)
def test_shape_of_a_mask(shape: tuple[int, int], only_file: bool, is_mask: bool) -> None:
    """2 % of the aspect ratio and, beside another file, a quarter of the image of 400 x 200."""
    mask = np.zeros(shape, np.uint8)
    mask[5:9, 5:9] = 255
    assert cbis_ddsm._is_mask(decoded(mask), (400, 200), only_file=only_file) is is_mask


@pytest.mark.parametrize(("grey", "count", "is_mask"), [
    (100, 99, True), (100, 100, False), (38, 500, True), (217, 500, True), (39, 500, False),
    (216, 500, False),
])  # fmt: skip
def test_values_of_a_mask(grey: int, count: int, is_mask: bool) -> None:
    """Fewer than 1 % of 10,000 pixels may lie between 15 and 85 % of white (38.25 and 216.75)."""
    mask = np.zeros((100, 100), np.uint8)
    mask.flat[:count] = grey
    mask[-1, -1] = 255
    assert cbis_ddsm._is_mask(decoded(mask), (100, 100), only_file=True) is is_mask


@pytest.mark.parametrize("white", [1, 255])
def test_outline_of_a_mask(monkeypatch: pytest.MonkeyPatch, white: int) -> None:
    """Masks hold 0 and 1, or 0 and white with soft edges of JPEG; sizes may differ."""
    mask = np.zeros((40, 20), np.uint8)
    mask[4:8, 6:9] = white
    if white > 1:
        mask[8, 6] = 120
    crop = np.tile(np.arange(20, dtype=np.uint8) * 12, (40, 1))
    files = {"crop.png": crop, "mask.png": mask}
    monkeypatch.setattr(cbis_ddsm, "read_image", lambda path: decoded(files[path.name]))
    cells = CsvRow(Path("t.csv"), 2, {})
    roi = (Path("crop.png"), Path("mask.png"))
    row = cbis_ddsm.CbisRow(cells, Path("film.png"), roi)
    outline, warnings = cbis_ddsm._read_outline(row, decoded(np.zeros((40, 20), np.uint8)))
    expected = np.zeros((40, 20), bool)
    expected[4:8, 6:9] = True
    assert np.array_equal(fill_polygons(outline, (40, 20)), expected) and warnings == []
    outline, ((cause, action),) = cbis_ddsm._read_outline(
        row, decoded(np.zeros((80, 40), np.uint8))
    )
    assert cause == "its mask is 20 x 40 pixels, the image 40 x 80"
    assert action == "outline scaled to the image"
    # Twice the size: corners at 2 (x + .5) - .5.
    assert np.concatenate(outline).min(0).tolist() == [12.5, 8.5]
    assert np.concatenate(outline).max(0).tolist() == [16.5, 14.5]
    files["mask.png"] = mask * 0
    with pytest.raises(UserError, match=r"its mask mask\.png is empty"):
        cbis_ddsm._read_outline(row, decoded(np.zeros((40, 20), np.uint8)))
    files["mask.png"] = files["crop.png"]
    with pytest.raises(UserError, match=r"none of crop\.png, mask\.png is a mask of the image"):
        cbis_ddsm._read_outline(row, decoded(np.zeros((40, 20), np.uint8)))


def test_one_film_in_two_encodings() -> None:
    pixels = np.full((10, 10), 100, np.uint8)
    wider = decoded(pixels.astype(np.uint16) * 257, 65535)
    assert cbis_ddsm._is_same_film(decoded(pixels), wider)
    assert not cbis_ddsm._is_same_film(decoded(pixels), decoded(pixels[:9]))
    # A mean difference of .005 of white is the limit: 1.275 grey levels.
    assert cbis_ddsm._is_same_film(decoded(pixels), decoded(pixels + 1))
    assert not cbis_ddsm._is_same_film(decoded(pixels), decoded(pixels + 2))


def test_finding_of_a_row() -> None:
    cells = {
        "abnormality type": "calcification", "pathology": "BENIGN_WITHOUT_CALLBACK",
        "assessment": "2", "subtlety": "0", "calc type": "round", "calc distribution": "linear",
        "mass shape": "",
    }  # fmt: skip
    finding = cbis_ddsm._finding(4, CsvRow(Path("calc_test.csv"), 2, cells), ())
    assert finding == Finding(
        number=4,
        pathology="BENIGN_WITHOUT_CALLBACK",
        lesion_type="CALCIFICATION",
        descriptors={"type": "ROUND", "distribution": "LINEAR"},
        assessment=2,
        subtlety=None,
        report="LESION_TYPE CALCIFICATION TYPE ROUND DISTRIBUTION LINEAR ASSESSMENT 2 SUBTLETY 0"
        " PATHOLOGY BENIGN_WITHOUT_CALLBACK",
    )
    split = cbis_ddsm._published_split
    assert split(CsvRow(Path("Test/calc_train.csv"), 2, {})) == "train"
    assert split(CsvRow(Path("mass_case_Test_set.csv"), 2, {})) == "test"


def test_header_of_a_case(tmp_path: Path) -> None:
    path = tmp_path / "c.ics"
    path.write_text(
        "filename c-3-1\nPATIENT_AGE 120\nPATIENT_AGE 50\nDENSITY 5\ndigitizer howtek x\n\n"
        "LEFT_MLO LINES 7 PIXELS_PER_LINE 5 BITS_PER_PIXEL 12 RESOLUTION 43.5 NON_OVERLAY\n"
        "right_cc PIXELS_PER_LINE 6 LINES 8 RESOLUTION x OVERLAY\n"
    )
    case = ddsm_metadata.read_ics(path)
    assert (case.id, case.institution, case.age, case.density) == ("c_3_1", "C", 120, None)
    film = ddsm_metadata.FilmLine
    assert case.digitizer == "HOWTEK" and case.films == (
        film(view="LEFT_MLO", lines=7, pixels_per_line=5, bits=12, resolution=43.5, overlay=False),
        film(view="RIGHT_CC", lines=8, pixels_per_line=6, bits=0, resolution=None, overlay=True),
    )
    text = path.read_text()
    for old, new, age, density in (
        ("AGE 120", "AGE 121", None, None), ("DENSITY 5", "DENSITY 1", 120, 1),
        ("DENSITY 5", "DENSITY 4", 120, 4), ("AGE 120", "AGE 0", None, None),
    ):  # fmt: skip
        path.write_text(text.replace(old, new))
        case = ddsm_metadata.read_ics(path)
        assert (case.age, case.density) == (age, density)
    path.write_text("filename c-3-1\n")
    with pytest.raises(UserError, match="lists no film"):
        ddsm_metadata.read_ics(path)
    with pytest.raises(UserError, match="cannot be read"):
        ddsm_metadata.read_ics(tmp_path / "none.ics")


def test_findings_of_an_overlay() -> None:
    chain = "11 21 2 2 4 4 6 6 0 0 #"
    lines = [
        "TOTAL_ABNORMALITIES 3", "ABNORMALITY 4", "LESION_TYPE MASS SHAPE OVAL",
        "LESION_TYPE CALCIFICATION TYPE ROUND SHAPE ROUND", "ASSESSMENT 0", "SUBTLETY 5",
        "PATHOLOGY benign", "TOTAL_OUTLINES 2", f"BOUNDARY {chain}", "CORE", chain,
        "ABNORMALITY", "PATHOLOGY MALIGNANT", "SUBTLETY 6", "BOUNDARY", "11 21 2 #",
    ]  # fmt: skip
    overlay = ddsm_metadata.parse_overlay(lines, "o")
    first, second = overlay.findings
    assert (first.number, first.pathology, first.lesion_type) == (4, "BENIGN", "MASS+CALCIFICATION")
    assert first.descriptors == {"shape": "OVAL+ROUND", "type": "ROUND"}
    assert (first.assessment, first.subtlety) == (0, 5)
    assert len(first.outline) == len(first.nested) == 1
    assert first.outline[0][:3].tolist() == [[10, 20], [11, 20], [12, 20]]
    assert first.report == (
        "LESION_TYPE MASS SHAPE OVAL LESION_TYPE CALCIFICATION TYPE ROUND SHAPE ROUND"
        " ASSESSMENT 0 SUBTLETY 5 PATHOLOGY benign"
    )
    assert (second.number, second.subtlety, second.outline) == (5, None, ())
    assert [(p.item, p.cause, p.action) for p in overlay.problems] == [
        ("o, abnormality 5", "no outline", "the finding is kept without an outline"),
        ("o, abnormality 5", "SUBTLETY is '6', beyond 0 to 5", "treated as unknown"),
        ("o", "TOTAL_ABNORMALITIES is 3, but 2 are described", "the described ones are used"),
    ]


def test_chains_at_their_limits() -> None:
    closed, fault = parse_chain_code("3 3 2 4 6 #")
    # One step from the start counts as closed.
    assert closed.tolist() == [[2, 2], [3, 2], [3, 3], [2, 3]] and fault == ""
    assert parse_chain_code("3 3 2 2 #")[1] == "it ends 2 pixels from its start"
    points, fault = parse_chain_code("3 3 1 3 5 7 2 2 2 #")
    assert points[-1].tolist() == [2, 2] and fault == "it runs 3 steps past its start"
    assert [parse_chain_code(f"9 9 {k} #")[0][1].tolist() for k in range(8)] == [
        *([8, 7], [9, 7], [9, 8], [9, 9], [8, 9], [7, 9], [7, 8], [7, 7])
    ]


def test_outlines_at_the_edge_of_a_film() -> None:
    inside = np.array([[0, 0], [9, 0], [9, 4]], float)
    near, far = inside + np.array([1, 1]), inside + np.array([2, 0])
    gone = inside + 20
    finding = Finding(number=1, pathology="BENIGN", outline=(inside, near, far), nested=(gone,))
    clipped, problems = clip_to_image(finding, (5, 10), "here")
    assert [points.max(0).tolist() for points in clipped.outline] == [[9, 4]] * 3
    assert clipped.nested == ()
    assert [(p.item, p.cause, p.action) for p in problems] == [
        ("here", "a chain leaves the film (2 of 3 points)", "cut at the edge of the film"),
        ("here", "an outline lies outside the film", "outline left out"),
    ]


def test_words_of_ddsm_in_the_lexicon() -> None:
    """Whole terms by field: each word of DDSM has the category and field of its keyword."""
    doubtful = {word for (_, word), term in DDSM_TERMS.items() if term.doubtful}
    assert doubtful == {"LOBULATED", "TUBULAR", "ASYMMETRIC_BREAST_TISSUE", "PLEOMORPHIC"}
    fields = {
        "shape": ("mass", "shape"), "margins": ("mass", "margin"),
        "type": ("calcification", "type"), "distribution": ("calcification", "distribution"),
    }  # fmt: skip
    others = {
        "ARCHITECTURAL_DISTORTION": MappedTerm("distortion", "", ""),
        "LYMPH_NODE": MappedTerm("other", "structure", "lymph node"),
        "TUBULAR": MappedTerm("other", "structure", "dilated duct", doubtful=True),
        "ASYMMETRIC_BREAST_TISSUE": MappedTerm("asymmetry", "extent", "global", doubtful=True),
        "FOCAL_ASYMMETRIC_DENSITY": MappedTerm("asymmetry", "extent", "focal"),
    }
    for (keyword, word), term in DDSM_TERMS.items():
        if word in others:
            assert term == others[word]
        else:
            assert (term.category, term.field) == fields[keyword], word


@pytest.mark.parametrize(
    ("folder", "pathology"),
    [
        ("cancers/cancer_01/case1", "MALIGNANT"), ("benigns/case1", "BENIGN"),
        ("benign_without_callbacks/benign_without_callback_02/c", "BENIGN_WITHOUT_CALLBACK"),
        ("bwc_01/c", "BENIGN_WITHOUT_CALLBACK"), ("normals/normal_12/c", "NORMAL"),
        ("other/c", None), ("Cancer-3/c", "MALIGNANT"),
    ],
)  # fmt: skip
def test_folders_of_the_archive(folder: str, pathology: str | None) -> None:
    root = Path("/normal/copy")
    assert folder_pathology(root / folder / "x.ics", root) == pathology


def test_light_that_a_film_lets_through() -> None:
    line = ddsm_metadata.FilmLine(
        view="LEFT_CC", lines=10, pixels_per_line=10, bits=16, resolution=None, overlay=False
    )
    # The quantile .9 of 100 pixels in order lies at place 89.1; .4 of white is 26,214.
    dark = np.sort(np.full(100, 26213, np.uint16)).reshape(10, 10)
    assert ddsm._holds_transmission(line, dark)
    assert not ddsm._holds_transmission(line, dark + np.uint16(1))
    assert not ddsm._holds_transmission(line, dark.astype(np.uint8))
    twelve = ddsm_metadata.FilmLine(
        view="LEFT_CC", lines=10, pixels_per_line=10, bits=12, resolution=None, overlay=False
    )
    assert not ddsm._holds_transmission(twelve, dark)
    bright = dark.copy().ravel()
    bright[:9] = 65535
    assert ddsm._holds_transmission(line, bright.reshape(10, 10))
    bright[:11] = 65535
    assert not ddsm._holds_transmission(line, bright.reshape(10, 10))


def windows(**changes: Any) -> pd.DataFrame:
    rows = {
        "image": "a", "y": [0, 200, 200], "x": [100, 0, 0], "w": 400, "h": 400,
        "label": [1, 2, 0],
    }  # fmt: skip
    return pd.DataFrame(rows | changes)


def test_published_windows_by_hand() -> None:
    """Raw films of 1600 pixels in working images of 64: a patch of 16 is 400 raw pixels."""
    tissue = np.zeros((40, 64), bool)
    tissue[:, :12] = True
    finding = np.zeros((40, 64), bool)
    finding[8:16, 0:8] = True
    found = deepminer_patches.published_patches(
        windows(), (0.04, 0.04), tissue, [("MALIGNANT", finding)], 16
    )
    assert (found.y.tolist(), found.x.tolist(), found.side) == ([0, 8], [4, 0], 16)
    # The window that is listed twice has the worse label.
    assert found.label.tolist() == [1, 2]
    assert found.tissue.tolist() == [8 / 16, 12 / 16]
    assert found.union["malignant"].tolist() == [32 / 256, 64 / 256]
    assert found.share["malignant"].tolist() == [0.5, 1.0]
    two = deepminer_patches.published_patches(
        windows(label=[1, 0, 0]), (0.04, 0.04), tissue, [], 16, MAMMOGRAPHY.with_outputs(2)
    )
    assert two.label.tolist() == [2, 0]


def test_films_of_the_release_in_the_study() -> None:
    name = "cancer_01-B_3102_1.LEFT_CC.LJPEG.1"
    find = deepminer_patches._mammogram_id
    assert find(name, {"B_3102_1.LEFT_CC"}) == "B_3102_1.LEFT_CC"
    both = {"B_3102_1.LEFT_CC", "cancer_01-B_3102_1.LEFT_CC"}
    assert find(name, both) == "cancer_01-B_3102_1.LEFT_CC"
    assert find(name, {"B_3102_1.LEFT_MLO"}) is None and find("other", both) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"w": 438}, None),
        ({"w": 445}, "is not a quarter of"),
        ({"h": 355}, "is not a quarter of"),
        ({"h": 360}, None),
        ({"x": 1250}, None),
        ({"x": 1263}, "is not inside"),
        ({"y": 650}, None),
        ({"y": 670}, "is not inside"),
    ],
)
def test_windows_that_do_not_fit(change: dict[str, int], fault: str | None) -> None:
    """10 % of the size and two pixels over the edge, of 48 and 24 in these units, are allowed."""
    listed, tissue = windows(**change), np.ones((40, 64), bool)
    if fault is None:
        found = deepminer_patches.published_patches(listed, (0.04, 0.04), tissue, [], 16)
        assert found.y.max() <= 24 and found.x.max() <= 48
    else:
        with pytest.raises(UserError, match=fault):
            deepminer_patches.published_patches(listed, (0.04, 0.04), tissue, [], 16)
