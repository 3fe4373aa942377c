"""Tables for print: the numbers of the pages as CSV, Excel, LaTeX (booktabs) and Markdown, each
with its passport.
"""

from __future__ import annotations

from evaluation.reporting.tables import classifier, reading_study, units
from evaluation.reporting.tables.base import Column, Table, TableKind

_CHAIN = ("data", "patches", "train", "evaluate")
TABLES: dict[str, TableKind] = {
    kind.name: kind
    for kind in (
        TableKind(
            "cohort",
            "Patients and images by split",
            ("data", "patches"),
            ("patches",),
            classifier.cohort,
        ),
        TableKind(
            "classifiers",
            "Performance of the classifier",
            _CHAIN,
            ("evaluate",),
            classifier.classifiers,
        ),
        TableKind(
            "architectures",
            "Performance across architectures",
            _CHAIN,
            ("evaluate",),
            classifier.architectures,
        ),
        TableKind(
            "units",
            "Selected units with their labels",
            ("dissect", "labels", "annotations"),
            ("dissect",),
            units.units,
        ),
        TableKind(
            "coverage",
            "Coverage of the selected units",
            ("dissect", "coverage", "labels"),
            ("coverage",),
            units.coverage,
        ),
        TableKind(
            "examples", "Example explanations", ("protocol",), ("protocol",), reading_study.examples
        ),
        TableKind(
            "agreement",
            "Agreement between annotators",
            ("dissect", "annotations"),
            ("annotations",),
            units.agreement,
        ),
        TableKind(
            "similarity",
            "Explanations against report lines",
            ("explain", "labels"),
            ("explain", "labels"),
            units.similarity_table,
        ),
        TableKind(
            "reading",
            "Results of the reading study",
            ("protocol", "evaluate"),
            ("protocol",),
            reading_study.reading,
        ),
        TableKind(
            "truth_rules",
            "Truth rules and methods",
            ("protocol",),
            ("protocol",),
            reading_study.truth_rules,
        ),
        TableKind(
            "protocol",
            "Protocol of the reading study",
            ("protocol",),
            (),
            reading_study.protocol_table,
        ),
        TableKind(
            "checklist",
            "Reporting checklists",
            (*_CHAIN, "dissect", "labels", "protocol"),
            (),
            reading_study.checklist,
        ),
    )
}

__all__ = ["TABLES", "Column", "Table", "TableKind"]
