"""Training: the papers' recipe by default, deterministic for a seed, resumable at the exact batch.

Everything random in step s of epoch e (order, augmentation, dropout) comes from (seed, e, s) alone, so that a training continued after a kill makes
the very batches it would have made.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import UserError
from core.films import PatchReader
from core.naming import class_names
from core.networks import Classifier
from core.runs import Report
from core.settings import TrainingSettings

RESUME_NAME = "resume.pt"
SAVE_EVERY_S = 30.0


@dataclass(frozen=True)
class Part:
    """Patches of one split with labels [n] (class indices)."""

    reader: PatchReader
    labels: np.ndarray


def fit(
    network: Classifier, train: Part, holdout: Part, settings: TrainingSettings, folder: Path, report: Report
) -> tuple[list[dict[str, Any]], int]:
    """Train in place; leaves the best epoch's weights (largest hold-out accuracy, first on ties; the last epoch without a hold-out) in `folder/best.pt`,
    the last ones in `folder/last.pt`, and a resume point while it runs. Returns the history's rows and the best epoch. UserError when a class is
    missing in training or the loss is not a number."""
    _check_classes(train.labels, network.classes)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, settings)
    steps = steps_per_epoch(len(train.labels), settings)
    state = _resume(folder, network, optimizer)
    history: list[dict[str, Any]] = state["history"]
    total, saved, since = settings.epochs * steps, time.monotonic(), time.monotonic()
    for epoch in range(state["epoch"], settings.epochs):
        network.train()
        if settings.freeze_batchnorm:
            _freeze(network)
        order = epoch_order(train.labels, settings, epoch)
        first = state["step"] if epoch == state["epoch"] else 0
        sums = state["sums"] if epoch == state["epoch"] else [0.0, 0.0, 0.0]
        for step in range(first, steps):
            rate = learning_rate(settings, epoch, epoch * steps + step, total)
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            loss, right = _step(network, optimizer, train, rows, settings, epoch, step, rate)
            sums = [sums[0] + loss * len(rows), sums[1] + right, sums[2] + len(rows)]
            report(epoch * steps + step + 1, total, "steps")
            if step + 1 < steps and time.monotonic() - saved > SAVE_EVERY_S:
                _save_resume(folder, network, optimizer, epoch, step + 1, sums, history)
                saved = time.monotonic()
        history.append(
            {
                "epoch": epoch,
                "part": "train",
                "loss": sums[0] / sums[2],
                "accuracy": sums[1] / sums[2],
                "learning_rate": rate,
                "seconds": round(time.monotonic() - since, 3),
            }
        )
        since = time.monotonic()
        if len(holdout.labels):
            loss, accuracy = measure(network, holdout, settings.sampling == "balanced")
            history.append({"epoch": epoch, "part": "holdout", "loss": loss, "accuracy": accuracy, "learning_rate": None, "seconds": None})
        if best_epoch(history) == epoch:
            _save(folder / "best.pt", network.net.state_dict())
        _save_resume(folder, network, optimizer, epoch + 1, 0, [0.0, 0.0, 0.0], history)
    _save(folder / "last.pt", network.net.state_dict())
    return history, best_epoch(history)


def steps_per_epoch(patches: int, settings: TrainingSettings) -> int:
    """Whole epochs in the paper's sampling (a last small batch counts unless it holds one patch, which batch-norm cannot take)."""
    n = patches if settings.sampling == "all" else settings.draws
    whole, rest = divmod(n, settings.batch)
    return max(1, whole + (rest > 1))


def epoch_order(labels: np.ndarray, settings: TrainingSettings, epoch: int) -> np.ndarray:
    """Rows of one epoch in order: a permutation, or draws with equal class shares ("balanced")."""
    rng = np.random.default_rng([settings.seed, epoch])
    if settings.sampling == "all":
        return rng.permutation(len(labels))
    weight = 1.0 / np.bincount(labels)[labels]
    return rng.choice(len(labels), settings.draws, p=weight / weight.sum())


def learning_rate(settings: TrainingSettings, epoch: int, step: int, total: int) -> float:
    """sgd: x 0.1 from `decay_epoch` on (released config). adamw: one cycle, cosine up over 30 % of the steps and down to nothing."""
    if settings.optimizer == "sgd":
        return settings.learning_rate * (0.1 if epoch >= settings.decay_epoch else 1.0)
    up = 0.3 * total
    low, peak, end = settings.learning_rate / 25, settings.learning_rate, settings.learning_rate / 25e4
    if step < up:
        return low + (peak - low) * (1 - math.cos(math.pi * step / up)) / 2
    return end + (peak - end) * (1 + math.cos(math.pi * (step - up) / max(total - up, 1))) / 2


def _step(
    network: Classifier,
    optimizer: torch.optim.Optimizer,
    train: Part,
    rows: np.ndarray,
    settings: TrainingSettings,
    epoch: int,
    step: int,
    rate: float,
) -> tuple[float, int]:
    torch.manual_seed(int(np.random.SeedSequence([settings.seed, epoch, step]).generate_state(1)[0]))  # dropout and augmentation
    for group in optimizer.param_groups:
        group["lr"] = rate
    x, y = torch.from_numpy(train.reader.batch(rows)), torch.from_numpy(train.labels[rows].astype(np.int64))
    logits = network(augmented(x) if settings.augment else x)
    loss = F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise UserError(
            f"The training loss is {value} in epoch {epoch + 1}, step {step + 1}; lower training.learning_rate (now {settings.learning_rate}) and train again."
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return value, int((logits.detach().argmax(1) == y).sum())


def augmented(batch: Tensor) -> Tensor:
    """Random flips and quarter turns of patches [n, 1, s, s], one draw per quarter of the batch."""
    parts = list(batch.chunk(4))
    for i, part in enumerate(parts):
        turns, flip = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
        parts[i] = torch.rot90(part.flip(-1) if flip else part, turns, (2, 3))
    return torch.cat(parts)


@torch.inference_mode()
def measure(network: Classifier, part: Part, balanced: bool = False, batch: int = 256) -> tuple[float, float]:
    """Mean cross entropy and accuracy of a part, in evaluation mode. balanced: every class weighs the same, as in training with balanced draws; else the
    commonest class would decide which epoch is best."""
    network.eval()
    labels = part.labels.astype(np.int64)
    weight = 1.0 / np.bincount(labels)[labels] if balanced else np.ones(len(labels))
    weight = torch.from_numpy(weight / weight.sum())
    loss, right = 0.0, 0.0
    for rows, x in part.reader.batches(batch):
        y, w = torch.from_numpy(labels[rows]), weight[rows]
        logits = network(torch.from_numpy(x))
        loss += float((F.cross_entropy(logits, y, reduction="none").double() * w).sum())
        right += float(((logits.argmax(1) == y) * w).sum())
    return loss, right


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Epoch of the largest hold-out accuracy, the first of equals; the last epoch where nothing is held out."""
    held = [row for row in history if row["part"] == "holdout"]
    return max(held, key=lambda row: (row["accuracy"], -row["epoch"]))["epoch"] if held else history[-1]["epoch"]


def _check_classes(labels: np.ndarray, classes: int) -> None:
    if not len(labels):
        raise UserError("The training split holds no patches; check splits and patches in study.toml, and the ingestion's report.")
    missing = [name for c, name in enumerate(class_names(classes)) if not (labels == c).any()]
    if missing:
        raise UserError(
            f"The training split has no {' and no '.join(missing)} patches; ingest such cases, or set patches.classes = 2 where no normal or benign tissue is outlined."
        )


def _optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    parameters = [p for p in network.parameters() if p.requires_grad]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay)


def _freeze(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _save(path: Path, content: Any) -> None:
    part = path.with_name(path.name + ".partial")
    torch.save(content, part)
    os.replace(part, path)


def _save_resume(
    folder: Path, network: Classifier, optimizer: torch.optim.Optimizer, epoch: int, step: int, sums: list[float], history: list[dict[str, Any]]
) -> None:
    _save(
        folder / RESUME_NAME,
        {"network": network.net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "step": step, "sums": sums, "history": history},
    )


def _resume(folder: Path, network: Classifier, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    path = folder / RESUME_NAME
    if not path.is_file():
        return {"epoch": 0, "step": 0, "sums": [0.0, 0.0, 0.0], "history": []}
    state = torch.load(path, weights_only=True)
    network.net.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return state
