from __future__ import annotations

import pytest
import torch
from torchvision.models import mobilenet_v3_large

from agnn_lit.config.registry import options
from agnn_lit.model.build import build_backbone

DEEPLABS = [name for name in options("backbone.name") if name not in ("tiny", "timm")]


@pytest.mark.parametrize("name", DEEPLABS, ids=str)
def test_deeplab_backbones_have_stride_8_and_the_asked_channels(name):
    torch.manual_seed(0)
    encoder = build_backbone(name, 24).eval()
    with torch.inference_mode():
        assert encoder(torch.randn(1, 3, 65, 97)).shape == (1, 24, 9, 13)


def test_a_473_pixel_frame_gives_60_positions():
    encoder = build_backbone("deeplabv3_mobilenet_v3_large", 16).eval()
    with torch.inference_mode():
        assert encoder(torch.randn(1, 3, 473, 473)).shape == (1, 16, 60, 60)


def test_mobilenet_keeps_its_receptive_field_at_stride_8():
    """Taking a stride out must be answered by dilation: the values on the coarse grid stay the same."""
    torch.manual_seed(0)
    encoder = build_backbone("deeplabv3_mobilenet_v3_large", 256).eval()
    published = mobilenet_v3_large(weights=None, dilated=True).features.eval()
    published.load_state_dict(encoder.body.state_dict())
    image = torch.randn(1, 3, 128, 128)
    strided = [m for m in published.modules() if isinstance(m, torch.nn.Conv2d) and m.stride[0] == 2]
    assert len(strided) == 4
    assert sum(m.stride[0] == 2 for m in encoder.body.modules() if isinstance(m, torch.nn.Conv2d)) == 3
    # Squeeze-excitation averages over the grid, so only the layers before the first one with it after the
    # removed stride are comparable: block 7, its depthwise convolution, on every other position.
    with torch.inference_mode():
        ours, theirs = image, image
        for k in range(7):
            ours, theirs = encoder.body[k](ours), published[k](theirs)
        assert torch.equal(ours, theirs)
        fine, coarse = encoder.body[7](ours), published[7](theirs)
        torch.testing.assert_close(fine[..., ::2, ::2], coarse)
        fine, coarse = encoder.body[8](fine), published[8](coarse)
        torch.testing.assert_close(fine[..., ::2, ::2], coarse)
