"""Weights files: what they hold, what half precision changes, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from agnn_lit.config import ConfigError, TrainConfig, plain
from agnn_lit.config.commands import ConvertConfig
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.inference.prediction import predict
from agnn_lit.model.build import build_model
from agnn_lit.model.conversion import convert
from agnn_lit.model.weights import WeightsError
from agnn_lit.model.weights_file import halve, pack, read_weights
from agnn_lit.training.warm_start import start_from
from tests.command import call_command, run_command
from tests.configs import predict_config, train_config
from tests.data.videos import write_video


@pytest.fixture(scope="module")
def weights(run, tmp_path_factory) -> Path:
    """The run's best checkpoint as a weights file, made on the command line."""
    out = tmp_path_factory.mktemp("weights") / "small.safetensors"
    words = (f"run={run.folder}", f"out={out}", 'note="blobs, moving"', "licence=CC BY-NC 4.0")
    done = call_command("convert", *words, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    assert f"sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}" in done.stdout
    return out


def metadata(file: Path) -> dict:
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["agnn_lit"])


def test_a_weights_file_is_the_model_of_the_run(run, weights):
    (cfg, model), (trained, before) = load_checkpoint(weights), load_checkpoint(run.best)
    for group in ("model", "backbone"):
        assert plain(cfg)[group] == {**plain(trained)[group], "weights": None}
    assert cfg.clips.size == trained.clips.size
    assert not model.training
    state, old = model.state_dict(), before.state_dict()
    assert state.keys() == old.keys()
    for name, tensor in old.items():
        exact = tensor.ndim < 2
        assert state[name].dtype is tensor.dtype
        assert torch.equal(state[name], tensor if exact else tensor.half().float()), name
    clip = torch.rand(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (model(clip)[0].sigmoid() - before(clip)[0].sigmoid()).abs().max() < 5e-3


def test_it_is_small_says_what_it_is_and_names_no_path(run, weights):
    content = weights.read_bytes()
    assert len(content) < run.best.stat().st_size / 2
    assert str(run.folder.parents[2]).encode() not in content
    about = metadata(weights)["about"]
    assert about == {"data": "synthetic", "note": "blobs, moving", "licence": "CC BY-NC 4.0"}
    cfg = train_config()
    cfg.backbone.weights, cfg.model.weights = "/home/me/resnet.pth", "/home/me/a.ckpt"
    assert b"/home/me" not in pack(cfg, {}, {})


def test_a_file_may_ask_for_another_input_size(run, tmp_path):
    asked = convert(ConvertConfig(run=str(run.folder), out=str(tmp_path / "a.safetensors"), size=(48, 64)))
    assert load_checkpoint(asked)[0].clips.size == (48, 64)
    with pytest.raises(ConfigError, match=r"^size="):
        convert(ConvertConfig(run=str(run.folder), out=str(tmp_path / "b.safetensors"), size=(0, 64)))


def test_equal_content_gives_equal_bytes(run, weights, tmp_path):
    for name, note in (("again", "blobs, moving"), ("other", None)):
        out = tmp_path / f"{name}.safetensors"
        convert(ConvertConfig(ckpt=str(run.best), out=str(out), note=note, licence="CC BY-NC 4.0"))
        assert (out.read_bytes() == weights.read_bytes()) is (note is not None)


@pytest.mark.long
def test_equal_content_gives_equal_bytes_in_every_process(run, weights, tmp_path):
    words = (f"ckpt={run.best}", "out=again.safetensors", 'note="blobs, moving"', "licence=CC BY-NC 4.0")
    done = run_command("convert", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.safetensors").read_bytes() == weights.read_bytes()


@pytest.mark.parametrize(
    ("tensor", "half"),
    [
        (torch.linspace(-3, 3, 64).view(8, 8), True),
        (torch.zeros(2, 2), True),
        (torch.tensor([[1.0, 1e-7]]), True),  # what is lost is nothing beside the rest
        (torch.tensor([[1.0, 7e4]]), False),
        (torch.full((2, 2), 3.3e-6), False),
        (torch.full((2, 2), 1e-9), False),
        (torch.tensor([[1.0, float("nan")]]), False),
        (torch.ones(4), False),
        (torch.tensor(0.1), False),
        (torch.ones(2, 2, dtype=torch.int64), False),
    ],
    ids=["weights", "zeros", "wide", "large", "subnormal", "vanishing", "nan", "vector", "scalar", "integers"],
)
def test_half_precision_is_for_what_it_only_rounds(tensor, half):
    kept = halve(tensor)
    assert kept.dtype is (torch.float16 if half else tensor.dtype)
    if half:
        assert (kept.float() - tensor).norm() <= 2**-11 * tensor.norm()
    else:
        assert kept is tensor


def test_training_starts_from_it(weights):
    cfg = train_config("model.rounds=3", "model.gate=spatial")
    model = build_model(cfg)
    assert start_from(model, cfg, weights) == f"started from {weights} (K = 1, N' = 3); newly initialised: gate"
    assert torch.equal(model.line_edge.weight, load_checkpoint(weights)[1].line_edge.weight)
    cfg = train_config("backbone=deeplabv3_resnet50", "backbone.weights=null", "backbone.preprocessing=caffe")
    with pytest.raises(ConfigError, match=r"name=tiny, not deeplabv3_resnet50; .*stride=4, not 8$"):
        start_from(model, cfg, weights)


def test_a_prediction_depends_on_the_content_of_the_file_and_not_on_its_place(run, weights, tmp_path):
    video = write_video(tmp_path / "walk.mp4")
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(weights.read_bytes())
    for file in (weights, moved):
        cfg = predict_config(run.folder, video, tmp_path / "out", "overlay=false")
        cfg.run, cfg.ckpt = None, str(file)
        predict(cfg)
    convert(ConvertConfig(ckpt=str(run.best), out=str(moved), overwrite=True, note="another"))
    with pytest.raises(ConfigError, match=r"checkpoint: \w{16} -> \w{16}"):
        predict(cfg)


def changed(weights: Path, **changes: object) -> dict[str, str]:
    return {"agnn_lit": json.dumps({**metadata(weights), **changes})}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "cannot be read as safetensors"),
        ("cut", "cannot be read as safetensors"),
        ("torch", "cannot be read as safetensors"),
        ("timm", r"not a weights file of agnn-convert .*backbone\.weights="),
        ("words", "its metadata is damaged"),
        ("keys", "its metadata is damaged"),
        ("newer", "has format 2, and this agnn_lit reads format 1"),
        ("config", "there is no setting model.colour"),
        ("tensors", "its tensors do not fit its configuration:\n  missing: encoder"),
        ("none", "no such checkpoint"),
    ],
)
def test_what_is_no_weights_file_is_refused_in_a_sentence(run, weights, tmp_path, name, message):
    file = tmp_path / f"{name}.safetensors"
    tensors = {"a": torch.zeros(2)}
    whole = weights.read_bytes()
    written = {
        "empty": lambda: file.write_bytes(b""),
        "cut": lambda: file.write_bytes(whole[: len(whole) // 2]),
        "torch": lambda: file.write_bytes(run.best.read_bytes()),
        "timm": lambda: save_file(tensors, file),
        "words": lambda: save_file(tensors, file, {"agnn_lit": "model"}),
        "keys": lambda: save_file(tensors, file, {"agnn_lit": "{}"}),
        "newer": lambda: save_file(tensors, file, changed(weights, format=2)),
        "config": lambda: save_file(tensors, file, changed(weights, config={"model": {"colour": 1}})),
        "tensors": lambda: save_file(tensors, file, changed(weights)),
        "none": lambda: None,
    }
    written[name]()
    with pytest.raises(ConfigError, match=rf"^{file}: .*{message}"):
        load_checkpoint(file)
    cfg = TrainConfig()
    with pytest.raises(ConfigError, match=rf"^model\.weights={file}: .*{message}"):
        start_from(nn.Identity(), cfg, file)


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_commands_refuse_a_broken_file_in_a_sentence(weights, tmp_path, command):
    (tmp_path / "a.safetensors").write_bytes(weights.read_bytes()[:5000])
    video = write_video(tmp_path / "a.mp4", frames=2)
    words = (f"input={video}", "out=o") if command == "predict" else ()
    done = call_command(command, "ckpt=a.safetensors", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"agnn-{command}: a.safetensors: cannot be read as safetensors (")
    assert not (tmp_path / "o").exists()


def test_a_file_that_is_not_there():
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(Path("nowhere.safetensors"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out=x.safetensors"], "give one of them, official=FILE of the released code, or run=DIR or ckpt=FILE"),
        (["run=a", "ckpt=b", "out=x.safetensors"], "run=a ckpt=b: give one of them"),
        (["run=nowhere", "out=x.safetensors"], "run=nowhere: no such run"),
        (["ckpt=no.ckpt", "out=x.safetensors"], "no.ckpt: no such checkpoint"),
        (["official=a.pth", "out=x.safetensors"], "official= is converted to a checkpoint, such as x.ckpt"),
        (["ckpt=a.ckpt", "out=x.pth", "note=hello"], "size=, pool=, note= and licence= are kept in weights files"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_wrong_calls_end_with_a_sentence(tmp_path, words, message):
    done = call_command("convert", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
