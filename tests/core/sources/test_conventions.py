from __future__ import annotations

import pytest

from core.sources.conventions import view_from_file_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Mass-Training_P_00001_LEFT_CC", ("LEFT", "CC")),
        ("B_3013_1.RIGHT_MLO.LJPEG.1", ("RIGHT", "MLO")),
        ("p12-LCC.png", ("LEFT", "CC")),
        ("1878_617525091_png.rf.jpg", ("UNKNOWN", "UNKNOWN")),
        ("left_or_right_cc.png", ("UNKNOWN", "CC")),
    ],
)
def test_view_from_file_name(name: str, expected: tuple[str, str]) -> None:
    assert view_from_file_name(name) == expected
