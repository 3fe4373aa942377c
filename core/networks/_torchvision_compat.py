"""Import torchvision where its compiled operators are missing.

A torchvision wheel built for another torch has no `torchvision::nms`, and then fails on import.
Declaring the two schemas it asks for is enough for models and transforms (the operators themselves
stay unusable, and nothing here uses them). Where torchvision imports by itself nothing is done.
"""

from __future__ import annotations

import torch

_library: torch.library.Library | None = None  # must stay alive, or the declarations vanish


def prepare() -> None:
    """Make `import torchvision` work; call before the first import of it in every process."""
    global _library
    if _library is not None:
        return
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _library = torch.library.Library("torchvision", "DEF")
        _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401
