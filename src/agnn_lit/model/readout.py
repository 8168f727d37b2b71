"""From the states of a node to the logits of its mask (AGNN, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agnn_lit.config import Readout


def _conv3(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2 * channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, 1, 1),
    )


def _bn(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, 1, 1),
    )


class ReadOut(nn.Module):
    """Convolutions over [h^K, h^0].

    ``conv3`` is the paper's: two 3×3 convolutions and a 1×1. ``bn`` is the released code's: a 3×3
    convolution without bias, batch normalisation, ReLU and a 1×1.

    Args:
        kind: conv3 or bn.
        channels: C of the states.
    """

    def __init__(self, kind: Readout, channels: int) -> None:
        super().__init__()
        self.layers: nn.Module = _conv3(channels) if kind is Readout.conv3 else _bn(channels)

    def forward(self, last: Tensor, first: Tensor) -> Tensor:
        """Map h^K and h^0, both (M, C, H, W), to logits (M, 1, H, W)."""
        logits: Tensor = self.layers(torch.cat([last, first], dim=1))
        return logits
