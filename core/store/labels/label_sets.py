"""Label sets of a dissection, chosen by name: each expert's, the consensus, and the default.

A label set is a label for some units. The default set follows the rule of
`core.store.annotation_table.unit_labels`; the others hold what one source says, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import UserError
from core.lexicon import birads_lexicon
from core.store import annotation_table
from core.store.annotation_table import UnitLabel
from core.store.connection import Connection

DEFAULT_SET, CONSENSUS_SET, PUBLISHED_SET = "default", "consensus", "published"
_DESCRIPTIONS = {
    DEFAULT_SET: "the adjudicated text, else the first expert's latest answer that names something",
    CONSENSUS_SET: "adjudicated and imported consensus labels only",
    PUBLISHED_SET: "consensus labels imported from a file, without decisions made in this study",
}


def set_sentence(name: str) -> str:
    """Return what a label set is, for captions and protocols.

    Examples
    --------
    >>> set_sentence("consensus")
    'Label set "consensus": adjudicated and imported consensus labels only.'
    """
    meaning = _DESCRIPTIONS.get(name, f"the latest answers of {name}")
    return f'Label set "{name}": {meaning}.'


def list_label_sets(con: Connection, run: str) -> dict[str, int]:
    """Return the label sets of a dissect run with their numbers of labelled units.

    The default set comes first, then the consensus and published labels, then experts by code. Sets
    other than the default one are listed only if they name a unit.
    """
    codes = con.execute(
        "SELECT DISTINCT code FROM annotations WHERE run = ? AND NOT practice ORDER BY code", [run]
    ).fetchall()
    names = [CONSENSUS_SET, PUBLISHED_SET, *(code for (code,) in codes)]
    sizes = {name: len(_labels_of(con, run, name)) for name in names}
    default = len(annotation_table.unit_labels(con, run, ()))
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
        "default", "consensus", "published" or the code of an expert.
    order_of_experts : sequence of str
        The setting of the study, which only the default set uses.

    Raises
    ------
    UserError
        If the dissection has no such set; the message lists those that it has.
    """
    if name == DEFAULT_SET:
        return annotation_table.unit_labels(con, run, order_of_experts)
    labels = _labels_of(con, run, name)
    if not labels:
        raise UserError(
            f"The label set {name!r} names no unit of {run}; choose one of"
            f" {', '.join(list_label_sets(con, run))}."
        )
    return labels


def _labels_of(con: Connection, run: str, name: str) -> dict[int, UnitLabel]:
    """Return the labels of a set other than the default one."""
    annotations = annotation_table.load_annotations(con, run)
    simulated = dict(zip(annotations["annotation_id"], annotations["simulated"]))
    if name not in (CONSENSUS_SET, PUBLISHED_SET):
        own = annotations[
            (annotations["code"] == name) & ~annotations["practice"] & ~annotations["repeat"]
        ]
        return {
            int(row.unit): UnitLabel(row.answer["label"], (row.annotation_id,), bool(row.simulated))
            for row in own.sort_values("unit").itertuples()
            if birads_lexicon.is_substantive(row.answer)
        }
    decisions = annotation_table.load_decisions(con, run, imported=name == PUBLISHED_SET)
    return {
        int(row.unit): UnitLabel(
            row.label,
            tuple(row.sources),
            any(bool(simulated.get(source, False)) for source in row.sources),
        )
        for row in decisions.itertuples()
        if row.label
    }
