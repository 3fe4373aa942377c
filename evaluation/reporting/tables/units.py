"""Tables about units: labels, coverage, agreement, explanations against reports."""

from __future__ import annotations

from pathlib import Path

from core import store
from core.store import annotation_table, unit_table
from evaluation.intervals import decimal, percent
from evaluation.queries import study_overview
from evaluation.queries import units as gallery
from evaluation.queries.class_names import class_words
from evaluation.queries.provenance import Missing
from evaluation.queries.report_similarity import similarity
from evaluation.reporting.figures.base import newest
from evaluation.reporting.figures.reading_study import agreement_rows
from evaluation.reporting.tables.base import Column, Table, bare_p


def units(study: Path) -> Table:
    """Selected units with their label and the raw answers it comes from."""
    dissect = newest(study, "dissect")
    table, names = gallery.rows(study, dissect), list(class_words(study, dissect).values())[::-1]
    with store.read(study) as con:
        said = annotation_table.answers(con, dissect)
    said = said[~said["practice"] & ~said["repeat"]] if len(said) else said
    raw = (
        {
            unit: "; ".join(
                f"{r.code}: {r.answer['label'] or r.answer['recognisable']}"
                for r in rows.sort_values("code").itertuples()
            )
            for unit, rows in said.groupby("unit")
        }
        if len(said)
        else {}
    )
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
            raw.get(r["unit"], ""),
        )
        for r in table.to_dict("records")
    ]
    columns = (
        Column("Unit"),
        Column("Selected for"),
        Column("Rank"),
        Column("Among top 8 of"),
        Column("Mammograms"),
        Column("Share", percent),
        Column("Layer"),
        Column("Patients of top 32"),
        *(Column(f"Top 8 {name}") for name in names),
        Column("Label", long=True),
        Column("Answers", long=True),
    )
    return Table(
        columns,
        rows,
        "Units selected for a class (they may be selected for several). The label is the"
        " adjudicated text, else the first expert's substantive answer.",
        {"units": len(table), "labelled": int((table["label"] != "").sum())},
    )


def coverage(study: Path) -> Table:
    """Coverage per class with everything that stands beside it on the Units page."""
    dissect, run = newest(study, "dissect"), newest(study, "coverage")
    with store.read(study) as con:
        frame = unit_table.coverage(con, run)
    rows, names = [], class_words(study, dissect)
    for code in sorted(frame["class"].unique(), reverse=True):
        at = {r["name"]: r for r in frame[frame["class"] == code].to_dict("records")}
        share, _, _ = study_overview.labelled(study, dissect, int(code))
        rows.append(
            (
                names[int(code)],
                int(at["selected"]["n"]),
                at["selected"]["estimate"],
                at["interval"]["low"],
                at["interval"]["high"],
                at["split_half"]["estimate"],
                share,
                at["chance"]["estimate"],
            )
        )
    columns = (
        Column("Class"),
        Column("Mammograms"),
        Column("Selected", percent, interval=True),
        *(Column(n, percent) for n in ("Split half", "Labelled", "Chance")),
    )
    return Table(
        columns,
        rows,
        "Share of the slots of the most influential units. Selected: measured on the mammograms"
        " that chose the units, hence optimistic; split half: chosen on one half of the patients,"
        " measured on the other; labelled: selected units that carry a label.",
        {"mammograms": rows[0][1]},
        str(at["interval"]["method"]),
    )


def agreement(study: Path) -> Table:
    """Agreement between annotators, as on the Annotations page."""
    found, raters = agreement_rows(study)
    rows = [(r.name, r.estimate, r.low, r.high, r.n, r.method, r.reason or "") for r in found]
    columns = (
        Column("What"),
        Column("Agreement", decimal, interval=True),
        Column("n"),
        Column("Method", long=True),
        Column("Remark"),
    )
    return Table(
        columns,
        rows,
        f"{raters} annotators, first answers; practice left out.",
        {"annotators": raters},
    )


def similarity_table(study: Path) -> Table:
    """Explanations against report lines, as on the Explanations page."""
    run = newest(study, "explain")
    found = similarity(study, run)
    if not found:
        raise Missing(
            "Annotation",
            "no explained mammogram has a report line, or no unit a label",
            "deepminer invite annotator",
        )
    rows = [
        (
            r.words,
            r.measure,
            r.result.mean.estimate,
            r.result.mean.low,
            r.result.mean.high,
            r.result.baseline,
            r.result.p_greater,
            r.result.pairs,
            r.result.undefined,
            r.result.oov_reference,
            r.result.oov_hypothesis,
            r.published,
        )
        for r in found
    ]
    columns = (
        Column("Words"),
        Column("Measure"),
        Column("Mean", decimal, interval=True),
        Column("Permuted", decimal),
        Column("P", bare_p),
        Column("Pairs"),
        Column("Undefined"),
        Column("Unknown in reports", percent),
        Column("Unknown in explanations", percent),
        Column("Published v1", decimal),
    )
    return Table(
        columns,
        rows,
        f"Word vectors: {found[0].vectors}. Permuted: reports exchanged between patients. Unknown:"
        " words outside the vocabulary.",
        {"explanations": found[0].result.pairs},
        found[0].sentence(),
    )
