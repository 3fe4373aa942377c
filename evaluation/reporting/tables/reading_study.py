"""Tables about the reading study and the reporting checklists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.store import reading_table
from core.store.reading_table import Protocol
from evaluation.clustered import clustered_proportion
from evaluation.intervals import decimal, p_text, words
from evaluation.proportion import exact_binomial_test
from evaluation.queries.provenance import Missing
from evaluation.reading_study import workflow
from evaluation.reading_study.leakage_checks import reason_for
from evaluation.reading_study.narrative import SIDES
from evaluation.reporting.figures.reading_study import answered, scored
from evaluation.reporting.tables.base import Column, Table, as_text, bare_p
from evaluation.reporting.tables.checklists import items

EXAMPLES = 3
# Settings whose values are names of the program's, not words that people typed.
CHOSEN = ("arms", "truth_rule", "primary")


def examples(study: Path) -> Table:
    """The first three cases of the reading study with what was shown, the truth and the answers
    (HDSR Table 1).
    """
    protocol, score = scored(study)
    with store.read(study) as con:
        cases = reading_table.cases(con, protocol.protocol, protocol.version)
    arm = cases[cases["arm"] == score.design.arms[0]].sort_values("case_number").head(EXAMPLES)
    answers = answered(study)
    rows = [
        (
            int(c["case_number"]),
            "; ".join(c["texts"]),
            c["truth"],
            c["predicted"],
            c["network_score"],
            ", ".join(
                f"{a.code}: {a.answer}"
                for a in answers[answers["case_number"] == c["case_number"]].itertuples()
            ),
        )
        for c in arm.to_dict("records")
    ]
    return Table(
        (
            Column("Case"),
            Column("Texts shown", long=True),
            Column("Truth"),
            Column("Network"),
            Column("Network score", decimal),
            Column("Answers"),
        ),
        rows,
        f"The first {EXAMPLES} cases of the frozen protocol, not picked. Answers 1 to"
        f" {score.design.scale}; {score.design.threshold} and more say malignant.",
        {"cases": len(rows)},
    )


def reading(study: Path) -> Table:
    """Results of the reading study in the order of the Results page."""
    protocol, score = scored(study)
    first, c, b, two, t, n = (
        score.primary,
        score.clusters,
        score.binomial,
        score.binomial_two_sided,
        score.table,
        score.network,
    )
    rows: list[tuple[str, Any, Any, Any, str]] = [
        (
            f"Share right, primary ({first.correct} of {first.n})",
            first.estimate,
            first.low,
            first.high,
            f"{p_text(first.p_value)}, {SIDES[first.side]}",
        ),
        ("Patients", c.clusters, None, None, ""),
        ("Intraclass correlation", c.icc, None, None, c.clustering() if c.icc is None else ""),
        ("Design effect", c.design_effect, None, None, ""),
        ("GEE", c.gee_estimate, c.gee_low, c.gee_high, f"{p_text(c.gee_p_greater)}, one-sided"),
        (
            "Patient sign-flip",
            None,
            None,
            None,
            (
                f"{p_text(c.sign_flip_p_greater)}, one-sided; {p_text(c.sign_flip_p_two_sided)},"
                " two-sided"
            ),
        ),
        (
            "Exact binomial (assumes independence)",
            b.estimate,
            two.low,
            two.high,
            f"{p_text(b.p_value)}, one-sided; {p_text(two.p_value)}, two-sided",
        ),
        ("Critical count", b.critical_count, None, None, ""),
        ("Answers to flip", b.answers_to_flip, None, None, ""),
        ("Sensitivity", t.sensitivity.estimate, t.sensitivity.low, t.sensitivity.high, ""),
        ("Specificity", t.specificity.estimate, t.specificity.low, t.specificity.high, ""),
        (
            "Patient permutation",
            None,
            None,
            None,
            f"{p_text(score.permutation_p_greater)}, one-sided",
        ),
        (
            "AUC of the ratings",
            score.roc.estimate,
            score.roc.low,
            score.roc.high,
            score.roc.reason or "",
        ),
        ("AUC of the network alone", n.auc.estimate, n.auc.low, n.auc.high, n.auc.reason or ""),
        (f"Network right at its hold-out threshold, of {n.n}", n.right, None, None, ""),
    ]
    rows += [
        (
            f"Reader {r.code}, n = {r.n}",
            r.share.estimate,
            r.share.low,
            r.share.high,
            r.share.reason or "",
        )
        for r in score.readers
    ]
    rows += [
        (
            f"Arm {words(a.arm)}, n = {a.clusters.n}",
            a.clusters.estimate,
            a.clusters.bootstrap_low,
            a.clusters.bootstrap_high,
            "",
        )
        for a in score.arms
    ]
    rows += [
        (
            f"{words(d.first)} minus {words(d.second)}",
            d.difference.estimate,
            d.difference.low,
            d.difference.high,
            f"{d.pairs} pairs, sign-flip {p_text(d.sign_flip_p_two_sided)}",
        )
        for d in score.comparisons
    ]
    columns = (
        Column("Result"),
        Column("Value", _number, interval=True),
        Column("P or remark", long=True),
    )
    return Table(
        columns,
        rows,
        f'Reading study "{protocol.protocol}", version {protocol.version}, protocol'
        f" {protocol.hash[:12]}; truth rule {words(score.design.truth_rule)}.",
        {"answers": first.n, "patients": score.patients, "readers": len(score.readers)},
        score.paragraph(),
    )


def _number(value: Any) -> str:
    return decimal(value) if isinstance(value, float) else as_text(value)


def truth_rules(study: Path) -> Table:
    """Right answers and P by every truth rule and method."""
    _, score = scored(study)
    table = answered(study)
    with store.read(study) as con:
        table = table.merge(workflow.truth_rules(con), on="mammogram_id", how="left")
    said = table["answer"] >= score.design.threshold
    rows: list[tuple[Any, ...]] = []
    for r in score.rules:
        known = table[r.rule].isin(["malignant", "benign"])
        right = ((table[r.rule] == "malignant") == said)[known].to_numpy(bool)
        c = clustered_proportion(right, table["patient_id"][known].to_numpy())
        both = exact_binomial_test(int(right.sum()), len(right), alternative="two-sided")
        rows.append(
            (
                words(r.rule) + (" (primary)" if r.rule == score.design.truth_rule else ""),
                r.correct,
                r.n,
                r.unproven,
                r.differing,
                r.binomial.p_value,
                both.p_value,
                r.binomial.mid_p_value,
                c.gee_p_greater,
                c.gee_p_two_sided,
                c.sign_flip_p_greater,
                c.patient_weighted_p_greater,
            )
        )
    names = (
        "Exact",
        "Exact, two-sided",
        "Mid-p",
        "GEE",
        "GEE, two-sided",
        "Sign-flip",
        "Patient-weighted",
    )
    columns = (
        Column("Truth rule"),
        Column("Right"),
        Column("n"),
        Column("Unproven, left out"),
        Column("Differ from primary"),
        *(Column(f"P {n}", bare_p) for n in names),
    )
    return Table(
        columns,
        rows,
        "P one-sided unless said. Exact and mid-p assume independent answers; the others take"
        " patients as clusters. Not adjusted for their number: one was prespecified.",
        {"answers": score.primary.n, "patients": score.patients},
    )


def _setting(name: str, value: Any) -> str:
    """A setting of the protocol in words; None limits nothing."""
    if value is None or isinstance(value, bool):
        return "not limited" if value is None else "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    texts = [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return ", ".join(map(words, texts) if name in CHOSEN else texts)


def protocol_table(study: Path) -> Table:
    """The frozen protocol: every setting, its hash, the linter's warnings with the reasons given."""
    with store.read(study) as con:
        found = [
            p for p in reading_table.protocols(con) if p.state in ("frozen", "closed", "unblinded")
        ]
    if not found:
        raise Missing("Reading", "no protocol has been frozen", "deepminer reading freeze")
    return fixed_table(found[-1])


def fixed_table(p: Protocol) -> Table:
    """What freezing this version fixed."""
    rows = [
        ("name", p.protocol),
        ("version", str(p.version)),
        ("state", p.state),
        ("hash (SHA-256)", p.hash),
        ("frozen by", "the team"),
        ("explain run", p.run),
    ]
    rows += [
        (words(k), _setting(k, v))
        for k, v in p.design.items()
        if k not in ("flow", "reasons", "name")
    ]
    rows += [
        (
            f"lint {f['severity']}: {f['field']}",
            f["finding"]
            + (
                f" (accepted: {reason_for(p.design['reasons'], f['field'], f['finding'])})"
                if f["severity"] == "warning"
                else ""
            ),
        )
        for f in p.lint
    ]
    return Table(
        (Column("Item"), Column("Value", long=True)),
        rows,
        "As frozen; a change would have made a new version.",
    )


def checklist(study: Path) -> Table:
    """What the record can answer of STARD 2015, CLAIM 2024 and TRIPOD+AI."""
    rows = [(i.guideline, i.number, i.text, i.state, i.evidence) for i in items(study)]
    return Table(
        (
            Column("Guideline"),
            Column("Item"),
            Column("Asks for (our words)", long=True),
            Column("State"),
            Column("Evidence", long=True),
        ),
        rows,
        "Evidence found means only that the record holds something to look at; nothing is ticked"
        " off by itself. Wording of the items is ours: consult the guidelines.",
    )
