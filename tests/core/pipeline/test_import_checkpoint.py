"""Published checkpoints as they are: four architectures in one study, and files that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.reproduction.release_tree import save_published
from core import networks, settings, store
from core.errors import UserError
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation import inference
from core.networks import architectures
from core.networks.architectures import torchvision_models
from core.pipeline.import_checkpoint import run_import
from core.pipeline.inputs import load_patch_table
from core.pipeline.patches import run_patch_extraction
from core.pipeline.train import patches_of_architecture
from core.store import dataset_table, run_table, unit_table
from evaluation.pipeline.evaluate import run_evaluation
from support.array_patches import no_progress
from support.narrow_networks import narrow_published_networks
from support.published_networks import (
    FORWARD,
    cheap_initial_weights,
    published_input,
)
from support.strip_study import SIDE, create_strip_study

pytestmark = pytest.mark.slow

PUBLISHED_SIDES = {"alexnet": 227, "vgg16": 227, "resnet152": 227, "inception_v3": 299}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "study"
    chosen = create_strip_study(path)
    run_patch_extraction(path, chosen, no_progress)
    return path


@pytest.fixture
def narrow_networks() -> Iterator[None]:
    with narrow_published_networks(full_depth=True):
        yield


def kernels(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the name of every parameter with its dimensions behind the channels."""
    return {name: tuple(value.shape[2:]) for name, value in module.state_dict().items()}


def random_state(arch: str) -> dict[str, torch.Tensor]:
    """Return weights whose activations stay moderate, under torchvision's own names."""
    options = {"init_weights": False} if arch == "inception_v3" else {}
    with cheap_initial_weights():
        torch.manual_seed(4)
        module = torchvision_models().get_model(arch, weights=None, num_classes=3, **options)
    for block in module.modules():
        if hasattr(block, "bn3"):
            # Small residuals: rounding differences do not grow over 50 blocks.
            torch.nn.init.constant_(block.bn3.weight, 0.2)
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        # Running statistics of real activations: random ones let the deep networks overflow.
        with torch.no_grad():
            side = PUBLISHED_SIDES[arch] if arch == "inception_v3" else 96
            module.train()(torch.randn(2, 3, side, side))
    return module.state_dict()


@pytest.mark.parametrize("arch", list(PUBLISHED_SIDES))
def test_narrow_networks_have_the_layers_of_the_full_ones(arch: str) -> None:
    """The next test runs networks with few channels."""
    with torch.device("meta"):  # without the parameters' memory
        full = architectures.create_module(arch, 3, 8)
        with narrow_published_networks(full_depth=True):
            narrow = architectures.create_module(arch, 3, 8)
    assert kernels(narrow) == kernels(full)
    sizes = [sum(p.numel() for p in module.parameters()) for module in (narrow, full)]
    assert sizes[0] < sizes[1] / 10


@pytest.mark.parametrize("arch", list(PUBLISHED_SIDES))
def test_evaluation_equals_the_published_forward_pass(
    arch: str, study: Path, tmp_path: Path, narrow_networks: None
) -> None:
    state = random_state(arch)
    if arch == "vgg16":  # in half precision
        state = {key: value.half() for key, value in state.items()}
    save_published(state, arch, tmp_path / "model.pth.tar")
    state = {key: value.float() for key, value in state.items()}
    chosen = settings.load_settings(study)
    imported = run_import(study, chosen, tmp_path / "model.pth.tar", arch, no_progress)
    evaluated = run_evaluation(study, no_progress, train=imported.run)
    with store.read(study) as con:
        run = run_table.load_run(con, imported.run)
        splits = [
            unit_table.load_predictions(con, evaluated.run, run["parents"][0], split)
            for split in ("holdout", "test")
        ]
    side = PUBLISHED_SIDES[arch]
    images = WorkingImages(study, None, side)
    table = load_patch_table(study, run["parents"][0], ["holdout", "test"])
    # Windows at the quarter positions 0, 1/8 and 1/4 of the width, cut without the product.
    patches = np.stack(
        [
            images[row.file][None, :side, round(row.x * side / SIDE) :][:, :, :side]
            for row in table.itertuples()
        ]
    )
    with torch.inference_mode():
        expected = FORWARD[arch](state, published_input(patches)).softmax(1).numpy()
    columns = ["p_normal", "p_benign", "p_malignant"]
    found = np.concatenate([predictions[columns].to_numpy() for predictions in splits])
    order = np.argsort(np.concatenate([p["patch_id"].to_numpy() for p in splits]))
    assert np.abs(found[order] - expected).max() <= 1e-5
    # Otherwise equal probabilities would show nothing about the input.
    assert np.ptp(expected, axis=0).max() > 1e-3 and 0.01 < expected.max() < 0.999
    assert run["manifest"]["imported"]["input_side"] == side
    assert run["manifest"]["imported"]["file"] == "model.pth.tar"
    assert len(run["manifest"]["imported"]["sha256"]) == 64
    assert run["settings"]["training"]["pool"] == (
        "top_left_7" if arch == "resnet152" else "global"
    )


def test_input_sides_share_windows_labels_and_split(study: Path) -> None:
    chosen = settings.load_settings(study)
    runs = {
        side: run_patch_extraction(study, chosen, no_progress, input_side=side).run
        for side in (SIDE, 299)
    }
    assert runs[SIDE] != runs[299]
    with store.read(study) as con:
        tables = [
            dataset_table.load_patches(con, run).drop(columns="run", errors="ignore")
            for run in runs.values()
        ]
        splits = [dataset_table.load_splits(con, run) for run in runs.values()]
        assert run_table.patches_at_side(con, runs[SIDE], 299) == runs[299]
        assert run_table.patches_at_side(con, runs[SIDE], 300) is None
    # SIDE is the latest but one. A run that is named is used; others have the published side.
    assert patches_of_architecture(study, "inception_v3") == runs[299]
    assert patches_of_architecture(study, "inception_v3", runs[SIDE]) == runs[SIDE]
    run_patch_extraction(study, chosen, no_progress, input_side=SIDE)
    assert patches_of_architecture(study, "inception_v3") == runs[299]
    assert patches_of_architecture(study, "small") == runs[SIDE]
    assert tables[0].equals(tables[1]) and splits[0].equals(splits[1])
    assert sorted(tables[0]["label"].unique()) == [0, 1, 2]
    table = load_patch_table(study, runs[299], ["test"])
    reader = PatchReader(WorkingImages(study, None, 299), table)
    assert reader.batch(np.arange(len(table))).shape == (3, 1, 299, 299)


def test_another_study_setting_is_not_the_same_patches(study: Path) -> None:
    chosen = settings.load_settings(study)
    other = chosen.with_changes("patches", min_overlap=0.9)
    first = run_patch_extraction(study, chosen, no_progress).run
    second = run_patch_extraction(study, other, no_progress, input_side=250).run
    with store.read(study) as con:
        assert run_table.patches_at_side(con, first, 250) is None
        assert not run_table.is_same_patches(con, first, second)
    run_patch_extraction(study, chosen, no_progress)  # the latest again, for the other tests


def test_inception_of_earlier_releases_keeps_its_normalization(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cheap_initial_weights():
        network = networks.build("googlenet", 3)
    torch.save(network.net.state_dict(), tmp_path / "w.pt")
    run = run_import(
        study, settings.load_settings(study), tmp_path / "w.pt", "googlenet", no_progress
    ).run
    assert float(inference.load_network(study, run).mean[0, 0]) == 127.5
    row = inference._load_run(study, run)
    del row["settings"]["half_normalization"]
    monkeypatch.setattr(inference, "_load_run", lambda *_: row)
    assert inference.load_network(study, run).mean.flatten().tolist() == pytest.approx(
        [123.675, 116.28, 103.53]
    )


def test_imports_that_do_not_fit(study: Path, tmp_path: Path) -> None:
    chosen = settings.load_settings(study)
    two = networks.build("small", 2, units=8).net.state_dict()
    torch.save(two, tmp_path / "two.pt")

    def refuse(words: str, arch: str = "small", file: str = "two.pt", **options: object) -> None:
        small = chosen.with_changes("training", units=8)
        with pytest.raises(UserError, match=words):
            run_import(study, small, tmp_path / file, arch, no_progress, **options)

    with store.read(study) as con:
        before = list(run_table.load_runs(con, "train")["run"])
    refuse("does not fit small with 3 classes: fc.weight is \\(2, 8\\)")
    refuse("--classes is 2, but the patches of .* have 3", classes=2)
    refuse("is not a checkpoint of squeezenet1_1: .* is missing", "squeezenet1_1")
    refuse("no architecture 'resnet1'", "resnet1")
    refuse("vit_b_16 classifies by a class token", "vit_b_16")
    refuse("no weights file", file="absent.pt")
    # Another test may have made patches of 227 px, which would be the latest.
    run = run_patch_extraction(study, chosen, no_progress, input_side=SIDE).run
    refuse("alexnet takes patches of 227 px", "alexnet", patches=run)
    two["fc.bias"][0] = float("nan")
    torch.save(
        two | {"fc.weight": torch.zeros(3, 8), "fc.bias": torch.tensor([0.0, 0, np.nan])},
        tmp_path / "nan.pt",
    )
    refuse("values of fc.bias that are not finite", file="nan.pt")
    with store.read(study) as con:
        assert list(run_table.load_runs(con, "train")["run"]) == before
    assert not list((study / "runs").glob("*.partial"))
