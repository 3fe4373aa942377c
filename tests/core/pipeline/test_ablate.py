"""Sample of test patches for networks where every ablation is another forward pass."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core.pipeline import ablate


def patch_table(lesions: int, others: int) -> pd.DataFrame:
    labels = np.random.default_rng(0).permutation([1, 2] * (lesions // 2) + [0] * others)
    return pd.DataFrame({"patch_id": np.arange(len(labels)), "label": labels})


@pytest.mark.parametrize(
    ("lesions", "others", "drawn"),
    [(4, 30, (4, 6)), (30, 30, (5, 5)), (30, 2, (5, 2)), (6, 4, (6, 4))],
)
def test_half_of_the_sample_shows_findings(
    lesions: int, others: int, drawn: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate, "FORWARD_PATCHES", 10)
    network = SimpleNamespace(single_linear=True)
    table = patch_table(lesions, others)
    sample = ablate.sample_test_patches(table, network, "layer4")  # type: ignore[arg-type]
    is_lesion = sample["label"] > 0
    assert (is_lesion.sum(), (~is_lesion).sum()) == drawn
    assert sample["patch_id"].is_monotonic_increasing and sample["patch_id"].is_unique
    assert list(sample.index) == list(range(len(sample)))
    again = ablate.sample_test_patches(table, network, "layer4")  # type: ignore[arg-type]
    assert sample.equals(again)


@pytest.mark.parametrize(
    ("single", "layer", "is_exact"), [(True, "last", True), (False, "last", False)]
)
def test_exact_ablation_takes_all_patches(
    single: bool, layer: str, is_exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate, "FORWARD_PATCHES", 10)
    network = SimpleNamespace(single_linear=single)
    table = patch_table(20, 20)
    sample = ablate.sample_test_patches(table, network, layer)  # type: ignore[arg-type]
    assert len(sample) == (40 if is_exact else 10)


@pytest.mark.parametrize(("is_exact", "draws", "orders"), [(True, 40, 20), (False, 3, 1)])
def test_number_of_random_sets_and_orders(is_exact: bool, draws: int, orders: int) -> None:
    """Few where each is another forward pass."""
    ablation = SimpleNamespace(
        exact=is_exact,
        means=np.arange(1.0, 13.0).reshape(2, 6),
        logits=np.zeros((2, 2)),
        logits_with_units_zeroed=lambda units: np.full((2, 2), float(len(units))),
    )
    units = np.array([4, 1])
    found = ablate._ablate_set(ablation, 2, 1, "selected", units)  # type: ignore[arg-type]
    assert len(found.random) == draws and found.units == 2
    steps = list(
        ablate._delete_in_order(ablation, 2, 1, np.arange(6.0), np.array([True, False]))  # type: ignore[arg-type]
    )
    assert [step.step for step in steps] == [0, 1, 2, 4, 6]
    assert [step.random_means for step in steps] == [[float(n)] * orders for n in (0, 1, 2, 4, 6)]
