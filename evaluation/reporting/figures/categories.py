"""Figure of labelled units by category and network (SPIE 2018, Figure 4)."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from core.annotation.unit_categories import PROPOSED
from core.class_labels import unit_name
from core.lexicon.lexicon import Lexicon
from core.store.labels.label_sets import DEFAULT_SET, set_sentence
from evaluation.queries import unit_summaries
from evaluation.reporting.base import labelled_units_of_networks, study_lexicon
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult

_SHADES = "Greys"
# Shading ends before the colour at which dark digits become unreadable.
_DARKEST = 0.45


def plot_categories(study: Path, width: float, label_set: str | None = None) -> FigureResult:
    """Plot the number of labelled units in each category of every dissected network.

    label_set: name of the labels; None for those that the study uses.
    """
    label_set = label_set or DEFAULT_SET
    units = labelled_units_of_networks(study, label_set)
    lexicon = study_lexicon(study)
    counts = _count(units, lexicon)
    proposed = (
        _count(units[units["state"] == PROPOSED], lexicon)
        .reindex_like(counts)
        .fillna(0)
        .astype(int)
    )
    totals = unit_summaries.network_totals(units)
    figure = style.create_figure(width, 22 + 7 * len(counts))
    (ax,) = figure.subplots(1, 1, squeeze=False).ravel()
    largest = max(1, int(counts.to_numpy().max()))
    ax.imshow(counts.to_numpy() / largest * _DARKEST, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts.to_numpy()):
        waiting = int(proposed.iat[row, column])
        mark = f" ({waiting}{unit_summaries.PROPOSED_MARK})" if waiting else ""
        ax.text(column, row, f"{count}{mark}", ha="center", va="center", fontsize=8)
    # Networks side by side share the width; the names of layers are long.
    letters = int((width - 30) / len(totals) / 1.4)
    ax.set_xticks(
        range(len(totals)),
        [f"{fill(str(name), max(letters, 8))}\nn = {total}" for name, total in totals.items()],
    )
    ax.set_yticks(range(len(counts)), list(counts.index))
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    for spine in ax.spines.values():
        spine.set_visible(False)
    is_proposed = bool(proposed.to_numpy().sum())
    note = (
        f" {unit_summaries.PROPOSED_MARK}, of these so many categories are proposed from the words"
        " of the label and not confirmed."
        if is_proposed
        else ""
    )
    return FigureResult(
        figure=figure,
        data={
            "units": units.assign(unit=units["unit"].map(unit_name))[
                ["network", "run", "category", "state", "unit", "label"]
            ],
            "counts": counts.rename_axis("category").reset_index(),
        },
        caption=(
            f"Labelled units by {lexicon.name} category and network; n, distinct labelled units. A"
            f" unit with several phenomena is counted in each of its categories.{note}"
            f" {set_sentence(label_set)}"
        ),
        counts={"networks": len(totals), "units": int(totals.sum())},
        method="Categories are those that annotators chose; for labels in free text, those that a"
        " person confirmed or that are proposed from the words of the label.",
        kind="mixed",
    )


def _count(units: pd.DataFrame, lexicon: Lexicon) -> pd.DataFrame:
    """Return the number of units by category (rows) and network (columns)."""
    table = pd.crosstab(units["category"], units["network"])
    networks = list(dict.fromkeys(units["network"]))
    return table.reindex(index=unit_summaries.category_order(units, lexicon), columns=networks)
