"""The official variant against the released model's facts: its tensors, and its masks derived a second time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from agnn_lit.config import ConfigError
from agnn_lit.inference.prepare import prepare
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.build import build_model
from agnn_lit.model.official import Part, from_released, our_name, read_released, released_name, to_released
from tests.configs import train_config
from tests.model import released

# One process builds the model once for all of these tests.
pytestmark = [pytest.mark.xdist_group("official"), pytest.mark.long]  # networks of 60 million parameters


@cache
def theirs() -> dict[str, torch.Tensor]:
    return released.model_state()


@cache
def official() -> AGNN:
    """Ours, with the weights of :func:`theirs`."""
    model = build_model(train_config("model=agnn_official", "backbone=deeplab_official", small=False)).eval()
    model.load_state_dict(from_released(theirs(), Part.model, model.state_dict()))
    return model


def frames(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Three frames (1, 3, 3, H, W) of smooth patches and noise, as large as pixels less their mean."""
    random = torch.Generator().manual_seed(seed)
    patches = 60 * torch.randn(3, 3, 6, 8, generator=random)
    smooth = nn.functional.interpolate(patches, size=(height, width), mode="bilinear")
    return (smooth + 10 * torch.randn(3, 3, height, width, generator=random))[None]


@cache
@torch.inference_mode()
def expected_masks(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability maps of the second derivation (1, 3, H, W), and its auxiliary ones."""
    masks, straight = released.masks(theirs(), list(frames(*size).transpose(0, 1)))
    # These maps have something to agree on: they vary, and each frame has its own.
    assert all(m.std() > 0.05 for m in masks)
    assert (masks[0] - masks[1]).abs().mean() > 0.01
    return torch.stack(masks, 1), torch.stack(straight, 1)


@torch.inference_mode()
def apart(model: AGNN, size: tuple[int, int]) -> float:
    """Largest difference of a model's three probability maps from the second derivation's."""
    return float((torch.sigmoid(model(frames(*size))) - expected_masks(size)[0]).abs().max())


def test_it_has_the_released_number_of_parameters():
    assert round(sum(p.numel() for p in official().parameters()) / 1e6, 2) == 82.32
    assert sum(p.numel() for p in official().parameters()) == 82_324_932


@pytest.mark.parametrize("size", [(473, 473), (184, 312)], ids=str)
def test_masks_are_those_of_the_released_model(size):
    assert apart(official(), size) < 1e-4


def test_the_grid_of_a_frame_is_the_released_one():
    """Rounding up in the pooling: 60 positions for 473 pixels, and one more than ceil(H/8) for 480."""
    with torch.inference_mode():
        for pixels, positions in ((480, 61), (96, 13), (97, 13)):
            assert official().encoder.body(torch.zeros(1, 3, pixels, 41)).shape[-2] == positions


def test_the_auxiliary_mask_is_the_released_one():
    with torch.inference_mode():
        _, straight = official().forward_with_auxiliary(frames(96, 128))
    assert straight is not None
    assert (torch.sigmoid(straight) - expected_masks((96, 128))[1]).abs().max() < 1e-4


def test_bf16_changes_the_probabilities_by_little():
    """As ``agnn-predict`` runs it where the processor has bf16: folded, channels-last."""
    ready = prepare(official(), torch.device("cpu"), torch.bfloat16)
    with torch.inference_mode():
        got = torch.sigmoid(ready(frames(184, 312).bfloat16()).float())
    assert (got - expected_masks((184, 312))[0]).abs().mean() < 0.02


def sabotage(change: Callable[[AGNN], object]) -> AGNN:
    model = copy.deepcopy(official())
    change(model)
    return model


SABOTAGES: dict[str, Callable[[AGNN], object]] = {
    "W_c is transposed": lambda m: m.line_edge.weight.data.copy_(m.line_edge.weight.data.T.clone()),
    "pooling rounds down": lambda m: setattr(m.encoder.body.maxpool, "ceil_mode", False),
    "stride in the second convolution": lambda m: (
        setattr(m.encoder.body.layer2[0].conv1, "stride", (1, 1)),
        setattr(m.encoder.body.layer2[0].conv2, "stride", (2, 2)),
    ),
    "first block dilated less": lambda m: (
        setattr(m.encoder.body.layer4[0].conv2, "dilation", (2, 2)),
        setattr(m.encoder.body.layer4[0].conv2, "padding", (2, 2)),
    ),
    "no slope below zero": lambda m: m.encoder.project[2].weight.data.zero_(),
    "loop edge is the identity": lambda m: m.encoder.loop_edge.alpha.data.zero_(),
    "loop edge after the last layer": lambda m: setattr(
        m.encoder, "head", nn.Sequential(m.encoder.head, m.encoder.loop_edge)
    ),
    "no gate": lambda m: setattr(m, "gate", nn.Identity()),
    "neighbours in another order": lambda m: m.aggregate.conv.weight.data.copy_(
        m.aggregate.conv.weight.data.roll(256, dims=1).clone()
    ),
    "state before message": lambda m: m.update.candidate.weight.data.copy_(
        m.update.candidate.weight.data.roll(256, dims=1).clone()
    ),
    "three rounds": lambda m: setattr(m, "rounds", 3),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_every_detail_shows_in_the_masks(name):
    assert apart(sabotage(SABOTAGES[name]), (96, 128)) > 1e-3


def test_conversion_to_ours_and_back_is_the_identity(tmp_path):
    expected = official().state_dict()
    back = to_released(from_released(theirs(), Part.model, expected), Part.model, expected)
    assert back["model"].keys() == {f"module.{name}" for name in theirs()}
    assert all(torch.equal(back["model"][f"module.{name}"], tensor) for name, tensor in theirs().items())
    assert all(back["model"][f"module.{k}"].shape == v.shape for k, v in theirs().items())
    # and the other way round
    names = {k: torch.empty(0) for k in expected}
    assert {our_name(released_name(k)) for k in names} == names.keys()


def test_counters_of_batches_may_be_missing():
    """They came with PyTorch 0.4.1; nothing is made up for them."""
    old = {k: v for k, v in theirs().items() if not k.endswith("num_batches_tracked")}
    expected = official().state_dict()
    ours = from_released(old, Part.model, expected)
    assert to_released(ours, Part.model, expected)["model"].keys() == {f"module.{k}" for k in old}
    model = copy.deepcopy(official())
    model.load_state_dict({k: torch.zeros_like(v) for k, v in expected.items()})
    model.load_state_dict(ours)
    assert torch.equal(model.line_edge.weight, official().line_edge.weight)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "pickle of PyTorch 1.0"])
def test_the_encoders_start_values(tmp_path, prefix, legacy):
    draw = released.Draw(1)
    released.encoder_state(draw)
    file = tmp_path / "deeplab_davis_12_0.pth"
    content = {"epoch": 12, "model": {prefix + k: v for k, v in draw.state.items()}}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    state, part = read_released(file)
    assert part is Part.encoder
    expected = official().state_dict()
    ours = from_released(state, part, expected)
    assert {k.partition(".")[0] for k in ours} == {"encoder", "auxiliary"}
    back = to_released(ours, part, expected)["model"]
    assert back.keys() == {f"module.{k}" for k in draw.state}
    assert all(torch.equal(back[f"module.{k}"], v) for k, v in draw.state.items())


def test_what_is_missing_unexpected_or_misshapen_is_listed():
    state = dict(theirs())
    del state["gate.weight"]
    state["main_classifier2.weight"] = torch.zeros(1, 256, 1, 1)
    state["linear_e.weight"] = torch.zeros(256, 128)
    state["encoder.layer5.sa.gamma"] = torch.zeros(1, dtype=torch.float16)
    state["line_edge.weight"] = torch.zeros(256, 256)  # a name of ours
    with pytest.raises(ConfigError) as caught:
        from_released(state, Part.model, official().state_dict())
    lines = str(caught.value).splitlines()
    assert lines[0] == "not the released model:"
    assert [line.strip() for line in lines[1:]] == [
        "missing: gate.weight",
        "unexpected: line_edge.weight",
        "unexpected: main_classifier2.weight",
        "encoder.layer5.sa.gamma: type torch.float16, expected torch.float32",
        "linear_e.weight: shape (256, 128), expected (256, 256)",
    ]


def test_all_of_a_long_list_is_shown():
    with pytest.raises(ConfigError) as caught:
        from_released({"encoder.conv1.weight": torch.zeros(1)}, Part.model, official().state_dict())
    counters = sum("num_batches" in k for k in theirs())
    assert len(str(caught.value).splitlines()) == 1 + len(theirs()) - counters


def test_ours_of_another_form_cannot_become_a_released_file():
    state = build_model(train_config("model.channels=256", small=True)).state_dict()
    with pytest.raises(ConfigError, match=r"does not fit the released model:\n  missing: aggregate\.conv\.bias"):
        to_released(state, Part.model, official().state_dict())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"model": {"a": np.float64(1.0)}}, "it holds numpy.* which is not a tensor and could run code"),
        ({"state_dict": {}}, r"holds the keys \['state_dict'\], not.*; ckpt= takes files of agnn-train"),
        ({"model": {}}, 'not {"model": names to tensors}'),
        ([1], "holds list, not"),
        ({"model": {"conv1.weight": torch.zeros(1), "module.conv1.weight": torch.zeros(1)}}, "same tensors with and"),
    ],
    ids=["foreign object", "other keys", "empty", "a list", "twice"],
)
def test_a_file_that_is_none_of_theirs_is_refused(tmp_path, content, reason):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=reason):
        read_released(tmp_path / "x.pth")


def test_a_missing_and_a_torn_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"x\.pth: no such file"):
        read_released(Path(tmp_path / "x.pth"))
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ConfigError, match="cannot be loaded as weights only"):
        read_released(tmp_path / "x.pth")
