"""Lets torchvision be imported with a torch that its compiled operators were not built for.

The torchvision wheel of PyPI is built for CUDA. Next to a CPU-only torch its operators do not load, and
``import torchvision`` stops at "operator torchvision::nms does not exist"; so does pytorch_lightning, which imports it.
This package calls no compiled operator, so an import hook declares the missing schemas just before torchvision is
imported. ``agnn_lit/__init__.py`` installs the hook, without importing torch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # the library that holds the declarations, kept alive here


def _compiled_operators_load(package: Path) -> bool:
    import torch

    for file in package.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError):
            return False
        return True
    return False


def operators_are_missing() -> bool:
    """Whether torchvision's compiled operators are only declared and cannot be called."""
    import torchvision  # noqa: F401 - runs the hook

    return bool(_declared)


class _BeforeTorchvision(MetaPathFinder):
    """Import hook that acts once, when torchvision is imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - called by the import system
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torchvision")
        if spec is not None and spec.origin is not None and not _compiled_operators_load(Path(spec.origin).parent):
            import torch

            library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for schema in _SCHEMAS:
                library.define(schema)  # type: ignore[no-untyped-call]
            _declared.append(library)
        return None


def install() -> None:
    """Install the import hook, unless torchvision has been imported already."""
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _BeforeTorchvision())
