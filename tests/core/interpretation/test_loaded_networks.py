"""Classifiers of train runs by the settings and manifest of the run; columns of patients."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core import networks, runs
from core.errors import UserError
from core.interpretation import inference
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram
from core.networks import own_modules
from core.networks.auxiliary_inputs import AuxiliaryColumn, AuxiliaryColumns
from core.settings import TrainingSettings
from support.array_patches import ArrayPatches, no_progress

RUN = "train-1"
AGE = AuxiliaryColumns((AuxiliaryColumn("age", mean=50.0, deviation=10.0),))


def store_run(
    study: Path, monkeypatch: pytest.MonkeyPatch, columns: AuxiliaryColumns, **settings: Any
) -> tuple[dict[str, Any], networks.Classifier]:
    """Write a checkpoint of a small network; return the row of its run and the network."""
    torch.manual_seed(3)
    network = networks.build("small", 2, units=8, channels=settings.get("channels", 1))
    networks.attach_auxiliary_block(network, columns)
    if network.auxiliary is not None:
        torch.nn.init.normal_(network.auxiliary.value.weight)
    folder = study / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    torch.save(network.checkpoint_state(), folder / "best.pt")
    training = TrainingSettings(architecture="small", weights="none", units=8)
    manifest = {"weights": "best.pt", "checkpoint": runs.file_hash(folder / "best.pt")}
    if columns.columns:
        manifest["auxiliary"] = columns.to_dicts()
    row = {"settings": {"training": training.model_dump(), "classes": 2, **settings},
           "manifest": manifest}  # fmt: skip
    monkeypatch.setattr(inference, "_load_run", lambda *_: row)
    return row, network


def test_network_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stored = store_run(tmp_path, monkeypatch, AuxiliaryColumns())
    kept: list[int] = []
    monkeypatch.setattr(inference, "keep_freed_memory", lambda: kept.append(1))
    network = inference.load_network(tmp_path, RUN)
    assert (network.channels, network.input_side, network.pool) == (1, 64, "global")
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert network.precision == "float32" and network.auxiliary is None and kept == [1]
    assert network.fused is not None and network.inference["form"] == "fused"
    assert torch.equal(network.class_weights(), stored.class_weights())
    # 110 and 45 of 255 levels.
    assert network.mean.item() == pytest.approx(110) and network.std.item() == pytest.approx(45)
    (tmp_path / "runs" / RUN / "best.pt").write_bytes(b"changed")
    with pytest.raises(UserError, match=r"best\.pt is not the checkpoint that train-1 wrote"):
        inference.load_network(tmp_path, RUN)


def test_colour_side_precision_and_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, stored = store_run(tmp_path, monkeypatch, AGE, channels=3, input_side=48)
    row["settings"]["training"]["precision"] = "bfloat16"
    network = inference.load_network(tmp_path, RUN)
    assert (network.channels, network.input_side, network.precision) == (3, 48, "bfloat16")
    assert network.columns == AGE and network.auxiliary is not None
    assert stored.auxiliary is not None
    expected = stored.auxiliary.value.weight
    assert torch.equal(network.auxiliary.value.weight, expected) and expected.any()


@pytest.mark.parametrize(
    ("is_half", "settings", "mean"),
    [
        (True, {}, [255 * 0.485, 255 * 0.456, 255 * 0.406]),
        (True, {"half_normalization": True}, [110]),
        (False, {}, [110]),
    ],
)
def test_normalisation_of_earlier_releases(
    is_half: bool, settings: dict, mean: list[float], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _, stored = store_run(tmp_path, monkeypatch, AuxiliaryColumns(), **settings)
    stored.family = dataclasses.replace(stored.family, half_normalization=is_half)
    monkeypatch.setattr(stored, "fuse", lambda: None)
    monkeypatch.setattr(inference, "build", lambda *_: stored)
    network = inference.load_network(tmp_path, RUN)
    assert network.mean.flatten().tolist() == pytest.approx(mean)


def test_changed_source_of_an_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_modules, "source_hash", lambda arch: f"hash of {arch}")
    training = {"architecture": "a:b"}
    for settings in ({"training": training}, {"training": training, "module": "hash of a:b"}):
        inference._check_own_source(RUN, {"settings": settings})
    with pytest.raises(UserError, match="that defines a:b was changed after train-1"):
        inference._check_own_source(RUN, {"settings": {"training": training, "module": "x"}})


def test_columns_of_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"patient_id": ["a", "b", "c"], "age": [40.0, np.nan, 65.0]})
    monkeypatch.setattr(inference, "load_patient_columns", lambda _: table)
    found = inference.encode_patient_columns(Path(), AGE, ["c", "a", "c", "b"])
    assert found is not None and found.tolist() == [[1.5, 0], [-1, 0], [1.5, 0], [0, 1]]
    assert inference.encode_patient_columns(Path(), AuxiliaryColumns(), ["c"]) is None


def test_predictions_with_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    network = networks.build("small", 2, units=4).eval()
    networks.attach_auxiliary_block(network, AGE)
    assert network.auxiliary is not None
    for part in (network.auxiliary.value, network.auxiliary.score):
        torch.nn.init.normal_(part.weight)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 1, 32, 32), dtype=np.uint8)
    columns = np.array([[2.0, 0], [-1, 0], [0, 1]], np.float32)
    found = inference.predict_probabilities(
        network,
        ArrayPatches(pixels),
        no_progress,
        batch=2,
        columns=columns,  # type: ignore[arg-type]
    )
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels), torch.from_numpy(columns)).double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(found, expected, atol=1e-5)
    alone = inference.predict_probabilities(network, ArrayPatches(pixels), no_progress)  # type: ignore[arg-type]
    assert not np.allclose(alone, found, atol=1e-3)


def test_maps_with_columns_and_fused_layers() -> None:
    torch.manual_seed(3)
    network = networks.build("small", 2, units=4).eval().requires_grad_(False)
    networks.attach_auxiliary_block(network, AGE)
    assert network.auxiliary is not None
    for part in (network.auxiliary.value, network.auxiliary.score):
        torch.nn.init.normal_(part.weight)
    pixels = np.random.default_rng(1).integers(0, 256, (40, 48), dtype=np.uint8)
    full, probe = networks.to_fully_convolutional(network), FeatureProbe(network, "features.6")
    columns = np.array([2.0, 0], np.float32)
    image, both = (forward_mammogram(full, probe, pixels, c) for c in (None, columns))
    with torch.inference_mode():
        last = network.feature_maps(torch.from_numpy(pixels)[None, None])
        factor, added, weights = network.auxiliary(
            last.mean((2, 3)), torch.from_numpy(columns)[None]
        )
    expected = factor[0] * image.logits + added[0][:, None, None]
    assert torch.allclose(both.logits, expected, atol=1e-5) and added.abs().min() > 0
    assert both.weights is not None and np.allclose(both.weights, weights[0], atol=1e-6)
    assert image.weights is None and torch.equal(both.units, image.units)
    # The fused form with the output of the same layer, and then the one without it again.
    network.fuse()
    whole = network.fused
    fused = forward_mammogram(full, FeatureProbe(network, "features.6"), pixels)
    assert whole is not None and network.fused is whole
    assert torch.allclose(fused.units, image.units, atol=1e-4)
    assert torch.allclose(fused.logits, image.logits, atol=1e-4)
