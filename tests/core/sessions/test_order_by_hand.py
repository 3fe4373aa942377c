"""The readers' orders, compared with slow versions that count every distance anew.

The slow versions draw the same random numbers in the same sequence. A changed order would be
another one than the leakage checks have examined, in the middle of a study.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from core.sessions.case_order import (
    _with_repeats,
    assign_blocks,
    block_case_order,
    order_rule,
    reader_case_order,
)
from core.sessions.case_order import text_keys as keys_of
from core.sessions.spaced_order import spaced_case_order

Properties = Sequence[int]


def shared_in_block(row: int, blocks: list[int], properties: Sequence[Properties]) -> int:
    """Return how many other cases of the row's block equal it, counted once a property."""
    return sum(
        values[other] == values[row]
        for values in properties
        for other in range(len(blocks))
        if other != row and blocks[other] == blocks[row]
    )


def slow_blocks(arms: Sequence[str], patients: Properties, texts: Properties, seed: int) -> list:
    """Deal each arm's cases in turn to blocks of about 8, then exchange within the arm."""
    generator = np.random.default_rng([seed, 8])
    names = list(dict.fromkeys(arms))
    rows_of = [[row for row, arm in enumerate(arms) if arm == name] for name in names]
    count = min([len(rows) for rows in rows_of] + [round(len(arms) / 8)])
    count = count if count > 1 else 1
    labels = generator.permutation(count)
    blocks = [0] * len(arms)
    dealt = [int(row) for rows in rows_of for row in generator.permutation(rows)]
    for place, row in enumerate(dealt):
        blocks[row] = int(labels[place % count]) + 1
    for rows in rows_of:
        for row in generator.permutation(rows):
            # All 12 candidates are drawn at once, whether they are needed or not.
            for other in generator.choice(rows, 12):
                if shared_in_block(row, blocks, [patients, texts]) == 0:
                    break
                trial = list(blocks)
                trial[row], trial[other] = blocks[other], blocks[row]
                before, after = (
                    sum(shared_in_block(r, b, [patients, texts]) for r in (row, other))
                    for b in (blocks, trial)
                )
                if after < before:
                    blocks = trial
    return blocks


def missing(rows: Sequence[int], flat: list[int], patients: Properties, texts: Properties) -> int:
    """Return the positions that are missing to 20 between patients and 10 between texts."""
    total = 0
    for row in rows:
        for values, gap in ((patients, 20), (texts, 10)):
            for other in range(len(values)):
                if other != row and values[other] == values[row]:
                    total += max(0, gap - abs(flat.index(row) - flat.index(other)))
    return total


def flat_order(order: list[list[int]]) -> list[int]:
    return [row for block in order for row in block]


def slow_block_order(
    patients: Properties, texts: Properties, blocks: Sequence[int], seed: int, repeats: int
) -> list[tuple[int, bool]]:
    """Order blocks and cases at random, exchange what helps, and insert the repeats."""
    generator = np.random.default_rng(seed)
    names = list(dict.fromkeys(blocks))
    members = [[row for row, block in enumerate(blocks) if block == name] for name in names]
    order = [generator.permutation(members[i]).tolist() for i in generator.permutation(len(names))]

    def gap_sum(rows: Sequence[int], trial: list[list[int]]) -> int:
        return missing(rows, flat_order(trial), patients, texts)

    for _ in range(4):
        before_pass = gap_sum(range(len(patients)), order)
        if before_pass == 0:
            break
        for index in generator.permutation(len(order)):
            if gap_sum(order[index], order) == 0:
                continue
            for target in generator.integers(len(order), size=12):
                trial = list(order)
                trial[index], trial[target] = order[target], order[index]
                rows = order[index] + order[target]
                if (
                    target != index
                    and len(order[target]) == len(order[index])
                    and gap_sum(rows, trial) < gap_sum(rows, order)
                ):
                    order = trial
                    break
        for index in generator.permutation(len(order)):
            size = len(order[index])
            for source in generator.permutation(size):
                for target in generator.permutation(size):
                    block = list(order[index])
                    pair = [block[source], block[target]]
                    if source == target or gap_sum(pair[:1], order) == 0:
                        continue
                    block[source], block[target] = pair[1], pair[0]
                    trial = [*order[:index], block, *order[index + 1 :]]
                    if gap_sum(pair, trial) < gap_sum(pair, order):
                        order = trial
        if gap_sum(range(len(patients)), order) == before_pass:
            break
    return slow_repeats(flat_order(order), patients, min(repeats, len(patients) // 2), generator)


def slow_repeats(
    order: list[int], patients: Properties, repeats: int, generator: np.random.Generator
) -> list[tuple[int, bool]]:
    """Put repeats at random positions of the second half, far from the first showing."""
    length = len(order) + repeats
    first_of_second_half = length - length // 2
    slots = sorted(
        first_of_second_half + int(i) for i in generator.permutation(length // 2)[:repeats]
    )
    result: list[tuple[int, bool] | None] = [None] * length
    waiting = iter(order)
    for position in range(length):
        if position not in slots:
            result[position] = (next(waiting), False)
    shown_at = {entry[0]: position for position, entry in enumerate(result) if entry}
    candidates = [case for case in order if shown_at[case] < first_of_second_half]
    for slot in slots:
        far = [c for c in candidates if slot - shown_at[c] >= max(20, length // 3)]
        close = {
            patients[entry[0]]
            for position, entry in enumerate(result)
            if entry and abs(position - slot) < 20
        }
        apart = [c for c in far if patients[c] not in close]
        choice = apart or far or candidates[:1]
        case = choice[int(generator.integers(len(choice)))]
        candidates.remove(case)
        result[slot] = (case, True)
    assert None not in result
    return [entry for entry in result if entry]


def slow_spaced_order(
    patients: Properties, texts: Properties, seed: int, repeats: int
) -> list[tuple[int, bool]]:
    """Take from a random order, one at a time, the first case that falls short least."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(patients)).tolist()
    repeated = shuffled[: min(repeats, len(shuffled) // 2)]
    order: list[int] = []
    waiting = list(shuffled)
    while waiting:
        shortfalls = []
        for case in waiting:
            total = 0
            for values, gap in ((patients, 20), (texts, 10)):
                # The distance to the last case of the same patient or text.
                since = [len(order) - i for i, c in enumerate(order) if values[c] == values[case]]
                total += max(0, gap - min(since, default=gap))
            shortfalls.append(total)
        order.append(waiting.pop(int(np.argmin(shortfalls))))
    result = [(case, False) for case in order]
    for i in generator.permutation(len(repeated)):
        case = repeated[i]
        first = result.index((case, False))
        earliest = min(len(result), max(first + 20, len(result) // 2))
        result.insert(int(generator.integers(earliest, len(result) + 1)), (case, True))
    return result


def cases_of(seed: int, count: int) -> tuple[list[str], list[int], list[int]]:
    """Return arm, patient and text of cases with unequal arms and some similar cases."""
    generator = np.random.default_rng([seed, 99])
    arms = ["image"] * (count - 3 * count // 5) + ["shuffled"] * (3 * count // 5)
    arms = [arms[i] for i in generator.permutation(count)]
    patients = generator.integers(max(2, count * 2 // 3), size=count).tolist()
    texts = generator.integers(max(2, count // 2), size=count).tolist()
    return arms, patients, texts


@pytest.mark.parametrize(("seed", "count"), [(1, 43), (2, 27), (3, 20), (4, 11), (5, 4), (6, 1)])
def test_blocks_equal_those_of_the_slow_version(seed: int, count: int) -> None:
    arms, patients, texts = cases_of(seed, count)
    assert assign_blocks(arms, patients, texts, seed) == slow_blocks(arms, patients, texts, seed)


def test_no_case_has_no_block() -> None:
    assert assign_blocks([], [], [], seed=3) == []


@pytest.mark.parametrize(
    ("seed", "count", "repeats"),
    [(1, 33, 5), (2, 26, 3), (3, 47, 9), (4, 9, 4), (5, 8, 5), (6, 3, 2), (7, 1, 1), (8, 24, 12)],
)
def test_block_order_equals_that_of_the_slow_version(seed: int, count: int, repeats: int) -> None:
    arms, patients, texts = cases_of(seed, count)
    blocks = slow_blocks(arms, patients, texts, seed)
    assert block_case_order(patients, texts, blocks, seed, repeats) == slow_block_order(
        patients, texts, blocks, seed, repeats
    )


def test_order_without_similar_cases_is_the_random_one() -> None:
    blocks = [1, 2, 2, 1, 3, 3, 3]
    order = slow_block_order(range(7), range(7), blocks, 5, 0)
    assert block_case_order(range(7), range(7), blocks, 5) == order
    assert not any(is_repeat for _, is_repeat in order)
    # No random number is spent on exchanges before the repeats are drawn.
    repeated = slow_block_order(range(7), range(7), blocks, 5, 3)
    assert block_case_order(range(7), range(7), blocks, 5, 3) == repeated


@pytest.mark.parametrize("seed", range(12))
def test_blocks_of_several_sizes_with_few_similar_cases(seed: int) -> None:
    """Most blocks have nothing to improve; those that have are of sizes 2 to 5."""
    sizes = (5, 2, 4, 2, 5, 4, 2)
    blocks = [block for block, size in enumerate(sizes, start=1) for _ in range(size)]
    patients, texts = list(range(24)), list(range(24))
    patients[6] = patients[20]
    texts[0] = texts[9] = texts[23]
    assert block_case_order(patients, texts, blocks, seed, 2) == slow_block_order(
        patients, texts, blocks, seed, 2
    )


@pytest.mark.parametrize(("count", "repeats"), [(60, 5), (75, 12), (90, 30), (41, 9)])
def test_repeats_equal_those_of_the_slow_version(count: int, repeats: int) -> None:
    """From 63 positions on, a third of the order is more than the least distance of 20."""
    for seed in range(25):
        order = np.random.default_rng([seed, count]).permutation(count).tolist()
        patients = [case % (count // 3) for case in range(count)]
        generators = [np.random.default_rng(seed) for _ in range(2)]
        found = _with_repeats(order, patients, repeats, generators[0])
        assert found == slow_repeats(order, patients, repeats, generators[1])


@pytest.mark.parametrize(("seed", "count", "repeats"), [(1, 50, 6), (2, 26, 20), (3, 7, 2)])
def test_spaced_order_equals_that_of_the_slow_version(seed: int, count: int, repeats: int) -> None:
    _, patients, texts = cases_of(seed, count)
    assert spaced_case_order(patients, texts, seed, repeats) == slow_spaced_order(
        patients, texts, seed, repeats
    )


def test_order_of_a_reader_is_that_of_the_cases_by_number() -> None:
    """The seed is the first 8 bytes of the SHA-256 of "seed:code", the first byte the highest."""
    generator = np.random.default_rng(8)
    numbers = [int(number) for number in 3 * generator.permutation(30) + 2]
    patients = [f"p{number % 9}" for number in range(30)]
    texts = [("a", f"t{row % 7}") if row % 4 else () for row in range(30)]
    blocks = [1 + row % 4 for row in range(30)]
    reader_seed = int(hashlib.sha256(b"17:R3").hexdigest()[:16], 16)
    rows = sorted(range(30), key=numbers.__getitem__)
    # Cases without texts have none in common.
    keys = [texts.index(texts[row]) if texts[row] else 100 + row for row in rows]
    owners = [int(patients[row][1:]) for row in rows]
    by_number = (owners, keys, [blocks[row] for row in rows])
    spaced = slow_spaced_order(*by_number[:2], reader_seed, 2)
    unknown = [*blocks[:7], None, *blocks[8:]]
    for given, expected in (
        (blocks, slow_block_order(*by_number, reader_seed, 2)),
        (None, spaced),
        (unknown, spaced),
    ):
        order = reader_case_order(numbers, patients, texts, 17, "R3", 2, given)
        assert order == [(sorted(numbers)[i], repeat) for i, repeat in expected]
    plain = reader_case_order(numbers, patients, texts, 17, "R3", blocks=blocks)
    without = slow_block_order(*by_number, reader_seed, 0)
    assert plain == [(sorted(numbers)[i], False) for i, _ in without]
    assert spaced_case_order(*by_number[:2], reader_seed) == slow_spaced_order(
        *by_number[:2], reader_seed, 0
    )


def test_rule_of_an_order() -> None:
    rules = [order_rule(blocks) for blocks in (None, [], [None, 1], [1, None], [1], [1, 2])]
    assert rules == ["spaced at random"] * 4 + ["randomised blocks"] * 2


def test_keys_of_texts() -> None:
    keys = keys_of([("a", "b"), (), ("a",), ("a", "b"), ()])
    assert keys[0] == keys[3] and len(set(keys)) == 4


@pytest.mark.parametrize(("texts", "blocks"), [(3, 2), (2, 3), (2, 4)])
def test_properties_of_unequal_length_are_refused(texts: int, blocks: int) -> None:
    with pytest.raises(ValueError, match=f"2 patients, {texts} texts, {blocks} blocks"):
        block_case_order([1, 2], range(texts), range(blocks), 1)
    with pytest.raises(ValueError, match="2 patients for 3 texts"):
        spaced_case_order([1, 2], [1, 2, 3], 1)
