"""Progress bars: totals become increments, a new unit closes the bars before it."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import pytest
import tqdm

from core import distributed
from core.progress import progress_bar


class Bar:
    """A bar that remembers what it was told."""

    made: ClassVar[list[Bar]] = []

    def __init__(self, **options: Any) -> None:
        self.options, self.n, self.closed = options, 0, 0
        Bar.made.append(self)

    def update(self, by: int) -> None:
        self.n += by

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(tqdm, "tqdm", Bar)
    return Bar.made


def test_bars_by_unit(bars: list[Bar]) -> None:
    with progress_bar("train") as report:
        report(2, 9, "steps")
        report(5, 9, "steps")
        (steps,) = bars
        assert (steps.n, steps.closed) == (5, 0)
        report(1, 4, "films")
        assert [bar.closed for bar in bars] == [1, 0] and bars[1].n == 1
    assert bars[1].closed == 1
    assert steps.options == {
        "total": 9,
        "desc": "train",
        "unit": " steps",
        "file": sys.stderr,
        "leave": False,
        "mininterval": 0.3,
    }
    assert bars[1].options["total"] == 4 and bars[1].options["unit"] == " films"


def test_bars_are_closed_after_an_error(bars: list[Bar]) -> None:
    with pytest.raises(ValueError, match="stop"), progress_bar("train") as report:
        report(1, 2, "steps")
        raise ValueError("stop")
    assert [bar.closed for bar in bars] == [1]


def test_other_ranks_have_no_bar(bars: list[Bar], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert not distributed.is_rank_zero()
    with progress_bar("train") as report:
        assert report(1, 2, "steps") is None
    assert bars == []
