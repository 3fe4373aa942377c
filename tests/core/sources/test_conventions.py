from __future__ import annotations

import numpy as np
import pytest

from core.images.decoding import DecodedImage
from core.sources.conventions import (
    VIEWS,
    mammogram_from_image,
    parse_view,
    similar_names,
    view_from_file_name,
)
from core.sources.records import Finding, Mammogram


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Mass-Training_P_00001_LEFT_CC", ("LEFT", "CC")),
        ("B_3013_1.RIGHT_MLO.LJPEG.1", ("RIGHT", "MLO")),
        ("p12-LCC.png", ("LEFT", "CC")),
        ("1878_617525091_png.rf.jpg", ("UNKNOWN", "UNKNOWN")),
        ("left_or_right_cc.png", ("UNKNOWN", "CC")),
        ("1001_png.rf.c07f14ff863d3533cc8e78ed1d37b67b.png", ("UNKNOWN", "UNKNOWN")),
        ("0a1b2c3d-4cc5-41aa-9f0e-123456789abc.png", ("UNKNOWN", "UNKNOWN")),
        ("cc8e78.png", ("UNKNOWN", "UNKNOWN")),
        ("a 5cc.png", ("UNKNOWN", "UNKNOWN")),
        ("b_cc.png", ("UNKNOWN", "CC")),
        ("IMG0001LCC.png", ("LEFT", "CC")),
        ("p3_R-CC2.png", ("RIGHT", "CC")),
        ("12_LMLO.7.png", ("LEFT", "MLO")),
    ],
)
def test_view_from_file_name(name: str, expected: tuple[str, str]) -> None:
    assert view_from_file_name(name) == expected


def test_views_of_screening_sets() -> None:
    assert [parse_view(view) for view in ("cc", "MLO", "ML", "lm", "LMO", "AT", "unknown")] == [
        *("CC", "MLO", "ML", "LM", "LMO", "AT", "UNKNOWN"),
    ]
    assert parse_view("XCC") is None


def test_mammogram_of_an_image() -> None:
    pixels = np.ones((2, 3), np.uint8)
    image = DecodedImage(
        pixels=pixels, maximum=200, file_hash="h", inverted=True, pixel_mm=0.5, laterality="x",
        view="y", scanner="s", attributes={"a": "b"},
    )  # fmt: skip
    finding = Finding(number=1, pathology="BENIGN")
    stated = {"id": "m", "laterality": "LEFT", "view": "CC", "source_file": "f.png"}
    plain = mammogram_from_image(image, findings=[finding], **stated)
    assert plain == Mammogram(
        pixels=pixels, maximum=200, file_hash="h", inverted=True, pixel_mm=0.5, scanner="s",
        attributes={"a": "b"}, findings=(finding,), image_label=None, unlocated=False,
        whole_image=False, **stated,
    )  # fmt: skip
    other = mammogram_from_image(
        image, findings=[], image_label="BENIGN", unlocated=True, whole_image=True, **stated
    )
    assert (other.image_label, other.unlocated, other.whole_image) == ("BENIGN", True, True)


def test_names_in_another_spelling() -> None:
    assert similar_names(["P 1", "p\u00a01", "P2", "02", "2.00", "2.5", "P2"]) == {
        "p\u00a01": "P 1",
        "P 1": "p\u00a01",
        "2.00": "02",
        "02": "2.00",
    }
    assert similar_names(["a", "A", "\uff21"]) == {"A": "a", "a": "A", "\uff21": "a"}
    assert " ".join(VIEWS) == "CC MLO ML LM LMO AT XCCL XCCM FB SIO"
