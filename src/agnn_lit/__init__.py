"""AGNN for zero-shot video object segmentation, on PyTorch Lightning and Hydra.

From Python: ``agnn_lit.load()`` gives a model, ``agnn_lit.score()`` scores masks; see :mod:`agnn_lit.api`.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnn_lit.shared import torchvision_ops

if TYPE_CHECKING:
    from agnn_lit.api import (
        ConfigError,
        CrfConfig,
        DataError,
        InstancesConfig,
        Model,
        ScoreError,
        Scores,
        Segmentation,
        SegmentedFrame,
        load,
        score,
    )

__all__ = [
    "ConfigError",
    "CrfConfig",
    "DataError",
    "InstancesConfig",
    "Model",
    "ScoreError",
    "Scores",
    "Segmentation",
    "SegmentedFrame",
    "load",
    "score",
]  # fmt: skip
__version__ = "0.1.0"
__path__.append(str(Path(__file__).parent / "commands"))  # `python -m agnn_lit.train` is the command agnn-train

torchvision_ops.install()


def __getattr__(name: str) -> Any:
    """Import the API when it is first used, so that ``import agnn_lit`` is quick."""
    if name in __all__:
        return getattr(import_module("agnn_lit.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
