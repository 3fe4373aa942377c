"""Tables of units: labels, coverage, agreement, and explanations against reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.annotation.unit_categories import PROPOSED
from core.class_labels import unit_name
from core.lineage import influence_note, run_class_names
from core.store import annotation_table, unit_table
from core.store.labels.label_sets import DEFAULT_SET, set_sentence
from core.store.labels.label_states import states_sentence
from evaluation.intervals import decimal, percent
from evaluation.queries import unit_summaries
from evaluation.queries.provenance import MissingInput
from evaluation.queries.report_similarity import measure_report_similarity
from evaluation.queries.units import selected_units
from evaluation.reporting.base import (
    annotator_agreement,
    labelled_units_of_networks,
    newest_run,
    study_lexicon,
)
from evaluation.reporting.tables.base import Table, TableColumn, format_p


def build_unit_table(study: Path) -> Table:
    """List the selected units with their labels and the annotations that these come from."""
    dissect = newest_run(study, "dissect")
    table = selected_units(study, dissect)
    names = list(run_class_names(study, dissect).values())[::-1]
    answers = _answers_by_unit(study, dissect)
    rows = [
        (
            r["name"],
            ", ".join(r["classes"]),
            r["rank"],
            r["count"],
            r["images"],
            r["share"],
            r["layer"],
            r["top_patients"],
            *(r[name] for name in names),
            r["label"],
            r["state"],
            answers.get(r["unit"], ""),
        )
        for r in table.to_dict("records")
    ]
    columns = (
        TableColumn("Unit"),
        TableColumn("Selected for"),
        TableColumn("Rank"),
        TableColumn("Among top 8 of"),
        TableColumn("Mammograms"),
        TableColumn("Share", percent),
        TableColumn("Layer"),
        TableColumn("Patients of top 32"),
        *(TableColumn(f"Top 8 {name}") for name in names),
        TableColumn("Label", wrap=True),
        TableColumn("State"),
        TableColumn("Answers", wrap=True),
    )
    return Table(
        columns,
        rows,
        "Units selected for a class (a unit may be selected for several)."
        f" {set_sentence(DEFAULT_SET)} {states_sentence(filter(None, table['state']))}".rstrip(),
        {"units": len(table), "labelled": int((table["label"] != "").sum())},
    )


def _answers_by_unit(study: Path, dissect: str) -> dict[int, str]:
    """Return the annotations of each unit as text, `A1: calcification; A2: no`."""
    with store.read(study) as con:
        annotations = annotation_table.load_annotations(con, dissect)
    if not len(annotations):
        return {}
    annotations = annotations[~annotations["practice"] & ~annotations["repeat"]]
    return {
        unit: "; ".join(
            f"{r.code}: {r.answer['label'] or r.answer['recognisable']}"
            for r in rows.sort_values("code").itertuples()
        )
        for unit, rows in annotations.groupby("unit")
    }


def build_coverage_table(study: Path) -> Table:
    """Tabulate the coverage of each class with its companions on the Units page."""
    dissect, run = newest_run(study, "dissect"), newest_run(study, "coverage")
    with store.read(study) as con:
        frame = unit_table.load_coverage(con, run)
    rows, names = [], run_class_names(study, dissect)
    for code in sorted(frame["class"].unique(), reverse=True):
        values = {r["name"]: r for r in frame[frame["class"] == code].to_dict("records")}
        labelled, _, _ = unit_summaries.labelled_coverage_by_class(study, dissect)[int(code)]
        rows.append(
            (
                names[int(code)],
                int(values["selected"]["n"]),
                values["selected"]["estimate"],
                values["split_half"]["estimate"],
                values["interval"]["low"],
                values["interval"]["high"],
                labelled,
                values["chance"]["estimate"],
            )
        )
    columns = (
        TableColumn("Class", wrap=True),
        TableColumn("Mammograms"),
        TableColumn("Selected", percent),
        TableColumn("Split half", percent, interval=True),
        TableColumn("Labelled", percent),
        TableColumn("Chance", percent),
    )
    return Table(
        columns,
        rows,
        "Proportion of the slots of the most influential units. Selected: measured on the"
        " mammograms that selected the units, hence optimistic; split half: selected on one half of"
        " the patients, measured on the other; labelled: selected units that carry a label."
        f" {influence_note(study, dissect)}".rstrip(),
        {"mammograms": rows[0][1]},
        str(values["interval"]["method"]),
    )


def build_category_table(study: Path) -> Table:
    """Tabulate the labelled units of all dissected networks by category (SPIE 2018, Figure 4)."""
    units, lexicon = labelled_units_of_networks(study), study_lexicon(study)
    totals = unit_summaries.network_totals(units)
    marked = units.assign(
        name=units["unit"].map(unit_name)
        + units["state"].map(lambda s: unit_summaries.PROPOSED_MARK if s == PROPOSED else "")
    )
    rows = []
    for category in unit_summaries.category_order(units, lexicon):
        row: list[Any] = [category]
        for network in totals.index:
            names = marked[(marked["category"] == category) & (marked["network"] == network)][
                "name"
            ]
            row += [len(names), ", ".join(names)]
        rows.append(tuple(row))
    rows.append(("Distinct units", *(v for n in totals for v in (int(n), ""))))
    columns = [TableColumn("Category", wrap=True)]
    for network in totals.index:
        columns += [TableColumn(str(network)), TableColumn(f"{network}: units", wrap=True)]
    return Table(
        tuple(columns),
        rows,
        f"Labelled units by {lexicon.name} category. A unit with several phenomena is counted in"
        f" each of its categories. {unit_summaries.PROPOSED_MARK}, category proposed from the words"
        " of the label and not confirmed.",
        {"networks": len(totals), "units": int(totals.sum())},
    )


def build_agreement_table(study: Path) -> Table:
    """Tabulate the agreement between annotators (Annotations page)."""
    estimates, annotators = annotator_agreement(study)
    columns = (
        TableColumn("Statistic", wrap=True),
        TableColumn("Agreement", decimal, interval=True),
        TableColumn("n"),
        TableColumn("Method", wrap=True),
        TableColumn("Remark", wrap=True),
    )
    return Table(
        columns,
        [(e.name, e.estimate, e.low, e.high, e.n, e.method, e.reason or "") for e in estimates],
        f"{annotators} annotators who have finished, first answers; practice units excluded.",
        {"annotators": annotators},
    )


def build_similarity_table(study: Path) -> Table:
    """Tabulate the similarity of explanations to report lines (Explanations page)."""
    run = newest_run(study, "explain")
    similarities = measure_report_similarity(study, run)
    if not similarities:
        raise MissingInput(
            "Annotation",
            "no explained mammogram has a report line, or no unit has a label",
            "deepminer invite annotator",
        )
    rows = [
        (
            s.selection,
            s.measure,
            s.result.mean.estimate,
            s.result.mean.low,
            s.result.mean.high,
            s.result.baseline,
            s.result.p_greater,
            s.result.pairs,
            s.result.undefined,
            s.result.oov_reference,
            s.result.oov_hypothesis,
            s.published,
        )
        for s in similarities
    ]
    columns = (
        TableColumn("Words", wrap=True),
        TableColumn("Measure", wrap=True),
        TableColumn("Mean", decimal, interval=True),
        TableColumn("Permuted", decimal),
        TableColumn("P", format_p),
        TableColumn("Pairs"),
        TableColumn("Undefined"),
        TableColumn("Unknown in reports", percent),
        TableColumn("Unknown in explanations", percent),
        TableColumn("Published v1", decimal),
    )
    return Table(
        columns,
        rows,
        f"Word vectors: {similarities[0].vectors}. Permuted: reports exchanged between patients."
        " Unknown: words outside the vocabulary.",
        {"explanations": similarities[0].result.pairs},
        similarities[0].sentence(),
    )
