"""Tables for print, with the same numbers as the dashboard pages.

`TABLES` lists them all; each is exported as CSV, Excel, LaTeX and Markdown with its provenance
record.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import UserError
from evaluation.reporting.tables import checklists, classifier, questions, reading_study, units
from evaluation.reporting.tables.base import Table, TableColumn, TableSpec

_CLASSIFIER_INPUTS = ("data", "patches", "train", "evaluate")
TABLES: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        TableSpec(
            name="cohort",
            title="Patients and images by split",
            needs=("data", "patches"),
            required=("patches",),
            build=classifier.build_cohort_table,
        ),
        TableSpec(
            name="classifiers",
            title="Performance of the classifier",
            needs=_CLASSIFIER_INPUTS,
            required=("evaluate",),
            build=classifier.build_classifier_table,
        ),
        TableSpec(
            name="operating_points",
            title="Sensitivity and specificity at thresholds fixed on hold-out",
            needs=_CLASSIFIER_INPUTS,
            required=("evaluate",),
            build=classifier.build_operating_point_table,
        ),
        TableSpec(
            name="architectures",
            title="Performance across architectures",
            needs=_CLASSIFIER_INPUTS,
            required=("evaluate",),
            build=classifier.build_architecture_table,
        ),
        TableSpec(
            name="units",
            title="Selected units with their labels",
            needs=("dissect", "labels", "annotations"),
            required=("dissect",),
            build=units.build_unit_table,
        ),
        TableSpec(
            name="categories",
            title="Labelled units by category and network",
            needs=("dissect", "labels"),
            required=("dissect", "labels"),
            build=units.build_category_table,
        ),
        TableSpec(
            name="coverage",
            title="Coverage of the selected units",
            needs=("dissect", "coverage", "labels"),
            required=("coverage",),
            build=units.build_coverage_table,
        ),
        TableSpec(
            name="examples",
            title="Example explanations",
            needs=("protocol",),
            required=("protocol",),
            build=reading_study.build_example_table,
        ),
        TableSpec(
            name="agreement",
            title="Agreement between annotators",
            needs=("dissect", "annotations"),
            required=("annotations",),
            build=units.build_agreement_table,
        ),
        TableSpec(
            name="similarity",
            title="Explanations against report lines",
            needs=("explain", "labels"),
            required=("explain", "labels"),
            build=units.build_similarity_table,
        ),
        TableSpec(
            name="reading",
            title="Results of the reading study",
            needs=("protocol", "evaluate"),
            required=("protocol",),
            build=reading_study.build_reading_table,
        ),
        TableSpec(
            name="questions",
            title="Answers to the questions of the reading study",
            needs=("protocol",),
            required=("protocol",),
            build=questions.build_question_table,
        ),
        TableSpec(
            name="truth_rules",
            title="Truth rules and methods",
            needs=("protocol",),
            required=("protocol",),
            build=reading_study.build_truth_rule_table,
        ),
        TableSpec(
            name="protocol",
            title="Protocol of the reading study",
            needs=("protocol",),
            required=(),
            build=reading_study.build_protocol_table,
        ),
        TableSpec(
            name="checklist",
            title="Reporting checklists",
            needs=(*_CLASSIFIER_INPUTS, "dissect", "labels", "protocol"),
            required=(),
            build=checklists.build_checklist_table,
        ),
    )
}

__all__ = ["TABLES", "Table", "TableColumn", "TableSpec", "select_tables"]


def select_tables(names: Sequence[str]) -> list[str]:
    """Return the named tables, each once; no name or "all": every table.

    UserError for an unknown name.
    """
    selected = list(TABLES) if not names or "all" in names else list(dict.fromkeys(names))
    unknown = [name for name in selected if name not in TABLES]
    if unknown:
        raise UserError(f"There is no table {unknown[0]!r}; the tables are {', '.join(TABLES)}.")
    return selected
