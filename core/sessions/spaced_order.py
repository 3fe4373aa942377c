"""The order of the cases in protocols that were frozen by the first release.

It is kept unchanged for them: a reader's order must not change in the middle of a study, and the
leakage checks that were made before freezing hold for this rule. It puts common texts later than
rare ones, for which reason newer protocols use `core.sessions.case_order`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

PATIENT_GAP = 20
TEXT_GAP = 10


def spaced_case_order(
    patients: Sequence[Hashable], texts: Sequence[Hashable], seed: int, repeats: int = 0
) -> list[tuple[int, bool]]:
    """Return (index of the case, is a hidden repeat) for each position.

    patients, texts: one entry a case. A uniformly random order is corrected greedily: the next case
    is the first of the random order whose patient is not among the last 20 and whose text is not
    among the last 10; where none qualifies, the one that falls short least. Repeats are drawn from
    the first half and placed in the second.
    """
    if len(patients) != len(texts):
        raise ValueError(f"{len(patients)} patients for {len(texts)} texts")
    generator = np.random.default_rng(seed)
    shuffled = [int(i) for i in generator.permutation(len(patients))]
    repeated = shuffled[: min(repeats, len(shuffled) // 2)]
    order = [(case, False) for case in _space_similar_cases(shuffled, patients, texts)]
    for case in (repeated[i] for i in generator.permutation(len(repeated))):
        first = next(position for position, (index, _) in enumerate(order) if index == case)
        # A repeat keeps the same distance from its case as two cases of one patient.
        earliest = min(max(first + PATIENT_GAP, len(order) // 2), len(order))
        order.insert(int(generator.integers(earliest, len(order) + 1)), (case, True))
    return order


def _space_similar_cases(
    shuffled: Sequence[int], patients: Sequence[Hashable], texts: Sequence[Hashable]
) -> list[int]:
    """Return the cases of a random order, rearranged so that similar ones are apart."""
    waiting = list(shuffled)
    order: list[int] = []
    last_patient: dict[Hashable, int] = {}
    last_text: dict[Hashable, int] = {}

    def shortfall(case: int) -> int:
        """Return how many positions are missing between a case and the last similar ones."""
        position = len(order)
        patient = PATIENT_GAP - (position - last_patient.get(patients[case], -PATIENT_GAP))
        text = TEXT_GAP - (position - last_text.get(texts[case], -TEXT_GAP))
        return max(0, patient) + max(0, text)

    while waiting:
        # The index breaks ties, so that cases keep the random order unless the gaps forbid it.
        best = min(range(len(waiting)), key=lambda i: (shortfall(waiting[i]), i))
        case = waiting.pop(best)
        last_patient[patients[case]] = last_text[texts[case]] = len(order)
        order.append(case)
    return order
