"""Categories of labels in free text: proposed, confirmed, undone, and never overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from core import store
from core.annotation import category_confirmation, label_exchange
from core.annotation.unit_categories import (
    _categories_of,
    free_texts,
    unit_categories,
    with_confirmed_categories,
)
from core.errors import UserError
from core.lexicon.birads_categories import BIRADS
from core.lexicon.category_words import propose_categories
from core.store import annotation_table
from core.store.labels import category_table, decision_table, label_sets, label_states
from evaluation.annotation import category_agreement
from support import synthetic_study
from support.paths import REFERENCE
from support.requirements import needs_publication

RUN = synthetic_study.DISSECT
CATEGORY_NAMES = [category.name for category in BIRADS.categories]
PUBLISHED = REFERENCE / "unit_labels" / "cleaned.json"
RAW = {
    "expert_1": {"unit_0001": "Calcification, Mass", "unit_0002": "Calcified vessels"},
    "expert_2": {"unit_0001": "Masses with spiculations", "unit_0002": "blurred"},
}
CONSENSUS = {"unit_0001": "Calcification, Mass", "unit_0003": "Normal Breast Tissue"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Masses with calcifications", ("mass", "calcification")),
        ("Macrocalification - not generally a sign of cancer", ("calcification",)),
        ("Calcified vessels", ("calcification",)),
        ("Blood vessels", ("other",)),
        ("Microcalcifications, dense tissue", ("calcification", "composition")),
        ("Edge of breast or with the chest wall", ("other",)),
        ("Focal asymmetry with architectural distortion", ("asymmetry", "distortion")),
        ("Edge of a mass without any calcifications", ("mass",)),
        ("no masses", ()),
        ("massive", ()),
        ("", ()),
    ],
)
def test_proposals(text: str, names: tuple[str, ...]) -> None:
    assert propose_categories(text, BIRADS) == names


@needs_publication
def test_every_published_label_has_a_proposal() -> None:
    texts = json.loads(PUBLISHED.read_text())
    assert len(texts) == 46 and all(propose_categories(text, BIRADS) for text in texts.values())


@pytest.fixture
def labelled(study: Path, tmp_path: Path) -> Path:
    for name, content in (("raw.json", RAW), ("consensus.json", CONSENSUS)):
        (tmp_path / name).write_text(json.dumps(content))
    raw = label_exchange.import_labels(study, tmp_path / "raw.json", "team")
    assert raw.proposed == 3
    label_exchange.import_labels(study, tmp_path / "consensus.json", "team")
    return study


def states(study: Path) -> dict[int, tuple[tuple[str, ...], str]]:
    with store.read(study) as con:
        labels = label_states.unit_labels(con, RUN, [])
        # One expert's own labels as well: alone they do not count beside another expert's.
        if "expert_1" in label_sets.list_label_sets(con, RUN):
            labels = label_sets.load_label_set(con, RUN, "expert_1", []) | labels
        found = unit_categories(con, RUN, labels)
    return {unit: (one.names, one.state) for unit, one in found.items()}


def test_confirm_correct_and_undo(labelled: Path, tmp_path: Path) -> None:
    assert states(labelled) == {
        0: (("calcification", "mass"), "proposed"),
        1: (("calcification",), "proposed"),
        2: (("normal",), "proposed"),
    }
    category_confirmation.confirm_text(labelled, "unit_0001", None, "consensus", "team")
    category_confirmation.confirm_text(labelled, "unit_0002", ["other"], "expert_1", "team")
    expected = {
        0: (("calcification", "mass"), "confirmed"),
        1: (("other",), "confirmed"),
        2: (("normal",), "proposed"),
    }
    assert states(labelled) == expected
    # The same words of an expert and of the consensus are one text.
    with store.read(labelled) as con:
        assert free_texts(con, RUN)[0].sets == ("expert_1", "consensus")
    # A later import, of another expert's labels for the same units, changes nothing confirmed.
    later = {"expert_3": {"unit_0001": "calcification,  mass", "unit_0002": "Calcified vessels"}}
    (tmp_path / "later.json").write_text(json.dumps(later))
    label_exchange.import_labels(labelled, tmp_path / "later.json", "team")
    assert states(labelled) == expected
    undone = category_confirmation.undo_text(labelled, "unit_0002", "expert_1", "team")
    assert undone["state"] == "proposed" and undone["categories"] == ["calcification"]
    assert states(labelled)[1] == (("calcification",), "proposed")
    with pytest.raises(UserError, match="nothing to undo"):
        category_confirmation.undo_text(labelled, "unit_0002", "expert_1", "team")
    # Other words need another confirmation.
    with store.write(labelled) as con:
        decision_table.record_decision(con, RUN, 0, "Mass", [], "looked again", "team")
    assert states(labelled)[0] == (("mass",), "proposed")


def test_faults(labelled: Path) -> None:
    confirm = category_confirmation.confirm_text
    with pytest.raises(UserError, match=r"2 different texts \(expert_1, consensus, expert_2\)"):
        confirm(labelled, "unit_0001", None, None, "team")
    with pytest.raises(UserError, match="No category is proposed for unit_0002"):
        confirm(labelled, "unit_0002", None, "expert_2", "team")
    with pytest.raises(UserError, match="no label in free text"):
        confirm(labelled, "unit_0005", None, None, "team")
    for names, message in (
        (["tumour"], "not a category"),
        (["mass", "mass"], "different categories"),
        ([], "No category is proposed"),
    ):
        with pytest.raises(UserError, match=message):
            confirm(labelled, "unit_0003", names, None, "team")
    with store.read(labelled) as con:
        assert category_table.confirmed_categories(con, RUN) == {}


def test_agreement_counts_confirmed_categories_only(labelled: Path) -> None:
    def estimates() -> list[category_agreement.AgreementEstimate]:
        with store.read(labelled) as con:
            frame = with_confirmed_categories(
                annotation_table.load_annotations(con, RUN),
                category_table.confirmed_categories(con, RUN),
            )
        return [
            category_agreement.category_overlap(frame),
            *category_agreement.agreement_by_category(frame, CATEGORY_NAMES),
        ]

    assert [estimate.n for estimate in estimates()] == [0]
    for unit, code, names in (
        ("unit_0001", "expert_1", None),
        ("unit_0001", "expert_2", None),
        ("unit_0002", "expert_1", None),
        ("unit_0002", "expert_2", ["calcification", "other"]),
    ):
        category_confirmation.confirm_text(labelled, unit, names, code, "team")
    overlap, *by_category = estimates()
    # Each of several phenomena counts: {calcification, mass} and {mass}; {calcification} and
    # {calcification, other}.
    assert overlap.n == 2 and overlap.estimate == 0.5
    assert {e.name for e in by_category} == {"mass", "calcification", "other"}


def test_structured_answers_need_no_confirmation(study: Path) -> None:
    answer = synthetic_study.mass_answer()
    lymph_node = {"category": "other", "terms": {"structure": "lymph node"}, "association": None}
    with store.write(study) as con:
        synthetic_study.annotate(
            con, "A1", 4, {**answer, "phenomena": [*answer["phenomena"], lymph_node]}
        )
        assert free_texts(con, RUN) == []
    assert states(study) == {4: (("mass", "other"), "answered")}


def test_label_sets(labelled: Path) -> None:
    with store.write(labelled) as con:
        decision_table.record_decision(con, RUN, 2, "Pectoral muscle", [], "seen", "team")
        assert label_sets.list_label_sets(con, RUN) == {
            "default": 2,
            "consensus": 2,
            "published": 2,
            "expert_1": 2,
            "expert_2": 2,
        }

        def texts(name: str) -> dict[int, str]:
            labels = label_sets.load_label_set(con, RUN, name, [])
            return {unit: label.text for unit, label in labels.items()}

        assert texts("consensus") == {0: "Calcification, Mass", 2: "Pectoral muscle"}
        assert texts("published") == {0: "Calcification, Mass", 2: "Normal Breast Tissue"}
        assert texts("expert_2") == {0: "Masses with spiculations", 1: "blurred"}
        # Unit 1 was named in different words by two experts who have finished.
        assert texts("default") == {0: "Calcification, Mass", 2: "Pectoral muscle"}
        with pytest.raises(UserError, match=r"'nobody' names no unit .* default, consensus"):
            texts("nobody")


def test_confirmed_categories_become_phenomena() -> None:
    """Of free text that names something, and only under its own unit and words."""
    free = {"recognisable": "yes", "phenomena": [], "label": "Halo", "words": "said"}
    mass = {"category": "mass", "terms": {"margin": "obscured"}, "association": "benign"}
    answers = [
        free,
        free | {"label": "Ring"},
        free | {"phenomena": [mass]},
        free | {"recognisable": "unsure"},
    ]
    frame = pd.DataFrame({"unit": [3, 3, 3, 3], "answer": answers}, index=[9, 8, 7, 6])
    confirmed = {
        (3, category_table.label_key("halo")): ("mass", "normal"),
        (4, category_table.label_key("ring")): ("other",),
    }
    stored = [{"category": name, "terms": {}, "association": None} for name in ("mass", "normal")]
    found = with_confirmed_categories(frame, confirmed)
    assert found["answer"].tolist() == [free | {"phenomena": stored}, *answers[1:]]
    assert found.index.tolist() == [9, 8, 7, 6] and found["unit"].tolist() == [3] * 4
    assert with_confirmed_categories(frame, {}) is frame
    empty = frame[:0]
    assert with_confirmed_categories(empty, confirmed) is empty


def test_categories_of_one_text() -> None:
    def found(text: str, *sources: dict, unit: int = 3) -> tuple[tuple[str, ...], str]:
        confirmed = {(3, category_table.label_key("Halo of a mass")): ("normal",)}
        categories = _categories_of(unit, text, sources, confirmed, BIRADS)
        return categories.names, categories.state

    mass = {"category": "mass", "terms": {}, "association": "benign"}
    answer = {"phenomena": [mass, mass | {"association": "suspicious"}], "label": "Mass, benign"}
    assert found("Halo of a mass", answer) == (("mass",), "answered")
    assert found("halo of  a MASS") == (("normal",), "confirmed")
    assert found("Halo of a mass", unit=4) == (("mass",), "proposed")
    assert found("Halo") == ((), "unknown") and found("") == ((), "unknown")
    assert found("Halo", answer) == ((), "unknown")
