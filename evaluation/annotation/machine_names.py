"""Machine names of units, from embeddings of patches and of a word list.

A unit gets the word that is nearer to its top patches than to all patches, by the largest margin.
Words that are no nearer than for random patches of as many patients give no name. Reading of files
belongs in `core.annotation.embedding_files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import store
from core.annotation.unit_categories import text_categories
from core.settings import load_order_of_experts
from core.store.labels import group_table, label_states, machine_names
from evaluation.agreement import cohen_kappa
from evaluation.intervals import count_text, decimal, interval_text, percent
from evaluation.proportion import adjust
from evaluation.validation import Array

DRAWS = 999  # random sets of patches for each unit
ALPHA = 0.05
_NOTHING, _OTHER_WORDS = "nothing", "words without a category"


@dataclass(frozen=True, kw_only=True)
class MachineName:
    """The name of a unit by a model.

    word: the nearest word; score: its mean similarity to the top patches above that to all patches,
    in standard deviations over all patches; p: of a score at least as large of any word for random
    patches of as many patients; p_adjusted: by Benjamini and Hochberg over all units. The unit has
    the name if that is below `ALPHA`.
    """

    word: str
    score: float
    p: float
    p_adjusted: float

    @property
    def named(self) -> bool:
        """Whether the word is the unit's name."""
        return self.p_adjusted < ALPHA


def name_units(
    similarity: Array,
    patients: Array,
    top: Array,
    words: Sequence[str],
    seed: int = 1,
) -> list[MachineName]:
    """Return the machine names of units.

    Parameters
    ----------
    similarity : ndarray, float [patches, words]
        Cosine of the embeddings of every patch and word.
    patients : ndarray [patches]
        Patient of each patch.
    top : ndarray, int [units, k]
        Rows of each unit's top patches.
    words : sequence of str
        The word list.
    seed : int
        Seed of the random patches.

    Returns
    -------
    list of MachineName
        One for each unit.

    Notes
    -----
    Random sets have the unit's numbers of patches for each patient: neighbouring patches of one
    patient are similar, so that single patches drawn at random would make any name significant.

    References
    ----------
    Oikarinen T, Weng TW. CLIP-Dissect: automatic description of neuron representations in deep
    vision networks. ICLR 2023 (names from embeddings of images and of a word list).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> similarity = rng.normal(0, 0.1, (400, 3))
    >>> similarity[:20, 1] += 1.0
    >>> patients = np.arange(400) // 4
    >>> top = np.stack([np.arange(20), np.arange(100, 120)])
    >>> [(n.word, n.named) for n in name_units(similarity, patients, top, ["a", "b", "c"])]
    [('b', True), ('a', False)]
    """
    spread = similarity.std(0)
    standard = (similarity - similarity.mean(0)) / np.where(spread > 0, spread, 1.0)
    answers = []
    for unit, rows in enumerate(top):
        scores = standard[rows].mean(0)
        best = int(scores.argmax())
        counts = sorted(Counter(patients[rows].tolist()).values(), reverse=True)
        random = _random_rows(patients, counts, np.random.default_rng([seed, unit, 41]))
        reached = sum(standard[draw].mean(0).max() >= scores[best] for draw in random)
        answers.append((words[best], float(scores[best]), (1 + reached) / (1 + DRAWS)))
    adjusted = adjust([p for _, _, p in answers], "bh")
    return [
        MachineName(word=word, score=score, p=p, p_adjusted=float(q))
        for (word, score, p), q in zip(answers, adjusted)
    ]


def _random_rows(patients: Array, counts: Sequence[int], rng: np.random.Generator) -> Array:
    """Return rows of random patients, int [DRAWS, k], with numbers of patches for each patient.

    counts: of k patches in all, largest first: some patient then always has as many left.
    """
    codes = np.unique(patients, return_inverse=True)[1]
    sizes = np.bincount(codes)
    # Rows by patient, in random order within each.
    rows = np.lexsort((rng.random(len(codes)), codes))
    first = np.cumsum(sizes) - sizes
    order = rng.random((DRAWS, len(sizes)))
    drawn = []
    for count in counts:
        patient = np.where(sizes >= count, order, -1.0).argmax(1)
        order[np.arange(DRAWS), patient] = -1.0  # no patient is drawn twice
        start = rng.integers(0, sizes[patient])
        offset = (start[:, None] + np.arange(count)) % sizes[patient][:, None]
        drawn.append(rows[first[patient][:, None] + offset])
    return np.concatenate(drawn, axis=1)


@dataclass(frozen=True, kw_only=True)
class MachineAgreement:
    """Agreement of machine names with the labels of experts that count.

    units: compared units, one for each group of similar units; observed: share with the same first
    category; kappa, low, high: Cohen's kappa with its interval; reason: why something is missing;
    simulated: whether a label comes from a simulated expert.
    """

    units: int
    observed: float | None
    kappa: float | None
    low: float | None
    high: float | None
    reason: str | None
    simulated: bool

    def sentence(self) -> str:
        """Return the result as one sentence."""
        mark = "SIMULATED experts. " if self.simulated else ""
        if self.observed is None:
            return f"{mark}Agreement of machine names with experts is not estimable: {self.reason}."
        bounds = interval_text(self.low, self.high, 0.95, self.reason)
        return (
            f"{mark}Machine names and experts' labels have the same first category in"
            f" {percent(self.observed, 0)} of {count_text(self.units, 'unit')} (one of each group"
            f" of similar units); corrected for chance, Cohen's kappa {decimal(self.kappa, 2)}"
            f" ({bounds}; 0: chance)."
        )


def machine_agreement(study: Path, dissect: str) -> MachineAgreement | None:
    """Return the agreement of a dissect run's machine names with experts; None without names.

    "Nothing" is a category: of experts who agree that a unit shows none, and of a unit without a
    name that is better than chance.
    """
    with store.read(study) as con:
        names = machine_names.load_machine_names(con, dissect)
        if names is None:
            return None
        states = label_states.unit_states(con, dissect, load_order_of_experts(study))
        judged = {unit: state.label for unit, state in states.items() if state.counts}
        # Copies of one answer are no further observations.
        units = [
            u for u in group_table.annotated_groups(con, dissect) if u in judged and u in names
        ]
        experts = text_categories(
            con,
            dissect,
            [(u, label.text, label.annotation_ids) for u in units if (label := judged[u])],
        )
        machine = text_categories(
            con, dissect, [(u, names[u].word, ()) for u in units if names[u].named]
        )
    named = [u for u in units if judged[u]]
    expert_of = {u: _first(categories.names) for u, categories in zip(named, experts)}
    machine_of = {
        u: _first(categories.names)
        for u, categories in zip([u for u in units if names[u].named], machine)
    }
    pairs = [(expert_of.get(u, _NOTHING), machine_of.get(u, _NOTHING)) for u in units]
    simulated = any(label.simulated for u in units if (label := judged[u]))
    return agreement_of_pairs(pairs, simulated)


def _first(categories: Sequence[str]) -> str:
    return categories[0] if categories else _OTHER_WORDS


def agreement_of_pairs(
    pairs: Sequence[tuple[str, str]], simulated: bool = False
) -> MachineAgreement:
    """Return the agreement of pairs of categories, of experts and of the machine.

    Examples
    --------
    >>> pairs = [("mass", "mass")] * 4 + [("calcification", "calcification")] * 4
    >>> result = agreement_of_pairs([*pairs, ("mass", "calcification")])
    >>> result.units, round(result.observed, 2), round(result.kappa, 2)
    (9, 0.89, 0.78)
    """
    if not pairs:
        return MachineAgreement(
            units=0,
            observed=None,
            kappa=None,
            low=None,
            high=None,
            reason="no unit has both a label that counts and a machine answer",
            simulated=simulated,
        )
    categories = sorted({category for pair in pairs for category in pair})
    counts: Mapping[tuple[str, str], int] = Counter(pairs)
    table = [[counts.get((a, b), 0) for b in categories] for a in categories]
    kappa = cohen_kappa(table)
    return MachineAgreement(
        units=len(pairs),
        observed=sum(a == b for a, b in pairs) / len(pairs),
        kappa=kappa.estimate,
        low=kappa.low,
        high=kappa.high,
        reason=kappa.reason,
        simulated=simulated,
    )
