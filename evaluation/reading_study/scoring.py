"""The reading study after it is closed: the prespecified result first, then everything that could
explain it away (PAGES, Results).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.errors import UserError
from evaluation.clustered import ClusteredProportion, clustered_proportion
from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text, words
from evaluation.mrmc import StandaloneComparison, compare_with_standalone, obuchowski_rockette
from evaluation.permutation import PatientPermutations
from evaluation.proportion import BinomialTest, exact_binomial_test, proportion_interval
from evaluation.reading_study.arms import ArmComparison, ArmScore, arm_scores, compare_arms
from evaluation.reading_study.design import MALIGNANT, RULES, UNPROVEN, Design
from evaluation.reading_study.narrative import paragraph
from evaluation.reading_study.text_information import (
    Information,
    TextRepeats,
    information,
    text_repeats,
)
from evaluation.reading_study.timing import Conduct, conduct
from evaluation.roc import AucInterval, auc_interval
from evaluation.roc.diagnostic import DiagnosticTable, diagnostic_table
from evaluation.validation import Array


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The prespecified analysis: share right with interval and P for the side fixed beforehand."""

    correct: int
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    side: str
    alpha: float
    method: str
    significant: bool | None
    reason: str | None = None
    unit: str = "patient"

    def sentence(self) -> str:
        """For a results section."""
        if self.p_value is None:
            return (
                f"{self.correct} of {self.n} right; the primary analysis is"
                f" {not_estimable(self.reason)}."
            )
        return (
            f"{self.correct} of {self.n} right; {self.method}: {decimal(self.estimate)}"
            f" ({interval_text(self.low, self.high, 1 - self.alpha, self.reason)}), prespecified"
            f" {'one-sided' if self.side == 'greater' else 'two-sided'} {p_text(self.p_value)}."
        )


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """Right answers by one truth rule; cases that it calls unproven are left out, and counted."""

    rule: str
    n: int
    correct: int
    unproven: int
    differing: int
    binomial: BinomialTest

    def sentence(self) -> str:
        """For a results section."""
        left_out = f" ({self.unproven} unproven left out)" if self.unproven else ""
        return f"Truth by {words(self.rule)}{left_out}: {self.binomial.sentence()}"


@dataclass(frozen=True, kw_only=True)
class ReaderResult:
    """One reader of the primary arm."""

    code: str
    n: int
    correct: int
    missing: int
    share: Interval
    auc: AucInterval

    def sentence(self) -> str:
        """For a results section."""
        return (
            f"Reader {self.code}: {self.correct} of {self.n} right, {self.share.sentence()};"
            f" {self.auc.sentence()}"
        )


@dataclass(frozen=True)
class NetworkResult:
    """The network alone on the primary arm's cases; `right` at the threshold given (fixed on
    hold-out), `against` the readers.
    """

    auc: AucInterval
    threshold: float | None
    right: int | None
    n: int
    against: StandaloneComparison | None

    def sentence(self) -> str:
        """For a results section."""
        right = (
            ""
            if self.right is None
            else f" Right in {self.right} of {self.n} at the threshold fixed on hold-out."
        )
        return f"The network alone: {self.auc.sentence()}{right}" + (
            f" {self.against.sentence()}" if self.against else ""
        )


@dataclass(frozen=True, kw_only=True)
class ReadingScore:
    """A scored reading study, in the order in which it must be read.

    `first_answers`: the primary count on answers before correction; `synthetic`: the films or the
    labels were simulated, whoever read; `readers_auc`: the mean AUC over readers on the cases that
    all of them read (Obuchowski-Rockette, random readers and cases).
    """

    design: Design
    primary: Primary
    clusters: ClusteredProportion
    binomial: BinomialTest
    binomial_two_sided: BinomialTest
    table: DiagnosticTable
    permutation_p_greater: float | None
    rules: tuple[RuleResult, ...]
    discrepant: tuple[dict[str, Any], ...]
    roc: AucInterval
    repeats: TextRepeats | None
    hidden_repeats: Interval
    information: Information | None
    network: NetworkResult
    arms: tuple[ArmScore, ...]
    comparisons: tuple[ArmComparison, ...]
    readers: tuple[ReaderResult, ...]
    conduct: Conduct
    first_answers: Primary
    patients: int
    simulated: bool = False
    readers_auc: Interval | None = None
    synthetic: bool = False

    def paragraph(self) -> str:
        """One paragraph to paste, which says no more than the data do."""
        return paragraph(self)


def score(
    answers: pd.DataFrame,
    key: pd.DataFrame,
    design: Design,
    first_answers: pd.DataFrame | None = None,
    threshold: float | None = None,
    assigned: int | None = None,
    simulated: bool | None = None,
    synthetic: bool = False,
) -> ReadingScore:
    """Scores a closed study.

    `answers` (latest): code, position, case_number, repeat, answer (1..scale) and, where known,
    seconds, revision, made, simulated; `first_answers` the same before corrections. `key`: the
    columns of `reading.KEY_COLUMNS` and any truth rules. The primary analysis uses the design's
    first arm without hidden repeats. `threshold`: the network's, fixed on hold-out. `assigned`:
    answers that were expected. A case answered twice, an answer off the scale or a case outside the
    key is a UserError.
    """
    joined = _joined(answers, key, design)
    main = joined[(joined["arm"] == design.arms[0]) & ~joined["repeat"]]
    right, patient = main["right"].to_numpy(dtype=bool), main["patient_id"].to_numpy()
    truth, said = main["malignant"].to_numpy(dtype=bool), main["said"].to_numpy(dtype=bool)
    clusters = clustered_proportion(right, patient, level=1 - design.alpha)
    first = (
        main
        if first_answers is None
        else _joined(first_answers, key, design).query("arm == @design.arms[0] and not repeat")
    )
    flagged = bool("simulated" in answers.columns and answers["simulated"].fillna(False).any())
    return ReadingScore(
        design=design,
        primary=primary_analysis(right, patient, design),
        clusters=clusters,
        binomial=exact_binomial_test(int(right.sum()), len(right), level=1 - design.alpha),
        binomial_two_sided=exact_binomial_test(
            int(right.sum()), len(right), alternative="two-sided", level=1 - design.alpha
        ),
        table=_table(truth, said, design),
        permutation_p_greater=_permutation(truth, said, patient),
        rules=_rules(main, design),
        discrepant=_discrepant(main),
        roc=auc_interval(truth, main["answer"], patient, "obuchowski"),
        repeats=(
            text_repeats(main["texts"].tolist(), said.tolist())
            if main["texts"].map(len).any()
            else None
        ),
        hidden_repeats=_hidden_repeats(joined, design),
        information=_information(main, design.seed),
        network=_network(main, threshold),
        arms=arm_scores(joined, design),
        comparisons=compare_arms(joined, design),
        readers=_readers(main, key, design),
        conduct=conduct(joined, assigned),
        first_answers=primary_analysis(
            first["right"].to_numpy(dtype=bool), first["patient_id"].to_numpy(), design
        ),
        patients=int(main["patient_id"].nunique()),
        simulated=flagged if simulated is None else simulated,
        readers_auc=_readers_auc(main, 1 - design.alpha),
        synthetic=synthetic,
    )


def _joined(answers: pd.DataFrame, key: pd.DataFrame, design: Design) -> pd.DataFrame:
    for table, name, needed in (
        (answers, "answers", ("code", "case_number", "repeat", "answer")),
        (key, "key", ("case_number", "patient_id", "arm", "texts", "truth", "network_score")),
    ):
        missing = [column for column in needed if column not in table.columns]
        if missing:
            raise UserError(
                f"The table of {name} lacks the column {missing[0]!r}; scoring needs"
                f" {', '.join(needed)}."
            )
    if key["case_number"].duplicated().any():
        raise UserError(
            f"The key holds case {key['case_number'][key['case_number'].duplicated()].iloc[0]}"
            " twice; restore the frozen key."
        )
    unknown = set(answers["case_number"]) - set(key["case_number"])
    if unknown:
        raise UserError(
            f"Case {sorted(unknown)[0]} is answered but not in the key; score the answers with the"
            " key of their own protocol."
        )
    off = answers[~answers["answer"].isin(range(1, design.scale + 1))]
    if len(off):
        raise UserError(
            f"Reader {off['code'].iloc[0]} answered case {off['case_number'].iloc[0]} with"
            f" {off['answer'].iloc[0]}; answers are 1 to {design.scale}."
        )
    twice = answers[answers.duplicated(["code", "case_number", "repeat"])]
    if len(twice):
        raise UserError(
            f"Reader {twice['code'].iloc[0]} answered case {twice['case_number'].iloc[0]} twice;"
            " give the latest answers only."
        )
    joined = answers.merge(key, on="case_number", how="left", validate="many_to_one")
    joined["repeat"] = joined["repeat"].astype(bool)
    joined["malignant"], joined["said"] = (
        joined["truth"] == MALIGNANT,
        joined["answer"] >= design.threshold,
    )
    return joined.assign(right=joined["malignant"] == joined["said"])


def primary_analysis(right: Array, patient: Array, design: Design) -> Primary:
    """The design's primary analysis of right answers (bool [n]):

    GEE or sign-flip with patients as clusters, or the exact binomial test.
    """
    n, correct, level = len(right), int(right.sum()), 1 - design.alpha
    clusters = clustered_proportion(right, patient, level=level)
    if design.primary == "exact_binomial":
        one = exact_binomial_test(correct, n, level=level)
        two = exact_binomial_test(correct, n, alternative="two-sided", level=level)
        interval = proportion_interval(correct, n, "clopper-pearson", level)
        values = (
            interval.estimate,
            interval.low,
            interval.high,
            one.p_value,
            two.p_value,
            "exact binomial test, Clopper-Pearson interval",
            one.reason,
        )
    elif design.primary == "sign_flip":
        # Where every patient has the same share the bootstrap never varies: no interval, rather
        # than one of width 0.
        flat = clusters.bootstrap_low == clusters.bootstrap_high
        low_high = (None, None) if flat else (clusters.bootstrap_low, clusters.bootstrap_high)
        values = (
            clusters.estimate,
            *low_high,
            clusters.sign_flip_p_greater,
            clusters.sign_flip_p_two_sided,
            f"patient sign-flip ({clusters.sign_flip_method}), patient-bootstrap interval",
            clusters.reason if flat else None,
        )
    else:
        values = (
            clusters.gee_estimate,
            clusters.gee_low,
            clusters.gee_high,
            clusters.gee_p_greater,
            clusters.gee_p_two_sided,
            "GEE, exchangeable correlation, robust variance, clustered by patient",
            clusters.reason if clusters.gee_p_greater is None else None,
        )
    estimate, low, high, p_one, p_two, method, reason = values
    p = p_one if design.side == "greater" else p_two
    return Primary(
        correct=correct,
        n=n,
        estimate=estimate,
        low=low,
        high=high,
        p_value=p,
        p_one_sided=p_one,
        p_two_sided=p_two,
        side=design.side,
        alpha=design.alpha,
        method=method,
        significant=None if p is None else p <= design.alpha,
        reason=reason if p is None or low is None else None,
    )


def _table(truth: Array, said: Array, design: Design) -> DiagnosticTable:
    tp, fn, fp, tn = (
        int(cell.sum()) for cell in (truth & said, truth & ~said, ~truth & said, ~truth & ~said)
    )
    return diagnostic_table(tp, fn, fp, tn, 1 - design.alpha)


def _permutation(truth: Array, said: Array, patient: Array) -> float | None:
    """P of as many right answers or more when the truth is exchanged between patients: the margins
    are fixed by design.
    """
    if not len(truth) or truth.all() or not truth.any():
        return None
    tests = PatientPermutations(patient, 1)
    return tests.p_value(
        float((truth == said).sum()), (tests.truths(truth) == said).sum(axis=1).astype(float)
    )


def _rules(main: pd.DataFrame, design: Design) -> tuple[RuleResult, ...]:
    results = []
    for rule in RULES:
        if rule not in main.columns or main[rule].isna().all():
            continue
        known = main[main[rule].notna() & (main[rule] != UNPROVEN)]
        right = (known[rule] == MALIGNANT) == known["said"]
        differing = main[main[rule].fillna("") != main["truth"]]["case_number"].nunique()
        results.append(
            RuleResult(
                rule=rule,
                n=len(known),
                correct=int(right.sum()),
                unproven=int((main[rule] == UNPROVEN).sum()),
                differing=int(differing),
                binomial=exact_binomial_test(int(right.sum()), len(known), level=1 - design.alpha),
            )
        )
    return tuple(results)


def _discrepant(main: pd.DataFrame) -> tuple[dict[str, Any], ...]:
    rules = [rule for rule in RULES if rule in main.columns and main[rule].notna().any()]
    if len(rules) < 2:
        return ()
    differ = main[main[rules].nunique(axis=1, dropna=False) > 1].drop_duplicates("case_number")
    columns = [name for name in ("case_number", "mammogram_id", *rules) if name in differ.columns]
    return tuple(differ[columns].to_dict("records"))


def _hidden_repeats(joined: pd.DataFrame, design: Design) -> Interval:
    """Share of hidden repeats on which a reader gave the same binary answer as the first time."""
    keys = ["code", "case_number"]
    pairs = joined[joined["repeat"]].merge(
        joined[~joined["repeat"]], on=keys, suffixes=("_again", "")
    )
    return proportion_interval(
        int((pairs["said_again"] == pairs["said"]).sum()), len(pairs), "wilson", 1 - design.alpha
    )


def _information(main: pd.DataFrame, seed: int) -> Information | None:
    cases = main.drop_duplicates("case_number")
    if not cases["texts"].map(len).any():
        return None
    return information(
        cases["texts"].tolist(),
        cases["malignant"].to_numpy(dtype=bool),
        cases["patient_id"].to_numpy(),
        seed,
    )


def _network(main: pd.DataFrame, threshold: float | None) -> NetworkResult:
    cases = main.drop_duplicates("case_number").dropna(subset=["network_score"])
    truth, scores = (
        cases["malignant"].to_numpy(dtype=bool),
        cases["network_score"].to_numpy(dtype=float),
    )
    right = None if threshold is None else int(((scores >= threshold) == truth).sum())
    crossed = main.pivot_table(index="code", columns="case_number", values="answer").reindex(
        columns=cases["case_number"]
    )
    whole = crossed.notna().all(axis=0).to_numpy()
    against = None
    if whole.any() and len(crossed):
        design = "rrrc" if len(crossed) > 1 else "frrc"
        against = compare_with_standalone(
            crossed.to_numpy()[:, whole], scores[whole], truth[whole], design
        )
    return NetworkResult(
        auc_interval(truth, scores, cases["patient_id"].to_numpy(), "obuchowski"),
        threshold,
        right,
        len(cases),
        against,
    )


def _readers_auc(main: pd.DataFrame, level: float) -> Interval | None:
    crossed = main.pivot_table(index="code", columns="case_number", values="answer").dropna(axis=1)
    if crossed.empty:
        return None
    truth = (
        main.drop_duplicates("case_number")
        .set_index("case_number")["malignant"]
        .loc[crossed.columns]
        .to_numpy(dtype=bool)
    )
    means = obuchowski_rockette(crossed.to_numpy()[None], truth, "rrrc", level=level).modality_means
    return means[0] if means else None


def _readers(main: pd.DataFrame, key: pd.DataFrame, design: Design) -> tuple[ReaderResult, ...]:
    expected = int((key["arm"] == design.arms[0]).sum())
    return tuple(
        ReaderResult(
            code=str(code),
            n=len(rows),
            correct=int(rows["right"].sum()),
            missing=expected - len(rows),
            share=_share(rows, design),
            auc=auc_interval(
                rows["malignant"].to_numpy(dtype=bool),
                rows["answer"],
                rows["patient_id"].to_numpy(),
                "obuchowski",
            ),
        )
        for code, rows in main.groupby("code")
    )


def _share(rows: pd.DataFrame, design: Design) -> Interval:
    result = clustered_proportion(
        rows["right"].to_numpy(dtype=bool), rows["patient_id"].to_numpy(), level=1 - design.alpha
    )
    return Interval(
        estimate=result.estimate,
        low=result.korn_graubard_low,
        high=result.korn_graubard_high,
        level=1 - design.alpha,
        method="Korn-Graubard",
        reason=result.reason if result.korn_graubard_low is None else None,
        unit="patient",
    )
