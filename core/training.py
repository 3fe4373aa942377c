"""Training: the papers' recipe by default, deterministic for a seed, resumable at the exact batch.

Everything random in step s of epoch e (order, augmentation, dropout) comes from (seed, e, s) alone,
so that a training continued after a kill makes the very batches it would have made. Many processes
(torchrun) make the same batches together: each takes its part of every batch, and the gradients are
averaged by the number of patches. With frozen batch-norm statistics and no dropout that is one
process's training up to rounding.
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
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from core import distributed
from core.class_labels import CLASSES, class_names
from core.errors import UserError
from core.images.working_images import PatchReader
from core.networks import Classifier
from core.runs import Report
from core.settings import TrainingSettings

RESUME_NAME = "resume.pt"
SAVE_EVERY_S = 30.0


@dataclass(frozen=True)
class Part:
    """Patches of one split with labels [n] (class indices); columns: float32 [n, numbers], the
    patients' auxiliary columns as the network takes them.
    """

    reader: PatchReader
    labels: np.ndarray
    columns: np.ndarray | None = None

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None]:
        """uint8 [n, 1, side, side], labels int64 [n], columns float32 [n, numbers] of these rows."""
        columns = None if self.columns is None else torch.from_numpy(self.columns[rows])
        return (
            torch.from_numpy(self.reader.batch(rows)),
            torch.from_numpy(self.labels[rows].astype(np.int64)),
            columns,
        )


def fit(
    network: Classifier,
    train: Part,
    holdout: Part,
    settings: TrainingSettings,
    folder: Path,
    report: Report,
) -> tuple[list[dict[str, Any]], int]:
    """Train in place; leaves the best epoch's weights (largest hold-out accuracy, first on ties;
    the last epoch without a hold-out) in `folder/best.pt`, the last ones in `folder/last.pt`, and a
    resume point while it runs. Returns the history's rows and the best epoch. UserError when a
    class is missing in training or the loss is not a number.
    """
    _check_classes(train.labels, network.classes)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, settings)
    steps = steps_per_epoch(len(train.labels), settings)
    state = _resume(folder, network, optimizer)
    model = distributed.joined(network)
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
            loss, right = _step(model, optimizer, train, rows, settings, epoch, step, rate)
            sums = [sums[0] + loss * len(rows), sums[1] + right, sums[2] + len(rows)]
            report(epoch * steps + step + 1, total, "steps")
            if step + 1 < steps and time.monotonic() - saved > SAVE_EVERY_S:
                _save_resume(folder, network, optimizer, epoch, step + 1, sums, history)
                saved = time.monotonic()
        distributed.average(
            [
                buffer
                for module in _batchnorms(network)
                for buffer in (module.running_mean, module.running_var)
                if buffer is not None
            ]
        )
        history.append(
            _row(epoch, "train", sums[0] / sums[2], sums[1] / sums[2])
            | {
                "learning_rate": rate,
                "seconds": round(time.monotonic() - since, 3),
            }
        )
        since = time.monotonic()
        if len(holdout.labels):
            loss, accuracy, areas = measure(network, holdout, settings.sampling == "balanced")
            history.append(_row(epoch, "holdout", loss, accuracy) | areas)
        if best_epoch(history) == epoch:
            _save(folder / "best.pt", network.state())
        _save_resume(folder, network, optimizer, epoch + 1, 0, [0.0, 0.0, 0.0], history)
    _save(folder / "last.pt", network.state())
    return history, best_epoch(history)


def _row(epoch: int, part: str, loss: float, accuracy: float) -> dict[str, Any]:
    empty = dict.fromkeys(("learning_rate", "seconds", *(f"auc_{name}" for name in CLASSES)))
    return {"epoch": epoch, "part": part, "loss": loss, "accuracy": accuracy, **empty}


def steps_per_epoch(patches: int, settings: TrainingSettings) -> int:
    """Whole epochs in the paper's sampling (a last small batch counts unless it holds one patch,
    which batch-norm cannot take).
    """
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
    """sgd: x 0.1 from `decay_epoch` on (released config). adamw: one cycle, cosine up over 30 % of
    the steps and down to nothing.
    """
    if settings.optimizer == "sgd":
        return settings.learning_rate * (0.1 if epoch >= settings.decay_epoch else 1.0)
    up = 0.3 * total
    low, peak, end = (
        settings.learning_rate / 25,
        settings.learning_rate,
        settings.learning_rate / 25e4,
    )
    if step < up:
        return low + (peak - low) * (1 - math.cos(math.pi * step / up)) / 2
    return end + (peak - end) * (1 + math.cos(math.pi * (step - up) / max(total - up, 1))) / 2


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Part,
    rows: np.ndarray,
    settings: TrainingSettings,
    epoch: int,
    step: int,
    rate: float,
) -> tuple[float, int]:
    torch.manual_seed(
        int(np.random.SeedSequence([settings.seed, epoch, step]).generate_state(1)[0])
    )  # dropout and augmentation
    for group in optimizer.param_groups:
        group["lr"] = rate
    part = distributed.share(len(rows))
    mine = part.stop - part.start
    # A process that a small batch leaves without a patch takes one that counts nothing: all must
    # take part in the gradient.
    part = part if mine else slice(0, 1)
    losses: list[Tensor] = []

    def forward() -> tuple[float, int, int]:
        """Loss, right answers and number of this process's patches."""
        x, y, columns = train.batch(rows[part])
        logits = model(_changed(x, settings, part.start, len(rows)), columns)
        y = y.to(logits.device)
        losses.append(F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing))
        return float(losses[0].detach()), int((logits.detach().argmax(1) == y).sum()), mine

    found = distributed.every(forward)
    value = (
        found[0][0] if len(found) == 1 else sum(loss * n for loss, _, n in found if n) / len(rows)
    )
    if not math.isfinite(value):
        raise UserError(
            f"The training loss is {value} in epoch {epoch + 1}, step {step + 1}; lower"
            f" training.learning_rate (now {settings.learning_rate}) and train again."
        )
    optimizer.zero_grad(set_to_none=True)
    with distributed.together():
        # The mean over processes of what each contributes is the batch's own mean.
        (losses[0] if len(found) == 1 else losses[0] * (mine * len(found) / len(rows))).backward()
    optimizer.step()
    return value, sum(right for _, right, n in found if n)


def _changed(x: Tensor, settings: TrainingSettings, first: int, of: int) -> Tensor:
    x = augmented(x, first, of) if settings.augment else x
    return rotated(x, settings.rotation, first, of) if settings.rotation else x


def augmented(batch: Tensor, first: int = 0, of: int | None = None) -> Tensor:
    """Random flips and quarter turns of patches [n, 1, s, s], one draw per quarter of the batch.
    first, of: these are the patches from `first` on of a batch of `of`, which other processes
    share; every process draws for all.
    """
    of = len(batch) if of is None else of
    size, parts = -(-of // 4), []
    for begin in range(0, of, size):
        turns, flip = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
        part = batch[max(begin - first, 0) : max(begin + size - first, 0)]
        parts.append(torch.rot90(part.flip(-1) if flip else part, turns, (2, 3)))
    return torch.cat(parts)


def rotated(batch: Tensor, degrees: float, first: int = 0, of: int | None = None) -> Tensor:
    """Patches [n, 1, s, s] as float, each turned about its middle by its own angle within
    +-`degrees`, bilinearly, edges mirrored. first, of: as in `augmented`.
    """
    of = len(batch) if of is None else of
    angle = ((torch.rand(of) * 2 - 1) * math.radians(degrees))[first : first + len(batch)]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    return F.grid_sample(batch.float(), grid, padding_mode="reflection", align_corners=False)


@torch.inference_mode()
def measure(
    network: Classifier, part: Part, balanced: bool = False, batch: int = 256
) -> tuple[float, float, dict[str, float | None]]:
    """Mean cross entropy, accuracy and `auc_<class>` (class against rest) of a part, in evaluation
    mode. balanced: every class weighs the same in loss and accuracy, as in training with balanced
    draws; else the commonest class would decide which epoch is best.
    """
    network.eval()
    labels = part.labels.astype(np.int64)
    shares = 1.0 / np.bincount(labels)[labels] if balanced else np.ones(len(labels))
    weight = torch.from_numpy(shares / shares.sum())
    loss, right, scores = 0.0, 0.0, []

    def say(rows: np.ndarray) -> Tensor:
        x, _, columns = part.batch(rows)
        return network(x, columns).cpu()

    for rows, logits in distributed.dealt(distributed.blocks(len(labels), batch), say):
        y, w = torch.from_numpy(labels[rows]), weight[rows]
        loss += float((F.cross_entropy(logits, y, reduction="none").double() * w).sum())
        right += float(((logits.argmax(1) == y) * w).sum())
        scores.append(logits.softmax(1).numpy())
    return loss, right, _areas(labels, np.concatenate(scores), network.classes)


def _areas(labels: np.ndarray, probabilities: np.ndarray, classes: int) -> dict[str, float | None]:
    """`auc_<class>` of probabilities [n, classes]; of two classes the second is malignant."""
    index = {name: i for i, name in enumerate(class_names(classes)) if name in CLASSES}
    return {f"auc_{name}": rank_auc(labels == i, probabilities[:, i]) for name, i in index.items()}


def rank_auc(positive: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve of score [n] for positive bool [n], from mid-ranks (Mann-Whitney);
    None where one side is empty or a score is no number.
    """
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m or np.isnan(score).any():
        return None
    return float((stats.rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Epoch of the largest hold-out accuracy, the first of equals; the last epoch where nothing is
    held out.
    """
    held = [row for row in history if row["part"] == "holdout"]
    return (
        max(held, key=lambda row: (row["accuracy"], -row["epoch"]))["epoch"]
        if held
        else history[-1]["epoch"]
    )


def _check_classes(labels: np.ndarray, classes: int) -> None:
    if not len(labels):
        raise UserError(
            "The training split holds no patches; check splits and patches in study.toml, and the"
            " ingestion's report."
        )
    missing = [name for c, name in enumerate(class_names(classes)) if not (labels == c).any()]
    if missing:
        raise UserError(
            f"The training split has no {' and no '.join(missing)} patches; ingest such cases, or"
            " set patches.classes = 2 where no normal or benign tissue is outlined."
        )


def _optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    parameters = [p for p in network.parameters() if p.requires_grad]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


def _batchnorms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def _freeze(network: nn.Module) -> None:
    for module in _batchnorms(network):
        module.eval()


def _save(path: Path, content: Any) -> None:
    if not distributed.first():
        return
    part = path.with_name(path.name + ".partial")
    torch.save(content, part)
    os.replace(part, path)


def _save_resume(
    folder: Path,
    network: Classifier,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    step: int,
    sums: list[float],
    history: list[dict[str, Any]],
) -> None:
    _save(
        folder / RESUME_NAME,
        {
            "network": network.state(),
            "optimizer": optimizer.state_dict(),
            "epoch": epoch,
            "step": step,
            "sums": sums,
            "history": history,
        },
    )


def _resume(folder: Path, network: Classifier, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    path = folder / RESUME_NAME
    if not path.is_file():
        return {"epoch": 0, "step": 0, "sums": [0.0, 0.0, 0.0], "history": []}
    state = torch.load(path, weights_only=True)
    network.restore(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return state
