"""The chain on the quick demonstration: every step's numbers checked by another way, and the
commands as their users type them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from core import runs, store
from core.class_labels import CLASSES
from core.images.working_images import Films
from core.interpretation.inference import load as load_network
from core.store import (
    annotation_table,
    dataset_table,
    participant_table,
    reading_table,
    run_table,
    unit_table,
)
from dashboard.commands.study import status
from evaluation.queries import class_names
from support.paths import ROOT


def deepminer(*arguments: str, study: Path | None = None) -> subprocess.CompletedProcess[str]:
    place = ["--study", str(study)] if study else []
    return subprocess.run(
        [sys.executable, "-m", "dashboard.cli", *arguments, *place],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def result(*arguments: str, study: Path | None = None) -> dict:
    done = deepminer(*arguments, "--json", study=study)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    body = json.loads(lines[0])
    assert body["schema"] == 1 and set(body) == {"schema", "command", "study", "result"}
    return body["result"]


def latest(study: Path, kind: str) -> str:
    with store.read(study) as con:
        found = run_table.latest(con, kind)
    assert found is not None
    return found


def test_status_holds_what_outside_scripts_rely_on_and_nothing_null(demonstration: Path) -> None:
    found = result("status", str(demonstration))
    assert set(found) == {
        "patients",
        "mammograms",
        "findings",
        "patches",
        "runs",
        "coverage",
        "annotations",
        "reading",
    }
    assert found["patients"] == 80 and found["mammograms"] == 160
    assert set(found["patches"]) == set(found["coverage"]) == set(CLASSES)
    assert (
        set(found["annotations"]) == {"units_selected", "units_annotated", "experts"}
        and found["annotations"]["experts"] == 2
    )
    assert (
        set(found["reading"]) == {"cases", "answered", "correct", "p_greater"}
        and None not in found["reading"].values()
    )
    assert {row["kind"] for row in found["runs"]} == {
        "patches",
        "train",
        "evaluate",
        "dissect",
        "coverage",
        "concepts",
        "meaning",
        "explain",
        "ablate",
    }
    assert all(
        set(row) == {"id", "kind", "architecture", "auc"} and None not in row.values()
        for row in found["runs"]
    )
    assert found["reading"]["correct"] <= found["reading"]["answered"] == found["reading"]["cases"]
    auc = next(row["auc"] for row in found["runs"] if row["kind"] == "evaluate")
    assert 0.75 <= auc["malignant"] <= 0.98


def test_status_in_the_terminal_uses_the_classes_the_study_has(
    own_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status(own_study)
    said = capsys.readouterr().out
    assert (
        "patches: normal " in said
        and "run patches-" in said
        and "patch AUC malignant, test, ." in said
        and "image-level" not in said
    )
    with store.write(own_study) as con:
        con.execute(
            "UPDATE runs SET manifest = json_merge_patch(manifest, '{\"classes\": 2}') WHERE kind ="
            " 'patches'"
        )
        con.execute("UPDATE sources SET image_labels = TRUE")
    class_names._classes.cache_clear()
    status(own_study)
    said = capsys.readouterr().out
    assert "patches: other " in said and "normal" not in said and "Labels are image-level" in said


def test_no_patient_is_in_two_splits(demonstration: Path) -> None:
    with store.read(demonstration) as con:
        patches = dataset_table.patches(con, run_table.latest(con, "patches") or "")
    assert patches.groupby("patient_id")["split"].nunique().max() == 1


def test_the_stored_auc_is_the_one_of_the_stored_predictions(demonstration: Path) -> None:
    run = latest(demonstration, "evaluate")
    with store.read(demonstration) as con:
        frame = unit_table.predictions(con, run, run_table.latest(con, "patches") or "", "test")
        metrics = run_table.metrics(con, run, "test")
    for code, name in enumerate(CLASSES):
        stored = metrics[
            (metrics["level"] == "patch") & (metrics["class"] == name) & (metrics["name"] == "auc")
        ]["estimate"].iloc[0]
        assert stored == pytest.approx(
            roc_auc_score(frame["label"] == code, frame[f"p_{name}"]), abs=1e-9
        )


def test_influence_is_weight_times_the_largest_activation_on_the_whole_film(
    demonstration: Path,
) -> None:
    import torch

    dissect = latest(demonstration, "dissect")
    with store.read(demonstration) as con:
        row = run_table.get(con, dissect)
        films = dataset_table.mammograms(con).set_index("mammogram_id")["file"]
    stored = np.load(runs.folder(demonstration, dissect) / "influence.npy")
    network = load_network(demonstration, next(p for p in row["parents"] if p.startswith("train-")))
    opened = Films(demonstration)
    for i, name in list(enumerate(row["manifest"]["mammograms"]))[:3]:
        with torch.inference_mode():
            maps = network.maps(torch.from_numpy(np.array(opened[films[name]]))[None, None])[0]
        slow = [
            [float(maps[u].max() * network.class_weights()[c, u]) for u in range(len(maps))]
            for c in range(3)
        ]
        assert np.allclose(stored[i], slow, atol=1e-4)


def test_coverage_is_the_share_of_slots_counted_by_hand(demonstration: Path) -> None:
    dissect = latest(demonstration, "dissect")
    with store.read(demonstration) as con:
        influences = unit_table.top_influences(con, dissect, 8)
        selected = unit_table.selected(con, dissect)
        coverage = unit_table.coverage(con, run_table.latest(con, "coverage", dissect) or "")
    for code in range(3):
        slots = influences[influences["class"] == code]["unit"].tolist()
        chosen = set(selected[selected["class"] == code]["unit"])
        stored = coverage[(coverage["class"] == code) & (coverage["name"] == "selected")][
            "estimate"
        ].iloc[0]
        assert stored == pytest.approx(sum(u in chosen for u in slots) / len(slots))


def test_most_selected_units_answer_clearly_to_one_concept(demonstration: Path) -> None:
    with store.read(demonstration) as con:
        concepts = unit_table.concepts(con, run_table.latest(con, "concepts") or "")
        chosen = annotation_table.selected_units(con, latest_dissect(con))
    best = concepts[concepts["unit"].isin(chosen)].sort_values("share").groupby("unit").tail(1)
    assert (best["share"] >= 0.5).sum() >= 8


def latest_dissect(con) -> str:
    return run_table.latest(con, "dissect") or ""


def test_simulated_answers_carry_that_word(demonstration: Path) -> None:
    with store.read(demonstration) as con:
        assert annotation_table.answers(con)["simulated"].all()
        found = participant_table.people(con)
        assert found[found["code"].str.startswith("SIM")]["simulated"].all()
        assert {p.protocol: p.simulated for p in reading_table.protocols(con)} == {
            "Open demonstration": False,
            "Simulated demonstration": True,
        }
    assert result("reading", "score", study=demonstration)["paragraph"].startswith(
        "SIMULATED ANSWERS"
    )


def test_the_same_commands_again_answer_from_what_is_there(demonstration: Path) -> None:
    for command in ("patches", "evaluate", "explain"):
        assert result(command, study=demonstration)["fresh"] is False


def test_opening_the_test_split_is_logged(own_study: Path) -> None:
    def openings() -> int:
        with store.read(own_study) as con:
            return len(run_table.events(con, "test split opened"))

    before = openings()
    result("evaluate", "--split", "test", study=own_study)
    assert openings() == before + 1


def test_doctor_finds_a_changed_checkpoint_and_a_lost_film(own_study: Path) -> None:
    assert deepminer("doctor", study=own_study).returncode == 0
    checkpoint = own_study / "runs" / latest(own_study, "train") / "last.pt"
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    done = deepminer("doctor", study=own_study)
    assert done.returncode == 1 and "checkpoints" in done.stderr
    done = deepminer("dissect", "--layer", "features.0", study=own_study)
    assert (
        done.returncode == 1
        and "is not the checkpoint" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "nowhere"), "not a study folder"),
        (("patches", "--study", "nowhere"), "not a study folder"),
        (("train", "--arch", "resnet1"), "no architecture 'resnet1'"),
        (("train", "--weights", "nothing.pt"), "nothing.pt"),
        (("dissect", "--layer", "conv99"), "no layer 'conv99'"),
        (("explain", "--mammogram", "nobody"), "no mammogram 'nobody'"),
        (("evaluate", "--split", "other"), "choose holdout or test"),
        (("ingest", "phantom", "--shard", "3/2"), "--shard"),
        (("invite", "king"), "not a role"),
        (("reading", "freeze"), "only"),
    ],
)
def test_a_mistake_is_one_sentence_on_stderr(
    arguments: tuple[str, ...], words: str, demonstration: Path
) -> None:
    study = None if "nowhere" in arguments else demonstration
    done = deepminer(*arguments, study=study)
    if arguments == ("reading", "freeze"):
        words = "is unblinded"
    assert done.returncode == 1
    assert words in done.stderr and "Traceback" not in done.stderr
    assert (
        len([line for line in done.stderr.replace("\r", "\n").splitlines() if words in line]) == 1
    )


def test_wrong_usage_is_exit_two() -> None:
    assert deepminer("train", "--epochs", "many").returncode == 2
    assert deepminer("no-such-command").returncode == 2
