"""The order in which one reader sees the cases.

It is seeded and does not depend on truth. Arms are balanced in randomised blocks, cases of one
patient and equal texts are apart where possible, and hidden repeats are far from their first
showing. The leakage checks compute the same order before the reader comes, so the derivation of
seed and order exists only here.

Protocols that were frozen by the first release have no blocks; their order is that of
`core.sessions.spaced_order`, so that readers in the middle of a study are not affected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from core.sessions.spaced_order import PATIENT_GAP, TEXT_GAP, spaced_case_order

BLOCK_RULE, SPACED_RULE = "randomised blocks", "spaced at random"
# Larger blocks balance the arms less closely; smaller ones make the next arm easy to guess.
BLOCK_SIZE = 8
# Attempts to improve one case; more do not reduce the close pairs noticeably.
_ATTEMPTS = 12
_PASSES = 4


def order_rule(blocks: Sequence[int | None] | None) -> str:
    """Return the name of the rule by which cases with these blocks are ordered."""
    return BLOCK_RULE if _has_blocks(blocks) else SPACED_RULE


def _has_blocks(blocks: Sequence[int | None] | None) -> bool:
    return blocks is not None and len(blocks) > 0 and all(block is not None for block in blocks)


def reader_case_order(
    numbers: Sequence[int],
    patients: Sequence[Hashable],
    texts: Sequence[Sequence[str]],
    seed: int,
    code: str,
    repeats: int = 0,
    blocks: Sequence[int | None] | None = None,
) -> list[tuple[int, bool]]:
    """Return (case number, is a hidden repeat) for each position of one reader.

    numbers, patients, texts, blocks: one entry a case, in any order. blocks: see `assign_blocks`;
    None for a protocol of the first release. seed, repeats: of the design. code: of the reader,
    whose own order results.
    """
    digest = hashlib.sha256(f"{seed}:{code}".encode()).digest()
    reader_seed = int.from_bytes(digest[:8], "big")
    # Sorted, because the stored order of the cases must not influence the reader's.
    rows = sorted(range(len(numbers)), key=lambda row: numbers[row])
    case_patients = [patients[row] for row in rows]
    keys = text_keys([texts[row] for row in rows])
    if blocks is not None and _has_blocks(blocks):
        order = block_case_order(
            case_patients, keys, [int(blocks[row] or 0) for row in rows], reader_seed, repeats
        )
    else:
        order = spaced_case_order(case_patients, keys, reader_seed, repeats)
    return [(int(numbers[rows[index]]), is_repeat) for index, is_repeat in order]


def text_keys(texts: Sequence[Sequence[str]]) -> list[Hashable]:
    """Return a value for each case's texts that equals that of the same texts.

    Cases without texts have no text in common, so each gets a value of its own.
    """
    return [tuple(case_texts) or ("", row) for row, case_texts in enumerate(texts)]


def assign_blocks(
    arms: Sequence[str], patients: Sequence[Hashable], texts: Sequence[Hashable], seed: int
) -> list[int]:
    """Return the block of each case, from 1.

    Every block holds as many cases of each arm as every other, or one more. Cases of one patient,
    and equal texts, are in different blocks where possible. Blocks are made once a design and carry
    no information about an arm, so that a site bundle may hold them.

    arms, patients, texts: one entry a case.
    """
    generator = np.random.default_rng([seed, BLOCK_SIZE])
    rows_by_arm: dict[str, list[int]] = {}
    for row, arm in enumerate(arms):
        rows_by_arm.setdefault(arm, []).append(row)
    smallest = min((len(rows) for rows in rows_by_arm.values()), default=1)
    count = max(1, min(smallest, round(len(arms) / BLOCK_SIZE)))
    block_order = generator.permutation(count)
    blocks = [0] * len(arms)
    assigned = 0
    for rows in rows_by_arm.values():
        for row in generator.permutation(rows):
            # Continued from arm to arm, so that the blocks differ by at most one case in all.
            blocks[int(row)] = int(block_order[assigned % count]) + 1
            assigned += 1
    _separate_in_blocks(blocks, rows_by_arm, [patients, texts], generator)
    return blocks


def _separate_in_blocks(
    blocks: list[int],
    rows_by_arm: dict[str, list[int]],
    properties: Sequence[Sequence[Hashable]],
    generator: np.random.Generator,
) -> None:
    """Exchange cases of one arm between blocks while that separates cases with equal properties."""
    groups = [_group_rows(values) for values in properties]

    def shared(row: int) -> int:
        """Return how many cases of the row's block share one of its properties."""
        return sum(
            blocks[other] == blocks[row]
            for group, values in zip(groups, properties)
            for other in group[values[row]]
            if other != row
        )

    for arm_rows in rows_by_arm.values():
        for row in generator.permutation(arm_rows):
            for other in generator.choice(arm_rows, _ATTEMPTS):
                if not shared(row):
                    break
                before = shared(row) + shared(other)
                blocks[row], blocks[other] = blocks[other], blocks[row]
                if shared(row) + shared(other) >= before:
                    blocks[row], blocks[other] = blocks[other], blocks[row]


def _group_rows(values: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    """Return the rows that hold each value."""
    groups: dict[Hashable, list[int]] = {}
    for row, value in enumerate(values):
        groups.setdefault(value, []).append(row)
    return groups


def block_case_order(
    patients: Sequence[Hashable],
    texts: Sequence[Hashable],
    blocks: Sequence[int],
    seed: int,
    repeats: int = 0,
) -> list[tuple[int, bool]]:
    """Return (index of the case, is a hidden repeat) for each position.

    patients, texts, blocks: one entry a case. The blocks follow each other in random order, and the
    cases within a block in random order. Exchanges of whole blocks of one size, and of cases within
    a block, are then accepted while they move cases of one patient towards a distance of 20 and
    equal texts towards a distance of 10. Neither the start nor the exchanges prefer the beginning
    or the end, so no kind of case does either.
    """
    if not len(patients) == len(texts) == len(blocks):
        raise ValueError(f"{len(patients)} patients, {len(texts)} texts, {len(blocks)} blocks")
    generator = np.random.default_rng(seed)
    members = list(_group_rows(blocks).values())
    order = [
        [int(row) for row in generator.permutation(members[int(index)])]
        for index in generator.permutation(len(members))
    ]
    _OrderSearch(order, patients, texts, generator).improve()
    flat = [row for block in order for row in block]
    return _with_repeats(flat, patients, min(repeats, len(flat) // 2), generator)


class _OrderSearch:
    """Search for an order of blocks and cases with fewer similar cases close to each other."""

    def __init__(
        self,
        order: list[list[int]],
        patients: Sequence[Hashable],
        texts: Sequence[Hashable],
        generator: np.random.Generator,
    ) -> None:
        self.order, self.generator = order, generator
        self.position = [0] * len(patients)
        # The other cases of the same patient or text, with the distance that is wanted.
        self.similar: list[list[tuple[int, int]]] = [[] for _ in patients]
        for values, gap in ((patients, PATIENT_GAP), (texts, TEXT_GAP)):
            for rows in _group_rows(values).values():
                for row in rows:
                    self.similar[row] += [(other, gap) for other in rows if other != row]
        for position, row in enumerate(row for block in order for row in block):
            self.position[row] = position

    def shortfall(self, rows: Iterable[int]) -> int:
        """Return how many positions are missing between cases and those similar to them."""
        position, total = self.position, 0
        for row in rows:
            here = position[row]
            for other, gap in self.similar[row]:
                missing = gap - abs(here - position[other])
                if missing > 0:
                    total += missing
        return total

    def improve(self) -> None:
        """Exchange blocks, then cases within blocks, until nothing improves."""
        for _ in range(_PASSES):
            before = sum(self.shortfall(block) for block in self.order)
            if not before:
                return
            for index in self.generator.permutation(len(self.order)):
                self._try_block(int(index))
            for index in self.generator.permutation(len(self.order)):
                self._try_cases(self.order[int(index)])
            if sum(self.shortfall(block) for block in self.order) == before:
                return

    def _try_block(self, index: int) -> None:
        """Exchange a block with others of its size while that helps."""
        block = self.order[index]
        if not self.shortfall(block):
            return
        for target in self.generator.integers(len(self.order), size=_ATTEMPTS):
            other = self.order[target]
            if target == index or len(other) != len(block):
                continue
            before = self.shortfall(block) + self.shortfall(other)
            self._exchange(block, other)
            if self.shortfall(block) + self.shortfall(other) < before:
                self.order[index], self.order[target] = other, block
                return
            self._exchange(block, other)

    def _try_cases(self, block: list[int]) -> None:
        """Exchange the cases of one block with each other while that helps."""
        for source in self.generator.permutation(len(block)):
            for target in self.generator.permutation(len(block)):
                first, second = block[source], block[target]
                if source == target or not self.shortfall([first]):
                    continue
                before = self.shortfall([first, second])
                self._exchange([first], [second])
                if self.shortfall([first, second]) < before:
                    block[source], block[target] = second, first
                else:
                    self._exchange([first], [second])

    def _exchange(self, first: Sequence[int], second: Sequence[int]) -> None:
        position = self.position
        for one, other in zip(first, second):
            position[one], position[other] = position[other], position[one]


def _with_repeats(
    order: Sequence[int],
    patients: Sequence[Hashable],
    repeats: int,
    generator: np.random.Generator,
) -> list[tuple[int, bool]]:
    """Return an order with hidden repeats at random positions of its second half.

    A repeated case was first shown in the first half and, where possible, at least a third of the
    order and 20 positions earlier.
    """
    length = len(order) + repeats
    half = (length + 1) // 2
    gap = max(PATIENT_GAP, length // 3)
    slots = sorted(half + int(i) for i in generator.permutation(length - half)[:repeats])
    positions = [position for position in range(length) if position not in set(slots)]
    first_showing = dict(zip(order, positions))
    result = [(-1, True)] * length
    for case, position in first_showing.items():
        result[position] = (case, False)
    unused = [case for case in order if first_showing[case] < half]
    for slot in slots:
        far = [case for case in unused if slot - first_showing[case] >= gap]
        near = {patients[result[p][0]] for p in _neighbours(slot, length) if result[p][0] >= 0}
        separate = [case for case in far if patients[case] not in near]
        # Where nothing is far enough, the case that was shown first is the farthest.
        choice = separate or far or unused[:1]
        case = choice[int(generator.integers(len(choice)))]
        unused.remove(case)
        result[slot] = (case, True)
    return result


def _neighbours(slot: int, length: int) -> range:
    """Return the positions at which a case of the same patient would be too close."""
    return range(max(0, slot - PATIENT_GAP + 1), min(length, slot + PATIENT_GAP))
