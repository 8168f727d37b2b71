"""The two full recipes on miniature data in the real folder layouts, and what their steps change."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from agnn_lit.config import ConfigError, OptimConfig, StaticConfig
from agnn_lit.data.dataset import Clip
from agnn_lit.data.datasets.saliency import index_static
from agnn_lit.data.open import open_static_images
from agnn_lit.data.video import DataError
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.model.build import build_model
from agnn_lit.shared.runs import Run
from agnn_lit.training import losses
from agnn_lit.training.build import build_module, plan_epochs
from agnn_lit.training.fit import train
from agnn_lit.training.module import describe_groups, parameter_groups
from tests.configs import train_config
from tests.data.disk import make_davis, make_static, make_youtube_objects

#: The official recipe with a network and frames that a processor can train in seconds.
MINIATURE = (
    "experiment=official_recipe",
    "backbone=tiny",
    "backbone.preprocessing=caffe",
    "model.channels=8",
    "model.rounds=2",
    "clips.size=[32,32]",
    "clips.batch_size=2",
    "clips.clips_per_video=2",
    "clips.workers=0",
    "trainer=cpu",
    "trainer.log_every=1",
    "trainer.progress=false",
    "logger=none",
)


class FakeTrainer:
    """What a training step asks of Lightning's Trainer."""

    class strategy:  # noqa: N801
        reduce_boolean_decision = staticmethod(bool)


def rows(run: Run) -> list[dict[str, str]]:
    with (run.folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def official(tmp_path, *words: str):
    root = make_davis(tmp_path / "DAVIS", names=("bear", "bus", "car", "dog", "cow"))
    static = [make_static(tmp_path / "MSRA10K"), make_static(tmp_path / "DUTS", "DUTS-TR-Image", "DUTS-TR-Mask", 3)]
    roots = ",".join(map(str, static))
    return train_config(*MINIATURE, f"data.root={root}", f"static.roots=[{roots}]", *words, small=False)


def test_the_official_recipe_passes_through_every_branch(tmp_path):
    run = Run(tmp_path / "run")
    cfg = official(tmp_path, "trainer.max_epochs=5", "clips.val_share=0.25")
    train(cfg, run)
    found = [row for row in rows(run) if row["lr/graph"]]
    # 3 training videos of 2 clips, 2 a step: an epoch is static, clips, clips, static, clips
    steps = len(found)
    assert steps == 25
    for number, row in enumerate(found):
        static = number % 5 in (0, 3)
        assert bool(row["train/loss_static"]) is static
        assert bool(row["train/loss"]) is not static
        base = 2.5e-4 * (1 - number / steps) ** 0.9
        assert float(row["lr/backbone"]) == pytest.approx(base * (1.0 if static else 0.01))
        assert float(row["lr/graph"]) == pytest.approx(0.0 if static else 10 * base)
    assert not any(row.get("train/loss_auxiliary") for row in found)
    assert any(row["val/J"] for row in rows(run))
    assert set(run.status["groups"]) == {"backbone", "graph"}
    assert run.status["groups"]["graph"]["lr"] == pytest.approx(2.5e-3)


def test_static_steps_change_the_encoder_and_its_mask_alone(tmp_path):
    cfg = official(tmp_path, "optim.weight_decay=0", "clips.val_share=0")
    module = build_module(cfg, plan_epochs(cfg, 4, 9))
    optimiser = module.configure_optimizers()["optimizer"]
    images = torch.randn(2, 1, 3, 32, 32)
    before = {k: v.clone() for k, v in module.model.named_parameters()}
    loss = module.loss(module.model.forward_static(images), (images[:, :, 0] > 0).float())
    loss.backward()
    optimiser.step()
    moved = {k.partition(".")[0] for k, v in module.model.named_parameters() if not torch.equal(v, before[k])}
    assert moved == {"encoder", "auxiliary"}


def test_static_images_continue_where_they_were(tmp_path):
    """Stopped within an epoch, between steps of both kinds: the same weights in the end."""
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    cfg = official(tmp_path, "trainer.max_epochs=2", "trainer.checkpoint_minutes=0", "clips.val_share=0")
    train(cfg, whole)

    class StopError(Exception):
        pass

    with pytest.MonkeyPatch.context() as patch:
        step, count = torch.optim.SGD.step, iter(range(100))

        def stopping(self, *args, **kwargs):
            if next(count) == 8:
                raise StopError
            return step(self, *args, **kwargs)

        patch.setattr(torch.optim.SGD, "step", stopping)
        with pytest.raises(StopError):
            train(cfg, parts)
    train(cfg, Run(parts.folder))
    ours, theirs = (load_checkpoint(run.last)[1].state_dict() for run in (whole, parts))
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())
    assert rows(whole) == rows(parts)


def test_held_out_videos_without_an_object_are_refused(tmp_path):
    root = make_youtube_objects(tmp_path / "yto", length=31)  # its protocol leaves empty annotations out
    for file in (root / "Annotations").rglob("*.png"):
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(file)
    words = ("data=youtube_objects", f"data.root={root}", "clips.val_share=0.5", "clips.batch_size=1")
    with pytest.raises(DataError) as caught:
        train(train_config(*words, "trainer.max_epochs=1"), Run(tmp_path / "run"))
    assert re.fullmatch(
        r"no val/J: no frame of the held-out videos has an annotated object \(((?:cat|dog)/0001)\); "
        r"change seed, or set clips.val_share=0 to skip validation",
        str(caught.value),
    )


def test_scores_of_validation_add_nothing_to_a_checkpoint():
    """Checkpoints of earlier versions, whose module had no metric, load as they are."""
    cfg = train_config()
    module = build_module(cfg)
    assert {name.partition(".")[0] for name in module.state_dict()} == {"model"}
    old = {f"model.{name}": value for name, value in build_model(cfg).state_dict().items()}
    module.load_state_dict(old, strict=True)


def test_the_baseline_recipe_trains_an_epoch(tmp_path):
    root = make_davis(tmp_path / "DAVIS", year="2017", names=("bear", "bus", "car", "dog", "cow"))
    words = ("backbone=tiny", "model.channels=8", "clips.size=[32,32]", "clips.workers=1", "trainer=cpu")
    quiet = ("logger=none", "trainer.progress=false", "trainer.max_epochs=1", "trainer.log_every=1")
    cfg = train_config("experiment=davis17_baseline", f"data.root={root}", *words, *quiet, small=False)
    assert (cfg.model.frames, cfg.model.rounds, cfg.clips.batch_size) == (3, 3, 2)
    run = Run(tmp_path / "run")
    assert train(cfg, run)["train/loss"] > 0
    assert run.status["state"] == "done"


@pytest.mark.parametrize(
    ("images", "masks", "below"),
    [
        ("Imgs", "Imgs", ""),
        ("Imgs", "Imgs", "MSRA10K_Imgs_GT"),
        ("images", "masks", ""),
        ("DUTS-TR-Image", "DUTS-TR-Mask", "DUTS-TR"),
        ("DUT-OMRON-image", "pixelwiseGT-new-PNG", ""),
    ],
)
def test_saliency_data_sets_are_found_in_their_layouts(tmp_path, images, masks, below):
    make_static(tmp_path / below, images, masks)
    found = open_static_images(StaticConfig(roots=[str(tmp_path)]))
    assert [image.name.rpartition("/")[2] for image in found] == [str(k) for k in range(6)]
    assert found[2].frame(0).shape[:2] == found[2].mask(0).shape == (48, 56)
    assert 0 < found[2].mask(0).mean() < 1


def test_a_saliency_data_set_that_is_not_whole_is_refused(tmp_path):
    root = make_static(tmp_path / "set", "images", "masks")
    (root / "masks" / "3.png").unlink()
    with pytest.raises(DataError, match=rf"1 problem.*\n  {root}/masks/3\.png: missing"):
        open_static_images(StaticConfig(roots=[str(root)]))
    with pytest.raises(DataError, match="no such folder; expected a saliency data set"):
        index_static(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds none of the layouts known \(images \+ masks, Imgs, "):
        index_static(root / "images")


def test_every_parameter_is_in_one_group():
    model = build_model(train_config("model.auxiliary=true"))
    groups = parameter_groups(model, OptimConfig())
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    assert any(p is model.auxiliary.weight for p in groups[0]["params"])
    described = describe_groups(model, OptimConfig(lr=0.1, graph_lr_factor=10))
    assert described["graph"]["lr"] == 1.0
    assert sum(int(g["parameters"]) for g in described.values()) == sum(p.numel() for p in model.parameters())
    model.memory = nn.Linear(2, 2)
    assert any(p is model.memory.weight for p in parameter_groups(model, OptimConfig())[1]["params"])


def test_the_backbone_may_be_the_pretrained_body_alone():
    model = build_model(train_config("backbone=deeplabv3_mobilenet_v3_large", "backbone.weights=null", small=False))
    body, rest = parameter_groups(model, OptimConfig(backbone="body"))
    assert sum(p.numel() for p in body["params"]) == sum(p.numel() for p in model.encoder.body.parameters())
    assert len(body["params"]) + len(rest["params"]) == len(list(model.parameters()))
    with pytest.raises(ConfigError, match=r"optim\.backbone=body: this encoder has no part named body"):
        parameter_groups(build_model(train_config()), OptimConfig(backbone="body"))


def test_official_loss_is_cross_entropy_over_the_share_of_foreground_and_l1():
    random = np.random.default_rng(0)
    logits, target = random.normal(size=(2, 3, 4, 5)), (random.random((2, 3, 4, 5)) < 0.3).astype(float)
    p = 1 / (1 + np.exp(-logits))
    bce = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    expected = bce / target.mean() + 0.8 * np.abs(p - target).mean()
    found = losses.official_loss(torch.from_numpy(logits), torch.from_numpy(target))
    assert float(found) == pytest.approx(expected)
    empty = losses.official_loss(torch.zeros(1, 1, 2, 5), torch.zeros(1, 1, 2, 5), l1=0.0)
    assert float(empty) == pytest.approx(np.log(2) * 10)
    with pytest.raises(ValueError, match="differ in shape"):
        losses.official_loss(torch.zeros(1, 2), torch.zeros(2, 1))


def test_static_images_need_the_auxiliary_mask():
    model = build_model(train_config())
    with pytest.raises(ValueError, match="this model has none"):
        model.forward_static(torch.zeros(1, 1, 3, 16, 16))


def test_several_processes_need_a_clip_each():
    cfg = train_config("trainer.devices=4", "clips.batch_size=3")
    with pytest.raises(
        ConfigError, match=r"trainer\.devices=4 x .* clips\.batch_size=3 clips a step, .* has 10: raise"
    ):
        plan_epochs(cfg, 10)


def test_channels_last_changes_the_last_digits_of_a_step(monkeypatch):
    """Every convolution reads weights and images in that order, and the loss and its gradients stay what they were."""
    torch.manual_seed(0)
    clip = Clip(torch.randn(2, 3, 3, 32, 32), (torch.rand(2, 3, 32, 32) < 0.3).float())
    found = {}
    for on in (False, True):
        torch.manual_seed(1)
        module = build_module(train_config(f"trainer.channels_last={str(on).lower()}"))
        module.trainer = FakeTrainer()
        monkeypatch.setattr(module, "log", lambda *a, **k: None)
        monkeypatch.setattr(module, "_log_step", lambda *a: None)
        layouts = []
        for part in module.model.encoder.modules():
            if isinstance(part, nn.Conv2d):
                assert part.weight.is_contiguous(memory_format=torch.channels_last) or not on
                part.register_forward_hook(
                    lambda _, images, out, to=layouts: to.extend(
                        x.is_contiguous(memory_format=torch.channels_last) for x in (*images, out)
                    )
                )
        loss = module.training_step(clip, 0)
        loss.backward()
        assert len(layouts) >= 4
        assert all(layouts) if on else not any(layouts)
        found[on] = [loss.detach(), *(p.grad for p in module.parameters())]
    for one, two in zip(found[False], found[True], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
