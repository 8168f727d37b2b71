"""Weights of a backbone from a file, from torchvision's cache, or refused."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import mobilenet_v3_large, resnet50
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, deeplabv3_resnet50

from agnn_lit.config import ConfigError
from agnn_lit.model.build import build_backbone, build_model
from agnn_lit.model.weights import WeightsError, load_backbone_weights
from tests.configs import OFFICIAL, quoted, train_config
from tests.model.released import released_file


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


@pytest.mark.long
def test_torchvisions_weights_need_their_preprocessing(tmp_path):
    cfg = train_config("backbone=deeplabv3_resnet50", "backbone.weights=null", "backbone.preprocessing=caffe")
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    cfg.backbone.weights = str(tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"was trained with backbone\.preprocessing=imagenet, not caffe"):
        build_model(cfg)


@pytest.mark.long
@pytest.mark.xdist_group("official")
def test_the_encoders_start_values_are_loaded(converted):
    cfg = train_config(*OFFICIAL, f"backbone.weights={quoted(converted / 'e.ckpt')}")
    model, theirs = build_model(cfg), released_file(converted / "e.pth")
    assert torch.equal(model.encoder.body.conv1.weight, theirs["conv1.weight"])
    assert torch.equal(model.encoder.loop_edge.alpha, theirs["layer5.sa.gamma"][0])
    assert torch.equal(model.auxiliary.weight, theirs["main_classifier.weight"])
    cfg.model.auxiliary, cfg.model.loop_edge = False, "none"
    assert torch.equal(build_model(cfg).encoder.head[0].weight, theirs["layer5.conv51.0.weight"])
    cfg.backbone.preprocessing = "imagenet"
    with pytest.raises(WeightsError, match=r"was trained with backbone\.preprocessing=caffe, not imagenet"):
        build_model(cfg)
    cfg.backbone.weights = str(converted / "a.pth")
    with pytest.raises(WeightsError, match="looks like a file of the released code; convert it with agnn-convert"):
        build_model(cfg)
