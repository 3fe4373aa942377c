"""Pipeline step `import-checkpoint`: a published or own checkpoint becomes a train run as it is.

Nothing is trained. Pooling, normalisation and input side are those of the architecture's published
form; evaluation, dissection and explanation read the run like any train run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from core import distributed, lineage, networks, runs, store
from core.atomic_files import atomic_write
from core.errors import UserError
from core.networks import architectures, checkpoints, own_modules
from core.pipeline.inputs import StepResult, load_run_settings
from core.pipeline.patches import run_patch_extraction
from core.pipeline.train import check_input_side, network_request, patches_of_architecture
from core.progress import ProgressCallback
from core.settings import Settings
from core.store import run_table

_VERSION = 1
_WEIGHTS_FILE = "imported.pt"


def run_import(
    study: Path,
    settings: Settings,
    file: Path,
    arch: str,
    report: ProgressCallback,
    *,
    classes: int | None = None,
    patches: str | None = None,
    pool: str | None = None,
) -> StepResult:
    """Make a train run of a checkpoint, without a training step.

    Parameters
    ----------
    study : Path
        The study folder.
    settings : Settings
        Its settings; of `[training]` only `units` is used, for the small network.
    file : Path
        A state dict, a published `.pth.tar`, or safetensors.
    arch : str
        The architecture.
    report : callable
        Progress callback.
    classes : int, optional
        Number of classes of the checkpoint, compared with that of the patches.
    patches : str, optional
        Patches run; by default the latest one at the published input side, which is made if only
        its side is missing.
    pool : {"global", "top_left_7"}, optional
        Pooling; by default that of the published checkpoints.

    Raises
    ------
    UserError
        If the checkpoint does not fit the architecture, the classes or the input side.
    """
    content_hash = runs.file_hash(file) if file.is_file() else ""
    state = networks.read_state(file)
    if not own_modules.is_own(arch):
        architectures.check_architecture(arch)
    patches_run = _patches_at_published_side(study, settings, arch, report, patches)
    lineage.check_named_classes(study, patches_run, settings.class_definition)
    default_pool = "global" if own_modules.is_own(arch) else architectures.published_pool(arch)
    training: dict[str, Any] = {
        "architecture": arch,
        "weights": file.name,
        "pool": pool or default_pool,
    }
    if arch in architectures.OWN_NETWORKS:
        training["units"] = settings.training.units
    request = {
        "imported": True,
        "training": training,
        "classes": _check_classes(study, patches_run, classes),
        **network_request(study, settings, arch, patches_run),
    }
    network = networks.build(
        arch,
        request["classes"],
        units=settings.training.units,
        pool=training["pool"],
        channels=request.get("channels", 1),
    )
    check_input_side(network, request["input_side"])
    checkpoints.load_state(network, state, file)
    try:
        with runs.create_run(study, "train", _VERSION, request, [patches_run], content_hash) as run:
            with atomic_write(run.folder / _WEIGHTS_FILE) as partial:
                torch.save(network.checkpoint_state(), partial)
            run.manifest |= {
                "weights": _WEIGHTS_FILE,
                "architecture": arch,
                "checkpoint": runs.file_hash(run.folder / _WEIGHTS_FILE),
                "processes": distributed.world_size(),
                "auxiliary": [],
                "imported": {
                    "file": file.name,
                    "sha256": content_hash,
                    "pool": training["pool"],
                    "input_side": request["input_side"],
                    "mean": _per_channel(network.mean),
                    "deviation": _per_channel(network.std),
                },
            }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def _check_classes(study: Path, patches_run: str, classes: int | None) -> int:
    """Return the number of classes of the patches; UserError if `classes` is another number."""
    patch_classes = len(lineage.run_classes(study, patches_run).outputs)
    if classes is not None and classes != patch_classes:
        raise UserError(
            f"--classes is {classes}, but the patches of {patches_run} have {patch_classes}; set"
            f" patches.classes = {classes} in study.toml and run `deepminer patches` first."
        )
    return patch_classes


def _per_channel(values: torch.Tensor) -> list[float]:
    """Return normalisation values in 0..1, rounded to the digits in which they are published."""
    return [round(float(value) / 255, 6) for value in values.flatten()]


def _patches_at_published_side(
    study: Path, settings: Settings, arch: str, report: ProgressCallback, patches: str | None
) -> str:
    """Return the patches run for an architecture; make it where only its input side is missing."""
    run = patches_of_architecture(study, arch, patches)
    side = None if own_modules.is_own(arch) else architectures.published_side(arch)
    if patches is not None or side is None or load_run_settings(study, run)["input_side"] == side:
        return run
    with store.read(study) as con:
        has_own_labels = run_table.load_run(con, run)["manifest"]["labels"] == "own"
    if has_own_labels:
        resized = run_patch_extraction(study, settings, report, input_side=side).run
        with store.read(study) as con:
            if run_table.is_same_patches(con, resized, run):
                return resized
    raise UserError(
        f"{arch} was published for patches of {side} px, and {run} has other ones; run `deepminer"
        f" patches --input-side {side}` with the same labels and settings first."
    )
