"""Agreement of two and of four raters."""

from __future__ import annotations

import itertools

import numpy as np
import scipy

from benchmarks.coverage.samples import Array, covers
from benchmarks.coverage.simulation import Cell, Outcome, Simulation, grid
from evaluation.agreement import cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha

# Marginal distributions of the categories, by their number and the commonness of the first.
MARGINS = {
    (2, "rare"): (0.85, 0.15),
    (2, "even"): (0.5, 0.5),
    (3, "rare"): (0.6, 0.25, 0.15),
    (3, "even"): (1 / 3, 1 / 3, 1 / 3),
    (5, "rare"): (0.5, 0.25, 0.15, 0.07, 0.03),
}
# Cuts of a normal trait into categories.
CUTS = {2: (0.85,), 3: (0.25, 1.0), 6: (-0.5, 0.0, 0.4, 0.85, 1.4)}


def evaluate_pair(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the coefficients of two raters."""
    margin = np.array(MARGINS[cell["categories"], cell["margins"]])
    kappa, k = cell["kappa"], len(margin)
    table = kappa * np.diag(margin) + (1 - kappa) * np.outer(margin, margin)
    counts = generator.multinomial(cell["items"], table.ravel()).reshape(k, k)
    results = {
        "Cohen's kappa (printed)": (cohen_kappa(counts), kappa),
        "Gwet's AC1 (printed)": (gwet_ac1(counts), _ac1(table)),
    }
    if k > 2:
        # The model keeps kappa under any weights: off the diagonal, both raters are independent.
        results["Cohen's kappa, quadratic weights (printed)"] = (
            cohen_kappa(counts, "quadratic"),
            kappa,
        )
    return {
        name: covers(result.low, result.high, truth) for name, (result, truth) in results.items()
    }


def _ac1(table: Array) -> float:
    shares = (table.sum(axis=0) + table.sum(axis=1)) / 2
    expected = (shares * (1 - shares)).sum() / (len(table) - 1)
    return float((np.trace(table) - expected) / (1 - expected))


def evaluate_raters(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate Krippendorff's alpha and Fleiss' kappa of raters of a common trait."""
    share, cuts = cell["shared"], CUTS[cell["categories"]]
    trait = np.sqrt(share) * generator.normal(size=cell["items"])
    noise = np.sqrt(1 - share) * generator.normal(size=(cell["raters"], cell["items"]))
    ratings = np.searchsorted(cuts, trait + noise)
    nominal, ordinal = _population_alpha(cell["categories"], share)
    alpha = krippendorff_alpha(ratings)
    outcome = {"Krippendorff's alpha, nominal (printed)": covers(alpha.low, alpha.high, nominal)}
    if cell["categories"] > 2:
        ranked = krippendorff_alpha(ratings, "ordinal")
        outcome["Krippendorff's alpha, ordinal (printed)"] = covers(
            ranked.low, ranked.high, ordinal
        )
    counts = [np.bincount(column, minlength=cell["categories"]) for column in ratings.T]
    kappa = fleiss_kappa(counts)
    outcome["Fleiss' kappa (printed)"] = covers(kappa.low, kappa.high, nominal)
    return outcome


def _population_alpha(categories: int, shared: float) -> tuple[float, float]:
    """Return nominal and ordinal alpha in the population, by integration over the trait."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(201)
    cuts = np.array([-np.inf, *CUTS[categories], np.inf])
    below = scipy.special.ndtr((cuts - np.sqrt(shared) * nodes[:, None]) / np.sqrt(1 - shared))
    rates = np.diff(below, axis=1)
    joint = (weights / weights.sum() * rates.T) @ rates
    margin = joint.sum(axis=1)
    position = np.cumsum(margin) - margin / 2
    alphas = []
    for distance in (
        1 - np.eye(categories),
        np.subtract.outer(position, position) ** 2,
    ):
        alphas.append(1 - float((joint * distance).sum() / (margin @ distance @ margin)))
    return alphas[0], alphas[1]


SIMULATIONS = (
    Simulation(
        name="two_raters",
        title="Agreement of two raters",
        model=(
            "With probability kappa both raters give the same category, otherwise two independent"
            " ones, from the same marginal distribution."
        ),
        cells=[
            {"items": items, "categories": categories, "margins": margins, "kappa": kappa}
            for items, (categories, margins), kappa in itertools.product(
                (24, 50, 100), MARGINS, (0.0, 0.3, 0.6, 0.9)
            )
        ],
        evaluate=evaluate_pair,
        rows="items",
        columns="kappa",
        resampled=True,
    ),
    Simulation(
        name="several_raters",
        title="Agreement of several raters",
        model=(
            "Ratings cut a normal variable of which the raters share this part; the true values are"
            " integrals over it."
        ),
        cells=grid(items=(24, 50), raters=(2, 4), categories=(2, 3, 6), shared=(0.3, 0.7, 0.95)),
        evaluate=evaluate_raters,
        rows="items",
        columns="shared",
        resampled=True,
    ),
)
