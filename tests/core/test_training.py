"""Training: schedule, determinism, resuming at the exact batch, validation, rejected input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core import networks, training
from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.interpretation import inference
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram
from core.interpretation.mammogram_influence import gradient_influence
from core.settings import TrainingSettings
from core.training import LabeledPatches
from support.array_patches import ArrayPatches, no_progress

TWO_OUTPUTS = MAMMOGRAPHY.with_outputs(2)

SETTINGS = TrainingSettings(
    architecture="small",
    weights="none",
    epochs=3,
    batch=8,
    units=8,
    augment=True,
    learning_rate=1e-3,
)


def labeled_patches(n: int, seed: int) -> LabeledPatches:
    """Return patches whose brightness is their class, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.integers(0, 60, (n, 1, 64, 64)) + 80 * y[:, None, None, None]
    return LabeledPatches(ArrayPatches(x.astype(np.uint8)), y)  # type: ignore[arg-type]


def train(
    folder: Path, settings: TrainingSettings = SETTINGS, stop_at: int | None = None
) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """Train and return the history and the last weights; raise KeyboardInterrupt at a step."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(settings.seed)
    network = networks.build("small", 3, units=8)
    history = train_until(network, settings, folder, stop_at)
    return history, torch.load(folder / "last.pt", weights_only=True)


def train_until(
    network: networks.Classifier, settings: TrainingSettings, folder: Path, stop_at: int | None
) -> list[dict]:
    def report(done: int, total: int, unit: str) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    patches, holdout = labeled_patches(36, 1), labeled_patches(12, 2)
    return training.train_classifier(network, patches, holdout, settings, folder, report)[0]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(v, b[k]) for k, v in a.items())


def losses(history: list[dict]) -> list[float]:
    return [row["loss"] for row in history]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """History and last weights of a training that was not interrupted."""
    return train(tmp_path_factory.mktemp("whole"))


def test_weights_depend_on_the_seed_only(
    whole: tuple[list[dict], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    (first, a), (second, b) = whole, train(tmp_path / "b")
    assert losses(first) == losses(second) and equal(a, b)
    assert not equal(a, train(tmp_path / "c", SETTINGS.model_copy(update={"seed": 2}))[1])


@pytest.mark.parametrize("stop_at", [2, 5, 7, 13])
def test_interrupted_training_resumes_at_the_exact_batch(
    stop_at: int,
    whole: tuple[list[dict], dict[str, torch.Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "SAVE_INTERVAL_S", 0.0)  # a resume point after every step
    history, weights = whole
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", stop_at=stop_at)
    resumed, resumed_weights = train(tmp_path / "cut")
    assert np.allclose(losses(resumed), losses(history), rtol=0, atol=1e-12)
    assert equal(resumed_weights, weights)


def test_best_epoch_is_saved(tmp_path: Path) -> None:
    history, last = train(
        tmp_path / "a",
        SETTINGS.model_copy(update={"epochs": 8, "optimizer": "adamw", "learning_rate": 5e-3}),
    )
    accuracies = [row["accuracy"] for row in history if row["part"] == "holdout"]
    assert max(accuracies) > 0.8
    best = training.best_epoch(history)
    assert best == int(np.argmax(accuracies))
    assert equal(torch.load(tmp_path / "a" / "best.pt", weights_only=True), last) == (best == 7)


def test_published_learning_rates() -> None:
    paper = TrainingSettings()
    rates = [training.learning_rate(paper, epoch, 0, 1) for epoch in range(6)]
    assert rates == pytest.approx([1e-4] * 4 + [1e-5] * 2)


def test_one_cycle() -> None:
    settings = TrainingSettings(optimizer="adamw", learning_rate=1.0)
    rates = [training.learning_rate(settings, 0, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25) and rates[-1] < 1e-4
    assert max(rates) == pytest.approx(1.0) and int(np.argmax(rates)) == 30


def test_one_cycle_leads_torch_by_one_step() -> None:
    """PyTorch's schedule reaches its peak and its end one step earlier (see `one_cycle`)."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=1000, cycle_momentum=False
    )
    rates = []
    for _ in range(1000):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step() if len(rates) < 1000 else None
    own = [training.one_cycle(step, 1000, 1.0) for step in range(1001)]
    assert int(np.argmax(rates)) == 299 and int(np.argmax(own)) == 300
    assert rates[-1] == pytest.approx(own[-1], rel=1e-6)
    assert np.abs(np.array(rates) - own[:-1]).max() < 0.006


def test_epoch_order() -> None:
    labels = np.repeat([0, 1, 2], [900, 60, 40])
    paper = TrainingSettings()
    assert sorted(training.epoch_order(labels, paper, 0)) == list(range(1000))
    balanced = TrainingSettings(sampling="balanced", draws=3000)
    drawn = labels[training.epoch_order(labels, balanced, 0)]
    assert np.all(np.abs(np.bincount(drawn) / 3000 - 1 / 3) < 0.04)
    first, second = (training.epoch_order(labels, paper, epoch) for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_last_batch_of_one_is_dropped() -> None:
    assert training.steps_per_epoch(65, TrainingSettings(batch=32)) == 2
    assert training.steps_per_epoch(66, TrainingSettings(batch=32)) == 3


def test_balanced_validation_weighs_classes_equally() -> None:
    network = networks.build("small", 3, units=8)
    with torch.no_grad():  # predicts class 0 for every patch
        network.last_linear().weight.zero_()
        network.last_linear().bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    holdout = LabeledPatches(labeled_patches(30, 3).reader, np.repeat([0, 1, 2], [24, 3, 3]))
    assert training.validate_epoch(network, holdout)[1] == pytest.approx(0.8)
    assert training.validate_epoch(network, holdout, balanced=True)[1] == pytest.approx(1 / 3)


def test_augmentation_permutes_pixels() -> None:
    torch.manual_seed(0)
    x = torch.arange(4 * 16, dtype=torch.uint8).view(4, 1, 4, 4)
    y = training.augment_flips(x)
    assert y.shape == x.shape and not torch.equal(x, y)
    assert torch.equal(y.flatten(1).sort(1).values, x.flatten(1).sort(1).values)


def test_part_of_a_batch_is_augmented_as_in_the_whole() -> None:
    # The quarters of 13 patches hold 4, 4, 4 and 1.
    x = torch.arange(13 * 16, dtype=torch.uint8).view(13, 1, 4, 4)
    torch.manual_seed(4)
    whole = training.augment_flips(x)
    for first, last in ((0, 13), (0, 5), (5, 13), (4, 5), (11, 13)):
        torch.manual_seed(4)
        assert torch.equal(training.augment_flips(x[first:last], first, 13), whole[first:last])
    torch.manual_seed(4)
    slow = torch.cat(
        [
            torch.rot90(p.flip(-1) if flip else p, turns, (2, 3))
            for p in x.chunk(4)
            for turns, flip in [(int(torch.randint(4, ())), bool(torch.rand(()) < 0.5))]
        ]
    )
    assert torch.equal(slow, whole)


def test_rotation_keeps_a_disc() -> None:
    grid = torch.arange(32.0)
    disc = 255 * ((grid[:, None] - 15.5) ** 2 + (grid - 15.5) ** 2 < 100)
    disc = disc.to(torch.uint8).expand(6, 1, 32, 32)
    torch.manual_seed(0)
    rotated = training.augment_rotation(disc, 30.0)
    assert (rotated - disc.float()).abs().mean() < 6 and not torch.equal(rotated, disc.float())


def test_rotation_is_drawn_for_the_whole_batch() -> None:
    ramp = torch.arange(32.0).expand(6, 1, 32, 32)
    torch.manual_seed(0)
    whole = training.augment_rotation(ramp, 20.0)
    slopes = whole[:, 0, 15, 17] - whole[:, 0, 15, 14]
    assert (slopes <= 3 + 1e-4).all() and slopes.std() > 0
    assert (slopes >= 3 * np.cos(np.radians(20)) - 1e-3).all()
    torch.manual_seed(0)
    assert torch.allclose(training.augment_rotation(ramp[2:5], 20.0, 2, 6), whole[2:5])


def test_unusable_training_data_are_rejected(tmp_path: Path) -> None:
    network = networks.build("small", 3, units=8)
    holdout = labeled_patches(12, 2)
    one_class = LabeledPatches(labeled_patches(36, 1).reader, np.zeros(36, int))
    with pytest.raises(UserError, match="no benign and no malignant patches"):
        training.train_classifier(network, one_class, holdout, SETTINGS, tmp_path, no_progress)
    empty = LabeledPatches(labeled_patches(3, 1).reader, np.zeros(0, int))
    with pytest.raises(UserError, match="holds no patches"):
        training.train_classifier(network, empty, holdout, SETTINGS, tmp_path, no_progress)


def test_loss_that_is_not_finite_stops_training(tmp_path: Path) -> None:
    network = networks.build("small", 3, units=8)
    with torch.no_grad():
        network.last_linear().weight.fill_(float("nan"))
    with pytest.raises(
        UserError, match=r"loss is nan in epoch 1, step 1; lower training\.learning_rate"
    ):
        train_until(network, SETTINGS, tmp_path / "nan", None)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=40))
def test_history_auc_is_the_share_of_ordered_pairs(pairs: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in pairs])
    score = np.array([score for _, score in pairs], float)
    slow = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in score[labels == 1]
        for b in score[labels == 0]
    ]
    auc = training.class_aucs(labels, np.stack([-score, score], 1), TWO_OUTPUTS)["auc_malignant"]
    assert auc is None if not slow else auc == pytest.approx(np.mean(slow))


def test_history_auc_of_scores_that_are_not_numbers() -> None:
    probabilities = np.array([[0.5, 0.5], [0.5, np.nan]])
    aucs = training.class_aucs(np.array([0, 1]), probabilities, TWO_OUTPUTS)
    assert aucs == {"auc_malignant": None}


def test_bfloat16_parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train and resume in bfloat16; the same weights predict nearly the same in both formats.

    Measured on the demonstration's trained network: largest |p difference| .020, mean .0008
    (docs/guides/training.md).
    """
    monkeypatch.setattr(training, "SAVE_INTERVAL_S", 0.0)
    settings = SETTINGS.model_copy(
        update={
            "epochs": 6,
            "optimizer": "adamw",
            "learning_rate": 5e-3,
            "precision": "bfloat16",
            "augment": False,
        }
    )

    def train_bfloat16(
        folder: Path, stop_at: int | None = None
    ) -> tuple[networks.Classifier, list[dict]]:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(1)
        network = networks.build("small", 3, units=8)
        network.precision = settings.precision
        return network, train_until(network, settings, folder, stop_at)

    network, history = train_bfloat16(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        train_bfloat16(tmp_path / "b", stop_at=8)
    resumed, _ = train_bfloat16(tmp_path / "b")
    assert equal(resumed.checkpoint_state(), network.checkpoint_state())
    assert max(row["accuracy"] for row in history if row["part"] == "holdout") > 0.8
    reader = labeled_patches(120, 5).reader
    p = {}
    for precision in ("float32", "bfloat16"):
        network.precision = precision
        p[precision] = inference.predict_probabilities(network, reader, no_progress)
    difference = np.abs(p["float32"] - p["bfloat16"])
    print(
        f"bfloat16 against float32: largest |p difference| {difference.max():.4f}, mean"
        f" {difference.mean():.4f}"
    )
    assert 0 < difference.max() < 0.05 and difference.mean() < 0.005
    mammogram = np.random.default_rng(1).integers(0, 256, (96, 80)).astype(np.uint8)
    full = networks.to_fully_convolutional(network)
    for layer in ("last", "features.6"):
        probe = FeatureProbe(network, layer)
        assert forward_mammogram(full, probe, mammogram).units.dtype == torch.float32
        assert gradient_influence(full, probe, mammogram).dtype == np.float32


def test_loss_of_an_epoch_weighs_batches_by_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 21 patches in batches of 8, 8 and 5.
    steps = iter([(1.0, 3), (2.0, 4), (4.0, 5)])
    monkeypatch.setattr(training, "_train_step", lambda *_: next(steps))
    network = networks.build("small", 3, units=8)
    settings = SETTINGS.model_copy(update={"epochs": 1})
    history, _ = training.train_classifier(
        network, labeled_patches(21, 1), labeled_patches(0, 2), settings, tmp_path, no_progress
    )
    assert len(history) == 1
    assert history[0]["loss"] == pytest.approx((8 * 1.0 + 8 * 2.0 + 5 * 4.0) / 21)
    assert history[0]["accuracy"] == pytest.approx((3 + 4 + 5) / 21)


def test_every_seed_epoch_and_step_draws_another_augmentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    augment = training._augment

    def record(*arguments, **options):
        drawn.append(float(torch.rand(1)))
        return augment(*arguments, **options)

    monkeypatch.setattr(training, "_augment", record)
    for seed in (1, 2):
        train(tmp_path / str(seed), SETTINGS.model_copy(update={"seed": seed, "epochs": 2}))
    # 36 patches in batches of 8 are 5 steps an epoch.
    assert len(drawn) == 2 * 2 * 5 == len(set(drawn))


def test_statistics_of_batch_normalisation_are_averaged_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged: list[list[torch.Tensor]] = []
    monkeypatch.setattr(training.distributed, "all_reduce_mean", averaged.append)
    network = networks.build("small", 3, units=8)
    settings = SETTINGS.model_copy(update={"epochs": 2})
    train_until(network, settings, tmp_path, None)
    statistics = {
        id(buffer): name
        for name, buffer in network.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }
    assert len(averaged) == 2 and len(statistics) > 1
    for buffers in averaged:
        assert sorted(map(id, buffers)) == sorted(statistics)
