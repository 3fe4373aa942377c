"""A classifier on the named units alone: sparse logistic regression on their activations.

A module of its own because it fits a model; what it is compared with belongs in
`evaluation.pipeline.sufficiency`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from evaluation.validation import Array

# Inverse strengths of the L1 penalty, the sparsest first.
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
LOSS_TOLERANCE = 0.01  # nats by which the chosen hold-out loss may exceed the least one


@dataclass(frozen=True)
class Bottleneck:
    """A fitted classifier.

    logits: float [test patches, classes]; units: activations that it uses, whose weight is not zero
    for some class; strength: chosen member of `STRENGTHS`.
    """

    logits: Array
    units: int
    strength: float


def fit_bottleneck(
    train: Array, train_labels: Array, holdout: Array, holdout_labels: Array, test: Array
) -> Bottleneck | None:
    """Fit on training patches, choose the sparsity on hold-out patches, and predict test patches.

    The sparsest of `STRENGTHS` whose loss is within `LOSS_TOLERANCE` of the least one is chosen.

    Parameters
    ----------
    train, holdout, test : ndarray of float, shape (patches, units)
        Largest activations of the units.
    train_labels, holdout_labels : ndarray of int, shape (patches,)
        Class columns, 0 to classes - 1.

    Returns
    -------
    Bottleneck or None
        None if the training patches lack a class that hold-out patches have.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(300) % 2
    >>> activations = rng.random((300, 4))
    >>> activations[:, 1] += labels
    >>> result = fit_bottleneck(activations, labels, activations, labels, activations)
    >>> bool(((result.logits[:, 1] > result.logits[:, 0]) == labels).mean() > 0.9)
    True
    """
    classes = np.unique(train_labels)
    if len(classes) < 2 or not set(np.unique(holdout_labels)) <= set(classes):
        return None
    scaler = StandardScaler().fit(train)
    scaled, held_out = scaler.transform(train), scaler.transform(holdout)
    models = [
        LogisticRegression(
            C=strength, l1_ratio=1.0, solver="saga", tol=1e-2, max_iter=2_000, random_state=1
        ).fit(scaled, train_labels)
        for strength in STRENGTHS
    ]
    losses = [
        log_loss(holdout_labels, model.predict_proba(held_out), labels=classes) for model in models
    ]
    # The sparsest model that is about as good as the best one.
    chosen = next(i for i, loss in enumerate(losses) if loss <= min(losses) + LOSS_TOLERANCE)
    probabilities = models[chosen].predict_proba(scaler.transform(test))
    used = int((np.abs(models[chosen].coef_).max(0) > 0).sum())
    return Bottleneck(np.log(np.maximum(probabilities, 1e-300)), used, STRENGTHS[chosen])
