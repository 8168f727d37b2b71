"""agnn-convert, from released files and back."""

from __future__ import annotations

import pytest
import torch

from agnn_lit.config import ConfigError, plain
from agnn_lit.data.open import open_training_videos
from agnn_lit.inference.load import load_checkpoint, open_trained
from agnn_lit.model.conversion import ConvertConfig, convert, official_config
from agnn_lit.training.build import build_datamodule, build_module
from tests.command import call_command
from tests.configs import OFFICIAL, evaluate_config, quoted, train_config
from tests.model.released import released_file

pytestmark = pytest.mark.xdist_group("official")


@pytest.mark.parametrize("name", ["a", "e"], ids=["model", "encoder"])
def test_there_and_back_on_the_command_line(converted, tmp_path, name):
    done = call_command("convert", f"ckpt={converted}/{name}.ckpt", f"out={tmp_path}/back.pth", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "by their released names" in done.stdout
    back, before = released_file(tmp_path / "back.pth"), released_file(converted / f"{name}.pth")
    assert back.keys() == before.keys()
    assert all(torch.equal(back[k], v) for k, v in before.items())
    assert all(k.startswith("module.") for k in torch.load(tmp_path / "back.pth", weights_only=True)["model"])


@pytest.mark.long
def test_the_checkpoint_knows_its_switches_and_its_preprocessing(converted):
    cfg, model = load_checkpoint(converted / "a.ckpt")
    assert cfg.backbone.preprocessing == "caffe"
    assert (cfg.model.rounds, cfg.model.frames, cfg.clips.size) == (5, 3, (473, 473))
    assert torch.equal(model.line_edge.w_c, released_file(converted / "a.pth")["linear_e.weight"].T)
    assert not model.training


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out=x.ckpt"], "give one of them, official=FILE of the released code"),
        (["official=a.pth", "ckpt=b.ckpt", "out=x.ckpt"], "give one of them"),
        (["official=a.pth"], "out= is needed"),
        (["official=a.pth", "out=."], "out=. is a folder; give a file in it"),
        (["official=a.pth", "out=x.ckpt", "model=agnn"], "model"),
        (["ckpt=theirs.pth", "out=x.pth"], "official= takes files of the released code"),
        (["ckpt=bare.ckpt", "out=x.pth"], "ckpt=bare.ckpt: not a checkpoint of agnn-train or agnn-convert (no config"),
        (["official=no.pth", "out=x.ckpt"], "no.pth: no such file"),
        (["ckpt=list.pth", "out=x.ckpt"], "ckpt=list.pth: not a file of agnn-train or agnn-convert"),
        (["official=list.pth", "out=list.pth"], "out=list.pth exists; overwrite=true replaces it"),
        (["official=short.pth", "out=x.ckpt"], "official=short.pth: not the released model:\n  missing: ConvGRU"),
        (["ckpt=short.ckpt", "out=x.pth"], "ckpt=short.ckpt: does not fit the released model"),
        (["offical=a.pth", "out=x.ckpt"], "there is no setting offical; did you mean official?"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_be_converted_is_refused_in_a_sentence(words, message, tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": {"module.encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}}, tmp_path / "short.pth")
    torch.save({"model": {}}, tmp_path / "theirs.pth")
    bare = {"state_dict": {"model.gate.w_g.weight": torch.zeros(1, 256, 1, 1)}}
    torch.save(bare, tmp_path / "bare.ckpt")
    torch.save({**bare, "hyper_parameters": {"config": plain(official_config())}}, tmp_path / "short.ckpt")
    done = call_command("convert", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("agnn-convert: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.long
def test_the_switches_are_those_that_the_configs_compose():
    composed = train_config("model=agnn_official", "backbone=deeplab_official", small=False)
    assert (composed.model, composed.backbone) == (official_config().model, official_config().backbone)


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("model", "gate", "channel"), "model.gate=channel, released: spatial"),
        (("model", "line_edge", "symmetric"), "model.line_edge=symmetric, released: directed"),
        (("backbone", "preprocessing", "imagenet"), "backbone.preprocessing=imagenet, released: caffe"),
    ],
    ids=str,
)
def test_a_model_that_computes_something_else_does_not_become_a_released_file(converted, tmp_path, change, said):
    """The tensors of the last two have the released names and shapes."""
    content = torch.load(converted / "a.ckpt", weights_only=True)
    group, key, value = change
    content["hyper_parameters"]["config"][group][key] = value
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=rf"(?s)differs from the released code's model:\n  {said}$"):
        convert(ConvertConfig(ckpt=str(tmp_path / "other.ckpt"), out=str(tmp_path / "x.pth")))
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.long
def test_another_k_is_said(converted, tmp_path, capsys):
    content = torch.load(converted / "a.ckpt", weights_only=True)
    content["hyper_parameters"]["config"]["model"]["rounds"] = 3
    torch.save(content, tmp_path / "three.ckpt")
    convert(ConvertConfig(ckpt=str(tmp_path / "three.ckpt"), out=str(tmp_path / "x.pth")))
    assert "trained with K = 3: set it in the released code, which has 5" in capsys.readouterr().out


@pytest.mark.long
def test_an_output_that_cannot_be_written_is_refused(converted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"out=.*: cannot be written"):
        convert(ConvertConfig(official=str(converted / "e.pth"), out=str(tmp_path / "file" / "e.ckpt")))


@pytest.mark.long
def test_what_was_trained_with_follows_the_checkpoint(converted):
    """Preprocessing and the way of testing reach inference, validation and the training clips."""
    words = ("experiment=official_test", f"ckpt={quoted(converted / 'a.ckpt')}", "accelerator=cpu")
    opened = open_trained(converted / "a.ckpt", evaluate_config(*words))
    how = opened.settings
    assert (how.preprocessing, how.align_corners, how.random) == ("caffe", True, True)
    assert (how.scales, how.size, how.frames, opened.dtype) == ((0.75, 1.0, 1.5), (473, 473), 3, "fp32")
    cfg = train_config(*OFFICIAL)
    assert build_module(cfg, pretrained=False).validation.settings.preprocessing == "caffe"
    assert build_datamodule(cfg, *open_training_videos(cfg)).clips.transform.preprocessing == "caffe"


@pytest.mark.long
def test_convert_is_a_function(converted, tmp_path):
    given = ConvertConfig(official=str(converted / "e.pth"), out=str(tmp_path / "sub" / "e.ckpt"))
    assert convert(given) == tmp_path / "sub" / "e.ckpt"
    with pytest.raises(ConfigError, match="overwrite=true replaces it"):
        convert(given)
    given.overwrite = True
    convert(given)
    assert not list((tmp_path / "sub").glob(".*"))
