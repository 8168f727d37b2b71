"""Weights in the package: their names, and that evaluation and training find them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from agnn_lit import pretrained
from agnn_lit.config import ConfigError, ConvertConfig
from agnn_lit.inference.evaluation import evaluate
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.model.build import build_model
from agnn_lit.model.conversion import convert
from agnn_lit.shared.files import sha256
from agnn_lit.training.warm_start import start_from
from tests.configs import evaluate_config, train_config

README = Path(pretrained.__file__).with_name("README.md")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of the package's."""
    made = tmp_path / "package"
    made.mkdir()
    monkeypatch.setattr(pretrained, "FOLDER", made)
    return made


@pytest.fixture
def packaged(folder, run) -> Path:
    """The default weights: those of the run."""
    return convert(ConvertConfig(run=str(run.folder), out=str(folder / f"{pretrained.DEFAULT}.safetensors")))


def test_names_are_those_of_the_files(folder):
    for name in (pretrained.DEFAULT, "small"):
        (folder / f"{name}.safetensors").write_bytes(b"")
    (folder / "README.md").write_text("")
    assert pretrained.names() == [pretrained.DEFAULT, "small"]
    assert pretrained.locate("ckpt", "pretrained") == folder / f"{pretrained.DEFAULT}.safetensors"
    small = pretrained.locate("ckpt", "pretrained/small")
    assert (small, pretrained.title(small)) == (folder / "small.safetensors", "pretrained/small")
    with pytest.raises(ConfigError, match=r"^ckpt=pretrained/smal: must be .*; did you mean pretrained/small\?$"):
        pretrained.locate("ckpt", "pretrained/smal")
    (folder / f"{pretrained.DEFAULT}.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"^ckpt=pretrained: must be one of pretrained/small"):
        pretrained.locate("ckpt", "pretrained")


@pytest.mark.parametrize("path", ["a.ckpt", "pretrained/best.ckpt", "./pretrained", "pretrained/", "pretrained/a/b"])
def test_other_words_are_paths(folder, path):
    assert pretrained.locate("ckpt", path) == Path(path)
    assert pretrained.title(Path(path)) == str(Path(path))


def test_without_a_file_a_sentence_says_what_to_give(folder):
    cfg = train_config()
    for refused in (
        lambda: evaluate(evaluate_config("ckpt=pretrained")),
        lambda: start_from(build_model(cfg), cfg, Path("pretrained")),
    ):
        with pytest.raises(ConfigError, match=r"=pretrained: this installation .* no pretrained weights; give the"):
            refused()


def test_an_evaluation_has_a_folder_in_runs_and_the_digest_of_the_weights(packaged, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ("data=synthetic", "data.synthetic.test_videos=1", "data.synthetic.length=3", "data.synthetic.size=[32,32]")
    summary, out = evaluate(evaluate_config("ckpt=pretrained", "overlays=0", *data))
    assert out.parent == Path("runs/pretrained") / pretrained.DEFAULT / "evaluations"
    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["checkpoint"] == f"pretrained/{pretrained.DEFAULT}"
    assert summary["sha256"] == sha256(packaged)


def test_training_starts_from_them(packaged):
    cfg = train_config("model.weights=pretrained")
    model = build_model(cfg)
    said = start_from(model, cfg, Path(str(cfg.model.weights)))
    assert said == f"started from pretrained/{pretrained.DEFAULT} (K = 1, N' = 3)"
    theirs = load_checkpoint(packaged)[1].state_dict()
    assert all(value.equal(theirs[name]) for name, value in model.state_dict().items())


def test_a_card_describes_every_file_and_has_its_digest():
    text = README.read_text()
    assert pretrained.DEFAULT in pretrained.names()
    for name in pretrained.names():
        assert f"## `{name}.safetensors`" in text
        assert sha256(pretrained.FOLDER / f"{name}.safetensors") in text
        assert (pretrained.FOLDER / f"{name}.safetensors").stat().st_size < 15e6


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "blackswan", "car_shadow"), [("agnn_lite0_davis16", 0.897, 0.877), ("agnn_lite0_photos", 0.667, 0.863)]
)
def test_the_weights_have_the_scores_of_their_card(davis_root, tmp_path, name, blackswan, car_shadow):
    """J of two sequences, as in experiments/davis16 and experiments/davis16_photos."""
    words = ("data=davis2016", f"data.root={davis_root}", "data.test_split=null", "protocol=davis2016", "overlays=0")
    summary, out = evaluate(
        evaluate_config(
            f"ckpt=pretrained/{name}", *words, "data.sequences=[blackswan,car-shadow]", f"out={tmp_path}/out"
        )
    )
    with (out / "per_sequence.csv").open() as file:
        found = {row["sequence"]: float(row["J_mean"]) for row in csv.DictReader(file)}
    assert found == pytest.approx({"blackswan": blackswan, "car-shadow": car_shadow}, abs=0.005)
    assert summary["checkpoint"] == f"pretrained/{name}"
