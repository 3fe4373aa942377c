"""Build the demonstration study: synthetic mammograms, every step, simulated experts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from core import settings, study_folder
from core.errors import UserError
from core.pipeline import dissect, explain, ingest, patches, phantom_concepts, train
from core.progress import ProgressCallback
from core.settings import Settings
from evaluation.demo import simulated_answers
from evaluation.pipeline import ablate, coverage, descriptor_association, evaluate

DEMO_PATIENTS, QUICK_DEMO_PATIENTS = 200, 80
# Shows the progress of a step: called with the step's name, used as a context manager.
ProgressDisplay = Callable[[str], AbstractContextManager[ProgressCallback]]


def _no_progress(_step: str) -> AbstractContextManager[ProgressCallback]:
    return nullcontext(lambda _done, _total, _unit: None)


def demo_settings(quick: bool) -> Settings:
    """Return the settings of the demonstration: the phantom's, a smaller network when quick."""
    phantom = settings.settings_from_preset(settings.PHANTOM_PRESET)
    named = phantom.with_changes("study", name="Phantom demonstration")
    return named.with_changes("training", epochs=10, units=64) if quick else named


def build_demo(
    folder: Path, *, quick: bool, experts: bool, progress: ProgressDisplay = _no_progress
) -> Path:
    """Build the demonstration study, or finish one that was interrupted.

    Steps whose run exists are skipped.

    Parameters
    ----------
    folder : Path
        The study folder, created if it is missing.
    quick : bool
        Fewer patients and a smaller network.
    experts : bool
        Add simulated annotations, a label audit and a reading study.
    progress : callable
        Shows the progress of a step.

    Raises
    ------
    UserError
        If the folder holds another study.
    """
    current = _open_or_create(folder, demo_settings(quick))
    with progress("mammograms") as report:
        ingest.ingest(
            folder,
            current,
            "phantom",
            None,
            report,
            workers=2,
            patients=QUICK_DEMO_PATIENTS if quick else DEMO_PATIENTS,
            seed=current.study.seed,
            # The width of a working image, so that no mammogram is resized.
            width=4 * current.images.input_side,
            contrast=1.3 if quick else 1.0,
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
