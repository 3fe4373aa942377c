"""The order in which one reader sees the cases: seeded, blind to truth, with like cases kept apart
where possible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np

PATIENT_GAP = 20
TEXT_GAP = 10


def readers_order(
    numbers: Sequence[int],
    patients: Sequence[Hashable],
    texts: Sequence[Sequence[str]],
    seed: int,
    code: str,
    repeats: int = 0,
) -> list[tuple[int, bool]]:
    """(case number, is hidden repeat) for every place of one reader: seeded by the design and the
    reader's code, so that it can be linted before the reader comes. The stored order of the cases
    does not matter; cases without words have nothing in common that would have to be kept apart.
    """
    own = int.from_bytes(hashlib.sha256(f"{seed}:{code}".encode()).digest()[:8], "big")
    rows = sorted(zip(numbers, patients, texts, strict=True), key=lambda row: row[0])
    shown = [tuple(words) or ("", number) for number, _, words in rows]
    return [
        (int(rows[index][0]), again)
        for index, again in reading_order([row[1] for row in rows], shown, own, repeats)
    ]


def reading_order(
    patients: Sequence[Hashable], texts: Sequence[Hashable], seed: int, repeats: int = 0
) -> list[tuple[int, bool]]:
    """(index of the case, is hidden repeat) for every place. patients, texts: one entry per case.

    A uniformly random order is mended greedily: the next case is the first of the random order
    whose patient was not among the last 20 and whose text was not among the last 10 (PAGES "Read");
    where none fits, the one that breaks the rule least recently. Repeats are drawn at random from
    the first half and come back in the second.
    """
    if len(patients) != len(texts):
        raise ValueError(f"{len(patients)} patients for {len(texts)} texts")
    generator = np.random.default_rng(seed)
    waiting = [(int(i), False) for i in generator.permutation(len(patients))]
    again = waiting[: min(repeats, len(waiting) // 2)]
    order = _apart(waiting, patients, texts)
    for index, _ in (again[i] for i in generator.permutation(len(again))):
        first = next(i for i, (case, _) in enumerate(order) if case == index)
        low = min(max(first + PATIENT_GAP, len(order) // 2), len(order))
        order.insert(int(generator.integers(low, len(order) + 1)), (index, True))
    return order


def _apart(
    waiting: list[tuple[int, bool]], patients: Sequence[Hashable], texts: Sequence[Hashable]
) -> list[tuple[int, bool]]:
    order: list[tuple[int, bool]] = []
    last_patient: dict[Hashable, int] = {}
    last_text: dict[Hashable, int] = {}
    waiting = list(waiting)
    while waiting:
        place = len(order)

        def shortfall(item: tuple[int, bool], place: int = place) -> int:
            """How far the distances to like cases fall short if this case came next."""
            case = item[0]
            patient = max(0, PATIENT_GAP - (place - last_patient.get(patients[case], -PATIENT_GAP)))
            return patient + max(0, TEXT_GAP - (place - last_text.get(texts[case], -TEXT_GAP)))

        chosen = min(range(len(waiting)), key=lambda i: (shortfall(waiting[i]), i))
        item = waiting.pop(chosen)
        last_patient[patients[item[0]]] = last_text[texts[item[0]]] = place
        last_patient[patients[item[0]]] = place
        order.append(item)
    return order
