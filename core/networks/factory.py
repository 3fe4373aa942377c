"""Construction of classifiers from an architecture's name and a source of weights."""

from __future__ import annotations

from pathlib import Path

from core.errors import UserError
from core.networks.architectures import check_architecture, create_module, published_pool
from core.networks.checkpoints import load_imagenet_weights, load_state, read_state
from core.networks.classifier import Classifier
from core.networks.own_modules import check_class_map, create_own_module, is_own


def build(
    arch: str,
    classes: int,
    weights: str | None = None,
    units: int = 256,
    pool: str = "global",
    channels: int = 1,
) -> Classifier:
    """Return a classifier for training or inference.

    Parameters
    ----------
    arch : str
        "small", the name of a torchvision classifier, or "package.module:function" of a network of
        your own (`core.networks.own_modules`).
    classes : int
        Number of outputs, at least 2.
    weights : str, optional
        None or "none" for random weights, "imagenet" (downloaded on first use), or the path of a
        state dict, of a published `.pth.tar` or of a DeepMiner checkpoint.
    units : int
        Units of the last layer of the "small" network.
    pool : {"global", "top_left_7"}
        Average pooling in front of a single linear head.
    channels : {1, 3}
        Channels of the images: grey or colour.

    Returns
    -------
    Classifier
        On the CPU, in training mode.

    Raises
    ------
    UserError
        For an unknown architecture, an own module that does not keep the contract, fewer than two
        classes, or a file that does not fit.

    References
    ----------
    docs/reference/definitions.md, "Networks".

    Examples
    --------
    >>> import torch
    >>> from core.networks import build
    >>> _ = torch.manual_seed(0)
    >>> network = build("small", classes=3, units=8)
    >>> network.input_side, network.single_linear
    (64, True)
    >>> tuple(network.class_weights().shape)
    (3, 8)
    """
    if not is_own(arch):
        check_architecture(arch)
    if classes < 2:
        raise UserError(f"A classifier needs at least two classes; {classes} requested.")
    if is_own(arch):
        network = Classifier(arch, classes, create_own_module(arch, classes), pool)
        own_channels = int(network.mean.shape[1])
        check_class_map(arch, network.net, classes, own_channels, network.input_side)
    else:
        network = Classifier(arch, classes, create_module(arch, classes, units, channels), pool)
    network.channels = channels
    if weights == "imagenet":
        load_imagenet_weights(network)
    elif weights is not None and weights != "none":
        load_state(network, read_state(Path(weights)), Path(weights))
    return network


def load_published_checkpoint(path: Path | str, arch: str, classes: int) -> Classifier:
    """Return the classifier of a published DeepMiner checkpoint, in evaluation mode.

    ResNets get `pool = "top_left_7"`. torchvision 0.1.9 averaged the top-left 7 x 7 positions of
    the 8 x 8 map at 227 px, and the published numbers come from that.

    Parameters
    ----------
    path : pathlib.Path or str
        A `.pth.tar` file with the key `state_dict`.
    arch : str
        Its architecture: "alexnet", "vgg16", "inception_v3" or "resnet152".
    classes : int
        Its number of outputs: 3 (HDSR 2021) or 2 (SPIE 2018).

    Returns
    -------
    Classifier
        On the CPU, in evaluation mode.

    Raises
    ------
    UserError
        If the file is missing, damaged, contains pickled code or does not fit.

    References
    ----------
    Wu et al. 2021, DeepMiner, Harvard Data Science Review 3(4). Wu et al. 2018, Expert
    identification of visual primitives used by CNNs during mammogram classification, SPIE 10575.
    docs/reference/definitions.md, "Networks".

    Examples
    --------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from core.networks import build, load_published_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "checkpoint.pth.tar"
    ...     state = build("small", classes=2).net.state_dict()
    ...     torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    ...     network = load_published_checkpoint(path, "small", classes=2)
    >>> network.training, network.pool
    (False, 'global')
    """
    return build(arch, classes, str(path), pool=published_pool(arch)).eval()
