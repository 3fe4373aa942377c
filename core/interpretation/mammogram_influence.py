"""Influence of units on the classes of whole mammograms, computed with the network.

Ranking and selection of units from these numbers are in `core.interpretation.influence`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core import distributed
from core.images.working_images import WorkingImages
from core.interpretation.feature_maps import FeatureProbe, forward_mammogram, mammogram_tensor
from core.networks import Classifier, FullyConvolutional
from core.progress import ProgressCallback


def compute_influences(
    network: Classifier,
    full: FullyConvolutional,
    probe: FeatureProbe,
    images: WorkingImages,
    files: Sequence[str],
    report: ProgressCallback,
) -> np.ndarray:
    """Return the influence of every unit on every class of whole mammograms.

    activation x weight for the last layer of single-linear networks, else activation x gradient.

    Parameters
    ----------
    network, full, probe
        A classifier, its fully convolutional form, and the layer of the units.
    images : WorkingImages
        Working images of the study.
    files : sequence of str
        Files of the mammograms.
    report : callable
        Called with (done, total, unit of progress) after each mammogram.

    Returns
    -------
    ndarray, float32 [images, classes, units]

    References
    ----------
    Zhou et al. 2016, section 2 (activation x weight). Wu et al. 2021 (HDSR), section 2.4.
    docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> from core.networks import build, to_fully_convolutional
    >>> network = build("small", classes=3, units=8).eval()
    >>> images = {"a": np.zeros((64, 64), np.uint8), "b": np.ones((80, 64), np.uint8)}
    >>> influence = compute_influences(
    ...     network,
    ...     to_fully_convolutional(network),
    ...     FeatureProbe(network, "last"),
    ...     images,
    ...     ["a", "b"],
    ...     lambda done, total, unit: None,
    ... )
    >>> influence.shape
    (2, 3, 8)
    """
    linear = network.single_linear and probe.layer == "last"
    weights = network.class_weights().numpy() if linear else None

    def image_influence(file: str) -> np.ndarray:
        """Return the influences [classes, units] of one mammogram."""
        if weights is None:
            return gradient_influence(full, probe, images[file])
        # The maximum comes before the weight: a negative weight gives a negative influence.
        return forward_mammogram(full, probe, images[file]).units.amax((1, 2)).numpy() * weights

    rows = []
    for i, (_, row) in enumerate(distributed.map_round_robin(list(files), image_influence)):
        rows.append(row)
        report(i + 1, len(files), "mammograms")
    return np.stack(rows).astype(np.float32)


def gradient_influence(
    full: FullyConvolutional, probe: FeatureProbe, mammogram: np.ndarray
) -> np.ndarray:
    """Return the gradient influence of every unit on every class of one mammogram.

    The largest product over positions of activation and gradient of the class logit, where the
    class logit is the spatial mean of the class map.

    Parameters
    ----------
    full : FullyConvolutional
        Fully convolutional form of the probed classifier.
    probe : FeatureProbe
        Layer of the units.
    mammogram : ndarray, uint8 [h, w]
        Working image.

    Returns
    -------
    ndarray, float32 [classes, units]

    References
    ----------
    Selvaraju et al. 2017, Grad-CAM, section 3 (gradients in place of class weights).
    docs/reference/definitions.md, "Units".

    Examples
    --------
    >>> import numpy as np
    >>> from core.networks import build, to_fully_convolutional
    >>> network = build("small", classes=2, units=8).eval()
    >>> probe = FeatureProbe(network, "features.6")
    >>> full = to_fully_convolutional(network)
    >>> gradient_influence(full, probe, np.zeros((64, 64), np.uint8)).shape
    (2, 32)
    """
    module = probe.network.layer(probe.layer)
    captured: list[Tensor] = []

    def capture(_module: object, _inputs: object, output: Tensor) -> Tensor:
        """Store the layer's output as a leaf and continue with a copy."""
        # A leaf in the middle of the graph: gradients are taken with respect to the maps only.
        # The copy protects the leaf from in-place layers behind it.
        captured.append(output.detach().requires_grad_(True))
        return captured[-1].clone()

    with torch.enable_grad():
        x = mammogram_tensor(mammogram)
        if module is None:
            captured.append(full.network.feature_maps(x).detach().requires_grad_(True))
            logits = full.from_maps(captured[0])
        else:
            handle = module.register_forward_hook(capture)
            try:
                logits = full(x)
            finally:
                handle.remove()
        maps = captured[0]
        # The classes share one forward pass, whose graph therefore has to outlive each gradient.
        products = [
            maps.detach() * torch.autograd.grad(class_logit, maps, retain_graph=True)[0]
            for class_logit in logits.mean((2, 3))[0]
        ]
        if module is not None:
            shape = (x.shape[2], x.shape[3])
            products = [full.network.layer_maps(product, shape) for product in products]
        return np.stack([product.amax((2, 3))[0].float().cpu().numpy() for product in products])
