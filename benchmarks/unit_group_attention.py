"""Attention over auxiliary columns for the image as a whole, or for each group of units.

`python -m benchmarks.unit_group_attention [--repetitions N]` writes UNIT_GROUP_ATTENTION.md beside
this file. All data are SIMULATED: responses of groups of units, a genetic score and an age, with a
product of the score and one group ("spiculated mass") of known size in the truth. Three forms of
attention and a logistic regression with product terms look for that product.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor, nn

from core.networks.auxiliary_inputs import AuxiliaryAttention
from evaluation.proportion import adjust
from evaluation.roc import auc

FILE = Path(__file__).with_name("UNIT_GROUP_ATTENTION.md")
GROUPS, UNITS_PER_GROUP, COLUMNS = 8, 8, 2
PRODUCT_GROUP, SCORE = 0, 0  # the group "spiculated mass" and the column "genetic score"
PATIENTS = 2096  # the 80 % of DDSM's patients that train
PRODUCTS = (0.0, 0.4, 0.8)  # change of the group's coefficient per standard deviation of the score
TEST_PATIENTS = 10_000
STEPS, LEARNING_RATE, WEIGHT_DECAY = 120, 0.03, 1e-3
ALPHA = 0.05
REGRESSION = "regression with products"


@dataclass(frozen=True)
class Patients:
    """Simulated patients.

    units: float32 [patients, units], the pooled maps. columns: float32 [patients, 2 * columns],
    each value with its missing flag (0), as `AuxiliaryColumn.encode` gives them. truth: int
    [patients], 1 for malignant.
    """

    units: np.ndarray
    columns: np.ndarray
    truth: np.ndarray

    @property
    def groups(self) -> np.ndarray:
        """Mean response of each group, float32 [patients, groups]."""
        return self.units.reshape(len(self.units), GROUPS, UNITS_PER_GROUP).mean(2)

    @property
    def values(self) -> np.ndarray:
        """The columns without their missing flags, float32 [patients, columns]."""
        return self.columns[:, ::2]


def simulate_patients(rng: np.random.Generator, patients: int, product: float) -> Patients:
    """Draw patients whose log odds hold `product` x genetic score x response of one group."""
    responses = np.maximum(rng.normal(0.3, 1.0, (patients, GROUPS)), 0)
    noise = rng.normal(0, 0.5, (patients, GROUPS, UNITS_PER_GROUP))
    units = np.maximum(responses[:, :, None] + noise, 0).reshape(patients, -1)
    values = rng.normal(size=(patients, COLUMNS))
    slopes = np.array([1.0, 0.8, 0.6, 0.4, 0.0, -0.2, -0.4, -0.6])
    log_odds = -1.0 + responses @ slopes + 0.5 * values[:, SCORE]
    log_odds = log_odds + product * values[:, SCORE] * responses[:, PRODUCT_GROUP]
    truth = rng.random(patients) < 1 / (1 + np.exp(-log_odds))
    columns = np.stack([values, np.zeros_like(values)], 2).reshape(patients, -1)
    return Patients(units.astype(np.float32), columns.astype(np.float32), truth.astype(int))


class ImageAttention(nn.Module):
    """The product's form: one weight for the image, one for each column."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(GROUPS * UNITS_PER_GROUP, 2)
        self.block = AuxiliaryAttention(GROUPS * UNITS_PER_GROUP, 2, [2] * COLUMNS)

    def forward(self, units: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and the factor of every group [n, groups]."""
        factor, added, _ = self.block(units, columns)
        return factor * self.head(units) + added, factor.expand(-1, GROUPS)


class GroupAttention(nn.Module):
    """One weight for each group of units and for each column.

    conditioned: a group's token also holds the columns, so that the score of a group may depend on
    them; without, each token is scored by itself, as in the additive attention of HDSR 2021.
    """

    def __init__(self, conditioned: bool, size: int = 16) -> None:
        super().__init__()
        self.head = nn.Linear(GROUPS * UNITS_PER_GROUP, 2)
        extra = 2 * COLUMNS if conditioned else 0
        self.conditioned = conditioned
        self.tokens = nn.ModuleList(
            [nn.Linear(UNITS_PER_GROUP + extra, size) for _ in range(GROUPS)]
            + [nn.Linear(2, size) for _ in range(COLUMNS)]
        )
        self.score = nn.Linear(size, 1, bias=False)
        self.value = nn.Linear(size, 2, bias=False)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.value.weight)

    def forward(self, units: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and the factor of every group [n, groups]."""
        parts = list(units.split(UNITS_PER_GROUP, 1))
        inputs = [torch.cat([part, columns], 1) if self.conditioned else part for part in parts]
        inputs += columns.split(2, 1)
        tokens = torch.stack([token(x) for token, x in zip(self.tokens, inputs)], 1).tanh()
        share = self.score(tokens)[:, :, 0].softmax(1) * tokens.shape[1]
        weights = self.head.weight.reshape(2, GROUPS, UNITS_PER_GROUP)
        contributions = torch.einsum("ngu,cgu->ngc", torch.stack(parts, 1), weights)
        added = (share[:, GROUPS:, None] * self.value(tokens[:, GROUPS:])).sum(1)
        logits = (share[:, :GROUPS, None] * contributions).sum(1) + added + self.head.bias
        return logits, share[:, :GROUPS]


FORMS: dict[str, Callable[[], nn.Module]] = {
    "image": ImageAttention,
    "groups": lambda: GroupAttention(conditioned=False),
    "groups, score depends on columns": lambda: GroupAttention(conditioned=True),
}


def fit(form: Callable[[], nn.Module], data: Patients, seed: int) -> nn.Module:
    """Train head and block together on pooled maps."""
    torch.manual_seed(seed)
    model = form()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    units, columns = torch.from_numpy(data.units), torch.from_numpy(data.columns)
    truth = torch.from_numpy(data.truth)
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits, _ = model(units, columns)
        nn.functional.cross_entropy(logits, truth).backward()
        optimizer.step()
    return model.eval()


def measure(model: nn.Module, test: Patients) -> tuple[float, np.ndarray]:
    """Return the AUC on new patients, and the slope of each group's factor on the genetic score.

    The slope is that of the logarithm of the factor, less the mean over groups: what is common to
    all groups does not tell one phenomenon from another.
    """
    with torch.no_grad():
        logits, factors = model(torch.from_numpy(test.units), torch.from_numpy(test.columns))
    score = test.values[:, SCORE].astype(float)
    centred = (score - score.mean()) / score.var()
    logarithms = np.log(factors.numpy().astype(float))
    slopes = centred @ (logarithms - logarithms.mean(0)) / len(score)
    return auc(test.truth, (logits[:, 1] - logits[:, 0]).numpy()), slopes - slopes.mean()


def product_design(data: Patients) -> np.ndarray:
    """Return constant, groups, columns and score x group, float [patients, 1 + 2 G + columns]."""
    responses, values = data.groups.astype(float), data.values.astype(float)
    products = responses * values[:, [SCORE]]
    return np.column_stack([np.ones(len(responses)), responses, values, products])


def fit_products(data: Patients) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of a logistic regression, and Holm's P of each score x group."""
    design = product_design(data)
    coefficients = np.zeros(design.shape[1])
    for _ in range(25):  # Newton-Raphson
        fitted = 1 / (1 + np.exp(-design @ coefficients))
        information = design.T @ (design * (fitted * (1 - fitted))[:, None])
        coefficients = coefficients + np.linalg.solve(information, design.T @ (data.truth - fitted))
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    tests = 2 * stats.norm.sf(np.abs(coefficients / errors))[-GROUPS:]
    return coefficients, np.asarray(adjust(tests, method="holm"))


def run_setting(product: float, repetitions: int) -> list[dict[str, object]]:
    """Return one row for each form and one for the regression."""
    test = simulate_patients(np.random.default_rng(7), TEST_PATIENTS, product)
    aucs: dict[str, list[float]] = {name: [] for name in (*FORMS, REGRESSION)}
    slopes: dict[str, list[np.ndarray]] = {name: [] for name in FORMS}
    p_values = []
    for repetition in range(repetitions):
        data = simulate_patients(np.random.default_rng([1, repetition]), PATIENTS, product)
        coefficients, tests = fit_products(data)
        p_values.append(tests)
        aucs[REGRESSION].append(auc(test.truth, product_design(test) @ coefficients))
        for name, form in FORMS.items():
            area, slope = measure(fit(form, data, repetition), test)
            aucs[name].append(area)
            slopes[name].append(slope)
    rows = [
        {
            "product": product,
            "form": name,
            "auc": float(np.mean(aucs[name])),
            "steepest": largest_share(np.stack(slopes[name])),
            "slope": float(np.mean(np.stack(slopes[name])[:, PRODUCT_GROUP])),
            "spread": float(np.std(np.stack(slopes[name]), axis=0).mean()),
        }
        for name in FORMS
    ]
    significant = np.stack(p_values) < ALPHA
    regression = {
        "product": product,
        "form": REGRESSION,
        "auc": float(np.mean(aucs[REGRESSION])),
        "found": float(significant[:, PRODUCT_GROUP].mean()),
        "false": float(np.delete(significant, PRODUCT_GROUP, 1).any(1).mean()),
    }
    return [*rows, regression]


def largest_share(slopes: np.ndarray) -> float | None:
    """Return how often the true group has the largest slope [repetition, group]; None for ties."""
    if np.allclose(slopes, 0, atol=1e-5):
        return None
    return float((slopes.argmax(1) == PRODUCT_GROUP).mean())


def write_report(table: pd.DataFrame, repetitions: int) -> None:
    """Write the table as Markdown."""
    cells = table.astype(object).where(table.notna(), "")
    for name in ("auc", "slope", "spread"):
        cells[name] = [f"{value:.3f}" if value != "" else "" for value in cells[name]]
    for name in ("steepest", "found", "false"):
        cells[name] = [f"{value:.2f}" if value != "" else "" for value in cells[name]]
    names = {
        "product": "product in the truth",
        "form": "form",
        "auc": "AUC, new patients",
        "steepest": "true group has the largest slope",
        "slope": "its slope",
        "spread": "SD of a slope over repetitions",
        "found": "product found (P < .05)",
        "false": "false finding in any other group",
    }
    FILE.write_text(
        "# Attention for the image or for groups of units (SIMULATED data)\n\n"
        "Written by `python -m benchmarks.unit_group_attention --repetitions"
        f" {repetitions}`: {repetitions} repetitions a row, {PATIENTS:,} training patients,"
        f" {TEST_PATIENTS:,} new patients for each AUC, {GROUPS} groups of {UNITS_PER_GROUP} units."
        " A slope is the change of the logarithm of a group's factor per standard deviation of the"
        " genetic score, less the mean over the"
        f" groups; a group has the largest one by chance in {1 / GROUPS:.3f}. An empty cell: the"
        " form gives every group the same slope, which distinguishes none.\n\n"
        + cells[list(names)].rename(columns=names).to_markdown(index=False)
        + "\n"
    )


def main() -> None:
    """Run every setting and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=8)
    repetitions = parser.parse_args().repetitions
    rows = [row for product in PRODUCTS for row in run_setting(product, repetitions)]
    write_report(pd.DataFrame(rows), repetitions)
    print(FILE.read_text())


if __name__ == "__main__":
    main()
