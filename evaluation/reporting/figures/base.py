"""The result of a figure function, and the specification by which exports list and call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class FigureResult:
    """A figure with everything that is exported beside it.

    data: the numbers behind the figure, by table name; caption: without the closing sentences of
    `evaluation.reporting.base.caption_suffix`; counts: n at each level; method: how the numbers
    were computed, in sentences; kind: "line", "mixed" or "image" (determines the resolution).
    """

    figure: Figure
    data: dict[str, pd.DataFrame]
    caption: str
    counts: dict[str, int]
    method: str
    kind: str = "line"
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """A figure that can be exported.

    needs: names of its inputs (`evaluation.queries.provenance.current_inputs`); required: those
    without which it cannot be drawn; width: natural width in mm (85 one column, 174 two columns);
    plot(study, width): returns a FigureResult or raises MissingInput; labelled: plot has a third
    argument, the name of the label set (None for that of the study).
    """

    name: str
    title: str
    needs: tuple[str, ...]
    required: tuple[str, ...]
    width: float
    plot: Callable[..., FigureResult] = field(repr=False)
    labelled: bool = False
