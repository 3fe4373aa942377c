"""Training: the recipe's schedule, determinism, resuming at the exact batch, and sentences for what
cannot be trained.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core import networks, training
from core.errors import UserError
from core.interpretation import inference
from core.settings import TrainingSettings
from support.array_patches import Memory

SETTINGS = TrainingSettings(
    architecture="small",
    weights="none",
    epochs=3,
    batch=8,
    units=8,
    augment=True,
    learning_rate=1e-3,
)


def part(n: int, seed: int) -> training.Part:
    """Class = brightness, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return training.Part(
        Memory(
            (rng.integers(0, 60, (n, 1, 64, 64)) + 80 * y[:, None, None, None]).astype(np.uint8)
        ),
        y,
    )  # type: ignore[arg-type]


def train(
    folder: Path, settings: TrainingSettings = SETTINGS, stop_at: int | None = None
) -> tuple[list[dict], dict[str, torch.Tensor]]:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(settings.seed)
    network = networks.build("small", 3, units=8)

    def report(done: int, total: int, unit: str) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    history, _ = training.fit(network, part(36, 1), part(12, 2), settings, folder, report)
    return history, torch.load(folder / "last.pt", weights_only=True)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(v, b[k]) for k, v in a.items())


def losses(history: list[dict]) -> list[float]:
    return [row["loss"] for row in history]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    (first, a), (second, b) = train(tmp_path / "a"), train(tmp_path / "b")
    assert losses(first) == losses(second) and equal(a, b)
    assert not equal(a, train(tmp_path / "c", SETTINGS.model_copy(update={"seed": 2}))[1])


@pytest.mark.parametrize("stop_at", [2, 5, 7, 13])
def test_a_killed_training_continues_at_the_exact_batch(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)  # a resume point after every step
    whole, weights = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", stop_at=stop_at)
    continued, same = train(tmp_path / "cut")
    assert np.allclose(losses(continued), losses(whole), rtol=0, atol=1e-12)
    assert equal(same, weights)


def test_something_is_learned_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    history, last = train(
        tmp_path / "a",
        SETTINGS.model_copy(update={"epochs": 8, "optimizer": "adamw", "learning_rate": 5e-3}),
    )
    held = [row["accuracy"] for row in history if row["part"] == "holdout"]
    assert max(held) > 0.8
    best = training.best_epoch(history)
    assert best == int(np.argmax(held))
    assert equal(torch.load(tmp_path / "a" / "best.pt", weights_only=True), last) == (best == 7)


def test_the_released_learning_rates() -> None:
    paper = TrainingSettings()
    assert [training.learning_rate(paper, epoch, 0, 1) for epoch in range(6)] == pytest.approx(
        [1e-4] * 4 + [1e-5] * 2
    )
    cycle = TrainingSettings(optimizer="adamw", learning_rate=1.0)
    rates = [training.learning_rate(cycle, 0, step, 100) for step in range(101)]
    assert (
        rates[0] == pytest.approx(1 / 25)
        and max(rates) == pytest.approx(1.0)
        and rates[-1] < 1e-4
        and int(np.argmax(rates)) == 30
    )


def test_an_epoch_sees_every_patch_once_and_balanced_draws_are_balanced() -> None:
    labels = np.repeat([0, 1, 2], [900, 60, 40])
    assert sorted(training.epoch_order(labels, TrainingSettings(), 0)) == list(range(1000))
    drawn = labels[
        training.epoch_order(labels, TrainingSettings(sampling="balanced", draws=3000), 0)
    ]
    assert np.all(np.abs(np.bincount(drawn) / 3000 - 1 / 3) < 0.04)
    assert not np.array_equal(
        training.epoch_order(labels, TrainingSettings(), 0),
        training.epoch_order(labels, TrainingSettings(), 1),
    )
    assert (
        training.steps_per_epoch(65, TrainingSettings(batch=32)) == 2
    )  # a last batch of one cannot be normalised
    assert training.steps_per_epoch(66, TrainingSettings(batch=32)) == 3


def test_balanced_measures_weigh_classes_equally() -> None:
    network = networks.build("small", 3, units=8)
    with torch.no_grad():
        network.linear().weight.zero_()
        network.linear().bias.copy_(torch.tensor([5.0, 0.0, 0.0]))  # always says class 0
    held = training.Part(part(30, 3).reader, np.repeat([0, 1, 2], [24, 3, 3]))
    assert training.measure(network, held)[1] == pytest.approx(0.8)
    assert training.measure(network, held, balanced=True)[1] == pytest.approx(1 / 3)


def test_augmentation_only_turns_and_flips() -> None:
    torch.manual_seed(0)
    x = torch.arange(4 * 16, dtype=torch.uint8).view(4, 1, 4, 4)
    y = training.augmented(x)
    assert y.shape == x.shape and not torch.equal(x, y)
    assert torch.equal(y.flatten(1).sort(1).values, x.flatten(1).sort(1).values)


def test_what_cannot_be_trained_is_said(tmp_path: Path) -> None:
    network = networks.build("small", 3, units=8)
    missing = training.Part(part(36, 1).reader, np.zeros(36, int))
    with pytest.raises(UserError, match="no benign and no malignant patches"):
        training.fit(network, missing, part(12, 2), SETTINGS, tmp_path, lambda *_: None)
    with pytest.raises(UserError, match="holds no patches"):
        training.fit(
            network,
            training.Part(part(3, 1).reader, np.zeros(0, int)),
            part(12, 2),
            SETTINGS,
            tmp_path,
            lambda *_: None,
        )
    with torch.no_grad():
        network.linear().weight.fill_(float("nan"))
    with pytest.raises(
        UserError, match=r"loss is nan in epoch 1, step 1; lower training\.learning_rate"
    ):
        training.fit(network, part(36, 1), part(12, 2), SETTINGS, tmp_path / "nan", lambda *_: None)


def test_rotations_keep_the_middle_and_are_drawn_for_the_whole_batch() -> None:
    grid = torch.arange(32.0)
    disc = (
        (255 * ((grid[:, None] - 15.5) ** 2 + (grid - 15.5) ** 2 < 100))
        .to(torch.uint8)
        .expand(6, 1, 32, 32)
    )
    torch.manual_seed(0)
    turned = training.rotated(disc, 30.0)
    assert (turned - disc.float()).abs().mean() < 6 and not torch.equal(
        turned, disc.float()
    )  # a disc stays a disc
    ramp = grid.expand(6, 1, 32, 32)
    torch.manual_seed(0)
    whole = training.rotated(ramp, 20.0)
    slopes = whole[:, 0, 15, 17] - whole[:, 0, 15, 14]
    assert (
        (slopes <= 3 + 1e-4).all()
        and (slopes >= 3 * np.cos(np.radians(20)) - 1e-3).all()
        and slopes.std() > 0
    )
    torch.manual_seed(0)
    assert torch.allclose(training.rotated(ramp[2:5], 20.0, 2, 6), whole[2:5])


def test_parts_of_a_batch_are_augmented_as_the_whole_batch_is() -> None:
    x = torch.arange(11 * 16, dtype=torch.uint8).view(11, 1, 4, 4)
    torch.manual_seed(4)
    whole = training.augmented(x)
    for first, last in ((0, 11), (0, 5), (5, 11), (4, 5), (9, 11)):
        torch.manual_seed(4)
        assert torch.equal(training.augmented(x[first:last], first, 11), whole[first:last])
    torch.manual_seed(4)
    slow = torch.cat(
        [
            torch.rot90(p.flip(-1) if flip else p, turns, (2, 3))
            for p in x.chunk(4)
            for turns, flip in [(int(torch.randint(4, ())), bool(torch.rand(()) < 0.5))]
        ]
    )
    assert torch.equal(slow, whole)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
def test_the_area_is_the_share_of_pairs_in_order(pairs: list[tuple[bool, int]]) -> None:
    positive, score = np.array([p for p, _ in pairs]), np.array([s for _, s in pairs], float)
    slow = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a in score[positive] for b in score[~positive]
    ]
    found = training.rank_auc(positive, score)
    assert found is None if not slow else found == pytest.approx(np.mean(slow))


def test_bfloat16_learns_resumes_and_says_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity: the same weights in both formats.

    Measured on the demonstration's trained network: largest |p difference| .020, mean .0008
    (docs/guides/training.md).
    """
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    settings = SETTINGS.model_copy(
        update={
            "epochs": 6,
            "optimizer": "adamw",
            "learning_rate": 5e-3,
            "precision": "bfloat16",
            "augment": False,
        }
    )

    def fitted(folder: Path, stop_at: int | None = None) -> tuple[networks.Classifier, list[dict]]:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(1)
        network = networks.build("small", 3, units=8)
        network.precision = settings.precision

        def report(done: int, total: int, unit: str) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        return network, training.fit(network, part(36, 1), part(12, 2), settings, folder, report)[0]

    network, history = fitted(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "b", stop_at=8)
    assert equal(fitted(tmp_path / "b")[0].state(), network.state())
    assert max(row["accuracy"] for row in history if row["part"] == "holdout") > 0.8
    reader = part(120, 5).reader
    p = {}
    for precision in ("float32", "bfloat16"):
        network.precision = precision
        p[precision] = inference.predict(network, reader, lambda *_: None)
    apart = np.abs(p["float32"] - p["bfloat16"])
    print(
        f"bfloat16 against float32: largest |p difference| {apart.max():.4f}, mean"
        f" {apart.mean():.4f}"
    )
    assert 0 < apart.max() < 0.05 and apart.mean() < 0.005
    film = np.random.default_rng(1).integers(0, 256, (96, 80)).astype(np.uint8)
    for layer in ("last", "features.6"):
        probe = inference.Probe(network, layer)
        full = networks.to_fully_convolutional(network)
        assert inference.film_maps(full, probe, film).units.dtype == torch.float32
        assert inference.by_gradient(full, probe, film).dtype == np.float32
