"""Commands with weight files, other architectures and own modules, to the explanation."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import lineage, networks, runs, settings, store
from core.errors import UserError
from core.interpretation import inference
from core.networks import own_modules
from core.pipeline.dissect import run_dissection
from core.pipeline.explain import run_explanation
from core.pipeline.inputs import load_mammogram_table, open_training_images
from core.pipeline.patches import run_patch_extraction
from core.pipeline.train import run_training
from core.store import run_table, unit_table
from dashboard import cli
from evaluation.pipeline.evaluate import run_evaluation
from evaluation.queries.architectures import load_architectures
from evaluation.reporting.methods_text import training_sentences, unit_sentences
from support.array_patches import no_progress
from support.published_networks import cheap_initial_weights
from support.strip_study import create_strip_study

Command = Callable[..., Any]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    chosen = create_strip_study(tmp_path / "study")
    run_patch_extraction(tmp_path / "study", chosen, no_progress)
    return tmp_path / "study"


@pytest.fixture
def deepminer(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Return a function that runs a command in this process: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deepminer", *arguments, "--study", str(study)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def set_training(study: Path, *lines: str) -> None:
    """Replace the section [training] of study.toml."""
    text = (study / "study.toml").read_text()
    before, _, rest = text.partition("[training]")
    after = rest[rest.index("\n[") :]
    (study / "study.toml").write_text(before + "\n".join(["[training]", *lines]) + after)


def explain(study: Path, train: str) -> tuple[str, str]:
    """Evaluate, dissect and explain a train run; return the dissect and the explain run."""
    chosen = settings.load_settings(study)
    run_evaluation(study, no_progress, train=train)
    dissect = run_dissection(study, chosen, no_progress, train).run
    return dissect, run_explanation(study, chosen, no_progress, dissect).run


def test_study_file_precedes_the_recipe_of_the_option(
    study: Path, deepminer: Command, tmp_path: Path
) -> None:
    with cheap_initial_weights():
        donor = networks.build("squeezenet1_1", 1000).net.state_dict()
    torch.save({f"module.{k}": v for k, v in donor.items()}, tmp_path / "imagenet.pth")
    set_training(study, 'architecture = "vgg16"', "learning_rate = 1e-30", "batch = 2")
    arguments = ["train", "--arch", "squeezenet1_1", "--epochs", "1"]
    code, out, error = deepminer(*arguments, "--weights", str(tmp_path / "imagenet.pth"))
    assert code == 0, error
    assert (
        "study.toml sets, before the recipe of squeezenet1_1: batch 2 (recipe: 32),"
        " learning_rate 1e-30 (recipe: 0.0001)" in " ".join(out.split())
    )
    assert (
        "Left out of the weights file: classifier.1.bias (1000,), classifier.1.weight"
        " (1000, 512, 1, 1)" in " ".join(out.split())
    )
    run = lineage.resolve_run(study, "train")
    with store.read(study) as con:
        row = run_table.load_run(con, run)
        history = run_table.load_training_history(con, run)
    origins = row["manifest"]["settings_from"]
    assert [origins[name] for name in ("architecture", "epochs", "learning_rate", "momentum")] == [
        "command",
        "command",
        "study.toml",
        "recipe",
    ]
    assert row["settings"]["training"]["learning_rate"] == 1e-30
    assert history["learning_rate"].dropna().tolist() == [1e-30]
    # Steps of 1e-30: the file's body is still there.
    trained = inference.load_network(study, run).net.state_dict()
    assert all(
        torch.allclose(trained[k], v, rtol=0, atol=1e-20)
        for k, v in donor.items()
        if not k.startswith("classifier")
    )


def test_imported_checkpoint_is_explained(study: Path, deepminer: Command, tmp_path: Path) -> None:
    with cheap_initial_weights():
        donor = networks.build("mobilenet_v3_small", 3).net.state_dict()
    torch.save(donor, tmp_path / "own.pt")
    code, out, error = deepminer(
        "import-checkpoint", str(tmp_path / "own.pt"), "--arch", "mobilenet_v3_small", "--json"
    )
    assert code == 0, error
    body = json.loads(out)
    assert body["command"] == "import-checkpoint"
    run, imported = body["result"]["run"], body["result"]["imported"]
    assert imported["sha256"] == runs.file_hash(tmp_path / "own.pt")
    assert (imported["mean"], imported["pool"]) == ([0.485, 0.456, 0.406], "global")
    code, out, _ = deepminer(
        "import-checkpoint", str(tmp_path / "own.pt"), "--arch", "mobilenet_v3_small"
    )
    assert code == 0 and out.startswith(f"{run} (existing run") and "Nothing was trained" in out
    dissect, explained = explain(study, run)
    with store.read(study) as con:
        train_row, dissect_row = run_table.load_run(con, run), run_table.load_run(con, dissect)
        assert len(unit_table.load_explanations(con, explained)) == 2
    assert dissect_row["manifest"]["influence"] == "activation x gradient"
    assert "activation times gradient" in unit_sentences(dissect_row, "malignant")
    assert "was imported as it is and was not trained" in training_sentences(train_row)
    note = lineage.influence_note(study, explained)
    assert note.startswith("Influence is activation x gradient of the class score")
    assert load_architectures(study, "test", "patch")[0].epochs is None


def test_own_module_is_trained_and_explained(
    study: Path, deepminer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_training(study, 'architecture = "support.own_network:create"', "epochs = 1", "batch = 3")
    code, _, error = deepminer("train")
    assert code == 0, error
    run = lineage.resolve_run(study, "train")
    dissect, _ = explain(study, run)
    network = inference.load_network(study, run)
    assert network.mean.flatten().tolist() == [127.5] * 3
    assert lineage.influence_note(study, dissect) == ""
    # Influence by the definition, from the module itself.
    with store.read(study) as con:
        patches = run_table.load_run(con, run)["parents"][0]
    files = load_mammogram_table(study, patches, ["holdout"])["file"]
    image = np.array(open_training_images(study, run)[files[0]], np.float32)
    x = torch.from_numpy((image / 255 - 0.5) / 0.5).repeat(1, 3, 1, 1)
    with torch.inference_mode():
        maps = network.net.forward_features(x)[0]
    expected = maps.amax((1, 2)).numpy() * network.net.fc.weight.numpy()
    stored = np.load(runs.run_folder(study, dissect) / "influence.npy")[0]
    assert np.allclose(stored, expected, atol=1e-5)
    monkeypatch.setattr(own_modules, "source_hash", lambda _: "changed")
    with pytest.raises(UserError, match="own_network:create was changed after train-"):
        inference.load_network(study, run)
    assert run_training(study, settings.load_settings(study), no_progress).run != run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arch", "small", "--pool", "none"], "--pool is 'none': choose global or top_left_7"),
        (["--arch", "vit_b_16"], "classifies by a class token"),
        (["--arch", "small", "--classes", "2"], "--classes is 2, but the patches"),
    ],
)
def test_refused_imports_exit_with_one_sentence(
    arguments: list[str], words: str, deepminer: Command, tmp_path: Path
) -> None:
    torch.save(networks.build("small", 3).net.state_dict(), tmp_path / "w.pt")
    code, _, error = deepminer("import-checkpoint", str(tmp_path / "w.pt"), *arguments)
    assert code == 1 and words in " ".join(error.split()) and "Traceback" not in error
