"""AGNN for zero-shot video object segmentation, on PyTorch Lightning and Hydra."""

__version__ = "0.1.0"
