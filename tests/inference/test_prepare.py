"""Precision and form of the network for the machine: the same model, faster."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agnn_lit.config import ConfigError
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.inference.prepare import choose_dtype, fold_norms, prepare
from agnn_lit.inference.video import PredictionSettings, predict_video
from agnn_lit.model.build import build_model
from tests.configs import train_config

CPU = torch.device("cpu")


def model(*words):
    """A small model whose normalisations have statistics of their own."""
    torch.manual_seed(0)
    built = build_model(train_config("backbone.weights=null", *words))
    for norm in (m for m in built.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    return built.eval()


BACKBONES = ["tiny", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "deeplab_official", "lite0"]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("readout", ["conv3", "bn"])
def test_folded_and_laid_out_it_is_the_same_function(backbone, readout):
    # In double precision, since rounding in fp32 differs by a thousandth between kinds of processors.
    plain = model(f"backbone={backbone}", f"model.readout={readout}").double()
    before = {k: v.clone() for k, v in plain.state_dict().items()}
    ready = prepare(plain, CPU, torch.float64)
    images = torch.randn(1, 3, 3, 40, 40, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(ready(images), plain(images), rtol=1e-6, atol=1e-6)
    assert not [m for m in ready.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(v, before[k]) for k, v in plain.state_dict().items()), "the model given is left as it is"
    assert not any(p.requires_grad for p in ready.parameters())


def test_a_norm_that_cannot_be_folded_stays():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
            self.first = nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.conv(self.first(x))
            return self.norm(y) + y

    module = Twice().eval()
    module.norm.running_mean.fill_(0.3)
    x = torch.randn(1, 3, 4, 4)
    expected = module(x)
    folded = fold_norms(module)
    torch.testing.assert_close(folded(x), expected)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 2


def test_bf16_is_near_fp32():
    plain = model()
    (video,) = synthetic_videos("test", 1, length=6, size=(32, 32))
    settings = PredictionSettings(3, (32, 32))
    exact = {p.index: p.probability for p in predict_video(prepare(plain, CPU, torch.float32), video, settings)}
    rounded = {p.index: p.probability for p in predict_video(prepare(plain, CPU, torch.bfloat16), video, settings)}
    assert all(abs(exact[i] - rounded[i]).mean() < 0.02 for i in exact)
    assert any((exact[i] != rounded[i]).any() for i in exact)


def test_auto_is_bf16_where_there_are_instructions_for_it(monkeypatch):
    for found, expected in (({"avx512_bf16": True}, torch.bfloat16), ({"avx512_f": True}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert choose_dtype("auto", CPU) is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_dtype("auto", CPU) is torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("auto", torch.device("mps")) is torch.float32
    assert choose_dtype("fp32", CPU) is torch.float32
    assert choose_dtype("fp16", torch.device("cuda")) is torch.float16
    with pytest.raises(ConfigError, match="dtype=fp16 needs a GPU"):
        choose_dtype("fp16", CPU)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's compiler warns of torch itself
def test_compiled_it_is_the_same_function():
    plain = model()
    ready = prepare(plain, CPU, torch.float32, compiled=True)
    images = torch.randn(1, 3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ready(images), plain(images), rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_bf16_on_a_gpu_is_near_fp32():
    plain = model("model.channels=32")
    device = torch.device("cuda")
    assert choose_dtype("auto", device) is torch.bfloat16
    (video,) = synthetic_videos("test", 1, length=6, size=(64, 64))
    settings = PredictionSettings(3, (64, 64), scales=(0.75, 1.0), flip=True)
    exact = {p.index: p.probability for p in predict_video(prepare(plain, device, torch.float32), video, settings)}
    rounded = {p.index: p.probability for p in predict_video(prepare(plain, device, torch.bfloat16), video, settings)}
    assert all(abs(exact[i] - rounded[i]).mean() < 0.02 for i in exact)
