"""What a figure's function takes and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from core import store
from core.store import run_table
from evaluation.queries.provenance import ABSENT, Missing


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure with what stands beside it. data: the numbers behind the picture, by table name;
    counts: n at each level; method: how the numbers were found, as sentences; kind: "line", "mixed"
    or "image" (decides the resolution).
    """

    figure: Figure
    data: dict[str, pd.DataFrame]
    caption: str
    counts: dict[str, int]
    method: str
    kind: str = "line"
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A figure that can be built. needs: names of its inputs (`evaluation.queries.provenance.inputs`),
    required: those without which there is no figure; width: its natural one in mm (85 one column,
    174 two); draw(study, width) -> Drawn, or raises Missing.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    required: tuple[str, ...]
    width: float
    draw: Callable[[Path, float], Drawn] = field(repr=False)


def newest(study: Path, kind: str) -> str:
    """The newest run of a kind; Missing, naming its step and command, where there is none."""
    with store.read(study) as con:
        run = run_table.latest(con, kind)
    if run is None:
        raise Missing(*ABSENT[kind])
    return run
