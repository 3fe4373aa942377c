"""Coverage of units, and calibration of probabilities."""

from __future__ import annotations

import numpy as np
import scipy

from benchmarks.coverage.samples import (
    Array,
    correlated_noise,
    covers,
    image_counts,
)
from benchmarks.coverage.simulation import Cell, Outcome, Simulation, grid
from evaluation.coverage import select_units, split_half_coverage
from evaluation.roc import calibration

UNITS, TOP, SELECT = 256, 8, 20
POPULATION_IMAGES = 20_000


def evaluate_units(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the split-half coverage of one data set."""
    popularity = _popularity(cell)
    codes = np.repeat(np.arange(cell["patients"]), image_counts(cell, generator))
    tops = _top_units(popularity, codes, cell["icc"], generator)
    # Few splits: the bounds depend on their mean only.
    interval = split_half_coverage(tops[None], codes, UNITS, SELECT, repeats=20)[0]
    rates = _population_rates(cell)
    return {
        "split-half coverage (printed)": covers(
            interval.low, interval.high, _half_coverage(tops, codes, rates, generator)
        )
    }


def _half_coverage(
    tops: Array, codes: Array, rates: Array, generator: np.random.Generator
) -> float:
    """Return the population coverage of units selected on half of the patients, mean of halves."""
    patients, shares = int(codes.max()) + 1, []
    for _ in range(20):
        half = np.isin(codes, generator.permutation(patients)[: patients // 2])
        for part in (half, ~half):
            counts = np.bincount(tops[part].ravel(), minlength=UNITS)
            shares.append(rates[select_units(counts, SELECT)].sum())
    return float(np.mean(shares))


def _popularity(cell: Cell) -> Array:
    # The same units in every data set of a cell.
    return cell["spread"] * np.random.default_rng(1).normal(size=UNITS)


def _top_units(
    popularity: Array, codes: Array, icc: float, generator: np.random.Generator
) -> Array:
    """Return the top units of each image: popularity plus the patient's and the image's noise."""
    by_patient = generator.normal(size=(int(codes.max()) + 1, UNITS))
    noise = np.sqrt(icc) * by_patient[codes]
    noise += np.sqrt(1 - icc) * generator.normal(size=(len(codes), UNITS))
    return np.argpartition(-(popularity + noise), TOP, axis=1)[:, :TOP]


_RATES: dict[float, Array] = {}


def _population_rates(cell: Cell) -> Array:
    """Return how often each unit is among the top ones; the noise's total variance is always 1."""
    if cell["spread"] not in _RATES:
        codes = np.arange(POPULATION_IMAGES)
        tops = _top_units(_popularity(cell), codes, 0.0, np.random.default_rng(2))
        _RATES[cell["spread"]] = np.bincount(tops.ravel(), minlength=UNITS) / tops.size
    return _RATES[cell["spread"]]


def evaluate_calibration(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate slope and intercept of calibrated probabilities whose outcomes are correlated."""
    codes = np.repeat(np.arange(cell["patients"]), image_counts(cell, generator))
    logits = -0.5 + correlated_noise(codes, 0.3, generator)
    probabilities = scipy.special.expit(logits)
    # A Gaussian copula keeps each probability and correlates the outcomes of a patient.
    latent = correlated_noise(codes, cell["icc"], generator)
    outcomes = scipy.special.ndtr(latent) < probabilities
    result = calibration(outcomes, probabilities, cluster=codes)
    slope, shift = result.slope_interval(), result.in_the_large_interval()
    return {
        "calibration slope (printed)": covers(slope.low, slope.high, 1.0),
        "calibration in the large (printed)": covers(shift.low, shift.high, 0.0),
    }


SIMULATIONS = (
    Simulation(
        name="unit_coverage",
        title="Coverage of selected units",
        model=(
            "Eight of 256 units are the top ones of an image by a fixed popularity and by noise of"
            " the patient and of the image. The true value is the coverage, in the population, of"
            " the 20 units selected on half of the patients."
        ),
        cells=[
            cell
            for cell in grid(
                patients=(20, 40, 100), images=("1", "1-8"), icc=(0.0, 0.5), spread=(0.5, 1.0)
            )
            if cell["images"] != "1" or not cell["icc"]
        ],
        evaluate=evaluate_units,
        columns="spread",
        resampled=True,
    ),
    Simulation(
        name="calibration",
        title="Calibration",
        model="Calibrated probabilities; the outcomes of a patient are correlated.",
        cells=[
            cell
            for cell in grid(patients=(40, 100, 250), images=("1", "1-8"), icc=(0.0, 0.5))
            if cell["images"] != "1" or not cell["icc"]
        ],
        evaluate=evaluate_calibration,
        columns="icc",
        resampled=True,
    ),
)
