"""Training that starts from the weights of another model, converted ones first of all."""

from __future__ import annotations

import pytest
import torch

from agnn_lit.config import ConfigError, plain
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.model.build import build_model
from agnn_lit.model.weights import WeightsError
from agnn_lit.shared.runs import Run
from agnn_lit.training.fit import train
from agnn_lit.training.warm_start import start_from
from tests.configs import OFFICIAL, train_config

pytestmark = pytest.mark.xdist_group("official")


@pytest.mark.long
def test_a_file_in_the_wrong_place_is_told_its_right_one(converted):
    cfg = train_config(*OFFICIAL)
    model = build_model(cfg, pretrained=False)
    for file, said in (
        ("a.pth", "agnn-convert official="),
        ("e.ckpt", "it holds initial weights of an encoder: train from them with backbone.weights="),
        ("no.ckpt", "model.weights=.*no such checkpoint"),
    ):
        with pytest.raises(ConfigError, match=said):
            start_from(model, cfg, converted / file)
    cfg.backbone.weights = str(converted / "a.ckpt")
    with pytest.raises(WeightsError, match=r"holds a whole model; model\.weights="):
        build_model(cfg)


@pytest.mark.long
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("model.rounds=3",), ""),
        (("model.frames=4", "model.aggregation=sum"), "; not used: aggregation"),
        (
            ("model.update=gru3x3", "model.gate=channel", "model.readout=conv3"),
            "; newly initialised: gate, update, readout",
        ),
        (("model.loop_edge=none", "model.auxiliary=false"), "; not used: loop_edge, auxiliary"),
        (("model.line_edge=symmetric",), ""),
        (("model.rounds=0",), "; not used: graph"),
        (("model.rounds=0", "model.frames=5"), "; not used: graph"),
    ],
    ids=str,
)
def test_a_model_starts_from_a_converted_checkpoint(converted, changes, said):
    cfg = train_config(*OFFICIAL, *changes)
    model = build_model(cfg)
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    assert start_from(model, cfg, converted / "a.ckpt") == f"started from {converted}/a.ckpt (K = 5, N' = 3){said}"
    theirs = load_checkpoint(converted / "a.ckpt")[1].state_dict()
    parts = tuple(f"{axis}." for axis in ("gate", "aggregate", "update", "readout", "auxiliary", "encoder.loop_edge"))
    changed = tuple(p for p in parts if p.split(".")[-2].replace("aggregate", "aggregation") in said)
    for name, tensor in model.state_dict().items():
        anew = name.startswith(changed) if changed else False
        assert torch.equal(tensor, fresh[name] if anew else theirs[name]), name


@pytest.mark.long
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("model.frames=4",), "model.frames=4: model.weights=.* was trained for N' = 3"),
        (("backbone=tiny",), "was trained with backbone.name=deeplab_official, not tiny"),
        (("backbone.preprocessing=imagenet",), "was trained with backbone.preprocessing=caffe, not imagenet"),
        (("model.channels=128",), r"does not fit the model:\n  .*shape"),
    ],
    ids=str,
)
def test_what_cannot_be_continued_from_is_refused_with_the_reason(converted, changes, message):
    cfg = train_config(*OFFICIAL, *changes)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        start_from(build_model(cfg), cfg, converted / "a.ckpt")


@pytest.mark.long
def test_fine_tuning_with_another_k_and_other_frames(converted, tmp_path):
    """The whole path with the whole network, on clips so small that it takes seconds."""
    small = ("model.frames=2", "model.aggregation=sum", "model.rounds=2", "data.synthetic.train_videos=2")
    cfg = train_config(*OFFICIAL, "optim=sgd", "clips.val_share=0", "trainer.max_epochs=1", *small)
    cfg.model.weights = str(converted / "a.ckpt")
    run = Run(tmp_path / "run")
    metrics = train(cfg, run)
    assert metrics["train/loss"] > 0
    tuned, before = load_checkpoint(run.best)[1], load_checkpoint(converted / "a.ckpt")[1]
    moved = {n for n, p in tuned.named_parameters() if n in (b := before.state_dict()) and not torch.equal(p, b[n])}
    assert {n.partition(".")[0] for n in moved} == {"encoder", "line_edge", "gate", "update", "readout", "auxiliary"}
    # The released code leaves the normalisations of the shortcuts as they are.
    assert not [n for n in moved if ".downsample.1." in n]
    assert (tuned.line_edge.weight - before.line_edge.weight).abs().max() < 1e-2, "it went on from there"


@pytest.mark.long
def test_a_symmetric_line_edge_becomes_directed_by_what_it_computed(tmp_path):
    """Its weight's antisymmetric part takes no part in training, and must not enter now."""
    cfg = train_config()
    model = build_model(cfg)
    model.line_edge.weight.data += torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    named = {f"model.{k}": v for k, v in model.state_dict().items()}
    torch.save({"hyper_parameters": {"config": plain(cfg)}, "state_dict": named}, tmp_path / "a.ckpt")
    cfg = train_config("model.line_edge=directed")
    freed = build_model(cfg)
    start_from(freed, cfg, tmp_path / "a.ckpt")
    assert torch.equal(freed.line_edge.w_c, model.line_edge.w_c)
    assert not torch.equal(freed.line_edge.w_c, model.line_edge.weight)
