"""Progress of long steps: the callback that reports it, and bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

ProgressCallback = Callable[[int, int, str], None]  # done, total, name of the counted unit


@contextmanager
def progress_bar(title: str) -> Iterator[ProgressCallback]:
    """Show a bar on stderr with rate and time left; yield report(done, total, unit).

    Only rank 0 has a bar.
    """
    from tqdm import tqdm

    from core import distributed

    if not distributed.is_rank_zero():
        yield lambda *_: None
        return
    bars: dict[str, tqdm] = {}

    def report(done: int, total: int, unit: str) -> None:
        """Move the bar of a unit; a new unit closes the bars before it."""
        if unit not in bars:
            for earlier in bars.values():
                earlier.close()
            bars[unit] = tqdm(
                total=total,
                desc=title,
                unit=f" {unit}",
                file=sys.stderr,
                leave=False,
                mininterval=0.3,
            )
        # tqdm takes increments, the callback totals.
        bars[unit].update(done - bars[unit].n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()
