"""Configurations of the tests, composed as the commands compose them."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir

from agnn_lit import config
from agnn_lit.commands.command_line import quote_text
from agnn_lit.shared import runs

config.register_schemas()
runs.register_resolvers()

#: A run of seconds: generated videos, tiny backbone.
SMALL = (
    "backbone=tiny",
    "data=synthetic",
    "optim=adamw",
    "trainer=cpu",
    "logger=none",
    "model.channels=8",
    "model.rounds=1",
    "clips.size=[32,32]",
    "clips.workers=0",
    "clips.val_share=0.2",
    "data.synthetic.train_videos=10",
    "data.synthetic.test_videos=3",
    "data.synthetic.length=6",
    "data.synthetic.size=[32,32]",
    "trainer.max_epochs=2",
    "trainer.log_every=1",
    "trainer.progress=false",
)
#: The released code's network.
OFFICIAL = ("model=agnn_official", "backbone=deeplab_official", "model.channels=256", "model.rounds=5")


def train_config(*overrides: str, small: bool = True) -> config.TrainConfig:
    with initialize_config_dir(config.CONF_DIR, version_base="1.3"):
        composed = compose("train", overrides=[*(SMALL if small else ()), *overrides])
    return config.typed(composed, config.TrainConfig)


def evaluate_config(*overrides: str) -> config.EvaluateConfig:
    with initialize_config_dir(config.CONF_DIR, version_base="1.3"):
        composed = compose("evaluate", overrides=["progress=false", *overrides])
    return config.typed(composed, config.EvaluateConfig)


def predict_config(run: Path, source: Path, out: Path, *overrides: str) -> config.PredictConfig:
    words = [f"input='{source}'", f"out='{out}'", f"run='{run}'", "progress=false", *overrides]
    with initialize_config_dir(config.CONF_DIR, version_base="1.3"):
        return config.typed(compose("predict", overrides=words), config.PredictConfig)


#: Experiments of agnn-evaluate and agnn-predict; all others are agnn-train's.
OF_TESTING = ("official_test", "stages")


def experiments() -> list[str]:
    return sorted(p.stem for p in (Path(config.CONF_DIR) / "experiment").glob("*.yaml") if p.stem not in OF_TESTING)


def quoted(path: Path) -> str:
    """A path for Hydra's grammar."""
    return quote_text([f"out={path}"], config.SCHEMAS["convert"])[0].removeprefix("out=")
