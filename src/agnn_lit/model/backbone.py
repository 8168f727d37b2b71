"""Node embedding, h_i^0 = F(I_i): DeepLabV3 on dilated torchvision networks, or a tiny one for CPUs."""

from __future__ import annotations

from collections import OrderedDict

import agnn_lit.torchvision_ops  # noqa: F401 - before torchvision

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large, resnet50, resnet101
from torchvision.models.resnet import Bottleneck
from torchvision.models.segmentation.deeplabv3 import ASPP

from agnn_lit.config import BackboneName
from agnn_lit.model.edges import LoopEdge

_ASPP_RATES = (6, 12, 18)


class DeepLabEncoder(nn.Module):
    """Dilated network, ASPP with rates 6, 12, 18, and a 3×3 convolution to C channels, at stride 8.

    Args:
        name: which torchvision network.
        channels: C.
        loop_reduction: with a number, attend within the frame after the ASPP, in 256 / loop_reduction channels.
    """

    def __init__(self, name: BackboneName, channels: int, loop_reduction: int | None = None) -> None:
        super().__init__()
        if name is BackboneName.deeplabv3_mobilenet_v3_large:
            self.body, width = _mobilenet(), 960
        else:
            self.body, width = _resnet(name), 2048
        self.aspp = ASPP(width, _ASPP_RATES)
        self.head = nn.Sequential(
            nn.Conv2d(256, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.loop_edge = _loop_edge(256, loop_reduction)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (M, 3, H, W) to nodes (M, C, ceil(H/8), ceil(W/8))."""
        features: Tensor = self.aspp(self.body(images))
        if self.loop_edge is not None:
            features = self.loop_edge(features)
        nodes: Tensor = self.head(features)
        return nodes


def _loop_edge(channels: int, reduction: int | None) -> LoopEdge | None:
    return None if reduction is None else LoopEdge(channels, max(1, channels // reduction))


class OfficialEncoder(nn.Module):
    """The released code's encoder: another ResNet-101, a wider ASPP, and position attention before the last layer.

    Its ResNet is the one of the Caffe models: a block's stride sits in its first convolution, all 3×3 convolutions of
    stages 3 and 4 are dilated, by 2 and 4, and the pooling rounds its size up. That makes the grid of some sizes one
    position larger than ceil(H/8): 60 for 473 pixels, 61 for 480. The ASPP has 512 channels a branch and biased
    convolutions; a 3×3 convolution and a PReLU join its branches.

    Args:
        channels: C.
        loop_reduction: with a number, attend within the frame before the last convolution, in 256 / loop_reduction
            channels; 4 in the released code.
    """

    def __init__(self, channels: int, loop_reduction: int | None = None) -> None:
        super().__init__()
        self.body = _caffe_resnet101()
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_bn(2048, 512, 1), nn.ReLU(inplace=True))
        self.branches = nn.ModuleList(
            nn.Sequential(*_conv_bn(2048, 512, 3 if rate else 1, rate), nn.ReLU(inplace=True))
            for rate in (0, *_ASPP_RATES)
        )
        self.project = nn.Sequential(*_conv_bn(5 * 512, 256, 3, 1), nn.PReLU())
        self.loop_edge = _loop_edge(256, loop_reduction)
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
    """A biased convolution that keeps the size, and its normalisation; ``dilation`` counts for 3×3 kernels."""
    convolution = nn.Conv2d(in_channels, channels, kernel, padding=dilation, dilation=max(1, dilation))
    return convolution, nn.BatchNorm2d(channels)


def _caffe_resnet101() -> nn.Sequential:
    body = _resnet(BackboneName.deeplabv3_resnet101)
    body.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
    for stage, dilation in (("layer2", 1), ("layer3", 2), ("layer4", 4)):
        for block in body.get_submodule(stage).children():
            assert isinstance(block, Bottleneck)
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    for name, norm in body.named_modules():
        if name.endswith("downsample.1"):  # the released code trains all normalisations but these
            norm.requires_grad_(False)
    return body


def _resnet(name: BackboneName) -> nn.Sequential:
    make = resnet50 if name is BackboneName.deeplabv3_resnet50 else resnet101
    whole = make(weights=None, replace_stride_with_dilation=[False, True, True])
    layers = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict((layer, getattr(whole, layer)) for layer in layers))


def _mobilenet() -> nn.Sequential:
    """MobileNetV3-large at stride 8: torchvision dilates its last stage only and stays at stride 16."""
    features: nn.Sequential = mobilenet_v3_large(weights=None, dilated=True).features
    seen = 1  # stride so far
    dilation = 1  # that the strides taken out so far ask for
    for layer in features.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.stride[0] == 2 and seen == 8:
            # As in torchvision's ResNet, the convolution that loses its stride keeps its dilation.
            layer.stride = (1, 1)
            dilation = 2
            continue
        seen *= layer.stride[0]
        if layer.kernel_size[0] > 1 and dilation > 1:
            spread = dilation * layer.dilation[0]
            layer.dilation = (spread, spread)
            layer.padding = (spread * (layer.kernel_size[0] // 2),) * 2
    return features


class TinyEncoder(nn.Module):
    """A few convolutions for CPUs: strided to 4 or 8, and one more.

    It sees little context on purpose: matching between frames lives on an object having the same features
    whatever surrounds it. (With three more dilated convolutions the graph took five times as many steps to
    learn any matching on the synthetic videos.) For the same reason batch normalisation treats all frames
    alike; statistics of each frame, as in group normalisation, would shift with its content.

    Args:
        channels: C.
        stride: 4 or 8.
        loop_reduction: with a number, attend within the frame before the last convolution, in C / loop_reduction
            channels.

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
        self.loop_edge = _loop_edge(channels, loop_reduction)

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


def build_backbone(name: BackboneName, channels: int, stride: int = 8, loop_reduction: int | None = None) -> nn.Module:
    """Return the encoder of a name with a random start, mapping (M, 3, H, W) to (M, C, H/stride, W/stride).

    With ``loop_reduction`` it attends within the frame before its last convolution, in so many times fewer channels.
    """
    if name is BackboneName.tiny:
        return TinyEncoder(channels, stride, loop_reduction)
    if name is BackboneName.deeplab_official:
        return OfficialEncoder(channels, loop_reduction)
    return DeepLabEncoder(name, channels, loop_reduction)
