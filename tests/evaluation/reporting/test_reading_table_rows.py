"""Rows of the tables of a reading study, written down for scores whose numbers all differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from evaluation.reporting.tables import reading_study
from support.score_parts import bounds, primary_result, reading_score, row_of

STUDY = Path("study")


def test_prespecified_proportion() -> None:
    title = "Primary: proportion correct (1,234 of 2,345)"
    assert reading_study._primary_results(reading_score()) == [
        row_of(title, bounds(61), "P = .012; two-sided, 90 % CI")
    ]


def test_prespecified_auc() -> None:
    given = reading_score(
        primary=primary_result("auc", side="greater", level=0.975), proportion=bounds(31, "one")
    )
    assert reading_study._primary_results(given) == [
        row_of("Primary: AUC of the ratings", bounds(61), "P = .012; one-sided, 97.5 % CI"),
        row_of("Proportion correct (1,234 of 2,345)", bounds(31), "one"),
    ]


def test_prespecified_comparisons() -> None:
    tests = (
        SimpleNamespace(other="shuffled", p_value=0.02, adjusted_p_value=0.04, **vars(bounds(21))),
        SimpleNamespace(
            other="image", p_value=0.3, adjusted_p_value=0.3, **vars(bounds(22, "few readers"))
        ),
        SimpleNamespace(other="class_map", p_value=0.5, adjusted_p_value=None, **vars(bounds(23))),
    )
    rows = reading_study._primary_results(
        reading_score(primary=primary_result("auc", comparisons=tests))
    )
    name = "Primary: AUC, explanation text minus"
    kind = "two-sided, 90 % CI"
    assert [row[0] for row in rows[:3]] == [
        f"Primary: AUC, {reading_study.comparison_name('explanation', other)}"
        for other in ("shuffled", "image", "class_map")
    ]
    assert rows[0][0].startswith(name) and rows == [
        row_of(rows[0][0], bounds(21), f"P = .020 (adjusted P = .040); {kind}"),
        row_of(rows[1][0], bounds(22), f"P = .300; {kind}; few readers"),
        row_of(rows[2][0], bounds(23), f"P = .500; {kind}"),
        row_of("Proportion correct (1,234 of 2,345)", bounds(31)),
    ]


def reader(code: str, k: int) -> SimpleNamespace:
    return SimpleNamespace(code=code, share=bounds(k), auc=bounds(k + 1))


NETWORK_ROWS = [
    row_of("AUC of the network alone", bounds(41)),
    (
        *("Network correct at its hold-out threshold, of 1,200", 77, None, None),
        "threshold .375",
    ),
]


def test_accuracy() -> None:
    table = [row_of("Sensitivity", bounds(51)), row_of("Specificity", bounds(52), "small")]
    ratings = row_of("AUC of the ratings", bounds(53))
    one = reading_score(readers=(reader("R1", 11),), readers_auc=bounds(71))
    assert reading_study._accuracy_results(one) == [*table, ratings, *NETWORK_ROWS]
    readers = (reader("R1", 11), reader("R2", 13))
    each = [
        row
        for code, k in (("R1", 11), ("R2", 13))
        for row in (
            row_of(f"Proportion correct, reader {code}", bounds(k)),
            row_of(f"AUC, reader {code}", bounds(k + 1)),
        )
    ]
    several = reading_score(readers=readers, readers_auc=bounds(71), primary=primary_result("auc"))
    mean = row_of("Mean AUC over readers", bounds(71))
    assert reading_study._accuracy_results(several) == [*table, mean, *each, *NETWORK_ROWS]
    several = reading_score(readers=readers)
    assert reading_study._accuracy_results(several) == [*table, ratings, *each, *NETWORK_ROWS]
    unknown = reading_score()
    unknown.network.threshold = None
    assert reading_study._accuracy_results(unknown)[-1][4] == ""


def test_decision_that_advice_states() -> None:
    title = "Network correct by the decision that the advice states, of 1,200"
    remark = "more probable class; 1 case decided otherwise at the threshold"
    given = reading_score(advice=SimpleNamespace(arms=(), comparisons=()))
    assert reading_study._accuracy_results(given)[-1] == (title, 66, None, None, remark)
    given.network.decision_differs = None
    assert reading_study._accuracy_results(given)[-1] == (title, 66, None, None, "")


def arm(name: str, k: int) -> SimpleNamespace:
    return SimpleNamespace(
        arm=name,
        answers=1000 + k,
        to_right=k + 5,
        to_wrong=k + 6,
        change=bounds(k),
        reliance_on_network=bounds(k + 1, "few"),
        reliance_on_self=bounds(k + 2),
        times=f"times {k}",
    )


def test_exploratory_rows() -> None:
    arms = tuple(
        SimpleNamespace(
            arm=name,
            clusters=SimpleNamespace(
                n=n,
                estimate=n / 10_000,
                korn_graubard_low=n / 20_000,
                korn_graubard_high=n / 5_000,
            ),
        )
        for name, n in (("explanation", 1111), ("shuffled", 2222))
    )
    comparisons = (
        SimpleNamespace(
            first="explanation",
            second="shuffled",
            difference=bounds(24),
            pairs=1,
            sign_flip_p_two_sided=0.2,
            adjusted_p_two_sided=0.4,
        ),
    )
    advice = SimpleNamespace(
        arms=(arm("advice_units", 10), arm("no_advice", 80)),
        comparisons=(
            SimpleNamespace(
                arm="advice_units", control="no_advice", kind="by cases", over_reliance=bounds(35)
            ),
            SimpleNamespace(
                arm="advice_units",
                control="advice_shuffled",
                kind="",
                over_reliance=bounds(36, "few"),
            ),
        ),
    )
    rows = reading_study._exploratory_results(
        reading_score(arms=arms, comparisons=comparisons, advice=advice)
    )
    name = reading_study.comparison_name
    titles = {10: "advice with named units", 80: "no advice"}
    assert rows[:2] == [
        (
            "Exploratory: proportion correct, arm shuffled explanation, n = 2,222",
            *(0.2222, 0.1111, 0.4444, ""),
        ),
        row_of(
            f"Exploratory: proportion correct, {name('explanation', 'shuffled')}",
            bounds(24),
            "1 pair, sign-flip P = .200 (adjusted P = .400), two-sided",
        ),
    ]
    expected = []
    for k, title in titles.items():
        change = (
            f"Exploratory: change in correctness ({k + 5} to right, {k + 6} to wrong of"
            f" {1000 + k:,}), arm {title}"
        )
        network = f"Exploratory: relative reliance on the network, arm {title}"
        oneself = f"Exploratory: relative reliance on oneself, arm {title}"
        expected += [
            row_of(change, bounds(k)),
            row_of(network, bounds(k + 1), "few"),
            row_of(oneself, bounds(k + 2)),
        ]
    over = "Exploratory: over-reliance,"
    assert rows[2:] == [
        *expected,
        row_of(f"{over} {name('advice_units', 'no_advice')}", bounds(35), "by cases"),
        row_of(f"{over} {name('advice_units', 'advice_shuffled')}", bounds(36), "few"),
        *(
            (f"Exploratory: median time, arm {title}", None, None, None, f"times {k}")
            for k, title in titles.items()
        ),
    ]
    assert reading_study._exploratory_results(reading_score()) == []


def test_clustering_without_a_correlation() -> None:
    clusters = SimpleNamespace(
        sign_flip_p_greater=0.1,
        sign_flip_p_two_sided=0.2,
        gee_p_values=(0.3, 0.4),
        clusters=5,
        icc=None,
        design_effect=None,
        clustering_text=lambda: "one answer a patient",
    )
    given = reading_score(
        clusters=clusters,
        binomial=SimpleNamespace(p_value=0.5, critical_count=6, answers_to_flip=2),
        binomial_two_sided=SimpleNamespace(p_value=0.6),
        permutation_p_greater=0.7,
        missing_analyses=(),
    )
    rows = reading_study._sensitivity_analyses(given)
    assert rows[4] == ("Intraclass correlation", None, None, None, "one answer a patient")
    assert all(row[2:4] == (None, None) for row in rows)
