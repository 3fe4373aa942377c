"""Figures that show or count labels take a label set by name, and say which one they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.store import unit_table
from core.store.labels import label_sets
from evaluation.queries import unit_summaries
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import render_figure

EXPERT = "SIM-careful"


def test_every_figure_of_labels_takes_a_set() -> None:
    # The ablation figure shows the labels that its run has switched off.
    needing = {name for name, spec in FIGURES.items() if "labels" in spec.needs}
    with_labels = needing - {"ablation"}
    assert with_labels == {name for name, spec in FIGURES.items() if spec.labelled}
    assert {"framework", "units", "categories", "explanations", "coverage"} <= with_labels


@pytest.mark.parametrize("name", ["framework", "categories", "coverage"])
def test_figure_shows_the_named_set(demonstration: Path, name: str) -> None:
    with store.read(demonstration) as con:
        dissect = unit_table.current_dissection(con) or ""
        named = set(label_sets.load_label_set(con, dissect, EXPERT, ()))
        selected = set(unit_table.selected_unit_ids(con, dissect))
    spec = FIGURES[name]
    result, simulated = render_figure(demonstration, spec, spec.width, EXPERT)
    assert label_sets.set_sentence(EXPERT) in result.caption and "labels" in simulated
    plain, _ = render_figure(demonstration, spec, spec.width)
    assert label_sets.set_sentence("default") in plain.caption
    if name == "framework":
        steps = result.data["steps"].set_index("step")["content"]
        assert steps["Annotation"].startswith(f"{len(named & selected)} named")
    elif name == "categories":
        assert result.counts["units"] == len(named)
    else:
        shares = unit_summaries.labelled_coverage_by_class(demonstration, dissect, EXPERT)
        rows = result.data["coverage"].query("name == 'labelled'")
        assert sorted(rows["estimate"]) == sorted(share for share, _, _ in shares.values())
    with pytest.raises(UserError, match="The label set 'nobody' names no unit"):
        render_figure(demonstration, spec, spec.width, "nobody")
