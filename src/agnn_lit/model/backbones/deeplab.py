"""DeepLabV3 on dilated torchvision networks: h_i^0 = F_DeepLabV3(I_i) (AGNN, section 3.2)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large, resnet50, resnet101
from torchvision.models.segmentation.deeplabv3 import ASPP

from agnn_lit.config.registry import register
from agnn_lit.model.edges import optional_loop_edge

ASPP_RATES = (6, 12, 18)


class DeepLabEncoder(nn.Module):
    """Dilated network, ASPP with rates 6, 12, 18, and a 3×3 convolution to C channels, at stride 8.

    Args:
        channels: C.
        stride: 8.
        loop_reduction: add a loop edge with 256 / loop_reduction inner channels after the ASPP; None: no loop edge.
        body: builds the dilated network, which maps images (M, 3, H, W) to features (M, width, H/8, W/8).
        width: channels of the features.
    """

    def __init__(
        self,
        channels: int,
        stride: int = 8,  # noqa: ARG002 - same call as the others
        loop_reduction: int | None = None,
        *,
        body: Callable[[], nn.Module],
        width: int,
    ) -> None:
        super().__init__()
        self.body = body()
        self.aspp = ASPP(width, ASPP_RATES)
        self.head = nn.Sequential(
            nn.Conv2d(256, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.loop_edge = optional_loop_edge(256, loop_reduction)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (M, 3, H, W) to nodes (M, C, ceil(H/8), ceil(W/8))."""
        features: Tensor = self.aspp(self.body(images))
        if self.loop_edge is not None:
            features = self.loop_edge(features)
        nodes: Tensor = self.head(features)
        return nodes


def dilated_resnet(make: Callable[..., nn.Module]) -> nn.Sequential:
    """Return a torchvision ResNet without classifier, with the last two stages dilated: stride 8."""
    whole = make(weights=None, replace_stride_with_dilation=[False, True, True])
    layers = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict((layer, getattr(whole, layer)) for layer in layers))


def _mobilenet() -> nn.Sequential:
    """Return MobileNetV3-large at stride 8; torchvision only dilates the last stage, which gives stride 16."""
    features: nn.Sequential = mobilenet_v3_large(weights=None, dilated=True).features
    seen = 1  # stride so far
    dilation = 1  # to compensate for removed strides
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


register(
    "backbone.name", "deeplabv3_resnet50", strides=(8,), weights="DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"
)(partial(DeepLabEncoder, body=partial(dilated_resnet, resnet50), width=2048))
register(
    "backbone.name", "deeplabv3_resnet101", strides=(8,), weights="DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1"
)(partial(DeepLabEncoder, body=partial(dilated_resnet, resnet101), width=2048))
register(
    "backbone.name",
    "deeplabv3_mobilenet_v3_large",
    strides=(8,),
    weights="DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1",
)(partial(DeepLabEncoder, body=_mobilenet, width=960))
