"""Nodes and models small enough for loops, in float64."""

from __future__ import annotations

import numpy as np
import torch

from agnn_lit.model.agnn import AGNN

C, H, W = 4, 3, 5


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy() for k, v in module.state_dict().items()}


def states(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Pixels(torch.nn.Module):
    """An encoder with nothing to learn but a 1×1 convolution, so that nodes are easy to follow."""

    def __init__(self, channels: int = C) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.conv(images))


def small_agnn(rounds: int = 2, seed: int = 0, **axes) -> AGNN:
    torch.manual_seed(seed)
    model = AGNN(Pixels(), C, 3, rounds, loop_reduction=2, **axes).double()
    if model.loop_edge is not None:
        model.loop_edge.alpha.data.fill_(0.5)
    return model.eval()
