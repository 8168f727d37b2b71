"""A tiny encoder for CPUs."""

from __future__ import annotations

from torch import Tensor, nn

from agnn_lit.config.registry import register
from agnn_lit.model.edges import optional_loop_edge


@register("backbone.name", "tiny", strides=(4, 8), pretrained=False, batch_norm_of_one=True)
class TinyEncoder(nn.Module):
    """Two or three strided convolutions and one more, for CPUs.

    Its receptive field is small on purpose: matching between frames needs features of an object that do not depend on
    its surroundings. (With three more dilated convolutions, the graph took five times as many steps to learn to match
    on the synthetic videos.) For the same reason it uses batch normalisation: the statistics of group normalisation
    would depend on the content of each frame.

    Args:
        channels: C.
        stride: 4 or 8.
        loop_reduction: add a loop edge with C / loop_reduction inner channels before the last convolution.

    Raises:
        ValueError: another stride.
    """

    def __init__(self, channels: int, stride: int = 4, loop_reduction: int | None = None) -> None:
        super().__init__()
        if stride not in (4, 8):
            raise ValueError(f"stride {stride}: the tiny backbone has stride 4 or 8")
        strides = (2, 2, 1) if stride == 4 else (2, 2, 2, 1)
        widths = (3, *(channels for _ in strides))
        self.layers = nn.Sequential(*(_tiny_layer(widths[k], channels, s) for k, s in enumerate(strides)))
        self.loop_edge = optional_loop_edge(channels, loop_reduction)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (M, 3, H, W) to nodes (M, C, ceil(H/stride), ceil(W/stride))."""
        *first, last = self.layers
        features = images
        for layer in first:
            features = layer(features)
        if self.loop_edge is not None:
            features = self.loop_edge(features)
        nodes: Tensor = last(features)
        return nodes


def _tiny_layer(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
