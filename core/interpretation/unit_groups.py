"""Groups of units that respond to the same thing.

Two units are similar if their activations on hold-out patches rise and fall together and the same
patches are their top patches. Groups follow by average linkage, so that the units of two groups
that are joined are similar on average.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from core.interpretation.influence import UnitSelection

# Least mean similarity of the units of two groups that are joined: 1 for identical units, 0 for
# independent ones.
GROUP_SIMILARITY = 0.6
_BLOCK_ROWS = 4096
_MAX_PATCHES = 10_000  # more patches would change a correlation by less than .01


def activation_correlations(activations: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of the activations of every pair of units.

    Parameters
    ----------
    activations : ndarray, float [patches, units]
        Largest activation of each unit on each hold-out patch. Of more than 10,000 patches every
        second, third, ... one counts.

    Returns
    -------
    ndarray, float64 [units, units]
        0 for a unit with the same activation on every patch; 1 on the diagonal.

    Examples
    --------
    >>> activation_correlations(np.array([[0.0, 0, 1], [1, 2, 1], [2, 4, 1]])).round(2).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    activations = activations[:: max(1, -(-len(activations) // _MAX_PATCHES))]
    patches, units = activations.shape
    if not patches:
        return np.eye(units)
    blocks = range(0, patches, _BLOCK_ROWS)
    mean = sum(activations[i : i + _BLOCK_ROWS].sum(0, dtype=np.float64) for i in blocks) / patches
    products = np.zeros((units, units))
    # Centred before the products: differences of large sums would lose their last digits.
    for i in blocks:
        centred = (activations[i : i + _BLOCK_ROWS] - mean).astype(activations.dtype)
        products += centred.T @ centred
    deviation = np.sqrt(np.diag(products))
    scale = np.outer(deviation, deviation)
    correlations = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    np.fill_diagonal(correlations, 1.0)
    return correlations


def top_patch_agreement(top: np.ndarray, patches: int) -> np.ndarray:
    """Return the share of top patches that every pair of units has in common, beyond chance.

    Parameters
    ----------
    top : ndarray, int [units, k]
        Different patches with the largest activations of each unit.
    patches : int
        Number of patches among which they were found.

    Returns
    -------
    ndarray, float64 [units, units]
        (share - k / patches) / (1 - k / patches): 1 for the same patches, 0 on average for
        independent units. 0 if every patch is a top patch.

    Examples
    --------
    >>> top_patch_agreement(np.array([[0, 1], [1, 0], [2, 3]]), patches=8)[0].round(2).tolist()
    [1.0, 1.0, -0.33]
    """
    units, k = top.shape
    expected = k / patches
    if expected >= 1:
        return np.eye(units)
    numbers = np.unique(top, return_inverse=True)[1].reshape(units, k)
    rows = np.repeat(np.arange(units), k)
    membership = scipy.sparse.csr_array((np.ones(units * k), (rows, numbers.ravel())))
    share = (membership @ membership.T).toarray() / k
    return (share - expected) / (1 - expected)


def unit_similarities(activations: np.ndarray, top: np.ndarray, patches: int) -> np.ndarray:
    """Return the similarity of every pair of units.

    It is the mean of the correlation of their activations and of the share of top patches in common
    beyond chance. The parameters are those of `group_units`.

    Returns
    -------
    ndarray, float64 [units, units]
        1 on the diagonal; 0 on average for independent units.
    """
    similar = (activation_correlations(activations) + top_patch_agreement(top, patches)) / 2
    similar = (similar + similar.T) / 2
    np.fill_diagonal(similar, 1)
    return similar


def group_units(
    activations: np.ndarray,
    top: np.ndarray,
    patches: int,
    similarity: float = GROUP_SIMILARITY,
) -> list[list[int]]:
    """Return the groups of units that respond to the same thing.

    Their similarity is that of `unit_similarities`.

    Parameters
    ----------
    activations : ndarray, float [hold-out patches, units]
        Largest activation of each unit on each hold-out patch.
    top : ndarray, int [units, k]
        Top patches of each unit.
    patches : int
        Number of patches among which the top patches were found.
    similarity : float
        Least mean similarity of the units of two groups that are joined.

    Returns
    -------
    list of list of int
        Every unit once, ascending within its group; the largest group first, of equal sizes the
        one with the smallest unit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> one, other = rng.random(50), rng.random(50)
    >>> activations = np.stack([one, other, one + 0.01 * rng.random(50)], axis=1)
    >>> top = np.argsort(-activations, axis=0)[:5].T
    >>> group_units(activations, top, patches=50)
    [[0, 2], [1]]
    """
    units = len(top)
    if units < 2:
        return [[unit] for unit in range(units)]
    distance = 1 - unit_similarities(activations, top, patches)
    # Rounding can make the distance of identical units negative.
    condensed = scipy.spatial.distance.squareform(np.maximum(distance, 0), checks=False)
    tree = scipy.cluster.hierarchy.linkage(condensed, method="average")
    # A tolerance for rounding: units whose similarity is the bound itself belong together.
    cut = 1 - similarity + 1e-9
    codes = scipy.cluster.hierarchy.fcluster(tree, cut, criterion="distance")
    members: dict[int, list[int]] = {}
    for unit, code in enumerate(codes.tolist()):
        members.setdefault(code, []).append(unit)
    return sorted(members.values(), key=lambda group: (-len(group), group[0]))


def select_frequent_groups(
    top: np.ndarray, groups: Sequence[Sequence[int]], number: int
) -> UnitSelection:
    """Return the units of the groups that occur most often among the top units of a class.

    Parameters
    ----------
    top : ndarray, int [images, top]
        Top units of every mammogram.
    groups : sequence of sequence of int
        Groups of units, every unit of the layer once.
    number : int
        Most groups to select.

    Returns
    -------
    UnitSelection
        Units that occur among the top, group by group, the most frequent first.

    Examples
    --------
    >>> top = np.array([[0, 3], [2, 3], [1, 3]])
    >>> select_frequent_groups(top, [[0, 1, 2], [3], [4]], number=1).units.tolist()
    [0, 1, 2]
    """
    counts = np.bincount(top.ravel(), minlength=1 + max(max(group) for group in groups))
    totals = [int(counts[list(group)].sum()) for group in groups]
    chosen = sorted(range(len(groups)), key=lambda i: -totals[i])[:number]
    units = [
        unit
        for i in chosen
        for unit in sorted(groups[i], key=lambda unit: -counts[unit])
        if counts[unit] > 0
    ]
    selected = np.array(units, int)
    return UnitSelection(selected, counts[selected])
