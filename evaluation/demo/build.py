"""Build the demonstration study: synthetic mammograms, every step, simulated experts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from core import settings, study_folder
from core.errors import UserError
from core.networks.architectures import INPUT_SIDES, MEDIUM, SMALL
from core.pipeline import dissect, explain, ingest, patches, phantom_concepts, train
from core.progress import ProgressCallback
from core.settings import Settings
from evaluation.demo import simulated_answers
from evaluation.pipeline import (
    ablate,
    coverage,
    descriptor_association,
    evaluate,
    sufficiency,
)


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """Size of a demonstration.

    patients: number of them. architecture, units, epochs, draws, learning_rate: of the network,
    and of its training. contrast: factor on every finding. select: units per class that experts
    name.
    """

    patients: int
    architecture: str
    units: int
    epochs: int
    draws: int
    learning_rate: float
    contrast: float
    select: int

    @property
    def input_side(self) -> int:
        """Side of a patch in pixels; a mammogram is four times as wide."""
        return INPUT_SIDES[self.architecture]

    @property
    def weights(self) -> Path:
        """The file of the weights from which training starts.

        `docs/scripts/train_demonstration_networks.py` makes it.
        """
        return Path(__file__).parent / "weights" / f"{self.architecture}.pt"


FULL_PLAN = DemoPlan(
    patients=120,
    architecture=MEDIUM,
    units=96,
    epochs=3,
    draws=2500,
    # Lower than from random weights, which it would otherwise undo.
    learning_rate=1e-3,
    contrast=1.09,
    select=12,
)
QUICK_PLAN = DemoPlan(
    patients=80,
    architecture=SMALL,
    units=64,
    epochs=4,
    draws=2500,
    learning_rate=4e-3,
    contrast=1.3,
    select=8,
)
# Share of malignant findings with a ring on the skin, in the study with a planted shortcut.
SHORTCUT_MARKERS = 0.8
DEMO_NAME, SHORTCUT_NAME = "Phantom demonstration", "Phantom demonstration with a shortcut"
# Shows the progress of a step: called with the step's name, used as a context manager.
ProgressDisplay = Callable[[str], AbstractContextManager[ProgressCallback]]


def _no_progress(_step: str) -> AbstractContextManager[ProgressCallback]:
    return nullcontext(lambda _done, _total, _unit: None)


def demo_settings(plan: DemoPlan, *, shortcut: bool) -> Settings:
    """Return the settings of a demonstration: the phantom's, with the plan's network."""
    phantom = settings.settings_from_preset(settings.PHANTOM_PRESET)
    name = SHORTCUT_NAME if shortcut else DEMO_NAME
    return (
        phantom.with_changes("study", name=name)
        .with_changes("images", input_side=plan.input_side)
        .with_changes(
            "training",
            architecture=plan.architecture,
            weights=str(plan.weights),
            units=plan.units,
            epochs=plan.epochs,
            draws=plan.draws,
            learning_rate=plan.learning_rate,
        )
        .with_changes("dissection", select=plan.select)
    )


def build_demo(
    folder: Path,
    *,
    quick: bool,
    experts: bool,
    shortcut: bool = False,
    progress: ProgressDisplay = _no_progress,
) -> Path:
    """Build the demonstration study, or finish one that was interrupted.

    Steps whose run exists are skipped.

    Parameters
    ----------
    folder : Path
        The study folder, created if it is missing.
    quick : bool
        Fewer patients, narrower mammograms and a smaller network.
    experts : bool
        Add simulated annotations, a label audit and a reading study.
    shortcut : bool
        Plant a shortcut: a ring on the skin beside most malignant findings.
    progress : callable
        Shows the progress of a step.

    Raises
    ------
    UserError
        If the folder holds another study.
    """
    plan = QUICK_PLAN if quick else FULL_PLAN
    current = _open_or_create(folder, demo_settings(plan, shortcut=shortcut))
    with progress("mammograms") as report:
        ingest.ingest(
            folder,
            current,
            "phantom",
            None,
            report,
            # Starting a second process takes longer than drawing narrow mammograms.
            workers=1 if quick else 2,
            patients=plan.patients,
            seed=current.study.seed,
            # The width of a working image, so that no mammogram is resized.
            width=4 * current.images.input_side,
            contrast=plan.contrast,
            marker=SHORTCUT_MARKERS if shortcut else 0.0,
        )
    with progress("patches") as report:
        patches.run_patch_extraction(folder, current, report)
    with progress("train") as report:
        train.run_training(folder, current, report)
    with progress("evaluate") as report:
        evaluate.run_evaluation(folder, report)
    with progress("dissect") as report:
        dissected = dissect.run_dissection(folder, current, report).run
        coverage.run_coverage(folder, report, dissected)
        descriptor_association.run_descriptor_association(folder, report, dissected)
        phantom_concepts.run_phantom_concepts(folder, report, dissected)
    with progress("explain") as report:
        explain.run_explanation(folder, current, report)
    if experts:
        # Before `ablate`, which tests the labelled units.
        simulated_answers.simulate_annotations(folder, dissected)
        simulated_answers.simulate_audit(folder)
    with progress("ablate") as report:
        ablate.run_ablation(folder, report, dissected)
    if not quick:
        with progress("sufficiency") as report:
            sufficiency.run_sufficiency(folder, report, dissected)
    if experts:
        simulated_answers.freeze_open_study(folder)
        simulated_answers.simulate_reading(folder)
    return folder


def _open_or_create(folder: Path, demo: Settings) -> Settings:
    if not (folder / settings.SETTINGS_NAME).exists():
        study_folder.create_study(folder, demo)
        return demo
    study_folder.require_study(folder)
    current = settings.load_settings(folder)
    if current.study.name != demo.study.name:
        raise UserError(
            f"{folder} contains another study; choose another folder for the demonstration."
        )
    return current
