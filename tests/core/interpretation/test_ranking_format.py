"""Number format of the ranking pass: how it is chosen and compared, and what it changes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from core import networks
from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.interpretation import ranking_format
from core.interpretation.dissection import TopPatches, compute_top_patches
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.ranking_format import (
    FormatComparison,
    RankingFormat,
    choose_ranking_format,
    compare_formats,
    draw_sample,
    keep_largest,
    load_or_choose_format,
    number_format,
    rank_patches,
)
from support.array_patches import ArrayPatches, no_progress

LARGE = ranking_format.LEAST_PATCHES
EQUAL = FormatComparison(
    patches=1024,
    auc_differences={"normal": 0.0, "benign": 0.001, "malignant": 0.0002},
    shared_top=1.0,
    same_selection=True,
)


@pytest.fixture
def network() -> networks.Classifier:
    torch.manual_seed(0)
    network = networks.build("small", 3, units=12).requires_grad_(False).eval()
    network.fuse()
    return network


@pytest.fixture
def reader() -> ArrayPatches:
    """150 patches of different brightness and contrast."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(150, 1, 64, 64)) * rng.uniform(5, 60, (150, 1, 1, 1))
    x = noise + rng.uniform(40, 200, (150, 1, 1, 1))
    return ArrayPatches(x.clip(0, 255).astype(np.uint8))


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with bfloat16."""
    monkeypatch.setattr(ranking_format, "computes_bfloat16", lambda device: True)


def never() -> FormatComparison:
    raise AssertionError("compared without need")


def test_constants() -> None:
    """The sample needs half of the margin at most; the comparison costs a tenth at most."""
    assert (ranking_format.SAMPLE_PATCHES, LARGE) == (1024, 16384)
    assert ranking_format.CANDIDATE_COUNT == 64 + 64
    assert ranking_format.SAMPLE_CANDIDATES == 64 + 64 // 2


def test_bfloat16_is_chosen_where_all_criteria_hold(
    network: networks.Classifier, processor: None
) -> None:
    chosen = choose_ranking_format("auto", network, LARGE, lambda: EQUAL)
    assert chosen.format == "bfloat16" and chosen.comparison == asdict(EQUAL)
    assert chosen.reason == "a sample of the patches gives the same ranking and selection"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"auc_differences": {"normal": 0.0, "benign": 0.0011}},
            "the AUC of benign differs by 0.00110 on the sample",
        ),
        (
            {"auc_differences": {"normal": float("nan")}},
            "the AUC of normal differs by nan on the sample",
        ),
        ({"auc_differences": {"malignant": None}}, "the sample gives no AUC of malignant"),
        ({"shared_top": 63 / 64}, "a unit shares only 98.4 % of its top patches"),
        ({"same_selection": False}, "other units would be selected on the sample"),
    ],
)
def test_each_criterion_refuses_bfloat16(
    network: networks.Classifier, processor: None, change: dict[str, Any], reason: str
) -> None:
    comparison = replace(EQUAL, **change)
    chosen = choose_ranking_format("auto", network, LARGE, lambda: comparison)
    assert (chosen.format, chosen.reason) == ("float32", reason)
    # The record holds what was measured, also where it speaks against bfloat16.
    assert chosen.comparison is not None and set(chosen.comparison) == set(asdict(EQUAL))


def test_a_small_study_is_not_compared(network: networks.Classifier, processor: None) -> None:
    chosen = choose_ranking_format("auto", network, LARGE - 1, never)
    reason = "16,383 patches are fewer than 16,384, from which the comparison of formats pays"
    assert chosen == RankingFormat(format="float32", reason=reason)


def test_a_processor_without_bfloat16_is_not_compared(
    network: networks.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking_format, "computes_bfloat16", lambda device: False)
    chosen = choose_ranking_format("auto", network, LARGE, never)
    reason = "the processor has no bfloat16 instructions"
    assert chosen == RankingFormat(format="float32", reason=reason)
    # One machine of several is enough.
    monkeypatch.setattr(ranking_format, "computes_bfloat16", lambda device: True)
    monkeypatch.setattr(ranking_format.distributed, "all_gather_call", lambda work: [work(), False])
    assert choose_ranking_format("auto", network, LARGE, never) == chosen


@pytest.mark.parametrize("setting", ["float32", "bfloat16"])
def test_a_set_format_is_taken_as_it_is(network: networks.Classifier, setting: str) -> None:
    chosen = choose_ranking_format(setting, network, 5, never)
    assert chosen == RankingFormat(format=setting, reason="set by dissection.ranking_format")


@pytest.mark.parametrize("setting", ["auto", "float32", "bfloat16"])
def test_a_network_in_bfloat16_ranks_in_it(network: networks.Classifier, setting: str) -> None:
    network.precision = "bfloat16"
    chosen = choose_ranking_format(setting, network, LARGE, never)
    assert chosen.format == "bfloat16" and "training.precision" in chosen.reason


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "avx512_bf16": False}, True),
        ({"bf16": True, "neon": True}, True),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({}, False),
    ],
)
def test_processors(
    capabilities: dict[str, bool], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert ranking_format.computes_bfloat16(torch.device("cpu")) is has


@pytest.mark.parametrize("has", [True, False])
def test_emulation_on_a_gpu_does_not_count(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or has
    )
    assert ranking_format.computes_bfloat16(torch.device("cuda")) is has


def test_sample() -> None:
    patches = pd.DataFrame({"patch_id": np.arange(5000)})
    sample = draw_sample(patches, 3)["patch_id"]
    assert len(sample) == 1024 and sample.is_monotonic_increasing and sample.is_unique
    assert not sample.equals(draw_sample(patches, 4)["patch_id"])
    assert len(draw_sample(patches[:9], 3)) == 9


def test_number_format_is_restored(network: networks.Classifier) -> None:
    before = network.precision, network.fused, network.inference
    assert network.inference["form"] == "fused"
    with pytest.raises(UserError), number_format(network, "bfloat16"):
        assert network.precision == "bfloat16" and network.fused is not before[1]
        assert network.fused is not None and network.fused.dtype == torch.bfloat16
        raise UserError("x")
    assert (network.precision, network.fused, network.inference) == before
    with number_format(network, "float32"):
        assert network.fused is before[1]


def test_comparison_by_hand(network: networks.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 patches of two units; the rounded activations put the 64th patch of unit 1 lower."""
    labels = np.arange(200) % 3
    rng = np.random.default_rng(1)
    exact = np.stack([rng.permutation(200), rng.permutation(200)], 1).astype(np.float32)
    p = rng.dirichlet(np.ones(3), 200)
    rounded, q = exact.copy(), p.copy()
    by_rank = np.argsort(-exact[:, 1])
    q[labels == 2, 2] += 0.05
    expected_auc = roc_auc_score(labels == 2, q[:, 2]) - roc_auc_score(labels == 2, p[:, 2])
    selected = []

    def compare() -> FormatComparison:
        results = iter([(exact, p), (rounded, q)])
        monkeypatch.setattr(ranking_format, "_forward_sample", lambda *_: next(results))

        def selection(activations: np.ndarray, top: TopPatches) -> list[int]:
            selected.append((activations, top))
            return activations[:, 0].argsort()[:3].tolist()

        probe = FeatureProbe(network, "last")
        reader = ArrayPatches(np.zeros((200, 1, 64, 64), np.uint8))
        return compare_formats(probe, reader, labels, MAMMOGRAPHY, selection, no_progress)

    # Patches up to rank 96 are candidates, among which float32 decides.
    for rank, shared in ((95, 1.0), (96, 63 / 64)):
        rounded[:, 1] = exact[:, 1]
        rounded[by_rank[63], 1] = exact[by_rank[rank], 1] - 0.5
        comparison = compare()
        assert (comparison.patches, comparison.shared_top) == (200, shared)
        assert comparison.same_selection
    assert comparison.auc_differences["normal"] == comparison.auc_differences["benign"] == 0
    assert comparison.auc_differences["malignant"] == pytest.approx(expected_auc)
    assert expected_auc > ranking_format.LARGEST_AUC_DIFFERENCE
    # The selection sees the activations and top patches of either format.
    assert selected[2][0] is exact and selected[3][0] is rounded
    assert np.array_equal(selected[2][1].rows, compute_top_patches(exact).rows)
    assert not np.array_equal(selected[3][1].rows, selected[2][1].rows)
    rounded[:, 0] = -exact[:, 0]
    assert not compare().same_selection
    labels = np.zeros(200, int)
    assert compare().auc_differences["malignant"] is None


@pytest.mark.parametrize("layer", ["last", "features.6"])
def test_comparison_of_a_network(
    network: networks.Classifier, reader: ArrayPatches, layer: str
) -> None:
    reports: list[tuple[int, int, str]] = []
    maxima: list[np.ndarray] = []

    def selection(activations: np.ndarray, top: TopPatches) -> bool:
        maxima.append(activations)
        return top.rows.shape[1] == 64

    labels = np.arange(150) % 3
    fused = network.fused
    comparison = compare_formats(
        FeatureProbe(network, layer),
        reader,
        labels,
        MAMMOGRAPHY,
        selection,
        lambda *report: reports.append(report),
    )
    assert comparison.patches == 150 and comparison.same_selection
    assert list(comparison.auc_differences) == ["normal", "benign", "malignant"]
    exact, rounded = maxima
    with torch.inference_mode(), FeatureProbe(network, layer).attached() as probe:
        expected = probe.forward(torch.from_numpy(reader.x))[0].amax((2, 3)).numpy()
    np.testing.assert_allclose(exact, expected, rtol=1e-4, atol=1e-5)
    # bfloat16 has 8 significant bits: near, and not the same computation twice.
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 1e-4 < error < 0.03
    assert (network.precision, network.fused) == ("float32", fused)
    ends = [64, 128, 150]
    assert reports == [
        (end, 150, f"patches compared in {name}")
        for name in ("float32", "bfloat16")
        for end in ends
    ]


@pytest.mark.parametrize("layer", ["last", "features.6"])
def test_float32_decides_among_the_candidates(
    network: networks.Classifier, reader: ArrayPatches, layer: str, tmp_path: Path
) -> None:
    """Top patches, activations and maps are those of float32; the pass itself is in bfloat16."""
    ranked = {}
    for name in ("float32", "bfloat16"):
        probe, path = FeatureProbe(network, layer), tmp_path / f"{name}.npy"
        ranked[name] = rank_patches(probe, reader, path, "float32", name, no_progress)
    (top, maps, record), (same, same_maps, of_candidates) = ranked.values()
    assert record == {"inference": network.inference, "candidates": None}
    assert of_candidates["candidates"] == 128
    # The worst place of a top patch in the order that the pass itself gives.
    order = np.argsort(-np.load(tmp_path / "bfloat16.npy"), axis=0, kind="stable")
    needed = max(
        order[:, unit].tolist().index(row) + 1 for unit, rows in enumerate(top.rows) for row in rows
    )
    assert 64 < of_candidates["candidates_needed"] == needed <= 128
    assert of_candidates["inference"]["difference"] > 100 * network.inference["difference"]
    assert np.array_equal(top.rows, same.rows) and top.rows.shape == (len(top.rows), 64)
    np.testing.assert_allclose(same.values, top.values, rtol=1e-5, atol=1e-6)
    assert same.values.dtype == np.float32 and same_maps.dtype == np.float16
    np.testing.assert_allclose(same_maps, maps, rtol=1e-3, atol=1e-3)
    assert (network.precision, network.fused is not None) == ("float32", True)
    stored, shorter = (np.load(tmp_path / f"{name}.npy") for name in ranked)
    difference = np.abs(stored - shorter).max() / np.abs(stored).max()
    assert 1e-4 < difference < 0.03
    # The pass alone would rank otherwise.
    assert not np.array_equal(compute_top_patches(shorter).rows, top.rows)


def test_kept_candidates_by_hand() -> None:
    candidates = TopPatches(
        np.array([[5, 3, 8, 1], [2, 9, 4, 7]]), np.array([[1.0, 4, 4, 2], [0, 0, 0, 0]])
    )
    kept = keep_largest(candidates, 3)
    assert kept.rows.tolist() == [[3, 8, 1], [2, 4, 7]]
    assert kept.values.tolist() == [[4, 4, 2], [0, 0, 0]]


def test_an_interrupted_pass_keeps_its_format(tmp_path: Path) -> None:
    path = tmp_path / "resume-ranking.json"
    chosen = RankingFormat(format="bfloat16", reason="x", comparison=asdict(EQUAL))
    assert load_or_choose_format(path, lambda: chosen) is chosen
    assert json.loads(path.read_text()) == asdict(chosen)
    other = RankingFormat(format="float32", reason="another machine")
    assert load_or_choose_format(path, lambda: other) == chosen
