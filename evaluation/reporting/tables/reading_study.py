"""Tables of the reading study: its protocol, its results and example cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.store import protocol_table, reading_table
from core.store.protocol_table import Protocol
from evaluation.clustered import clustered_proportion
from evaluation.intervals import decimal, display_name, p_text
from evaluation.proportion import exact_binomial_test
from evaluation.queries.provenance import MissingInput
from evaluation.reading_study import ReadingScore, workflow
from evaluation.reading_study.leakage_issues import acceptance_reason
from evaluation.reading_study.narrative import SIDE_NAMES, narrative
from evaluation.reporting.base import load_closed_study, primary_answers
from evaluation.reporting.tables.base import Table, TableColumn, format_p, format_value

EXAMPLE_COUNT = 3
# Settings whose values are identifiers of the program, and not text that people entered.
CODED_SETTINGS = ("arms", "truth_rule", "primary")
# A row of the results: name, value, lower bound, upper bound, P or remark.
_ResultRow = tuple[str, Any, Any, Any, str]


def build_example_table(study: Path) -> Table:
    """List the first three cases with the texts shown, the truth and the answers.

    As Table 1 of HDSR 2021.
    """
    protocol, score = load_closed_study(study)
    with store.read(study) as con:
        cases = reading_table.load_reading_cases(con, protocol.protocol, protocol.version)
    primary_arm = cases[cases["arm"] == score.design.arms[0]]
    answers = {
        case: ", ".join(f"{a.code}: {a.answer}" for a in rows.itertuples())
        for case, rows in primary_answers(study).groupby("case_number")
    }
    rows = [
        (
            int(c["case_number"]),
            "; ".join(c["texts"]),
            c["truth"],
            c["predicted"],
            c["network_score"],
            answers.get(c["case_number"], ""),
        )
        for c in primary_arm.sort_values("case_number").head(EXAMPLE_COUNT).to_dict("records")
    ]
    return Table(
        (
            TableColumn("Case"),
            TableColumn("Texts shown", wrap=True),
            TableColumn("Truth"),
            TableColumn("Network"),
            TableColumn("Network score", decimal),
            TableColumn("Answers", wrap=True),
        ),
        rows,
        f"The first {EXAMPLE_COUNT} cases of the frozen protocol, not selected by hand. Answers"
        f" from 1 to {score.design.scale}; {score.design.threshold} or higher means malignant.",
        {"cases": len(rows)},
    )


def build_reading_table(study: Path) -> Table:
    """Tabulate the results of the reading study, in the order of the Results page."""
    protocol, score = load_closed_study(study)
    columns = (
        TableColumn("Result", wrap=True),
        TableColumn("Value", _format_result, interval=True),
        TableColumn("P or remark", wrap=True),
    )
    return Table(
        columns,
        [*_overall_results(score), *_accuracy_results(score), *_breakdown_results(score)],
        f'Reading study "{protocol.protocol}", version {protocol.version}, protocol'
        f" {protocol.hash[:12]}; truth rule {display_name(score.design.truth_rule)}.",
        {
            "answers": score.primary.n,
            "patients": score.patients,
            "readers": len(score.readers),
        },
        narrative(score),
    )


def _overall_results(score: ReadingScore) -> list[_ResultRow]:
    """Return the primary result and its sensitivity analyses."""
    primary, clusters = score.primary, score.clusters
    exact, two_sided = score.binomial, score.binomial_two_sided
    return [
        (
            f"Proportion correct, primary ({primary.correct} of {primary.n})",
            primary.estimate,
            primary.low,
            primary.high,
            f"{p_text(primary.p_value)}, {SIDE_NAMES[primary.side]}",
        ),
        ("Patients", clusters.clusters, None, None, ""),
        (
            "Intraclass correlation",
            clusters.icc,
            None,
            None,
            clusters.clustering_text() if clusters.icc is None else "",
        ),
        ("Design effect", clusters.design_effect, None, None, ""),
        (
            "GEE",
            clusters.gee_estimate,
            clusters.gee_low,
            clusters.gee_high,
            f"{p_text(clusters.gee_p_greater)}, one-sided",
        ),
        (
            "Patient sign-flip",
            None,
            None,
            None,
            f"{p_text(clusters.sign_flip_p_greater)}, one-sided;"
            f" {p_text(clusters.sign_flip_p_two_sided)}, two-sided",
        ),
        (
            "Exact binomial (assumes independence)",
            exact.estimate,
            two_sided.low,
            two_sided.high,
            f"{p_text(exact.p_value)}, one-sided; {p_text(two_sided.p_value)}, two-sided",
        ),
        ("Critical count", exact.critical_count, None, None, ""),
        ("Answers that would change the conclusion", exact.answers_to_flip, None, None, ""),
    ]


def _accuracy_results(score: ReadingScore) -> list[_ResultRow]:
    """Return the accuracy of the ratings and of the network alone."""
    sensitivity, specificity = score.table.sensitivity, score.table.specificity
    ratings, network = score.roc, score.network.auc
    permutation = f"{p_text(score.permutation_p_greater)}, one-sided"
    return [
        ("Sensitivity", sensitivity.estimate, sensitivity.low, sensitivity.high, ""),
        ("Specificity", specificity.estimate, specificity.low, specificity.high, ""),
        ("Patient permutation", None, None, None, permutation),
        ("AUC of the ratings", ratings.estimate, ratings.low, ratings.high, ratings.reason or ""),
        (
            "AUC of the network alone",
            network.estimate,
            network.low,
            network.high,
            network.reason or "",
        ),
        (
            f"Network correct at its hold-out threshold, of {score.network.n}",
            score.network.right,
            None,
            None,
            "",
        ),
    ]


def _breakdown_results(score: ReadingScore) -> list[_ResultRow]:
    """Return the results by reader and by arm, and the differences between arms."""
    rows: list[_ResultRow] = [
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
            f"Arm {display_name(a.arm)}, n = {a.clusters.n}",
            a.clusters.estimate,
            a.clusters.bootstrap_low,
            a.clusters.bootstrap_high,
            "",
        )
        for a in score.arms
    ]
    rows += [
        (
            f"{display_name(d.first)} minus {display_name(d.second)}",
            d.difference.estimate,
            d.difference.low,
            d.difference.high,
            f"{d.pairs} pairs, sign-flip {p_text(d.sign_flip_p_two_sided)}",
        )
        for d in score.comparisons
    ]
    return rows


def _format_result(value: Any) -> str:
    return decimal(value) if isinstance(value, float) else format_value(value)


def build_truth_rule_table(study: Path) -> Table:
    """Tabulate the correct answers and the P values by truth rule and method."""
    _, score = load_closed_study(study)
    answers = primary_answers(study)
    with store.read(study) as con:
        answers = answers.merge(workflow.load_truth_by_rule(con), on="mammogram_id", how="left")
    called_malignant = answers["answer"] >= score.design.threshold
    rows: list[tuple[Any, ...]] = []
    for r in score.rules:
        # A case that is unproven by this rule has no truth, and so no correct answer.
        known = answers[r.rule].isin(["malignant", "benign"])
        correct = ((answers[r.rule] == "malignant") == called_malignant)[known].to_numpy(bool)
        clusters = clustered_proportion(correct, answers["patient_id"][known].to_numpy())
        two_sided = exact_binomial_test(int(correct.sum()), len(correct), alternative="two-sided")
        rows.append(
            (
                display_name(r.rule) + (" (primary)" if r.rule == score.design.truth_rule else ""),
                r.correct,
                r.n,
                r.unproven,
                r.differing,
                r.binomial.p_value,
                two_sided.p_value,
                r.binomial.mid_p_value,
                clusters.gee_p_greater,
                clusters.gee_p_two_sided,
                clusters.sign_flip_p_greater,
                clusters.patient_weighted_p_greater,
            )
        )
    methods = (
        "Exact",
        "Exact, two-sided",
        "Mid-p",
        "GEE",
        "GEE, two-sided",
        "Sign-flip",
        "Patient-weighted",
    )
    columns = (
        TableColumn("Truth rule", wrap=True),
        TableColumn("Correct"),
        TableColumn("n"),
        TableColumn("Unproven, excluded"),
        TableColumn("Differ from primary"),
        *(TableColumn(f"P {method}", format_p) for method in methods),
    )
    return Table(
        columns,
        rows,
        "P values are one-sided unless stated. Exact and mid-p assume independent answers; the"
        " other methods take patients as clusters. P values are not adjusted for their number: one"
        " was prespecified.",
        {"answers": score.primary.n, "patients": score.patients},
    )


def build_protocol_table(study: Path) -> Table:
    """Tabulate the newest frozen protocol."""
    with store.read(study) as con:
        frozen = [
            p
            for p in protocol_table.list_protocols(con)
            if p.state in ("frozen", "closed", "unblinded")
        ]
    if not frozen:
        raise MissingInput("Reading", "no protocol has been frozen", "deepminer reading freeze")
    return frozen_protocol_table(frozen[-1])


def frozen_protocol_table(protocol: Protocol) -> Table:
    """Tabulate what freezing a protocol fixed.

    Every setting, the hash, and the leakage issues with the reasons for accepting warnings.
    """
    rows = [
        ("name", protocol.protocol),
        ("version", str(protocol.version)),
        ("state", protocol.state),
        ("hash (SHA-256)", protocol.hash),
        ("frozen by", "the team"),
        ("explain run", protocol.run),
    ]
    rows += [
        (display_name(key), _format_setting(key, value))
        for key, value in protocol.design.items()
        if key not in ("flow", "reasons", "name")
    ]
    for issue in protocol.lint:
        text = issue["finding"]
        if issue["severity"] == "warning":
            reasons = protocol.design["reasons"]
            text += f" (accepted: {acceptance_reason(reasons, issue['field'], issue['finding'])})"
        rows.append((f"leakage {issue['severity']}: {issue['field']}", text))
    return Table(
        (TableColumn("Item"), TableColumn("Value", wrap=True)),
        rows,
        "As frozen; any change would have created a new version.",
    )


def _format_setting(name: str, value: Any) -> str:
    """Return a setting of a protocol as text; None means that nothing is limited."""
    if value is None:
        return "not limited"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    texts = [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return ", ".join(map(display_name, texts) if name in CODED_SETTINGS else texts)
