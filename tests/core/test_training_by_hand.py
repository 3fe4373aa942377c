"""Training against literal loops and formulas: weights, history, progress, validation."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from core import networks, training
from core.class_labels import MAMMOGRAPHY
from core.settings import TrainingSettings
from core.training import LabeledPatches
from support.array_patches import ArrayPatches, no_progress

SMALL = TrainingSettings(
    architecture="small", weights="none", epochs=2, batch=8, units=8, learning_rate=0.01, seed=5
)
# 21 patches: 5 normal, 9 benign, 7 malignant. Epochs have batches of 8, 8 and 5.
LABELS = np.array([2, 1, 1, 0, 2, 1, 0, 1, 1, 2, 2, 1, 0, 1, 2, 0, 1, 2, 1, 0, 2])


def patches(labels: np.ndarray, seed: int) -> LabeledPatches:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 200, (len(labels), 1, 64, 64)) + 25 * labels[:, None, None, None]
    return LabeledPatches(ArrayPatches(x.astype(np.uint8)), labels)  # type: ignore[arg-type]


def small_network() -> networks.Classifier:
    torch.manual_seed(3)
    return networks.build("small", 3, units=8)


def train_by_hand(
    network: networks.Classifier, data: LabeledPatches, settings: TrainingSettings
) -> list[tuple[float, float, float]]:
    """Train with plain steps and return (mean loss, accuracy, last learning rate) of each epoch."""
    n, parameters = len(data.labels), list(network.parameters())
    steps = math.ceil(n / settings.batch)
    velocity = [torch.zeros_like(p) for p in parameters]
    adamw = torch.optim.AdamW(parameters, lr=1.0, weight_decay=settings.weight_decay)
    epochs = []
    for epoch in range(settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(n)
        losses, correct = 0.0, 0
        for step in range(steps):
            network.train()
            if settings.freeze_batchnorm:
                for module in network.modules():
                    if isinstance(module, torch.nn.BatchNorm2d):
                        module.eval()
            seeds = np.random.SeedSequence([settings.seed, epoch, step]).generate_state(1)
            torch.manual_seed(int(seeds[0]))
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            y = torch.from_numpy(data.labels[rows])
            logits = network(torch.from_numpy(data.reader.batch(rows)))
            # Smoothing: the target is (1 - s) of the class and s / 3 of every class.
            s, log_p = settings.label_smoothing, logits.log_softmax(1)
            target = (1 - s) * F.one_hot(y, 3) + s / 3
            loss = -(target * log_p).sum(1).mean()
            gradients = torch.autograd.grad(loss, parameters)
            if settings.optimizer == "sgd":
                rate = settings.learning_rate * (0.1 if epoch >= settings.decay_epoch >= 0 else 1)
                with torch.no_grad():
                    for p, v, g in zip(parameters, velocity, gradients):
                        v.mul_(settings.momentum).add_(g + settings.weight_decay * p)
                        p.sub_(rate * v)
            else:
                rate = cosine_rate(epoch * steps + step, settings.epochs * steps)
                adamw.param_groups[0]["lr"] = rate * settings.learning_rate
                rate *= settings.learning_rate
                for p, g in zip(parameters, gradients):
                    p.grad = g
                adamw.step()
            losses += float(loss.detach()) * len(rows)
            correct += int((logits.argmax(1) == y).sum())
        epochs.append((losses / n, correct / n, rate))
    return epochs


def cosine_rate(step: int, total: int) -> float:
    """Rise from .04 to 1 over 30 % of the steps, then fall to 4e-6, both as half a cosine."""
    share = step / total
    if share < 0.3:
        return 0.04 + 0.96 * (0.5 - 0.5 * math.cos(math.pi * share / 0.3))
    return 4e-6 + (1 - 4e-6) * (0.5 + 0.5 * math.cos(math.pi * (share - 0.3) / 0.7))


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.7, "weight_decay": 0.02, "decay_epoch": 1, "label_smoothing": 0.2},
        {"momentum": 0.9, "decay_epoch": -1, "freeze_batchnorm": True},
        {"optimizer": "adamw", "weight_decay": 0.3, "learning_rate": 0.002},
    ],
)
def test_training_equals_a_plain_loop(changes: dict, tmp_path: Path) -> None:
    settings, data = SMALL.model_copy(update=changes), patches(LABELS, 1)
    network, slow = small_network(), small_network()
    expected = train_by_hand(slow, data, settings)
    calls: list[tuple[int, int, str]] = []
    history, best = training.train_classifier(
        network, data, patches(LABELS[:0], 2), settings, tmp_path, lambda *c: calls.append(c)
    )
    assert calls == [(step, 6, "steps") for step in range(1, 7)]
    assert best == 1 and [row["epoch"] for row in history] == [0, 1]
    for row, (loss, accuracy, rate) in zip(history, expected, strict=True):
        assert row.pop("seconds") >= 0
        assert row["loss"] == pytest.approx(loss, rel=1e-4)
        assert row["learning_rate"] == pytest.approx(rate, rel=1e-12)
        assert row["accuracy"] == accuracy and row["part"] == "train"
        assert list(row) == [
            *("epoch", "part", "loss", "accuracy", "learning_rate"),
            *("auc_normal", "auc_benign", "auc_malignant"),
        ]
        assert [row[f"auc_{name}"] for name in MAMMOGRAPHY.names] == [None] * 3
    state = slow.state_dict()
    for name, weights in network.state_dict().items():
        assert torch.allclose(weights.float(), state[name].float(), atol=2e-4, rtol=1e-3), name
    stored = torch.load(tmp_path / "last.pt", weights_only=True)
    assert all(torch.equal(v, network.checkpoint_state()[k]) for k, v in stored.items())


def test_rows_of_validation_and_the_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.25, 0.75, 0.75, 0.5])
    aucs = {"auc_normal": 0.6, "auc_benign": None, "auc_malignant": 0.9}
    balanced: list[bool] = []

    def validate(network: object, holdout: LabeledPatches, is_balanced: bool) -> tuple:
        balanced.append(is_balanced)
        return 1.5, next(accuracies), dict(aucs)

    weights: dict[str, list[dict]] = {"best.pt": [], "last.pt": [], "resume.pt": []}
    save = training._save

    def record(path: Path, content: dict) -> None:
        weights[path.name].append(copy.deepcopy(content))
        save(path, content)

    monkeypatch.setattr(training, "validate_epoch", validate)
    monkeypatch.setattr(training, "_save", record)
    settings = SMALL.model_copy(update={"epochs": 4, "sampling": "balanced", "draws": 17})
    network = small_network()
    calls: list[tuple[int, int, str]] = []
    history, best = training.train_classifier(
        network,
        patches(LABELS, 1),
        patches(LABELS, 2),
        settings,
        tmp_path,
        lambda *c: calls.append(c),
    )
    # 17 draws in batches of 8 are two steps: the third would hold one patch.
    assert calls[-1] == (8, 8, "steps") and balanced == [True] * 4
    # Of two equal epochs the first is the best.
    assert best == 1 and len(weights["best.pt"]) == 2 and len(weights["last.pt"]) == 1
    parts = [(row["epoch"], row["part"]) for row in history]
    assert parts == [(e, part) for e in range(4) for part in ("train", "holdout")]
    assert history[3] == {
        "epoch": 1,
        "part": "holdout",
        "loss": 1.5,
        "accuracy": 0.75,
        "learning_rate": None,
        "seconds": None,
        **aucs,
    }
    assert [(p["epoch"], p["step"], p["sums"]) for p in weights["resume.pt"]] == [
        (epoch, 0, [0.0, 0.0, 0.0]) for epoch in (1, 2, 3, 4)
    ]
    assert weights["resume.pt"][-1]["history"] == history


def test_resume_points_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[tuple[int, int, float]] = []
    save = training._save_resume_point

    def record(folder: Path, network: object, optimizer: object, state: object) -> None:
        points.append((state.epoch, state.step, state.sums[2]))  # type: ignore[attr-defined]
        save(folder, network, optimizer, state)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_save_resume_point", record)
    for interval in (0.0, 3600.0):
        monkeypatch.setattr(training, "SAVE_INTERVAL_S", interval)
        folder = tmp_path / str(interval)
        folder.mkdir()
        data = patches(LABELS, 1)
        training.train_classifier(
            small_network(), data, patches(LABELS[:0], 2), SMALL, folder, no_progress
        )
    every_step = [(0, 1, 8), (0, 2, 16), (1, 0, 0), (1, 1, 8), (1, 2, 16), (2, 0, 0)]
    assert points == [*every_step, (1, 0, 0), (2, 0, 0)]


@pytest.mark.parametrize("batch", [4, 256])
def test_validation_equals_numpy(batch: int) -> None:
    data, network = patches(LABELS, 4), small_network()
    network.eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(data.reader.batch(np.arange(21)))).double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    entropy = -np.log(p[np.arange(21), LABELS])
    correct = p.argmax(1) == LABELS
    shares = np.array([1 / 5, 1 / 9, 1 / 7])[LABELS] / 3
    expected = {
        f"auc_{name}": roc_auc_score(c == LABELS, p[:, c])
        for c, name in enumerate(("normal", "benign", "malignant"))
    }
    network.train()
    loss, accuracy, aucs = training.validate_epoch(network, data, batch=batch)
    assert not network.training and network.fused is None
    assert loss == pytest.approx(entropy.mean(), rel=1e-5)
    assert accuracy == pytest.approx(correct.mean()) and aucs == pytest.approx(expected)
    loss, accuracy, _ = training.validate_epoch(network, data, True, batch)
    assert loss == pytest.approx((entropy * shares).sum(), rel=1e-5)
    assert accuracy == pytest.approx((correct * shares).sum())


def test_batches_of_patches() -> None:
    data = patches(LABELS, 1)
    x, y, columns = data.load_batch(np.array([3, 0]))
    assert x.dtype == torch.uint8 and y.dtype == torch.int64 and columns is None
    assert y.tolist() == [0, 2] and np.array_equal(x.numpy(), data.reader.x[[3, 0]])  # type: ignore[attr-defined]
    width = np.arange(42, dtype=np.float32).reshape(21, 2)
    _, _, columns = LabeledPatches(data.reader, LABELS, width).load_batch(np.array([3, 0]))
    assert columns is not None and columns.tolist() == [[6.0, 7.0], [0.0, 1.0]]


def test_learning_rates_by_hand() -> None:
    assert training.one_cycle(0, 100, 2.0) == pytest.approx(0.08)
    assert training.one_cycle(15, 100, 2.0) == pytest.approx((0.08 + 2) / 2)
    assert training.one_cycle(30, 100, 2.0) == pytest.approx(2.0)
    assert training.one_cycle(65, 100, 2.0) == pytest.approx((2 + 8e-6) / 2)
    assert training.one_cycle(100, 100, 2.0) == pytest.approx(8e-6)
    for decay, expected in ((-1, [3.0] * 3), (0, [0.3] * 3), (2, [3.0, 3.0, 0.3])):
        settings = SMALL.model_copy(update={"learning_rate": 3.0, "decay_epoch": decay})
        rates = [training.learning_rate(settings, epoch, 0, 9) for epoch in range(3)]
        assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("patches", "settings", "steps"),
    [
        (1, {"batch": 32}, 1),
        (2, {"batch": 32}, 1),
        (32, {"batch": 32}, 1),
        (33, {"batch": 32}, 1),
        (34, {"batch": 32}, 2),
        (5, {"batch": 3, "sampling": "balanced", "draws": 8}, 3),
        (5, {"batch": 3, "sampling": "balanced", "draws": 7}, 2),
    ],
)
def test_steps_of_an_epoch(patches: int, settings: dict, steps: int) -> None:
    assert training.steps_per_epoch(patches, TrainingSettings(**settings)) == steps


def test_rotation_turns_by_the_drawn_angle() -> None:
    ramp = torch.arange(32.0).expand(6, 1, 32, 32)
    torch.manual_seed(8)
    angles = np.radians(20) * (2 * torch.rand(6).numpy() - 1)
    torch.manual_seed(8)
    turned = training.augment_rotation(ramp, 20.0)[:, 0].numpy()
    assert angles.min() < -0.1 and angles.max() > 0.1
    assert turned[:, 16, 17] - turned[:, 16, 14] == pytest.approx(3 * np.cos(angles), abs=1e-3)
    assert turned[:, 17, 16] - turned[:, 14, 16] == pytest.approx(-3 * np.sin(angles), abs=1e-3)
    # The centre stays where it is.
    assert turned[:, 15:17, 15:17].mean((1, 2)) == pytest.approx(15.5, abs=1e-3)


def test_augmentations_follow_the_settings() -> None:
    x = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    plain = SMALL.model_copy(update={"augment": False, "rotation": 0.0})
    assert training._augment(x, plain, 0, 5) is x
    torch.manual_seed(1)
    flips = training.augment_flips(x)
    torch.manual_seed(1)
    assert torch.equal(
        training._augment(x, plain.model_copy(update={"augment": True}), 0, 5), flips
    )
    torch.manual_seed(1)
    turns = training.augment_rotation(x, 9.0)
    torch.manual_seed(1)
    turned = training._augment(x, plain.model_copy(update={"rotation": 9.0}), 0, 5)
    assert torch.equal(turned, turns)
    torch.manual_seed(1)
    both = training._augment(
        x[2:4], plain.model_copy(update={"augment": True, "rotation": 9.0}), 2, 5
    )
    torch.manual_seed(1)
    parts = training.augment_flips(x[2:4], 2, 5)
    assert torch.equal(both, training.augment_rotation(parts, 9.0, 2, 5))


def test_history_auc_of_each_class() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    p = np.array(
        [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]]
    )
    # Normal against the rest: .6 exceeds .3, .5, .1 and .2 exceeds .1 only: 4 of 6 pairs.
    # Benign: .6 and .8 exceed .3 and .5; .4 exceeds .3 only: 5 of 6. No patch is malignant.
    assert training.class_aucs(labels, p, MAMMOGRAPHY) == {
        "auc_normal": pytest.approx(4 / 6),
        "auc_benign": pytest.approx(5 / 6),
        "auc_malignant": None,
    }
    assert training.class_aucs(np.zeros(5, int), p, MAMMOGRAPHY)["auc_normal"] is None


@pytest.mark.parametrize("is_used", [True, False])
def test_generators_of_gpus_in_use_are_seeded_too(
    is_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: is_used)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    training._seed_step(1, 2, 3)
    mixed = int(np.random.SeedSequence([1, 2, 3]).generate_state(1)[0])
    assert torch.initial_seed() == mixed
    assert seeds == ([mixed] if is_used else [])
