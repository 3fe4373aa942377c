"""Order of the cases in a crossover: each reader reads every case once in each period.

The cases of one image have different arms, and the periods of one reader hold the arms in another
rotation than those of the next reader (a Latin square), so that arm and period are balanced.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from core.sessions.case_order import assign_blocks, reader_case_order

# A block is stored as base period times this number, plus the block within the period from 1.
PERIOD_BLOCKS = 100_000


def crossover_blocks(
    periods: Sequence[int],
    arms: Sequence[str],
    patients: Sequence[Hashable],
    texts: Sequence[Hashable],
    seed: int,
) -> list[int]:
    """Return the block of each case; periods: the base period of each, from 0.

    Other arguments as of `core.sessions.case_order.assign_blocks`, which balances the arms in the
    blocks of each period.
    """
    blocks = [0] * len(periods)
    for period in sorted(set(periods)):
        rows = [row for row, value in enumerate(periods) if value == period]
        within = assign_blocks(
            [arms[row] for row in rows],
            [patients[row] for row in rows],
            [texts[row] for row in rows],
            seed + period,
        )
        for row, block in zip(rows, within):
            blocks[row] = period * PERIOD_BLOCKS + block
    return blocks


def crossover_case_order(
    numbers: Sequence[int],
    patients: Sequence[Hashable],
    texts: Sequence[Sequence[str]],
    blocks: Sequence[int],
    seed: int,
    code: str,
    rotation: int,
) -> list[tuple[int, int]]:
    """Return (case number, period from 0) for each position of one reader.

    numbers, patients, texts, blocks: one entry a case. seed: of the design. code: of the reader.
    rotation: how many readers began before; it shifts the periods.
    """
    base = [block // PERIOD_BLOCKS for block in blocks]
    count = max(base) + 1
    order = []
    for period in range(count):
        rows = [row for row in range(len(base)) if (base[row] + rotation) % count == period]
        in_period = reader_case_order(
            [numbers[row] for row in rows],
            [patients[row] for row in rows],
            [texts[row] for row in rows],
            seed,
            f"{code}, period {period}",
            0,
            [blocks[row] for row in rows],
        )
        order += [(number, period) for number, _ in in_period]
    return order
