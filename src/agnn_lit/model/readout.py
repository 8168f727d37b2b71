"""Predict the logits of a mask from the states of its node (AGNN, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agnn_lit.config.registry import option, register


@register("model.readout", "conv3")
def conv3(channels: int) -> nn.Sequential:
    """Two 3×3 convolutions and a 1×1, as in the paper: (M, 2C, H, W) to (M, 1, H, W)."""
    return nn.Sequential(
        nn.Conv2d(2 * channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, 1, 1),
    )


@register("model.readout", "bn")
def bn(channels: int) -> nn.Sequential:
    """A 3×3 convolution without bias, batch normalisation and a 1×1, as in the released code."""
    return nn.Sequential(
        nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, 1, 1),
    )


class ReadOut(nn.Module):
    """Convolutions over [h^K, h^0].

    Args:
        kind: option of ``model.readout``, called with C; returns a module that maps (M, 2C, H, W) to (M, 1, H, W).
        channels: C of the states.
    """

    def __init__(self, kind: str, channels: int) -> None:
        super().__init__()
        self.layers: nn.Module = option("model.readout", kind).load()(channels)

    def forward(self, last: Tensor, first: Tensor) -> Tensor:
        """Map h^K and h^0, both (M, C, H, W), to logits (M, 1, H, W)."""
        logits: Tensor = self.layers(torch.cat([last, first], dim=1))
        return logits
