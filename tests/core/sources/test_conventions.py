from __future__ import annotations

import pytest

from core.sources.conventions import parse_view, view_from_file_name


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
