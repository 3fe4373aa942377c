"""Tables for print: the numbers of the pages as CSV, Excel, LaTeX (booktabs) and Markdown, each with its passport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from core import store
from core.naming import CLASSES, SPLITS
from core.store import annotations, data, readings
from core.store import units as unit_table
from evaluation import gallery, overview, performance
from evaluation.clustered import clustered_proportion
from evaluation.figures.drawn import newest
from evaluation.figures.reading import agreement_rows, answered, scored
from evaluation.passport import Missing
from evaluation.proportion import exact_binomial_test
from evaluation.reading_text import SIDES
from evaluation.report_similarity import similarity
from evaluation.results import decimal, p_text, percent
from evaluation.steps import reading as stages

SPLIT = "test"
EXAMPLES = 3


def as_text(value: Any) -> str:
    """A value as it is, a dash for none."""
    if value is None or (isinstance(value, float) and value != value) or value is pd.NA:
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def bare_p(value: float | None) -> str:
    """A P value under a heading that says P."""
    return p_text(value).removeprefix("P ").removeprefix("= ")


@dataclass(frozen=True)
class Column:
    """A column: its heading, and how its values are printed in LaTeX and Markdown (CSV and Excel keep the numbers)."""

    heading: str
    shown: Callable[[Any], str] = as_text
    long: bool = False


@dataclass(frozen=True)
class Table:
    """A table: columns, raw rows, a note on what the numbers are, n at each level, and the method."""

    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]
    note: str
    counts: dict[str, int] = field(default_factory=dict)
    method: str = ""

    def raw(self) -> pd.DataFrame:
        """Numbers as numbers."""
        return pd.DataFrame(self.rows, columns=[c.heading for c in self.columns])

    def shown(self) -> pd.DataFrame:
        """Text as it is printed."""
        return pd.DataFrame([[c.shown(v) for c, v in zip(self.columns, row)] for row in self.rows], columns=[c.heading for c in self.columns])


@dataclass(frozen=True)
class TableKind:
    """A table that can be built: names of its inputs and what builds it from a study."""

    name: str
    title: str
    needs: tuple[str, ...]
    build: Callable[[Path], Table] = field(repr=False)


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part / whole)})" if whole else f"{part:,}"


def cohort(study: Path) -> Table:
    """Patients, mammograms, findings and patches by split (Table 1)."""
    run = newest(study, "patches")
    with store.read(study) as con:
        people = data.patients(con).merge(data.splits(con, run), on="patient_id")
        films, findings, patches = data.mammograms(con), data.findings(con), data.patch_counts(con, run)
    films = films.merge(people[["patient_id", "split"]], on="patient_id")
    findings = findings.merge(films[["mammogram_id", "split"]], on="mammogram_id")

    def row(name: str, value: Callable[[list[str]], str]) -> tuple[str, ...]:
        return (name, *(value([split]) for split in SPLITS), value(list(SPLITS)))

    def patients(splits: list[str]) -> pd.DataFrame:
        return people[people["split"].isin(splits)]

    rows = [row("Patients", lambda s: f"{len(patients(s)):,}"), row("Mammograms", lambda s: f"{films['split'].isin(s).sum():,}")]
    if people["age"].notna().any():
        rows.append(row("Age, mean (SD)", lambda s: f"{patients(s)['age'].mean():.1f} ({patients(s)['age'].std():.1f})"))
    for density in sorted(people["density"].dropna().unique()):
        rows.append(row(f"Density {int(density)}, patients", lambda s, d=density: _share(int((patients(s)["density"] == d).sum()), len(patients(s)))))
    for pathology in sorted(findings["pathology"].unique()):
        rows.append(row(f"Findings {pathology.lower().replace('_', ' ')}", lambda s, p=pathology: f"{(findings['split'].isin(s) & (findings['pathology'] == p)).sum():,}"))

    def count(splits: list[str], codes: list[int]) -> int:
        return int(patches[patches["split"].isin(splits) & patches["label"].isin(codes)]["patches"].sum())

    for code, name in enumerate(CLASSES):
        rows.append(row(f"Patches {name}", lambda s, c=code: _share(count(s, [c]), count(s, [0, 1, 2]))))
    columns = (Column("Characteristic"), Column("Training"), Column("Hold-out"), Column("Test"), Column("All"))
    return Table(columns, rows, "Split by patient: all images of a patient are in one split. A patch's class by the overlap rule of the settings.",
                 {"patients": len(people), "mammograms": len(films), "findings": len(findings)})


def classifiers(study: Path) -> Table:
    """AUC, partial AUC and specificity per level and class, as on the Performance page."""
    run = newest(study, "evaluate")
    rows, counts = [], {}
    for level in performance.LEVELS:
        seen = performance.observations(study, run, SPLIT, level)
        counts[{"patch": "patches", "image": "mammograms", "case": "patients"}[level]] = len(seen.truth)
        for r in performance.class_results(study, run, SPLIT, level)[::-1]:
            rows.append((level, r.name, len(seen.truth), seen.patients, r.auc.estimate, r.auc.low, r.auc.high, r.partial.raw, r.partial.fraction, r.partial.mcclish,
                         r.partial.deepminer_2021, r.specificity.interpolated, r.auc.reason or ""))
    numbers = [Column(name, decimal) for name in ("AUC", "95 % low", "95 % high", "pAUC raw", "pAUC / 0.2", "pAUC McClish", "DeepMiner 2021 formula", "Specificity at .8")]
    return Table((Column("Level"), Column("Class"), Column("n"), Column("Patients"), *numbers, Column("Remark")), rows,
                 f"{SPLIT.capitalize()} split, one class against the rest. Partial AUC over sensitivity .8 to 1 (largest .2, chance .02); the DeepMiner 2021 formula has chance .036.", counts,
                 "Intervals by Obuchowski's method with patients as clusters.")


def architectures(study: Path) -> Table:
    """Every evaluated network with the published values (SPIE 2018, Table 1)."""
    newest(study, "evaluate")
    found = performance.architectures(study, SPLIT, "patch")
    rows = []
    for r in found:
        areas = [r.auc.get(name) for name in CLASSES[::-1]]
        rows.append((r.architecture, r.weights, r.epochs, r.n, r.patients, *(v for a in areas for v in ((a.estimate, a.low, a.high) if a else (None,) * 3)),
                     r.published.get("malignant"), r.published.get("malignant (two classes)"), r.source, r.run))
    shown = {r.architecture for r in found}
    for name, (values, source) in performance.PUBLISHED_ARCHITECTURES.items():
        if name not in shown:
            rows.append((name, "", None, None, None, *(None,) * 9, values.get("malignant"), values.get("malignant (two classes)"), source, "published only"))
    numbers = [Column(f"{name} {what}", decimal) for name in CLASSES[::-1] for what in ("AUC", "low", "high")]
    columns = (Column("Network"), Column("Weights"), Column("Epochs"), Column("n patches"), Column("Patients"), *numbers, Column("Published malignant", lambda v: decimal(v, 4)),
               Column("Published, two classes", lambda v: decimal(v, 4)), Column("Published in", long=True), Column("Run"))
    return Table(columns, [tuple(None if isinstance(v, float) and v != v else v for v in row) for row in rows],
                 f"Patches of the {SPLIT} split. Published values are from other data: to be read beside, not compared.",
                 {"patches": max((r.n for r in found), default=0), "patients": max((r.patients for r in found), default=0)},
                 "Intervals by Obuchowski's method with patients as clusters.")


def units(study: Path) -> Table:
    """Selected units with their label and the raw answers it comes from."""
    dissect = newest(study, "dissect")
    table = gallery.rows(study, dissect)
    with store.read(study) as con:
        said = annotations.annotations(con, dissect)
    said = said[~said["practice"] & ~said["repeat"]] if len(said) else said
    raw = {unit: "; ".join(f"{r.code}: {r.answer['label'] or r.answer['recognisable']}" for r in rows.sort_values("code").itertuples())
           for unit, rows in said.groupby("unit")} if len(said) else {}
    rows = [(r["name"], ", ".join(r["classes"]), r["rank"], r["count"], r["images"], r["share"], r["layer"], r["top_patients"], r["malignant"], r["benign"], r["normal"], r["label"],
             raw.get(r["unit"], "")) for r in table.to_dict("records")]
    columns = (Column("Unit"), Column("Selected for"), Column("Rank"), Column("Among top 8 of"), Column("Mammograms"), Column("Share", percent), Column("Layer"), Column("Patients of top 32"),
               Column("Top 8 malignant"), Column("Top 8 benign"), Column("Top 8 normal"), Column("Label", long=True), Column("Answers", long=True))
    return Table(columns, rows, "Units selected for a class (they may be selected for several). The label is the adjudicated text, else the first expert's substantive answer.",
                 {"units": len(table), "labelled": int((table["label"] != "").sum())})


def coverage(study: Path) -> Table:
    """Coverage per class with everything that stands beside it on the Units page."""
    dissect, run = newest(study, "dissect"), newest(study, "coverage")
    with store.read(study) as con:
        frame = unit_table.coverage(con, run)
    rows = []
    for code in sorted(frame["class"].unique(), reverse=True):
        at = {r["name"]: r for r in frame[frame["class"] == code].to_dict("records")}
        share, _, _ = overview.labelled(study, dissect, int(code))
        rows.append((CLASSES[int(code)], int(at["selected"]["n"]), at["selected"]["estimate"], at["interval"]["low"], at["interval"]["high"], at["split_half"]["estimate"], share,
                     at["chance"]["estimate"]))
    columns = (Column("Class"), Column("Mammograms"), *(Column(n, percent) for n in ("Selected", "95 % low", "95 % high", "Split half", "Labelled", "Chance")))
    return Table(columns, rows, "Share of the slots of the most influential units. Selected: measured on the mammograms that chose the units, hence optimistic; split half: chosen on one "
                 "half of the patients, measured on the other; labelled: selected units that carry a label.", {"mammograms": rows[0][1]}, str(at["interval"]["method"]))


def examples(study: Path) -> Table:
    """The first three cases of the reading study with what was shown, the truth and the answers (HDSR Table 1)."""
    protocol, score = scored(study)
    with store.read(study) as con:
        cases = readings.cases(con, protocol.protocol, protocol.version)
    arm = cases[cases["arm"] == score.design.arms[0]].sort_values("case_number").head(EXAMPLES)
    answers = answered(study)
    rows = [(int(c["case_number"]), "; ".join(c["texts"]), c["truth"], c["predicted"], c["network_score"],
             ", ".join(f"{a.code}: {a.answer}" for a in answers[answers["case_number"] == c["case_number"]].itertuples())) for c in arm.to_dict("records")]
    return Table((Column("Case"), Column("Texts shown", long=True), Column("Truth"), Column("Network"), Column("Network score", decimal), Column("Answers")), rows,
                 f"The first {EXAMPLES} cases of the frozen protocol, not picked. Answers 1 to {score.design.scale}; {score.design.threshold} and more say malignant.", {"cases": len(rows)})


def agreement(study: Path) -> Table:
    """Agreement between annotators, as on the Annotations page."""
    found, raters = agreement_rows(study)
    rows = [(r.name, r.estimate, r.low, r.high, r.n, r.method, r.reason or "") for r in found]
    columns = (Column("What"), Column("Agreement", decimal), Column("95 % low", decimal), Column("95 % high", decimal), Column("n"), Column("Method", long=True), Column("Remark"))
    return Table(columns, rows, f"{raters} annotators, first answers; practice left out.", {"annotators": raters})


def reading(study: Path) -> Table:
    """Results of the reading study in the order of the Results page."""
    protocol, score = scored(study)
    first, c, b, two, t, n = score.primary, score.clusters, score.binomial, score.binomial_two_sided, score.table, score.network
    rows: list[tuple[str, Any, Any, Any, str]] = [
        (f"Share right, primary ({first.correct} of {first.n})", first.estimate, first.low, first.high, f"{p_text(first.p_value)}, {SIDES[first.side]}"),
        ("Patients", c.clusters, None, None, ""), ("Intraclass correlation", c.icc, None, None, ""), ("Design effect", c.design_effect, None, None, ""),
        ("GEE", c.gee_estimate, c.gee_low, c.gee_high, f"{p_text(c.gee_p_greater)}, one-sided"),
        ("Patient sign-flip", None, None, None, f"{p_text(c.sign_flip_p_greater)}, one-sided; {p_text(c.sign_flip_p_two_sided)}, two-sided"),
        ("Exact binomial (assumes independence)", b.estimate, two.low, two.high, f"{p_text(b.p_value)}, one-sided; {p_text(two.p_value)}, two-sided"),
        ("Critical count", b.critical_count, None, None, ""), ("Answers to flip", b.answers_to_flip, None, None, ""),
        ("Sensitivity", t.sensitivity.estimate, t.sensitivity.low, t.sensitivity.high, ""), ("Specificity", t.specificity.estimate, t.specificity.low, t.specificity.high, ""),
        ("Patient permutation", None, None, None, f"{p_text(score.permutation_p_greater)}, one-sided"),
        ("AUC of the ratings", score.roc.estimate, score.roc.low, score.roc.high, score.roc.reason or ""),
        ("AUC of the network alone", n.auc.estimate, n.auc.low, n.auc.high, n.auc.reason or ""),
        (f"Network right at its hold-out threshold, of {n.n}", n.right, None, None, ""),
    ]
    rows += [(f"Reader {r.code}, n = {r.n}", r.share.estimate, r.share.low, r.share.high, r.share.reason or "") for r in score.readers]
    rows += [(f"Arm {a.arm}, n = {a.clusters.n}", a.clusters.estimate, a.clusters.bootstrap_low, a.clusters.bootstrap_high, "") for a in score.arms]
    rows += [(f"{d.first} minus {d.second}", d.difference.estimate, d.difference.low, d.difference.high, f"{d.pairs} pairs, sign-flip {p_text(d.sign_flip_p_two_sided)}") for d in score.comparisons]
    columns = (Column("Result"), Column("Value", _number), Column("95 % low", decimal), Column("95 % high", decimal), Column("P or remark", long=True))
    return Table(columns, rows, f"Reading study \"{protocol.protocol}\", version {protocol.version}, protocol {protocol.hash[:12]}; truth rule {score.design.truth_rule}.",
                 {"answers": first.n, "patients": score.patients, "readers": len(score.readers)}, score.paragraph())


def _number(value: Any) -> str:
    return decimal(value) if isinstance(value, float) else as_text(value)


def truth_rules(study: Path) -> Table:
    """Right answers and P by every truth rule and method."""
    _, score = scored(study)
    table = answered(study)
    with store.read(study) as con:
        table = table.merge(stages.truth_rules(con), on="mammogram_id", how="left")
    said = table["answer"] >= score.design.threshold
    rows: list[tuple[Any, ...]] = []
    for r in score.rules:
        known = table[r.rule].isin(["malignant", "benign"])
        right = ((table[r.rule] == "malignant") == said)[known].to_numpy(bool)
        c = clustered_proportion(right, table["patient_id"][known].to_numpy())
        both = exact_binomial_test(int(right.sum()), len(right), alternative="two-sided")
        rows.append((r.rule.replace("_", " ") + (" (primary)" if r.rule == score.design.truth_rule else ""), r.correct, r.n, r.unproven, r.differing, r.binomial.p_value, both.p_value,
                     r.binomial.mid_p_value, c.gee_p_greater, c.gee_p_two_sided, c.sign_flip_p_greater, c.patient_weighted_p_greater))
    names = ("Exact", "Exact, two-sided", "Mid-p", "GEE", "GEE, two-sided", "Sign-flip", "Patient-weighted")
    columns = (Column("Truth rule"), Column("Right"), Column("n"), Column("Unproven, left out"), Column("Differ from primary"), *(Column(f"P {n}", bare_p) for n in names))
    return Table(columns, rows, "P one-sided unless said. Exact and mid-p assume independent answers; the others take patients as clusters. Not adjusted for their number: one was prespecified.",
                 {"answers": score.primary.n, "patients": score.patients})


def protocol_table(study: Path) -> Table:
    """The frozen protocol: every setting, its hash, the linter's warnings with the reasons given."""
    with store.read(study) as con:
        found = [p for p in readings.protocols(con) if p.state in ("frozen", "closed", "unblinded")]
    if not found:
        raise Missing("Reading", "no protocol has been frozen", "deepminer reading freeze")
    p = found[-1]
    rows = [("name", p.protocol), ("version", str(p.version)), ("state", p.state), ("hash (SHA-256)", p.hash), ("frozen by", "the team"), ("explain run", p.run)]
    rows += [(k.replace("_", " "), "not limited" if v is None else ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for k, v in p.design.items() if k not in ("flow", "reasons", "name")]
    rows += [(f"lint {f['severity']}: {f['field']}", f["finding"] + (f" (accepted: {p.design['reasons'].get(f['field'])})" if f["severity"] == "warning" else "")) for f in p.lint]
    return Table((Column("Item"), Column("Value", long=True)), rows, "As frozen; a change would have made a new version.")


def similarity_table(study: Path) -> Table:
    """Explanations against report lines, as on the Explanations page."""
    run = newest(study, "explain")
    found = similarity(study, run)
    if not found:
        raise Missing("Annotation", "no explained mammogram has a report line, or no unit a label", "deepminer invite annotator")
    rows = [(r.words, r.measure, r.result.mean.estimate, r.result.mean.low, r.result.mean.high, r.result.baseline, r.result.p_greater, r.result.pairs, r.result.undefined,
             r.result.oov_reference, r.result.oov_hypothesis, r.published) for r in found]
    columns = (Column("Words"), Column("Measure"), Column("Mean", decimal), Column("95 % low", decimal), Column("95 % high", decimal), Column("Permuted", decimal), Column("P", bare_p),
               Column("Pairs"), Column("Undefined"), Column("Unknown in reports", percent), Column("Unknown in explanations", percent), Column("Published v1", decimal))
    return Table(columns, rows, "Vectors from the study's own lines and labels. Permuted: reports exchanged between patients. Unknown: words outside the vocabulary.",
                 {"explanations": found[0].result.pairs}, found[0].sentence())


def checklist(study: Path) -> Table:
    """What the record can answer of STARD 2015, CLAIM 2024 and TRIPOD+AI."""
    from evaluation.checklist import items

    rows = [(i.guideline, i.number, i.text, i.state, i.evidence) for i in items(study)]
    return Table((Column("Guideline"), Column("Item"), Column("Asks for (our words)", long=True), Column("State"), Column("Evidence", long=True)), rows,
                 "Evidence found means only that the record holds something to look at; nothing is ticked off by itself. Wording of the items is ours: consult the guidelines.")


_CHAIN = ("data", "patches", "train", "evaluate")
TABLES: dict[str, TableKind] = {
    kind.name: kind
    for kind in (
        TableKind("cohort", "Patients and images by split", ("data", "patches"), cohort),
        TableKind("classifiers", "Performance of the classifier", _CHAIN, classifiers),
        TableKind("architectures", "Performance across architectures", _CHAIN, architectures),
        TableKind("units", "Selected units with their labels", ("dissect", "labels", "annotations"), units),
        TableKind("coverage", "Coverage of the selected units", ("dissect", "coverage", "labels"), coverage),
        TableKind("examples", "Example explanations", ("protocol",), examples),
        TableKind("agreement", "Agreement between annotators", ("dissect", "annotations"), agreement),
        TableKind("similarity", "Explanations against report lines", ("explain", "labels"), similarity_table),
        TableKind("reading", "Results of the reading study", ("protocol", "evaluate"), reading),
        TableKind("truth_rules", "Truth rules and methods", ("protocol",), truth_rules),
        TableKind("protocol", "Protocol of the reading study", ("protocol",), protocol_table),
        TableKind("checklist", "Reporting checklists", (*_CHAIN, "dissect", "labels", "protocol"), checklist),
    )
}

