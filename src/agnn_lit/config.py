"""The typed schema of every configuration, and the checks that a type cannot express.

Each field is documented where it is declared; ``conf/`` holds the values. Nothing heavy is imported
here, so that a wrong key is refused before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

_PACKAGED = Path(__file__).parent / "conf"
_CHECKOUT = Path(__file__).parents[2] / "conf"
#: Folder of the Hydra configs: inside the installed package, else beside ``src`` in a checkout.
CONF_DIR: str = str(_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT)


class ConfigError(ValueError):
    """A configuration that composes and has the right types, and still cannot be run."""


class LoopEdge(Enum):
    """Where a node attends to itself (intra-attention)."""

    every_round = "every_round"
    encoder = "encoder"
    none = "none"


class LineEdge(Enum):
    """Form of the weight W_c between frames."""

    symmetric = "symmetric"
    directed = "directed"


class Gate(Enum):
    """What weighs a message before aggregation."""

    channel = "channel"
    spatial = "spatial"
    none = "none"


class Aggregation(Enum):
    """How the messages to a node become one."""

    sum = "sum"
    mean = "mean"
    concat = "concat"


class Update(Enum):
    """How a node takes in its aggregated message."""

    gru3x3 = "gru3x3"
    gru1x1 = "gru1x1"
    replace = "replace"


class Readout(Enum):
    """Convolutions from the node states to the mask."""

    conv3 = "conv3"
    bn = "bn"


class BackboneName(Enum):
    """Node embedding networks."""

    tiny = "tiny"
    deeplabv3_resnet50 = "deeplabv3_resnet50"
    deeplabv3_resnet101 = "deeplabv3_resnet101"
    deeplabv3_mobilenet_v3_large = "deeplabv3_mobilenet_v3_large"


class DataName(Enum):
    """Kinds of data set."""

    synthetic = "synthetic"
    davis2016 = "davis2016"
    davis2017 = "davis2017"
    youtube_objects = "youtube_objects"
    folder = "folder"


class Eta(Enum):
    """Class weight η of the loss."""

    share = "share"
    literal = "literal"


class OptimName(Enum):
    """Optimisers."""

    sgd = "sgd"
    adamw = "adamw"


class Schedule(Enum):
    """Learning rate over the run."""

    constant = "constant"
    poly = "poly"


class LoggerMode(Enum):
    """Weights & Biases: ``auto`` is online with an API key and offline without."""

    auto = "auto"
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class ModelConfig:
    """The graph (AGNN, section 3)."""

    frames: int = 3  # N', frames of one graph
    rounds: int = 3  # K, rounds of message passing; 0 is the frame-only baseline
    channels: int = 256  # C, channels of a node
    loop_edge: LoopEdge = LoopEdge.every_round
    loop_reduction: int = 8  # W_f and W_h map to channels / loop_reduction
    line_edge: LineEdge = LineEdge.symmetric
    gate: Gate = Gate.channel
    aggregation: Aggregation = Aggregation.sum
    update: Update = Update.gru3x3
    readout: Readout = Readout.conv3


@dataclass
class BackboneConfig:
    """The encoder of a frame into a node."""

    name: BackboneName = MISSING
    # Start values: a torchvision weights name such as DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1
    # or ResNet50_Weights.IMAGENET1K_V2, the path of a file, or null for a random start.
    weights: str | None = None
    stride: int = 8  # pixels between neighbouring feature positions; tiny: 4 or 8, the others: 8


def _pair(values: Any) -> Any:
    """A tuple again of what YAML and OmegaConf keep as a list, so that equal settings compare equal."""
    return tuple(values) if isinstance(values, list) else values


@dataclass
class SyntheticConfig:
    """The generated videos; one frame alone does not tell which object is the primary."""

    train_videos: int = 512
    test_videos: int = 16
    length: int = 12  # frames of a video
    size: tuple[int, int] = (64, 64)  # height, width in pixels
    distractors: int = 2  # further objects, new in each frame
    texture: float = 0.0  # 0: one colour an object; 1: strong stripes
    deformation: float = 0.2  # relative change of the primary's outline over a video
    speed: float = 4.0  # pixels a frame
    seed: int = 0  # the videos are a function of this seed, not of the run's

    def __post_init__(self) -> None:
        self.size = _pair(self.size)


@dataclass
class DataConfig:
    """Which videos."""

    name: DataName | None = None
    root: str | None = None  # folder of the data set
    train_split: str | None = None  # list of training sequences, as the data set names it
    test_split: str | None = None  # list of sequences that results are reported on
    sequences: list[str] | None = None  # only these sequences of a split
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass
class ClipsConfig:
    """How clips are drawn from training videos, and made into input."""

    size: tuple[int, int] = (473, 473)  # network input: height, width in pixels
    batch_size: int = 2  # clips a step
    clips_per_video: int = 1  # clips drawn from each video in an epoch
    workers: int = 2  # loader processes; 0 loads in the training process
    val_share: float = 0.1  # share of the training videos held out for model selection; 0 turns validation off
    flip: float = 0.5  # probability of a horizontal flip, the same for all frames of a clip
    scale: tuple[float, float] = (0.7, 1.3)  # range of the random zoom, followed by a crop to size

    def __post_init__(self) -> None:
        self.size, self.scale = _pair(self.size), _pair(self.scale)


@dataclass
class LossConfig:
    """Weighted binary cross-entropy (AGNN, eq. 12)."""

    eta: Eta = Eta.share  # share: |fg| / all pixels; literal: |fg| / |bg|
    reduction: str = "mean"  # over pixels: mean or sum


@dataclass
class OptimConfig:
    """Optimiser and schedule."""

    name: OptimName = OptimName.sgd
    lr: float = 2.5e-4
    weight_decay: float = 5e-4
    momentum: float = 0.9  # of SGD
    schedule: Schedule = Schedule.poly
    power: float = 0.9  # of the poly decay
    warmup_steps: int = 0  # linear rise of the learning rate
    backbone_lr_factor: float = 1.0  # learning rate of the backbone relative to lr


@dataclass
class TrainerConfig:
    """Devices, precision and length of a run; passed to Lightning's Trainer."""

    max_epochs: int = 100
    max_minutes: float | None = None  # stop training after this many minutes
    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    gradient_clip: float | None = None  # largest norm of the gradient
    accumulate: int = 1  # batches a step of the optimiser
    check_val_every: int = 1  # epochs
    log_every: int = 10  # steps
    threads: int | None = None  # CPU threads; null leaves torch's choice
    deterministic: bool = True
    progress: bool = True


@dataclass
class LoggerConfig:
    """Weights & Biases; metrics.csv is always written."""

    mode: LoggerMode = LoggerMode.auto
    project: str = "agnn_lit"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    overlays: int = 4  # fixed validation frames drawn at each validation


@dataclass
class TrainConfig:
    """Everything of a training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    clips: ClipsConfig = field(default_factory=ClipsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    name: str = "agnn"  # first part of the run folder
    seed: int = 0
    runs_dir: str = "runs"  # run folders are <runs_dir>/<name>/<overrides>
    run: str | None = None  # folder of an interrupted run to continue; takes no other settings
    overwrite: bool = False  # train again although the folder holds a run


@dataclass
class EvaluateConfig:
    """Prediction and scores of a trained model on a data set."""

    data: DataConfig = field(default_factory=DataConfig)  # unset fields: as in training
    run: str | None = None  # run folder; its best checkpoint is taken
    ckpt: str | None = None  # or a checkpoint file
    split: str = "test"  # test, train or val (the held-out share)
    protocol: str | None = None  # null: youtube_objects for that data set, else simple
    threshold: float = 0.5  # a pixel is foreground above this probability
    frames: int | None = None  # N' at test time; null: as in training
    batch_size: int = 1  # graphs at a time
    accelerator: str = "auto"
    dtype: str = "fp32"  # of the network: fp32, bf16 or fp16 (autocast)
    threads: int | None = None
    overlays: int = 3  # pictures of each kind: best, median, worst frames
    out: str | None = None  # folder; null: evaluations/<data>-<split>-<protocol> in the run folder
    progress: bool = True


def register_schemas() -> None:
    """Make the schemas known to Hydra under the names that ``conf/*.yaml`` start from."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)


def typed(cfg: DictConfig | dict[str, Any], schema: type[Any] = TrainConfig) -> Any:
    """Return ``cfg`` as an instance of ``schema``, with all interpolations resolved.

    Raises:
        omegaconf.errors.OmegaConfBaseException: a key unknown to the schema, or a value of another type.
    """
    merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
    OmegaConf.resolve(merged)
    return OmegaConf.to_object(merged)


def plain(cfg: Any) -> dict[str, Any]:
    """Return a config as plain dicts, lists, strings and numbers (enums by name)."""
    container = OmegaConf.to_container(OmegaConf.structured(cfg), resolve=True, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _check_model(model: ModelConfig, backbone: BackboneConfig) -> None:
    _require(model.rounds >= 0, f"model.rounds={model.rounds}: K must be 0 or more")
    _require(model.frames >= 1, f"model.frames={model.frames}: N' must be 1 or more")
    _require(model.channels >= 1, f"model.channels={model.channels}: must be 1 or more")
    _require(
        1 <= model.loop_reduction <= model.channels,
        f"model.loop_reduction={model.loop_reduction}: must lie in 1..model.channels={model.channels}",
    )
    _require(
        model.aggregation is not Aggregation.concat or model.loop_edge is not LoopEdge.every_round or not model.rounds,
        "model.aggregation=concat joins the messages of neighbours and would ignore model.loop_edge=every_round: "
        "set model.loop_edge to encoder or none",
    )
    _require(
        model.aggregation is not Aggregation.concat or model.frames >= 2,
        f"model.aggregation=concat joins the messages of N'-1 neighbours: model.frames={model.frames} has none",
    )
    allowed = (4, 8) if backbone.name is BackboneName.tiny else (8,)
    _require(
        backbone.stride in allowed,
        f"backbone.stride={backbone.stride}: {backbone.name.value} has stride {' or '.join(map(str, allowed))}",
    )
    _require(
        backbone.weights is None or backbone.name is not BackboneName.tiny,
        f"backbone.weights={backbone.weights}: the tiny backbone has no pretrained weights; set it to null",
    )


def _check_clips(clips: ClipsConfig, stride: int) -> None:
    low, high = clips.scale
    _require(
        min(clips.size) >= stride,
        f"clips.size={list(clips.size)}: smaller than one feature position of {stride} pixels",
    )
    _require(0 < low <= high, f"clips.scale={list(clips.scale)}: must be 0 < smallest <= largest")
    _require(
        low * min(clips.size) >= stride,
        f"clips.scale={list(clips.scale)}: {low} x clips.size={list(clips.size)} leaves no pixels "
        f"for a feature stride of {stride}",
    )
    _require(clips.batch_size >= 1, f"clips.batch_size={clips.batch_size}: must be 1 or more")
    _require(clips.clips_per_video >= 1, f"clips.clips_per_video={clips.clips_per_video}: must be 1 or more")
    _require(clips.workers >= 0, f"clips.workers={clips.workers}: must be 0 or more")
    _require(0 <= clips.val_share < 1, f"clips.val_share={clips.val_share}: must lie in [0, 1)")
    _require(0 <= clips.flip <= 1, f"clips.flip={clips.flip}: must lie in [0, 1]")


def check_data(data: DataConfig, frames: int) -> None:
    """Raise ConfigError when the data settings are incomplete or contradict N' = ``frames``."""
    _require(data.name is not None, "data.name is not set: choose one with data=synthetic, data=davis2016, …")
    if data.name is DataName.synthetic:
        s = data.synthetic
        _require(min(s.size) >= 16, f"data.synthetic.size={list(s.size)}: must be 16 pixels or more")
        _require(s.length >= 1, f"data.synthetic.length={s.length}: must be 1 or more")
        _require(
            frames <= s.length,
            f"model.frames={frames} is above the videos' length: data.synthetic.length={s.length}",
        )
        _require(s.train_videos >= 1, f"data.synthetic.train_videos={s.train_videos}: must be 1 or more")
        _require(s.test_videos >= 1, f"data.synthetic.test_videos={s.test_videos}: must be 1 or more")
        return
    assert data.name is not None
    _require(
        bool(data.root),
        f"data.root is not set: the folder of {data.name.value}; pass data.root=… or set AGNN_DAVIS_ROOT for the DAVIS "
        "data sets, AGNN_YOUTUBE_OBJECTS_ROOT for YouTube-Objects",
    )
    if data.name in (DataName.folder, DataName.youtube_objects):
        for key, value in (("train_split", data.train_split), ("test_split", data.test_split)):
            _require(
                value is None, f"data.{key}={value}: {data.name.value} has no lists; choose with data.sequences=[…]"
            )


_ACCELERATORS = ("auto", "cpu", "gpu", "mps")
_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def check_train(cfg: TrainConfig) -> None:
    """Refuse values and combinations that cannot be trained.

    Raises:
        ConfigError: naming the key, the value received and what would be right.
    """
    if OmegaConf.is_missing(OmegaConf.structured(cfg.backbone), "name"):
        raise ConfigError("backbone.name is not set: choose one with backbone=tiny, …")
    _check_model(cfg.model, cfg.backbone)
    _check_clips(cfg.clips, cfg.backbone.stride)
    check_data(cfg.data, cfg.model.frames)
    t, o = cfg.trainer, cfg.optim
    _require(t.max_epochs >= 1, f"trainer.max_epochs={t.max_epochs}: must be 1 or more")
    _require(t.devices == 1, f"trainer.devices={t.devices}: must be 1; several devices are not supported yet")
    _require(t.accelerator in _ACCELERATORS, f"trainer.accelerator={t.accelerator}: must be one of {_ACCELERATORS}")
    _require(t.threads is None or t.threads >= 1, f"trainer.threads={t.threads}: must be 1 or more")
    _require(t.max_minutes is None or t.max_minutes > 0, f"trainer.max_minutes={t.max_minutes}: must be above 0")
    _require(t.log_every >= 1, f"trainer.log_every={t.log_every}: must be 1 or more")
    _require(
        t.check_val_every >= 1 and (t.check_val_every <= t.max_epochs or cfg.clips.val_share == 0),
        f"trainer.check_val_every={t.check_val_every}: must lie in 1..trainer.max_epochs={t.max_epochs}, "
        "or no epoch is validated",
    )
    _require(cfg.logger.overlays >= 0, f"logger.overlays={cfg.logger.overlays}: must be 0 or more")
    _require(t.accumulate >= 1, f"trainer.accumulate={t.accumulate}: must be 1 or more")
    _require(t.precision in _PRECISIONS, f"trainer.precision={t.precision}: must be one of {_PRECISIONS}")
    _require(
        not (t.precision == "16-mixed" and t.accelerator == "cpu"),
        "trainer.precision=16-mixed needs a GPU (trainer.accelerator=cpu): use bf16-mixed or 32-true",
    )
    _require(o.lr > 0, f"optim.lr={o.lr}: must be above 0")
    _require(o.warmup_steps >= 0, f"optim.warmup_steps={o.warmup_steps}: must be 0 or more")
    _require(cfg.loss.reduction in ("mean", "sum"), f"loss.reduction={cfg.loss.reduction}: must be mean or sum")


def check_evaluate(cfg: EvaluateConfig) -> None:
    """Raise ConfigError for an evaluation that names no model, or two, or an impossible value."""
    _require(
        (cfg.run is None) != (cfg.ckpt is None),
        f"run={cfg.run} ckpt={cfg.ckpt}: give one of them, run=DIR of agnn-train or ckpt=FILE",
    )
    _require(0 < cfg.threshold < 1, f"threshold={cfg.threshold}: must lie between 0 and 1")
    _require(cfg.frames is None or cfg.frames >= 1, f"frames={cfg.frames}: N' must be 1 or more")
    _require(cfg.batch_size >= 1, f"batch_size={cfg.batch_size}: must be 1 or more")
    _require(cfg.split in ("test", "train", "val"), f"split={cfg.split}: must be test, train or val")
    _require(cfg.dtype in ("fp32", "bf16", "fp16"), f"dtype={cfg.dtype}: must be fp32, bf16 or fp16")
    _require(cfg.threads is None or cfg.threads >= 1, f"threads={cfg.threads}: must be 1 or more")
    _require(
        cfg.accelerator in _ACCELERATORS, f"accelerator={cfg.accelerator}: must be one of {', '.join(_ACCELERATORS)}"
    )
