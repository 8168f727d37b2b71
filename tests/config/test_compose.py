from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from agnn_lit import config
from agnn_lit.config import ConfigError
from agnn_lit.model.build import build_model
from tests.configs import OF_TESTING, evaluate_config, experiments, train_config


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["model.rounds=-1"], "model.rounds=-1: must be 0 or more"),
        (["model.frames=0"], "model.frames=0: must be 1 or more"),
        (["model.frames=7"], "model.frames=7 is above the videos' length: data.synthetic.length=6"),
        (["model.channels=0"], "model.channels=0"),
        (["model.loop_reduction=99"], "model.loop_reduction=99: must lie in 1..model.channels=8"),
        (["model.frames=1", "model.aggregation=concat"], "model.aggregation=concat"),
        (["backbone.stride=16"], "backbone.stride=16: tiny has stride 4 or 8"),
        (["backbone.weights=x.pth"], "backbone.weights=x.pth: the tiny backbone"),
        (["clips.size=[2,32]"], "clips.size=[2, 32]"),
        (["clips.size=[32]"], "clips.size=[32]: must be 2 numbers"),
        (["clips.scale=[0.01,1]"], "leaves no pixels for a feature stride of 4"),
        (["clips.scale=[1.2,1.0]"], "clips.scale=[1.2, 1.0]: must be 0 < smallest <= largest"),
        (["clips.batch_size=0"], "clips.batch_size=0"),
        (["clips.clips_per_video=0"], "clips.clips_per_video=0"),
        (["clips.workers=-1"], "clips.workers=-1"),
        (["clips.val_share=1.0"], "clips.val_share=1.0: must lie in [0, 1)"),
        (["clips.flip=2"], "clips.flip=2.0"),
        (["data.synthetic.size=[8,8]"], "data.synthetic.size=[8, 8]"),
        (["data.synthetic.length=0"], "data.synthetic.length=0"),
        (["data.synthetic.train_videos=0"], "data.synthetic.train_videos=0"),
        (["data.synthetic.test_videos=0"], "data.synthetic.test_videos=0"),
        (["data=folder"], "data.root is not set: the folder of folder"),
        (["data=as_trained"], "data.name is not set"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0"),
        (["trainer.devices=0"], "trainer.devices=0"),
        (["trainer.nodes=0"], "trainer.nodes=0"),
        (["optim.graph_lr_factor=-1"], "optim.graph_lr_factor=-1.0"),
        (["clips.crop=0"], "clips.crop=0.0: must lie in (0, 1]"),
        (["experiment=official_recipe"], "static.every=3 needs static.roots, the folders of saliency data sets"),
        (["static.roots=[/x]"], "static.roots=['/x'] and static.every=0: set static.every=3"),
        (["static.every=3", "static.roots=[/x]"], "static.every=3: static images train the encoder through the"),
        (["static.every=1"], "static.every=1: must be 2 or more"),
        (["static.loss=0"], "static.loss=0.0: must be above 0"),
        (["static.batch_size=0"], "static.batch_size=0"),
        (["static.graph_lr_factor=-1"], "static.graph_lr_factor=-1.0"),
        (["loss.auxiliary=-1"], "loss.auxiliary=-1.0: must be 0 or more"),
        (["loss.l1=-1"], "loss.l1=-1.0: must be 0 or more"),
        (["trainer.accelerator=gpus"], "trainer.accelerator=gpus: must be one of"),
        (["trainer.threads=0"], "trainer.threads=0"),
        (["trainer.max_minutes=0"], "trainer.max_minutes=0"),
        (["trainer.check_val_every=0"], "trainer.check_val_every=0: must be 1 or more"),
        (["trainer.log_every=0"], "trainer.log_every=0"),
        (["logger.overlays=-1"], "logger.overlays=-1"),
        (["model.aggregation=concat"], "would ignore model.loop_edge=every_round"),
        (["model.auxiliary=true", "loss.auxiliary=0"], "loss.auxiliary=0.0: must be above 0"),
        (["data=folder", "data.root=/x", "data.test_split=val"], "data.test_split=val: folder has no lists"),
        (["data=folder", "data.root=/x", "data.train_range=[0.5,0.2]"], "data.train_range=[0.5, 0.2]: must be"),
        (
            ["data.test_range=[0.5,1.0]"],
            "data.train_range and data.test_range: training and test videos are generated separately",
        ),
        (["trainer.accumulate=0"], "trainer.accumulate=0"),
        (["trainer.precision=half"], "trainer.precision=half: must be one of"),
        (["precision=fp16"], "trainer.precision=16-mixed needs a GPU"),
        (["optim.lr=0"], "optim.lr=0.0"),
        (["optim.warmup_steps=-1"], "optim.warmup_steps=-1"),
        (["seed=-1"], "seed=-1: must lie in 0..4294967295"),
        (["seed=5000000000"], "seed=5000000000"),
        (["optim.weight_decay=-1"], "optim.weight_decay=-1.0: must be 0 or more"),
        (["optim.power=-1"], "optim.power=-1.0"),
        (["optim.momentum=2"], "optim.momentum=2.0: must lie in [0, 1)"),
        (["trainer.gradient_clip=-1"], "trainer.gradient_clip=-1.0: must be above 0"),
        (["data.synthetic.distractors=-1"], "data.synthetic.distractors=-1"),
        (["data.synthetic.texture=2"], "data.synthetic.texture=2.0"),
        (["loss.reduction=sum", "trainer.accumulate=2"], "loss.reduction=sum: gradients of 2 batches per step"),
        (["loss.reduction=sum", "trainer.devices=2"], "are averaged, not summed"),
        (
            ["backbone=deeplabv3_mobilenet_v3_large", "backbone.weights=null", "model.frames=1", "clips.batch_size=1"],
            "clips.batch_size x model.frames=1: deeplabv3_mobilenet_v3_large normalises over the frames of a batch",
        ),
        (["model.gate=chanel"], "model.gate=chanel: must be one of channel, spatial, none; did you mean channel?"),
        (["loss.reduction=median"], "loss.reduction=median: must be one of mean, sum"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_what_cannot_be_trained_is_refused_with_its_key(overrides, part):
    with pytest.raises(ConfigError) as caught:
        config.check_train(train_config(*overrides))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["model.rouns=3"], "model.rouns"),
        (["model.rounds=abc"], "model.rounds"),
        (["trainer.max_epochs=1.5"], "trainer.max_epochs"),
        (["backbone=resnet5"], "resnet5"),
    ],
)
def test_misspelt_and_mistyped_keys_are_refused(overrides, part):
    with pytest.raises(HydraException) as caught:
        train_config(*overrides)
    assert part in f"{caught.value} {caught.value.__cause__}"


def test_backbone_must_be_chosen():
    cfg = train_config()
    with pytest.raises(ConfigError, match=r"backbone\.name is not set"):
        config.check_train(replace(cfg, backbone=config.BackboneConfig()))


def test_a_batch_of_one_static_image_is_refused():
    words = ("experiment=official_recipe", "static.roots=[/x]", "data.root=/x", "static.batch_size=1")
    with pytest.raises(ConfigError, match=r"static\.batch_size=1: deeplab_official normalises over the frames"):
        config.check_train(train_config(*words, small=False))


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        ([], "give one of them"),
        (["run=a", "ckpt=b"], "give one of them"),
        (["run=a", "threshold=1"], "threshold=1.0"),
        (["run=a", "frames=0"], "frames=0"),
        (["run=a", "batch_size=0"], "batch_size=0"),
        (["run=a", "split=all"], "split=all"),
        (["run=a", "threads=0"], "threads=0"),
        (["run=a", "dtype=int8"], "dtype=int8"),
    ],
)
def test_impossible_evaluations_are_refused(overrides, part):
    with pytest.raises(ConfigError) as caught:
        config.check_evaluate(evaluate_config(*overrides))
    assert part in str(caught.value)


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_composes_validates_and_builds(name, monkeypatch):
    monkeypatch.setenv("AGNN_DAVIS_ROOT", "/data/DAVIS")
    monkeypatch.setenv("AGNN_STATIC_ROOTS", "[/data/MSRA10K,/data/DUTS]")
    own = ("data.root=/data/mine",) if name == "finetune" else ()  # one's own videos have no usual place
    cfg = train_config(f"experiment={name}", *own, small=False)
    config.check_train(cfg)
    assert list(cfg.static.roots) in ([], ["/data/MSRA10K", "/data/DUTS"])
    assert build_model(cfg, pretrained=False).rounds == cfg.model.rounds


@pytest.mark.parametrize("name", OF_TESTING)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_every_experiment_of_testing_composes_and_validates(name, command):
    schema = {"evaluate": config.EvaluateConfig, "predict": config.PredictConfig}[command]
    words = ["run=x"] if command == "evaluate" else ["run=x", "input=x", "out=x"]
    with initialize_config_dir(config.CONF_DIR, version_base="1.3"):
        cfg = config.typed(compose(command, overrides=[*words, f"experiment={name}"]), schema)
    config.check_inference(cfg)


def test_the_released_test_is_three_scales_and_random_references():
    cfg = evaluate_config("run=x", "experiment=official_test")
    assert (cfg.scales, cfg.references, cfg.flip) == ((0.75, 1.0, 1.5), "random", False)
    assert cfg.align_corners
    assert cfg.crf.backend == "fast"


def test_the_official_model_is_the_right_column_of_the_table():
    m = train_config("model=agnn_official", small=False).model
    assert (m.rounds, m.frames, m.channels, m.loop_reduction, m.auxiliary) == (5, 3, 256, 4, True)
    axes = (m.loop_edge, m.line_edge, m.gate, m.aggregation, m.update, m.readout)
    assert list(axes) == ["encoder", "directed", "spatial", "concat", "gru1x1", "bn"]


@pytest.mark.parametrize("backbone", list(config.options("backbone.name")))
def test_every_backbone_file_is_of_the_backbone_it_names(backbone):
    words = ["backbone.model=resnet18"] if config.option("backbone.name", backbone).facts.get("model") else []
    assert train_config(f"backbone={backbone}", *words, small=False).backbone.name == backbone


def test_a_config_survives_plain_and_back():
    cfg = train_config("model.gate=spatial")
    assert config.typed(config.plain(cfg), config.TrainConfig) == cfg


@pytest.mark.parametrize("wrong", ["model.rouns=3", "model.rounds=-1"])
def test_the_command_refuses_before_torch_is_loaded(wrong, tmp_path):
    """Asked for: in the first second. Time on a busy machine varies, so the imports are what is checked."""
    code = (
        "import sys; sys.argv = ['agnn-train', *sys.argv[1:]]\n"
        "from agnn_lit.commands.train import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, "backbone=tiny", "data=synthetic", wrong],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode != 0
    assert wrong.split("=")[0] in done.stderr
    assert done.stdout.strip() == "False"
    assert time.monotonic() - started < 10
    assert list(tmp_path.rglob("*.json")) == []


def test_help_is_for_people():
    done = subprocess.run(
        [sys.executable, "-m", "agnn_lit.commands.train", "--help"], capture_output=True, text=True, check=True
    )
    for part in (
        "usage: agnn-train",
        "experiment=demo",
        "backbone: deeplab_official, deeplabv3_mobilenet_v3_large",
        "  model.rounds=3 ",
        "K, rounds of message passing",
    ):
        assert part in done.stdout
