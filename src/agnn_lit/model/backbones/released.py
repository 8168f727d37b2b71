"""The encoder of the authors' released code."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import resnet101
from torchvision.models.resnet import Bottleneck

from agnn_lit.config.registry import register
from agnn_lit.model.backbones.deeplab import ASPP_RATES, dilated_resnet
from agnn_lit.model.edges import optional_loop_edge


@register("backbone.name", "deeplab_official", strides=(8,), weights=None)
class OfficialEncoder(nn.Module):
    """The released code's encoder: another ResNet-101, a wider ASPP, and position attention before the last layer.

    Its ResNet is that of the Caffe models: the first convolution of a block has the stride, all 3×3 convolutions of
    stages 3 and 4 are dilated by 2 and 4, and pooling rounds sizes up. For some inputs the grid is therefore one
    position larger than ceil(H/8): 60 for 473 pixels, 61 for 480. The ASPP has biased convolutions with 512 channels
    per branch, joined by a 3×3 convolution and a PReLU.

    Args:
        channels: C.
        stride: 8.
        loop_reduction: as in :class:`agnn_lit.model.backbones.deeplab.DeepLabEncoder`; 4 in the released code.
    """

    def __init__(self, channels: int, stride: int = 8, loop_reduction: int | None = None) -> None:  # noqa: ARG002
        super().__init__()
        self.body = _caffe_resnet101()
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_bn(2048, 512, 1), nn.ReLU(inplace=True))
        self.branches = nn.ModuleList(
            nn.Sequential(*_conv_bn(2048, 512, 3 if rate else 1, rate), nn.ReLU(inplace=True))
            for rate in (0, *ASPP_RATES)
        )
        self.project = nn.Sequential(*_conv_bn(5 * 512, 256, 3, 1), nn.PReLU())
        self.loop_edge = optional_loop_edge(256, loop_reduction)
        self.head = nn.Sequential(
            nn.Conv2d(256, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (M, 3, H, W) to nodes (M, C, H', W')."""
        features: Tensor = self.body(images)  # (M, 2048, H', W')
        branches = [branch(features) for branch in self.branches]  # (M, 512, H', W') each
        pooled = self.pooled(features).expand_as(branches[0])
        joined = torch.cat([pooled, *branches], dim=1)  # (M, 2560, H', W')
        embedded: Tensor = self.project(joined)
        if self.loop_edge is not None:
            embedded = self.loop_edge(embedded)
        nodes: Tensor = self.head(embedded)
        return nodes


def _conv_bn(in_channels: int, channels: int, kernel: int, dilation: int = 0) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Return a biased convolution that keeps the size, and its normalisation; ``dilation`` is for 3×3 kernels."""
    convolution = nn.Conv2d(in_channels, channels, kernel, padding=dilation, dilation=max(1, dilation))
    return convolution, nn.BatchNorm2d(channels)


def _caffe_resnet101() -> nn.Sequential:
    body = dilated_resnet(resnet101)
    body.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
    for stage, dilation in (("layer2", 1), ("layer3", 2), ("layer4", 4)):
        for block in body.get_submodule(stage).children():
            assert isinstance(block, Bottleneck)
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    for name, norm in body.named_modules():
        if name.endswith("downsample.1"):  # the released code does not train these
            norm.requires_grad_(False)
    return body
