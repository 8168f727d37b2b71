"""Node embedding, h_i^0 = F(I_i): DeepLabV3 on dilated torchvision networks, or a tiny one for CPUs."""

from __future__ import annotations

from collections import OrderedDict

import agnn_lit.torchvision_ops  # noqa: F401 - before torchvision

from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large, resnet50, resnet101
from torchvision.models.segmentation.deeplabv3 import ASPP

from agnn_lit.config import BackboneName

_ASPP_RATES = (6, 12, 18)


class DeepLabEncoder(nn.Module):
    """Dilated network, ASPP with rates 6, 12, 18, and a 3×3 convolution to C channels, at stride 8.

    Args:
        name: which torchvision network.
        channels: C.
    """

    def __init__(self, name: BackboneName, channels: int) -> None:
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

    def forward(self, images: Tensor) -> Tensor:
        """Map images (M, 3, H, W) to nodes (M, C, ceil(H/8), ceil(W/8))."""
        nodes: Tensor = self.head(self.aspp(self.body(images)))
        return nodes


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

    Raises:
        ValueError: another stride.
    """

    def __init__(self, channels: int, stride: int = 4) -> None:
        super().__init__()
        if stride not in (4, 8):
            raise ValueError(f"stride {stride}: the tiny backbone has stride 4 or 8")
        strides = (2, 2, 1) if stride == 4 else (2, 2, 2, 1)
        widths = (3, *(channels for _ in strides))
        self.layers = nn.Sequential(*(_tiny_layer(widths[k], channels, s) for k, s in enumerate(strides)))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (M, 3, H, W) to nodes (M, C, ceil(H/stride), ceil(W/stride))."""
        nodes: Tensor = self.layers(images)
        return nodes


def _tiny_layer(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def build_backbone(name: BackboneName, channels: int, stride: int = 8) -> nn.Module:
    """Return the encoder of a name with a random start, mapping (M, 3, H, W) to (M, C, H/stride, W/stride)."""
    if name is BackboneName.tiny:
        return TinyEncoder(channels, stride)
    return DeepLabEncoder(name, channels)
