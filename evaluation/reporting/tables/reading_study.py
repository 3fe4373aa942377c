"""Tables of the reading study: its protocol, its results and example cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.sessions.arms import ARM_TITLES
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import FROZEN_STATES
from core.store.reading.protocol_table import Protocol
from evaluation.clustered import clustered_proportion
from evaluation.intervals import Interval, count_text, decimal, display_name, p_text
from evaluation.proportion import exact_binomial_test
from evaluation.queries.provenance import MissingInput
from evaluation.reading_study import ReadingScore, workflow
from evaluation.reading_study.leakage_issues import acceptance_reason
from evaluation.reading_study.narrative import SIDE_NAMES, narrative
from evaluation.reading_study.primary import MISSING_NAMES, comparison_name
from evaluation.reporting.base import load_closed_study, primary_answers
from evaluation.reporting.methods_text import analysis_sentences
from evaluation.reporting.tables.base import Table, TableColumn, format_p, format_value
from evaluation.roc import AucInterval

EXAMPLE_COUNT = 3
# Settings whose values are identifiers of the program, and not text that people entered.
CODED_SETTINGS = (
    "truth_rule",
    "primary",
    "goal",
    "multiplicity",
    "missing_answers",
    "spending",
    "advice",
)
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
        f" from 1 to {score.design.scale}; {score.design.threshold} or higher means"
        f" {score.design.positive}.",
        {"cases": len(rows)},
    )


def build_reading_table(study: Path) -> Table:
    """Tabulate the results of the reading study: the prespecified one first, each quantity once."""
    protocol, score = load_closed_study(study)
    columns = (
        TableColumn("Result", wrap=True),
        TableColumn("Value", _format_result, interval=True),
        TableColumn("P or remark", wrap=True),
    )
    return Table(
        columns,
        [
            *_primary_results(score),
            *_sensitivity_analyses(score),
            *_accuracy_results(score),
            *_exploratory_results(score),
        ],
        f'Reading study "{protocol.protocol}", version {protocol.version}, protocol'
        f" {protocol.hash[:12]}; truth rule {display_name(score.design.truth_rule)}. Intervals have"
        " the level of the heading unless a remark says otherwise, and are clustered by patient."
        " Sensitivity analyses repeat the primary test of the same answers by other methods or with"
        " another rule for missing answers. Exploratory results were not prespecified.",
        {
            "answers": score.primary.given,
            "patients": score.patients,
            "readers": len(score.readers),
        },
        narrative(score),
    )


def _primary_results(score: ReadingScore) -> list[_ResultRow]:
    """Return the prespecified result, and the proportion correct where that is another quantity."""
    primary, proportion = score.primary, score.proportion
    count = f"({primary.correct:,} of {primary.n:,})"
    kind = f"{SIDE_NAMES[primary.side]}, {100 * primary.level:.3g} % CI"
    if primary.endpoint == "proportion":
        remark = f"{p_text(primary.p_value)}; {kind}"
        title = f"Primary: proportion correct {count}"
        return [(title, primary.estimate, primary.low, primary.high, remark)]
    if primary.comparisons:
        rows: list[_ResultRow] = [
            (
                f"Primary: AUC, {comparison_name(score.design.arms[0], test.other)}",
                test.estimate,
                test.low,
                test.high,
                f"{p_text(test.p_value)}{_adjusted(test.p_value, test.adjusted_p_value)}; {kind}"
                + (f"; {test.reason}" if test.reason else ""),
            )
            for test in primary.comparisons
        ]
    else:
        remark = f"{p_text(primary.p_value)}; {kind}"
        title = "Primary: AUC of the ratings"
        rows = [(title, primary.estimate, primary.low, primary.high, remark)]
    title = f"Proportion correct {count}"
    remark = proportion.reason or ""
    return [*rows, (title, proportion.estimate, proportion.low, proportion.high, remark)]


def _adjusted(p: float | None, adjusted: float | None) -> str:
    """Return an adjusted P as text where adjusting changed it."""
    return "" if adjusted is None or adjusted == p else f" (adjusted {p_text(adjusted)})"


def _sensitivity_analyses(score: ReadingScore) -> list[_ResultRow]:
    """Return other tests of the same answers, without further intervals of the same quantity.

    Where the endpoint is another one they do not repeat its test, and are called what they test.
    """
    is_repeated = score.primary.endpoint == "proportion"
    kind = "Sensitivity analysis" if is_repeated else "Proportion correct against .5"
    clusters, exact, two_sided = score.clusters, score.binomial, score.binomial_two_sided
    rows: list[_ResultRow] = [
        (
            f"Sensitivity analysis: missing answers {MISSING_NAMES[result.missing_rule]}",
            result.estimate,
            None,
            None,
            f"{p_text(result.p_value)}, {count_text(result.missing, 'missing answer')}",
        )
        for result in score.missing_analyses
    ]
    flips = clusters.sign_flip_p_greater, clusters.sign_flip_p_two_sided
    # By the setting of the design; the prespecified test itself stands above.
    tests = {
        "gee": ("GEE", *clusters.gee_p_values),
        "sign_flip": ("patient sign-flip", *flips),
        "exact_binomial": (
            "exact binomial, assumes independence",
            exact.p_value,
            two_sided.p_value,
        ),
        "": ("exchange of truth between patients", score.permutation_p_greater, None),
    }
    rows += [
        (
            f"{kind}: {name}",
            None,
            None,
            None,
            f"{p_text(one)}, one-sided" + ("" if two is None else f"; {p_text(two)}, two-sided"),
        )
        for analysis, (name, one, two) in tests.items()
        if analysis != score.design.primary
    ]
    return [
        *rows,
        ("Patients", clusters.clusters, None, None, ""),
        (
            "Intraclass correlation",
            clusters.icc,
            None,
            None,
            clusters.clustering_text()
            if clusters.icc is None
            else "similarity of the answers to one patient, by analysis of variance",
        ),
        (
            "Design effect",
            clusters.design_effect,
            None,
            None,
            "variance between patients divided by that of independent answers",
        ),
        ("Critical count of the exact test", exact.critical_count, None, None, ""),
        ("Answers that would change its conclusion", exact.answers_to_flip, None, None, ""),
    ]


def _accuracy_results(score: ReadingScore) -> list[_ResultRow]:
    """Return the accuracy of the ratings, of each of several readers, and of the network."""
    network = score.network
    named: list[tuple[str, Interval | AucInterval]] = [
        ("Sensitivity", score.table.sensitivity),
        ("Specificity", score.table.specificity),
    ]
    if score.primary.endpoint != "auc":
        named.append(("AUC of the ratings", score.roc))
    # With one reader these are the quantities above.
    if len(score.readers) > 1:
        if score.readers_auc is not None:
            named.append(("Mean AUC over readers", score.readers_auc))
        for reader in score.readers:
            named.append((f"Proportion correct, reader {reader.code}", reader.share))
            named.append((f"AUC, reader {reader.code}", reader.auc))
    named.append(("AUC of the network alone", network.auc))
    rows: list[_ResultRow] = [
        *((name, v.estimate, v.low, v.high, v.reason or "") for name, v in named),
        (
            f"Network correct at its hold-out threshold, of {network.n:,}",
            network.right,
            None,
            None,
            "" if network.threshold is None else f"threshold {decimal(network.threshold)}",
        ),
    ]
    if score.advice is None:
        return rows
    title = f"Network correct by the decision that the advice states, of {network.n:,}"
    remark = (
        ""
        if network.decision_differs is None
        else f"more probable class; {count_text(network.decision_differs, 'case')} decided"
        " otherwise at the threshold"
    )
    return [*rows, (title, network.decision_right, None, None, remark)]


def _exploratory_results(score: ReadingScore) -> list[_ResultRow]:
    """Return the further arms, and the differences in proportion correct between arms."""
    rows: list[_ResultRow] = [
        (
            f"Exploratory: proportion correct, arm {ARM_TITLES[a.arm]}, n = {a.clusters.n:,}",
            a.clusters.estimate,
            a.clusters.korn_graubard_low,
            a.clusters.korn_graubard_high,
            "",
        )
        for a in score.arms[1:]
    ]
    rows += [
        (
            f"Exploratory: proportion correct, {comparison_name(d.first, d.second)}",
            d.difference.estimate,
            d.difference.low,
            d.difference.high,
            f"{count_text(d.pairs, 'pair')}, sign-flip {p_text(d.sign_flip_p_two_sided)}"
            f"{_adjusted(d.sign_flip_p_two_sided, d.adjusted_p_two_sided)}, two-sided",
        )
        for d in score.comparisons
    ]
    return [*rows, *_reliance_results(score)]


def _reliance_results(score: ReadingScore) -> list[_ResultRow]:
    """Return what readers changed after advice, by arm; empty in a study without advice."""
    if score.advice is None:
        return []
    intervals = [
        (f"{title}, arm {ARM_TITLES[arm.arm]}", interval)
        for arm in score.advice.arms
        for title, interval in (
            (
                f"change in correctness ({arm.to_right} to right, {arm.to_wrong} to wrong of"
                f" {arm.answers:,})",
                arm.change,
            ),
            ("relative reliance on the network", arm.reliance_on_network),
            ("relative reliance on oneself", arm.reliance_on_self),
        )
    ]
    rows: list[_ResultRow] = [
        (f"Exploratory: {name}", value.estimate, value.low, value.high, value.reason or "")
        for name, value in intervals
    ]
    for pair in score.advice.comparisons:
        value = pair.over_reliance
        remark = "; ".join(filter(None, (pair.kind, value.reason)))
        title = f"Exploratory: over-reliance, {comparison_name(pair.arm, pair.control)}"
        rows.append((title, value.estimate, value.low, value.high, remark))
    return [
        *rows,
        *(
            (f"Exploratory: median time, arm {ARM_TITLES[arm.arm]}", None, None, None, arm.times)
            for arm in score.advice.arms
        ),
    ]


def _format_result(value: Any) -> str:
    return decimal(value) if isinstance(value, float) else format_value(value)


def build_truth_rule_table(study: Path) -> Table:
    """Tabulate the correct answers and the P values by truth rule and method."""
    _, score = load_closed_study(study)
    answers = primary_answers(study)
    with store.read(study) as con:
        answers = answers.merge(
            workflow.load_truth_by_rule(con, score.design), on="mammogram_id", how="left"
        )
    called_positive = answers["answer"] >= score.design.threshold
    rows: list[tuple[Any, ...]] = []
    for r in score.rules:
        # A case that is unproven by this rule has no truth, and so no correct answer.
        known = answers[r.rule].isin([score.design.positive, score.design.comparison])
        is_positive = answers[r.rule] == score.design.positive
        correct = (is_positive == called_positive)[known].to_numpy(bool)
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
                *clusters.gee_p_values,
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
        "Sensitivity analyses of the proportion correct. P values are one-sided unless stated and"
        " are not adjusted for their number. Exact and mid-p assume independent answers; the other"
        " methods take patients as clusters.",
        {"answers": score.primary.given, "patients": score.patients},
    )


def build_protocol_table(study: Path) -> Table:
    """Tabulate the newest frozen protocol."""
    with store.read(study) as con:
        frozen = [p for p in protocol_table.list_protocols(con) if p.state in FROZEN_STATES]
    if not frozen:
        raise MissingInput("Reading", "no protocol has been frozen", "deepminer reading freeze")
    return frozen_protocol_table(frozen[-1])


def frozen_protocol_table(protocol: Protocol) -> Table:
    """Tabulate what freezing a protocol fixed.

    Every setting, the hash, and the leakage issues with the reasons for accepting warnings.
    """
    design = workflow.protocol_design(protocol)
    rows = [
        ("name", protocol.protocol),
        ("version", str(protocol.version)),
        ("state", protocol.state),
        ("hash (SHA-256)", protocol.hash),
        ("content hash (SHA-256)", protocol.content_hash or "none: frozen by the first release"),
        ("frozen by", "the team"),
        ("explain run", protocol.run),
        # Settings at their defaults are not part of the stored design, but of the plan.
        ("analysis plan", analysis_sentences(design)),
        ("labels", workflow.frozen_label_sentence(protocol)),
    ]
    rows += [
        (display_name(key), _format_setting(key, value))
        for key, value in protocol.design.items()
        if key not in ("flow", "reasons", "name", "label_set", "labels")
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
    values = value if isinstance(value, list) else [value]
    # The practice cases are lists of texts.
    texts = [_setting_text(v) for v in values]
    if name == "arms":
        return ", ".join(ARM_TITLES[arm] for arm in texts)
    return ", ".join(map(display_name, texts) if name in CODED_SETTINGS else texts)


def _setting_text(value: Any) -> str:
    """Return one value of a setting as text: a question, the texts of a practice case, a name."""
    if isinstance(value, dict):
        options = f": {' | '.join(value['options'])}" if value["options"] else ""
        return f"{value['text']} ({value['kind']}{options})"
    if value is None:
        # Of the advice of practice cases.
        return "no advice"
    return " | ".join(value) if isinstance(value, list) else str(value)
