"""Figures for print, drawn from the same results as the pages."""

from __future__ import annotations

from evaluation.reporting.figures import ablation, classifier, diagrams, reading_study, units
from evaluation.reporting.figures.base import Drawn, Kind

_CHAIN = ("data", "patches", "train", "evaluate")
FIGURES: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="framework",
            title="Framework",
            needs=("data", "patches", "train", "dissect", "labels", "protocol"),
            required=("data",),
            width=174,
            draw=diagrams.framework,
        ),
        Kind(
            name="flow",
            title="Patient flow",
            needs=("data", "patches", "protocol"),
            required=("data", "patches"),
            width=174,
            draw=diagrams.flow,
        ),
        Kind(
            name="roc",
            title="ROC",
            needs=_CHAIN,
            required=("evaluate",),
            width=174,
            draw=classifier.roc,
        ),
        Kind(
            name="units",
            title="Units",
            needs=("data", "dissect", "labels"),
            required=("dissect", "labels"),
            width=174,
            draw=units.units,
        ),
        Kind(
            name="annotation_screen",
            title="Annotation screen",
            needs=("screenshot",),
            required=("screenshot",),
            width=174,
            draw=diagrams.screenshot,
        ),
        Kind(
            name="explanations",
            title="Explanations",
            needs=("data", "dissect", "explain", "labels", "picks"),
            required=("explain",),
            width=174,
            draw=units.explanations,
        ),
        Kind(
            name="coverage",
            title="Coverage",
            needs=("data", "dissect", "coverage", "labels"),
            required=("dissect", "coverage"),
            width=85,
            draw=units.coverage,
        ),
        Kind(
            name="reading",
            title="Reading study",
            needs=("protocol", "evaluate"),
            required=("protocol",),
            width=174,
            draw=reading_study.reading,
        ),
        Kind(
            name="agreement",
            title="Agreement",
            needs=("dissect", "annotations"),
            required=("dissect", "annotations"),
            width=85,
            draw=reading_study.agreement,
        ),
        Kind(
            name="calibration",
            title="Calibration",
            needs=_CHAIN,
            required=("evaluate",),
            width=85,
            draw=classifier.calibration,
        ),
        Kind(
            name="subgroups",
            title="Subgroups",
            needs=_CHAIN,
            required=("evaluate",),
            width=85,
            draw=classifier.subgroups,
        ),
        Kind(
            name="time_order",
            title="Time and order",
            needs=("protocol",),
            required=("protocol",),
            width=174,
            draw=reading_study.time_order,
        ),
        Kind(
            name="ablation",
            title="Ablation",
            needs=("data", "dissect", "labels", "ablate"),
            required=("dissect", "ablate"),
            width=174,
            draw=ablation.ablation,
        ),
    )
}

__all__ = ["FIGURES", "Drawn", "Kind"]
