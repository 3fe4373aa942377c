"""The readers' order: complete, seeded, arms balanced, similar cases apart, repeats far away."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.sessions.case_order import (
    assign_blocks,
    block_case_order,
    order_rule,
    reader_case_order,
    text_keys,
)
from core.sessions.spaced_order import PATIENT_GAP, TEXT_GAP, spaced_case_order

ARMS = ("explanation", "shuffled", "random_units", "class_map", "image", "image_explanation")


class Cases:
    """Cases as a design makes them: each further arm repeats a third of the first arm's patients.

    Malignant cases have one of two common texts twice as often as benign ones, so that an order
    that puts common texts late tells truth.
    """

    def __init__(self, arms: tuple[str, ...], patients: int, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        rows = []
        for arm in arms:
            share = patients if arm == arms[0] else patients // 3
            for patient in generator.permutation(patients)[:share]:
                malignant = bool(patient % 2)
                is_common = generator.random() < (0.6 if malignant else 0.3)
                text = generator.integers(2) if is_common else 2 + generator.integers(25)
                worded = arm not in ("class_map", "image")
                rows.append((arm, f"p{patient}", (f"t{text}",) if worded else (), malignant))
        rows = [rows[i] for i in generator.permutation(len(rows))]
        self.arms, self.patients, self.texts, truth = (list(column) for column in zip(*rows))
        self.truth = np.array(truth)
        self.numbers = list(range(1, len(rows) + 1))
        self.blocks = assign_blocks(self.arms, self.patients, text_keys(self.texts), seed=5)

    def order(self, code: str, repeats: int = 0) -> list[tuple[int, bool]]:
        return reader_case_order(
            self.numbers, self.patients, self.texts, 5, code, repeats, self.blocks
        )


def rank_auc(positive: np.ndarray, rank: np.ndarray) -> float:
    """Return the proportion of pairs in which the positive case has the higher rank."""
    pairs = rank[positive][:, None] - rank[~positive][None, :]
    return float((pairs > 0).mean())


@pytest.mark.parametrize(
    ("arms", "patients"), [(ARMS[:2], 36), (ARMS, 24)], ids=["recommended", "six"]
)
def test_order_of_200_readers_tells_neither_arm_nor_truth(
    arms: tuple[str, ...], patients: int
) -> None:
    cases = Cases(arms, patients)
    ranks = np.empty((200, len(cases.numbers)))
    for reader in range(len(ranks)):
        for position, (number, _) in enumerate(cases.order(f"R{reader}")):
            ranks[reader, number - 1] = position / (len(cases.numbers) - 1)
    labels = np.array(cases.arms)
    for arm in arms:
        assert abs(ranks[:, labels == arm].mean() - 0.5) < 0.03, arm
    assert abs(np.mean([rank_auc(cases.truth, rank) for rank in ranks]) - 0.5) < 0.02


def test_every_part_of_the_order_has_each_arm_in_its_share() -> None:
    cases = Cases(ARMS, 36)
    number_of = Counter(cases.arms)
    arm_of = dict(zip(cases.numbers, cases.arms))
    count = max(cases.blocks)
    for reader in range(5):
        order = [arm_of[number] for number, _ in cases.order(f"R{reader}")]
        for arm, total in number_of.items():
            # The whole blocks in the first half hold total / count of the arm each, or one more.
            first_half = order[: len(order) // 2].count(arm)
            assert abs(first_half - total / 2) <= 1 + count // 2 * (total % count > 0), arm


def test_blocks_hold_each_arm_equally_often() -> None:
    cases = Cases(ARMS[:3], 50)
    count = max(cases.blocks)
    assert set(cases.blocks) == set(range(1, count + 1)) and count > 4
    for arm in ARMS[:3]:
        held = Counter(b for b, a in zip(cases.blocks, cases.arms) if a == arm)
        sizes = [held[block] for block in range(1, count + 1)]
        assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1
    sizes = list(Counter(cases.blocks).values())
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(0, 6), st.integers(1, 9))
def test_each_case_once_and_repeats_later(seed: int, cases: int, repeats: int, block: int) -> None:
    blocks = [i % max(1, cases // block) for i in range(cases)]
    order = block_case_order(range(cases), range(cases), blocks, seed, repeats)
    assert sorted(i for i, again in order if not again) == list(range(cases))
    again = [i for i, repeat in order if repeat]
    assert len(again) == len(set(again)) == min(repeats, cases // 2)
    positions = {case: [p for p, (i, _) in enumerate(order) if i == case] for case in again}
    assert all(len(p) == 2 and not order[p[0]][1] for p in positions.values())
    assert order == block_case_order(range(cases), range(cases), blocks, seed, repeats)


def test_repeats_are_far_from_their_first_showing_and_anywhere_in_the_second_half() -> None:
    cases = Cases(ARMS[:2], 60)
    length = len(cases.numbers) + 10
    places = []
    for reader in range(40):
        order = cases.order(f"R{reader}", repeats=10)
        shown: dict[int, int] = {}
        for position, (number, is_repeat) in enumerate(order):
            if is_repeat:
                assert position - shown[number] >= length // 3
                places.append(position / length)
            shown.setdefault(number, position)
    assert min(places) >= 0.5
    # Uniform between .5 and 1: mean .75, standard error .007 for 400 places.
    assert abs(np.mean(places) - 0.75) < 0.03 and np.quantile(places, 0.1) < 0.6


@pytest.mark.parametrize(
    ("first", "second", "count"), [(2, 38, 2), (20, 20, 5), (5, 35, 5), (6, 34, 5), (1, 2, 1)]
)
def test_every_block_holds_each_arm(first: int, second: int, count: int) -> None:
    """Blocks of 8 cases, but never more blocks than cases of the smallest arm."""
    arms = ["explanation"] * first + ["shuffled"] * second
    blocks = assign_blocks(arms, list(range(len(arms))), list(range(len(arms))), seed=4)
    assert set(blocks) == set(range(1, count + 1))
    for arm in set(arms):
        sizes = Counter(b for b, own in zip(blocks, arms) if own == arm)
        assert len(sizes) == count and max(sizes.values()) - min(sizes.values()) <= 1


def test_similar_cases_are_kept_apart() -> None:
    patients = [i // 2 for i in range(200)]
    texts = [i * 7 % 40 for i in range(200)]
    blocks = assign_blocks(["explanation"] * 200, patients, texts, seed=2)
    order = [i for i, _ in block_case_order(patients, texts, blocks, 3)]
    for values, gap in ((patients, PATIENT_GAP), (texts, TEXT_GAP)):
        last: dict[int, int] = {}
        close = 0
        for position, case in enumerate(order):
            close += position - last.get(values[case], -gap) < gap
            last[values[case]] = position
        assert close <= 4
    assert order != [i for i, _ in block_case_order(patients, texts, blocks, 4)]


def test_order_is_independent_of_case_numbers() -> None:
    blocks = [i % 12 for i in range(100)]
    correlations = [
        np.corrcoef(
            np.arange(100), [i for i, _ in block_case_order(range(100), range(100), blocks, seed)]
        )[0, 1]
        for seed in range(60)
    ]
    assert abs(np.mean(correlations)) < 0.05


def test_protocols_of_the_first_release_keep_their_order() -> None:
    patients, texts = ["a", "b", "c", "d", "e"], [("x",), (), ("y",), ("x",), ()]
    numbers = [4, 2, 9, 1, 7]
    order = reader_case_order(numbers, patients, texts, 5, "R1", 1, [None] * 5)
    # As the first release ordered these cases.
    assert order == [(2, False), (7, False), (1, False), (9, False), (4, False), (2, True)]
    assert order_rule([None] * 5) == "spaced at random"
    assert order_rule([1, 2, 1, 2, 1]) == "randomised blocks"


def test_old_rule_is_complete_and_seeded() -> None:
    order = spaced_case_order(range(30), range(30), 4, 3)
    assert sorted(i for i, again in order if not again) == list(range(30))
    assert order == spaced_case_order(range(30), range(30), 4, 3)
