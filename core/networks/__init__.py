"""Classifier architectures, their weights, and the devices they run on.

Code that needs a dataset, a study folder or a run belongs to `core.interpretation`, `core.training`
or `core.pipeline`, not here.
"""

from core.networks.architectures import INPUT_SIDES
from core.networks.checkpoints import head_size, read_state
from core.networks.classifier import Classifier, attach_auxiliary_block
from core.networks.factory import build, load_published_checkpoint
from core.networks.fully_convolutional import FullyConvolutional, to_fully_convolutional

__all__ = [
    "INPUT_SIDES",
    "Classifier",
    "FullyConvolutional",
    "attach_auxiliary_block",
    "build",
    "head_size",
    "load_published_checkpoint",
    "read_state",
    "to_fully_convolutional",
]
