"""Selection, ranking and scores of units at their limits, and the defaults of the publications."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from core import networks
from core.class_labels import MAMMOGRAPHY
from core.interpretation import explanation, influence, unit_groups
from core.interpretation.ablation import Ablation, sample_matched_units
from core.interpretation.explanation import (
    ImageScores,
    NamedUnit,
    compute_image_scores,
    displayed_phenomena,
    lesion_output,
    most_influential_units,
    predicted_output,
)
from core.interpretation.feature_maps import (
    FeatureProbe,
    MammogramMaps,
    forward_mammogram,
    mammogram_tensor,
    tissue_positions,
)
from core.interpretation.inference import predict_probabilities
from core.interpretation.influence import rank_units, select_frequent_units, select_spie_units
from core.interpretation.localization import (
    localization_scores,
    response_outside,
    with_random_weights,
)
from core.interpretation.mammogram_influence import compute_influences, gradient_influence
from core.interpretation.unit_groups import (
    activation_correlations,
    group_units,
    select_frequent_groups,
    top_patch_agreement,
    unit_similarities,
)
from support.array_patches import ArrayPatches, no_progress


@pytest.fixture(scope="module")
def network() -> networks.Classifier:
    torch.manual_seed(0)
    return networks.build("small", 3, units=8).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def reader() -> ArrayPatches:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 32, 32), dtype=np.uint8)
    return ArrayPatches(pixels)


def test_numbers_of_the_publications() -> None:
    assert (explanation.STORED_UNITS, explanation.STORED_UNITS_BY_GROUPS) == (8, 32)
    assert (influence.RANKING_DEPTH, influence.SPIE_TOP_PATCHES) == (64, 32)
    assert rank_units(np.zeros((2, 70))).tolist() == [list(range(64))] * 2
    units = most_influential_units(np.arange(10.0), {9: "a", 1: "b"})
    assert [(unit.rank, unit.unit, unit.influence, unit.label, unit.state) for unit in units] == [
        (1, 9, 9.0, "a", ""),
        *((rank, 10 - rank, 10.0 - rank, None, "") for rank in range(2, 9)),
    ]
    shown = displayed_phenomena([NamedUnit(k, k, 1.0, f"label {k}") for k in range(1, 8)])
    assert [phenomenon.text for phenomenon in shown] == [f"label {k}" for k in range(1, 6)]


def test_scores_of_two_outputs_and_of_no_tissue() -> None:
    scores = compute_image_scores(
        np.array([[[0.9, 0.4, 0.2]], [[0.1, 0.6, 0.8]]]), np.array([[True, True, False]])
    )
    assert scores == ImageScores(None, (0.6,))
    assert scores.row(SimpleNamespace(scored=("cancer",))) == {"cancer": 0.6}  # type: ignore[arg-type]
    three = ImageScores(0.1, (0.3, 0.6)).row(MAMMOGRAPHY)
    assert three == {"normal": 0.1, "benign": 0.3, "malignant": 0.6}
    assert ImageScores(None, ()).row(MAMMOGRAPHY) == dict.fromkeys(MAMMOGRAPHY.scored)
    with pytest.raises(ValueError, match="zip"):
        ImageScores(0.1, (0.3,)).row(MAMMOGRAPHY)


def test_outputs_of_two_classes_at_their_thresholds() -> None:
    for score, output in ((0.49, 0), (0.5, 1), (0.51, 1)):
        assert lesion_output(ImageScores(None, (score,))) == output
    assert lesion_output(ImageScores(None, ())) == 0
    assert [predicted_output(ImageScores(None, (s,)), 0.7) for s in (0.69, 0.7)] == [0, 1]
    assert [predicted_output(ImageScores(s, (0.2, 0.1)), 0.7) for s in (0.69, 0.7)] == [1, 0]


def test_a_fifth_of_the_units_of_spie_is_random() -> None:
    """Twelve units of cancer only and eight without: of 10 units two are drawn from the rest."""
    labels = [(unit, 2 if unit < 12 else 0) for unit in range(20) for _ in range(3)]
    top = pd.DataFrame(labels, columns=["unit", "label"])
    drawn = np.random.default_rng([1, 31]).permutation(np.arange(8, 20))[:2]
    assert select_spie_units(top, set(range(20)), 10) == sorted([*range(8), *drawn.tolist()])
    # Of 60 units 45 are selected, nine of them at random.
    labels = [(unit, 2 if unit < 50 else 1) for unit in range(60)]
    top = pd.DataFrame(labels, columns=["unit", "label"])
    drawn = np.random.default_rng([1, 31]).permutation(np.arange(36, 60))[:9]
    assert select_spie_units(top, set(range(60))) == sorted([*range(36), *drawn.tolist()])
    # The largest shares of class 2 come first.
    top = pd.DataFrame({"unit": [0] * 3 + [1] * 3 + [2] * 3, "label": [2, 2, 0, 2, 2, 2, 0, 0, 0]})
    assert select_spie_units(top, {0, 1, 2}, 1) == [1]


def test_units_that_never_occur_are_not_selected() -> None:
    selection = select_frequent_units(np.array([[3, 1], [3, 4]]), 6, 6)
    assert selection.units.tolist() == [3, 1, 4] and selection.counts.tolist() == [2, 1, 1]
    assert select_frequent_units(np.array([[3, 1], [3, 4]]), 6, 2).units.tolist() == [3, 1]


def test_controls_come_from_the_ten_nearest_units() -> None:
    activity = np.array([5.0, *(5 + 0.1 * k * (-1) ** k for k in range(1, 14))])
    drawn = {
        int(sample_matched_units(activity, np.array([0]), np.random.default_rng(seed))[0])
        for seed in range(150)
    }
    assert drawn == set(range(1, 11))
    found = sample_matched_units(activity, np.array([], int), np.random.default_rng(0))
    assert found.tolist() == [] and found.dtype.kind == "i"


def test_pooled_maps_of_an_ablation(network: networks.Classifier, reader: ArrayPatches) -> None:
    reports: list[tuple] = []
    for layer in ("last", "features.6"):
        reports.clear()
        ablation = Ablation(network, layer, reader, lambda *r: reports.append(r), batch=2)
        assert reports == [(2, 5, "patches"), (4, 5, "patches"), (5, 5, "patches")]
        with torch.inference_mode(), FeatureProbe(network, layer).attached():
            x = torch.from_numpy(reader.x)
            probe = FeatureProbe(network, layer)
            with probe.attached():
                maps = probe.forward(x)[0].numpy()
            logits = network(x).numpy()
        assert np.allclose(ablation.means, maps.mean((2, 3)), atol=1e-5)
        assert np.allclose(ablation.maxima, maps.max((2, 3)), atol=1e-5)
        assert np.allclose(ablation.logits, logits, atol=1e-5)
        assert ablation.exact == (layer == "last")
        module = network.layer(layer)
        ablation.logits_with_units_zeroed([1])
        assert module is None or not module._forward_hooks


def test_positions_that_published_networks_pool() -> None:
    torch.manual_seed(0)
    network = networks.build("small", 2, units=6, pool="top_left_7").eval().requires_grad_(False)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 1, 72, 72), dtype=np.uint8)
    ablation = Ablation(network, "last", ArrayPatches(pixels), no_progress)  # type: ignore[arg-type]
    maps = network.feature_maps(torch.from_numpy(pixels)).numpy()
    assert maps.shape[2:] == (9, 9)
    assert np.allclose(ablation.means, maps[:, :, :7, :7].mean((2, 3)), atol=1e-5)
    assert np.allclose(ablation.maxima, maps.max((2, 3)), atol=1e-5)
    # An inner layer is not pooled.
    inner = Ablation(network, "features.6", ArrayPatches(pixels), no_progress)  # type: ignore[arg-type]
    assert inner.means.shape == (2, 32) and not inner.exact


def test_a_head_without_bias_adds_nothing(reader: ArrayPatches) -> None:
    network = networks.build("small", 2, units=6).eval().requires_grad_(False)
    network.last_linear().bias = None
    ablation = Ablation(network, "last", reader, no_progress)
    fill = np.arange(6, dtype=np.float32)
    assert np.allclose(
        ablation.logits_keeping_units([], fill), fill @ network.class_weights().numpy().T, atol=1e-5
    )


def test_influences_are_maxima_times_weights(network: networks.Classifier) -> None:
    rng = np.random.default_rng(4)
    images = {name: rng.integers(0, 256, (40, 48), dtype=np.uint8) for name in ("a", "b")}
    full, reports = networks.to_fully_convolutional(network), []
    found = compute_influences(
        network, full, FeatureProbe(network, "last"), images, ["b", "a"],  # type: ignore[arg-type]
        lambda *report: reports.append(report),
    )  # fmt: skip
    assert reports == [(1, 2, "mammograms"), (2, 2, "mammograms")] and found.dtype == np.float32
    for row, name in zip(found, ("b", "a")):
        maps = network.feature_maps(torch.from_numpy(images[name])[None, None])[0].numpy()
        assert np.allclose(row, maps.max((1, 2)) * network.class_weights().numpy(), atol=1e-5)
    inner = compute_influences(
        network, full, FeatureProbe(network, "features.6"), images, ["a"],  # type: ignore[arg-type]
        no_progress,
    )  # fmt: skip
    probe = FeatureProbe(network, "features.6")
    assert np.array_equal(inner[0], gradient_influence(full, probe, images["a"]))


def test_gradient_influence_of_an_inner_layer(network: networks.Classifier) -> None:
    """By gradients of the whole pass, kept at the layer."""
    pixels = np.random.default_rng(4).integers(0, 256, (40, 48), dtype=np.uint8)
    full, module = networks.to_fully_convolutional(network), network.layer("features.6")
    assert module is not None
    found = gradient_influence(full, FeatureProbe(network, "features.6"), pixels)
    assert not module._forward_hooks
    kept: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().clone().requires_grad_(True))
        return kept[-1] * 1

    for c in range(3):
        with module.register_forward_hook(keep):
            full(torch.from_numpy(pixels)[None, None])[0, c].mean().backward()
        expected = (kept[-1] * kept[-1].grad).detach().amax((2, 3))[0]
        assert np.allclose(found[c], expected.numpy(), atol=1e-6) and expected.abs().max() > 0


def test_tensors_of_mammograms() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert mammogram_tensor(grey).tolist() == [[grey.tolist()]]
    colour = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    expected = [[colour[..., channel].tolist() for channel in range(3)]]
    assert mammogram_tensor(colour).tolist() == expected


def test_maps_of_a_mammogram(network: networks.Classifier) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (40, 48), dtype=np.uint8)
    full, probe = networks.to_fully_convolutional(network), FeatureProbe(network, "features.6")
    maps = forward_mammogram(full, probe, pixels)
    module = network.layer("features.6")
    assert module is not None and not module._forward_hooks and maps.weights is None
    with torch.inference_mode():
        x = torch.from_numpy(pixels)[None, None]
        last = network.feature_maps(x)[0]
        weights, bias = network.class_weights(), network.last_linear().bias
        expected = torch.einsum("cu,uhw->chw", weights, last) + bias[:, None, None]
    assert torch.allclose(maps.logits, expected, atol=1e-4) and maps.units.shape == (32, 10, 12)
    shares = np.exp(expected.numpy())
    assert np.allclose(maps.probabilities, shares / shares.sum(0), atol=1e-5)
    zero = MammogramMaps(torch.zeros(1), torch.zeros(4, 1, 2))
    assert zero.probabilities.tolist() == [[[0.25, 0.25]]] * 4


def test_tissue_positions_at_a_half() -> None:
    """Cells of 2 x 2 pixels with 1, 2, 0 and 3 pixels of tissue."""
    tissue = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]], bool)
    assert tissue_positions(tissue, (2, 2)).tolist() == [[False, True], [False, True]]
    tissue[:, 2:] = False
    assert tissue_positions(tissue, (2, 2)).tolist() == [[True, False], [False, False]]
    assert not tissue_positions(np.zeros((4, 4), bool), (2, 2)).any()


def test_responses_outside_the_breast() -> None:
    maps = np.array([[[4.0, -3.0], [2.0, 2.0]], [[0.0, 8.0], [-1.0, 0.0]]])
    inside = np.array([[1.0, 0.25], [0.5, 0.0]])
    # 2 x 1/2 + 2 + 8 x 3/4 of 16.
    assert response_outside(maps, inside) == pytest.approx(9 / 16)
    assert response_outside(np.array([[-1.0, 0.0]]), np.zeros((1, 2))) is None
    assert response_outside(np.array([[0.5]]), np.ones((1, 1))) == 0.0


def test_a_peak_beside_the_finding() -> None:
    probability = np.array([[0.3, 0.2, 0.4, 0.1]])
    finding = np.array([[0.1, 0.5, 0.0, 0.0]])
    scores = localization_scores(probability, np.ones((1, 4), bool), finding)
    assert scores is not None and scores.peak is False
    assert (scores.mass, scores.area, scores.chance) == pytest.approx((0.13, 0.15, 0.5))
    left = localization_scores(probability, np.array([[True, True, False, False]]), finding)
    assert left is not None and left.peak is True


def test_random_weights_of_every_kind_of_layer() -> None:
    network: Any = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LayerNorm(4), nn.Linear(4, 3)
    )
    network.fused = "fused form"
    for parameter in network.parameters():
        nn.init.constant_(parameter, 3.0)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    random, other = (with_random_weights(network, seed) for seed in (2, 7))
    # The random state of the caller goes on as before.
    assert torch.equal(torch.rand(1), expected)
    assert network.fused == "fused form" and random.fused is None and network.training
    assert not random.training and not any(p.requires_grad for p in random.parameters())
    convolution, batch, layer, linear = random
    assert (batch.weight == 1).all() and (layer.weight == 1).all()
    assert (batch.bias == 0).all() and (layer.bias == 0).all()
    torch.manual_seed(2)
    assert torch.equal(convolution.weight, nn.Conv2d(1, 2, 3).weight)
    assert torch.equal(linear.weight, nn.Linear(4, 3).weight)
    assert not torch.equal(other[0].weight, convolution.weight)
    assert all((parameter == 3).all() for parameter in network.parameters())


def test_probabilities_of_patches(network: networks.Classifier, reader: ArrayPatches) -> None:
    reports: list[tuple] = []
    found = predict_probabilities(network, reader, lambda *r: reports.append(r), batch=3)  # type: ignore[arg-type]
    assert reports == [(3, 5, "patches"), (5, 5, "patches")]
    with torch.inference_mode():
        logits = network(torch.from_numpy(reader.x)).double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(found, expected, atol=1e-5) and found.dtype == np.float32


def test_correlations_of_a_share_of_many_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    activations = np.random.default_rng(3).random((21, 3))
    for most, step in ((21, 1), (20, 2), (10, 3), (7, 3), (6, 4)):
        monkeypatch.setattr(unit_groups, "_MAX_PATCHES", most)
        expected = np.corrcoef(activations[::step].T)
        assert np.allclose(activation_correlations(activations), expected)


def test_similarity_is_the_mean_of_correlation_and_agreement() -> None:
    activations = np.array([[0.0, 1, 5], [1, 0, 2], [2, 4, 1], [3, 3, 0]])
    top = np.array([[3, 2], [2, 3], [0, 1]])
    # Two of two, or none, of which two of four are expected by chance.
    agreement = np.array([[1.0, 1, -1], [1, 1, -1], [-1, -1, 1]])
    expected = (np.corrcoef(activations.T) + agreement) / 2
    found = unit_similarities(activations, top, 4)
    assert np.allclose(found, expected) and (np.diag(found) == 1).all()
    assert np.allclose(top_patch_agreement(top, 4), agreement)


def test_groups_at_the_least_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units 1 and 3 are joined at .6 and units 0 and 2 are not, at .59."""
    similar = np.eye(4)
    for a, b, value in ((1, 3, 0.6), (0, 2, 0.59)):
        similar[a, b] = similar[b, a] = value
    monkeypatch.setattr(unit_groups, "unit_similarities", lambda *_: similar)
    top = np.zeros((4, 1), int)
    assert group_units(np.zeros((2, 4)), top, 9) == [[1, 3], [0], [2]]
    assert group_units(np.zeros((2, 4)), top, 9, 0.59) == [[0, 2], [1, 3]]
    assert group_units(np.zeros((2, 0)), np.zeros((0, 1), int), 9) == []


def test_groups_of_equal_frequency_keep_their_order() -> None:
    top = np.array([[0, 5], [1, 4], [1, 5]])
    chosen = select_frequent_groups(top, [[0, 1], [4, 5], [2, 3]], number=3)
    assert chosen.units.tolist() == [1, 0, 5, 4] and chosen.counts.tolist() == [2, 1, 2, 1]
    # Units with larger numbers than all that occur.
    chosen = select_frequent_groups(np.array([[0, 2]]), [[0, 1], [2, 9]], number=2)
    assert chosen.units.tolist() == [0, 2] and chosen.counts.tolist() == [1, 1]
