"""The categories of unit labels: answered, confirmed, proposed from the words, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.lexicon.annotation_answers import phenomena_in_label
from core.lexicon.category_words import propose_categories
from core.lexicon.lexicon import Lexicon
from core.store import annotation_table, dataset_table
from core.store.connection import Connection
from core.store.labels import category_table, decision_table
from core.store.labels.category_table import label_key
from core.store.labels.finished_annotators import first_answers
from core.store.labels.label_states import UnitLabel

ANSWERED, CONFIRMED, PROPOSED, UNKNOWN = "answered", "confirmed", "proposed", "unknown"


@dataclass(frozen=True)
class LabelCategories:
    """The categories of a label, by name, and where they come from.

    state: "answered" (chosen by the annotators), "confirmed" (free text, confirmed by a person),
    "proposed" (free text, proposed from its words), "unknown" (no category; names is empty).
    """

    names: tuple[str, ...]
    state: str


@dataclass(frozen=True)
class CategorizedText:
    """A text in free words that a person has to confirm or has confirmed.

    sets: codes of the experts who wrote it; "consensus" for a decision.
    """

    unit: int
    text: str
    sets: tuple[str, ...]
    categories: LabelCategories


def unit_categories(
    con: Connection, run: str, labels: Mapping[int, UnitLabel]
) -> dict[int, LabelCategories]:
    """Return the categories of each labelled unit of a dissect run.

    Parameters
    ----------
    con : Connection
        A connection to the study.
    run : str
        Id of the dissect run.
    labels : mapping of int to UnitLabel
        Labels by 0-based unit, of any label set.
    """
    texts = [(unit, label.text, label.annotation_ids) for unit, label in labels.items()]
    return dict(zip(labels, text_categories(con, run, texts)))


def text_categories(
    con: Connection, run: str, texts: Iterable[tuple[int, str, Sequence[str]]]
) -> list[LabelCategories]:
    """Return the categories of texts in their order.

    Parameters
    ----------
    con, run
        See `unit_categories`.
    texts : iterable of (int, str, sequence of str)
        0-based unit, text, and ids of the annotations that it rests on.
    """
    answers = _answers_by_id(con, run)
    confirmed = category_table.confirmed_categories(con, run)
    lexicon = dataset_table.load_lexicon(con)
    return [
        _categories_of(unit, text, [answers[i] for i in ids if i in answers], confirmed, lexicon)
        for unit, text, ids in texts
    ]


def _answers_by_id(con: Connection, run: str) -> dict[str, Mapping[str, Any]]:
    """Return every version of every answer: of a person who left, an earlier one may count."""
    frame = annotation_table.load_annotations(con, run, versions=True)
    return dict(zip(frame["annotation_id"], frame["answer"]))


def _categories_of(
    unit: int,
    text: str,
    sources: Iterable[Mapping[str, Any]],
    confirmed: Mapping[tuple[int, str], tuple[str, ...]],
    lexicon: Lexicon,
) -> LabelCategories:
    """Return the categories of one text and the answers that it rests on.

    Categories of an answer count where the text states them: a person who decides may write other
    words than the answers that were compared.
    """
    chosen = [p["category"] for p in phenomena_in_label(text, sources, lexicon)]
    if chosen:
        return LabelCategories(tuple(dict.fromkeys(chosen)), ANSWERED)
    key = (unit, label_key(text))
    if key in confirmed:
        return LabelCategories(confirmed[key], CONFIRMED)
    proposed = propose_categories(text, lexicon)
    return LabelCategories(proposed, PROPOSED if proposed else UNKNOWN)


def free_texts(con: Connection, run: str) -> list[CategorizedText]:
    """Return the labels in free text of a dissect run, by unit: experts' answers and decisions.

    Equal words of one unit are listed once.
    """
    confirmed = category_table.confirmed_categories(con, run)
    annotations = first_answers(annotation_table.load_annotations(con, run))
    answers = _answers_by_id(con, run)
    lexicon = dataset_table.load_lexicon(con)
    texts: dict[tuple[int, str], tuple[str, list[str], LabelCategories]] = {}

    def add(unit: int, text: str, name: str, sources: list[Mapping[str, Any]]) -> None:
        """Add a text of a set, unless its annotators chose categories."""
        categories = _categories_of(unit, text, sources, confirmed, lexicon)
        if text and categories.state != ANSWERED:
            texts.setdefault((unit, label_key(text)), (text, [], categories))[1].append(name)

    for row in annotations.itertuples():
        if row.answer["recognisable"] == "yes":
            add(int(row.unit), row.answer["label"], row.code, [row.answer])
    for row in decision_table.load_consensus(con, run).itertuples():
        sources = [answers[i] for i in row.sources if i in answers]
        add(int(row.unit), row.label, "consensus", sources)
    return [
        CategorizedText(unit, text, tuple(dict.fromkeys(names)), categories)
        for (unit, _), (text, names, categories) in sorted(
            texts.items(), key=lambda item: (item[0][0], item[1][0])
        )
    ]


def with_confirmed_categories(
    annotations: pd.DataFrame, confirmed: Mapping[tuple[int, str], tuple[str, ...]]
) -> pd.DataFrame:
    """Return annotations in which confirmed free text has categories, without descriptors.

    annotations: of one dissect run. Proposals are left out: agreement counts the answers of people.
    """
    if not len(annotations) or not confirmed:
        return annotations

    def categorized(unit: int, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with its confirmed categories as phenomena."""
        names = confirmed.get((unit, label_key(answer["label"])), ())
        if answer["phenomena"] or answer["recognisable"] != "yes" or not names:
            return answer
        phenomena: list[dict[str, Any]] = [
            {"category": name, "terms": {}, "association": None} for name in names
        ]
        return {**answer, "phenomena": phenomena}

    answers = [
        categorized(int(unit), answer)
        for unit, answer in zip(annotations["unit"], annotations["answer"])
    ]
    return annotations.assign(answer=pd.Series(answers, dtype=object, index=annotations.index))
