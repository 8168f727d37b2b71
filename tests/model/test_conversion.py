"""agnn-convert, and training on from what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agnn_lit.commands.command_line import quote_paths
from agnn_lit.config import ConfigError, plain
from agnn_lit.data.open import open_training_videos
from agnn_lit.inference.load import load_checkpoint, open_trained
from agnn_lit.model.build import build_model
from agnn_lit.model.conversion import ConvertConfig, convert, official_config
from agnn_lit.model.weights import WeightsError
from agnn_lit.shared.runs import Run
from agnn_lit.training.build import build_datamodule, build_module
from agnn_lit.training.fit import train
from agnn_lit.training.warm_start import start_from
from tests.command import call_command, run_command
from tests.configs import evaluate_config, train_config
from tests.model import released

pytestmark = pytest.mark.xdist_group("official")

OFFICIAL = ("model=agnn_official", "backbone=deeplab_official", "model.channels=256", "model.rounds=5")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with both released files (random tensors), and what agnn-convert makes of them."""
    folder = tmp_path_factory.mktemp("a folder, with = and ' in its name")
    torch.save({"epoch": 52, "model": {f"module.{k}": v for k, v in released.model_state(3).items()}}, folder / "a.pth")
    draw = released.Draw(4)
    released.encoder_state(draw)
    torch.save({"model": draw.state}, folder / "e.pth")
    for name, run in (("a", run_command), ("e", call_command)):
        done = run("convert", f"official={folder}/{name}.pth", f"out={folder}/{name}.ckpt", cwd=folder)
        assert done.returncode == 0, done.stderr
        print(done.stdout)
    return folder


def released_file(path: Path) -> dict[str, torch.Tensor]:
    return {k.removeprefix("module."): v for k, v in torch.load(path, weights_only=True)["model"].items()}


@pytest.mark.parametrize("name", ["a", "e"], ids=["model", "encoder"])
def test_there_and_back_on_the_command_line(files, tmp_path, name):
    done = call_command("convert", f"ckpt={files}/{name}.ckpt", f"out={tmp_path}/back.pth", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "by their released names" in done.stdout
    back, before = released_file(tmp_path / "back.pth"), released_file(files / f"{name}.pth")
    assert back.keys() == before.keys()
    assert all(torch.equal(back[k], v) for k, v in before.items())
    assert all(k.startswith("module.") for k in torch.load(tmp_path / "back.pth", weights_only=True)["model"])


@pytest.mark.long
def test_the_checkpoint_knows_its_switches_and_its_preprocessing(files):
    cfg, model = load_checkpoint(files / "a.ckpt")
    assert cfg.backbone.preprocessing == "caffe"
    assert (cfg.model.rounds, cfg.model.frames, cfg.clips.size) == (5, 3, (473, 473))
    assert torch.equal(model.line_edge.w_c, released_file(files / "a.pth")["linear_e.weight"].T)
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
def test_a_model_that_computes_something_else_does_not_become_a_released_file(files, tmp_path, change, said):
    """The tensors of the last two have the released names and shapes."""
    content = torch.load(files / "a.ckpt", weights_only=True)
    group, key, value = change
    content["hyper_parameters"]["config"][group][key] = value
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=rf"(?s)differs from the released code's model:\n  {said}$"):
        convert(ConvertConfig(ckpt=str(tmp_path / "other.ckpt"), out=str(tmp_path / "x.pth")))
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.long
def test_another_k_is_said(files, tmp_path, capsys):
    content = torch.load(files / "a.ckpt", weights_only=True)
    content["hyper_parameters"]["config"]["model"]["rounds"] = 3
    torch.save(content, tmp_path / "three.ckpt")
    convert(ConvertConfig(ckpt=str(tmp_path / "three.ckpt"), out=str(tmp_path / "x.pth")))
    assert "trained with K = 3: set it in the released code, which has 5" in capsys.readouterr().out


@pytest.mark.long
def test_an_output_that_cannot_be_written_is_refused(files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"out=.*: cannot be written"):
        convert(ConvertConfig(official=str(files / "e.pth"), out=str(tmp_path / "file" / "e.ckpt")))


@pytest.mark.long
def test_what_was_trained_with_follows_the_checkpoint(files):
    """Preprocessing and the way of testing reach inference, validation and the training clips."""
    words = ("experiment=official_test", f"ckpt={quoted(files / 'a.ckpt')}", "accelerator=cpu")
    opened = open_trained(files / "a.ckpt", evaluate_config(*words))
    how = opened.settings
    assert (how.preprocessing, how.align_corners, how.random) == ("caffe", True, True)
    assert (how.scales, how.size, how.frames, opened.dtype) == ((0.75, 1.0, 1.5), (473, 473), 3, "fp32")
    cfg = train_config(*OFFICIAL)
    assert build_module(cfg, pretrained=False).validation.settings.preprocessing == "caffe"
    assert build_datamodule(cfg, *open_training_videos(cfg)).clips.transform.preprocessing == "caffe"


def quoted(path: Path) -> str:
    """A path for Hydra's grammar."""
    return quote_paths([f"out={path}"], ConvertConfig)[0].removeprefix("out=")


@pytest.mark.long
def test_a_file_in_the_wrong_place_is_told_its_right_one(files):
    cfg = train_config(*OFFICIAL)
    model = build_model(cfg, pretrained=False)
    for file, said in (
        ("a.pth", "agnn-convert official="),
        ("e.ckpt", "it holds initial weights of an encoder: train from them with backbone.weights="),
        ("no.ckpt", "model.weights=.*no such checkpoint"),
    ):
        with pytest.raises(ConfigError, match=said):
            start_from(model, cfg, files / file)
    cfg.backbone.weights = str(files / "a.ckpt")
    with pytest.raises(WeightsError, match=r"holds a whole model; model\.weights="):
        build_model(cfg)


@pytest.mark.long
def test_torchvisions_weights_need_their_preprocessing(tmp_path):
    cfg = train_config("backbone=deeplabv3_resnet50", "backbone.weights=null", "backbone.preprocessing=caffe")
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    cfg.backbone.weights = str(tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"was trained with backbone\.preprocessing=imagenet, not caffe"):
        build_model(cfg)


@pytest.mark.long
def test_the_encoders_start_values_are_loaded(files):
    cfg = train_config(*OFFICIAL, f"backbone.weights={quoted(files / 'e.ckpt')}")
    model, theirs = build_model(cfg), released_file(files / "e.pth")
    assert torch.equal(model.encoder.body.conv1.weight, theirs["conv1.weight"])
    assert torch.equal(model.encoder.loop_edge.alpha, theirs["layer5.sa.gamma"][0])
    assert torch.equal(model.auxiliary.weight, theirs["main_classifier.weight"])
    cfg.model.auxiliary, cfg.model.loop_edge = False, "none"
    assert torch.equal(build_model(cfg).encoder.head[0].weight, theirs["layer5.conv51.0.weight"])
    cfg.backbone.preprocessing = "imagenet"
    with pytest.raises(WeightsError, match=r"was trained with backbone\.preprocessing=caffe, not imagenet"):
        build_model(cfg)
    cfg.backbone.weights = str(files / "a.pth")
    with pytest.raises(WeightsError, match="looks like a file of the released code; convert it with agnn-convert"):
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
def test_a_model_starts_from_a_converted_checkpoint(files, changes, said):
    cfg = train_config(*OFFICIAL, *changes)
    model = build_model(cfg)
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    assert start_from(model, cfg, files / "a.ckpt") == f"started from {files}/a.ckpt (K = 5, N' = 3){said}"
    theirs = load_checkpoint(files / "a.ckpt")[1].state_dict()
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
def test_what_cannot_be_continued_from_is_refused_with_the_reason(files, changes, message):
    cfg = train_config(*OFFICIAL, *changes)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        start_from(build_model(cfg), cfg, files / "a.ckpt")


@pytest.mark.long
def test_fine_tuning_with_another_k_and_other_frames(files, tmp_path):
    """The whole path with the whole network, on clips so small that it takes seconds."""
    small = ("model.frames=2", "model.aggregation=sum", "model.rounds=2", "data.synthetic.train_videos=2")
    cfg = train_config(*OFFICIAL, "optim=sgd", "clips.val_share=0", "trainer.max_epochs=1", *small)
    cfg.model.weights = str(files / "a.ckpt")
    run = Run(tmp_path / "run")
    metrics = train(cfg, run)
    assert metrics["train/loss"] > 0
    tuned, before = load_checkpoint(run.best)[1], load_checkpoint(files / "a.ckpt")[1]
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


@pytest.mark.long
def test_convert_is_a_function(files, tmp_path):
    given = ConvertConfig(official=str(files / "e.pth"), out=str(tmp_path / "sub" / "e.ckpt"))
    assert convert(given) == tmp_path / "sub" / "e.ckpt"
    with pytest.raises(ConfigError, match="overwrite=true replaces it"):
        convert(given)
    given.overwrite = True
    convert(given)
    assert not list((tmp_path / "sub").glob(".*"))
