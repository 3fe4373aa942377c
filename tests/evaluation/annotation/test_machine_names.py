"""Machine names: planted words, false names by chance, faulty files, and a label set of its own."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core import lineage, runs, store
from core.annotation.embedding_files import read_patch_embeddings, read_word_embeddings
from core.errors import UserError
from core.sessions.annotation_session import AnnotationSession
from core.store import annotation_table, participant_table, run_table, unit_table
from core.store.labels import group_table, label_sets, label_states, machine_names
from core.store.labels.label_states import UnitLabel, UnitState
from dashboard.components.annotation import routes as annotation_routes
from dashboard.server import context
from evaluation.annotation import audit_workflow
from evaluation.annotation.machine_names import (
    agreement_of_pairs,
    machine_agreement,
    name_units,
)
from evaluation.pipeline.machine_names import run_machine_names
from support import synthetic_study
from support.array_patches import no_progress

OTHER_WORDS = ("zebra crossing", "cathedral", "teapot")


def save_words(file: Path, **changes: Any) -> Path:
    arrays = {"word": np.array(["mass", "vessel"]), "embedding": np.eye(2, 4)} | changes
    np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    return file


def save_patches(file: Path, **changes: Any) -> Path:
    arrays = {
        "patches_run": np.array("patches-1"),
        "patch_id": np.arange(3),
        "embedding": np.eye(3, 4),
    } | changes
    np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    return file


def test_planted_words_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 10)
    similarity = rng.normal(0, 0.1, (600, 8))
    top = rng.permutation(600)[: 12 * 24].reshape(12, 24)
    for unit in range(6):
        similarity[top[unit], unit] += 0.4
    words = [f"word {i}" for i in range(8)]
    names = name_units(similarity, patients, top, words)
    assert [name.word for name in names[:6]] == words[:6]
    assert [name.named for name in names] == [True] * 6 + [False] * 6
    # A common word that is near to every patch names nothing.
    similarity[:, 7] += 5
    assert "word 7" not in {name.word for name in name_units(similarity, patients, top, words)[:6]}


def test_patients_that_look_alike_give_no_names_by_chance() -> None:
    named = []
    for seed in range(3):
        rng = np.random.default_rng([seed, 3])
        patients = np.repeat(np.arange(40), 12)
        # All patches of a patient share most of their similarity to every word.
        similarity = rng.normal(0, 1, (40, 5))[patients] + 0.2 * rng.normal(size=(480, 5))
        # The top patches of a unit come from few patients, which have nothing else in common.
        top = np.stack(
            [np.flatnonzero(np.isin(patients, rng.permutation(40)[:2]))[:24] for _ in range(10)]
        )
        named += [name.named for name in name_units(similarity, patients, top, list("abcde"))]
    assert np.mean(named) <= 0.1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"word": np.array(["mass", "vessel", "Mass "])}, "'Mass' is both word 1 and word 3"),
        ({"word": np.array(["mass", " "])}, "word 2 is empty"),
        ({"word": None}, "has no array 'word'"),
        ({"embedding": np.ones((3, 4))}, "a row for each of 2 entries is needed"),
        ({"embedding": np.array([[1.0, np.nan], [1, 1]])}, "of 'mass' is zero or not a number"),
        ({"embedding": np.array([[1.0, 1], [0, 0]])}, "of 'vessel' is zero or not a number"),
        ({"word": np.array(["a", object()], dtype=object)}, "cannot be read as arrays"),
    ],
)
def test_a_faulty_word_list_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    if "word" in changes and changes["word"] is not None and len(changes["word"]) == 3:
        changes = changes | {"embedding": np.eye(3)}
    with pytest.raises(UserError, match=reason):
        read_word_embeddings(save_words(tmp_path / "words.npz", **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"patch_id": np.array([4, 7, 4])}, "patch 4 occurs twice"),
        ({"patch_id": np.array([0.5, 1, 2])}, "whole numbers"),
        ({"embedding": np.zeros((3, 4))}, "of patch 0 is zero"),
        ({"patches_run": None}, "has no array 'patches_run'"),
    ],
)
def test_faulty_patch_embeddings_are_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        read_patch_embeddings(save_patches(tmp_path / "patches.npz", **changes))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "words.npz"
    file.write_text("mass, vessel")
    with pytest.raises(UserError, match="cannot be read as arrays"):
        read_word_embeddings(file)
    with pytest.raises(UserError, match="does not exist"):
        read_patch_embeddings(tmp_path / "absent.npz")


def model_files(study: Path, folder: Path) -> tuple[str, Path, Path]:
    """Write embeddings in which each labelled unit's own activation stands for its label.

    The other words are unrelated to every patch.
    """
    with store.read(study) as con:
        dissect = run_table.latest_run(con, "dissect")
        assert dissect is not None
        labels = label_states.unit_labels(con, dissect, ())
    run = runs.run_folder(study, dissect)
    activations, ids = np.load(run / "activations.npy"), np.load(run / "patch_ids.npy")
    standard = (activations - activations.mean(0)) / (activations.std(0) + 1e-6)
    # One more direction, which no patch has much of, for the unrelated words.
    vectors = np.hstack([standard, np.random.default_rng(0).normal(size=(len(ids), 3))])
    images = save_patches(
        folder / "patches.npz",
        patches_run=np.array(lineage.ancestor_run(study, dissect, "patches")),
        patch_id=ids,
        embedding=vectors,
    )
    width = vectors.shape[1]
    named = [np.eye(width)[unit] for unit in labels]
    others = [np.eye(width)[width - 1 - i] for i in range(3)]
    words = [f"{label.text}, no. {unit}" for unit, label in labels.items()]
    file = save_words(
        folder / "words.npz",
        word=np.array([*words, *OTHER_WORDS]),
        embedding=np.array([*named, *others]),
    )
    return dissect, images, file


def test_machine_names_are_one_more_label_set(own_study: Path, tmp_path: Path) -> None:
    dissect, images, words = model_files(own_study, tmp_path)
    with store.read(own_study) as con:
        before = label_states.unit_states(con, dissect, ())
    with pytest.raises(UserError, match="names no unit"):
        audit_workflow.start_audit(own_study, 2, 1, "T", dissect, "machine")
    step = run_machine_names(own_study, images, words, no_progress, dissect)
    again = run_machine_names(own_study, images, words, no_progress, dissect)
    assert step.created and again.run == step.run and not again.created
    with np.load(images) as patches, np.load(words) as vocabulary:
        numbers = {"words": len(vocabulary["word"]), "patches": len(patches["patch_id"])}
    with store.read(own_study) as con:
        manifest = run_table.load_run(con, step.run)["manifest"]
    assert {name: manifest[name] for name in numbers} == numbers
    assert numbers["words"] < numbers["patches"]
    with store.read(own_study) as con:
        names = machine_names.load_machine_names(con, dissect) or {}
        labels = label_sets.load_label_set(con, dissect, "machine", ())
        # No label that counts changes, and nobody appears as one more expert.
        assert label_states.unit_states(con, dissect, ()) == before
        assert label_states.count_label_states(con, dissect)["machine"] == len(labels)
        assert label_sets.list_label_sets(con, dissect)["machine"] == len(labels)
        selected = unit_table.selected_unit_ids(con, dissect)
    assert set(names) == set(selected) and 0 < len(labels) <= len(selected)
    assert {label.state for label in labels.values()} == {"machine"}
    assert not {label.text for label in labels.values()} & set(OTHER_WORDS)
    assert "nearer to a unit's top patches" in label_sets.set_sentence("machine")
    agreement = machine_agreement(own_study, dissect)
    assert agreement is not None and agreement.simulated
    assert agreement.observed is not None and agreement.observed > 0.6
    assert agreement.sentence().startswith("SIMULATED experts. Machine names and")
    # An audit can judge them like the labels of experts.
    audit = audit_workflow.start_audit(own_study, 2, 1, "T", dissect, "machine")
    assert audit.label_set == "machine" and not audit.simulated
    assert audit_workflow.outdated_labels(own_study, audit.audit) == {}
    with store.read(own_study) as con:
        items = con.execute(
            "SELECT DISTINCT unit FROM audit_items WHERE audit = ?", [audit.audit]
        ).fetchall()
    assert {unit for (unit,) in items} == set(labels)


def test_experts_are_never_sent_machine_names(
    own_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dissect, images, words = model_files(own_study, tmp_path)
    run_machine_names(own_study, images, words, no_progress, dissect)
    monkeypatch.setenv(context.STUDY_VARIABLE, str(own_study))
    session = AnnotationSession("A7", b"key", 2)
    with store.write(own_study) as con:
        participant_table.add_participant(con, "A7", "annotator")
        participant_table.record_consent(con, "A7", "", "yes")
        sent = []
        for slot in session.queue(con).slots[:8]:
            sent.append(annotation_routes._state(con, session, name=session.slot_name(slot)))
            session.save_answer(
                con,
                session.slot_token(slot),
                {"recognisable": "nothing", "phenomena": [], "confidence": None, "words": ""},
                1.0,
            )
        sent.append(annotation_routes._state(con, session))
        names = machine_names.load_machine_names(con, dissect) or {}
    text = json.dumps(sent, default=str)
    assert len(sent) == 9 and not [n.word for n in names.values() if n.word in text]


def test_embeddings_that_do_not_fit_change_nothing(own_study: Path, tmp_path: Path) -> None:
    dissect, images, words = model_files(own_study, tmp_path)
    arrays = dict(np.load(images))
    other = save_patches(tmp_path / "other.npz", **arrays | {"patches_run": "patches-abc"})
    with pytest.raises(UserError, match="holds embeddings of the patches of patches-abc, but"):
        run_machine_names(own_study, other, words, no_progress, dissect)
    with store.read(own_study) as con:
        unit = unit_table.selected_unit_ids(con, dissect)[0]
        first = unit_table.load_tiles(con, dissect, unit, 1)[0].patch_id
    kept = arrays["patch_id"] != first
    part = save_patches(
        tmp_path / "part.npz",
        patches_run=arrays["patches_run"],
        patch_id=arrays["patch_id"][kept],
        embedding=arrays["embedding"][kept],
    )
    with pytest.raises(UserError, match=f"has no embedding of patch {first}, a top patch of"):
        run_machine_names(own_study, part, words, no_progress, dissect)
    narrow = save_words(tmp_path / "narrow.npz")
    with pytest.raises(UserError, match="use one model for both"):
        run_machine_names(own_study, images, narrow, no_progress, dissect)
    with store.read(own_study) as con:
        assert machine_names.load_machine_names(con, dissect) is None
        assert run_table.latest_run(con, "machine_names", dissect) is None
        assert len(annotation_table.load_annotations(con, dissect))
    assert machine_agreement(own_study, dissect) is None


def test_agreement_is_corrected_for_chance() -> None:
    # Both say "mass" in most units, independently: high agreement, no kappa.
    pairs = [("mass", "mass")] * 81 + [("mass", "nothing")] * 9 + [("nothing", "mass")] * 9
    pairs += [("nothing", "nothing")]
    result = agreement_of_pairs(pairs)
    assert result.observed == pytest.approx(0.82) and result.kappa == pytest.approx(0, abs=1e-9)
    assert result.low is not None and result.low < 0 < result.high
    assert "is not estimable: no unit has both" in agreement_of_pairs([]).sentence()


def test_only_labels_that_count_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five units one label does not count, one unit has no name, and one agrees on nothing."""

    def state(text: str, counts: bool = True, simulated: bool = False) -> UnitState:
        label = UnitLabel(text, ("a1",), simulated, "agreed") if text else None
        return UnitState(label=label, state="agreed", counts=counts)

    states = {
        0: state("Mass"),
        1: state("Mass", counts=False, simulated=True),
        2: state("Round calcifications"),
        3: state("Mass"),
        4: state(""),
    }
    names = {
        unit: SimpleNamespace(word=word, named=named)
        for unit, word, named in (
            (0, "mass", True),
            (1, "skin", True),
            (2, "mass", True),
            (4, "mass", False),
        )
    }
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    monkeypatch.setattr(label_states, "unit_states", lambda *_: states)
    monkeypatch.setattr(machine_names, "load_machine_names", lambda *_: names)
    monkeypatch.setattr(group_table, "annotated_groups", lambda *_: range(5))
    result = machine_agreement(study, synthetic_study.DISSECT)
    # Units 0 and 4 agree, on a mass and on nothing; unit 2 does not.
    assert result is not None and result.units == 3 and not result.simulated
    assert result.observed == pytest.approx(2 / 3)
    states[0] = state("Mass", simulated=True)
    marked = machine_agreement(study, synthetic_study.DISSECT)
    assert marked is not None and marked.simulated
    assert marked.sentence().startswith("SIMULATED experts. ")
    monkeypatch.setattr(machine_names, "load_machine_names", lambda *_: None)
    assert machine_agreement(study, synthetic_study.DISSECT) is None
