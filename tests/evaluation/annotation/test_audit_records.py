"""What an audit of labels draws, stores and logs, on a small study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core import store
from core.errors import UserError
from core.store import audit_table, participant_table, run_table
from evaluation.annotation import audit_workflow
from evaluation.annotation.label_audit import sample_patch_ranks
from support import explained_study, synthetic_study
from support.synthetic_study import DISSECT

PATCHES = 320


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled units; the activations of a unit are a permutation with ties."""
    study = explained_study.create_study(tmp_path_factory.mktemp("audit") / "study")
    rng = np.random.default_rng(2)
    folder = study / "runs" / DISSECT
    (folder / "manifest.json").write_text("{}")
    np.save(folder / "activations.npy", (rng.permutation(PATCHES * 40) // 80).reshape(PATCHES, 40))
    np.save(folder / "patch_ids.npy", rng.permutation(PATCHES))
    with store.write(study) as con:
        con.execute(
            "UPDATE annotations SET answer = json_merge_patch(answer, ?) WHERE unit = 5",
            ['{"label": "Skin, suspicious"}'],
        )
    return study


def test_audits_from_start_to_end(study: Path) -> None:
    folder = study / "runs" / DISSECT
    activations = np.load(folder / "activations.npy").astype(np.float32)
    ids = np.load(folder / "patch_ids.npy")
    with pytest.raises(UserError, match="There is no label audit 'audit-1'; there are none"):
        audit_workflow.load_audit_result(study, "audit-1")
    for number in (0, 33):
        with pytest.raises(
            UserError, match=f"An audit has 1 to 32 patches of each kind, not {number}"
        ):
            audit_workflow.start_audit(study, number, 1, "T1")
    with pytest.raises(UserError, match="names no unit of"):
        audit_workflow.start_audit(study, 2, 1, "T1", label_set="consensus")
    audit = audit_workflow.start_audit(study, 2, 7, "T1")
    assert (audit.audit, audit.run, audit.seed, audit.patches) == ("audit-1", DISSECT, 7, 2)
    assert (audit.label_set, audit.simulated, audit.ended) == ("default", False, None)
    with store.read(study) as con:
        items = audit_table.load_audit_items(con, "audit-1")
    assert [item.item for item in items] == list(range(1, 8 * 6 + 1))
    for unit in range(8):
        drawn = [item for item in items if item.unit == unit]
        order = np.argsort(-activations[:, unit], kind="stable")
        ranks = sample_patch_ranks(activations[:, unit], 2, 7, unit)
        expected = [(kind, int(rank)) for kind, part in ranks.items() for rank in part]
        assert [(item.kind, item.rank) for item in drawn] == expected
        for item in drawn:
            row = order[item.rank]
            assert item.patch_id == ids[row] and item.activation == activations[row, unit]
        assert {item.label for item in drawn} == {"Skin" if unit == 5 else f"Label {unit}"}
    assert audit_workflow.latest_audit(study) == audit
    with pytest.raises(UserError, match="audit-1 has no answers yet"):
        audit_workflow.load_audit_result(study)
    with store.write(study) as con:
        participant_table.add_participant(con, "A5", "annotator")
        for item in items[:9]:
            answer = "yes" if item.kind == "top" else "no"
            audit_table.append_audit_answer(con, "audit-1", "A5", item.item, 1, answer, 1.0)
        audit_table.append_audit_answer(con, "audit-1", "A5", 1, 2, "unsure", 1.0)
    found, result = audit_workflow.load_audit_result(study, "audit-1")
    assert found == audit and len(result.units) == 2 * 3
    assert [(p.yes, p.no, p.unsure) for p in result.pooled] == [(3, 0, 1), (0, 3, 0), (0, 2, 0)]
    of_unit = audit_workflow.load_unit_audit(study, DISSECT, 1)
    assert of_unit is not None and of_unit[0] == audit
    assert [(p.unit, p.yes, p.no) for p in of_unit[1].units] == [(1, 2, 0), (1, 0, 1), (1, 0, 0)]
    assert audit_workflow.load_unit_audit(study, DISSECT, 4) is None
    assert audit_workflow.load_unit_audit(study, "other", 1) is None
    versions = audit_workflow.load_judgement_versions(study, audit)
    assert len(versions) == 10 and set(versions["audit"]) == {"audit-1"}
    assert set(versions["unit"]) == {"unit_0001", "unit_0002"}
    assert not versions["simulated_labels"].any()
    ended = audit_workflow.end_audit(study, "T2")
    assert ended.ended is not None and audit_workflow.latest_audit(study) == ended
    second = audit_workflow.start_audit(study, 1, 3, "T3", DISSECT, "A1")
    assert second.label_set == "A1"
    third_ended = audit_workflow.end_audit(study, "T3")
    assert audit_workflow.latest_audit(study) == third_ended
    assert [one.audit for one in audit_workflow.load_audits(study)] == ["audit-1", "audit-2"]
    # The newest audit in which a unit was judged.
    again = audit_workflow.load_unit_audit(study, DISSECT, 0)
    assert again is not None and again[0].audit == "audit-1"
    with pytest.raises(UserError, match="no label audit 'x'; there are audit-1, audit-2"):
        audit_workflow.outdated_labels(study, "x")
    with store.read(study) as con:
        log = run_table.load_log(con).iloc[::-1]
    rows = [tuple(row) for row in log[["who", "event", "detail"]].itertuples(index=False)]
    assert rows == [
        ("T1", "label audit started", "audit-1: 8 units, 2 patches of each kind"),
        ("T2", "label audit ended", "audit-1"),
        ("T3", "label audit started", "audit-2: 8 units, 1 patches of each kind"),
        ("T3", "label audit ended", "audit-2"),
    ]


def test_units_without_labels_cannot_be_audited(tmp_path: Path) -> None:
    bare = synthetic_study.create_study(tmp_path / "study", protocol=False)
    with pytest.raises(UserError, match="No unit is labelled yet, so there are no labels to audit"):
        audit_workflow.start_audit(bare, 32, 1, "T1")
    assert audit_workflow.load_audits(bare) == []
