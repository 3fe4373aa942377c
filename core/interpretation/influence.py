"""Ranking and selection of units by influence.

I[i, c, u] = (largest value of unit u's map over the whole mammogram i) x (weight of u for class c),
without bias (docs/reference/definitions.md, "Units"). Without a single linear head, as in
AlexNet and VGG, influence is the largest product of activation and gradient of the class logit. The
numbers come from `core.interpretation.mammogram_influence`; this module needs no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

RANKING_DEPTH = 64  # units kept per mammogram and class
# SPIE 2018 showed 40 to 50 units: those with mostly cancer among their top patches, and others
# drawn at random. At least 20 % are random here, and more where few units are of the first kind.
SPIE_UNITS, SPIE_RANDOM, SPIE_CANCER = 45, 0.2, 0.5
SPIE_TOP_PATCHES = 32
_CANCER_LABEL = 2


@dataclass(frozen=True)
class UnitSelection:
    """Units of one class, most frequent first.

    units: int [n], 0-based; counts: int [n] of mammograms that have the unit among their top.
    """

    units: np.ndarray
    counts: np.ndarray


def rank_units(influence: np.ndarray, depth: int = RANKING_DEPTH) -> np.ndarray:
    """Return the units with the largest influence.

    Parameters
    ----------
    influence : ndarray, float [..., units]
        Influence of every unit.
    depth : int
        Number of units.

    Returns
    -------
    ndarray, int [..., depth]
        0-based units, largest influence first, equal influences in order of the unit.

    References
    ----------
    Wu et al. 2021 (HDSR), section 2.4. docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> rank_units(np.array([[0.1, 2.0, -1.0, 2.0]]), depth=3)
    array([[1, 3, 0]])
    """
    # Stable: equal influences keep the order of the unit on every platform.
    return np.argsort(-influence, axis=-1, kind="stable")[..., :depth]


def select_frequent_units(top: np.ndarray, units: int, number: int) -> UnitSelection:
    """Return the units that occur most often among the top units of a class.

    Parameters
    ----------
    top : ndarray, int [images, top]
        Top units of every mammogram, from `rank_units`.
    units : int
        Number of units of the layer.
    number : int
        Most units to select. Units that never occur are not selected.

    Returns
    -------
    UnitSelection
        Equal counts in order of the unit.

    References
    ----------
    Wu et al. 2021 (HDSR). docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> selection = select_frequent_units(np.array([[2, 0], [2, 1], [1, 2]]), units=4, number=2)
    >>> selection.units.tolist(), selection.counts.tolist()
    ([2, 1], [3, 2])
    """
    counts = np.bincount(top.ravel(), minlength=units)
    order = np.argsort(-counts, kind="stable")[:number]
    # Fewer than `number` units may occur at all.
    order = order[counts[order] > 0]
    return UnitSelection(order, counts[order])


def select_spie_units(
    top: pd.DataFrame,
    alive: set[int],
    number: int = SPIE_UNITS,
    seed: int = 1,
    positive: int = _CANCER_LABEL,
) -> list[int]:
    """Return units whose top patches are mostly cancer, and a random share of the others.

    Parameters
    ----------
    top : DataFrame
        Columns unit and label (code of the class) of each top patch.
    alive : set of int
        Units that fire on some patch. Other units are never selected.
    number : int
        Units to select, at least a fifth of them at random.
    seed : int
        Seed of the random share.

    Returns
    -------
    list of int
        In ascending order, `number` of them unless fewer are alive. A unit is mostly cancer if more
        than half of its top patches are. If there are too many such units, those with the largest
        share are selected; if there are few, units drawn at random fill the number.

    References
    ----------
    Wu et al. 2018 (SPIE 10575), selection of units for the experts.

    Examples
    --------
    >>> import pandas as pd
    >>> top = pd.DataFrame({"unit": [0, 0, 1, 1, 2, 2], "label": [2, 2, 0, 0, 2, 1]})
    >>> select_spie_units(top, alive={0, 1, 2}, number=1)
    [0]
    """
    alive_rows = top[top["unit"].isin(alive)]
    share = alive_rows.groupby("unit")["label"].agg(lambda s: float((s == positive).mean()))
    number = min(number, len(share))
    least_random = round(SPIE_RANDOM * number)
    by_share = share[share > SPIE_CANCER].sort_values(ascending=False, kind="stable")
    cancer = by_share.index[: number - least_random].tolist()
    others = np.array(sorted(set(share.index) - set(cancer)))
    # The second number separates this stream from other draws of the same study seed.
    rng = np.random.default_rng([seed, 31])
    drawn = rng.permutation(others)[: number - len(cancer)]
    return sorted(int(unit) for unit in [*cancer, *drawn])
