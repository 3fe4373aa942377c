"""The readers' order: complete, seeded, similar cases apart, and independent of case numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.sessions.case_order import PATIENT_GAP, TEXT_GAP, spaced_case_order


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(0, 6))
def test_each_case_once_and_repeats_later(seed: int, cases: int, repeats: int) -> None:
    order = spaced_case_order(list(range(cases)), list(range(cases)), seed, repeats)
    assert sorted(i for i, again in order if not again) == list(range(cases))
    again = [i for i, repeat in order if repeat]
    assert len(again) == len(set(again)) == min(repeats, cases // 2)
    positions = {case: [p for p, (i, _) in enumerate(order) if i == case] for case in again}
    assert all(len(p) == 2 and not order[p[0]][1] for p in positions.values())
    assert order == spaced_case_order(list(range(cases)), list(range(cases)), seed, repeats)


def test_similar_cases_are_kept_apart() -> None:
    patients = [i // 2 for i in range(200)]
    texts = [i % 40 for i in range(200)]
    order = [i for i, _ in spaced_case_order(patients, texts, 3)]
    for values, gap in ((patients, PATIENT_GAP), (texts, TEXT_GAP)):
        last: dict[int, int] = {}
        close = 0
        for position, case in enumerate(order):
            close += position - last.get(values[case], -gap) < gap
            last[values[case]] = position
        assert close <= 2
    assert order != [i for i, _ in spaced_case_order(patients, texts, 4)]


def test_order_is_independent_of_case_numbers() -> None:
    correlations = [
        np.corrcoef(
            np.arange(100), [i for i, _ in spaced_case_order(range(100), range(100), seed)]
        )[0, 1]
        for seed in range(60)
    ]
    assert abs(np.mean(correlations)) < 0.05
