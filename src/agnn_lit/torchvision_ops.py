"""Lets torchvision be imported beside a torch that its compiled operators were not built for.

The registry's torchvision wheel is built for CUDA. Next to a CPU-only torch its operators do not load,
and ``import torchvision`` stops at "operator torchvision::nms does not exist". Nothing in this project
calls a compiled operator, so their schemas are declared, and only when the real ones are missing.
Import this module before the first import of torchvision or pytorch_lightning.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library: torch.library.Library | None = None


def _real_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to repair: the import will say that torchvision is missing
    for file in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError):
            return False
        return True
    return False


def declare_missing_operators() -> bool:
    """Declare torchvision's operator schemas when its compiled ones cannot be loaded; true if it did."""
    global _library
    if _library is not None:
        return True
    if _real_operators_load():
        return False
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS.values():
        _library.define(schema)  # type: ignore[no-untyped-call]
    return True


declare_missing_operators()
