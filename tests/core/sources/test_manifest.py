from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.images.polygons import fill_polygons
from core.sources import manifest
from core.sources.records import Patient
from support.paths import SAMPLES
from support.requirements import needs_samples

HEADER = "image,patient,laterality,view,pathology,outline\n"


def film(seed: int, depth: type = np.uint8) -> np.ndarray:
    """Return a bright half disc on a dark background, 60 x 40."""
    y, x = np.mgrid[:60, :40]
    grain = np.random.default_rng(seed).integers(0, 30, (60, 40))
    disc = (x / 30) ** 2 + ((y - 30) / 25) ** 2 < 1
    return (np.where(disc, 120 + grain, 2) * (1 if depth is np.uint8 else 16)).astype(depth)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(4):
        Image.fromarray(film(k)).save(tmp_path / f"f{k}.png")
    mask = np.zeros((60, 40), np.uint8)
    mask[20:30, 5:15] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def read_all(path: Path, **options: bool) -> list[Patient]:
    tasks, problems = manifest.list_tasks(path, **options)
    assert problems == []
    return [manifest.read_patient(task) for task in tasks]


def test_outline_syntaxes(folder: Path) -> None:
    rows = (
        'f0.png,a,L,CC,malignant,"5 20, 14 20, 14 29, 5 29"\nf1.png,a,LEFT,mlo,BENIGN,box 5 20 14'
        " 29\n"
    )
    rows += "f2.png,b,RIGHT,CC,benign without callback,mask.png\nf3.png,b,R,MLO,NORMAL,\n"
    a, b = read_all(write(folder, HEADER + rows))
    assert [m.id for m in a.mammograms + b.mammograms] == [
        "a.LEFT_CC",
        "a.LEFT_MLO",
        "b.RIGHT_CC",
        "b.RIGHT_MLO",
    ]
    masks = [
        fill_polygons(m.findings[0].outline, m.pixels.shape)
        for m in (*a.mammograms, b.mammograms[0])
    ]
    assert all((mask == masks[0]).all() and mask.sum() == 100 for mask in masks)
    assert [m.findings[0].pathology for m in (*a.mammograms, b.mammograms[0])] == [
        "MALIGNANT",
        "BENIGN",
        "BENIGN_WITHOUT_CALLBACK",
    ]
    assert b.mammograms[1].findings == () and b.mammograms[1].image_label is None
    assert (a.mammograms[0].pixels == film(0)).all() and not a.mammograms[0].inverted


def test_findings_of_one_image_and_optional_columns(folder: Path) -> None:
    head = (
        "image;patient;laterality;view;pathology;outline;lesion_type;assessment;subtlety;report;age;"
        "density;split;feature_risk;feature_site\n"
    )
    rows = (
        "f0.png;a;L;CC;MALIGNANT;5 20 14 20 14 29|1 1 3 1 3 3;mass;5;2;a spiculated"
        " mass;61;B;val;.5;north\n"
    )
    rows += "f0.png;a;L;CC;UNPROVEN;box 1 1 3 3;;;;;;;;;\n"
    (patient,) = read_all(write(folder, head + rows))
    one, two = patient.mammograms[0].findings
    assert (one.number, two.number, one.pathology, two.pathology) == (
        1,
        2,
        "MALIGNANT",
        "UNPROVEN",
    ) and len(one.outline) == 2
    assert (one.lesion_type, one.assessment, one.subtlety, one.report) == (
        "MASS",
        5,
        2,
        "a spiculated mass",
    ) and two.assessment is None
    assert (patient.age, patient.density, patient.published_split, patient.features) == (
        61,
        2,
        "holdout",
        {"risk": 0.5, "site": "north"},
    )


def test_negative_and_deep_images(folder: Path) -> None:
    Image.fromarray(255 - film(0)).save(folder / "f0.png")
    Image.fromarray(film(1, np.uint16)).save(folder / "f1.png")
    (patient,) = read_all(write(folder, HEADER + "f0.png,a,L,CC,NORMAL,\nf1.png,a,L,MLO,NORMAL,\n"))
    negative, deep = patient.mammograms
    assert negative.inverted and (negative.pixels == film(0)).all()
    assert not deep.inverted and deep.maximum == 4095 and (deep.pixels == film(1, np.uint16)).all()


def test_image_labels_and_unknown_views(folder: Path) -> None:
    (folder / "f1.png").rename(folder / "x_RCC.png")
    path = write(folder, "file,patient_id,pathology\nf0.png,1,malignant\nx_RCC.png,1,benign\n")
    (patient,) = read_all(path, image_labels=True)
    one, two = patient.mammograms
    assert (one.image_label, one.laterality, one.view, one.id) == (
        "MALIGNANT",
        "UNKNOWN",
        "UNKNOWN",
        "1.f0",
    )
    assert (two.image_label, two.laterality, two.view, two.id) == (
        "BENIGN",
        "RIGHT",
        "CC",
        "1.RIGHT_CC",
    )
    with pytest.raises(UserError, match="--image-labels"):
        manifest.list_tasks(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"is empty \(0 bytes\)"),
        ("image,patient,laterality,view\n", "no column 'pathology'"),
        (
            "image,patient,pathology,outline\nf0.png,a,BENIGN,box 1 1 4 4\n",
            "no column 'laterality'",
        ),
        (HEADER, "no rows"),
        (HEADER + "f0.png,a,L,CC,BENINE,box 1 1 4 4\n", "row 2: unknown pathology 'BENINE'"),
        (
            HEADER + "f0.png,a,L,CC,NORMAL,\ngone.png,a,L,CC,BENIGN,box 1 1 4 4\n",
            "row 3: the image .*gone.png does not exist",
        ),
        (HEADER + "f0.png,,L,CC,NORMAL,\n", "row 2: the patient is missing"),
        (HEADER + ",a,L,CC,NORMAL,\n", "row 2: the image is missing"),
        (
            HEADER + 'f0.png,"a\nb",L,CC,NORMAL,\n',
            r"row 2: patient holds the control character U\+000A",
        ),
        (HEADER + "f0.png,a,X,CC,NORMAL,\n", "row 2: unknown laterality 'X'"),
        (HEADER + "f0.png,a,L,XCC,NORMAL,\n", "row 2: unknown view 'XCC'"),
        (HEADER + "f0.png,a,L,CC,NORMAL,,7\n", "row 2: it has 7 cells where the header has 6"),
        (
            HEADER + "f0.png,a,L,CC,BENIGN,box 1 1 4 4\nf1.png,a,L,CC,BENIGN,\n",
            "row 3: BENIGN without an outline",
        ),
        (HEADER + "f0.png,a,L,CC,NORMAL,box 1 1 4 4\n", "row 2: a NORMAL row has an outline"),
        (
            HEADER + "f0.png,a,L,CC,BENIGN,box 4 4 1 1\n",
            "row 2: the outline .*: the box .* encloses nothing",
        ),
        (
            HEADER + "f0.png,a,L,CC,BENIGN,1 2 3 4 5\n",
            "row 2: the outline .*: a polygon has 5 numbers",
        ),
        (
            HEADER + "f0.png,a,L,CC,BENIGN,nomask.png\n",
            "row 2: the mask .*nomask.png does not exist",
        ),
        (
            HEADER + 'f0.png,a,L,CC,BENIGN,"1 2; 3 & 5"\n',
            "row 2: the outline .* cannot be interpreted",
        ),
        (
            HEADER + "f0.png,a,L,CC,NORMAL,\nf0.png,b,L,CC,NORMAL,\n",
            "row 3: the image f0.png belongs to patient b, but row 2 gives it to patient a",
        ),
        (
            "image,patient,laterality,view,pathology,density\nf0.png,a,L,CC,NORMAL,7\n",
            "row 2: density is '7'",
        ),
        (
            "image,patient,laterality,view,pathology,split\nf0.png,a,L,CC,NORMAL,exam\n",
            "row 2: unknown split 'exam'",
        ),
        (
            "image,patient,laterality,view,pathology,split\n"
            "f0.png,a,L,CC,NORMAL,train\nf1.png,a,L,CC,NORMAL,test\n",
            "row 3: patient a is in several",
        ),
    ],
)
def test_invalid_table(folder: Path, table: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        manifest.list_tasks(write(folder, table))
    assert "table.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "f0.png,a,L,CC,BENIGN,box 10 10 41 20\n",
            (
                r"row 2: the outline \(x 10 to 41, y 10 to 20\) leaves its film \(40 x 60 pixels\)"
                r" by more than 2% of it, f0.png"
            ),
        ),
        ('f0.png,a,L,CC,BENIGN,"-1 3, 5 5, 7 7"\n', "row 2: the outline"),
        ("broken.png,a,L,CC,NORMAL,\n", "row 2: .*broken.png"),
        (
            "f0.png,a,L,CC,BENIGN,small.png\n",
            "row 2: the mask small.png is 9 x 9 pixels, its image 40 x 60",
        ),
        ("f0.png,a,L,CC,BENIGN,empty.png\n", "row 2: the mask empty.png is empty"),
        ("f0.png,a,,CC,NORMAL,\n", "row 2: the laterality is missing"),
    ],
)
def test_invalid_pixels_or_outline(folder: Path, row: str, message: str) -> None:
    (folder / "broken.png").write_bytes((folder / "f0.png").read_bytes()[:80])
    Image.new("L", (9, 9)).save(folder / "small.png")
    Image.new("L", (40, 60)).save(folder / "empty.png")
    (task,), _ = manifest.list_tasks(write(folder, HEADER + row))
    with pytest.raises(UserError, match=message):
        manifest.read_patient(task)


def test_tables_of_other_programs(folder: Path) -> None:
    """Windows separators, one name in two encodings, a repeated row, and "nan" as a feature."""
    (folder / "sub").mkdir()
    (folder / "f0.png").rename(folder / "sub" / "f0.png")
    rows = "sub\\f0.png,Ana\u0301,L,CC,BENIGN,box 5 20 14 29,nan\nf1.png,An\u00e1,R,CC,NORMAL,,2\n"
    tasks, problems = manifest.list_tasks(
        write(
            folder,
            HEADER.replace("outline", "outline,feature_a") + rows + rows.splitlines()[0] + "\n",
        )
    )
    assert [(task.patient, len(task.rows)) for task in tasks] == [("An\u00e1", 2)]
    assert [(p.cause, p.skipped) for p in problems] == [("row 4 repeats an earlier row", False)]
    patient = manifest.read_patient(tasks[0])
    assert patient.features == {"a": 2.0} and [
        len(film.findings) for film in patient.mammograms
    ] == [1, 0]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("", "a" * 300 + ".png,a,L,CC,NORMAL,", r"row 2: the image .* does not exist"),
        ("", "f0.png,a,L,CC,BENIGN," + "polygon " * 60, "is no notation and no mask file"),
        ("", 'f0.png,a,L,CC,BENIGN,"10,5 20,5; 30,5 20,5; 30,5 40,5"', "encloses nothing"),
        (",Pathology", "f0.png,a,L,CC,NORMAL,,BENIGN", "two columns 'pathology'"),
    ],
)
def test_long_names_and_repeated_columns(folder: Path, header: str, row: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        manifest.list_tasks(write(folder, HEADER.strip() + header + "\n" + row + "\n"))


def test_infinite_outline(folder: Path) -> None:
    tasks, _ = manifest.list_tasks(
        write(folder, HEADER + 'f0.png,a,L,CC,BENIGN,"1e400 2, 10 20, 30 3"\n')
    )
    with pytest.raises(UserError, match="x 10 to inf.* leaves its film"):
        manifest.read_patient(tasks[0])


def test_infinite_feature(folder: Path) -> None:
    tasks, _ = manifest.list_tasks(
        write(folder, HEADER.strip() + ",feature_a\nf0.png,a,L,CC,NORMAL,,inf\n")
    )
    with pytest.raises(UserError, match="row 2: feature_a is 'inf'; write a finite number"):
        manifest.read_patient(tasks[0])


def test_skip_bad_leaves_out_whole_patients(folder: Path) -> None:
    rows = "f0.png,a,L,CC,NORMAL,\nf1.png,a,L,MLO,nonsense,\nf2.png,b,L,CC,NORMAL,\n"
    tasks, problems = manifest.list_tasks(write(folder, HEADER + rows), skip_bad=True)
    assert [task.patient for task in tasks] == ["b"]
    assert [(p.item, p.skipped) for p in problems] == [("a", True)] and "row 3" in problems[0].cause


@pytest.mark.parametrize(
    "cells",
    ["f2.png,b,L,CC,NOR\u200bMAL,", "f2.png,b,L\x08,CC,NORMAL,", "f2.png,b,L,CC,NORMAL,\u202e"],
)
def test_skip_bad_leaves_out_rows_with_hidden_characters(folder: Path, cells: str) -> None:
    path = write(folder, f"{HEADER}f0.png,a,L,CC,NORMAL,\n{cells}\n")
    with pytest.raises(UserError, match=r"row 3: the cell of .* holds the control character U\+"):
        manifest.list_tasks(path)
    tasks, problems = manifest.list_tasks(path, skip_bad=True)
    assert [task.patient for task in tasks] == ["a"]
    assert [(p.item, p.skipped) for p in problems] == [("b", True)]


def test_a_hidden_character_in_a_patients_name_refuses_the_table(folder: Path) -> None:
    """Without the row, a finding of that patient could turn into normal tissue."""
    rows = "f0.png,a,L,CC,NORMAL,\nf1.png,a\u200b,L,MLO,NORMAL,\n"
    with pytest.raises(UserError, match=r"row 3: the cell of 'patient' .* U\+200B"):
        manifest.list_tasks(write(folder, HEADER + rows), skip_bad=True)


def test_image_shared_by_two_patients(folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "f0.png").read_bytes())
    rows = "f0.png,a,L,CC,NORMAL,\nf0.png,a,L,CC,NORMAL,\ncopy.png,b,L,CC,NORMAL,\n"
    with pytest.raises(
        UserError,
        match=(
            r"table.csv, row 4: the image copy.png belongs to patient b, but row 2 gives it as"
            r" f0.png to patient a"
        ),
    ):
        manifest.list_tasks(write(folder, HEADER + rows))
    tasks, problems = manifest.list_tasks(write(folder, HEADER + rows), skip_bad=True)
    assert [task.patient for task in tasks] == ["a"] and [
        p.item for p in problems if p.skipped
    ] == ["b"]


def test_unreadable_tables(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(
        "image,patient,pathology\nfü.png,a,NORMAL\n".encode("latin-1")
    )
    wrong = (
        (tmp_path / "none.csv", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "latin.csv", "UTF-8"),
        (None, "needs the path"),
    )
    for path, message in wrong:
        with pytest.raises(UserError, match=message):
            manifest.list_tasks(path)


@needs_samples
def test_sample_images() -> None:
    table = SAMPLES / "image_labels" / "labels.csv"
    mammograms = [m for patient in read_all(table, image_labels=True) for m in patient.mammograms]
    assert (
        len(mammograms) == 160 == len({m.id for m in mammograms})
        and sum(m.inverted for m in mammograms) == 20
    )
    assert {m.image_label for m in mammograms} == {"MALIGNANT", "BENIGN"} and not any(
        m.findings for m in mammograms
    )


@pytest.mark.parametrize(
    ("column", "accepted", "refused"),
    [
        ("subtlety", ("1", "5", ""), ("0", "6", "2.5", "x")),
        ("assessment", ("0", "6"), ("-1", "7")),
        ("age", ("0", "120"), ("-1", "121")),
        ("density", ("1", "4"), ("0", "5")),
    ],
)
def test_ranges_of_numbers(
    folder: Path, column: str, accepted: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    header = f"image,patient,laterality,view,pathology,outline,{column}\n"
    row = "f0.png,a,L,CC,BENIGN,box 5 20 14 29,"
    for value in accepted:
        assert len(manifest.list_tasks(write(folder, f"{header}{row}{value}\n"))[0]) == 1, value
    for value in refused:
        with pytest.raises(UserError, match=f"row 2: {column}"):
            manifest.list_tasks(write(folder, f"{header}{row}{value}\n"))


def test_files_that_agree_in_size_and_middle_are_other_images(folder: Path) -> None:
    content = bytearray((folder / "f0.png").read_bytes())
    content[12] ^= 1
    (folder / "other.png").write_bytes(content)
    rows = "f0.png,a,L,CC,NORMAL,\nother.png,b,L,CC,NORMAL,\n"
    tasks, problems = manifest.list_tasks(write(folder, HEADER + rows))
    assert [task.patient for task in tasks] == ["a", "b"] and problems == []
