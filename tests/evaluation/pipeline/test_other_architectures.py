"""MaxViT and ConvNeXt, with few channels, from a checkpoint to explanations.

A head of several layers (MaxViT) and a normalised linear head (ConvNeXt) take other ways through
every step than the networks of the papers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from core import lineage, networks, store
from core.class_labels import MAMMOGRAPHY
from core.interpretation import inference
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram
from core.networks.architectures import torchvision_models
from core.pipeline.dissect import run_dissection
from core.pipeline.explain import run_explanation
from core.pipeline.import_checkpoint import run_import
from core.pipeline.ingest import ingest
from core.pipeline.patches import run_patch_extraction
from core.settings import load_settings
from core.store import unit_table
from evaluation.pipeline.evaluate import run_evaluation
from evaluation.queries import performance
from evaluation.queries.explanations import load_explanation
from support.array_patches import no_progress

SIDE = 224  # of MaxViT's inputs
SETTINGS = f"""
[images]
input_side = {SIDE}
subject = "any"
[splits]
train = 0.3
holdout = 0.4
[dissection]
select = 4
splits = ["holdout"]
"""
GRADIENT = "activation x gradient"


models = torchvision_models()


def narrow_maxvit(num_classes: int) -> nn.Module:
    return models.maxvit.MaxVit(
        input_size=(SIDE, SIDE),
        stem_channels=8,
        partition_size=7,
        block_channels=[8, 8, 16, 24],
        block_layers=[1, 1, 1, 1],
        head_dim=8,
        stochastic_depth_prob=0.0,
        num_classes=num_classes,
    )


def narrow_convnext(num_classes: int) -> nn.Module:
    widths = (8, 16, 24, 32)
    blocks = [
        models.convnext.CNBlockConfig(inputs, outputs, 1)
        for inputs, outputs in zip(widths, (*widths[1:], None))
    ]
    return models.convnext.ConvNeXt(blocks, num_classes=num_classes)


BUILDERS = {"maxvit_t": narrow_maxvit, "convnext_tiny": narrow_convnext}


@pytest.fixture(scope="module")
def narrow() -> Iterator[None]:
    """Let torchvision build the two architectures narrow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "get_model", lambda name, weights=None, **o: BUILDERS[name](**o))
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, narrow: None) -> Path:
    """A study of flat images, of seven patches each, with a bright spot or none."""
    folder = tmp_path_factory.mktemp("study")
    generator = np.random.default_rng(5)
    rows: list[tuple[Any, ...]] = []
    for number in range(12):
        pixels = generator.integers(40, 120, (230, 900), np.uint8)
        pathology = ("NORMAL", "BENIGN", "MALIGNANT")[number % 3]
        mask = ""
        if pathology != "NORMAL":
            spot = np.zeros(pixels.shape, np.uint8)
            spot[30:200, 150 + 40 * number : 380 + 40 * number] = 255
            pixels[spot > 0] = 200 if pathology == "BENIGN" else 250
            mask = f"mask{number}.png"
            Image.fromarray(spot).save(folder / mask)
        Image.fromarray(pixels).save(folder / f"image{number}.png")
        rows.append((f"image{number}.png", f"P{number:02d}", pathology, mask))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("image", "patient", "pathology", "outline"), *rows])
    (folder / "study.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "images").mkdir()
    store.create(folder)
    settings = load_settings(folder)
    ingest(folder, settings, "manifest", folder / "table.csv", no_progress)
    run_patch_extraction(folder, settings, no_progress)
    return folder


@pytest.mark.parametrize("arch", sorted(BUILDERS))
def test_checkpoint_to_explanation(arch: str, study: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = BUILDERS[arch](3).state_dict()
    torch.save({"state_dict": state}, tmp_path / "model.pth.tar")
    settings = load_settings(study)
    train = run_import(study, settings, tmp_path / "model.pth.tar", arch, no_progress).run
    evaluate = run_evaluation(study, no_progress, train).run
    (positive,) = (
        result
        for result in performance.load_class_results(study, evaluate, "holdout", "patch")
        if result.name == MAMMOGRAPHY.positive
    )
    assert positive.auc.estimate is not None
    dissect = run_dissection(study, settings, no_progress, train).run
    # MaxViT has a nonlinear head, which every display of influence states.
    assert (GRADIENT in lineage.influence_note(study, dissect)) is (arch == "maxvit_t")
    explain = run_explanation(study, settings, no_progress, dissect).run
    with store.read(study) as con:
        explained = unit_table.load_explanations(con, explain)
        selected = unit_table.selected_unit_ids(con, dissect)
    assert len(selected) >= 4
    case = load_explanation(study, explain, explained["mammogram_id"].iloc[0])
    assert len(case.units) == 8 and case.predicted in MAMMOGRAPHY.names
    # The scores of the run are those of the network itself.
    network = inference.load_network(study, train)
    full, probe = networks.to_fully_convolutional(network), FeatureProbe(network, "last")
    pixels = np.load(study / "images" / f"{case.image_file}.npy")
    maps = forward_mammogram(full, probe, pixels)
    largest = float(maps.probabilities[2].max())
    assert case.scores[MAMMOGRAPHY.positive] == pytest.approx(largest, abs=1e-5)
    if arch == "convnext_tiny":
        with torch.inference_mode():
            logits = network(torch.from_numpy(pixels.copy())[None, None])[0]
        error = float((maps.logits.mean((1, 2)) - logits).abs().max())
        assert error <= 1e-5 * float(logits.abs().max())
