"""Figures for print, drawn from the same results as the dashboard pages.

`FIGURES` lists them all; each function of this package returns a `FigureResult` with the caption
and the numbers behind the figure.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import UserError
from evaluation.reporting.figures import (
    ablation,
    categories,
    classifier,
    coverage,
    diagrams,
    explanations,
    patient_flow,
    probabilities,
    reading_study,
    units,
)
from evaluation.reporting.figures.base import FigureResult, FigureSpec

_CLASSIFIER_INPUTS = ("data", "patches", "train", "evaluate")
# Widths in mm: one column of a journal, and two.
_ONE_COLUMN = 85
_TWO_COLUMNS = 174
FIGURES: dict[str, FigureSpec] = {
    spec.name: spec
    for spec in (
        FigureSpec(
            name="framework",
            title="Framework",
            needs=("data", "patches", "train", "dissect", "labels", "protocol"),
            required=("data",),
            width=_TWO_COLUMNS,
            plot=diagrams.plot_framework,
            labelled=True,
        ),
        FigureSpec(
            name="flow",
            title="Patient flow",
            needs=("data", "patches", "protocol"),
            required=("data", "patches"),
            width=_TWO_COLUMNS,
            plot=patient_flow.plot_patient_flow,
        ),
        FigureSpec(
            name="roc",
            title="ROC",
            needs=_CLASSIFIER_INPUTS,
            required=("evaluate",),
            width=_TWO_COLUMNS,
            plot=classifier.plot_roc,
        ),
        FigureSpec(
            name="units",
            title="Units",
            needs=("data", "dissect", "labels"),
            required=("dissect", "labels"),
            width=_TWO_COLUMNS,
            plot=units.plot_units,
            labelled=True,
        ),
        FigureSpec(
            name="categories",
            title="Units by category and network",
            needs=("dissect", "labels"),
            required=("dissect", "labels"),
            width=_TWO_COLUMNS,
            plot=categories.plot_categories,
            labelled=True,
        ),
        FigureSpec(
            name="annotation_screen",
            title="Annotation screen",
            needs=("screenshot",),
            required=("screenshot",),
            width=_TWO_COLUMNS,
            plot=diagrams.plot_annotation_screen,
        ),
        FigureSpec(
            name="explanations",
            title="Explanations",
            needs=("data", "dissect", "explain", "labels", "picks"),
            required=("explain",),
            width=_TWO_COLUMNS,
            plot=explanations.plot_explanations,
            labelled=True,
        ),
        FigureSpec(
            name="coverage",
            title="Coverage",
            needs=("data", "dissect", "coverage", "labels"),
            required=("dissect", "coverage"),
            width=_ONE_COLUMN,
            plot=coverage.plot_coverage,
            labelled=True,
        ),
        FigureSpec(
            name="reading",
            title="Reading study",
            needs=("protocol", "evaluate"),
            required=("protocol",),
            width=_TWO_COLUMNS,
            plot=reading_study.plot_reading_study,
        ),
        FigureSpec(
            name="agreement",
            title="Agreement",
            needs=("dissect", "annotations"),
            required=("dissect", "annotations"),
            width=_ONE_COLUMN,
            plot=units.plot_agreement,
        ),
        FigureSpec(
            name="calibration",
            title="Calibration",
            needs=_CLASSIFIER_INPUTS,
            required=("evaluate",),
            width=_ONE_COLUMN,
            plot=probabilities.plot_calibration,
        ),
        FigureSpec(
            name="decision",
            title="Decision curve",
            needs=_CLASSIFIER_INPUTS,
            required=("evaluate",),
            width=_ONE_COLUMN,
            plot=probabilities.plot_decision_curve,
        ),
        FigureSpec(
            name="subgroups",
            title="Subgroups",
            needs=_CLASSIFIER_INPUTS,
            required=("evaluate",),
            width=_ONE_COLUMN,
            plot=classifier.plot_subgroups,
        ),
        FigureSpec(
            name="time_order",
            title="Time and order",
            needs=("protocol",),
            required=("protocol",),
            width=_TWO_COLUMNS,
            plot=reading_study.plot_time_order,
        ),
        FigureSpec(
            name="ablation",
            title="Ablation",
            needs=("data", "dissect", "labels", "ablate"),
            required=("dissect", "ablate"),
            width=_TWO_COLUMNS,
            plot=ablation.plot_ablation,
        ),
    )
}

__all__ = ["FIGURES", "FigureResult", "FigureSpec", "select_figures"]


def select_figures(names: Sequence[str]) -> list[str]:
    """Return the named figures, each once; no name or "all": every figure.

    UserError for an unknown name.
    """
    selected = list(FIGURES) if not names or "all" in names else list(dict.fromkeys(names))
    unknown = [name for name in selected if name not in FIGURES]
    if unknown:
        raise UserError(f"There is no figure {unknown[0]!r}; the figures are {', '.join(FIGURES)}.")
    return selected
