"""Import torchvision where its compiled operators are missing.

A torchvision wheel built for another torch version lacks the operator `torchvision::nms` and fails
on import. Declaring the two schemas that the import asks for is enough for models and transforms.
The operators themselves stay unusable; nothing in this project calls them.
"""

from __future__ import annotations

import torch

_library: torch.library.Library | None = None  # the declarations live as long as this object


def declare_missing_operators() -> None:
    """Make `import torchvision` work; call before its first import in a process."""
    global _library
    # torch admits one DEF library per namespace.
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
