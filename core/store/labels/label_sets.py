"""Label sets of a dissection, chosen by name: each expert's, the consensus, and the default.

A label set is a label for some units. The default set holds the labels that count
(`core.store.labels.label_states.unit_labels`); the others hold what one source says.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.errors import UserError
from core.lexicon import annotation_answers
from core.store import annotation_table
from core.store.connection import Connection
from core.store.labels import decision_table, label_states, machine_names
from core.store.labels.finished_annotators import first_answers
from core.store.labels.label_states import UnitLabel
from core.store.labels.set_names import (
    CONSENSUS_SET,
    DEFAULT_SET,
    MACHINE_SET,
    PUBLISHED_SET,
)

_DESCRIPTIONS = {
    DEFAULT_SET: (
        "adjudicated labels, those on which all experts who have finished agree, and published"
        " ones; while fewer than two experts have finished, also the provisional labels of one"
    ),
    CONSENSUS_SET: "adjudicated labels, and imported consensus labels of other units",
    PUBLISHED_SET: "consensus labels imported from a file, without decisions made in this study",
    MACHINE_SET: (
        "words of a list that a vision-language model finds nearer to a unit's top patches than to"
        " random ones"
    ),
}


def set_sentence(name: str) -> str:
    """Return what a label set is, for captions and protocols.

    Examples
    --------
    >>> set_sentence("consensus")
    'Label set "consensus": adjudicated labels, and imported consensus labels of other units.'
    """
    meaning = _DESCRIPTIONS.get(name, f"the latest answers of {name}")
    return f'Label set "{name}": {meaning}.'


def earlier_set_sentence(name: str) -> str:
    """Return what a label set was before labels had states, for protocols that were frozen then.

    Only the default set has another rule since.
    """
    if name != DEFAULT_SET:
        return set_sentence(name)
    return (
        f'Label set "{name}": the adjudicated text, else the first expert\'s latest answer that'
        " names something."
    )


def list_label_sets(con: Connection, run: str) -> dict[str, int]:
    """Return the label sets of a dissect run with their numbers of labelled units.

    The default set comes first, then consensus, published and machine labels, then experts by code.
    Sets other than the default one are listed only if they name a unit.
    """
    codes = con.execute(
        "SELECT DISTINCT code FROM annotations WHERE run = ? AND NOT practice ORDER BY code", [run]
    ).fetchall()
    names = [CONSENSUS_SET, PUBLISHED_SET, MACHINE_SET, *(code for (code,) in codes)]
    annotations = annotation_table.load_annotations(con, run)
    sizes = {name: len(_labels_of(con, run, name, annotations)) for name in names}
    default = len(label_states.unit_labels(con, run, ()))
    return {DEFAULT_SET: default} | {name: size for name, size in sizes.items() if size}


def load_label_set(
    con: Connection, run: str, name: str, order_of_experts: Sequence[str]
) -> dict[int, UnitLabel]:
    """Return the labels of a set by 0-based unit.

    Parameters
    ----------
    con : Connection
        A connection to the study.
    run : str
        Id of the dissect run.
    name : str
        "default", "consensus", "published", "machine" or the code of an expert.
    order_of_experts : sequence of str
        The setting of the study, which only the default set uses.

    Raises
    ------
    UserError
        If the dissection has no such set; the message lists those that it has.
    """
    labels = find_label_set(con, run, name, order_of_experts)
    if not labels and name != DEFAULT_SET:
        raise UserError(
            f"The label set {name!r} names no unit of {run}; choose one of"
            f" {', '.join(list_label_sets(con, run))}."
        )
    return labels


def find_label_set(
    con: Connection, run: str, name: str, order_of_experts: Sequence[str]
) -> dict[int, UnitLabel]:
    """Return the labels of a set as `load_label_set`, empty if the dissection has no such set."""
    if name == DEFAULT_SET:
        return label_states.unit_labels(con, run, order_of_experts)
    return _labels_of(con, run, name, annotation_table.load_annotations(con, run))


def _labels_of(
    con: Connection, run: str, name: str, annotations: pd.DataFrame
) -> dict[int, UnitLabel]:
    """Return the labels of a set other than the default one; annotations: the latest of the run."""
    if name == MACHINE_SET:
        names = machine_names.load_machine_names(con, run) or {}
        return {
            unit: UnitLabel(answer.word, (), False, label_states.MACHINE)
            for unit, answer in names.items()
            if answer.named
        }
    if name not in (CONSENSUS_SET, PUBLISHED_SET):
        own = first_answers(annotations[annotations["code"] == name])
        return {
            int(row.unit): UnitLabel(
                row.answer["label"],
                (row.annotation_id,),
                bool(row.simulated),
                label_states.PROVISIONAL,
            )
            for row in own.sort_values("unit").itertuples()
            if annotation_answers.is_substantive(row.answer)
        }
    simulated = dict(zip(annotations["annotation_id"], annotations["simulated"]))
    decisions = (
        decision_table.load_consensus(con, run)
        if name == CONSENSUS_SET
        else decision_table.load_decisions(con, run, imported=True).assign(imported=True)
    )
    labels = {
        int(row.unit): label_states.decided_label(
            row, label_states.PUBLISHED if row.imported else label_states.ADJUDICATED, simulated
        )
        for row in decisions.itertuples()
    }
    return {unit: label for unit, label in labels.items() if label is not None}
