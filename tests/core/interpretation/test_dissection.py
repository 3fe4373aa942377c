"""Dissection against slow, literal versions of its definitions, with ties and negative values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import networks
from core.errors import UserError
from core.interpretation import dissection
from core.interpretation.feature_maps import FeatureProbe
from support.array_patches import ArrayPatches, no_progress


@pytest.fixture
def network() -> networks.Classifier:
    torch.manual_seed(0)
    return networks.build("small", 3, units=12).eval()


@pytest.fixture
def reader() -> ArrayPatches:
    return ArrayPatches(np.random.default_rng(0).integers(0, 256, (37, 1, 64, 64)).astype(np.uint8))


def slow_top(activations: np.ndarray, k: int) -> tuple[list[list[int]], list[list[float]]]:
    """Sort patches per unit by falling activation, then by rising row; take the first k."""
    rows, values = [], []
    for unit in range(activations.shape[1]):
        order = sorted(range(len(activations)), key=lambda p: (-activations[p, unit], p))[:k]
        rows.append(order)
        values.append([float(activations[p, unit]) for p in order])
    return rows, values


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 9), st.integers(1, 20), st.integers(0, 10_000), st.booleans()
)
def test_top_patches(patches: int, units: int, k: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    activations = (
        rng.integers(-2, 3, (patches, units)).astype(np.float32)
        if ties
        else rng.normal(size=(patches, units)).astype(np.float32)
    )
    top = dissection.compute_top_patches(activations, k)
    rows, values = slow_top(activations, min(k, patches))
    assert top.rows.tolist() == rows
    assert np.array_equal(top.values, np.array(values, np.float32))


def test_top_patches_of_a_dead_unit_are_the_first() -> None:
    top = dissection.compute_top_patches(np.zeros((100, 3), np.float16), 5)
    assert top.rows.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_activations_that_are_not_numbers_are_rejected() -> None:
    activations = np.zeros((10, 2), np.float32)
    activations[3, 1] = np.nan
    with pytest.raises(UserError, match="activations that are not numbers"):
        dissection.compute_top_patches(activations, 5)


def test_max_activations_and_top_maps(
    network: networks.Classifier, reader: ArrayPatches, tmp_path: Path
) -> None:
    probe = FeatureProbe(network, "last")
    activations = dissection.compute_max_activations(
        probe, reader, tmp_path / "a.npy", "float32", no_progress, batch=8
    )
    with torch.inference_mode():  # the reference runs patch by patch
        maps = torch.cat(
            [network.feature_maps(torch.from_numpy(reader.x[i : i + 1])) for i in range(37)]
        )
    assert np.allclose(activations, maps.amax((2, 3)).numpy(), atol=1e-5)
    top = dissection.compute_top_patches(np.asarray(activations), 5)
    reports: list[tuple[int, int, str]] = []
    top_maps = dissection.compute_top_maps(
        probe, reader, top, lambda *report: reports.append(report), batch=7
    )
    patches = len(np.unique(top.rows))
    ends = [min(end, patches) for end in range(7, patches + 7, 7)]
    assert len(ends) > 1 and reports == [(end, patches, "top patches") for end in ends]
    for unit in range(12):
        for rank in range(5):
            expected = maps[top.rows[unit, rank], unit].numpy()
            assert np.allclose(top_maps[unit, rank], expected, atol=2e-3)


def test_interrupted_pass_resumes(
    network: networks.Classifier,
    reader: ArrayPatches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dissection, "FLUSH_BATCHES", 1)
    probe = FeatureProbe(network, "last")
    whole = np.array(
        dissection.compute_max_activations(
            probe, reader, tmp_path / "whole.npy", "float32", no_progress, batch=8
        )
    )
    (tmp_path / "resume.json").unlink()
    reported: list[int] = []

    def stop(done: int, total: int, unit: str) -> None:
        reported.append(done)
        if done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dissection.compute_max_activations(
            probe, reader, tmp_path / "cut.npy", "float32", stop, batch=8
        )
    reported.clear()
    resumed = dissection.compute_max_activations(
        probe, reader, tmp_path / "cut.npy", "float32", lambda d, t, u: reported.append(d), batch=8
    )
    assert reported == [32, 37] and np.array_equal(resumed, whole)


def test_named_layer_equals_last(reader: ArrayPatches, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = networks.build("resnet18", 2).eval()
    patches = ArrayPatches(reader.x[:5])
    activations = []
    for layer in ("layer4", "last"):
        (tmp_path / "resume.json").unlink(missing_ok=True)
        probe = FeatureProbe(network, layer)
        activations.append(
            dissection.compute_max_activations(
                probe, patches, tmp_path / f"{layer}.npy", "float32", no_progress
            )
        )
    assert np.allclose(*activations, atol=1e-5)


def test_quantile_threshold_is_exceeded_by_its_share(
    network: networks.Classifier, reader: ArrayPatches
) -> None:
    threshold, positions = dissection.compute_quantile_thresholds(
        FeatureProbe(network, "last"), reader, 0.05, seed=1
    )
    with torch.inference_mode():
        maps = (
            network.feature_maps(torch.from_numpy(reader.x))
            .permute(1, 0, 2, 3)
            .flatten(1)
            .half()
            .float()
            .numpy()
        )
    assert positions == maps.shape[1]
    assert np.all((maps > threshold[:, None]).mean(1) < 0.05)
    assert np.all((maps >= threshold[:, None]).mean(1) >= 0.05 - 1 / positions)


def test_receptive_field_follows_from_kernels_and_strides() -> None:
    """Small: 5, +2*2, pool, +2*4, pool, +2*8, +2*8. AlexNet conv3: 11, pool, 5x5, pool, 3x3."""
    torch.manual_seed(0)
    small = networks.build("small", 3).eval()
    assert dissection.receptive_field_side(FeatureProbe(small, "last"), 64) == 55
    alexnet = networks.build("alexnet", 2).eval()
    assert dissection.receptive_field_side(FeatureProbe(alexnet, "conv3"), 227) == 99
