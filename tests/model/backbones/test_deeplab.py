from __future__ import annotations

import pytest
import torch
from torchvision.models import mobilenet_v3_large, resnet50
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, deeplabv3_resnet50

from agnn_lit.config import ConfigError
from agnn_lit.config.registry import options
from agnn_lit.model.build import build_backbone
from agnn_lit.model.weights import WeightsError, load_backbone_weights

DEEPLABS = [name for name in options("backbone.name") if name != "tiny"]


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


@pytest.mark.parametrize(("stride", "grid"), [(4, (8, 12)), (8, (4, 6))])
def test_the_tiny_backbone(stride, grid):
    assert build_backbone("tiny", 16, stride)(torch.randn(2, 3, 32, 48)).shape == (2, 16, *grid)
    with pytest.raises(ValueError, match="stride 16"):
        build_backbone("tiny", 16, 16)


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


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("deeplabv3_resnet50", deeplabv3_resnet50),
        ("deeplabv3_mobilenet_v3_large", deeplabv3_mobilenet_v3_large),
    ],
    ids=["resnet50", "mobilenet"],
)
def test_segmentation_weights_fill_everything_from_a_file(tmp_path, name, make):
    torch.manual_seed(1)
    published = make(weights=None, weights_backbone=None, aux_loss=True).state_dict()
    torch.save(published, tmp_path / "weights.pth")
    encoder = build_backbone(name, 256)
    load_backbone_weights(encoder, str(tmp_path / "weights.pth"))
    ours = encoder.state_dict()
    assert torch.equal(ours["aspp.convs.1.0.weight"], published["classifier.0.convs.1.0.weight"])
    assert torch.equal(ours["head.0.weight"], published["classifier.1.weight"])
    assert torch.equal(ours["head.1.running_var"], published["classifier.2.running_var"])
    body = [k for k in ours if k.startswith("body.")]
    assert len(body) > 200
    assert all(torch.equal(ours[k], published["backbone." + k[len("body.") :]]) for k in body)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("deeplabv3_resnet50", resnet50),
        ("deeplabv3_mobilenet_v3_large", mobilenet_v3_large),
    ],
    ids=["resnet50", "mobilenet"],
)
def test_classification_weights_fill_the_body_only(tmp_path, name, make):
    published = make(weights=None).state_dict()
    torch.save(published, tmp_path / "weights.pth")
    encoder = build_backbone(name, 32)
    before = encoder.aspp.convs[0][0].weight.clone()
    load_backbone_weights(encoder, str(tmp_path / "weights.pth"))
    body = {k[len("body.") :]: v for k, v in encoder.state_dict().items() if k.startswith("body.")}
    assert all(torch.equal(v, published.get(k, published.get("features." + k))) for k, v in body.items())
    assert torch.equal(encoder.aspp.convs[0][0].weight, before)


def test_weights_that_do_not_fit_list_what_is_wrong(tmp_path):
    state = deeplabv3_resnet50(weights=None, weights_backbone=None).state_dict()
    del state["backbone.conv1.weight"]
    state["backbone.extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        load_backbone_weights(build_backbone("deeplabv3_resnet50", 64), str(tmp_path / "w.pth"))
    for part in (
        "missing: body.conv1.weight",
        "unexpected: body.extra",
        "shape (256, 256, 3, 3), expected (64, 256",
    ):
        assert part in str(caught.value)


def test_unreadable_and_unknown_weights_are_refused(tmp_path):
    encoder = build_backbone("tiny", 8)
    with pytest.raises(WeightsError, match="no such file"):
        load_backbone_weights(encoder, str(tmp_path / "absent.pth"))
    (tmp_path / "broken.pth").write_bytes(b"broken")
    with pytest.raises(WeightsError, match="cannot be loaded as weights only"):
        load_backbone_weights(encoder, str(tmp_path / "broken.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        load_backbone_weights(encoder, str(tmp_path / "list.pth"))
    with pytest.raises(ConfigError, match="neither a file nor a name that torchvision knows"):
        load_backbone_weights(encoder, "NoSuch_Weights.V1")


def test_no_network_says_which_file_to_put_where(tmp_path, monkeypatch):
    from urllib.error import URLError

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        load_backbone_weights(
            build_backbone("deeplabv3_resnet50", 256),
            "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
        )
    assert "deeplabv3_resnet50_coco-cd0a2569.pth" in str(caught.value)
    assert f"into {tmp_path}/checkpoints" in str(caught.value)
    assert "backbone.weights=null" in str(caught.value)


def test_a_cached_download_is_used_by_its_torchvision_name(tmp_path, monkeypatch):
    """The real path of a torchvision name, with the file where torch.hub keeps its downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    published = resnet50(weights=None).state_dict()
    torch.save(published, cache / "resnet50-11ad3fa6.pth")
    encoder = build_backbone("deeplabv3_resnet50", 16)
    load_backbone_weights(encoder, "ResNet50_Weights.IMAGENET1K_V2")
    assert torch.equal(encoder.body.conv1.weight, published["conv1.weight"])
