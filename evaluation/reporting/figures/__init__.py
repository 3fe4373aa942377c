"""Figures for print, drawn from the same results as the pages."""

from __future__ import annotations

from evaluation.reporting.figures import ablation, classifier, diagrams, reading_study, units
from evaluation.reporting.figures.base import Drawn, Kind

_CHAIN = ("data", "patches", "train", "evaluate")
FIGURES: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "framework",
            "Framework",
            ("data", "patches", "train", "dissect", "labels", "protocol"),
            ("data",),
            174,
            diagrams.framework,
        ),
        Kind(
            "flow",
            "Patient flow",
            ("data", "patches", "protocol"),
            ("data", "patches"),
            174,
            diagrams.flow,
        ),
        Kind("roc", "ROC", _CHAIN, ("evaluate",), 174, classifier.roc),
        Kind(
            "units", "Units", ("data", "dissect", "labels"), ("dissect", "labels"), 174, units.units
        ),
        Kind(
            "annotation_screen",
            "Annotation screen",
            ("screenshot",),
            ("screenshot",),
            174,
            diagrams.screenshot,
        ),
        Kind(
            "explanations",
            "Explanations",
            ("data", "dissect", "explain", "labels", "picks"),
            ("explain",),
            174,
            units.explanations,
        ),
        Kind(
            "coverage",
            "Coverage",
            ("data", "dissect", "coverage", "labels"),
            ("dissect", "coverage"),
            85,
            units.coverage,
        ),
        Kind(
            "reading",
            "Reading study",
            ("protocol", "evaluate"),
            ("protocol",),
            174,
            reading_study.reading,
        ),
        Kind(
            "agreement",
            "Agreement",
            ("dissect", "annotations"),
            ("dissect", "annotations"),
            85,
            reading_study.agreement,
        ),
        Kind("calibration", "Calibration", _CHAIN, ("evaluate",), 85, classifier.calibration),
        Kind("subgroups", "Subgroups", _CHAIN, ("evaluate",), 85, classifier.subgroups),
        Kind(
            "time_order",
            "Time and order",
            ("protocol",),
            ("protocol",),
            174,
            reading_study.time_order,
        ),
        Kind(
            "ablation",
            "Ablation",
            ("data", "dissect", "labels", "ablate"),
            ("dissect", "ablate"),
            174,
            ablation.ablation,
        ),
    )
}

__all__ = ["FIGURES", "Drawn", "Kind"]
