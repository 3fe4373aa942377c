"""The label of every unit, its state, and whether it counts.

A label changes only when experts who have finished agree, when a person decides, or when a design
names another label set. Answers of people who have not finished change nothing that others use.
See docs/reference/definitions.md, "Annotation".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.lexicon import annotation_answers
from core.lexicon.lexicon import Lexicon
from core.store import annotation_table, dataset_table, unit_table
from core.store.connection import Connection
from core.store.labels import machine_names
from core.store.labels.decision_table import load_decisions
from core.store.labels.finished_annotators import (
    AnnotatorState,
    finished_answers,
    first_answers,
    latest_versions,
    states_of_versions,
)

PROVISIONAL, AGREED, ADJUDICATED = "provisional", "agreed", "adjudicated"
PUBLISHED, MACHINE = "published", "machine"
LABEL_STATES = (PROVISIONAL, AGREED, ADJUDICATED, PUBLISHED, MACHINE)


@dataclass(frozen=True)
class UnitLabel:
    """The label of a unit, the annotations it rests on, and its state.

    simulated: whether one of the annotations comes from a simulated expert. state: one of
    `LABEL_STATES`.
    """

    text: str
    annotation_ids: tuple[str, ...]
    simulated: bool
    state: str


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """What the study knows about the label of a unit.

    label: None where no expert names anything, or where that was agreed or decided. state: one of
    `LABEL_STATES`, also of a unit without a label. counts: whether explanations, figures and
    reports use the label unless a label set is named. disputed: experts who have finished differ,
    without a decision.
    """

    label: UnitLabel | None
    state: str
    counts: bool
    disputed: bool = False


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """The tables from which the states are made; answers by unit, in the order of experts.

    latest: of everybody. finished: those that count. sole: of the only expert who counts, if one.
    """

    latest: Mapping[int, list[Any]]
    finished: Mapping[int, list[Any]]
    sole: Mapping[int, list[Any]]
    decided: Mapping[int, Any]
    published: Mapping[int, Any]
    simulated: Mapping[str, bool]
    lexicon: Lexicon


def answer_key(answer: Mapping[str, Any], lexicon: Lexicon) -> Hashable:
    """Return a value that is equal for answers on which experts agree.

    Phenomena count with their descriptors and association, in any order; confidence does not.
    "Nothing" and "unsure" are equal: neither gives a label. Free text, and a label that was edited
    by hand, count by their words. lexicon: of the study.

    Examples
    --------
    >>> from core.lexicon.birads_categories import BIRADS
    >>> mass = {"category": "mass", "terms": {"margin": "spiculated"}, "association": "suspicious"}
    >>> answer = annotation_answers.create_answer([mass], 3, BIRADS)
    >>> answer_key(answer, BIRADS) == answer_key(answer | {"confidence": 1}, BIRADS)
    True
    >>> answer_key(answer, BIRADS) == answer_key(annotation_answers.empty_answer(), BIRADS)
    False
    """
    if not annotation_answers.is_substantive(answer):
        return None
    phenomena = frozenset(
        (p["category"], frozenset(p["terms"].items()), p["association"] or "")
        for p in answer["phenomena"]
    )
    printed = annotation_answers.format_label(answer["phenomena"], lexicon)
    own_words = "" if answer["label"] == printed else " ".join(answer["label"].lower().split())
    return phenomena, own_words


def unit_states(con: Connection, run: str, order_of_experts: Sequence[str]) -> dict[int, UnitState]:
    """Return the state of every unit of a dissect run with an answer or a decision.

    order_of_experts: the setting of the study. Where experts agree, the words of the first of them
    are printed; then come people before simulated experts, by the date of the first answer.
    """
    tables = _load_tables(con, run, order_of_experts)
    units = {*tables.latest, *tables.decided, *tables.published}
    return {unit: _unit_state(unit, tables) for unit in sorted(units)}


def unit_labels(con: Connection, run: str, order_of_experts: Sequence[str]) -> dict[int, UnitLabel]:
    """Return the labels that count, by unit: the label set "default".

    They are adjudicated, agreed and published labels. While fewer than two experts have finished,
    the provisional labels of one expert count as well (`sole_expert`).
    """
    states = unit_states(con, run, order_of_experts)
    return {u: s.label for u, s in states.items() if s.counts and s.label is not None}


def sole_expert(con: Connection, run: str) -> str | None:
    """Return the expert whose provisional labels count, or None.

    It is the only one who has finished, or the first who began while no expert has. Once two
    have finished their agreement counts, and no single expert's answer.
    """
    versions = annotation_table.load_annotations(con, run, versions=True)
    return _sole_expert(states_of_versions(con, run, versions), first_answers(versions))


def _sole_expert(states: Mapping[str, AnnotatorState], answers: pd.DataFrame) -> str | None:
    finished = [code for code, state in states.items() if state.finished]
    if len(finished) > 1 or not states:
        return None
    if finished:
        return finished[0]
    # The date alone: no setting and no person who joins later may replace the one who began.
    _, code = min(zip(answers["made"], answers["code"]))
    return str(code)


def single_expert_note(con: Connection, run: str, order_of_experts: Sequence[str]) -> str:
    """Return the sentence of a study whose labels come from one expert, else ""."""
    states = unit_states(con, run, order_of_experts).values()
    count = sum(s.counts and s.label is not None and s.label.state == PROVISIONAL for s in states)
    if not count:
        return ""
    return (
        f"Single-expert labels: fewer than two experts have finished, so {count} labels of"
        f" {sole_expert(con, run)} are used without a confirmation by another expert (provisional)."
    )


def states_sentence(states: Iterable[str]) -> str:
    """Return how many labels are in which state, for captions; "" for no label.

    Examples
    --------
    >>> states_sentence(["agreed", "adjudicated", "agreed"])
    'Labels: 2 agreed, 1 adjudicated.'
    >>> states_sentence(["provisional"])
    'Labels: 1 provisional (named by one expert, not confirmed).'
    """
    counts = Counter(states)
    explained = {PROVISIONAL: "provisional (named by one expert, not confirmed)"}
    texts = [f"{counts[s]} {explained.get(s, s)}" for s in LABEL_STATES if counts[s]]
    return f"Labels: {', '.join(texts)}." if texts else ""


def disputed_units(con: Connection, run: str) -> list[int]:
    """Return the units on which experts who have finished differ, without a decision."""
    return [unit for unit, state in unit_states(con, run, ()).items() if state.disputed]


def count_label_states(con: Connection, run: str) -> dict[str, int]:
    """Return the number of labels in each state, whether or not they count.

    Machine names are labels of their own beside those of experts.
    """
    labels = [state.label for state in unit_states(con, run, ()).values()]
    counts = Counter(label.state for label in labels if label is not None)
    names = machine_names.load_machine_names(con, run) or {}
    counts[MACHINE] = sum(name.named for name in names.values())
    return {state: counts[state] for state in LABEL_STATES}


def annotation_counts(con: Connection, run: str, order_of_experts: Sequence[str]) -> dict[str, int]:
    """Return units_selected, units_annotated (selected and labelled) and experts (who answered)."""
    units = set(unit_table.selected_unit_ids(con, run))
    labelled = unit_labels(con, run, order_of_experts)
    return {
        "units_selected": len(units),
        "units_annotated": len(units & set(labelled)),
        "experts": annotation_table.count_annotators(con, run),
    }


def _load_tables(con: Connection, run: str, order_of_experts: Sequence[str]) -> _Tables:
    versions = annotation_table.load_annotations(con, run, versions=True)
    states = states_of_versions(con, run, versions)
    latest = first_answers(latest_versions(versions))
    finished = first_answers(finished_answers(versions, states))
    rank = annotation_table.expert_ranks(con, run, order_of_experts)
    sole = _sole_expert(states, latest)
    # Of a person marked as finished, later answers do not count, also on units without others.
    own = finished if sole is not None and states[sole].finished else latest
    # Made once: pandas needs some ms for the rows of a frame.
    rows = {row.Index: row for row in versions.itertuples()}

    def by_unit(frame: pd.DataFrame) -> dict[int, list[Any]]:
        return _answers_by_unit([rows[index] for index in frame.index], rank)

    return _Tables(
        latest=by_unit(latest),
        finished=by_unit(finished),
        sole=by_unit(own[own["code"] == sole]) if sole is not None else {},
        decided={int(row.unit): row for row in load_decisions(con, run).itertuples()},
        published={int(row.unit): row for row in load_decisions(con, run, True).itertuples()},
        simulated=dict(zip(versions["annotation_id"], versions["simulated"])),
        lexicon=dataset_table.load_lexicon(con),
    )


def _answers_by_unit(rows: Iterable[Any], rank: Mapping[str, int]) -> dict[int, list[Any]]:
    answers: dict[int, list[Any]] = {}
    for row in rows:
        answers.setdefault(int(row.unit), []).append(row)
    return {unit: sorted(own, key=lambda row: rank[row.code]) for unit, own in answers.items()}


def _unit_state(unit: int, tables: _Tables) -> UnitState:
    """Return the state of a unit; the order of the cases is the order of precedence."""
    finished = tables.finished.get(unit, [])
    if unit in tables.decided:
        return _decided_state(tables.decided[unit], ADJUDICATED, tables)
    agreed = (
        len(finished) > 1 and len({answer_key(row.answer, tables.lexicon) for row in finished}) == 1
    )
    # The experts of a publication agreed on its consensus, whose words are the published ones.
    is_published = unit in tables.published
    if agreed and not (is_published and all("origin" in row.answer for row in finished)):
        return UnitState(label=_label_of(finished, AGREED), state=AGREED, counts=True)
    if is_published:
        return _decided_state(tables.published[unit], PUBLISHED, tables)
    disputed = len(finished) > 1 and not agreed
    own = _label_of(tables.sole.get(unit, []), PROVISIONAL)
    if own is not None:
        return UnitState(label=own, state=PROVISIONAL, counts=True)
    named = [r for r in tables.latest.get(unit, []) if annotation_answers.is_substantive(r.answer)]
    label = _label_of(named[:1], PROVISIONAL)
    return UnitState(label=label, state=PROVISIONAL, counts=False, disputed=disputed)


def _label_of(rows: Sequence[Any], state: str) -> UnitLabel | None:
    """Return the label of equal answers, in the words of the first; None if they name nothing."""
    if not rows or not annotation_answers.is_substantive(rows[0].answer):
        return None
    return UnitLabel(
        rows[0].answer["label"],
        tuple(row.annotation_id for row in rows),
        any(bool(row.simulated) for row in rows),
        state,
    )


def _decided_state(row: Any, state: str, tables: _Tables) -> UnitState:
    return UnitState(label=decided_label(row, state, tables.simulated), state=state, counts=True)


def decided_label(row: Any, state: str, simulated: Mapping[str, bool]) -> UnitLabel | None:
    """Return the label of a decision; None where it decides that the unit has none.

    row: of `decision_table.load_decisions`. simulated: by annotation id.
    """
    if not row.label:
        return None
    sources = tuple(row.sources)
    return UnitLabel(row.label, sources, any(bool(simulated.get(s, False)) for s in sources), state)
