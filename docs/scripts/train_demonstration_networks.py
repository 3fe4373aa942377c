"""Train the weights that the demonstrations start from, on phantom patients of their own.

The networks learn to tell the phantom's findings, anatomy and markers apart, as ImageNet weights
come from a task with many kinds of objects. A demonstration replaces the head and trains the
network on the study's three classes. The patients have another seed than those of demonstrations.

    .venv/bin/python docs/scripts/train_demonstration_networks.py

About six minutes of processor time for "medium" (the demonstration) and one for "small" (the quick
one). The weights are written to `evaluation/demo/weights/`.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import networks
from core.networks.architectures import MEDIUM, SMALL
from core.sources import phantom
from core.sources.phantom.concepts import FINDING_CONCEPTS, Concept
from core.training import augment_flips, one_cycle
from evaluation.demo.build import FULL_PLAN, QUICK_PLAN, DemoPlan

SEED, PATIENTS = 7001, 105
BATCH, PEAK_RATE, SPARSITY = 48, 4e-3, 2e-3
SAMPLES = {MEDIUM: 36_000, SMALL: 24_000}
# Factor on every finding. Those of the "medium" network's patients are fainter than in its
# demonstration.
CONTRASTS = {MEDIUM: 1.0, SMALL: 1.3}
# A view label lies outside the breast, where no patch is taken.
CONCEPTS = tuple(concept for concept in Concept if concept != Concept.VIEW_LABEL)
# Least share of a patch that shows anatomy or a marker.
LEAST_SHARES = {
    Concept.PECTORAL_MUSCLE: 0.15,
    Concept.NIPPLE: 0.01,
    Concept.SKIN_LINE: 0.02,
    Concept.DENSE_TISSUE: 0.5,
    Concept.FATTY_TISSUE: 0.8,
    Concept.VESSEL: 0.03,
    Concept.SKIN_MARKER: 0.02,
}


def draw_patches(task: phantom.PhantomTask, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return patches [n, side, side] of a patient and the concepts that they show [n, concept].

    Five patches about each finding and four elsewhere, in each view.
    """
    rng = np.random.default_rng([task.seed, task.index])
    patches, shown = [], []
    for mammogram in phantom.read_patient(task).mammograms:
        bits = mammogram.concepts
        assert bits is not None
        totals = {concept: int(((bits & concept) > 0).sum()) for concept in FINDING_CONCEPTS}
        for y, x in _corners(rng, mammogram, side):
            window = np.s_[y : y + side, x : x + side]
            patches.append(mammogram.pixels[window])
            shown.append([_is_shown(bits[window], concept, totals) for concept in CONCEPTS])
    return np.stack(patches), np.array(shown, np.float32)


def _corners(
    rng: np.random.Generator, mammogram: phantom.Mammogram, side: int
) -> list[tuple[int, int]]:
    """Return top-left corners of patches, with a finding or breast at the centre of each."""
    height, width = mammogram.pixels.shape
    centres = [
        finding.outline[0].mean(0) + rng.uniform(-0.35, 0.35, 2) * side
        for finding in mammogram.findings
        for _ in range(5)
    ]
    tissue = np.argwhere(mammogram.pixels > 40)
    centres += [tissue[rng.integers(len(tissue))][::-1] for _ in range(4)]
    return [
        (
            int(np.clip(y - side / 2, 0, height - side)),
            int(np.clip(x - side / 2, 0, width - side)),
        )
        for x, y in centres
    ]


def _is_shown(bits: np.ndarray, concept: Concept, totals: dict[Concept, int]) -> bool:
    """Return whether a patch shows a concept: half of a finding, or enough of something else."""
    pixels = int(((bits & int(concept)) > 0).sum())
    if concept in totals:
        return pixels > 12 and pixels >= 0.5 * min(totals[concept], bits.size)
    return pixels >= LEAST_SHARES[concept] * bits.size


def train(plan: DemoPlan, patches: Tensor, shown: Tensor) -> networks.Classifier:
    """Return a network trained to tell the concepts apart."""
    torch.manual_seed(SEED)
    network = networks.build(plan.architecture, len(CONCEPTS), units=plan.units)
    network.to(memory_format=torch.channels_last)
    # Frequent concepts must not decide which patches are drawn.
    rarity = 1 / shown.mean(0)
    weight = 0.3 + (shown * rarity).amax(1).clamp(max=20)
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_RATE, weight_decay=1e-3)
    steps = SAMPLES[plan.architecture] // BATCH
    running = math.log(2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, steps, PEAK_RATE)
        rows = torch.multinomial(weight, BATCH)
        logits = network(augment_flips(patches[rows]))
        loss = F.binary_cross_entropy_with_logits(logits, shown[rows])
        # Few weights per unit: a unit then stands for one phenomenon rather than for many.
        penalty = SPARSITY * network.last_linear().weight.abs().mean(0).sum()
        optimizer.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        optimizer.step()
        running = 0.98 * running + 0.02 * float(loss.detach())
        if step % 25 == 0:
            print(f"{plan.architecture}, step {step} of {steps}: loss {running:.3f}", flush=True)
    return network.eval()


def phantom_tasks(plan: DemoPlan) -> list[phantom.PhantomTask]:
    """Return the patients of a plan's training, all of them with findings."""
    tasks, _ = phantom.list_tasks(
        patients=PATIENTS,
        seed=SEED,
        width=4 * plan.input_side,
        contrast=CONTRASTS[plan.architecture],
        normal=0.0,
        malignant=0.5,
        marker=0.2,
    )
    return tasks


def make_weights(plan: DemoPlan) -> None:
    """Draw the patients, train a network and write its weights."""
    with ProcessPoolExecutor(2) as pool:
        draw = partial(draw_patches, side=plan.input_side)
        drawn = list(pool.map(draw, phantom_tasks(plan), chunksize=4))
    patches = torch.from_numpy(np.concatenate([patch for patch, _ in drawn]))[:, None]
    shown = torch.from_numpy(np.concatenate([concepts for _, concepts in drawn]))
    print(f"{plan.architecture}: {len(patches)} patches of {plan.input_side} px", flush=True)
    network = train(plan, patches, shown)
    plan.weights.parent.mkdir(exist_ok=True)
    # Half precision halves the file; the demonstration trains on from these values.
    state = {name: value.half() for name, value in network.net.state_dict().items()}
    torch.save(state, plan.weights)


if __name__ == "__main__":
    for demo_plan in (FULL_PLAN, QUICK_PLAN):
        make_weights(demo_plan)
