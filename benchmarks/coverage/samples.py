"""Random data sets of patients with several images each."""

from __future__ import annotations

import numpy as np
import scipy

from benchmarks.coverage.simulation import Cell, grid

PATIENTS = (20, 40, 100, 250)
ICCS = (0.0, 0.1, 0.5)
IMAGES = ("1", "4", "1-8")
Array = np.ndarray


def clustered_grid(**levels: object) -> list[Cell]:
    """Return the grid over patients, images a patient and intraclass correlation.

    One image a patient has no intraclass correlation, so that it is combined with 0 only.
    """
    cells = grid(patients=PATIENTS, images=IMAGES, icc=ICCS, **levels)  # type: ignore[arg-type]
    return [cell for cell in cells if cell["images"] != "1" or cell["icc"] == 0]


def image_counts(cell: Cell, generator: np.random.Generator) -> Array:
    """Return the number of images of each patient."""
    patients = cell["patients"]
    if cell["images"] == "1-8":
        return generator.integers(1, 9, patients)
    return np.full(patients, int(cell["images"]))


def separation(auc: float) -> float:
    """Return the distance of two normal distributions of variance 1 with this AUC."""
    return float(np.sqrt(2) * scipy.special.ndtri(auc))


def labelled_patients(cell: Cell, generator: np.random.Generator) -> tuple[Array, Array]:
    """Return patient and truth of each image; all images of a patient share its truth."""
    counts = image_counts(cell, generator)
    codes = np.repeat(np.arange(len(counts)), counts)
    diseased = max(2, round(cell["prevalence"] * len(counts)))
    return codes, codes < diseased


def correlated_noise(codes: Array, icc: float, generator: np.random.Generator) -> Array:
    """Return normal noise of variance 1 with an intraclass correlation within patients."""
    by_patient = generator.normal(size=int(codes.max()) + 1)
    return np.sqrt(icc) * by_patient[codes] + np.sqrt(1 - icc) * generator.normal(size=len(codes))


def binary_outcomes(
    cell: Cell, proportion: float, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Return outcome and patient of each image: beta-binomial with an intraclass correlation."""
    counts = image_counts(cell, generator)
    codes = np.repeat(np.arange(len(counts)), counts)
    return generator.random(len(codes)) < patient_rates(
        proportion, cell["icc"], len(counts), generator
    )[codes], codes


def patient_rates(
    proportion: float, icc: float, patients: int, generator: np.random.Generator
) -> Array:
    """Return each patient's probability, beta distributed with this intraclass correlation."""
    if icc == 0:
        return np.full(patients, proportion)
    scale = (1 - icc) / icc
    return generator.beta(proportion * scale, (1 - proportion) * scale, patients)


def covers(low: float | None, high: float | None, truth: float) -> bool | None:
    """Return whether bounds hold a value; None where there are no bounds."""
    return None if low is None or high is None else bool(low <= truth <= high)


def rejects(p: float | None, level: float = 0.05) -> bool | None:
    """Return whether a P value is at most the level; None where there is none."""
    return None if p is None else bool(p <= level)
