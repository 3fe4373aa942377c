"""Figures for print, drawn from the same results as the pages."""

from __future__ import annotations

from evaluation.figures import classifier, diagrams, reading, units
from evaluation.figures.drawn import Drawn, Kind

_CHAIN = ("data", "patches", "train", "evaluate")
FIGURES: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("framework", "Framework", ("data", "patches", "train", "dissect", "labels", "protocol"), diagrams.framework),
        Kind("flow", "Patient flow", ("data", "patches", "protocol"), diagrams.flow),
        Kind("roc", "ROC", _CHAIN, classifier.roc),
        Kind("units", "Units", ("data", "dissect", "labels"), units.units),
        Kind("annotation_screen", "Annotation screen", (), diagrams.screenshot),
        Kind("explanations", "Explanations", ("data", "dissect", "explain", "labels", "picks"), units.explanations),
        Kind("coverage", "Coverage", ("data", "dissect", "coverage", "labels"), units.coverage),
        Kind("reading", "Reading study", ("protocol", "evaluate"), reading.reading),
        Kind("agreement", "Agreement", ("dissect", "annotations"), reading.agreement),
        Kind("calibration", "Calibration", _CHAIN, classifier.calibration),
        Kind("subgroups", "Subgroups", _CHAIN, classifier.subgroups),
        Kind("time_order", "Time and order", ("protocol",), reading.time_order),
        Kind("ablation", "Ablation", ("dissect",), diagrams.ablation),
    )
}

__all__ = ["FIGURES", "Drawn", "Kind"]
