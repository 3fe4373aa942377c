"""Dissection and influence against slow, literal versions of DEFINITIONS "Units", with ties and
negative activations.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from core import networks
from core.interpretation import dissection, influence
from core.interpretation.explanation import (
    ImageScores,
    image_scores,
    lesion_class,
    predicted_class,
    printed,
    texts,
    top_units,
)
from core.interpretation.inference import Probe, by_gradient, tissue_positions
from support.array_patches import Memory


def slow_top(activations: np.ndarray, k: int) -> tuple[list[list[int]], list[list[float]]]:
    """Per unit: sort patches by falling activation, then by rising patch; take the first k."""
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
def test_top_patches_are_those_of_the_definition_whatever_the_ties(
    patches: int, units: int, k: int, seed: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    a = (
        rng.integers(-2, 3, (patches, units)).astype(np.float32)
        if ties
        else rng.normal(size=(patches, units)).astype(np.float32)
    )
    found = dissection.top_patches(a, k)
    rows, values = slow_top(a, min(k, patches))
    assert found.rows.tolist() == rows
    assert np.array_equal(found.values, np.array(values, np.float32))


def test_top_patches_of_equal_activations_are_the_first_ones() -> None:
    found = dissection.top_patches(np.zeros((100, 3), np.float16), 5)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]] * 3


@pytest.fixture
def network() -> networks.Classifier:
    torch.manual_seed(0)
    return networks.build("small", 3, units=12).eval()


@pytest.fixture
def reader() -> Memory:
    return Memory(np.random.default_rng(0).integers(0, 256, (37, 1, 64, 64)).astype(np.uint8))


def nothing(*_: object) -> None:
    return None


def test_one_pass_keeps_each_units_maximum_and_a_second_look_its_maps(
    network: networks.Classifier, reader: Memory, tmp_path: Path
) -> None:
    probe = Probe(network, "last")
    a = dissection.compute_max_activations(
        probe, reader, tmp_path / "a.npy", "float32", nothing, batch=8
    )
    with torch.inference_mode():
        maps = torch.cat(
            [network.maps(torch.from_numpy(reader.x[i : i + 1])) for i in range(37)]
        )  # one by one
    assert np.allclose(a, maps.amax((2, 3)).numpy(), atol=1e-5)
    top = dissection.top_patches(np.asarray(a), 5)
    kept = dissection.top_maps(probe, reader, top, nothing, batch=7)
    for unit in range(12):
        for rank in range(5):
            assert np.allclose(
                kept[unit, rank], maps[top.rows[unit, rank], unit].numpy(), atol=2e-3
            )


def test_a_killed_pass_goes_on_and_gives_the_same(
    network: networks.Classifier, reader: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dissection, "FLUSH_BATCHES", 1)
    probe = Probe(network, "last")
    whole = np.array(
        dissection.compute_max_activations(
            probe, reader, tmp_path / "whole.npy", "float32", nothing, batch=8
        )
    )
    (tmp_path / "resume.json").unlink()
    seen: list[int] = []

    def stop(done: int, total: int, unit: str) -> None:
        seen.append(done)
        if done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dissection.compute_max_activations(
            probe, reader, tmp_path / "cut.npy", "float32", stop, batch=8
        )
    seen.clear()
    again = dissection.compute_max_activations(
        probe, reader, tmp_path / "cut.npy", "float32", lambda d, t, u: seen.append(d), batch=8
    )
    assert seen == [32, 37] and np.array_equal(again, whole)


def test_a_named_layer_is_dissected_like_the_last_one(reader: Memory, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = networks.build("resnet18", 2).eval()
    small = Memory(reader.x[:5])
    a = dissection.compute_max_activations(
        Probe(network, "layer4"), small, tmp_path / "l4.npy", "float32", nothing
    )
    b = (
        dissection.compute_max_activations(
            Probe(network, "last"), small, tmp_path / "last.npy", "float32", nothing
        )
        if not (tmp_path / "resume.json").unlink(missing_ok=True)
        else None
    )
    assert np.allclose(a, b, atol=1e-5)


def test_the_quantile_is_exceeded_by_its_share_of_positions(
    network: networks.Classifier, reader: Memory
) -> None:
    threshold, positions = dissection.quantiles(Probe(network, "last"), reader, 0.05, seed=1)
    with torch.inference_mode():
        maps = (
            network.maps(torch.from_numpy(reader.x))
            .permute(1, 0, 2, 3)
            .flatten(1)
            .half()
            .float()
            .numpy()
        )
    assert positions == maps.shape[1]
    assert np.all((maps > threshold[:, None]).mean(1) < 0.05)
    assert np.all((maps >= threshold[:, None]).mean(1) >= 0.05 - 1 / positions)


def test_the_region_is_the_upsampled_map_above_the_threshold() -> None:
    grid = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    up = F.interpolate(
        torch.from_numpy(grid)[None, None], size=(64, 64), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    assert np.array_equal(dissection.region(grid, 64, 0.3), up > 0.3)


@given(st.integers(1, 12), st.integers(1, 10), st.integers(0, 9999))
def test_ranking_and_selection_follow_the_definition(images: int, units: int, seed: int) -> None:
    values = (
        np.random.default_rng(seed).integers(-3, 4, (images, units)).astype(float)
    )  # many ties, negative ones too
    top = influence.ranked(values, 3)
    slow = [sorted(range(units), key=lambda u: (-row[u], u))[:3] for row in values]
    assert top.tolist() == slow
    counts = [sum(u in row for row in slow) for u in range(units)]
    expected = [u for u in sorted(range(units), key=lambda u: (-counts[u], u))[:4] if counts[u]]
    chosen = influence.select(top, units, 4)
    assert chosen.units.tolist() == expected and chosen.counts.tolist() == [
        counts[u] for u in expected
    ]


def test_gradient_influence_equals_weight_times_activation_where_there_is_one_linear_layer(
    network: networks.Classifier,
) -> None:
    """For a globally pooled linear head the gradient of the mean logit is weight / positions: the
    two definitions then differ by that factor only.
    """
    film = np.random.default_rng(2).integers(0, 256, (96, 80)).astype(np.uint8)
    full = networks.to_fully_convolutional(network)
    by_hand_maps = network.maps(torch.from_numpy(film)[None, None])[0].detach()
    positions = by_hand_maps[0].numel()
    weights = network.class_weights()
    slow = torch.stack(
        [
            torch.stack([(by_hand_maps[u] * weights[c, u] / positions).max() for u in range(12)])
            for c in range(3)
        ]
    )
    assert np.allclose(by_gradient(full, Probe(network, "last"), film), slow.numpy(), atol=1e-6)


def test_gradient_influence_of_a_dense_head_runs_at_any_size() -> None:
    torch.manual_seed(0)
    network = networks.build("alexnet", 2).eval()
    film = np.random.default_rng(2).integers(0, 256, (300, 260)).astype(np.uint8)
    assert by_gradient(
        networks.to_fully_convolutional(network), Probe(network, "conv5"), film
    ).shape == (2, 256)


def test_image_scores_and_decision_follow_the_definition() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], (6, 5)).transpose(2, 0, 1)
    tissue = rng.uniform(size=(6, 5)) < 0.5
    inside = [
        (p[0, y, x], p[1, y, x], p[2, y, x]) for y in range(6) for x in range(5) if tissue[y, x]
    ]
    scores = image_scores(p, tissue)
    assert scores.malignant == max(m for _, _, m in inside) and scores.benign == max(
        b for _, b, _ in inside
    )
    assert scores.normal == pytest.approx(1 - max(b + m for _, b, m in inside))
    assert predicted_class(ImageScores(0.5, 0.2, 0.4), 0.5) == 0
    assert predicted_class(ImageScores(0.49, 0.2, 0.4), 0.5) == 2
    assert predicted_class(ImageScores(0.49, 0.5, 0.4), 0.5) == 1
    assert lesion_class(ImageScores(0.9, 0.5, 0.4)) == 1
    assert (
        predicted_class(ImageScores(None, None, 0.7), 0.6) == 2
        and predicted_class(ImageScores(None, None, 0.5), 0.6) == 0
    )
    assert (
        image_scores(p, np.zeros((6, 5), bool)) == ImageScores(None, None, None)
        and predicted_class(ImageScores(None, None, None), 0.5) is None
    )


def test_tissue_positions_are_half_full_cells_or_the_fullest() -> None:
    tissue = np.zeros((16, 16), bool)
    assert not tissue_positions(tissue, (4, 4)).any()
    tissue[0, 0] = True
    assert tissue_positions(tissue, (4, 4)).sum() == 1
    tissue[:8] = True
    assert np.array_equal(
        tissue_positions(tissue, (4, 4)), np.arange(4)[:, None] < np.full((1, 4), 2)
    )


def test_texts_and_printed_units_take_only_annotated_ones() -> None:
    labels = {3: "c", 5: "e", 9: "i"}
    assert (
        texts([1, 3, 2, 5, 9], labels, number=2) == ["c", "e"]
        and texts([1, 2, 3], labels, depth=2) == []
    )
    units = top_units(np.array([0.0, 0, 0, 4, 1, 3, 2, 0, 0, 9]), labels, depth=8)
    assert [(u.rank, u.unit, u.label) for u in units[:3]] == [(1, 9, "i"), (2, 3, "c"), (3, 5, "e")]
    assert [u.label for u in printed(units, 2)] == ["i", "c"]


def test_the_receptive_field_is_what_the_layers_arithmetic_says() -> None:
    """Small: 5, +2*2, pool, +2*4, pool, +2*8, +2*8. AlexNet conv3: 11, pool, 5x5, pool, 3x3."""
    torch.manual_seed(0)
    small = networks.build("small", 3).eval()
    assert dissection.receptive_field(Probe(small, "last"), 64) == 55
    assert (
        dissection.receptive_field(Probe(networks.build("alexnet", 2).eval(), "conv3"), 227) == 99
    )
