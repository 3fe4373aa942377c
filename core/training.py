"""Training: the papers' recipe by default, deterministic for a seed, resumable at the exact batch.

Order, augmentation and dropout of step s in epoch e depend on (seed, e, s) only, so that a resumed
training computes the same batches as an uninterrupted one. Under torchrun every process takes a
part of each batch, and gradients are averaged by the number of patches. With frozen batch
normalisation and no dropout the result equals that of one process up to rounding.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import distributed
from core.atomic_files import atomic_write
from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.errors import UserError
from core.images.working_images import PatchReader
from core.networks import Classifier
from core.progress import ProgressCallback
from core.settings import TrainingSettings

RESUME_FILE = "resume.pt"
SAVE_INTERVAL_S = 30.0
VALIDATION_BATCH = 256
HistoryRow = dict[str, Any]


@dataclass(frozen=True)
class LabeledPatches:
    """Patches of one split.

    labels: int [n], indices of the network's outputs; columns: float32 [n, encoded width], the
    patients' auxiliary columns, None without any; classes: what the outputs are.
    """

    reader: PatchReader
    labels: np.ndarray
    columns: np.ndarray | None = None
    classes: ClassDefinition = MAMMOGRAPHY

    def load_batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return uint8 [n, 1, side, side], labels int64 [n] and columns [n, encoded width]."""
        columns = None if self.columns is None else torch.from_numpy(self.columns[rows])
        return (
            torch.from_numpy(self.reader.batch(rows)),
            torch.from_numpy(self.labels[rows].astype(np.int64)),
            columns,
        )


@dataclass(kw_only=True)
class _TrainingState:
    """The position of a training; what a resume point stores beside the weights."""

    epoch: int = 0
    step: int = 0
    # Sums over the epoch's patches: loss, correct answers, patches.
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[HistoryRow] = field(default_factory=list)


def train_classifier(
    network: Classifier,
    train: LabeledPatches,
    holdout: LabeledPatches,
    settings: TrainingSettings,
    folder: Path,
    report: ProgressCallback,
) -> tuple[list[HistoryRow], int]:
    """Train a classifier in place and return the history's rows and the best epoch.

    The best epoch's weights are written to `folder/best.pt`, the last epoch's to `folder/last.pt`,
    and a resume point to `folder/resume.pt`. The best epoch has the largest hold-out accuracy, the
    first of equals; without hold-out patches it is the last. UserError if a class is missing in
    training or the loss is not finite.
    """
    _check_classes(train.labels, train.classes.with_outputs(network.classes))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, settings)
    state = _load_resume_point(folder, network, optimizer)
    # After loading: DistributedDataParallel sends rank 0's weights when it is created.
    model = distributed.wrap_ddp(network)
    history = state.history
    started = time.monotonic()
    for epoch in range(state.epoch, settings.epochs):
        row = _train_epoch(model, network, optimizer, train, settings, epoch, state, folder, report)
        unknown = dict.fromkeys(f"auc_{name}" for name in train.classes.names)
        history.append(row | unknown | {"seconds": round(time.monotonic() - started, 3)})
        started = time.monotonic()
        if len(holdout.labels):
            loss, accuracy, aucs = validate_epoch(network, holdout, settings.sampling == "balanced")
            history.append(_history_row(epoch, "holdout", loss, accuracy) | unknown | aucs)
        # Before the resume point: a kill in between repeats the epoch and writes the file again.
        if best_epoch(history) == epoch:
            _save(folder / "best.pt", network.checkpoint_state())
        state = _TrainingState(epoch=epoch + 1, history=history)
        _save_resume_point(folder, network, optimizer, state)
    _save(folder / "last.pt", network.checkpoint_state())
    return history, best_epoch(history)


def _train_epoch(
    model: nn.Module,
    network: Classifier,
    optimizer: torch.optim.Optimizer,
    train: LabeledPatches,
    settings: TrainingSettings,
    epoch: int,
    state: _TrainingState,
    folder: Path,
    report: ProgressCallback,
) -> HistoryRow:
    """Train from `state` to the end of its epoch and return the epoch's row of the history."""
    network.train()
    if settings.freeze_batchnorm:
        for module in _batchnorms(network):
            module.eval()
    steps = steps_per_epoch(len(train.labels), settings)
    total = settings.epochs * steps
    order = epoch_order(train.labels, settings, epoch)
    sums, saved = state.sums, time.monotonic()
    for step in range(state.step, steps):
        rate = learning_rate(settings, epoch, epoch * steps + step, total)
        rows = order[step * settings.batch : (step + 1) * settings.batch]
        loss, correct = _train_step(model, optimizer, train, rows, settings, epoch, step, rate)
        sums = [sums[0] + loss * len(rows), sums[1] + correct, sums[2] + len(rows)]
        report(epoch * steps + step + 1, total, "steps")
        if step + 1 < steps and time.monotonic() - saved > SAVE_INTERVAL_S:
            point = _TrainingState(epoch=epoch, step=step + 1, sums=sums, history=state.history)
            _save_resume_point(folder, network, optimizer, point)
            saved = time.monotonic()
    # Each process normalised its own patches: their running statistics are averaged once an epoch.
    distributed.all_reduce_mean(
        [
            buffer
            for module in _batchnorms(network)
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]
    )
    row = _history_row(epoch, "train", sums[0] / sums[2], sums[1] / sums[2])
    return row | {"learning_rate": rate}


def _history_row(epoch: int, part: str, loss: float, accuracy: float) -> HistoryRow:
    empty = dict.fromkeys(("learning_rate", "seconds"))
    return {"epoch": epoch, "part": part, "loss": loss, "accuracy": accuracy, **empty}


def steps_per_epoch(patches: int, settings: TrainingSettings) -> int:
    """Return the number of batches in an epoch.

    A last, smaller batch counts unless it holds a single patch, which batch normalisation cannot
    process.
    """
    n = patches if settings.sampling == "all" else settings.draws
    whole, rest = divmod(n, settings.batch)
    return max(1, whole + (rest > 1))


def epoch_order(labels: np.ndarray, settings: TrainingSettings, epoch: int) -> np.ndarray:
    """Return the rows of one epoch in order.

    A permutation of all patches, or draws with equal class shares ("balanced").
    """
    # Seeded by the epoch: resuming needs no state of a random generator.
    rng = np.random.default_rng([settings.seed, epoch])
    if settings.sampling == "all":
        return rng.permutation(len(labels))
    # Inverse class sizes give every class the same probability.
    weight = 1.0 / np.bincount(labels)[labels]
    return rng.choice(len(labels), settings.draws, p=weight / weight.sum())


def learning_rate(settings: TrainingSettings, epoch: int, step: int, total: int) -> float:
    """Return the learning rate of a step (counted from the start of training) of `total`.

    sgd: a tenth from `decay_epoch` on, as in the released configuration of ResNet-152; -1 is no
    decay. adamw: `one_cycle`.
    """
    if settings.optimizer == "sgd":
        has_decayed = 0 <= settings.decay_epoch <= epoch
        return settings.learning_rate * (0.1 if has_decayed else 1.0)
    return one_cycle(step, total, settings.learning_rate)


def one_cycle(step: int, total: int, peak: float) -> float:
    """Return the learning rate of the one-cycle schedule (Smith and Topin 2019).

    A cosine from peak / 25 up to `peak` over 30 % of the steps, then a cosine down to peak / 25e4.
    """
    # torch.optim.lr_scheduler.OneCycleLR has the same defaults (pct_start .3, div_factor 25,
    # final_div_factor 1e4), but puts the peak at step .3 * total - 1 and the end at total - 1.
    # Here they are at .3 * total and total, one step later, so that its numbers differ slightly.
    low, end, rise = peak / 25, peak / 25e4, 0.3 * total
    if step < rise:
        return low + (peak - low) * (1 - math.cos(math.pi * step / rise)) / 2
    return end + (peak - end) * (1 + math.cos(math.pi * (step - rise) / (total - rise))) / 2


def _train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: LabeledPatches,
    rows: np.ndarray,
    settings: TrainingSettings,
    epoch: int,
    step: int,
    rate: float,
) -> tuple[float, int]:
    """Update the weights on one batch and return its mean loss and number of correct answers."""
    _seed_step(settings.seed, epoch, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    part = distributed.rank_slice(len(rows))
    count = part.stop - part.start
    # All processes have to take part in the gradient's reduction: one without a patch computes the
    # first patch of the batch with weight 0.
    part = part if count else slice(0, 1)
    # The loss keeps its graph in this process; only numbers are exchanged.
    losses: list[Tensor] = []

    def forward() -> tuple[float, int, int]:
        """Return loss, correct answers and number of this process's patches."""
        x, y, columns = train.load_batch(rows[part])
        logits = model(_augment(x, settings, part.start, len(rows)), columns)
        y = y.to(logits.device)
        losses.append(F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing))
        return float(losses[0].detach()), int((logits.detach().argmax(1) == y).sum()), count

    results = distributed.all_gather_call(forward)
    processes = len(results)
    if processes == 1:
        loss, mean_loss = losses[0], results[0][0]
    else:
        # DDP averages gradients over processes: the weight makes that the batch's mean.
        loss = losses[0] * (count * processes / len(rows))
        mean_loss = sum(value * n for value, _, n in results if n) / len(rows)
    _check_loss(mean_loss, settings, epoch, step)
    optimizer.zero_grad(set_to_none=True)
    with distributed.translate_peer_failure():
        loss.backward()
    optimizer.step()
    return mean_loss, sum(correct for _, correct, n in results if n)


def _seed_step(seed: int, epoch: int, step: int) -> None:
    """Seed torch's global generators, from which dropout and augmentation draw."""
    # SeedSequence mixes the numbers, so that neighbouring seeds give unrelated streams.
    mixed = int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0])
    # For GPUs that are not in use, torch.manual_seed takes as long as a small network's step.
    torch.default_generator.manual_seed(mixed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(mixed)


def _check_loss(loss: float, settings: TrainingSettings, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise UserError(
            f"The training loss is {loss} in epoch {epoch + 1}, step {step + 1}; lower"
            f" training.learning_rate (now {settings.learning_rate}) and train again."
        )


def _augment(x: Tensor, settings: TrainingSettings, first: int, batch_size: int) -> Tensor:
    x = augment_flips(x, first, batch_size) if settings.augment else x
    return augment_rotation(x, settings.rotation, first, batch_size) if settings.rotation else x


def augment_flips(batch: Tensor, first: int = 0, batch_size: int | None = None) -> Tensor:
    """Return patches [n, 1, s, s] with random flips and quarter turns.

    Each quarter of the batch shares one draw. first, batch_size: position of these patches in a
    batch that several processes share.
    """
    batch_size = len(batch) if batch_size is None else batch_size
    size, parts = -(-batch_size // 4), []
    # Every process draws for the whole batch, so that the draws do not depend on their number.
    for begin in range(0, batch_size, size):
        turns, flip = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
        part = batch[max(begin - first, 0) : max(begin + size - first, 0)]
        parts.append(torch.rot90(part.flip(-1) if flip else part, turns, (2, 3)))
    return torch.cat(parts)


def augment_rotation(
    batch: Tensor, degrees: float, first: int = 0, batch_size: int | None = None
) -> Tensor:
    """Return patches [n, 1, s, s] as float, each rotated by its own angle within +-`degrees`.

    Rotation about the centre, bilinear, edges mirrored. first, batch_size: as in `augment_flips`.
    """
    batch_size = len(batch) if batch_size is None else batch_size
    angle = ((torch.rand(batch_size) * 2 - 1) * math.radians(degrees))[first : first + len(batch)]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    return F.grid_sample(batch.float(), grid, padding_mode="reflection", align_corners=False)


@torch.inference_mode()
def validate_epoch(
    network: Classifier,
    patches: LabeledPatches,
    balanced: bool = False,
    batch: int = VALIDATION_BATCH,
) -> tuple[float, float, dict[str, float | None]]:
    """Return mean cross entropy, accuracy and `auc_<class>` (one against rest) of patches.

    The network is left in evaluation mode. balanced: every class weighs the same in loss and
    accuracy, as in training with balanced draws; otherwise the most frequent class would decide
    which epoch is best.
    """
    network.eval().fuse()
    labels = patches.labels.astype(np.int64)
    shares = 1.0 / np.bincount(labels)[labels] if balanced else np.ones(len(labels))
    weight = torch.from_numpy(shares / shares.sum())
    loss, accuracy, probabilities = 0.0, 0.0, []

    def predict_batch(rows: np.ndarray) -> Tensor:
        """Return the logits of these rows."""
        x, _, columns = patches.load_batch(rows)
        return network(x, columns).cpu()

    batches = distributed.row_blocks(len(labels), batch)
    results = list(distributed.map_round_robin(batches, predict_batch))
    # Its weights are those of this epoch.
    network.fused = None
    for rows, logits in results:
        y, w = torch.from_numpy(labels[rows]), weight[rows]
        # In double precision, because a sum over a whole split loses digits in float32.
        loss += float((F.cross_entropy(logits, y, reduction="none").double() * w).sum())
        accuracy += float(((logits.argmax(1) == y) * w).sum())
        probabilities.append(logits.softmax(1).numpy())
    return (
        loss,
        accuracy,
        class_aucs(
            labels, np.concatenate(probabilities), patches.classes.with_outputs(network.classes)
        ),
    )


def class_aucs(
    labels: np.ndarray, probabilities: np.ndarray, classes: ClassDefinition
) -> dict[str, float | None]:
    """Return `auc_<class>` of probabilities [n, classes], for every class that has a score.

    None where a class has no patches or all of them, or where a probability is not a number.
    """
    from sklearn.metrics import roc_auc_score  # most of its import is SciPy's statistics

    aucs: dict[str, float | None] = {}
    for c, name in enumerate(classes.outputs.values()):
        if name not in classes.scored:
            continue
        positive, score = labels == c, probabilities[:, c]
        estimable = positive.any() and not positive.all() and not np.isnan(score).any()
        aucs[f"auc_{name}"] = float(roc_auc_score(positive, score)) if estimable else None
    return aucs


def best_epoch(history: list[HistoryRow]) -> int:
    """Return the epoch of the largest hold-out accuracy, the first of equals.

    Without hold-out patches, the last epoch.
    """
    validated = [row for row in history if row["part"] == "holdout"]
    if not validated:
        return history[-1]["epoch"]
    return max(validated, key=lambda row: (row["accuracy"], -row["epoch"]))["epoch"]


def _check_classes(labels: np.ndarray, classes: ClassDefinition) -> None:
    if not len(labels):
        raise UserError(
            "The training split holds no patches; check splits and patches in study.toml, and the"
            " report of the ingestion."
        )
    missing = [name for c, name in enumerate(classes.outputs.values()) if not (labels == c).any()]
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


def _save(path: Path, content: Any) -> None:
    """Write on rank 0, atomically: a kill in between leaves the earlier file."""
    if not distributed.is_rank_zero():
        return
    with atomic_write(path) as partial:
        torch.save(content, partial)


def _save_resume_point(
    folder: Path, network: Classifier, optimizer: torch.optim.Optimizer, state: _TrainingState
) -> None:
    content = {
        "network": network.checkpoint_state(),
        "optimizer": optimizer.state_dict(),
        "epoch": state.epoch,
        "step": state.step,
        "sums": state.sums,
        "history": state.history,
    }
    _save(folder / RESUME_FILE, content)


def _load_resume_point(
    folder: Path, network: Classifier, optimizer: torch.optim.Optimizer
) -> _TrainingState:
    """Restore weights and optimizer and return the position; the start without a resume point."""
    path = folder / RESUME_FILE
    if not path.is_file():
        return _TrainingState()
    content = torch.load(path, weights_only=True)
    network.load_checkpoint_state(content["network"])
    optimizer.load_state_dict(content["optimizer"])
    return _TrainingState(
        epoch=content["epoch"],
        step=content["step"],
        sums=content["sums"],
        history=content["history"],
    )
