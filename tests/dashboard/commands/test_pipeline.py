"""The pipeline on the quick demonstration: numbers recomputed independently, and the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from core import lineage, runs, store
from core.class_labels import MAMMOGRAPHY
from core.interpretation.inference import load_network
from core.pipeline.inputs import open_training_images
from core.store import annotation_table, dataset_table, participant_table, run_table, unit_table
from core.store.reading import protocol_table
from dashboard import cli
from dashboard.commands.study import status_command
from support.paths import ROOT


@dataclass(frozen=True)
class Ended:
    """Exit status and output of a command."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]
Result = Callable[..., Any]


@pytest.fixture
def deepminer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `deepminer` through its entry point in this process."""

    def run(*arguments: str, study: Path | None = None) -> Ended:
        option = ["--study", str(study)] if study else []
        monkeypatch.setattr(sys, "argv", ["deepminer", *arguments, *option])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else int(code is not None), *capsys.readouterr())

    return run


@pytest.fixture
def result(deepminer: Run) -> Result:
    """Return a function that runs a command with --json and returns its result."""

    def run(*arguments: str, study: Path | None = None) -> Any:
        done = deepminer(*arguments, "--json", study=study)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 1
        body = json.loads(lines[0])
        assert body["schema"] == 1 and set(body) == {"schema", "command", "study", "result"}
        return body["result"]

    return run


def latest(study: Path, kind: str) -> str:
    with store.read(study) as con:
        run = run_table.latest_run(con, kind)
    assert run is not None
    return run


def test_status_has_the_published_fields(demonstration: Path, result: Result) -> None:
    status = result("status", str(demonstration))
    assert set(status) == {
        "patients",
        "mammograms",
        "findings",
        "patches",
        "runs",
        "coverage",
        "sufficiency",
        "annotations",
        "labels",
        "reading",
        "truth",
    }
    assert status["patients"] == 80 and status["mammograms"] == 160
    assert set(status["patches"]) == set(status["coverage"]) == set(MAMMOGRAPHY.names)
    # The labels on which both simulated experts agree count; the others wait for a decision.
    assert set(status["labels"]) == {
        "provisional",
        "agreed",
        "adjudicated",
        "published",
        "machine",
    }
    assert status["annotations"]["units_annotated"] == status["labels"]["agreed"] > 0
    assert (
        set(status["annotations"]) == {"units_selected", "units_annotated", "experts"}
        and status["annotations"]["experts"] == 2
    )
    assert (
        set(status["reading"]) == {"cases", "answered", "correct", "p_greater"}
        and None not in status["reading"].values()
    )
    assert {row["kind"] for row in status["runs"]} == {
        "patches",
        "train",
        "evaluate",
        "dissect",
        "coverage",
        "concepts",
        "descriptor_association",
        "explain",
        "ablate",
    }
    assert all(
        set(row) == {"id", "kind", "architecture", "auc"} and None not in row.values()
        for row in status["runs"]
    )
    assert (
        status["reading"]["correct"] <= status["reading"]["answered"] == status["reading"]["cases"]
    )
    auc = next(row["auc"] for row in status["runs"] if row["kind"] == "evaluate")
    assert 0.75 <= auc["malignant"] <= 0.98


def test_status_text_uses_the_class_names_of_the_study(
    own_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status_command(own_study)
    text = capsys.readouterr().out
    assert (
        "patches: normal " in text
        and "run patches-" in text
        and text.count("patch AUC malignant, test, .") == text.count("run evaluate-")
        and "image-level" not in text
    )
    with store.write(own_study) as con:
        con.execute(
            "UPDATE runs SET manifest = json_merge_patch(manifest, '{\"classes\": 2}') WHERE kind ="
            " 'patches'"
        )
        con.execute("UPDATE sources SET image_labels = TRUE")
    status_command(own_study)
    text = capsys.readouterr().out
    assert "patches: other " in text and "normal" not in text and "Labels are image-level" in text


def test_no_patient_is_in_two_splits(demonstration: Path) -> None:
    with store.read(demonstration) as con:
        patches = dataset_table.load_patches(con, run_table.latest_run(con, "patches") or "")
    assert patches.groupby("patient_id")["split"].nunique().max() == 1


def test_auc_equals_that_of_the_stored_predictions(demonstration: Path) -> None:
    run = latest(demonstration, "evaluate")
    with store.read(demonstration) as con:
        frame = unit_table.load_predictions(
            con, run, run_table.latest_run(con, "patches") or "", "test"
        )
        metrics = run_table.load_metrics(con, run, "test")
    for code, name in enumerate(MAMMOGRAPHY.names):
        stored = metrics[
            (metrics["level"] == "patch") & (metrics["class"] == name) & (metrics["name"] == "auc")
        ]["estimate"].iloc[0]
        assert stored == pytest.approx(
            roc_auc_score(frame["label"] == code, frame[f"p_{name}"]), abs=1e-9
        )


def test_influence_is_weight_times_largest_activation(
    demonstration: Path,
) -> None:
    import torch

    dissect = latest(demonstration, "dissect")
    with store.read(demonstration) as con:
        row = run_table.load_run(con, dissect)
        films = dataset_table.load_mammograms(con).set_index("mammogram_id")["file"]
    stored = np.load(runs.run_folder(demonstration, dissect) / "influence.npy")
    network = load_network(demonstration, lineage.ancestor_run(demonstration, dissect, "train"))
    # The network sees the images of new studies without anything outside the breast.
    train = lineage.ancestor_run(demonstration, dissect, "train")
    opened = open_training_images(demonstration, train)
    for i, name in list(enumerate(row["manifest"]["mammograms"]))[:3]:
        with torch.inference_mode():
            maps = network.feature_maps(
                torch.from_numpy(np.array(opened[films[name]]))[None, None]
            )[0]
        slow = [
            [float(maps[u].max() * network.class_weights()[c, u]) for u in range(len(maps))]
            for c in range(3)
        ]
        assert np.allclose(stored[i], slow, atol=1e-4)


def test_coverage_is_the_share_of_slots(demonstration: Path) -> None:
    dissect = latest(demonstration, "dissect")
    with store.read(demonstration) as con:
        influences = unit_table.load_top_influences(con, dissect, 8)
        selected = unit_table.load_selected_units(con, dissect)
        coverage = unit_table.load_coverage(
            con, run_table.latest_run(con, "coverage", dissect) or ""
        )
    for code in range(3):
        slots = influences[influences["class"] == code]["unit"].tolist()
        chosen = set(selected[selected["class"] == code]["unit"])
        stored = coverage[(coverage["class"] == code) & (coverage["name"] == "selected")][
            "estimate"
        ].iloc[0]
        assert stored == pytest.approx(sum(u in chosen for u in slots) / len(slots))


def test_most_selected_units_match_one_concept(demonstration: Path) -> None:
    with store.read(demonstration) as con:
        concepts = unit_table.load_concepts(con, run_table.latest_run(con, "concepts") or "")
        chosen = unit_table.selected_unit_ids(con, latest_dissect(con))
    best = concepts[concepts["unit"].isin(chosen)].sort_values("share").groupby("unit").tail(1)
    assert (best["share"] >= 0.5).sum() >= 8


def latest_dissect(con) -> str:
    return run_table.latest_run(con, "dissect") or ""


def test_simulated_answers_are_marked(demonstration: Path, result: Result) -> None:
    with store.read(demonstration) as con:
        assert annotation_table.load_annotations(con)["simulated"].all()
        participants = participant_table.load_participants(con)
        assert participants[participants["code"].str.startswith("SIM")]["simulated"].all()
        assert {p.protocol: p.simulated for p in protocol_table.list_protocols(con)} == {
            "Open demonstration": False,
            "Simulated demonstration": True,
        }
    assert result("reading", "score", study=demonstration)["paragraph"].startswith(
        "SIMULATED ANSWERS"
    )


def test_repeated_commands_reuse_their_runs(demonstration: Path, result: Result) -> None:
    for command in ("patches", "evaluate", "explain"):
        assert result(command, study=demonstration)["fresh"] is False


def test_opening_the_test_split_is_logged(own_study: Path, result: Result) -> None:
    def openings() -> int:
        with store.read(own_study) as con:
            return len(run_table.load_log(con, "test split opened"))

    before = openings()
    result("evaluate", "--split", "test", study=own_study)
    assert openings() == before + 1


def test_doctor_finds_a_changed_checkpoint(own_study: Path, deepminer: Run) -> None:
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
    ("arguments", "text"),
    [
        (("status", "nowhere"), "not a study folder"),
        (("patches", "--study", "nowhere"), "not a study folder"),
        (("train", "--arch", "resnet1"), "no architecture 'resnet1'"),
        (("train", "--weights", "nothing.pt"), "nothing.pt"),
        (("dissect", "--layer", "conv99"), "no layer 'conv99'"),
        (("explain", "--mammogram", "unknown"), "no mammogram 'unknown'"),
        (("evaluate", "--split", "other"), "choose holdout or test"),
        (("ingest", "phantom", "--shard", "3/2"), "--shard"),
        (("invite", "king"), "not a role"),
        (("reading", "freeze"), "cannot become frozen; only a version that is checked can"),
    ],
)
def test_errors_are_one_message_on_stderr(
    arguments: tuple[str, ...], text: str, demonstration: Path, deepminer: Run
) -> None:
    study = None if "nowhere" in arguments else demonstration
    done = deepminer(*arguments, study=study)
    assert done.returncode == 1
    assert text in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.replace("\r", "\n").splitlines() if text in line]) == 1


def test_process_ends_with_the_status_of_the_error() -> None:
    command = [sys.executable, "-m", "dashboard.cli", "status", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "not a study folder" in done.stderr and len(done.stderr.splitlines()) == 1


def test_wrong_usage_is_exit_two(deepminer: Run) -> None:
    assert deepminer("train", "--epochs", "many").returncode == 2
    assert deepminer("no-such-command").returncode == 2
