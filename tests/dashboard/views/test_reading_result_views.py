"""What the results of a reading study render, as a whole, where all numbers differ."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.views import reading_checks, reading_results
from dashboard.views.advice import reliance
from evaluation.intervals import Interval
from support.page_transcript import Transcript, expected_lines, render_into


def interval(
    estimate: float | None,
    low: float | None = None,
    high: float | None = None,
    reason: str | None = None,
    level: float = 0.95,
) -> Interval:
    return Interval(
        estimate=estimate, low=low, high=high, level=level, method="wilson", reason=reason
    )


def clusters(**changes: Any) -> SimpleNamespace:
    values = {
        "n": 63,
        "clusters": 18,
        "icc": 0.123,
        "design_effect": 1.345,
        "effective_n": 46.84,
        "estimate": 0.587,
        "korn_graubard_low": 0.411,
        "korn_graubard_high": 0.722,
        "reason": "few patients",
        "gee_p_values": (0.0211, 0.0422),
        "sign_flip_p_greater": 0.0311,
        "clustering_text": lambda: "no patient has two answers",
        **changes,
    }
    return SimpleNamespace(**values)


def rule(name: str, n: int, correct: int, p: float, differing: int) -> SimpleNamespace:
    return SimpleNamespace(
        rule=name,
        n=n,
        correct=correct,
        binomial=SimpleNamespace(p_value=p),
        differing=differing,
        unproven=n - correct - 7,
    )


def reader(code: str, n: int, *share: float) -> SimpleNamespace:
    return SimpleNamespace(code=code, n=n, share=interval(*share))


def score(**changes: Any) -> Any:
    """Return a score of which the views read every field once."""
    arms = [
        SimpleNamespace(arm="explanation", clusters=clusters()),
        SimpleNamespace(arm="shuffled", clusters=clusters(n=21, estimate=0.476)),
    ]
    values: dict[str, Any] = {
        "design": SimpleNamespace(
            primary="gee",
            scale=6,
            threshold=4,
            positive="malignant",
            comparison="benign",
            side="greater",
            truth_rule="any_malignant",
            repeats=5,
            arms=("explanation", "shuffled"),
        ),
        "clusters": clusters(),
        "patients": 44,
        "binomial": SimpleNamespace(
            trials=63, successes=37, p_value=0.0461, critical_count=38, answers_to_flip=2
        ),
        "binomial_two_sided": SimpleNamespace(p_value=0.0923),
        "table": SimpleNamespace(
            tp=20,
            fp=11,
            fn=8,
            tn=24,
            sensitivity=interval(0.714, 0.51, 0.84),
            specificity=interval(0.686, 0.52, 0.79, "small"),
            fisher_p_greater=0.0023,
        ),
        "permutation_p_greater": 0.0037,
        "roc": interval(0.741, 0.61, 0.83),
        "readers_auc": interval(0.728, 0.59, 0.82),
        "readers": [reader("R1", 31, 0.6, 0.45, 0.75), reader("R2", 32, 0.55, 0.41, 0.7)],
        "primary": SimpleNamespace(
            given=63,
            correct=37,
            n=62,
            endpoint="proportion",
            endpoint_name="mean AUC",
            p_value=0.0214,
            p_two_sided=0.0428,
            estimate=0.5968,
            low=0.51,
            high=0.68,
            level=0.9,
            side="greater",
            method="GEE <z>",
            reason=None,
            interval="95 % CI .510 to .680",
        ),
        "proportion": interval(0.5968, 0.481, 0.701, "clustered"),
        "rules": [
            rule("any_malignant", 63, 37, 0.0461, 0),
            rule("first_abnormality", 61, 33, 0.1522, 3),
        ],
        "discrepant": [
            {"case_number": 4, "mammogram_id": "C4", "any_malignant": "a", "folder": "b"}
        ],
        "repeats": SimpleNamespace(
            ordered=50, unordered=47, labels_used=12, same_answer_pairs=6, pairs=9
        ),
        "hidden_repeats": interval(0.8, 0.44, 0.96),
        "information": SimpleNamespace(
            n=63,
            keyword_correct=34.5,
            leave_one_patient_out_correct=35,
            in_sample_ceiling=52,
            ceiling_null_mean=48.6,
            ceiling_null_p=0.31,
        ),
        "network": SimpleNamespace(
            n=58,
            right=49,
            decision_right=47,
            auc=interval(0.861, 0.75, 0.93),
        ),
        "advice": None,
        "arms": arms,
        "comparisons": [SimpleNamespace(sentence=lambda: "The arms differ.")],
        "conduct": SimpleNamespace(
            median_seconds=8.26,
            lower_seconds=5.14,
            upper_seconds=12.38,
            corrections=4,
            sittings=3,
            trend=interval(0.021, -0.05, 0.09),
        ),
        "first_answers": SimpleNamespace(correct=36, n=61),
        "questions": [],
        "simulated": True,
        "synthetic": False,
        **changes,
    }
    return SimpleNamespace(**values)


def changed(part: Any, **changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**(vars(part) | changes))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    page = render_into(monkeypatch, reading_checks)
    monkeypatch.setattr(reading_checks, "image_noun", lambda: "scan")
    return page


def test_checks(checks: Transcript) -> None:
    reading_checks.render_checks(score())
    assert checks.take() == expected_lines("results", "checks")


def test_checks_where_little_is_known(checks: Transcript) -> None:
    """Every value that can be missing is."""
    full = score()
    conduct = changed(
        full.conduct,
        median_seconds=None,
        lower_seconds=None,
        sittings=None,
        trend=interval(None, reason="one case"),
    )
    reading_checks.render_checks(
        score(
            design=changed(full.design, primary="exact_binomial", scale=2, threshold=2, repeats=0),
            clusters=clusters(clusters=0, icc=None),
            patients=63,
            readers=full.readers[:1],
            discrepant=[],
            repeats=None,
            information=None,
            network=changed(full.network, right=None, auc=interval(0.8)),
            arms=full.arms[:1],
            conduct=conduct,
            first_answers=SimpleNamespace(correct=37, n=62),
        )
    )
    assert checks.take() == expected_lines("results", "checks with little")


def test_repeats_and_mean_area(checks: Transcript) -> None:
    row = reading_checks._hidden_repeat_row
    title = "Same answer to a hidden repeat"
    assert row(score(hidden_repeats=interval(None, reason="no repeat was read"))) == (
        title,
        "–",
        "no repeat was read",
    )
    assert row(score(hidden_repeats=interval(None)))[2] == ""
    assert row(score())[2] == "95 % CI .440 to .960"
    full = score()
    mean = reading_checks._mean_reader_auc
    assert mean(full).startswith(" Mean AUC over readers .728 (95 % CI .590 to .820) (Obuchowski")
    assert mean(score(readers_auc=None)) == mean(score(readers=full.readers[:1])) == ""
    # Advice states the more probable class.
    reading_checks._render_network(score(advice="advice"))
    shown = checks.take()[-1]
    assert "['Correct as advice', '47 of 58']" in shown
    reading_checks._render_network(
        score(advice="advice", network=changed(full.network, decision_right=None))
    )
    assert "Correct as advice" not in checks.take()[-1]


def test_intervals_of_arms() -> None:
    full = score()
    first, second = full.arms
    assert reading_checks._arm_interval(full, first) == ".481 to .701"
    assert reading_checks._arm_interval(full, second) == ".411 to .722"
    second.clusters.korn_graubard_low = None
    assert reading_checks._arm_interval(full, second) == "– (few patients)"
    second.clusters.korn_graubard_low, second.clusters.korn_graubard_high = 0.1, None
    second.clusters.reason = None
    assert reading_checks._arm_interval(full, second) == "– (no interval)"
    unknown = score(proportion=interval(0.5, reason="one patient"))
    assert reading_checks._arm_interval(unknown, first) == "– (one patient)"


PROTOCOL: Any = SimpleNamespace(protocol="Masses", version=3, hash="0123456789abcdef")


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Transcript:
    parts = ("render_reliance", "render_questions", "_render_answers_download")
    page = render_into(monkeypatch, reading_results, own=parts)
    page.replace(reading_results.reading_checks, "render_checks")
    for name in ("narrative", "verdict"):
        monkeypatch.setattr(reading_results, name, lambda _, name=name: f"A <{name}>.")
    monkeypatch.setattr(reading_results, "primary_sentences", lambda _: ["One <1>.", "Two."])
    page.queries["chain_head",] = SimpleNamespace(sentence=lambda: "The head.")
    return page


def test_results(results: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_results, "_json", lambda *_: "json")
    monkeypatch.setattr(reading_checks, "render_checks", lambda _: None)
    # The parts after the forest get the same score, which is long.
    for name in ("render_reliance", "render_questions"):
        monkeypatch.setattr(reading_results, name, results.recorder(name))
    reading_results.render_results(PROTOCOL, score())
    lines = [line for line in results.take() if not line.startswith("render_")]
    assert lines == expected_lines("results", "results")


def test_headlines(results: Transcript) -> None:
    full = score()
    primary = full.primary
    variants = {
        "proportion": {},
        "two-sided": {"side": "two-sided"},
        "without an interval": {"low": None},
        "not estimable": {"p_value": None, "reason": "one <patient>"},
        "without an estimate": {"p_value": None, "estimate": None},
        "area": {"endpoint": "auc"},
        "area not estimable": {"endpoint": "auc", "estimate": None},
    }
    lines = [
        f"{name}: {reading_results._headline(score(primary=changed(primary, **changes)))}"
        for name, changes in variants.items()
    ]
    assert lines == expected_lines("results", "headlines")


def test_json_of_the_results(results: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.commands.common.to_jsonable", lambda _: "the score")
    text = reading_results._json(PROTOCOL, score())
    assert json.loads(text) == {
        "protocol": "Masses",
        "version": 3,
        "hash": "0123456789abcdef",
        "simulated": True,
        "synthetic": False,
        "evidence": "The head.",
        "score": "the score",
    }


def test_download_of_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, reading_results)
    archives: list[tuple[Any, ...]] = []
    monkeypatch.setattr(reading_results, "answers_archive", lambda *a: archives.append(a) or b"z")
    page.answers["Answers as"] = "imrmc"
    calls: list[tuple[Any, ...]] = []
    reading_results._render_answers_download(PROTOCOL)
    assert page.take() == expected_lines("results", "answers") and calls == []
    # Nothing is exported before the download.
    assert archives == []
    with pytest.MonkeyPatch.context() as patch:
        button = SimpleNamespace(download_button=lambda *a, **o: calls.append(a))
        choice = SimpleNamespace(selectbox=lambda *a, **o: "r")
        st = SimpleNamespace(columns=lambda *a, **o: (choice, button))
        patch.setattr(reading_results, "st", st)
        reading_results._render_answers_download(PROTOCOL)
    assert calls[0][1]() == b"z" and str(archives[0][0]) == "/the study"
    assert archives[0][1:] == ("answers-r-0123456789ab", "r", "T1", "Masses", 3)


def advice_arm(name: str, answers: int, predicted: Interval | None) -> SimpleNamespace:
    return SimpleNamespace(
        arm=name,
        answers=answers,
        change=interval(0.05, -0.01, 0.12),
        reliance_on_network=interval(0.4, 0.2, 0.6),
        reliance_on_self=interval(None, reason="no wrong advice"),
        first_seconds=6.25,
        final_seconds=None,
        total_seconds=11.75,
        predicted_network=predicted,
        to_right=answers // 4,
        to_wrong=answers // 10,
    )


def test_reliance(monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_into(monkeypatch, reliance)
    reliance.render_reliance(score())
    reliance.render_questions(score())
    assert page.take() == []
    advice = SimpleNamespace(
        arms=[
            advice_arm("advice", 40, interval(0.7, 0.5, 0.8)),
            advice_arm("no_advice", 25, None),
            advice_arm("advice_map", 0, None),
        ],
        comparisons=[SimpleNamespace(sentence=lambda: "They differ.")],
    )
    reliance.render_reliance(score(advice=advice))

    def counted(text: str, options: tuple[str, ...], arm: str, counts: tuple[int, ...]) -> Any:
        question = SimpleNamespace(text=text, options=options)
        return SimpleNamespace(question=question, arm=arm, answers=9, counts=counts)

    questions = [
        counted("How <sure>?", ("not", "very <much>"), "advice", (4, 5)),
        counted("Why?", (), "", ()),
    ]
    reliance.render_questions(score(questions=questions))
    assert page.take() == expected_lines("results", "reliance")


@pytest.mark.parametrize(
    ("share", "step"),
    [(0.0, 1), (0.05, 1), (0.0501, 2), (0.1, 2), (0.25, 5), (0.5, 10), (1.0, 20)],
)
def test_axis_of_changes(monkeypatch: pytest.MonkeyPatch, share: float, step: int) -> None:
    """At most five ticks on each side, at round numbers."""
    render_into(monkeypatch, reliance)
    arm = SimpleNamespace(arm="advice", answers=10_000, to_right=0, to_wrong=int(10_000 * share))
    axis = reliance.switches_chart(SimpleNamespace(arms=[arm])).layout.xaxis  # type: ignore[arg-type]
    largest = max(1.0, 100 * share)
    count = int(largest / step)
    assert list(axis.tickvals) == [step * i for i in range(-count, count + 1)]
    assert list(axis.range) == pytest.approx([-1.12 * largest, 1.12 * largest])
