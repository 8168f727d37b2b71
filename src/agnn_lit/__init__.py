"""AGNN for zero-shot video object segmentation, on PyTorch Lightning and Hydra."""

from pathlib import Path

from agnn_lit.shared import torchvision_ops

__version__ = "0.1.0"
__path__.append(str(Path(__file__).parent / "commands"))  # `python -m agnn_lit.train` is the command agnn-train

torchvision_ops.install()
